"""`bench typing`: how many tokens a keystroke makes the model read anew, and what its context costs.

Needs no model, only a tokenizer. A keystroke's prompt is compared with the one before it: what
both begin with is in the cache. The embedded tokenizer stands in for every family's; what
differs between families is the order of prefix and suffix.
"""

from __future__ import annotations

import gzip
import json
import statistics
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pass_lsp import prompt
from pass_lsp.context import build_context
from pass_lsp.documents.document import Document
from pass_lsp.documents.languages import language_of
from pass_lsp.domain import Mode
from pass_lsp.errors import ConfigError
from pass_lsp.metrics.percentiles import percentile
from pass_lsp.prompt.families import FAMILIES, Family
from pass_lsp.prompt.template import Template

TYPED = ("context/trim.py", "prompt/template.py", "bench/typing.py")
"""Files of this package that the project's own trace types the middle of."""
TYPO_EVERY = 23
_ORDERS = ("pass-lsp", "qwen-coder")

Edit = tuple[str, int, int, str]
"""Name of a file, and what replaces `[start, end)` of its text."""


def bench_typing(tokenizer: Any, edits: Iterator[Edit], keystrokes: int, tokens: int, lines: int) -> dict[str, Any]:
    """Replay `edits`; a row for each order of prefix and suffix. `lines` pads each file to that length."""
    templates = {family.name: _template(tokenizer, family) for family in FAMILIES if family.name in _ORDERS}
    last: dict[str, list[int]] = {}
    read: dict[str, list[int]] = {name: [] for name in templates}
    suffixes: list[int] = []
    took: list[float] = []
    documents: dict[str, Document] = {}
    for name, start, end, text in tqdm(edits, desc="typing", total=keystrokes, unit="key"):
        document = documents.get(name) or Document(f"file:///{name}", "", language=language_of(name), path=name)
        padding = "" if name in documents or not lines else _padding(text, lines)
        documents[name] = document = document.edited(start, end, text + padding, document.version + 1)
        if document.version == 1:
            continue
        began = time.perf_counter()
        budget = prompt.characters(tokens, templates[_ORDERS[0]])
        context = build_context(document, start + len(text), budget=budget)
        took.append((time.perf_counter() - began) * 1000)
        if context.mode is Mode.NONE:
            continue
        suffixes.append(len(tokenizer(context.suffix, add_special_tokens=False, verbose=False)["input_ids"]))
        for order, template in templates.items():
            ids = list(prompt.render(context, template, tokenizer, tokens).token_ids)
            if order in last:
                read[order].append(len(ids) - _common(last[order], ids))
            last[order] = ids
        if len(took) >= keystrokes:
            break
    if not all(read.values()):
        raise ConfigError("No two keystrokes follow each other where something belongs; give a longer session.")
    return {
        "keystrokes": len(took),
        "context_p50_ms": round(statistics.median(took), 2),
        "context_p99_ms": round(percentile(sorted(took), 99), 2),
        "rows": [_row(name, templates[name].family, counts, suffixes) for name, counts in read.items()],
    }


def own_edits() -> Iterator[Edit]:
    """Type the middle third of some files of this package, with a slip of the finger now and then."""
    root = Path(__file__).parents[1]
    for name in TYPED:
        text = (root / name).read_text("utf-8")
        first, last = (text.index("\n", len(text) * part // 3) + 1 for part in (1, 2))
        yield name, 0, 0, text[:first] + "\n" + text[last:]
        for count, character in enumerate(text[first : last - 1], 1):
            at = first + count - 1
            if count % TYPO_EVERY == 0:
                yield name, at, at, "x"
                yield name, at, at + 1, ""
            yield name, at, at, character


def recorded_edits(path: Path) -> Iterator[Edit]:
    """A recorded session: JSON with `startContent` and `txns`, each with `patches`. Raises `ConfigError`."""
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            trace = json.load(file)
        patches = [patch for txn in trace["txns"] for patch in txn["patches"]]
        edits = [(int(at), int(at) + int(gone), str(text)) for at, gone, text in patches]
        start = str(trace["startContent"])
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ConfigError(
            f"{path} cannot be used ({type(error).__name__}); give JSON with startContent and txns of patches."
        ) from error
    name = path.name.partition(".")[0] + ".svelte"
    yield name, 0, 0, start
    for at, end, text in edits:
        yield name, at, end, text


def _template(tokenizer: Any, family: Family) -> Template:
    """The embedded model's markers, which have the same names, in the order of `family`."""
    return replace(prompt.template_for(tokenizer), family=family)


def _padding(text: str, lines: int) -> str:
    """Copies of a file's own text, until it has so many lines."""
    return "\n" + text * max(lines // max(text.count("\n"), 1), 0)


def _common(left: list[int], right: list[int]) -> int:
    shared = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        shared += 1
    return shared


def _row(name: str, family: Family, counts: list[int], suffixes: list[int]) -> dict[str, Any]:
    counts = sorted(counts)
    return {
        "order": "suffix first" if family.suffix_first else "prefix first",
        "like": name,
        "read_p50": int(statistics.median(counts)),
        "read_p90": int(percentile(counts, 90)),
        "read_mean": round(statistics.mean(counts), 1),
        "suffix_p50": int(statistics.median(suffixes)),
    }
