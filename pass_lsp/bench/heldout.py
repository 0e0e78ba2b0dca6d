"""The held-out text of this machine, and holes of six kinds in its code.

Held-out modules of the standard library are everywhere; held-out packages count when they
are installed. A folder of Python, or the `heldout.jsonl.gz` of a corpus, serves as well.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import sysconfig
import tokenize
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import takewhile
from pathlib import Path

from pass_lsp.bench.holes import Hole
from pass_lsp.errors import ConfigError, TrainError
from pass_lsp.train.corpus import HELD_OUT_MODULES, package_list, read_corpus
from pass_lsp.train.filters import is_test, unwanted_path, unwanted_text

SINGLE, SPAN, MULTI = "single-line", "random-span", "multi-line"
KINDS = (SINGLE, SPAN, MULTI)
BRACKETS, BEGUN, MID_LINE = "inside-brackets", "begun", "mid-line"
APART = (BRACKETS, BEGUN, MID_LINE)
"""Cut besides the three, so that these are for one seed what they were before there were more."""
MIN_PREFIX, MIN_MIDDLE = 300, 6
MAX_LINES, MAX_SPAN, MAX_MIDDLE = 8, 160, 500
_SKIPPED = frozenset((tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING))
_FSTRING = getattr(tokenize, "FSTRING_START", -1)
_OPENERS, _CLOSERS = "([{", ")]}"
_CLOSED = re.compile(r"[)\]}]+[:,]?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Files by source: the source's name and version, and (path, text) of each file."""

    sources: dict[str, list[tuple[str, str]]]


def installed_held_out() -> HeldOut:
    """Held-out modules of the standard library, each a source, and the held-out packages that are installed."""
    root = Path(sysconfig.get_paths()["stdlib"])
    sources = {name: [(name, _read(root / name))] for name in sorted(HELD_OUT_MODULES) if (root / name).exists()}
    for package in package_list():
        if package["held_out"]:
            sources |= _package(str(package["name"]))
    return HeldOut(sources)


def read_held_out(path: Path) -> HeldOut:
    """Every wanted file of a folder, or of a corpus's `heldout.jsonl.gz`, as one source. Raises `ConfigError`."""
    try:
        files = [(name, text) for name, text in read_corpus(path) if _wanted(name, text)]
    except TrainError as error:
        raise ConfigError(f"{path} holds no Python to cut holes in; name a folder with .py files.") from error
    if not files:
        raise ConfigError(f"{path} holds no Python that the corpus filters let through; name another folder.")
    return HeldOut({path.name: files})


def is_corpus(path: Path) -> bool:
    """Whether `path` holds whole files (a folder, a part of a corpus), not holes."""
    if path.is_dir():
        return True
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            row = json.loads(next(lines))
            return isinstance(row, dict) and "text" in row
    except (OSError, EOFError, zlib.error, ValueError, RecursionError, StopIteration):
        return False


def cut_holes(held_out: HeldOut, count: int, seed: int = 0, kinds: Sequence[str] = KINDS) -> list[Hole]:
    """`count` holes, the `kinds` in turn, every source as often; the same for one seed and the same text."""
    rng = random.Random(seed)
    sources = [files for _, files in sorted(held_out.sources.items())]
    lines: dict[str, list[Line]] = {}
    holes: list[Hole] = []
    for _ in range(count * 1000):
        if len(holes) == count:
            return holes
        path, text = rng.choice(rng.choice(sources))
        if text not in lines:
            lines[text] = code_lines(text)
        if lines[text] and (hole := cut(path, text, lines[text], kinds[len(holes) % len(kinds)], rng)):
            holes.append(hole)
    raise ConfigError("The text is too short or has too little code to cut holes in; name a larger folder.")


@dataclass(frozen=True, slots=True)
class Line:
    """A logical line of code: where it and each of its tokens begin, and where it ends (characters).

    `inner` are the tokens that stand in a bracket: where each begins, and where that bracket is closed.
    """

    start: int
    end: int
    tokens: tuple[int, ...]
    indent: int
    inner: tuple[tuple[int, int], ...] = ()


def code_lines(text: str) -> list[Line]:
    """The logical lines of `text` that are code: no comments, no docstrings, no imports. [] for broken text."""
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    found: list[Line] = []
    tokens: list[tokenize.TokenInfo] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NEWLINE:
                if tokens and tokens[0].type != tokenize.STRING and tokens[0].string not in ("import", "from"):
                    places = tuple(starts[t.start[0] - 1] + t.start[1] for t in tokens)
                    end = starts[token.start[0] - 1] + token.start[1]
                    found.append(Line(places[0], end, places, tokens[0].start[1], _inner(tokens, places)))
                tokens = []
            elif token.type not in _SKIPPED:
                tokens.append(token)
    except (tokenize.TokenError, SyntaxError, IndexError):
        return []
    return found


def _inner(tokens: Sequence[tokenize.TokenInfo], places: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """The tokens that stand in a bracket (see `Line`); none where strings are taken apart (Python 3.12)."""
    if any(token.type == _FSTRING for token in tokens):
        return ()
    found: list[tuple[int, int]] = []
    waiting: list[list[int]] = []  # by depth, the tokens of each bracket that is open
    for token, place in zip(tokens, places, strict=True):
        mark = token.string if token.type == tokenize.OP else " "
        if mark in _CLOSERS:
            found += [(start, place) for start in (waiting.pop() if waiting else ())]
        elif waiting:
            waiting[-1].append(place)
        if mark in _OPENERS:
            waiting.append([])
    return tuple(sorted(found))


def cut(path: str, text: str, lines: Sequence[Line], kind: str, rng: random.Random) -> Hole | None:
    """A hole of that kind at a random line, or None if that line does not lend itself to one.

    `single-line`: from the line's beginning, or from one of its tokens, to its end. `multi-line`:
    from a line to the end of its block. `random-span`: characters from anywhere to anywhere.
    `inside-brackets`: from a token in a bracket to where that is closed, where nothing but closers and
    a mark ends the line, as when an editor has put them there. `begun`: from behind a token of the first line
    of a statement that has more lines, to the end of these: the rest of a call, a header's block. `mid-line`: an item
    in brackets, from a token of it to its end, where the line goes on behind that.
    """
    at = rng.randrange(len(lines))
    start, end = _CUTS[kind](text, lines, at, rng)
    middle, least = text[start:end], 1 if kind in (BRACKETS, MID_LINE) else MIN_MIDDLE
    if not least <= len(middle.strip()) <= MAX_MIDDLE or start < MIN_PREFIX or not text[end:].strip():
        return None
    if kind not in (MULTI, BEGUN) or 2 <= middle.count("\n") + 1 <= MAX_LINES:
        return Hole(path, text[:start], middle, text[end:], kind)
    return None


def _single(text: str, lines: Sequence[Line], at: int, rng: random.Random) -> tuple[int, int]:
    line = lines[at]
    start = line.start if rng.random() < 0.5 else rng.choice(line.tokens)
    return start, line.end if "\n" not in text[line.start : line.end] else start


def _span(text: str, lines: Sequence[Line], at: int, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(lines[at].start, lines[at].end)
    return start, min(len(text), start + rng.randint(MIN_MIDDLE, MAX_SPAN))


def _multi(text: str, lines: Sequence[Line], at: int, rng: random.Random) -> tuple[int, int]:
    first = last = lines[at]
    for line in lines[at + 1 :]:
        between = text[last.end : line.start]
        if line.indent < first.indent or between.count("\n") > 1:  # a blank line, a comment, or the block's end
            break
        last = line
    return first.start, last.end


def _brackets(text: str, lines: Sequence[Line], at: int, rng: random.Random) -> tuple[int, int]:
    fitting = [
        (start, end) for start, end in lines[at].inner if "\n" not in text[start:end] and _CLOSED.match(text, end)
    ]
    if not fitting:
        return 0, 0
    # Most requests in a bracket come when it has just been opened.
    opened = [gap for gap in fitting if text[gap[0] - 1] in _OPENERS]
    return rng.choice(opened if opened and rng.random() < 0.5 else fitting)


def _mid_line(text: str, lines: Sequence[Line], at: int, rng: random.Random) -> tuple[int, int]:
    commas: dict[int, int] = {}
    items: list[tuple[int, int]] = []
    for start, closed in reversed(lines[at].inner):
        end = commas.get(closed, closed)
        if text[start] == ",":
            commas[closed] = start
        elif "\n" not in text[start:end] and not _CLOSED.match(text, end) and text[end + 1 : end + 2] != "\n":
            items.append((start, end))
    return rng.choice(items) if items else (0, 0)


def _begun(text: str, lines: Sequence[Line], at: int, rng: random.Random) -> tuple[int, int]:
    line = lines[at]
    block = list(takewhile(lambda other: other.indent > line.indent, lines[at + 1 :]))
    end = block[-1].end if block else line.end
    below = text[end:].lstrip("\n")
    if (text[line.end - 1] == ":") is not bool(block) or len(below) - len(below.lstrip(" ")) > line.indent:
        return 0, 0  # all of the block is prose, or some of it stands behind its code
    if block and text[line.end : block[0].start].strip():
        return 0, 0  # a docstring comes first
    inside = [place for place in line.tokens[1:] if "\n" not in text[line.start : place]]
    return (rng.choice(inside), end) if inside and "\n" in text[line.start : end] else (0, 0)


_Cut = Callable[[str, Sequence[Line], int, random.Random], tuple[int, int]]
_CUTS: dict[str, _Cut] = {
    SINGLE: _single,
    SPAN: _span,
    MULTI: _multi,
    BRACKETS: _brackets,
    BEGUN: _begun,
    MID_LINE: _mid_line,
}


def _package(name: str) -> dict[str, list[tuple[str, str]]]:
    try:
        dist = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return {}
    files = [(str(file), _read(Path(str(file.locate())))) for file in dist.files or () if file.suffix == ".py"]
    kept = [(path, text) for path, text in files if _wanted(path, text)]
    return {f"{name}=={dist.version}": kept} if kept else {}


def _wanted(path: str, text: str) -> bool:
    return not unwanted_path(path) and not is_test(path) and unwanted_text(text) is None


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
