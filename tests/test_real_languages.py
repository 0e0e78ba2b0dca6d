"""The true text of code in many languages, at every line of it: it comes whole, and stays when it is typed along."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from pass_lsp.documents.document import Document
from pass_lsp.documents.languages import language_of, lexis_of
from pass_lsp.documents.scan import columns, indentation, scan
from pass_lsp.domain import Completion
from pass_lsp.suggestions import Suggestions
from tests.test_postprocess import accepted

log = logging.getLogger(__name__)
ROOT = Path(__file__).parent.parent
EDITORS = ("vscode/src/find.ts", "vscode/src/python.ts", "nvim/lua/pass_lsp/ghost.lua", "vscode/tsconfig.json")
FILES = (*sorted((ROOT / "tests/data/code").iterdir()), *(ROOT / "editors" / name for name in EDITORS))
CLOSERS = {"(": ")", "[": "]", "{": "}"}
ENDS = re.compile(r"\s*(?:[)\]}]|/?>|</|(?:end|fi|done|esac)\b)")
PARTS = re.compile(r"\s*(?:else|elsif|[^()]+\)$|;;|\{$)")
CLOSED_BELOW = re.compile(r"\n[ \t]*[)\]}]")
NEWLINE = "\n"
LONGEST, AHEAD = 25, 500

Hole = tuple[str, str, str]
"""What stands left of the cursor, what is missing, and what stands below it."""


@cache
def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines(keepends=True)


def last_of(lines: list[str], first: int) -> int:
    """The last line of what begins on the line `first`, told by indentation."""
    own, last = columns(lines[first]), first
    begun = re.search(r"[(\[{]$|^\s*case\b", lines[first].rstrip()) is not None
    for number in range(first + 1, len(lines)):
        line = lines[number]
        begun = begun or last > first
        inside = columns(line) > own or line.strip() == "{" or (begun and (ENDS.match(line) or PARTS.match(line)))
        if line.strip() and (columns(line) < own or not inside):
            break
        last = number if line.strip() else last
    return last


def holes(path: Path, kind: str) -> Iterator[Hole]:
    """A hole for each line: `line` lacks its rest, `begun` its whole statement from there on, `item` all of that."""
    lines = lines_of(path)
    for number, line in enumerate(lines):
        code, last = line.strip(), last_of(lines, number)
        if not number or len(code) < 6 or last - number > LONGEST or ENDS.match(line) or PARTS.fullmatch(code):
            continue
        if kind == "begun" and last == number:
            continue
        indent = len(line) - len(line.lstrip())
        column, end = (indent if kind == "item" else indent + len(code) // 2), number if kind == "line" else last
        left, missing = "".join(lines[:number]) + line[:column], line[column:] + "".join(lines[number + 1 : end + 1])
        yield left, missing.removesuffix("\n"), "\n" + "".join(lines[end + 1 :])


@pytest.mark.parametrize(("kind", "least"), [("line", 573), ("begun", 172), ("item", 573)])
def test_the_truth_comes_whole(kind: str, least: int) -> None:
    told, cut_off = 0, []
    for path in FILES:
        for left, missing, below in holes(path, kind):
            said = missing + below[: below.find("\n", AHEAD)]
            told += 1
            if accepted(f"{left}<CURSOR>{below}", said, path=str(path)) != left + missing + below:
                cut_off.append(f"{path.name}:{left.count(NEWLINE) + 1}")
    log.info("%s: %d holes", kind, told)
    assert not cut_off and told >= least


def told_here(other: Hole, hole: Hole) -> str:
    """What is missing in the hole `other`, and what follows it there, indented as it would be in `hole`."""
    left, missing, below = other
    shift = len(hole[0].rpartition(NEWLINE)[2]) - len(left.rpartition(NEWLINE)[2])
    first, *lines = (missing + below[: below.find("\n", AHEAD)]).split("\n")
    moved = (" " * shift + line if shift > 0 else line[min(-shift, len(indentation(line))) :] for line in lines)
    return "\n".join([first, *(line if line.strip() else "" for line in moved)])


def test_what_belongs_elsewhere_closes_nothing_twice() -> None:
    shown, twice = 0, []
    for path in FILES:
        lexis, items = lexis_of(language_of(str(path))), list(holes(path, "item"))
        for hole, other in zip(items, items[len(items) // 2 :] + items, strict=False):
            after = accepted(f"{hole[0]}<CURSOR>{hole[2]}", told_here(other, hole), path=str(path))
            if isinstance(after, str):
                shown += 1
                more = len(scan(after, lexis).surplus) > len(scan(hole[0] + hole[2], lexis).surplus)
                twice += [f"{path.name}:{hole[0].count(NEWLINE) + 1}"] * more
    log.info("%d shown, twice closed %s", shown, twice)
    assert shown >= 560 and len(twice) <= 12


def typed(text: str, at: int, key: str) -> tuple[str, int]:
    """The text and the cursor after a key in an editor that closes brackets and, at Enter, parts them."""
    left, right = text[:at], text[at:]
    if key in CLOSERS.values() and right.startswith(key):
        return text, at + 1
    if key == "\n" and CLOSERS.get(left[-1]) == right[0]:
        return f"{left}\n\n{indentation(left[left.rfind(NEWLINE) + 1 :])}{right}", at + 1
    return left + key + (CLOSERS.get(key, "") if right[0] in "\n)]}" else "") + right, at + 1


def keys_along(hole: Hole) -> Iterator[bool]:
    """For each key of what is missing, whether memory then has the rest of it, up to what closes it already."""
    left, missing, below = hole
    text, at, memory = left + below, len(left), Suggestions()
    memory.remember("u", Document("u", text), at, [Completion(missing, at, at)])
    for number, key in enumerate(missing, 1):
        if key == "\n" and CLOSED_BELOW.match(text, at):
            return  # the user goes down to the closer
        text, at = typed(text, at, key)
        rest = missing[number:]
        if rest.strip() and not (CLOSED_BELOW.match(rest) and CLOSED_BELOW.match(text, at)):
            found = memory.recall("u", Document("u", text), at)
            said = found.completions[0].text if found and found.completions else ""
            whole = said == rest or CLOSED_BELOW.match(rest, len(said)) is not None
            yield bool(said) and rest.startswith(said) and whole


def test_what_is_typed_along_stays() -> None:
    keys = [kept for path in FILES for hole in holes(path, "begun") for kept in keys_along(hole)]
    log.info("%d keys", len(keys))
    assert all(keys) and len(keys) >= 14511
