"""`bench typing`: how many tokens a keystroke makes the model read anew, and what its context costs.

Needs no model, only a tokenizer. A keystroke's prompt is compared with the one before it: what
both begin with is in the cache. The embedded tokenizer stands in for every family's; what
differs between families is the order of prefix and suffix.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from tqdm import tqdm

from pass_lsp import prompt
from pass_lsp.bench.traces import Trace
from pass_lsp.context import build_context
from pass_lsp.documents.document import Document
from pass_lsp.documents.languages import language_of
from pass_lsp.domain import Context, Mode
from pass_lsp.errors import ConfigError
from pass_lsp.metrics.percentiles import percentile
from pass_lsp.prompt.families import FAMILIES, Family
from pass_lsp.prompt.template import Template

_ORDERS = ("pass-lsp", "qwen-coder")


def bench_typing(tokenizer: Any, traces: Sequence[Trace], tokens: int, lines: int) -> dict[str, Any]:
    """Replay `traces`; a row for each order of prefix and suffix. `lines` pads each file to that length."""
    templates = {family.name: _template(tokenizer, family) for family in FAMILIES if family.name in _ORDERS}
    read: dict[str, list[int]] = {name: [] for name in templates}
    suffixes: list[int] = []
    took: list[float] = []
    with tqdm(total=sum(len(trace.edits) for trace in traces), desc="typing", unit="key") as bar:
        for number, trace in enumerate(traces):
            last: dict[str, list[int]] = {}
            for context, seconds in _contexts(number, trace, prompt.characters(tokens, templates[_ORDERS[0]]), lines):
                bar.update()
                took.append(seconds * 1000)
                if context.mode is Mode.NONE:
                    continue
                suffixes.append(len(tokenizer(context.suffix, add_special_tokens=False, verbose=False)["input_ids"]))
                for order, template in templates.items():
                    ids = list(prompt.render(context, template, tokenizer, tokens).token_ids)
                    if order in last:
                        read[order].append(len(ids) - _common(last[order], ids))
                    last[order] = ids
    if not all(read.values()):
        raise ConfigError("No two keystrokes follow each other where something belongs; give a longer session.")
    return {
        "keystrokes": len(took),
        "context_p50_ms": round(statistics.median(took), 2),
        "context_p99_ms": round(percentile(sorted(took), 99), 2),
        "rows": [_row(name, templates[name].family, counts, suffixes) for name, counts in read.items()],
    }


def _contexts(number: int, trace: Trace, budget: int, lines: int) -> Iterator[tuple[Context, float]]:
    """What the model may see after each key, and how many seconds that took to find."""
    name = PurePosixPath(trace.name).name
    text = trace.text + _padding(trace.text, lines)
    document = Document(f"file:///{number}/{name}", text, 1, language_of(name), name)
    for edit in trace.edits:
        document = document.edited(edit.position, edit.position + edit.deleted, edit.inserted, document.version + 1)
        began = time.perf_counter()
        context = build_context(document, edit.cursor, budget=budget)
        yield context, time.perf_counter() - began


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
        "read_p99": int(percentile(counts, 99)),
        "read_mean": round(statistics.mean(counts), 1),
        "suffix_p50": int(statistics.median(suffixes)),
    }
