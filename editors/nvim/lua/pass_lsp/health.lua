--- `:checkhealth pass_lsp`
local M = {}
local health = vim.health
local program = require('pass_lsp.program')
local OF_THE_ENGINE = {
  'model',
  'device',
  'dtype',
  'lookahead',
  'trust_remote_code',
  'engine',
  'engine_kind',
  'engine_template',
}

---@return boolean
local function check_neovim()
  if vim.fn.has('nvim-0.11') == 0 then
    health.error('Neovim is older than 0.11.', 'Install Neovim 0.11 or newer.')
    return false
  elseif vim.lsp.inline_completion then
    health.ok('Neovim shows suggestions itself (`vim.lsp.inline_completion`).')
  else
    health.ok(
      "Neovim has no `vim.lsp.inline_completion` (0.12 has); the plugin's own ghost text is used."
    )
  end
  return true
end

--- Run the program and wait for it; says what goes wrong, and what has gone wrong then.
---@param words string[]
---@param arguments string[]
---@param limit_ms integer
---@return vim.SystemCompleted?
local function run(words, arguments, limit_ms)
  local process, trouble, remedy = program.start(words, arguments)
  if process then
    return process:wait(limit_ms)
  end
  health.error(trouble or '', remedy)
end

---@return string[]? words Of the program, if it can be run
local function check_program()
  local words, trouble, remedy = program.words()
  if not words then
    if remedy then
      health.error(trouble or '', remedy)
    else
      health.info(trouble or '')
    end
    return nil
  end
  local version = run(words, { '--version' }, 20000)
  if not version then
    return nil
  end
  local name = table.concat(vim.list_extend({ vim.fn.exepath(words[1]) }, words, 2), ' ')
  if version.code ~= 0 then
    health.error(('`%s --version` fails.'):format(name), vim.trim(version.stderr or ''))
    return nil
  end
  health.ok(('`%s` is %s.'):format(name, vim.trim(version.stdout or '')))
  return words
end

local function check_clients()
  if vim.lsp.is_enabled and not vim.lsp.is_enabled('pass_lsp') then -- from 0.11.2 on
    health.warn('The server is not enabled.', "Add `vim.lsp.enable('pass_lsp')` to your init.lua.")
  end
  local clients = vim.lsp.get_clients({ name = 'pass_lsp' })
  if #clients == 0 then
    health.info('The server is not running; it starts with the first file.')
  end
  for _, client in ipairs(clients) do
    local answer = client:request_sync('pass-lsp/status', vim.empty_dict(), 2000)
    local status = answer and answer.result
    if not status then
      health.warn('The server does not answer.', 'Run `:PassLsp restart`.')
    elseif status.kind == 'Error' then
      health.error(status.message, 'Run `:PassLsp restart` when that is mended.')
    else
      health.ok(
        ('Running, %d buffers. %s'):format(vim.tbl_count(client.attached_buffers), status.message)
      )
    end
  end
end

--- The server's own examination, one line each, of the engine that is set here.
---@param words string[]
local function check_doctor(words)
  local arguments = { 'doctor', '--json' }
  local settings = vim.tbl_get(vim.lsp.config.pass_lsp, 'settings', 'pass-lsp') or {}
  for _, key in ipairs(OF_THE_ENGINE) do
    local value, name = settings[key], key:gsub('_', '-')
    if type(value) == 'boolean' then
      table.insert(arguments, (value and '--' or '--no-') .. name)
    elseif value ~= nil then
      vim.list_extend(arguments, { '--' .. name, tostring(value) })
    end
  end
  local done = run(words, arguments, 120000)
  local read, found = pcall(vim.json.decode, done and done.stdout or '')
  if not read or type(found) ~= 'table' then
    health.warn('`pass-lsp doctor` cannot be run.', vim.trim(done and done.stderr or ''))
    return
  end
  for _, check in ipairs(found.checks or found) do
    local line = ('%s: %s'):format(check.name, check.found)
    if check.ok then
      health.ok(line .. (check.remedy ~= '' and ('; ' .. check.remedy) or ''))
    else
      health.error(line, check.remedy)
    end
  end
end

function M.check()
  health.start('pass-lsp: Neovim')
  if not check_neovim() then
    return
  end
  health.start('pass-lsp: server')
  local words = check_program()
  check_clients()
  if words then
    health.start('pass-lsp: doctor')
    check_doctor(words)
  end
end

return M
