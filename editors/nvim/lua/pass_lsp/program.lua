--- The program that is started as the server, and what else it can be asked.
local M = {}

local OTHER =
  'or name another: vim.lsp.config("pass_lsp", { cmd = { "/path/to/pass-lsp", "serve", "--stdio" } })'

--- The words that start the program, without those that make it serve; or nil and why it cannot be run,
--- with the remedy, which is nil where `cmd` is a function: that names no program.
---@return string[]? words
---@return string? trouble
---@return string? remedy
function M.words()
  local cmd = vim.lsp.config.pass_lsp and vim.lsp.config.pass_lsp.cmd
  if type(cmd) ~= 'table' then
    return nil, 'The server is started by a function of yours.'
  end
  if vim.fn.executable(cmd[1]) == 0 then
    return nil,
      ('`%s` cannot be run.'):format(cmd[1]),
      'Install it with `pipx install pass-lsp`, ' .. OTHER
  end
  local words = {}
  for _, word in ipairs(cmd) do
    if word == 'serve' then
      return words
    end
    table.insert(words, word)
  end
  return { cmd[1] }
end

--- Start `words` with `arguments`; or nil, why that fails and the remedy.
---@param words string[]
---@param arguments string[]
---@param on_exit? fun(done: vim.SystemCompleted)
---@return vim.SystemObj? process
---@return string? trouble
---@return string? remedy
function M.start(words, arguments, on_exit)
  local command = vim.list_extend(vim.list_slice(words), arguments)
  -- On Windows, what goes into a pipe is of the system's code page otherwise, which lacks half of what is said.
  local options = { text = true, env = { PYTHONIOENCODING = 'utf-8' } }
  local started, process = pcall(vim.system, command, options, on_exit)
  if not started then
    -- Such as a script whose Python is gone. The message begins with a place in Neovim's own code.
    local why = tostring(process):gsub('^.-:%d+: ', '')
    return nil, ('`%s` cannot be run: %s.'):format(words[1], why), 'Install it anew, ' .. OTHER
  end
  return process
end

return M
