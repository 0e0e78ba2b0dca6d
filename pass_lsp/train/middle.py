"""Middles of training examples: where the cursor stands in a text, and how far what is asked for goes.

They follow what an editor asks for: the rest of a line, of which it may have closed the brackets and
quotes already, with what it begins; the rest of a block; and now and then a short span.
"""

from __future__ import annotations

import random
import re

from pass_lsp.documents.languages import lexis_of
from pass_lsp.documents.scan import scan

LINE_SHARE, BLOCK_SHARE = 0.55, 0.38  # of the middles; the rest are short spans
CLOSED_SHARE = 0.25
"""Of the rests of lines, those whose closing brackets, quotes and last mark stay behind the cursor."""
NO_SUFFIX_SHARE = 0.1
MAX_BLOCK_LINES = 12
REST_SHARE = 0.8
"""Of the lines that leave a bracket open, those whose rest goes to the line that closes it. A model that always stops
at the line end leaves brackets open; one that never does says again what stands below.
"""

_CLOSERS = re.compile(r"""[)>}\]"'`]+\s*[:{;,]?\s*$""")
_PYTHON = lexis_of("python")


def split_middle(text: str, rng: random.Random, within: range | None = None) -> tuple[str, str, str]:
    """(prefix, middle, suffix) as an editor would cut `text`; the middle may be empty.

    The cursor stands `within` these characters, or where its line begins; anywhere when None.
    """
    start = _cursor(text, rng, range(len(text) + 1) if within is None else within)
    kind = rng.random()
    if kind < LINE_SHARE:
        line_end = _line_end(text, start)
        end = _before_closers(text, start, line_end) if rng.random() < CLOSED_SHARE else line_end
        if end == line_end:
            end = _with_rest(text, end, rng)
    elif kind < LINE_SHARE + BLOCK_SHARE:
        end = _block_end(text, start)
    else:
        end = min(len(text), start + rng.randint(1, 160))
    suffix = "" if rng.random() < NO_SUFFIX_SHARE else text[end:]
    return text[:start], text[start:end], suffix


def _cursor(text: str, rng: random.Random, within: range) -> int:
    offset = rng.choice(within)
    if rng.random() < 0.5:  # half of all requests come at the start of a line, after its indentation
        offset = text.rfind("\n", 0, offset) + 1
        while offset < len(text) and text[offset] in " \t":
            offset += 1
    return offset


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _before_closers(text: str, start: int, end: int) -> int:
    """Where the closers begin that end the line; `end` if nothing is left of them."""
    match = _CLOSERS.search(text, start, end)
    return match.start() if match and match.start() > start else end


def _with_rest(text: str, end: int, rng: random.Random) -> int:
    """`end` of a line; of one that leaves a bracket open mostly of the line that closes it, of a header of its body."""
    start = text.rfind("\n", 0, end) + 1
    state = scan(text[start:end], _PYTHON)
    if not state.brackets or state.string or rng.random() >= REST_SHARE:
        return _with_body(text, start, end)
    closed = end
    for _ in range(MAX_BLOCK_LINES):
        if closed >= len(text):
            break
        next_end = _line_end(text, closed + 1)
        state, closed = scan(text[closed:next_end], _PYTHON, state), next_end
        if not state.brackets:
            return _with_body(text, start, closed)
    return end


def _with_body(text: str, start: int, end: int) -> int:
    """`end` of a statement; of a header, the end of its body: a model that stops behind headers leaves them without."""
    line = text[start:end]
    for _ in range(MAX_BLOCK_LINES if line.rstrip().endswith(":") else 0):
        next_end = _line_end(text, end + 1)
        if end >= len(text) or _indent(text[end + 1 : next_end]) <= _indent(line):
            break
        end = next_end
    return end


def _block_end(text: str, start: int) -> int:
    line_start = text.rfind("\n", 0, start) + 1
    indent = _indent(text[line_start : _line_end(text, start)])
    end = _line_end(text, start)
    for _ in range(MAX_BLOCK_LINES):
        next_end = _line_end(text, end + 1)
        line = text[end + 1 : next_end]
        if end >= len(text) or (line.strip() and _indent(line) < indent) or not line.strip():
            break
        end = next_end
    return end


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))
