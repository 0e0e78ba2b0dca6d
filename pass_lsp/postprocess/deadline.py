"""When time is short: the best part of an answer that is closed by itself, and the stop that waits for one."""

from __future__ import annotations

import math
import re
import time

from pass_lsp.documents.scan import scan
from pass_lsp.postprocess.frame import Frame, heredocs
from pass_lsp.postprocess.overlap import fits
from pass_lsp.postprocess.stop import Stop

_WORD_ENDS = re.compile(r"(?<=[\w)\]}\"'`])(?![\w\"'`(\[.])(?=.)")
"""Where a line may end before its end: after a name, a value or a closer that nothing yet seen goes on with."""
_OPENS = tuple("([{,\\")


def closed_part(text: str, frame: Frame) -> str:
    """The longest beginning of `text`, cut off anywhere, that opens nothing it does not close.

    Whole lines if there are such (with the line end of the last one), else the line up to
    the end of a word; "" where nothing is closed yet.
    """
    lines = text.split("\n")
    behind = [word for _, word, *_ in heredocs(lines, frame)]
    for count in range(len(lines) - 1, 0, -1):
        part = "\n".join(lines[:count])
        # A header may end the line that the user has begun.
        header = part.rstrip().endswith(":") and not (count == 1 and frame.context.line_prefix.strip())
        open_yet = header or behind[count - 1]
        if part.strip() and fits(part, frame) and not open_yet and not part.rstrip().endswith(_OPENS):
            return part + "\n"
    cuts = [match.start() for match in _WORD_ENDS.finditer(lines[0])]
    return next((lines[0][:cut] for cut in reversed(cuts) if _closed(lines[0][:cut], frame)), "")


def closed_lines(text: str, frame: Frame) -> str:
    """`closed_part` if it is made of whole lines, else ""."""
    part = closed_part(text, frame)
    return part if part.endswith("\n") else ""


def whole_words(text: str, frame: Frame) -> str:
    """A line that was cut off anywhere, up to the end of a word, and to where it is closed, if most of it is left."""
    whole = re.search(r"\w$", text) is None
    cuts = [match.start() for match in _WORD_ENDS.finditer(text + " " * whole) if 2 * match.start() > len(text)]
    closed = (text[:cut] for cut in reversed(cuts) if _closed(text[:cut], frame))
    return next(closed, text[: cuts[-1]] if cuts else text)


def _closed(part: str, frame: Frame) -> bool:
    after = scan(part, frame.lexis, frame.state)
    return after.brackets == frame.state.brackets and after.string == frame.state.string


class Deadline:
    """A stop that also ends decoding once time is up; `passed` says that it did.

    After `limit_ms` (0: never) it ends as soon as a part is closed, at `latest_ms` (0: never) anyhow.
    """

    def __init__(self, stop: Stop, limit_ms: float, latest_ms: float = 0) -> None:
        now = time.monotonic()
        self.stop = stop
        self._end = now + limit_ms / 1000 if limit_ms else math.inf
        self._latest = now + latest_ms / 1000 if latest_ms else math.inf
        self.passed = False

    @property
    def over(self) -> bool:
        """Whether time is up, so that nothing more should be begun."""
        return time.monotonic() >= self._end

    def __call__(self, token_ids: list[int]) -> int | None:
        """The number of tokens to keep when decoding should end, else None."""
        keep, now = self.stop(token_ids), time.monotonic()
        if keep is not None or now < self._end:
            return keep
        self.passed = now >= self._latest or bool(closed_part(self.stop.text, self.stop.frame))
        return len(token_ids) if self.passed else None
