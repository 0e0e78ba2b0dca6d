"""Trimming both sides of the cursor to a budget of characters, in whole lines.

A window stays where it is while the cursor stays within it (hysteresis), whatever becomes of
the syntax meanwhile: a keystroke then only adds to the end of the prefix, and a model's cache
of the rest stays valid. When it has to move, it moves by a fifth of its room.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from pass_lsp.context.outline import Outline
from pass_lsp.documents.document import Document
from pass_lsp.documents.scan import Lexis, columns, indentation

PREFIX_SHARE = 0.7
_STEPS = 8
"""What one side leaves goes to the other in this fraction of the budget."""
_LEAST, _FRESH, _MOST = 0.25, 0.48, 0.62
"""Shares of a side that are kept as they are, nearest to the cursor: at least, after a move, at most."""
_SLACK = 0.85
_MIN_BUDGET = 16
_LINE_END = 2
"""Characters, at most, of the cursor's own line end, which comes on top of what its room holds."""
_REACH = 4
"""How many times its room a side looks away from the cursor for signatures."""
_CAPACITY = 16
_CLOSER = re.compile(r"\s*(?:[)\]};,]+|end|</\w+>)\s*")

FindOutline = Callable[[int, int], Outline]
"""Gives the outline of the lines `[first, last)`, in lines of the document."""


@dataclass(frozen=True, slots=True)
class Sides:
    """How to look at the two sides: where the cursor is and how to get the outline."""

    document: Document
    line: int
    offset: int
    outline: FindOutline
    lexis: Lexis

    @property
    def line_prefix(self) -> str:
        """The cursor's line up to the cursor."""
        return self.document.text[self.document.line_start(self.line) : self.offset]

    @property
    def rest(self) -> str:
        """The cursor's line from the cursor on, without its line end."""
        return self.document.text[self.offset : self.document.line_end(self.line)]

    def start(self, line: int) -> int:
        """Where `line` starts; the end of the text for lines past the end."""
        return self.document.line_start(line) if line < self.document.line_count else len(self.document.text)

    def lines(self, first: int, last: int) -> str:
        """The lines `[first, last)` as they stand."""
        return self.document.text[self.start(first) : self.start(last)]

    def line_from(self, offset: int) -> int:
        """The first line that starts at `offset` or later."""
        line = self.document.line_at(max(0, min(offset, len(self.document.text))))
        return line if self.start(line) >= offset else line + 1


@dataclass(frozen=True, slots=True)
class _Plan:
    """What stands for the far parts of a document: `far` for `head`, `below` for all under the cursor's line."""

    budget: int
    head: str
    far: str
    rows: frozenset[int]
    tail: str
    below: str


class Windows(threading.local):
    """The windows of the last few documents. Those without a name are not remembered."""

    def __init__(self) -> None:
        self._plans: OrderedDict[str, _Plan] = OrderedDict()

    def of(self, sides: Sides, budget: int) -> tuple[str, str]:
        """Prefix and suffix of together about `budget` characters; room that one side leaves goes to the other."""
        uri, text = sides.document.uri, sides.document.text
        last = self._plans.pop(uri, None)
        last = last if last and last.budget == budget else None
        if len(text) <= budget * (_SLACK if last else 1):
            return text[: sides.offset], text[sides.offset :]
        plan = _planned(sides, max(budget, _MIN_BUDGET), last)
        if uri:
            self._plans[uri] = plan
            while len(self._plans) > _CAPACITY:
                self._plans.popitem(last=False)
        return plan.far + text[len(plan.head) : sides.offset], sides.rest + plan.below


def _planned(sides: Sides, budget: int, last: _Plan | None) -> _Plan:
    step = max(budget // _STEPS, 1)
    before, after = sides.offset, len(sides.document.text) - sides.offset
    share = int(budget * PREFIX_SHARE)
    prefix_room = max(share, budget - _up(after, step))
    suffix_room = max(budget - share, budget - _up(before, step))
    tail = sides.document.text[sides.document.line_end(sides.line) :]
    room = suffix_room - len(sides.rest)
    below = last.below if last and last.tail == tail and len(last.below) <= room + _LINE_END else None
    if below is None:
        below = _suffix(sides, room)
    if last and _holds(sides, prefix_room, last):
        return _Plan(budget, last.head, last.far, last.rows, tail, below)
    head, far, rows = _prefix(sides, prefix_room)
    return _Plan(budget, head, far, rows, tail, below)


def _up(value: int, step: int) -> int:
    return -(-value // step) * step


def _holds(sides: Sides, room: int, last: _Plan) -> bool:
    """Whether the window of the last time still fits the cursor."""
    near = sides.offset - len(last.head)
    if not last.head:
        return sides.offset <= room
    if not room * _LEAST <= near <= room - min(len(last.far), int(room * (1 - _MOST))):
        return False
    if not sides.document.text.startswith(last.head):
        return False
    edge = sides.document.line_at(len(last.head))
    must = _must(sides, sides.outline(edge, edge), edge, room)
    return must <= last.rows


def _prefix(sides: Sides, room: int) -> tuple[str, str, frozenset[int]]:
    """What is left out or kept as it is before the near lines, what stands for it, and which of its lines stay."""
    if sides.offset <= room:
        return "", "", frozenset()
    edge = min(sides.line_from(sides.offset - int(room * _FRESH)), sides.line)
    base = sides.line_from(sides.start(edge) - _REACH * room)
    outline = sides.outline(base, sides.line)
    # Half a body says little: the window begins behind one, where enough is left.
    inside = next((last for first, last in outline.bodies.items() if first < edge < last), edge)
    if sides.offset - sides.start(inside) >= room * _LEAST * 1.2:
        edge = inside
    must = _must(sides, outline, edge, room)
    far = _Far(sides, outline, must, base, edge)
    far.shrink(max(int(room * (1 - _MOST)) - sum(len(sides.lines(line, line + 1)) for line in must), 0))
    return sides.document.text[: sides.start(edge)], far.text(), far.rows


def _must(sides: Sides, outline: Outline, edge: int, room: int) -> set[int]:
    """Lines before `edge` of the innermost headers and the first imports, together at most three eighths of `room`."""
    must: set[int] = set()
    for ranges, left in ((outline.headers[::-1], room // 4), (outline.imports, room // 8)):
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

    @property
    def rows(self) -> frozenset[int]:
        """The lines that are there."""
        return frozenset(self._kept)

    def shrink(self, room: int) -> None:
        """Leave out bodies, then lines, until what need not be kept fits into `room` characters."""
        size = sum(len(text) for line, text in self._kept.items() if line not in self._must)
        for first, last in self._bodies.items():
            if size <= room:
                return
            if not self._must.isdisjoint(range(first, last)):
                continue
            size -= sum(len(self._kept.pop(line, "")) for line in range(first, last))
            self._kept[first] = elision(self._sides, first)
            size += len(self._kept[first])
        for line in sorted(self._kept.keys() - self._must):
            if size <= room and not self._is_left_alone(line):
                return
            size -= len(self._kept.pop(line))

    def _is_left_alone(self, line: int) -> bool:
        """Whether a line is what stands for a body, or closes one, and has lost what it belongs to."""
        return line - 1 not in self._kept and (line in self._bodies or bool(_CLOSER.fullmatch(self._kept[line])))

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
    """The line end and the lines below the cursor's; bodies that begin past the near part are left out."""
    line, last = sides.line + 1, sides.document.line_count
    end = sides.document.text[sides.document.line_end(sides.line) : sides.start(line)]
    if len(sides.document.text) - sides.start(line) <= room:
        return end + sides.lines(line, last)
    near = min(sides.line_from(sides.start(line) + int(room * _MOST)), last)
    outline = sides.outline(near, min(sides.line_from(sides.start(line) + _REACH * room), last))
    pieces = [end]
    while line < last:
        stop = outline.bodies.get(line, line + 1)
        piece = sides.lines(line, line + 1) if stop == line + 1 else elision(sides, line)
        if len(piece) > room:
            break
        pieces.append(piece)
        room -= len(piece)
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
    return f"{indent}{sides.lexis.elision}{end}"
