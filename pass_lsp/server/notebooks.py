"""Notebooks: which cells belong together, and in which order.

A cell is a document like any other; for a request the code cells of its notebook are put
together into one text, so that each is context for the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pass_lsp.documents.document import Document
from pass_lsp.documents.store import DocumentStore, key_of, path_of

CODE = 2
"""LSP's kind of a cell that holds code."""
_BETWEEN = "\n\n"


@dataclass(frozen=True)
class Cell:
    """One cell: the URI of its document, and LSP's kind of it."""

    uri: str
    kind: int

    @cached_property
    def key(self) -> str:
        """What its document goes by."""
        return key_of(self.uri)


class Notebooks:
    """Open notebooks by URI."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents
        self._cells: dict[str, list[Cell]] = {}

    def open(self, uri: str, cells: Sequence[Cell]) -> None:
        """Begin to follow a notebook."""
        self._cells[uri] = list(cells)

    def splice(self, uri: str, start: int, delete: int, cells: Sequence[Cell]) -> None:
        """Replace `delete` cells from `start` on; out of range is clamped."""
        if (known := self._cells.get(uri)) is not None:
            start = max(0, min(start, len(known)))
            known[start : start + max(0, delete)] = cells

    def renew(self, uri: str, cells: Sequence[Cell]) -> None:
        """Take in what is new of `cells`, such as their kind; their order stays."""
        new = {cell.key: cell for cell in cells}
        if (known := self._cells.get(uri)) is not None:
            known[:] = [new.get(cell.key, cell) for cell in known]

    def close(self, uri: str) -> None:
        """Forget a notebook."""
        self._cells.pop(uri, None)

    def around(self, document: Document) -> tuple[Document, int]:
        """The text of the notebook that `document` is a cell of, and where in it the cell begins."""
        key = key_of(document.uri)
        for uri, cells in self._cells.items():
            if any(cell.key == key for cell in cells):
                return self._joined(uri, cells, document, key)
        return document, 0

    def _joined(self, uri: str, cells: Sequence[Cell], document: Document, key: str) -> tuple[Document, int]:
        before: list[str] = []
        after: list[str] = []
        side = before
        for cell in cells:
            if cell.key == key:
                side = after
                continue
            other = self._documents.of_key(cell.key)
            if other is not None and cell.kind == CODE and other.language == document.language:
                side.append(other.text)
        head = "".join(text + _BETWEEN for text in before)
        tail = "".join(_BETWEEN + text for text in after)
        joined = Document(document.uri, head + document.text + tail, document.version, document.language, path_of(uri))
        return joined, len(head)
