"""Whether an answer leaves the document broken, which the model thinks is finished: it is not shown then."""

from __future__ import annotations

import re

from pass_lsp.documents.scan import Scan, scan
from pass_lsp.postprocess.frame import Frame, missing_block

_FOLLOWED = re.compile(r"\s*(?:@|try\b)")
"""Lines that something must follow on the same level: what is decorated, an `except`."""

_OF_OTHERS = {"python": re.compile(r"^\s*[%!?]", re.MULTILINE), "yaml": re.compile(r"\{\{|\{%")}
"""What belongs to another language, which goes through the text first: lines for IPython, templates."""

_HEADED = frozenset(("python",))
"""Languages in which deeper lines of code belong to a header, and to nothing else."""


def breaks(text: str, replaced: int, frame: Frame) -> bool:
    """Whether an answer, which replaces so many characters right of the cursor, leaves errors of syntax in a
    document that has none without the cursor's line, or a block below it without a header.

    Only where blocks are indented: elsewhere the head of a callback opens brackets, and an answer may end behind it. In
    the middle of a line it ends behind nothing that is open.
    """
    if frame.errors is not None and frame.context.mid_line:
        return frame.errors(text, 0) >= max(frame.errors("", 0), 1) and not frame.errors(None, 0)
    if frame.errors is None or not frame.lexis.indented or _is_of_another_language(text, frame):
        return False
    rest = frame.context.line_suffix
    whole = text + rest[replaced:]
    before, after = (scan(line, frame.lexis, frame.state) for line in (rest, whole))
    if not before.brackets.startswith(after.brackets) or (after.string and not before.string):
        return frame.errors(text, replaced) > 0 and not (frame.errors("", 0) and frame.errors(None, 0))
    if _lacks_header(whole, after, frame):
        return True
    return not _may_end_here(text, after, frame) and frame.errors(text, replaced) > 0 and not frame.errors(None, 0)


def _is_of_another_language(text: str, frame: Frame) -> bool:
    """Whether a part of the cursor's lines is not for the grammar."""
    pattern = _OF_OTHERS.get(frame.context.language)
    return pattern is not None and pattern.search(frame.whole(0, text)) is not None


def _lacks_header(whole: str, after: Scan, frame: Frame) -> bool:
    """Whether the code below is a block, and the cursor's lines, which are `whole` then, end in no header of one."""
    if frame.context.language not in _HEADED or not (frame.in_code and after.plain):
        return False
    lexis = frame.lexis
    below = next((line for line in frame.below if not line.lstrip().startswith(lexis.comments)), "")
    last = frame.whole(whole.count("\n", 0, after.statement), whole[after.statement :])
    belongs = lexis.opens_block(last) or lexis.unfinished(last)
    return not belongs and frame.width(below) > frame.width(last)


def _may_end_here(text: str, after: Scan, frame: Frame) -> bool:
    """Whether what is missing behind the answer may come next: from the user, who has begun it, or in a block."""
    outer = frame.state.brackets.removesuffix(scan(frame.context.line_prefix, frame.lexis).brackets)
    if after.string or len(after.brackets) > len(outer):
        return True
    lines = (frame.whole(number, line) for number, line in enumerate(text.split("\n")))
    return bool(missing_block(text, frame)) or any(map(_FOLLOWED.match, lines))
