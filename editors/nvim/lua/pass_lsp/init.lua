--- pass-lsp in Neovim: what keys and status lines call. `:help pass_lsp`.
local api = vim.api
local ghost = require('pass_lsp.ghost')
local text = require('pass_lsp.text')

local M = {}

M.NAME = 'pass_lsp'

---@class pass_lsp.Status
---@field busy boolean
---@field kind 'Normal'|'Warning'|'Error'|'Inactive'
---@field message string
---@field reason string Why the last answer was empty, as a code; '' if it was not

---@type table<integer, pass_lsp.Status>
local statuses = {}
local native = vim.lsp.inline_completion
--- What `accept` has answered for and is not done yet.
---@type fun()?
local promised
local KEEP = vim.keycode("<Cmd>lua require('pass_lsp').keep()<CR>")
local END_COMPLETION = vim.keycode('<C-x><C-z>')
--- It takes one turn of the event loop; this is for a loop that is stuck.
local PATIENCE_MS = 1000

--- The client of a buffer, if the server runs there.
---@param buf? integer
---@return vim.lsp.Client?
function M.client(buf)
  return vim.lsp.get_clients({ name = M.NAME, bufnr = buf or api.nvim_get_current_buf() })[1]
end

--- A buffer that `:write` gives its name goes on without its autocommands, those of Neovim's language clients
--- among them: attach it anew, or the server hears nothing of a file by that name.
---@param client vim.lsp.Client
---@param buf integer
local function follow_to_its_name(client, buf)
  api.nvim_create_autocmd('BufWipeout', {
    buffer = buf,
    callback = function()
      if not vim.lsp.buf_is_attached(buf, client.id) then
        return -- it is wiped out for good
      end
      vim.lsp.buf_detach_client(buf, client.id)
      vim.schedule(function()
        if api.nvim_buf_is_loaded(buf) then
          vim.lsp.buf_attach_client(buf, client.id)
        end
      end)
    end,
  })
end

--- Set a buffer up; the server's configuration calls it. Keep the call if you set your own `on_attach`.
---@param client vim.lsp.Client
---@param buf integer
function M.attach(client, buf)
  if native then
    require('pass_lsp.native').hear(client)
    native.enable(true, { bufnr = buf }) -- for one client only it would outlive that
  end
  ghost.attach(client, buf, native == nil)
  if api.nvim_buf_get_name(buf) == '' then
    follow_to_its_name(client, buf)
  end
end

--- Take note of the server's status, and tell status lines.
---@param client_id integer
---@param status pass_lsp.Status
function M.heard(client_id, status)
  statuses[client_id] = status
  api.nvim_exec_autocmds('User', { pattern = 'PassLspStatus', data = status, modeline = false })
  vim.cmd.redrawstatus({ bang = true })
end

--- The server's status in a buffer, as it was last heard; nil without a server.
---@param buf? integer
---@return pass_lsp.Status?
function M.status(buf)
  local client = M.client(buf)
  return client and statuses[client.id]
end

--- The status in one short word, for a status line; '' without a server.
---@return string
function M.statusline()
  local status = M.status()
  if not status then
    return ''
  end
  if status.busy then
    return 'pass …'
  end
  return ({ Error = 'pass ✗', Warning = 'pass !', Inactive = 'pass off' })[status.kind]
    or 'pass ✓'
end

--- Put `taken` in at the cursor, in place of the line up to byte `last`, and the cursor behind it.
---@param buf integer
---@param taken string
---@param last integer
local function insert(buf, taken, last)
  vim.cmd('let &g:undolevels = &g:undolevels') -- so that one undo takes back the suggestion and no more
  local row, col = unpack(api.nvim_win_get_cursor(0))
  local lines = vim.split(taken, '\n', { plain = true })
  api.nvim_buf_set_text(buf, row - 1, col, row - 1, last, lines)
  api.nvim_win_set_cursor(0, { row + #lines - 1, (#lines == 1 and col or 0) + #lines[#lines] })
end

--- Take `part` of an item at the cursor, and tell the server so.
---@param client vim.lsp.Client
---@param buf integer
---@param item lsp.InlineCompletionItem
---@param offer pass_lsp.Offer
---@param part pass_lsp.Part
local function take(client, buf, item, offer, part)
  local row, col = unpack(api.nvim_win_get_cursor(0))
  local rest, last = text.rest(offer, api.nvim_get_current_line(), col)
  if row - 1 ~= offer.row or not rest or not last then
    return
  end
  local taken = text.part(rest, part)
  local whole = taken == rest
  insert(buf, taken, whole and last or col)
  if not whole then
    local crlf = vim.bo[buf].fileformat == 'dos'
    local length = text.taken(item.insertText, #rest - #taken, crlf)
    local told = { item = item, acceptedLength = length }
    client:notify('textDocument/didPartiallyAcceptCompletion', told)
  elseif item.command then
    client:exec_cmd(item.command, { bufnr = buf })
  end
end

--- The item that Neovim shows, in the words of the protocol, laid over the line as it is now.
---@param item vim.lsp.inline_completion.Item
---@return lsp.InlineCompletionItem, pass_lsp.Offer?
local function from_native(item)
  local inserts = item.insert_text
  local plain = { insertText = inserts, command = item.command }
  if type(inserts) ~= 'string' then
    return plain, nil
  end
  local row, col = unpack(api.nvim_win_get_cursor(0))
  local line = api.nvim_get_current_line()
  local first, last = col, col
  if item.range then
    local start_row, start_col, end_row, end_col = item.range:to_extmark()
    if start_row ~= row - 1 or end_row ~= row - 1 then
      return plain, nil
    end
    first, last = start_col, math.max(end_col, col)
    -- What was typed since the answer came has moved the closers that the suggestion replaces.
    local moved = col + end_col - start_col
    if vim.endswith(inserts, line:sub(col + 1, moved)) then
      last = math.max(last, math.min(moved, #line))
    end
  end
  return plain,
    {
      text = text.plain(inserts),
      row = row - 1,
      first = first,
      right = line:sub(col + 1, last),
      tail = line:sub(last + 1),
    }
end

--- Have `act` done as the very next thing. An `<expr>` map may not change text, and what is scheduled
--- comes after the keys that were typed meanwhile: those no longer fit, and key and suggestion are lost.
---@param act fun()
local function next_of_all(act)
  promised = act
  -- A completion that goes on would take the next key for its own, and put back the line as it knew it.
  local completing = vim.startswith(api.nvim_get_mode().mode, 'ic')
  api.nvim_feedkeys((completing and END_COMPLETION or '') .. KEEP, 'in', false)
end

--- Do what `accept` has promised. Not for users: the `<Cmd>` that it puts before all other keys calls this.
function M.keep()
  local act = promised
  promised = nil
  if act then
    act()
  end
end

--- Accept the suggestion on the screen, or the first word or line of it. May be called from an
--- `<expr>` map: the text goes in right afterwards, before the next key.
---@param part? pass_lsp.Part
---@return boolean # Whether there is one.
function M.accept(part)
  local buf = api.nvim_get_current_buf()
  local now = ghost.current()
  if now then
    next_of_all(function()
      local item, offer = now.items[now.index], now.offer
      ghost.cancel()
      take(now.client, buf, item, offer, part or 'all')
      ghost.carry_on(now)
    end)
    return true
  end
  local there = native ~= nil
    and native.get({
      on_accept = function(item)
        local plain, offer = from_native(item)
        local client = vim.lsp.get_client_by_id(item.client_id)
        if not offer or not client then
          return item
        end
        take(client, buf, plain, offer, part or 'all')
      end,
    })
  if there then
    -- Neovim has scheduled that, and gives its item away in no other manner: wait until it has come to pass.
    local done = false
    vim.schedule(function()
      done = true
    end)
    next_of_all(function()
      vim.wait(PATIENCE_MS, function()
        return done
      end, 1)
    end)
  end
  return there
end

--- Take the suggestion off the screen.
---@return boolean # Whether there was one.
function M.dismiss()
  if ghost.current() then
    ghost.cancel()
    ghost.hide()
    return true
  end
  return native ~= nil and native.get({ on_accept = function() end })
end

--- Show the next suggestion, or with -1 the previous; the server is asked for alternatives.
---@param step 1|-1
function M.cycle(step)
  local buf = api.nvim_get_current_buf()
  local client = M.client(buf)
  if client then
    if native and not ghost.current() then
      native.get({ on_accept = function() end }) -- ours takes its place
    end
    -- Neovim takes its own away a moment later, and gives up requests with it.
    vim.schedule(function()
      if api.nvim_get_current_buf() == buf then
        ghost.cycle(client, buf, step)
      end
    end)
  end
end

return M
