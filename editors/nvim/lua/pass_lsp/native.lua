--- Neovim's own ghost text, which it has from 0.12 on; nothing is done where it has none.
local api = vim.api
local native = vim.lsp.inline_completion

local M = {}

M.draws = native ~= nil

--- The buffer in which it is off as long as ours is on the screen.
---@type integer?
local hushed

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
