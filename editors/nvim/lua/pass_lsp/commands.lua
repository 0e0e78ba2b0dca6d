--- `:PassLsp`: one function for each word that may follow it.
local api = vim.api

local M = {}
local NAME = 'pass_lsp'

---@param message string
---@param level? integer
local function say(message, level)
  vim.notify('pass-lsp: ' .. message, level or vim.log.levels.INFO)
end

--- The running client of this buffer, or of any; says so if there is none.
---@return vim.lsp.Client?
local function running()
  local client = require('pass_lsp').client() or vim.lsp.get_clients({ name = NAME })[1]
  if not client then
    say('not running; open a file, or see `:checkhealth pass_lsp`.', vim.log.levels.WARN)
  end
  return client
end

---@type table<string, fun()>
local commands = {}

--- Say what the server does, and why the last answer was empty.
function commands.status()
  local client = running()
  if client then
    client:request('pass-lsp/status', vim.empty_dict(), function(err, status)
      say(err and err.message or status.message)
    end)
  end
end

--- Show this user's own figures in a window.
function commands.stats()
  local program = (vim.lsp.config[NAME].cmd --[[@as string[] ]])[1]
  vim.system({ program, 'stats' }, { text = true }, function(done)
    vim.schedule(function()
      if done.code ~= 0 then
        say(vim.trim(done.stderr), vim.log.levels.WARN)
        return
      end
      vim.lsp.util.open_floating_preview(vim.split(vim.trim(done.stdout), '\n'), '', {
        border = 'rounded',
        title = 'pass-lsp stats',
      })
    end)
  end)
end

--- Switch suggestions off, and on again, until Neovim ends.
function commands.toggle()
  local client = running()
  if not client then
    return
  end
  local settings = client.settings['pass-lsp'] or {}
  settings.enabled = settings.enabled == false
  client.settings['pass-lsp'] = settings
  client:notify('workspace/didChangeConfiguration', { settings = client.settings })
  if not settings.enabled then
    require('pass_lsp').dismiss()
  end
  say(settings.enabled and 'on.' or 'off.')
end

--- End the server and start it anew, with all its buffers.
function commands.restart()
  for _, client in ipairs(vim.lsp.get_clients({ name = NAME })) do
    local config, buffers = client.config, vim.tbl_keys(client.attached_buffers)
    client:stop()
    local timer = assert(vim.uv.new_timer())
    timer:start(50, 50, function()
      if not client:is_stopped() then
        return
      end
      timer:stop()
      timer:close()
      vim.schedule(function()
        for _, buf in ipairs(vim.tbl_filter(api.nvim_buf_is_loaded, buffers)) do
          vim.lsp.start(config, { bufnr = buf })
        end
      end)
    end)
  end
end

---@param name string
function M.run(name)
  local command = commands[name]
  if command then
    command()
  else
    say(
      ('unknown command %q; use %s.'):format(name, table.concat(M.complete(''), ', ')),
      vim.log.levels.ERROR
    )
  end
end

---@param start string
---@return string[]
function M.complete(start)
  local names = vim.tbl_filter(function(name)
    return vim.startswith(name, start)
  end, vim.tbl_keys(commands))
  table.sort(names)
  return names
end

return M
