"""Texts of several lines, which an answer may begin: here-documents and long strings. Has the document their end?"""

from __future__ import annotations

import re

from pass_lsp.documents.scan import Lexis, heredoc_end
from pass_lsp.domain import Context

LINE_END = re.compile(r"\r\n|\n|\r")


def lines_below(context: Context) -> list[str]:
    """The lines below the cursor's that are not blank."""
    return [line for line in LINE_END.split(context.suffix[len(context.line_suffix) :]) if line.strip()]


def has_heredoc(word: str, context: Context, lexis: Lexis) -> bool:
    """Whether a text that `word` ends stands below the cursor's line already, where no other one begins first."""
    return heredoc_end(lines_below(context), word, lexis) > 0


def has_heredoc_end(context: Context, lexis: Lexis) -> bool:
    """Whether the text that the cursor is in ends below it."""
    return heredoc_end(lines_below(context), context.heredoc, lexis) >= 0


def has_string_end(mark: str, context: Context, lexis: Lexis) -> bool:
    """Whether the string that such a mark has opened ends behind the cursor: of marks that only open, or that end too,
    there is an odd one.
    """
    close, behind = dict(lexis.strings)[mark], context.suffix
    if close == mark:
        return behind.count(mark) % 2 == 1
    first = re.search(f"{re.escape(mark)}|{re.escape(close)}", behind)
    return first is not None and first[0] == close
