"""Trimming both sides of the cursor to a budget of characters, in whole lines and in steps.

Everything is decided from the position of the cursor's line rounded to a step, and
from trees that do not see the cursor's line. Between two steps a keystroke therefore
only adds to the end of the prefix, and a model's cache of the rest stays valid.
Nothing is remembered from one call to the next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pass_lsp.context.outline import Outline
from pass_lsp.documents.document import Document
from pass_lsp.documents.languages import columns, indentation

PREFIX_SHARE = 0.7
_STEPS = 8
"""A side of the window moves by this fraction of the budget at once."""
_NEAR = 0.6
"""The share of a side that is kept as it is, nearest to the cursor."""
_MIN_BUDGET = 16
_REACH = 4
"""How many times its room a side looks away from the cursor for signatures."""

FindOutline = Callable[[int, int], Outline]
"""Gives the outline of the lines `[first, last)`, in lines of the document."""


@dataclass(frozen=True, slots=True)
class Sides:
    """How to look at the two sides: where the cursor is and how to get their outlines."""

    document: Document
    line: int
    offset: int
    before: FindOutline
    after: FindOutline

    @property
    def line_prefix(self) -> str:
        """The cursor's line up to the cursor."""
        return self.document.text[self.document.line_start(self.line) : self.offset]

    @property
    def rest(self) -> str:
        """The cursor's line from the cursor on, line end included."""
        return self.document.text[self.offset : self.start(self.line + 1)]

    def start(self, line: int) -> int:
        """Where `line` starts; the end of the text for lines past the end."""
        return self.document.line_start(line) if line < self.document.line_count else len(self.document.text)

    def lines(self, first: int, last: int) -> str:
        """The lines `[first, last)` as they stand."""
        return self.document.text[self.start(first) : self.start(last)]

    def line_from(self, offset: int) -> int:
        """The first line that starts at `offset` or later."""
        line = self.document.line_at(min(offset, len(self.document.text)))
        return line if self.start(line) >= offset else line + 1


def windows(sides: Sides, budget: int) -> tuple[str, str]:
    """Prefix and suffix of together about `budget` characters; room that one side leaves goes to the other."""
    step = max(budget // _STEPS, 1)
    before, after = sides.offset, len(sides.document.text) - sides.offset
    if before + after <= budget:
        return sides.document.text[: sides.offset], sides.document.text[sides.offset :]
    budget = max(budget, _MIN_BUDGET)
    share = int(budget * PREFIX_SHARE)
    prefix_room = max(share, budget - _up(after, step))
    suffix_room = max(budget - share, budget - _up(before, step))
    return _prefix(sides, prefix_room, step), _suffix(sides, suffix_room)


def _up(value: int, step: int) -> int:
    return -(-value // step) * step


def _prefix(sides: Sides, room: int, step: int) -> str:
    if sides.offset <= room:
        return sides.document.text[: sides.offset]
    reached = _up(sides.offset - room, step) + room
    edge = min(sides.line_from(reached - int(room * _NEAR)), sides.line)
    # The far end moves by whole rooms: whatever it moves must be read anew by the model.
    base = sides.line_from(max((reached - _REACH * room) // room * room, 0))
    outline = sides.before(base, edge)
    must = _must(sides, outline, edge, room // 4)
    fixed = sum(len(sides.lines(line, line + 1)) for line in must)
    far = _Far(sides, outline, must, base, edge)
    far.shrink(max(room - int(room * _NEAR) - fixed, 0))
    return far.text() + sides.lines(edge, sides.line) + sides.line_prefix


def _must(sides: Sides, outline: Outline, edge: int, room: int) -> set[int]:
    """Lines before `edge` of the innermost headers and the first imports, at most `room` characters of each."""
    must: set[int] = set()
    for ranges in (outline.headers[::-1], outline.imports):
        left = room
        for rows in ranges:
            size = len(sides.lines(rows.start, rows.stop))
            if rows.stop > edge or size > left:
                continue
            must.update(rows)
            left -= size
    return must


class _Far:
    """The lines `[base, edge)` and those in `must`, of which `shrink` leaves out the farthest first."""

    def __init__(self, sides: Sides, outline: Outline, must: set[int], base: int, edge: int) -> None:
        self._sides, self._must = sides, must
        self._headers = {rows.stop - 1: rows for rows in outline.headers}
        self._bodies = {first: last for first, last in sorted(outline.bodies.items()) if base <= first and last <= edge}
        self._kept = {line: sides.lines(line, line + 1) for line in sorted(must | set(range(base, edge)))}
        self._edge = edge

    def shrink(self, room: int) -> None:
        """Leave out bodies, then lines, until what need not be kept fits into `room` characters."""
        size = sum(len(text) for line, text in self._kept.items() if line not in self._must)
        for first, last in self._bodies.items():
            if size <= room:
                return
            size -= sum(len(self._kept.pop(line, "")) for line in range(first, last))
            self._kept[first] = elision(self._sides, first)
            size += len(self._kept[first])
        for line in sorted(self._kept.keys() - self._must):
            if size <= room:
                return
            size -= len(self._kept.pop(line))

    def text(self) -> str:
        """What is left; a header that lost the lines below it is followed by an elision."""
        pieces: list[str] = []
        for line in sorted(self._kept):
            pieces.append(self._kept[line])
            below = line + 1
            if line in self._headers and below < self._edge and below not in self._kept:
                pieces.append(elision(self._sides, below, self._headers[line].start))
        return "".join(pieces)


def _suffix(sides: Sides, room: int) -> str:
    """The rest of the line and the lines after it; bodies that begin past the near part are left out."""
    line, last = sides.line + 1, sides.document.line_count
    left = room - len(sides.rest)
    if len(sides.document.text) - sides.start(line) <= left:
        return sides.rest + sides.lines(line, last)
    near = min(sides.line_from(sides.start(line) + int(room * _NEAR)), last)
    outline = sides.after(near, min(sides.line_from(sides.start(line) + _REACH * room), last))
    pieces = [sides.rest]
    while line < last:
        stop = outline.bodies.get(line, line + 1)
        piece = sides.lines(line, line + 1) if stop == line + 1 else elision(sides, line)
        if len(piece) > left:
            break
        pieces.append(piece)
        left -= len(piece)
        line = stop
    return "".join(pieces)


def elision(sides: Sides, line: int, header: int | None = None) -> str:
    """The line that stands for left out lines from `line` on, as deep as they are, or deeper than `header`."""
    while line + 1 < sides.document.line_count and not sides.lines(line, line + 1).strip():
        line += 1
    text = sides.lines(line, line + 1)
    indent = indentation(text)
    if header is not None:
        above = indentation(sides.lines(header, header + 1))
        indent = indent if columns(indent) > columns(above) else above + ("\t" if "\t" in above else "    ")
    end = text[len(text.rstrip("\r\n")) :] or "\n"
    return f"{indent}...{end}"
