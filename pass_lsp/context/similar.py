"""Windows of open files that share the most words with the code around the cursor (Jaccard)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from pass_lsp.documents.document import Document

WINDOW, _STEP = 40, 20
_MAX_WINDOWS = 100
_LEAST = 0.12
_WORD = re.compile(r"[A-Za-z_]\w{2,}")
_PART = re.compile(r"[A-Z]?[a-z]{3,}|[A-Z]{3,}")


@dataclass(frozen=True, slots=True)
class Window:
    """Lines `[first, last)` of a document and the words in them."""

    first: int
    last: int
    words: frozenset[str]


def words_of(text: str) -> frozenset[str]:
    """Names in a text, and the parts that they are made of."""
    names = set(_WORD.findall(text))
    return frozenset(names | {part.lower() for name in names for part in _PART.findall(name)})


@lru_cache(maxsize=64)
def windows_of(document: Document) -> tuple[Window, ...]:
    """Overlapping windows over a document, from its start."""
    starts = range(0, max(document.line_count - _STEP, 1), _STEP)[:_MAX_WINDOWS]
    return tuple(_window(document, first) for first in starts)


def _window(document: Document, first: int) -> Window:
    last = min(first + WINDOW, document.line_count)
    return Window(first, last, words_of(document.text[document.line_start(first) : document.line_end(last - 1)]))


def likeness(left: frozenset[str], right: frozenset[str]) -> float:
    """Shared words ÷ all words."""
    shared = len(left & right)
    return shared / (len(left) + len(right) - shared) if shared else 0.0


def most_similar(words: frozenset[str], documents: Iterator[Document]) -> list[tuple[Document, Window]]:
    """The best window of each document that is similar at all, the most similar first."""
    found: list[tuple[float, Document, Window]] = []
    for document in documents:
        scored = [(likeness(words, window.words), window) for window in windows_of(document)]
        score, best = max(scored, key=lambda pair: pair[0])
        if score >= _LEAST:
            found.append((score, document, best))
    found.sort(key=lambda entry: -entry[0])
    return [(document, window) for _, document, window in found]
