-- A server inside Neovim that says what a test wants: `answer(params)` gives the items of an inline request, or nil
-- for a request that is never answered; `sent` has all that came. `tell(method, params)` is what it says by itself.
sent = {}
answer = function()
  return {}
end

local ids = 0
vim.lsp.config('pass_lsp', {
  cmd = function(dispatchers)
    local ended = false
    tell = dispatchers.notification
    local function request(method, params, callback)
      ids = ids + 1
      table.insert(sent, { method = method, params = params })
      local result = vim.empty_dict()
      if method == 'initialize' then
        result = { capabilities = {
          executeCommandProvider = { commands = { 'pass-lsp.accepted' } },
          inlineCompletionProvider = vim.empty_dict(),
          positionEncoding = 'utf-16',
          textDocumentSync = { openClose = true, change = 2 },
        } }
      elseif method == 'textDocument/inlineCompletion' then
        local items = answer(params)
        result = items and { items = items }
      end
      if result then
        vim.schedule(function()
          callback(nil, result)
        end)
      end
      return true, ids
    end
    local function notify(method, params)
      table.insert(sent, { method = method, params = params })
      return true
    end
    local function terminate()
      ended = true
      vim.schedule(function()
        dispatchers.on_exit(0, 15)
      end)
    end
    return {
      request = request,
      notify = notify,
      is_closing = function()
        return ended
      end,
      terminate = terminate,
    }
  end,
})

--- An item at the cursor that replaces `right` characters behind it.
function item(params, text, right)
  local start = params.position
  local stop = { line = start.line, character = start.character + (right or 0) }
  local command = { title = 'Accept', command = 'pass-lsp.accepted', arguments = { text } }
  return { insertText = text, range = { start = start, ['end'] = stop }, command = command }
end

--- Answer with one such item from now on.
function offer(text, right)
  answer = function(params)
    return { item(params, text, right) }
  end
end

--- All that came by one method.
function came(method)
  return vim.tbl_filter(function(each)
    return each.method == method
  end, sent)
end
