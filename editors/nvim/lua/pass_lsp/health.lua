--- `:checkhealth pass_lsp`
local M = {}
local health = vim.health
local OF_THE_ENGINE =
  { 'model', 'device', 'dtype', 'lookahead', 'engine', 'engine_kind', 'engine_template' }

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

---@return string? program
local function check_program()
  local program, trouble, remedy = require('pass_lsp').program()
  if program then
    local version = vim.system({ program, '--version' }, { text = true }):wait(20000)
    health.ok(('`%s` is %s.'):format(vim.fn.exepath(program), vim.trim(version.stdout or '')))
  elseif remedy then
    health.error(trouble, remedy)
  else
    health.info(trouble)
  end
  return program
end

local function check_clients()
  if not vim.lsp.is_enabled('pass_lsp') then
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
---@param program string
local function check_doctor(program)
  local command = { program, 'doctor', '--json' }
  local settings = vim.tbl_get(vim.lsp.config.pass_lsp, 'settings', 'pass-lsp') or {}
  for _, key in ipairs(OF_THE_ENGINE) do
    if settings[key] then
      vim.list_extend(command, { '--' .. key:gsub('_', '-'), tostring(settings[key]) })
    end
  end
  local done = vim.system(command, { text = true }):wait(120000)
  local read, found = pcall(vim.json.decode, done.stdout or '')
  if not read or type(found) ~= 'table' then
    health.warn('`pass-lsp doctor` cannot be run.', vim.trim(done.stderr or ''))
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
  local program = check_program()
  check_clients()
  if program then
    health.start('pass-lsp: doctor')
    check_doctor(program)
  end
end

return M
