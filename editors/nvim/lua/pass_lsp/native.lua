--- Neovim's own ghost text, which it has from 0.12 on; nothing is done where it has none.
local api = vim.api
local text = require('pass_lsp.text')
local native = vim.lsp.inline_completion

local M = {}

local METHOD = 'textDocument/inlineCompletion'
---@type table<integer, boolean>
local plain = {}

M.draws = native ~= nil

--- The buffer in which it is off as long as ours is on the screen.
---@type integer?
local hushed

--- Have it hear answers as a buffer has them: it draws a carriage return, as `^M`.
---@param client vim.lsp.Client
function M.hear(client)
  if not native or plain[client.id] then
    return
  end
  plain[client.id] = true
  local request = client.request
  client.request = function(self, method, params, handler, ...)
    local told = handler
    if self == client and method == METHOD and told then
      handler = function(err, result, ...)
        for _, item in ipairs(result and (result.items or result) or {}) do
          if type(item.insertText) == 'string' then
            item.insertText = text.plain(item.insertText)
          end
        end
        return told(err, result, ...)
      end
    end
    return request(self, method, params, handler, ...)
  end
end

--- Off with it: two at the cursor would be one too many.
---@param buf integer
function M.hush(buf)
  if native and not hushed and native.is_enabled({ bufnr = buf }) then
    native.enable(false, { bufnr = buf })
    hushed = buf
  end
end

--- On with it again, where ours had put it off.
function M.wake()
  local buf = hushed
  hushed = nil
  if buf then
    vim.schedule(function()
      if api.nvim_buf_is_valid(buf) and hushed ~= buf then
        native.enable(true, { bufnr = buf })
      end
    end)
  end
end

--- Take away what it has left on the screen in Normal mode.
function M.clear()
  if native and vim.startswith(api.nvim_get_mode().mode, 'n') then
    native.get({ on_accept = function() end })
  end
end

return M
