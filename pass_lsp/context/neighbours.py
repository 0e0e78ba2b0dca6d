"""What other files have to say: found by several sources, fused by rank, and kept while the cursor stays near.

Each source gives pieces, best first; a piece counts the more, the higher it ranks in more of
them (reciprocal rank fusion, Cormack et al. 2009). What the prompt shows of the document
already is left out. The choice stays the same until the cursor has moved away or another
document has changed, because it stands in front of the prompt: a model would read all anew.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from pass_lsp.context.definitions import Definition, definitions_of
from pass_lsp.context.files import imported, may_show
from pass_lsp.context.similar import WINDOW, most_similar, windows_of, words_of
from pass_lsp.documents.document import Document
from pass_lsp.documents.languages import language_of, row_of
from pass_lsp.documents.workspace import Workspace
from pass_lsp.domain import Snippet

LIMIT_MS = 50.0
_FUSION = 60
_MOST = 12
_MOST_FILES = 20
_MOST_OPEN = 3
_STAYS = 40
"""Lines that the cursor may move before the choice is made anew."""
_FAR = 100
"""Lines from the cursor to an edit of the same document that the prefix may not show."""
_TELLING = 8
_SAME = 0.5
_CAPACITY = 16
_NAME = re.compile(r"(?!_+\b)([A-Za-z_]\w*)(\.|::)?")
"""Of underscores alone none is made: what is called so is nothing."""


@dataclass(frozen=True, slots=True)
class Spot:
    """The cursor in its document."""

    document: Document
    path: str
    language: str
    line: int

    def lines(self, before: int, after: int) -> str:
        """The text around the cursor."""
        first = self.document.line_start(max(self.line - before, 0))
        return self.document.text[first : self.document.line_end(min(self.line + after, self.document.line_count - 1))]


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows `[first, last)` of a file that may be shown, and the text to show of them."""

    path: str
    first: int
    last: int
    text: str
    source: str

    def overlaps(self, other: Piece) -> bool:
        """Whether both show the same rows."""
        return self.path == other.path and self.first < other.last and other.first < self.last


@dataclass(frozen=True, slots=True)
class _Choice:
    key: tuple[object, ...]
    line: int
    complete: bool
    snippets: tuple[Snippet, ...]


class Neighbours(threading.local):
    """The snippets of the last few documents."""

    def __init__(self) -> None:
        self._choices: OrderedDict[str, _Choice] = OrderedDict()

    def snippets(self, spot: Spot, workspace: Workspace, sources: tuple[str, ...], room: int) -> tuple[Snippet, ...]:
        """At most `room` characters of other files, in the order of the prompt: the most useful one last."""
        if not (workspace.documents or workspace.roots or workspace.edits) or room <= 0:
            return ()
        # Not by its version: that begins anew with each opening, and some clients send none.
        others = tuple((other.uri, hash(other.text)) for other in workspace.documents if other.uri != spot.document.uri)
        key = (frozenset(others), workspace.roots, sources, room)
        last = self._choices.pop(spot.document.uri, None)
        if last is None or last.key != key or not last.complete or abs(last.line - spot.line) > _STAYS:
            end = time.perf_counter() + LIMIT_MS / 1000
            pieces = fused(_found(spot, workspace, sources, end))
            snippets = _fitting(pieces, spot, room)
            last = _Choice(key, spot.line, time.perf_counter() < end, snippets)
        self._choices[spot.document.uri] = last
        while len(self._choices) > _CAPACITY:
            self._choices.popitem(last=False)
        return last.snippets


def prepare(workspace: Workspace, cancelled: Callable[[], bool]) -> None:
    """Read ahead of a request what its sources will ask of the open documents."""
    for document in islice(workspace.documents, _MOST_FILES):
        if cancelled():
            return
        if may_show(document, workspace):
            windows_of(document)
            definitions_of(document)


def fused(lists: list[list[Piece]]) -> list[Piece]:
    """All pieces, best first, by the sum of 1 / (60 + rank) over the lists that have them or a part of them."""
    scores: dict[Piece, float] = {}
    for number, ranked in enumerate(lists):
        for piece in ranked:
            scores[piece] = (
                sum(
                    max(
                        (1 / (_FUSION + rank) for rank, other in enumerate(ranks) if other.overlaps(piece)), default=0.0
                    )
                    for ranks in lists
                )
                - number * 1e-9
            )  # of equals the earlier source first
    return sorted(scores, key=lambda piece: -scores[piece])


def _found(spot: Spot, workspace: Workspace, sources: tuple[str, ...], end: float) -> list[list[Piece]]:
    def expired() -> bool:
        return time.perf_counter() >= end

    def others() -> Iterator[Document]:
        for document in islice(workspace.documents, _MOST_FILES):
            if expired():
                return
            if document.uri != spot.document.uri and may_show(document, workspace):
                yield document

    ways: dict[str, Callable[[], Iterator[Piece]]] = {
        "definitions": lambda: _definitions(spot, workspace, expired),
        "edits": lambda: _edits(spot, workspace),
        "similar": lambda: _similar(spot, others()),
        "open": lambda: _open(spot, others()),
    }
    lists: list[list[Piece]] = []
    for source in (name for name in ways if name in sources):
        ranked: list[Piece] = []
        for piece in islice(ways[source](), _MOST):
            ranked.append(piece)
            if expired():
                break
        lists.append(ranked)
        if expired():
            break
    return lists


def _definitions(spot: Spot, workspace: Workspace, expired: Callable[[], bool]) -> Iterator[Piece]:
    """Definitions behind the imports, of names that the code around the cursor says, the nearest to it first; of a
    module that it says a member of, what else there is.
    """
    modules, source = row_of(spot.language).modules, "definitions"
    found: list[tuple[int, bool, Piece]] = []
    documents = imported(spot.document, spot.path, modules, workspace, _said(spot), expired) if modules else ()
    for document, far in documents:
        others: list[Definition] = []
        for it in definitions_of(document):
            if it.name in far:
                found.append((far[it.name], False, Piece(document.path, it.first, it.last, it.text, source)))
            else:
                others.append(it)
        if "*." in far and others:
            found.append((far["*."], True, _outline(document, others, source)))
    yield from (piece for *_, piece in sorted(found, key=lambda each: each[:2]))


def _said(spot: Spot) -> dict[str, int]:
    """The names around the cursor, and how many lines away from it the nearest of each stands; see `Said`."""
    far: dict[str, int] = {}
    for row, line in enumerate(spot.lines(_STAYS, WINDOW // 4).split("\n"), max(spot.line - _STAYS, 0)):
        for name, dot in _NAME.findall(line):
            for each in (name, f"{name}." if dot else name):
                far[each] = min(abs(row - spot.line), far.get(each, _FAR))
    far.pop("default", None)  # of another module it says nothing
    return far


def _edits(spot: Spot, workspace: Workspace) -> Iterator[Piece]:
    """What was edited not long ago, in other documents or far from the cursor."""
    documents = {document.uri: document for document in workspace.documents} | {spot.document.uri: spot.document}
    for region in workspace.edits:
        document = documents.get(region.uri)
        if document is None or not may_show(document, workspace):
            continue
        if document is spot.document and region.first - _FAR < spot.line < region.last + _FAR:
            continue
        yield _piece(document, region.first - 3, min(region.last, region.first + 10) + 4, "edits")


def _similar(spot: Spot, others: Iterator[Document]) -> Iterator[Piece]:
    for document, window in most_similar(words_of(spot.lines(WINDOW * 3 // 4, WINDOW // 4)), others):
        yield _piece(document, window.first, window.last, "similar")


def _open(spot: Spot, others: Iterator[Document]) -> Iterator[Piece]:
    """What the documents used last define, in outline."""
    alike = (document for document in others if language_of(document.path, document.language) == spot.language)
    for document in islice(alike, _MOST_OPEN):
        if found := definitions_of(document):
            yield _outline(document, found, "open")


def _outline(document: Document, found: Sequence[Definition], source: str) -> Piece:
    """The first lines of some definitions."""
    first_lines = "".join(definition.text.partition("\n")[0] + "\n" for definition in found[:WINDOW])
    return Piece(document.path, found[0].first, found[0].first + 1, first_lines, source)


def _piece(document: Document, first: int, last: int, source: str) -> Piece:
    first, last = max(first, 0), max(min(last, document.line_count), 1)
    first = min(first, last - 1)
    text = document.text[document.line_start(first) : document.line_end(last - 1)] + "\n"
    return Piece(document.path, first, last, text, source)


def _fitting(pieces: list[Piece], spot: Spot, room: int) -> tuple[Snippet, ...]:
    """The best pieces that fit, less those that say what is said already; those of one file together."""
    said = {line.strip() for line in spot.lines(_FAR, _FAR).splitlines()}
    chosen: dict[str, list[Piece]] = {}
    for piece in pieces:
        lines = [line.strip() for line in piece.text.splitlines() if len(line.strip()) >= _TELLING]
        new = [line for line in lines if line not in said]
        if len(piece.text) > room or not lines or len(new) < len(lines) * _SAME:
            continue
        if any(piece.overlaps(other) for other in chosen.get(piece.path, ())):
            continue
        chosen.setdefault(piece.path, []).append(piece)
        room -= len(piece.text)
        said.update(lines)
    ranked = [_snippet(rank, found) for rank, found in enumerate(chosen.values())]
    return tuple(reversed(ranked))


def _snippet(rank: int, pieces: list[Piece]) -> Snippet:
    text = "".join(piece.text for piece in sorted(pieces, key=lambda piece: piece.first))
    return Snippet(pieces[0].path, text.replace("\r\n", "\n"), rank, pieces[0].source)
