"""Between LSP items and the domain's nouns."""

from __future__ import annotations

from lsprotocol import types

from pass_lsp.documents.document import Document, Encoding
from pass_lsp.documents.store import Change
from pass_lsp.domain import Completion


def offset_at(document: Document, position: types.Position, encoding: Encoding) -> int:
    """Where `position` is in the text, clamped into it."""
    return document.offset(position.line, position.character, encoding)


def position_at(document: Document, offset: int, encoding: Encoding) -> types.Position:
    """The position of `offset`."""
    return types.Position(*document.position(offset, encoding))


def change_of(event: types.TextDocumentContentChangeEvent) -> Change:
    """One content change of a `didChange`."""
    if isinstance(event, types.TextDocumentContentChangeWholeDocument):
        return Change(event.text)
    start, end = event.range.start, event.range.end
    return Change(event.text, (start.line, start.character), (end.line, end.character))


def items_of(
    completion: Completion | None, document: Document, offset: int, encoding: Encoding
) -> types.InlineCompletionList:
    """The answer to a request at `offset`: one item, or none.

    Editors draw an item only if its range is on the cursor's line and holds the cursor.
    """
    if completion is None or not _around(completion, document, offset):
        return types.InlineCompletionList(items=[])
    replaced = types.Range(
        position_at(document, completion.start, encoding), position_at(document, completion.end, encoding)
    )
    return types.InlineCompletionList(items=[types.InlineCompletionItem(completion.text, range=replaced)])


def _around(completion: Completion, document: Document, offset: int) -> bool:
    line = document.line_at(offset)
    inside = completion.start <= offset <= completion.end
    return inside and document.line_start(line) <= completion.start and completion.end <= document.line_end(line)
