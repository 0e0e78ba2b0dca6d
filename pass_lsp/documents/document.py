"""`Document`: the text of one open file at one version, immutable.

Offsets count characters (code points) of `text`. Lines end at `\\n`, `\\r\\n`
and `\\r` only, as LSP 3.18 defines them; form feed, U+2028 and the like do not
end a line.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from dataclasses import InitVar, dataclass, field, replace
from typing import Literal

Encoding = Literal["utf-8", "utf-16", "utf-32"]

_LINE_END = re.compile(r"\r\n|\n|\r")
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_CONTINUATION = bytes(range(0x80, 0xC0))


@dataclass(frozen=True, slots=True)
class _Starts:
    """Where the lines of a text start: line n at `kept[n]`, from line `gap` on `moved` characters further.

    An edit moves all that stands below it. As only `moved` says so, an edit costs what lies between it and
    the one before it, and some thousand edits of a long file in a row cost no more than that file is long.
    """

    kept: array[int]
    gap: int = 0
    moved: int = 0

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, line: int) -> int:
        return self.kept[line] + (self.moved if line >= self.gap else 0)

    def line_at(self, offset: int) -> int:
        """The last line that starts at `offset` or before, -1 if none does."""
        above = bisect_right(self.kept, offset, hi=self.gap)
        return (above if above < self.gap else bisect_right(self.kept, offset - self.moved, lo=self.gap)) - 1

    def spliced(self, first: int, new: list[int], after: int, moved: int) -> _Starts:
        """The lines `[0, first)`, those that start at `new`, and those from `after` on, `moved` characters further."""
        below = (start + self.moved for start in self.kept[self.gap : first])
        above = (start - self.moved for start in self.kept[after : self.gap])
        between = array("q", (*below, *new, *above))
        kept = self.kept[: min(first, self.gap)] + between + self.kept[max(after, self.gap) :]
        return _Starts(kept, first + len(new), self.moved + moved)


@dataclass(frozen=True)
class Document:
    """A snapshot: text, version and language of one URI.

    `starts` hands over line starts that are known already; without it they are found.
    """

    uri: str
    text: str
    version: int = 0
    language: str = ""
    path: str = ""
    starts: InitVar[_Starts | None] = None
    _starts: _Starts = field(init=False, repr=False, compare=False)

    def __post_init__(self, starts: _Starts | None) -> None:
        found = starts or _Starts(array("q", (0, *(match.end() for match in _LINE_END.finditer(self.text)))))
        object.__setattr__(self, "_starts", found)

    @property
    def line_count(self) -> int:
        """Number of lines; a text that ends with a line end has an empty last line."""
        return len(self._starts)

    def line_at(self, offset: int) -> int:
        """The 0-based line that holds `offset`."""
        return max(self._starts.line_at(offset), 0)

    def line_start(self, line: int) -> int:
        """Offset of the first character of `line`."""
        return self._starts[line]

    def line_end(self, line: int) -> int:
        """Offset after the last character of `line`, before its line end."""
        if line + 1 == len(self._starts):
            return len(self.text)
        end = self._starts[line + 1]
        return end - 2 if self.text.startswith("\r\n", end - 2) else end - 1

    def offset(self, line: int, character: int, encoding: Encoding = "utf-16") -> int:
        """The offset of an LSP position, clamped into the text as LSP 3.18 says.

        A position inside a character (half of a surrogate pair) counts as the one after it.
        """
        if line < 0:
            return 0
        if line >= self.line_count:
            return len(self.text)
        start, end = self.line_start(line), self.line_end(line)
        return start + _characters(self.text[start:end], max(character, 0), encoding)

    def position(self, offset: int, encoding: Encoding = "utf-16") -> tuple[int, int]:
        """The LSP position (line, character) of `offset`."""
        offset = max(0, min(offset, len(self.text)))
        line = self.line_at(offset)
        return line, _units(self.text[self.line_start(line) : offset], encoding)

    def edited(self, start: int, end: int, text: str, version: int | None = None) -> Document:
        """The document with `[start, end)` replaced by `text`; offsets are clamped, and swapped if reversed."""
        start, end = sorted((max(0, min(start, len(self.text))), max(0, min(end, len(self.text)))))
        new = self.text[:start] + text + self.text[end:]
        starts = self._spliced(start, end, new)
        return replace(self, text=new, version=self.version if version is None else version, starts=starts)

    def _spliced(self, start: int, end: int, new: str) -> _Starts:
        """Line starts of `new`, which differs from this text only in `[start, end)`.

        A line start depends on the character before it and the one after that. So starts
        beyond `end` only move, and the scan begins a line early: the edit may join or part
        a `\\r` before it and a `\\n` after it.
        """
        moved = len(new) - len(self.text)
        first = self.line_at(start - 1)
        edge = end + moved
        ends = (match.end() for match in _LINE_END.finditer(new, self._starts[first], edge + 1))
        return self._starts.spliced(first + 1, [at for at in ends if at <= edge], self._starts.line_at(end) + 1, moved)


def _characters(line: str, units: int, encoding: Encoding) -> int:
    """How many characters of `line` begin within its first `units` code units."""
    if encoding == "utf-32" or line.isascii():
        return min(units, len(line))
    if encoding == "utf-8":
        return len(line.encode("utf-8", "surrogatepass")[:units].translate(None, _CONTINUATION))
    pairs = 0
    for match in _ASTRAL.finditer(line):
        if match.start() + pairs + 1 >= units:
            return max(min(units - pairs, match.start() + 1), 0)
        pairs += 1
    return min(units - pairs, len(line))


def _units(text: str, encoding: Encoding) -> int:
    """Length of `text` in code units; a lone surrogate counts as the client counts it."""
    if encoding == "utf-32" or text.isascii():
        return len(text)
    if encoding == "utf-8":
        return len(text.encode("utf-8", "surrogatepass"))
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
