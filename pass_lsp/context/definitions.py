"""Definitions of other files by name, cut down to what a caller has to know: signatures and first lines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from tree_sitter import Node

from pass_lsp.context.outline import Tree
from pass_lsp.context.syntax import knows, one_byte_each, parsed_once
from pass_lsp.documents.document import Document
from pass_lsp.documents.languages import language_of, row_of

_LARGEST = 300_000
_MAX_LINES = 24
_MAX_CHARACTERS = 1_000


@dataclass(frozen=True, slots=True)
class Definition:
    """A name, the rows `[first, last)` that define it, and what of them to show."""

    name: str
    first: int
    last: int
    text: str


@lru_cache(maxsize=64)
def definitions_of(document: Document) -> tuple[Definition, ...]:
    """The outermost definitions of a document, in order; none where no grammar tells."""
    language = language_of(document.path, document.language)
    if not knows(language) or len(document.text) > _LARGEST:
        return ()
    root = parsed_once(language, one_byte_each(document.text))
    if root is None:
        return ()
    tree = Tree(root, document, row_of(language), document.line_count, 0)
    found: list[Definition] = []
    end = -1
    for node in tree.definitions(0, document.line_count):
        name = _name(node) or ("default" if _is_exported(node) else "")
        if node.start_byte < end or not name:
            continue
        # Names within a namespace count, those within a class do not; of what is no function what is exported.
        if _is_namespace(node) or (node.type == "lexical_declaration" and not _is_exported(node)):
            continue
        end = node.end_byte
        rows = tree.span(node)
        found.append(Definition(name, rows.start, rows.stop, _shown(tree, rows)))
    return tuple(found)


def _is_namespace(node: Node) -> bool:
    return any(word in node.type for word in ("namespace", "mod_item", "module"))


def _is_exported(node: Node) -> bool:
    return node.parent is not None and node.parent.type == "export_statement"


def _name(node: Node) -> str:
    """The name that a definition gives; that of the variable for a function that has none."""
    for start in (node, *node.named_children[:3], node.parent):
        found = start
        while found is not None and (inner := found.child_by_field_name("declarator")) is not None:
            found = inner
        named = found and (found.child_by_field_name("name") or found.child_by_field_name("type"))
        if named is None and found is not None and found is not start:
            named = found
        if named is not None and named.text:
            return named.text.decode().rpartition(".")[2].rpartition(":")[2]
        if start is node.parent:
            break
    return ""


def _shown(tree: Tree, rows: range) -> str:
    """The rows of a definition without the bodies in it."""
    bodies, document = tree.inner(rows) if len(rows) > 1 else {}, tree.document
    lines: list[str] = []
    row = rows.start
    while row < rows.stop and len(lines) < _MAX_LINES:
        line = document.text[document.line_start(row) : document.line_end(row)]
        if row in bodies:
            lead = line[: len(line) - len(line.lstrip())]
            lines.append(lead + tree.row.lexis.elision)
            row = bodies[row]
            continue
        lines.append(line)
        row += 1
    text = "\n".join(lines) + "\n"
    return text if len(text) <= _MAX_CHARACTERS else text[: text.rfind("\n", 0, _MAX_CHARACTERS) + 1]
