"""From a document and a cursor to a `Context`: what the model may see, and how much it may answer.

The only room that imports tree_sitter. Broken code makes a worse context, never an error.
"""

from __future__ import annotations

from functools import cached_property

from pass_lsp.context.exclusions import path_of, refusal
from pass_lsp.context.mode import TAB_SIZE, Place, indent_at, mode_at, open_at, unfit
from pass_lsp.context.outline import Outline, Tree
from pass_lsp.context.syntax import Trees, knows
from pass_lsp.context.trim import Sides, Windows
from pass_lsp.documents.document import Document
from pass_lsp.documents.languages import language_of, lexis_of, row_of
from pass_lsp.documents.scan import indentation
from pass_lsp.domain import Context, Mode, Reason

__all__ = ["build_context"]

_TREES = Trees()
_WINDOWS = Windows()


def build_context(document: Document, offset: int, *, budget: int) -> Context:
    """What the model may see around `offset`, in about `budget` characters. Never raises for what a text holds."""
    offset = max(0, min(offset, len(document.text)))
    line = document.line_at(offset)
    offset = min(offset, document.line_end(line))
    path = path_of(document)
    place = Place(document, line, offset, language_of(path, document.language))
    reason = refusal(document, line) or unfit(place)
    if reason is not None:
        return _nothing(place, path, reason)
    return _Builder(place, path).context(max(budget, 1))


def _nothing(place: Place, path: str, reason: Reason) -> Context:
    return Context("", "", Mode.NONE, path=path, language=place.language, reason=reason)


class _Builder:
    """One request: the place, and the tree of its document, parsed when first asked for."""

    def __init__(self, place: Place, path: str) -> None:
        self._place, self._path = place, path

    def context(self, budget: int) -> Context:
        place = self._place
        lexis = lexis_of(place.language)
        state, statement = open_at(place, self._tree.anchor() if self._tree else None)
        prefix, suffix = _WINDOWS.of(Sides(place.document, place.line, place.offset, self._outline, lexis), budget)
        return Context(
            prefix,
            suffix,
            mode_at(place, state, statement),
            path=self._path,
            language=place.language,
            line_prefix=place.left,
            line_suffix=place.right,
            indent=indent_at(place, state, statement),
            tab_size=TAB_SIZE,
            brackets=state.brackets,
            surplus=state.surplus,
            string=state.string,
            comment=state.comment,
        )

    @cached_property
    def _tree(self) -> Tree | None:
        place = self._place
        if not knows(place.language):
            return None
        # On a blank line the lines above tell, so that typing its indentation changes nothing.
        lead = place.lead() if place.blank else indentation(place.left)
        root = _TREES.around(place.document, place.line, lead, place.language)
        return Tree(root, place.document, row_of(place.language), place.line, len(lead))

    def _outline(self, first: int, last: int) -> Outline:
        return self._tree.outline(first, last) if self._tree else Outline()
