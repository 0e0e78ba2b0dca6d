"""From a document and a cursor to a `Context`: what the model may see, and how much it may answer.

The only room that imports tree_sitter. Broken code makes a worse context, never an error.
"""

from __future__ import annotations

from functools import cached_property

from pass_lsp.context.closure import Errors, errors_at
from pass_lsp.context.exclusions import path_of, refusal
from pass_lsp.context.ignored import is_ignored, root_of
from pass_lsp.context.mode import TAB_SIZE, Place, gap, goes_on, indent_at, mode_at, open_at, unfit
from pass_lsp.context.neighbours import Neighbours, Spot, prepare
from pass_lsp.context.outline import Outline, Tree
from pass_lsp.context.syntax import Trees, knows
from pass_lsp.context.trim import Sides, Windows
from pass_lsp.documents.document import Document
from pass_lsp.documents.languages import language_of, lexis_of, row_of
from pass_lsp.documents.workspace import Workspace
from pass_lsp.domain import Context, Mode, Snippet
from pass_lsp.reasons import Reason

__all__ = ["build_context", "errors_in", "prepare"]

_TREES = Trees()
_WINDOWS = Windows()
_NEIGHBOURS = Neighbours()
OTHERS_SHARE = 0.25
"""Of the budget, at most, for other files."""


def build_context(
    document: Document,
    offset: int,
    *,
    budget: int,
    workspace: Workspace = Workspace(),
    sources: tuple[str, ...] = (),
    in_comments: bool = True,
) -> Context:
    """What the model may see around `offset`, in about `budget` characters. Never raises for what a text holds.

    `sources` are the ways to find what helps in `workspace` (`config.SOURCES`); without
    `in_comments` nothing belongs into comments and strings.
    """
    offset = max(0, min(offset, len(document.text)))
    line = document.line_at(offset)
    offset = min(offset, document.line_end(line))
    path = path_of(document)
    place = Place(document, line, offset, language_of(path, document.language))
    reason = refusal(document, line) or unfit(place)
    if reason is None and is_ignored(path, workspace.roots):
        reason = Reason.IGNORED
    if reason is not None:
        return _nothing(place, path, reason)
    context = _Builder(place, path).context(max(budget, 1), workspace, sources)
    silent = not in_comments and (context.comment or context.string) and not _begins(place, context)
    return _nothing(place, path, Reason.IN_COMMENT) if silent else context


def _begins(place: Place, context: Context) -> bool:
    """Whether the comment or the string that the cursor is in holds nothing yet, and may have several lines."""
    empty = not place.blank or context.prefix.rstrip().endswith(context.string)
    return context.mode is Mode.MULTI_LINE and empty


def _nothing(place: Place, path: str, reason: Reason) -> Context:
    return Context("", "", Mode.NONE, path=path, language=place.language, reason=reason)


def errors_in(document: Document, offset: int, context: Context) -> Errors | None:
    """Counts the errors of syntax of answers to `context`; None where no grammar tells."""
    return errors_at(document, offset, context.language, _TREES)


class _Builder:
    """One request: the place, and the tree of its document, parsed when first asked for."""

    def __init__(self, place: Place, path: str) -> None:
        self._place, self._path = place, path

    def context(self, budget: int, workspace: Workspace, sources: tuple[str, ...]) -> Context:
        place = self._place
        lexis = lexis_of(place.language)
        state, statement = open_at(place, self._tree.anchor() if self._tree else None)
        mid_line = goes_on(place)
        within = gap(place, state) if mid_line else state
        if within is None:
            return _nothing(place, self._path, Reason.MID_LINE)
        snippets = self._snippets(workspace, sources, int(budget * OTHERS_SHARE))
        budget -= sum(len(snippet.text) for snippet in snippets)
        prefix, suffix = _WINDOWS.of(Sides(place.document, place.line, place.offset, self._outline, lexis), budget)
        return Context(
            prefix,
            suffix,
            mode_at(place, within, statement),
            path=self._path,
            language=place.language,
            line_prefix=place.left,
            line_suffix=place.right,
            mid_line=mid_line,
            indent=indent_at(place, within, statement),
            tab_size=TAB_SIZE,
            brackets=within.brackets,
            surplus=within.surplus,
            string=within.string,
            comment=within.comment,
            heredoc=state.heredoc,
            snippets=snippets,
            root=root_of(self._path, workspace.roots) or "",
        )

    def _snippets(self, workspace: Workspace, sources: tuple[str, ...], room: int) -> tuple[Snippet, ...]:
        place = self._place
        spot = Spot(place.document, self._path, place.language, place.line)
        return _NEIGHBOURS.snippets(spot, workspace, sources, room)

    @cached_property
    def _tree(self) -> Tree | None:
        place = self._place
        if not knows(place.language):
            return None
        lead = place.beginning
        root = _TREES.around(place.document, place.line, lead, place.language)
        return Tree(root, place.document, row_of(place.language), place.line, len(lead)) if root else None

    def _outline(self, first: int, last: int) -> Outline:
        return self._tree.outline(first, last) if self._tree else Outline()
