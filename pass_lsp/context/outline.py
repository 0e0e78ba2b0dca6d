"""What trimming wants to know of a tree: imports, headers around the cursor, and bodies that may be left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tree_sitter import Node

_IMPORTS = frozenset(("import_statement", "import_from_statement", "future_import_statement"))
_DEFINITIONS = frozenset(("function_definition", "class_definition"))
_CLAUSES = ("elif_clause", "else_clause", "except_clause", "except_group_clause", "finally_clause", "case_clause")
_STATEMENTS = ("if", "for", "while", "with", "try", "match")
_DESCEND = frozenset(
    ("module", "block", "decorated_definition", "ERROR", *_CLAUSES, *(f"{word}_statement" for word in _STATEMENTS))
)
_MIN_BODY = 3
"""Lines below which leaving a body out saves nothing worth the loss."""


@dataclass(frozen=True, slots=True)
class Outline:
    """Rows of one side of the cursor. Ranges are half-open; `bodies` maps a first row to the row after the last."""

    imports: list[range] = field(default_factory=list)
    headers: list[range] = field(default_factory=list)
    """Signatures of the definitions around the cursor, decorators included, outermost first."""
    bodies: dict[int, int] = field(default_factory=dict)


def outline(root: Node, first: int, last: int, cursor: int | None = None, indent: int = 0) -> Outline:
    """The outline of rows `[first, last)`; headers and imports are found before `first` too.

    `cursor` is the row of the cursor and `indent` its column; a definition that begins left
    of it and reaches it is around the cursor, and is never left out.
    """
    found = Outline()
    stack = [root]
    while stack:
        node = stack.pop()
        if node.type in _IMPORTS:
            found.imports.append(_rows(node))
        elif node.type in _DEFINITIONS:
            stack.extend(_definition(node, first, last, cursor, indent, found))
        elif node.type in _DESCEND:
            stack.extend(reversed(list(_children(node, first, last))))
    found.imports.sort(key=lambda rows: rows.start)
    found.headers.sort(key=lambda rows: rows.start)
    return found


def _children(node: Node, first: int, last: int) -> Iterator[Node]:
    """Children that reach into the rows; of a module's head also the imports."""
    for child in node.named_children:
        near = child.end_point[0] >= first and child.start_point[0] < last
        if near or (node.parent is None and child.type in _IMPORTS):
            yield child


def _definition(node: Node, first: int, last: int, cursor: int | None, indent: int, found: Outline) -> Iterator[Node]:
    """Note one definition, and yield what to look into below it."""
    colon = next((child for child in node.children if child.type == ":"), None)
    if colon is None:
        return
    body = range(colon.start_point[0] + 1, _rows(node).stop)
    start = _decorated(node).start_point
    around = cursor is not None and start[0] < cursor <= body.stop and start[1] < indent
    if around:
        found.headers.append(range(start[0], body.start))
    if node.type == "function_definition" and not around:
        if len(body) >= _MIN_BODY and first <= body.start and body.stop <= last:
            found.bodies[body.start] = body.stop
    else:
        yield from (child for child in node.children if child.type in ("block", "ERROR"))


def _decorated(node: Node) -> Node:
    parent = node.parent
    return parent if parent is not None and parent.type == "decorated_definition" else node


def _rows(node: Node) -> range:
    """Rows of a node; a node that ends in column 0 does not reach into that row."""
    end = node.end_point[0] + (1 if node.end_point[1] else 0)
    return range(node.start_point[0], max(end, node.start_point[0] + 1))
