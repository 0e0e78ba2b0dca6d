--- `:PassLsp`: one function for each word that may follow it.
local M = {}
local NAME = 'pass_lsp'
local program = require('pass_lsp.program')

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
  ---@param done vim.SystemCompleted
  local function show(done)
    if done.code ~= 0 then
      say(vim.trim(done.stderr), vim.log.levels.WARN)
      return
    end
    vim.lsp.util.open_floating_preview(vim.split(vim.trim(done.stdout), '\n'), '', {
      border = 'rounded',
      title = 'pass-lsp stats',
    })
  end
  local words, trouble, remedy = program.words()
  local process
  if words then
    process, trouble, remedy = program.start(words, { 'stats' }, vim.schedule_wrap(show))
  end
  if not process then
    local what = remedy or 'Run `pass-lsp stats` in a terminal.'
    say(('%s %s'):format(trouble, what), vim.log.levels.WARN)
  end
end

--- Switch suggestions off, and on again, until Neovim ends: here and in servers to come.
function commands.toggle()
  if not running() then
    return
  end
  local key = 'pass-lsp'
  local enabled = vim.tbl_get(vim.lsp.config[NAME], 'settings', key, 'enabled') == false
  local change = { enabled = enabled }
  vim.lsp.config(NAME, { settings = { [key] = change } })
  for _, client in ipairs(vim.lsp.get_clients({ name = NAME })) do
    -- In place: Neovim sends this very table once more to a client that is just starting.
    client.settings[key] = vim.tbl_extend('force', client.settings[key] or {}, change)
    client:notify('workspace/didChangeConfiguration', { settings = client.settings })
  end
  if not enabled then
    require('pass_lsp').dismiss()
  end
  say(enabled and 'on.' or 'off.')
end

--- Call `act` when the clients have ended; the ones that do not within `left` looks are killed.
---@param clients vim.lsp.Client[]
---@param left integer
---@param act fun()
local function when_ended(clients, left, act)
  local alive = vim.tbl_filter(function(client)
    return not client:is_stopped()
  end, clients)
  if #alive == 0 then
    act()
    return
  end
  if left == 0 then
    for _, client in ipairs(alive) do
      client:stop(true)
    end
  end
  vim.defer_fn(function()
    when_ended(alive, left - 1, act)
  end, 50)
end

--- End the server, if it runs, and start it anew for all its buffers.
function commands.restart()
  local _, trouble, remedy = program.words()
  if remedy then
    say(('%s %s'):format(trouble, remedy), vim.log.levels.WARN)
    return
  end
  local clients = vim.lsp.get_clients({ name = NAME })
  vim.lsp.enable(NAME, false)
  when_ended(clients, 60, function()
    vim.lsp.enable(NAME)
  end)
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
