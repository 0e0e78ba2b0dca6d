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
    |[A-Za-z]{0,2}(?:
        (?P<long>\"{3}|'{3})(?:\\.|.)*?(?:(?P=long)|\Z)
        |(?P<quote>["'])(?:\\.|(?!(?P=quote))[^\\\n])*(?:(?P=quote)|$)
    )""",
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)


def prose(text: str) -> list[Span]:
    """The comments of a file, and its long strings that begin a line and end one; in order."""
    found = []
    for match in _TEXT.finditer(text):
        if match["comment"] is not None or (match["long"] and _alone(text, *match.span())):
            found.append(match.span())
    return found


def _alone(text: str, start: int, end: int) -> bool:
    before, after = text[text.rfind("\n", 0, start) + 1 : start], text[end : end + 1]
    return not before.strip() and after in ("", "\n", "\r", " ", "#")


def within(spans: Sequence[Span], start: int, end: int) -> list[Span]:
    """Those parts of `spans` that lie in `[start, end)`, counted from `start`."""
    return [(max(a, start) - start, min(b, end) - start) for a, b in spans if a < end and b > start]
