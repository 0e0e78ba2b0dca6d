"""Parsing with tree-sitter: edited trees in a small cache, in rows and columns of the document.

Every non-ASCII character is replaced by one letter before parsing, so that one
character is one byte and a column of the tree is a column of the line. The text
before the cursor's line and the text after it are parsed apart: what stands half
typed on the cursor's line can then not change how the rest is understood.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from functools import cache

import tree_sitter
import tree_sitter_python

from pass_lsp.documents.document import Document

_GRAMMARS = {"python": tree_sitter_python.language}
_CAPACITY = 16
WINDOW_LINES = 2_000
_WINDOW_STEP = 500
_HEAD_LINES = 200
_BLOCK = 4_096
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_LONE_RETURN = re.compile(r"\r(?!\n)")


def knows(language: str) -> bool:
    """Whether there is a grammar for `language`."""
    return language in _GRAMMARS


@cache
def _language(name: str) -> tree_sitter.Language:
    return tree_sitter.Language(_GRAMMARS[name]())


class Trees(threading.local):
    """The last few trees, each edited and reparsed when its text changes. Every thread has its own."""

    def __init__(self) -> None:
        self._trees: OrderedDict[tuple[str, str], tuple[str, bytes, tree_sitter.Tree]] = OrderedDict()

    def before(self, document: Document, line: int, lead: str, language: str) -> tree_sitter.Node:
        """The root over the lines before `line`; its rows are lines of the document.

        A name stands for the cursor's line, behind the white space `lead`, so that a
        block which is still empty parses. In a huge file the tree sees the head and a window.
        """
        start = max((line - WINDOW_LINES) // _WINDOW_STEP * _WINDOW_STEP, 0)
        head = min(_HEAD_LINES, start)
        text = document.text[: document.line_start(head)] if head else ""
        window = document.text[document.line_start(start) : document.line_start(line)]
        source = _one_byte_each(text) + b"\n" * (start - head) + _one_byte_each(window)
        return self._parse((document.uri, "before"), language, source + lead.encode() + b"x\n")

    def after(self, document: Document, line: int, language: str) -> tree_sitter.Node:
        """The root over the lines after `line`; row 0 is `line + 1`."""
        first, last = line + 1, line + 1 + WINDOW_LINES
        end = document.line_start(last) if last < document.line_count else len(document.text)
        start = document.line_start(first) if first < document.line_count else end
        return self._parse((document.uri, "after"), language, _one_byte_each(document.text[start:end]))

    def _parse(self, key: tuple[str, str], language: str, source: bytes) -> tree_sitter.Node:
        known = self._trees.pop(key, None)
        old = known[2] if known and known[0] == language else None
        if known and old and known[1] == source:
            tree = old
        else:
            if known and old:
                _edit(old, known[1], source)
            parser = tree_sitter.Parser(_language(language))
            tree = parser.parse(source, old) if old else parser.parse(source)
        self._trees[key] = (language, source, tree)
        while len(self._trees) > _CAPACITY:
            self._trees.popitem(last=False)
        return tree.root_node


def _one_byte_each(text: str) -> bytes:
    if "\r" in text:
        text = _LONE_RETURN.sub("\n", text)
    if not text.isascii():
        text = _NOT_ASCII.sub(lambda match: "x" * len(match.group()), text)
    return text.encode("ascii")


def _edit(tree: tree_sitter.Tree, old: bytes, new: bytes) -> None:
    """Tell `tree` of the one replacement that makes `new` of `old`."""
    start = _common(old, new)
    shared = min(len(old), len(new)) - start
    tail = _common(old[len(old) - shared :][::-1], new[len(new) - shared :][::-1])
    old_end, new_end = len(old) - tail, len(new) - tail
    tree.edit(start, old_end, new_end, _point(old, start), _point(old, old_end), _point(new, new_end))


def _common(left: bytes, right: bytes) -> int:
    """The length of the common beginning, compared a block at a time."""
    limit, at = min(len(left), len(right)), 0
    while at < limit and left[at : at + _BLOCK] == right[at : at + _BLOCK]:
        at += _BLOCK
    at = min(at, limit)
    while at < limit and left[at] == right[at]:
        at += 1
    return at


def _point(source: bytes, at: int) -> tuple[int, int]:
    return source.count(b"\n", 0, at), at - (source.rfind(b"\n", 0, at) + 1)
