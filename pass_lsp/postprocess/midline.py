"""An answer in the middle of a line (`f(|, b)`, `{ | } from './x'`, `f"{|} of {b}"`): it ends where its place does.

Nothing that stands right of the cursor is replaced there, so nothing of it may be said again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from pass_lsp.documents.scan import Scan, scan
from pass_lsp.postprocess.frame import Frame
from pass_lsp.postprocess.overlap import fits

_CLOSER = re.compile(r"[)\]}]")
_MOST = 80
"""Characters of the rest of the line that tell whether it is said again."""


def place_end(text: str, frame: Frame) -> int | None:
    """Where `text` goes beyond its place: at a line end, a comment, the end of the string or a closer of the brackets
    that are open at the cursor, or where it says what stands right of it; None where it does not yet.
    """
    ends = [match.start() for match in re.finditer(r"[\r\n]", text)]
    ends += islice(_closers(text, frame), 1)
    ends += islice(_string_ends(text, frame), 1)
    ends += islice(_angles_ends(text, frame), 1)
    for mark in frame.lexis.comments:
        places = _places(text, re.escape(mark), frame)
        ends += (at for at, here in places if not here.comment and _comments(text, at, mark, frame))
    if again := _again(frame):
        ends += (at for at, here in _places(text, again, frame) if _same(here, frame.state))
    return min(ends, default=None)


def within_place(text: str, frame: Frame) -> str:
    """Without a separator at its end that stands right of the cursor already (`a,` before `, b`); nothing of what opens
    more than it closes, whose rest may have been on further lines.
    """
    if not frame.context.mid_line:
        return text
    mark, kept = frame.context.line_suffix.strip()[:1], text.rstrip()
    if mark in (",", ";") and kept.endswith(mark):
        text = kept[:-1].rstrip()
    return text if fits(text.rstrip(), frame) else ""


def _again(frame: Frame) -> str:
    """The pattern of what stands right of the cursor, up to the closer of what is open there; of a `;` or a word alone.

    Where a comma stands there, an answer that begins with one has nothing to say: what was missing is there.
    """
    rest = frame.context.line_suffix.strip()[:_MOST]
    said = rest[: next(_closers(rest, frame), _MOST)].rstrip()
    ways = [r"\A\s*,"] if rest.startswith(",") else [";"] if rest.startswith(";") else []
    if word := re.match(r"[A-Za-z]+", rest):
        ways.append(rf"\b{word[0]}(?=\W)")
    if said.strip(",;>"):
        # Behind a name another character must have come: it may be the beginning of a longer one.
        ways.append(re.escape(said) + r"(?=\W)" * said[-1].isalnum())
    return "|".join(ways)


def _closers(text: str, frame: Frame) -> Iterator[int]:
    """Where `text` has closers of what was open before it, or of nothing."""
    before = frame.state
    for match in _CLOSER.finditer(text):
        after = scan(text[: match.end()], frame.lexis, before)
        if len(after.brackets) < len(before.brackets) or after.surplus != before.surplus:
            yield match.start()


def _angles_ends(text: str, frame: Frame) -> Iterator[int]:
    """Where `text` ends the tag, or the arguments of a type, that the cursor is in."""
    opened = frame.context.line_suffix.lstrip().startswith(">")
    for at, here in _places(text, r"<|(?<![-=])/?>", frame):
        opened += _same(here, frame.state) * (1 if text[at] == "<" else -1)
        if not opened:
            yield at


def _string_ends(text: str, frame: Frame) -> Iterator[int]:
    """Where `text` ends the string that the cursor is in."""
    mark = frame.state.string
    close = dict(frame.lexis.strings).get(mark, mark)
    for match in re.finditer(re.escape(close) if close else "(?!)", text):
        if scan(text[: match.end()], frame.lexis, frame.state).string != mark:
            yield match.start()


def _places(text: str, pattern: str, frame: Frame) -> Iterator[tuple[int, Scan]]:
    """Where `pattern` matches in `text`, and what is open there."""
    for match in re.finditer(pattern, text):
        yield match.start(), scan(text[: match.start()], frame.lexis, frame.state)


def _comments(text: str, at: int, mark: str, frame: Frame) -> bool:
    return scan(text[: at + len(mark)], frame.lexis, frame.state).comment


def _same(here: Scan, before: Scan) -> bool:
    return (here.brackets, here.string, here.comment) == (before.brackets, before.string, before.comment)
