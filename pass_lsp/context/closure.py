"""How well an answer parses where it stands: errors that the tree shows from its first line on."""

from __future__ import annotations

from collections.abc import Callable

from tree_sitter import Node

from pass_lsp.context.mode import Place
from pass_lsp.context.syntax import Trees, captured, knows, one_byte_each, sides_of
from pass_lsp.documents.document import Document
from pass_lsp.documents.languages import row_of

Errors = Callable[[str | None, int], int]
"""Given a text and how many characters it replaces, the number of errors from there on; given None, how many the
document has without the line."""
_FAR = 1_000_000
_ANSWERED = "#answered"
"""Behind a URI: a tree of its own, so that the one without the cursor's line is not parsed anew for the next key."""


def errors_at(document: Document, offset: int, language: str, trees: Trees) -> Errors | None:
    """Counts errors of answers inserted at `offset`; None where no grammar tells."""
    known = row_of(language)
    if known.rough or not knows(language):
        return None
    row, name = document.line_at(offset), known.grammar
    above, below = sides_of(document, row)
    before = above + one_byte_each(document.text[document.line_start(row) : offset])
    after = one_byte_each(document.text[offset : document.line_end(row)]) + below

    def errors(answer: str | None, replaced: int) -> int:
        if answer is None:
            # All of it: what an answer mends may be begun far above.
            lead = Place(document, row, offset, language).beginning
            return _count(trees.around(document, row, lead, language), name, 0)
        source = before + one_byte_each(answer) + after[replaced:]
        # To the end: what an answer leaves open may be missed only there.
        return _count(trees.root(document.uri + _ANSWERED, language, source), name, row)

    return errors


def _count(root: Node | None, grammar: str, first: int) -> int:
    """How many errors the tree of such a grammar shows from the line `first` on; none where there is no tree."""
    if root is None or not root.has_error:
        return 0
    return len(captured(root, grammar, "(ERROR) @it (MISSING) @it", first, first + _FAR, _FAR))
