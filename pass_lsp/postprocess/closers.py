"""The filters that keep brackets, tags and comments closed once: by the answer, or by what stands behind the cursor."""

from __future__ import annotations

import re

from pass_lsp.documents.scan import CLOSERS, indentation, scan
from pass_lsp.postprocess.frame import Frame
from pass_lsp.postprocess.overlap import ends_said, fits, is_whole, overlap

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
    """Up to the line that ends the element, or the comment, which the editor has ended already."""
    rest = frame.context.line_suffix
    said = ends_said(text, rest)
    ends = (match.end() for match in re.finditer(r"\n|$", text)) if said else ()
    return next((text[:at] for at in ends if ends_said(text[:at], rest) == said), text)


def closing_apart(text: str, frame: Frame) -> str:
    """With the closers that the editor has put right of the cursor on a line of their own: where the first is the brace
    of a block (`{|}`), or the answer begins with a line end.
    """
    rest = frame.context.line_suffix.strip()
    if rest[:1] not in CLOSERS or "\n" not in text.rstrip() or overlap(text, frame):
        return text
    apart = text[0] == "\n" or (rest[0] == "}" and not frame.lexis.indented)
    return text.rstrip() + "\n" + indentation(frame.context.line_prefix) + rest if apart else text
