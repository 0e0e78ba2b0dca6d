"""Keystroke traces: made from real files with human timing, or recorded ones that are given.

The recorded format is that of josephg/editing-traces: `startContent`, and `txns` with a
`time` and `patches` of [position, deleted, inserted], positions in characters.
"""

from __future__ import annotations

import gzip
import json
import random
import sysconfig
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pass_lsp.documents.languages import lexis_of
from pass_lsp.documents.scan import scan
from pass_lsp.errors import ConfigError
from pass_lsp.train.corpus import HELD_OUT_MODULES

KEY_MS = 140.0
"""Median of a practised typist's interval between keys; it varies log-normally."""
_SPREAD = 0.45
_LONGEST_PAUSE_MS = 2_000.0
_TYPOS = 0.03
_PAIRS = {"(": ")", "[": "]", "{": "}", '"': '"', "'": "'"}


@dataclass(frozen=True, slots=True)
class Edit:
    """At `at_ms`, `inserted` replaces `deleted` characters at `position`; the cursor is at `cursor` then."""

    at_ms: float
    position: int
    deleted: int
    inserted: str
    cursor: int


@dataclass(frozen=True, slots=True)
class Trace:
    """A text, and what somebody types into it."""

    name: str
    text: str
    edits: tuple[Edit, ...]


def load_traces(data: Path | None, keystrokes: int) -> list[Trace]:
    """Recorded keys where `data` names some, made ones otherwise. Raises `ConfigError`."""
    return [read_trace(data, keystrokes)] if data else made_traces(keystrokes)


def made_traces(keystrokes: int, seed: int = 0) -> list[Trace]:
    """Traces of that many keystrokes in all: pieces of held-out modules, taken out and typed again."""
    root, rng = Path(sysconfig.get_paths()["stdlib"]), random.Random(seed)
    files = [(name, (root / name).read_text("utf-8")) for name in sorted(HELD_OUT_MODULES) if (root / name).exists()]
    traces: list[Trace] = []
    while (left := keystrokes - sum(len(trace.edits) for trace in traces)) > 0:
        name, text = rng.choice(files)
        trace = _retyped(name, text, rng)
        traces.append(replace(trace, edits=trace.edits[:left]))
    return traces


def long_trace(lines: int, keystrokes: int) -> Trace:
    """The same in the middle of a file of `lines` lines, made of the module that is drawn first."""
    root, rng = Path(sysconfig.get_paths()["stdlib"]), random.Random(0)
    name = min(name for name in HELD_OUT_MODULES if (root / name).exists())
    text = (root / name).read_text("utf-8")
    half = "\n".join((text.split("\n") * (lines // text.count("\n") + 1))[: lines // 2]) + "\n"
    base = len(half)
    first = _retyped(name, text, rng)
    edits = [replace(edit, position=edit.position + base, cursor=edit.cursor + base) for edit in first.edits]
    while len(edits) < keystrokes:
        # Further lines go where the last key was, so that one document serves for all of them.
        at, now = edits[-1].cursor, edits[-1].at_ms
        more = _typed("\n" + "\n".join(text.split("\n")[: keystrokes // 10]), at, rng, "")
        edits += [replace(edit, at_ms=now + edit.at_ms) for edit in more]
    return Trace(name, half + first.text + half, tuple(edits[:keystrokes]))


def read_trace(path: Path, keystrokes: int) -> Trace:
    """The first `keystrokes` of a recorded trace that are typed, not pasted. Raises `ConfigError`."""
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            data = json.load(file)
        trace = _recorded(path.name.partition(".")[0], data, keystrokes)
    except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        raise ConfigError(
            f"{path} cannot be used ({type(error).__name__}); give a trace with startContent and txns, as JSON or .gz."
        ) from error
    if not trace.edits:
        raise ConfigError(f"{path} holds no keystrokes; give a trace with startContent and txns, as JSON or .gz.")
    return trace


def _recorded(name: str, data: dict[str, Any], keystrokes: int) -> Trace:
    """Pastes before the first key are the text to begin with; longer pauses are cut short."""
    text, edits = str(data["startContent"]), list(_patches(data["txns"]))
    first = next((number for number, edit in enumerate(edits) if len(edit.inserted) == 1), len(edits))
    for edit in edits[:first]:
        text = text[: edit.position] + edit.inserted + text[edit.position + edit.deleted :]
    now, last, kept = 0.0, None, list[Edit]()
    for edit in edits[first : first + keystrokes]:
        now += min(edit.at_ms - last, _LONGEST_PAUSE_MS) if last is not None else 0.0
        last = edit.at_ms
        kept.append(replace(edit, at_ms=now))
    return Trace(f"{name}.svelte" if name.startswith("svelte") else f"{name}.txt", text, tuple(kept))


def _patches(transactions: list[dict[str, Any]]) -> Iterator[Edit]:
    """Edits with times in ms; what one second holds is spread over it, because the times are whole seconds."""
    seconds = [round(datetime.fromisoformat(each["time"]).timestamp()) for each in transactions]
    many, seen = Counter(seconds), Counter[int]()
    for second, each in zip(seconds, transactions, strict=True):
        at_ms = 1000.0 * (second + seen[second] / many[second])
        seen[second] += 1
        for position, deleted, inserted in each["patches"]:
            yield Edit(at_ms, int(position), int(deleted), str(inserted), int(position) + len(str(inserted)))


def _retyped(name: str, text: str, rng: random.Random) -> Trace:
    """A few lines of `text` taken out and typed again, with slips of the finger and an editor that closes brackets."""
    lines = text.split("\n")
    first = rng.randrange(len(lines) // 4, len(lines) - 20)
    count = rng.randrange(3, 9)
    before = "\n".join(lines[:first])
    gone = "\n" + "\n".join(lines[first : first + count])
    after = "\n" + "\n".join(lines[first + count :])
    return Trace(name, before + after, tuple(_typed(gone, len(before), rng, before)))


def _typed(wanted: str, position: int, rng: random.Random, before: str) -> Iterator[Edit]:
    """The keys of `wanted` behind `before`, where an editor closes brackets, and quotes outside of strings."""
    now, at, closers = 0.0, 0, list[str]()
    while at < len(wanted):
        key = wanted[at]
        now += rng.lognormvariate(0.0, _SPREAD) * KEY_MS * (3.0 if key == "\n" else 1.0)
        if key.isalpha() and rng.random() < _TYPOS:
            slip = rng.choice("etaoinshr")
            yield Edit(now, position, 0, slip, position + 1)
            now += 2 * KEY_MS
            yield Edit(now, position, 1, "", position)
            now += KEY_MS
        if key == "\n":
            # Closers on the line stay where they are, as in an editor: they are typed over, or deleted first.
            if closers:
                yield Edit(now, position, len(closers), "", position)
                closers.clear()
            indent = len(wanted[at + 1 :]) - len(wanted[at + 1 :].lstrip(" "))
            key += " " * indent
            yield Edit(now, position, 0, key, position + len(key))
        elif closers and key == closers[-1]:
            closers.pop()
            yield Edit(now, position, 1, key, position + 1)
        elif key in _PAIRS and (key not in "\"'" or _in_code(before + wanted[:at])):
            closers.append(_PAIRS[key])
            yield Edit(now, position, 0, key + _PAIRS[key], position + 1)
        else:
            yield Edit(now, position, 0, key, position + 1)
        at, position = at + len(key), position + len(key)


def _in_code(text: str) -> bool:
    """Whether Python ends outside of strings and comments."""
    state = scan(text, lexis_of("python"))
    return not (state.string or state.comment)
