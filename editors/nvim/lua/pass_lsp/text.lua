--- What is pure text about a suggestion. Knows neither buffers nor the server.
local M = {}

---@alias pass_lsp.Part 'all'|'word'|'line'

--- A suggestion in place of a part of one line.
---@class pass_lsp.Offer
---@field text string The whole text that goes in, lines separated by "\n"
---@field row integer The line, from 0
---@field first integer Byte of that line at which the replaced part begins, from 0
---@field right? string What of the replaced part stood right of the cursor
---@field tail string What stands behind the replaced part

--- What of `offer` is not there yet, with the cursor at byte `col` of `line`; nil where it no longer fits.
---@param offer pass_lsp.Offer
---@param line string
---@param col integer
---@return string? rest
---@return integer? last Byte at which the replaced part ends now
function M.rest(offer, line, col)
  local last = #line - #offer.tail
  if col < offer.first or col > last or line:sub(last + 1) ~= offer.tail then
    return nil
  end
  local there = line:sub(offer.first + 1, col)
  if not vim.startswith(offer.text, there) then
    return nil
  end
  local rest, right = offer.text:sub(#there + 1), line:sub(col + 1, last)
  -- Right of the cursor stands what the suggestion replaces, or closers that came by themselves.
  if right ~= (offer.right or '') and not vim.endswith(rest, right) then
    return nil
  end
  return rest, last
end

--- A text as a buffer has it. Where a file has CRLF, so has an answer; its buffer has only lines.
---@param text string
---@return string
function M.plain(text)
  return (text:gsub('\r\n', '\n'))
end

--- How much of an item's text is taken when `left` bytes of it, as it is plain, are not.
---@param text string
---@param left integer
---@param crlf boolean Whether the file has CRLF, and so had the answer
---@return integer # UTF-16 units of the text as it was answered
function M.taken(text, left, crlf)
  local plain = M.plain(text)
  local there = plain:sub(1, #plain - left)
  local _, ends = there:gsub('\n', '')
  return vim.str_utfindex(there, 'utf-16') + (crlf and ends or 0)
end

--- The beginning of `rest` that a user takes with one key: up to the end of its first word or line.
---@param rest string
---@param part pass_lsp.Part
---@return string
function M.part(rest, part)
  if part == 'word' then
    -- Bytes from 128 on belong to letters outside ASCII; a word is never cut inside one of them.
    return rest:match('^%s*[%w_\128-\255]+') or rest:match('^%s*[^%w_\128-\255%s]+') or rest
  elseif part == 'line' then
    return rest:match('^\n*[^\n]*')
  end
  return rest
end

return M
