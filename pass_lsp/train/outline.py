"""The far parts of a long file as prompts show them: imports, the headers around, and bodies left out.

The product trims by syntax trees (`context/trim.py`). A machine that trains has no parser, and what
a model must get used to is the form, so here indentation tells what is a body of Python.
"""

from __future__ import annotations

import re

MIN_BODY = 3
"""Lines below which a body is not left out."""
REACH = 4
"""How many times its room a part looks away from the window."""
IMPORTS_SHARE = 0.4
"""Of the room above, at most, for the first imports of the file."""

_HEADER = re.compile(r"[ \t]*(?:class|(?:async )?def)\b")
_FOLD = re.compile(r"[ \t]*(?:async )?def\b")
_IMPORT = re.compile(r"(?:from|import)\b")
_HEAD_LINES, _HEADER_LINES = 400, 12


def above(text: str, edge: int, room: int) -> str:
    """What stands for `text[:edge]` in about `room` characters, in whole lines; `edge` begins a line."""
    lines = text[:edge].splitlines(keepends=True)
    headers = _headers_around(lines, _first_indent(text[edge:].splitlines()))
    must = _imports(lines, int(room * IMPORTS_SHARE)) + [row for rows in headers for row in rows]
    reached = _reached(lines, REACH * room)
    kept = {row: lines[row] for row in must} | _outlined(lines, reached, {rows.start for rows in headers})
    room -= sum(len(lines[row]) for row in must)
    for row in sorted(kept.keys() - set(must), reverse=True):
        room -= len(kept[row])
        if room < 0:
            kept = {each: line for each, line in kept.items() if each > row or each in must}
            break
    ends = {rows.stop - 1: rows.start for rows in headers}
    pieces: list[str] = []
    for row in sorted(kept):
        pieces.append(kept[row])
        if row in ends and row + 1 < len(lines) and row + 1 not in kept:
            pieces.append(" " * _indent(lines[ends[row]]) + "    ...\n")
    return "".join(pieces)


def below(text: str, edge: int, room: int) -> str:
    """What stands for `text[edge:]` in at most `room` characters, in whole lines; `edge` begins a line."""
    lines = text[edge : edge + REACH * room].splitlines(keepends=True)
    kept: list[str] = []
    for _, line in sorted(_outlined(lines, 0, set()).items()):
        room -= len(line)
        if room < 0:
            break
        kept.append(line)
    return "".join(kept)


def _outlined(lines: list[str], first: int, around: set[int]) -> dict[int, str]:
    """The lines from `first` on; of functions that begin there, but not `around`, the bodies are left out."""
    kept: dict[int, str] = {}
    row = first
    while row < len(lines):
        kept[row] = lines[row]
        if not _FOLD.match(lines[row]) or row in around:
            row += 1
            continue
        body = _header(lines, row).stop
        for within in range(row, body):
            kept[within] = lines[within]
        end = _body_end(lines, body, _indent(lines[row]))
        if end - body >= MIN_BODY:
            kept[body] = " " * _first_indent(lines[body:end]) + "...\n"
            row = end
        else:
            row = body
    return kept


def _header(lines: list[str], row: int) -> range:
    """The rows of the header that begins at `row`, to where its brackets close."""
    depth = 0
    for end in range(row, min(row + _HEADER_LINES, len(lines))):
        depth += sum(lines[end].count(opener) for opener in "([{") - sum(lines[end].count(closer) for closer in ")]}")
        if depth <= 0:
            return range(row, end + 1)
    return range(row, row + 1)


def _body_end(lines: list[str], body: int, indent: int) -> int:
    """The row behind the last line of the body that begins at `body`, of a header at `indent`."""
    end = row = body
    while row < len(lines) and (not lines[row].strip() or _indent(lines[row]) > indent):
        row += 1
        end = row if lines[row - 1].strip() else end
    return end


def _headers_around(lines: list[str], indent: int) -> list[range]:
    """The headers whose bodies reach past the last of `lines`, where the text goes on at `indent`; outermost first."""
    found: list[range] = []
    for row in range(len(lines) - 1, -1, -1):
        if not indent:
            break
        if lines[row].strip() and _indent(lines[row]) < indent:
            indent = _indent(lines[row])
            if _HEADER.match(lines[row]):
                found.append(_header(lines, row))
    return found[::-1]


def _imports(lines: list[str], room: int) -> list[int]:
    rows: list[int] = []
    for row in range(min(_HEAD_LINES, len(lines))):
        if _IMPORT.match(lines[row]):
            whole = _header(lines, row)
            size = sum(len(lines[each]) for each in whole)
            if size <= room:
                rows.extend(whole)
                room -= size
    return rows


def _reached(lines: list[str], room: int) -> int:
    """The first of the last lines that fit into `room` characters."""
    row = len(lines)
    while row and (room := room - len(lines[row - 1])) >= 0:
        row -= 1
    return row


def _first_indent(lines: list[str]) -> int:
    return next((_indent(line) for line in lines if line.strip()), 0)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))
