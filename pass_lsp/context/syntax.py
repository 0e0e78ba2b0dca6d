"""Parsing with tree-sitter: one edited tree for each document, in rows and columns of the document.

Every non-ASCII character is replaced by one letter before parsing, so that one character is
one byte and a column of the tree is a column of the line. The cursor's line is left out, so
that what stands half typed on it cannot change how the rest is understood, and typing on one
line parses nothing. Grammars come inside wheels; none is loaded before its language is used.
"""

from __future__ import annotations

import codecs
import itertools
import re
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module

import tree_sitter

from pass_lsp.documents.document import Document
from pass_lsp.documents.languages import row_of
from pass_lsp.documents.scan import Lexis

Point = tuple[int, int]
_CAPACITY = 16
WINDOW_LINES = 6_000
"""Lines on each side of the cursor that a tree sees, in files that have more; it moves by `_WINDOW_STEP`."""
_WINDOW_STEP = 2_000
_HEAD_LINES = 400
_DEEPEST = 1_000
_PART = 1 << 15
"""Bytes that the parser is handed at once."""
_QUICK_S, _SMALL_EDIT = 0.1, 1 << 13
PATIENCE_S = 0.4
"""After so much work a text is not parsed but trimmed by lines, and tried again no sooner than `_AGAIN_S` later.
Of this thread's own processor time: what else runs on a busy machine says nothing about the text."""
_AGAIN_S = 30.0
_MOST_IN_ERROR = 2_000
_LEVELS = 200
_LONG_LINE, _INDICATOR = re.compile(rb"^[^\n]{200,}", re.MULTILINE), re.compile(rb"^[ \t]+|[-?:](?=\s)")
_LONE_RETURN = re.compile(r"\r(?!\n)")


@cache
def knows(language: str) -> bool:
    """Whether there is a grammar for `language`, and it can be loaded."""
    name = row_of(language).grammar
    try:
        return bool(name and grammar(name))
    except (ImportError, AttributeError, ValueError):  # not installed, or of another version of tree-sitter
        return False


@cache
def grammar(name: str) -> tree_sitter.Language:
    """The grammar that a row of the table names: a module, and its function if it has several."""
    module, _, function = name.partition(":")
    return tree_sitter.Language(getattr(import_module(module), function or "language")())


@cache
def _query(name: str, pattern: str) -> tree_sitter.Query:
    return tree_sitter.Query(grammar(name), pattern)


def captured(
    root: tree_sitter.Node, name: str, pattern: str, first: int, last: int, depth: int
) -> list[tree_sitter.Node]:
    """The nodes that a pattern of grammar `name` captures as `@it` in rows `[first, last)`, no deeper than `depth`."""
    if root.has_error and _is_one_error(root, first):
        return []
    cursor = tree_sitter.QueryCursor(_query(name, pattern))
    cursor.set_point_range((first, 0), (last, 0))
    cursor.set_max_start_depth(depth)
    return cursor.captures(root).get("it", [])


def _is_one_error(root: tree_sitter.Node, row: int) -> bool:
    """Whether a query would go through an error of so many parts that each step takes longer than the one before.

    It can be told to stop, but py-tree-sitter 0.26 then reads memory that it has given back.
    """
    nodes = itertools.chain(path_to(root, (row, 0)), root.children)
    return any(node.is_error and node.child_count > _MOST_IN_ERROR for node in nodes)


def path_to(root: tree_sitter.Node, point: Point) -> list[tree_sitter.Node]:
    """The nodes around the character at `point`, outermost first. Does not climb, which costs the depth each step."""
    cursor, path = root.walk(), [root]
    while len(path) < _DEEPEST and cursor.goto_first_child_for_point(point) is not None:
        node = cursor.node
        if node is None or node.start_point > point:
            break
        path.append(node)
    return path


@dataclass(slots=True)
class _Parsed:
    """A text, its tree, and how long it took; no tree, and when that was, if it took too long."""

    source: bytes
    tree: tree_sitter.Tree | None
    taken: float = 0.0
    failed: float = 0.0


class Trees(threading.local):
    """The last few trees, each edited and reparsed when its text changes. Every thread has its own."""

    def __init__(self) -> None:
        self._trees: OrderedDict[tuple[str, str], _Parsed] = OrderedDict()

    def around(self, document: Document, line: int, lead: str, language: str) -> tree_sitter.Node | None:
        """The root over `document` without its line `line`; rows are lines of the document.

        In languages that need one, a name stands for the line, behind the white space `lead`,
        so that a block which is still empty parses; for a line on which a string of several lines begins
        or ends, the mark of that, as all below would be inside out. Of a huge file the tree sees the head and a
        window. None if parsing takes too long. `language` must be one that `knows` knows.
        """
        filler = _mark(document, line, row_of(language).lexis) or row_of(language).filler
        above, below = sides_of(document, line)
        source = above + ((lead + filler).encode() if filler else b"") + below
        return self.root(document.uri, language, source)

    def root(self, key: str, language: str, source: bytes) -> tree_sitter.Node | None:
        """The root over `source`, made of the last tree of the same document by an edit; None after a while."""
        known = self._trees.pop((key, language), None)
        if known is None or known.tree is None or known.source != source:
            known = _parsed(language, source, known)
        self._trees[key, language] = known
        while len(self._trees) > _CAPACITY:
            self._trees.popitem(last=False)
        return known.tree.root_node if known.tree else None


def sides_of(document: Document, line: int) -> tuple[bytes, bytes]:
    """What a tree sees above and below `line`; of a huge file the head, empty lines up to a window, and that."""
    text = document.text
    start = max((line - WINDOW_LINES) // _WINDOW_STEP * _WINDOW_STEP, 0)
    stop = -(-(line + WINDOW_LINES) // _WINDOW_STEP) * _WINDOW_STEP
    head = min(_HEAD_LINES, start)
    end = document.line_start(stop) if stop < document.line_count else len(text)
    above = _standing(text[document.line_start(start) : document.line_start(line)])
    if start:
        above = _standing(text[: document.line_start(head)]) + b"\n" * (start - head) + above
    return above, _standing(text[document.line_end(line) : end])


def _mark(document: Document, line: int, lexis: Lexis) -> str:
    """The mark of a string that goes on above or below `line`, if the document has pairs of it."""
    text = document.text[document.line_start(line) : document.line_end(line)]
    marks = (mark for mark, close in lexis.strings if mark == close and mark in lexis.long and mark not in "\"'")
    return next((mark for mark in marks if text.count(mark) % 2 and not document.text.count(mark) % 2), "")


def parsed_once(language: str, source: bytes) -> tree_sitter.Node | None:
    """The root over a text that is not kept; None if parsing takes too long."""
    tree = _parsed(language, source, None).tree
    return tree.root_node if tree else None


def _parsed(language: str, source: bytes, last: _Parsed | None) -> _Parsed:
    began = time.thread_time()
    if last and last.tree is None and time.monotonic() - last.failed < _AGAIN_S:
        return _Parsed(source, None, failed=last.failed)
    if language == "yaml" and _is_deep(source):
        return _Parsed(source, None, failed=time.monotonic())
    parser = tree_sitter.Parser(grammar(row_of(language).grammar))
    try:
        if last and last.tree:
            _edit(last.tree, last.source, source)
            quick = last.taken < _QUICK_S and abs(len(source) - len(last.source)) < _SMALL_EDIT
            tree = parser.parse(source, last.tree) if quick else _patiently(parser, source, last.tree)
        else:
            tree = _patiently(parser, source)
    except ValueError:
        return _Parsed(source, None, failed=time.monotonic())
    return _Parsed(source, tree, time.thread_time() - began)


def _is_deep(source: bytes) -> bool:
    """Whether a line may stand in so many blocks of YAML: tree-sitter-yaml 0.7 ends the process at some 250 levels.

    Each level begins in a column of its own, at the indentation of a line or behind a mark in it.
    """
    lines = (match.group() for match in _LONG_LINE.finditer(source))
    return any(sum(len(mark) for mark in _INDICATOR.findall(line)) >= _LEVELS for line in lines)


def _patiently(parser: tree_sitter.Parser, source: bytes, old: tree_sitter.Tree | None = None) -> tree_sitter.Tree:
    """Parse, but not longer than `PATIENCE_S`; raises ValueError then.

    Only a text that is read through a callback can be given up.
    """
    began, handed = time.thread_time(), _HANDED.part

    def read(at: int, _: object) -> bytearray | bytes:
        if handed is None:  # the text of a node is read, of which nothing but bytes may come
            return source[at : at + 1]
        handed[:] = source[at : at + _PART]
        return handed

    def too_long(*_: object) -> bool:
        return time.thread_time() - began > PATIENCE_S

    given = (read,) if old is None else (read, old)
    tree = parser.parse(*given, progress_callback=too_long)  # type: ignore[arg-type]
    handed = None
    return tree


class _Handed(threading.local):
    """Where each part of a text stands while the parser reads it: py-tree-sitter 0.26 never lets go of what a
    callback returns, so it is always this one.
    """

    def __init__(self) -> None:
        self.part = bytearray()


_HANDED = _Handed()


def one_byte_each(text: str) -> bytes:
    """A text as the parser gets it: one byte for each character, lines ended by `\\n`."""
    if "\r" in text:
        text = _LONE_RETURN.sub("\n", text)
    return text.encode("ascii", "pass-lsp-letters")


def _standing(text: str) -> bytes:
    """`one_byte_each` of what stays while one types on the cursor's line."""
    return one_byte_each(text) if text.isascii() else _kept(text)


_kept = lru_cache(maxsize=3)(one_byte_each)
"""The three pieces of a huge file."""


def _letters(error: UnicodeError) -> tuple[str, int]:
    """What the codec puts in place of a run of characters that it does not have."""
    assert isinstance(error, UnicodeEncodeError)
    return "x" * (error.end - error.start), error.end


# Several times as fast as a regular expression, in texts of which all is read with every key.
codecs.register_error("pass-lsp-letters", _letters)


def _edit(tree: tree_sitter.Tree, old: bytes, new: bytes) -> None:
    """Tell `tree` of the one replacement that makes `new` of `old`."""
    start = _common(old, new)
    shared = min(len(old), len(new)) - start
    tail = _common_end(old, new, shared)
    old_end, new_end = len(old) - tail, len(new) - tail
    row, column = _point(old, start)
    tree.edit(
        start, old_end, new_end,
        (row, column), _point(old, old_end, start, row), _point(new, new_end, start, row),
    )  # fmt: skip


def _common(left: bytes, right: bytes) -> int:
    """The length of the common beginning, found by halving."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _common_end(left: bytes, right: bytes, limit: int) -> int:
    """The length of the common end, at most `limit`."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if left[len(left) - middle : len(left) - low] == right[len(right) - middle : len(right) - low]:
            low = middle
        else:
            high = middle - 1
    return low


def _point(source: bytes, at: int, since: int = 0, row: int = 0) -> Point:
    """Row and column of `at`; counted from `since`, which lies in `row`."""
    return row + source.count(b"\n", since, at), at - (source.rfind(b"\n", 0, at) + 1)
