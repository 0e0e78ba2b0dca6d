"""From a document and a cursor to a `Context`: what the model may see, and how much it may answer.

The only room that imports tree_sitter. Broken code makes a worse context, never an error.
"""

from __future__ import annotations

from tree_sitter import Node

from pass_lsp.context.exclusions import path_of, refusal
from pass_lsp.context.mode import TAB_SIZE, Place, indent_at, mode_at, open_at, unfit
from pass_lsp.context.outline import Outline, outline
from pass_lsp.context.syntax import Trees, knows
from pass_lsp.context.trim import Sides, windows
from pass_lsp.documents.document import Document
from pass_lsp.documents.languages import indentation, language_of
from pass_lsp.domain import Context, Mode, Reason

__all__ = ["build_context"]

_TREES = Trees()


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
    """One request: the place, and the trees of both of its sides, parsed when first asked for."""

    def __init__(self, place: Place, path: str) -> None:
        self._place, self._path = place, path
        # On a blank line the lines above tell, so that typing its indentation changes nothing.
        self._lead = place.lead() if place.blank else indentation(place.left)
        self._parsed = knows(place.language)

    def context(self, budget: int) -> Context:
        place = self._place
        state, statement = open_at(place, self._is_code if self._parsed else None)
        indent = indent_at(place, state, statement)
        prefix, suffix = windows(Sides(place.document, place.line, place.offset, self._before, self._after), budget)
        return Context(
            prefix,
            suffix,
            mode_at(place, state, statement),
            path=self._path,
            language=place.language,
            line_prefix=place.left,
            line_suffix=place.right,
            indent=indent,
            tab_size=TAB_SIZE,
        )

    def _root_before(self) -> Node:
        return _TREES.before(self._place.document, self._place.line, self._lead, self._place.language)

    def _is_code(self, line: int) -> bool:
        """Whether the word that `line`, above the cursor's, begins with is a keyword of a definition."""
        column = len(indentation(self._place.text(line)))
        leaf = self._root_before().descendant_for_point_range((line, column), (line, column + 1))
        return leaf is not None and leaf.type in ("def", "class", "async")

    def _before(self, first: int, last: int) -> Outline:
        if not self._parsed:
            return Outline()
        return outline(self._root_before(), first, last, self._place.line, len(self._lead))

    def _after(self, first: int, last: int) -> Outline:
        if not self._parsed:
            return Outline()
        base = self._place.line + 1
        root = _TREES.after(self._place.document, self._place.line, self._place.language)
        found = outline(root, first - base, last - base)
        return Outline(bodies={start + base: stop + base for start, stop in found.bodies.items()})
