"""`DocumentStore`: the latest `Document` of every open URI.

One thread (the server's event loop) mutates it; whoever needs a text takes the
immutable `Document` and keeps it. Knows nothing of LSP types, nor of the disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from pass_lsp.documents.document import Document, Encoding
from pass_lsp.documents.workspace import Region, Workspace, with_edit

Place = tuple[int, int]
"""Line and character of an LSP position, in the units of the store's encoding."""


@dataclass(frozen=True, slots=True)
class Change:
    """One edit: `text` replaces `[start, end)`, or the whole document where `start` is None."""

    text: str
    start: Place | None = None
    end: Place = (0, 0)


class DocumentStore:
    """Open documents by URI. `encoding` is what the client counts characters in."""

    def __init__(self, encoding: Encoding = "utf-16") -> None:
        self.encoding: Encoding = encoding
        self._documents: dict[str, Document] = {}
        self._edits: tuple[Region, ...] = ()

    def __len__(self) -> int:
        return len(self._documents)

    def __iter__(self) -> Iterator[Document]:
        return iter(self._documents.values())

    def get(self, uri: str) -> Document | None:
        """The latest version of an open document, else None."""
        return self.of_key(key_of(uri))

    def of_key(self, key: str) -> Document | None:
        """The same by what `key_of` makes of the URI, once: in what it gives, a `%` is one."""
        return self._documents.get(key)

    def open(self, uri: str, text: str, version: int = 0, language: str = "") -> Document:
        """Begin to follow a document; opening it again replaces its text."""
        document = Document(uri, text, version, language, path_of(uri))
        self._use(document)
        return document

    def change(self, uri: str, changes: Iterable[Change], version: int | None = None) -> Document | None:
        """Apply `changes` one after the other; None if the document is not open."""
        document = self.get(uri)
        if document is None:
            return None
        for change in changes:
            document = self._changed(document, change, version)
        self._use(document)
        return document

    def close(self, uri: str) -> bool:
        """Forget a document; whether it was open."""
        return self._documents.pop(key_of(uri), None) is not None

    def workspace(self, roots: tuple[str, ...] = ()) -> Workspace:
        """What is open now, the documents used last first, and where it was edited."""
        return Workspace(tuple(reversed(self._documents.values())), self._edits, roots)

    def _use(self, document: Document) -> None:
        """Keep `document` as the one used last."""
        self._documents.pop(key_of(document.uri), None)
        self._documents[key_of(document.uri)] = document

    def _changed(self, document: Document, change: Change, version: int | None) -> Document:
        if change.start is None:
            return document.edited(0, len(document.text), change.text, version)
        start = document.offset(*change.start, self.encoding)
        end = document.offset(*change.end, self.encoding)
        first, last = document.line_at(start), document.line_at(end)
        new = change.text.count("\n")
        region = Region(document.uri, first, first + new)
        self._edits = with_edit(self._edits, region, inserted=new - (last - first))
        return document.edited(start, end, change.text, version)


def key_of(uri: str) -> str:
    """What makes two spellings of a URI the same document: clients differ in what they escape.

    Bytes that are no UTF-8, as of a file named in Latin-1, stay what they are.
    """
    return unquote(uri, errors="surrogateescape")


def path_of(uri: str) -> str:
    """The file path of a `file:` URI, the path part of any other (untitled, notebook cell), "" for junk."""
    try:
        parts = urlsplit(uri)
        # Windows's own reader knows no drive in `/c%3A/a.py`, as VS Code writes it.
        return url2pathname(parts.path.replace("%3A", ":", 1)) if parts.scheme == "file" else unquote(parts.path)
    except (ValueError, OSError):
        return ""
