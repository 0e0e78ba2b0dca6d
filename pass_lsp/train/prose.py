"""Where Python code is prose: comments, and strings that are statements, which documentation is.

A small model learns English badly and slowly, and whoever stops at the start of a line wants code.
So prose is read as context and asked for only where the cursor stands in it already.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

Span = tuple[int, int]
"""The first character and the one after the last."""

_TEXT = re.compile(
    r"""(?P<comment>\#[^\n]*)
    |(?P<long>
        \"{3} [^"\\]* (?:(?:\\.|\"(?!\"\"))[^"\\]*)* (?:\"{3}|\Z)
        |'{3} [^'\\]* (?:(?:\\.|'(?!''))[^'\\]*)* (?:'{3}|\Z)
    )
    |\" [^"\\\n]* (?:\\.[^"\\\n]*)* (?:\"|$)
    |' [^'\\\n]* (?:\\.[^'\\\n]*)* (?:'|$)
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
"""Every branch begins with one character of three, so that the search leaps over all others."""
_BEGUN = re.compile(r"[^\S\n]*([A-Za-z]{0,2})")


def prose(text: str) -> list[Span]:
    """The comments of a file, and its long strings that begin a line and end one; in order."""
    found = []
    for match in _TEXT.finditer(text):
        start, end = match.span()
        if match["comment"] is not None:
            found.append((start, end))
        elif match["long"] is not None and text[end : end + 1] in ("", "\n", "\r", " ", "#"):
            line = text.rfind("\n", 0, start) + 1
            if before := _BEGUN.fullmatch(text, line, start):
                found.append((before.start(1), end))
    return found


def within(spans: Sequence[Span], start: int, end: int) -> list[Span]:
    """Those parts of `spans` that lie in `[start, end)`, counted from `start`."""
    return [(max(a, start) - start, min(b, end) - start) for a, b in spans if a < end and b > start]
