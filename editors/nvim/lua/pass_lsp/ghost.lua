--- Ghost text of our own: for Neovim 0.11, which has none, and for going through alternatives, for
--- which 0.12 has no request. Everything here is about the current window and its buffer.
local api = vim.api
local native = require('pass_lsp.native')
local text = require('pass_lsp.text')

local M = {}

M.METHOD = 'textDocument/inlineCompletion'
M.NAMESPACE = api.nvim_create_namespace('pass_lsp')

---@class pass_lsp.Shown
---@field buf integer
---@field client vim.lsp.Client
---@field items lsp.InlineCompletionItem[]
---@field index integer
---@field offer pass_lsp.Offer

---@type pass_lsp.Shown?
local shown
---@type { client: vim.lsp.Client, place: any[], id: integer? }?
local pending

---@param buf integer
---@return integer row, integer col, string line
local function cursor(buf)
  local row, col = unpack(api.nvim_win_get_cursor(0))
  return row - 1, col, api.nvim_buf_get_lines(buf, row - 1, row, false)[1] or ''
end

--- Where the cursor is, in a buffer as it is now; to be compared.
---@param buf integer
---@return any[]
local function place(buf)
  return { buf, api.nvim_buf_get_changedtick(buf), cursor(buf) }
end

--- `item` as something that can be laid over the line that the cursor is on; nil for what cannot.
---@param client vim.lsp.Client
---@param buf integer
---@param item lsp.InlineCompletionItem
---@return pass_lsp.Offer?
function M.offer(client, buf, item)
  local row, col, line = cursor(buf)
  local first, last = col, col
  if item.range then
    local from, to = item.range.start, item.range['end']
    if from.line ~= row or to.line ~= row then
      return nil
    end
    first = vim.str_byteindex(line, client.offset_encoding, from.character, false)
    last = vim.str_byteindex(line, client.offset_encoding, to.character, false)
  end
  if type(item.insertText) ~= 'string' then
    return nil
  end
  local right = line:sub(col + 1, last)
  return {
    text = text.plain(item.insertText),
    row = row,
    first = first,
    right = right,
    tail = line:sub(last + 1),
  }
end

--- What is on the screen here, as far as it still fits what was typed.
---@return pass_lsp.Shown? shown
---@return string? rest The part that is not in the buffer yet
---@return integer? last Byte at which the replaced part of the line ends
function M.current()
  if not shown or shown.buf ~= api.nvim_get_current_buf() then
    return nil
  end
  local row, col, line = cursor(shown.buf)
  if row ~= shown.offer.row then
    return nil
  end
  local rest, last = text.rest(shown.offer, line, col)
  if not rest or rest == '' then
    return nil
  end
  return shown, rest, last
end

--- Take the ghost text away.
function M.hide()
  native.wake()
  if shown and api.nvim_buf_is_valid(shown.buf) then
    api.nvim_buf_clear_namespace(shown.buf, M.NAMESPACE, 0, -1)
  end
  shown = nil
end

--- Give up the request that is under way.
function M.cancel()
  if pending and pending.id then
    pending.client:cancel_request(pending.id)
  end
  pending = nil
end

--- Neither show nor ask any longer.
local function leave()
  M.cancel()
  M.hide()
end

--- Draw what is left of the suggestion; hides it where nothing is. Says whether it is there.
---@return boolean
local function draw()
  local now, rest, last = M.current()
  if not now or not rest then
    M.hide()
    return false
  end
  local row, col, line = cursor(now.buf)
  -- The suggestion repeats what it replaces behind the cursor, such as a closed bracket.
  local replaced = line:sub(col + 1, last)
  if replaced ~= '' and vim.endswith(rest, replaced) then
    rest = rest:sub(1, #rest - #replaced)
  end
  local lines = vim.tbl_map(function(part)
    return { { part, 'PassLspGhost' } }
  end, vim.split(rest, '\n', { plain = true }))
  if now.index > 1 then
    table.insert(lines[#lines], { (' (%d/%d)'):format(now.index, #now.items), 'Comment' })
  end
  api.nvim_set_hl(0, 'PassLspGhost', { link = 'Comment', default = true })
  api.nvim_buf_clear_namespace(now.buf, M.NAMESPACE, 0, -1)
  api.nvim_buf_set_extmark(now.buf, M.NAMESPACE, row, col, {
    virt_text = lines[1],
    virt_lines = vim.list_slice(lines, 2),
    virt_text_pos = 'inline',
    hl_mode = 'combine',
  })
  return true
end

--- After a part was taken: show what is left, from where the cursor now is. What is typed in another
--- place has taken it off the screen.
---@param before pass_lsp.Shown
function M.carry_on(before)
  local row, col, line = cursor(before.buf)
  local offer = before.offer
  local above = api.nvim_buf_get_lines(before.buf, offer.row, row, false)
  local there =
    table.concat(vim.list_extend(above, { line:sub(1, col) }), '\n'):sub(offer.first + 1)
  local fits = vim.startswith(offer.text, there) and vim.endswith(line, offer.tail)
  if not fits or there == offer.text then
    M.hide()
    return
  end
  if row ~= offer.row then
    -- What the suggestion replaces came down with the cursor.
    local rest = {
      text = offer.text:sub(#there + 1),
      row = row,
      first = col,
      right = line:sub(col + 1, #line - #offer.tail),
      tail = offer.tail,
    }
    shown = vim.tbl_extend('force', before, { offer = rest })
  end
  draw()
end

---@param client vim.lsp.Client
---@param buf integer
---@param items lsp.InlineCompletionItem[]
---@param index integer
local function show(client, buf, items, index)
  local offer = items[index] and M.offer(client, buf, items[index])
  if not offer then
    M.hide()
    return
  end
  shown = { buf = buf, client = client, items = items, index = index, offer = offer }
  if not draw() then
    return
  end
  native.hush(buf)
  -- A server that is told of one counts no other, and of those that Neovim itself draws nobody tells.
  if not native.draws then
    client:notify('textDocument/didShowCompletion', { item = items[index] })
  end
end

--- Ask the server what belongs at the cursor, and show it. A request that is under way is given up.
---@param client vim.lsp.Client
---@param buf integer
---@param kind 1|2 Invoked or automatic
---@param index? integer Which of the answers to show
function M.request(client, buf, kind, index)
  M.cancel()
  local params = vim.lsp.util.make_position_params(0, client.offset_encoding)
  params.context = { triggerKind = kind }
  local mine = { client = client, place = place(buf) }
  pending = mine
  local _, id = client:request(M.METHOD, params, function(err, result)
    if pending == mine then
      pending = nil
    end
    local elsewhere = api.nvim_get_current_buf() ~= buf
      or not vim.startswith(api.nvim_get_mode().mode, 'i')
    -- Null: a newer request has taken the place of this one. An answer to another place is none here.
    if err or not result or elsewhere or not vim.deep_equal(mine.place, place(buf)) then
      return
    end
    local items = result.items or result
    show(client, buf, items, index and (index - 1) % math.max(1, #items) + 1 or 1)
  end, buf)
  mine.id = id
end

--- Show the suggestion `step` places further on; asks for alternatives first.
---@param client vim.lsp.Client
---@param buf integer
---@param step integer
function M.cycle(client, buf, step)
  local now = M.current()
  if now and #now.items > 1 then
    show(client, buf, now.items, (now.index - 1 + step) % #now.items + 1)
  else
    M.request(client, buf, 1, 1 + step)
  end
end

--- Follow the typing in `buf`: what was shown shrinks, and where it does not fit the server is asked.
---@param client vim.lsp.Client
---@param buf integer
---@param asks boolean Whether to ask, or only to follow
function M.attach(client, buf, asks)
  local group = api.nvim_create_augroup(('pass_lsp.ghost.%d'):format(buf), {})
  api.nvim_create_autocmd({ 'InsertEnter', 'CursorMovedI', 'TextChangedI', 'TextChangedP' }, {
    group = group,
    buffer = buf,
    callback = function()
      if (shown and draw()) or not asks then
        return
      end
      -- One key is several events.
      if not pending or not vim.deep_equal(pending.place, place(buf)) then
        M.request(client, buf, 2)
      end
    end,
  })
  api.nvim_create_autocmd({ 'InsertLeave', 'BufLeave' }, {
    group = group,
    buffer = buf,
    callback = leave,
  })
  api.nvim_create_autocmd('LspDetach', {
    group = group,
    buffer = buf,
    callback = function(event)
      if event.data.client_id == client.id then
        leave()
        api.nvim_del_augroup_by_id(group)
      end
    end,
  })
  api.nvim_create_autocmd('ModeChanged', {
    group = group,
    pattern = '[iR]*:n*', -- <C-c> leaves without InsertLeave
    callback = function()
      if api.nvim_get_current_buf() == buf then
        leave()
        vim.schedule(native.clear)
      end
    end,
  })
end

return M
