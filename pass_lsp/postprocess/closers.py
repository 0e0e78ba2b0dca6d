"""The filters that keep brackets, tags and comments closed once: by the answer, or by what stands behind the cursor."""

from __future__ import annotations

import re

from pass_lsp.documents.scan import CLOSERS, indentation, scan
from pass_lsp.postprocess.frame import Frame
from pass_lsp.postprocess.overlap import again_at, ends_said, fits, is_whole, overlap

_ANY = r"[)\]}]"
_UNOPENED = {"python": _ANY, "shellscript": r"\]"}
"""Closers that no good code has without an opener. Elsewhere a brace may close what lies outside the window; in a shell
a bracket ends a pattern of `case`.
"""
_TWICE = {"shellscript": r"[\]}]"}
"""Closers that a whole document has no room for."""
_PART_ENDS = re.compile(r"""(?=[,;)\]}])|(?<=[)\]}"'`])""")


def balanced(text: str, frame: Frame) -> str:
    """Cut before a closer that nothing opens, of those that `_UNOPENED` tells."""
    before = frame.state
    if before.surplus or not scan(text, frame.lexis, before).surplus:
        return text
    for match in re.finditer(_UNOPENED.get(frame.context.language, r"[)\]]"), text):
        if scan(text[: match.end()], frame.lexis, before).surplus.endswith(match.group()):
            return text[: match.start()]
    return text


def closed_once(text: str, frame: Frame) -> str:
    r"""Cut before a closer that the document has below already: `return a\n}` above `return b\n}`."""
    if frame.context.line_suffix.strip() or not _closes_more(text, frame) or not is_whole(frame):
        return text
    for match in re.finditer(_TWICE.get(frame.context.language, _ANY), text):
        part = text[: match.end()]
        # The lexer may have taken a part of a literal for it; a grammar knows.
        if _closes_more(part, frame) and (frame.errors is None or frame.errors(part, 0)):
            return text[: match.start()]
    return text


def _closes_more(text: str, frame: Frame) -> bool:
    """Whether `text` closes more than it opens."""
    before, after = frame.state, scan(text, frame.lexis, frame.state)
    return len(after.brackets) < len(before.brackets) or after.surplus != before.surplus


def closed_before_closers(text: str, frame: Frame) -> str:
    """The longest part that opens and closes nothing too much before what stands right of the cursor (`call(|),`)."""
    rest, kept = frame.context.line_suffix, text.rstrip()
    if not rest.strip():
        return text
    # The lexer does not know every literal; a grammar may.
    if not fits(kept, frame) and (frame.errors is None or frame.errors(kept, overlap(kept, frame))):
        ends = [match.start() for match in _PART_ENDS.finditer(kept)]
        kept = next((kept[:end] for end in reversed(ends) if fits(kept[:end], frame)), "")
    # A header's colon belongs behind the bracket.
    early = kept.endswith(":") and rest[overlap(kept, frame) :].lstrip().startswith(")")
    kept = kept[:-1] if early and not (frame.state.string or frame.state.comment) else kept
    return text if kept == text.rstrip() else kept


def to_element_end(text: str, frame: Frame) -> str:
    """Up to where the answer has said the end tags, or the end of the comment, that the editor has put already."""
    rest = frame.context.line_suffix
    if frame.context.mid_line:
        return text
    if (at := again_at(text, rest)) >= 0:
        return text[: at + len(rest.strip())] + "\n"
    said = ends_said(text, rest)
    ends = (match.end() for match in re.finditer(r"\n|$", text)) if said else ()
    return next((text[:at] for at in ends if ends_said(text[:at], rest) == said), text)


def closing_apart(text: str, frame: Frame) -> str:
    """With what the editor has put right of the cursor to close it on a line of its own, below several lines."""
    rest, context = frame.context.line_suffix.strip(), frame.context
    if not rest or "\n" not in text.rstrip() or overlap(text, frame) or not _stands_apart(text.rstrip(), rest, frame):
        return text
    lead = indentation(context.line_prefix) + (" " if rest.startswith("*/") else "")
    return text.rstrip() + "\n" + lead + rest


def _stands_apart(text: str, rest: str, frame: Frame) -> bool:
    """Whether `rest`, which closes what was opened left of the cursor, goes below `text`: where the answer begins with
    a line end, and behind a block, a comment and a docstring.
    """
    left, last = frame.context.line_prefix, text.rpartition("\n")[2]
    if rest[0] in CLOSERS:
        # What is closed by itself has the other closers behind it: `{() => {` and `}}`, `foo(function()` and `end)`.
        closes = last.strip()[:1] in CLOSERS or frame.lexis.closes_block(last)
        if closes and frame.width(last) <= frame.width(left):
            return False
        return text[0] == "\n" or (rest[0] == "}" and not frame.lexis.indented)
    if rest.startswith("*/"):
        return True
    mark = frame.state.string
    if mark and mark in frame.lexis.long and rest.startswith(dict(frame.lexis.strings)[mark]):
        return text[0] == "\n" or left.strip() == mark
    return rest.startswith("</") and text[0] == "\n"
