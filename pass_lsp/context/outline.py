"""What trimming wants to know of a tree: imports, headers around the cursor, and bodies that may be left out.

Which nodes these are stands in the table of languages; here is only what all languages share:
a definition has a header, and a body that begins behind a bracket or on the next line.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field

from tree_sitter import Node

from pass_lsp.context.mode import LOOK_BACK
from pass_lsp.context.syntax import Point, captured, path_to
from pass_lsp.documents.document import Document
from pass_lsp.documents.languages import Language
from pass_lsp.documents.scan import columns, indentation

_MIN_BODY = 3
"""Lines below which leaving a body out saves nothing worth the loss."""
_MOST_CLOSERS = 16
"""Lines at the end of a definition that may be indented no deeper than its header."""
_DEEPEST = 100
_HEAD_LINES = 400
"""Imports are looked for in these first lines of a file."""


@dataclass(frozen=True, slots=True)
class Outline:
    """Rows of some part of a document. Ranges are half-open; `bodies` maps a first row to the row after the last."""

    imports: list[range] = field(default_factory=list)
    headers: list[range] = field(default_factory=list)
    """First rows of the definitions around the cursor, decorators included, outermost first."""
    bodies: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tree:
    """A parsed document, with the cursor on the line `line` that the tree does not see.

    `indent` is the column at which the line begins or would begin.
    """

    root: Node
    document: Document
    row: Language
    line: int
    indent: int

    def around(self) -> list[Node]:
        """Definitions that the cursor is in, innermost first."""
        loose = self.row.lexis.indented and not self.row.filler
        point = self._above(self.line) if loose else (self.line, self.indent if self.row.filler else 0)
        found: list[Node] = []
        for node in reversed(path_to(self.root, point)):
            inside = node.start_point[1] < self.indent if loose else node.end_point[0] >= self.line
            if inside and node.start_point[0] < self.line and self._defines(node):
                found.append(node)
        return found

    def _defines(self, node: Node) -> bool:
        return node.type in self.row.folds.split() or node.type in self.row.scopes.split()

    def _above(self, line: int) -> Point:
        """The last character above `line`, where blank lines belong to no block."""
        end = len(self.document.text[: self.document.line_start(line)].rstrip())
        return self.document.position(max(end - 1, 0), "utf-32")

    def anchor(self) -> tuple[int, str] | None:
        """Where scanning for what is open at the cursor may begin, and the brackets that are open there.

        Behind the last complete definition above the cursor, or before the innermost one around it. What does not
        parse may be what is still open, so where either stands in such, before that. Where all of these are far
        away, before what stands `LOOK_BACK` lines above, as any line there may be one within a string.
        """
        around, far = self.around(), self.line - LOOK_BACK
        inner = around[0].start_point if around else (0, 0)
        found, path = None, path_to(self.root, self._above(self.line))
        for node in reversed(path):
            if node.end_point[0] >= self.line or node.start_point < inner:
                break
            if self._defines(node) and not (around and node.id == around[0].id):
                found = node
        if found is None and around:
            path = path_to(self.root, inner)
        start = found or (around[0] if around else self.root)
        outer = list(itertools.takewhile(lambda node: node.id != start.id, path))
        broken = (node for node in outer if node.is_error and node.start_point[0] >= far)
        if (error := next(broken, None)) is not None:
            start, outer = error, outer[: outer.index(error)]
        behind = found is not None and start.id == found.id and not found.has_error
        row, column = start.end_point if behind else start.start_point
        if row < far:
            path = path_to(self.root, self._above(far))
            outer = list(itertools.takewhile(lambda node: node.start_point[0] < far - LOOK_BACK, path))
            if len(outer) == len(path):
                return None
            row, column = path[len(outer)].start_point
        return self.document.offset(row, column, "utf-32"), "".join(map(_opener, outer))

    def outline(self, first: int, last: int) -> Outline:
        """The outline of rows `[first, last)`; headers and imports are found anywhere."""
        around = self.around()
        headers = [range(self._start(node), self._interior(node).start) for node in reversed(around)]
        return Outline(self._imports(), headers, self._bodies(first, last, {node.id for node in around}))

    def definitions(self, first: int, last: int) -> list[Node]:
        """Everything that the table calls a fold, a scope or a signature and that reaches into the rows, in order."""
        found = self._matches(f"{self.row.folds} {self.row.scopes} {self.row.signatures}", first, last)
        return sorted(found, key=lambda node: (node.start_byte, -node.end_byte))

    def span(self, node: Node) -> range:
        """The rows of a definition, from its first decorator on."""
        return range(self._start(node), _rows(node).stop)

    def inner(self, rows: range) -> dict[int, int]:
        """The bodies within some rows, as `Outline` has them, however short."""
        found = [self._interior(node) for node in self._matches(self.row.folds, rows.start, rows.stop)]
        return {body.start: body.stop for body in found if body and body.start > rows.start and body.stop <= rows.stop}

    def _imports(self) -> list[range]:
        """Those that a whole file has; what a body imports is its own."""
        return [rows for rows in self._all_imports() if not self._in_a_body(rows.start)]

    def _in_a_body(self, row: int) -> bool:
        column = len(indentation(self._line(row)))
        around = path_to(self.root, (row, column)) if column else ()
        folds = self.row.folds.split()
        return any(row in self._interior(node) for node in around if node.type in folds)

    def _all_imports(self) -> list[range]:
        if self.row.imports or not self.row.modules:
            return [_rows(node) for node in self._matches(self.row.imports, 0, _HEAD_LINES)]
        names = re.compile(self.row.modules.pattern)
        head = range(min(_HEAD_LINES, self.document.line_count))
        return [range(row, row + 1) for row in head if names.search(self._line(row))]

    def _bodies(self, first: int, last: int, around: set[int]) -> dict[int, int]:
        bodies: dict[int, int] = {}
        end = first
        for node in sorted(self._matches(self.row.folds, first, last), key=lambda node: node.start_byte):
            body = self._interior(node) if node.id not in around else range(0)
            # Of bodies within bodies only the outermost is left out.
            if body.start >= end and body.stop <= last and len(body) >= _MIN_BODY:
                bodies[body.start] = end = body.stop
        return bodies

    def _matches(self, kinds: str, first: int, last: int) -> list[Node]:
        names = kinds.split()
        if not names or first >= last:
            return []
        pattern = " ".join(f"({name}) @it" for name in names)
        found = captured(self.root, self.row.grammar, pattern, first, last, _DEEPEST)
        return sorted(found, key=lambda node: node.start_byte)

    def _start(self, node: Node) -> int:
        """The row of the first decorator or keyword of a definition."""
        wrappers, row = self.row.wrappers.split(), node.start_point[0]
        while node.parent is not None and node.parent.type in wrappers:
            node = node.parent
            row = node.start_point[0]
        return row

    def _interior(self, node: Node) -> range:
        """The rows between a definition's header and what closes it."""
        body = node.child_by_field_name("body") or node.child_by_field_name("value") or _bracketed(node)
        start, first = node.start_point[0], node.start_point[0] + 1
        if body is not None:
            opened = body.child_count and (child := body.child(0)) is not None and child.type in ("{", "[", "(")
            first = max(first, body.start_point[0] + 1 if opened else _with_comments(body))
        last, header = _rows(node).stop, columns(self._line(start))
        if self.row.flat:
            return range(first, last)
        # One that is indented nowhere would be read line by line, and so would each within it.
        near = range(last - 1, max(first, last - _MOST_CLOSERS) - 1, -1)
        inside = next((row for row in near if columns(self._line(row)) > header), first - 1)
        return range(first, max(inside + 1, first))

    def _line(self, row: int) -> str:
        if row >= self.document.line_count:
            return ""
        return self.document.text[self.document.line_start(row) : self.document.line_end(row)]


def _opener(node: Node) -> str:
    """The bracket that a node begins with, or ""."""
    first = node.child(0)
    return first.type if first is not None and first.type in ("{", "[", "(") else ""


def _bracketed(node: Node) -> Node | None:
    """The last part of a node, if brackets enclose it."""
    last = node.child(node.child_count - 1) if node.child_count else None
    opener = last.child(0) if last is not None and last.child_count else None
    return last if opener is not None and opener.type in ("{", "[", "(") else None


def _with_comments(body: Node) -> int:
    """The first row of a body, or of the comments that stand before it; a grammar may not count them in."""
    while body.prev_sibling is not None and "comment" in body.prev_sibling.type:
        body = body.prev_sibling
    return body.start_point[0]


def _rows(node: Node) -> range:
    """Rows of a node; a node that ends in column 0 does not reach into that row."""
    end = node.end_point[0] + (1 if node.end_point[1] else 0)
    return range(node.start_point[0], max(end, node.start_point[0] + 1))
