"""Between LSP items and the domain's nouns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from lsprotocol import types

from pass_lsp.documents.document import Document, Encoding
from pass_lsp.documents.store import Change
from pass_lsp.domain import Completion
from pass_lsp.server.usage import COMMAND

Name = Callable[[Completion], str]
"""Gives a completion that leaves the id that it goes by."""
_LABEL = 80


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
    completions: Sequence[Completion], document: Document, offset: int, encoding: Encoding, name: Name
) -> types.InlineCompletionList:
    """The answer to an inline request at `offset`.

    Editors draw an item only if its range is on the cursor's line and holds the cursor.
    """
    return types.InlineCompletionList(
        items=[
            types.InlineCompletionItem(
                shown.text, range=_range(shown, document, encoding), command=_command(name(shown))
            )
            for shown in completions
            if _drawable(shown, document, offset)
        ]
    )


def menu_of(
    completions: Sequence[Completion], document: Document, offset: int, encoding: Encoding, name: Name
) -> types.CompletionList:
    """The answer for a client without inline completion: items of its menu, to be asked for again with each key."""
    items = [
        _entry(_from_word(shown, document), document, offset, encoding, name)
        for shown in completions
        if _drawable(shown, document, offset)
    ]
    return types.CompletionList(is_incomplete=True, items=items)


def _entry(shown: Completion, document: Document, offset: int, encoding: Encoding, name: Name) -> types.CompletionItem:
    first, more, _ = shown.text.partition("\n")
    label = first.strip() or shown.text.strip().partition("\n")[0].strip()
    return types.CompletionItem(
        label=label if len(label) <= _LABEL else label[: _LABEL - 1] + "…",
        kind=types.CompletionItemKind.Text,
        detail="pass-lsp",
        documentation=_preview(shown.text, document.language) if more else None,
        # What the client compares with the typed word, which the range begins with.
        filter_text=document.text[shown.start : offset] + _first_line(shown.text[offset - shown.start :]),
        sort_text="\0",
        insert_text_format=types.InsertTextFormat.PlainText,
        insert_text_mode=types.InsertTextMode.AsIs,
        text_edit=types.TextEdit(_range(shown, document, encoding), shown.text),
        command=_command(name(shown)),
    )


def _first_line(text: str) -> str:
    return text.partition("\n")[0].removesuffix("\r")


def _from_word(shown: Completion, document: Document) -> Completion:
    """The same with a range that begins where the word at the cursor does: menus filter by that word."""
    start = shown.start
    while start > 0 and (document.text[start - 1].isalnum() or document.text[start - 1] == "_"):
        start -= 1
    return replace(shown, text=document.text[start : shown.start] + shown.text, start=start)


def _preview(text: str, language: str) -> types.MarkupContent:
    fence = "```" if "```" not in text else "~~~~~~"
    return types.MarkupContent(types.MarkupKind.Markdown, f"{fence}{language}\n{text}\n{fence}")


def _command(name: str) -> types.Command:
    return types.Command("Accept the suggestion", COMMAND, arguments=[name])


def _range(shown: Completion, document: Document, encoding: Encoding) -> types.Range:
    return types.Range(position_at(document, shown.start, encoding), position_at(document, shown.end, encoding))


def _drawable(completion: Completion, document: Document, offset: int) -> bool:
    """Whether an editor can draw it, and accepting it changes something: `)` in place of `)` does not."""
    line = document.line_at(offset)
    inside = completion.start <= offset <= completion.end
    there = inside and document.line_start(line) <= completion.start and completion.end <= document.line_end(line)
    return there and completion.text != document.text[completion.start : completion.end]
