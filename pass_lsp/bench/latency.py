"""`bench latency`: somebody types into the real server over stdio; what each key waits for, and why."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pass_lsp.bench.client import Client
from pass_lsp.bench.replay import Asked, Pace, Typist, type_along
from pass_lsp.bench.traces import Trace, long_trace
from pass_lsp.engines.echo import NAME
from pass_lsp.metrics.percentiles import percentiles

PARTS = ("queue", "context", "prefill", "first token", "decode", "postprocess")
LONG_LINES = 10_000
_OVERHEAD_KEYS = 60
_CANCELS = 20
_UNDER_WAY_S = 0.008
"""After which a decode runs, and is not over yet."""
_PATIENT = {"deadlineMs": 0, "manualDeadlineMs": 0, "firstTextMs": 0, "ahead": False, "debounceMs": 0}


def bench_latency(
    options: list[str], traces: Sequence[Trace], pace: Pace, *, overhead: bool = True
) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Replay `traces` against `pass-lsp serve` with `options`: the report, and the samples (ms) behind it.

    Answers count that were not superseded. Rows are percentiles in ms; `first token` is counted
    from the request, the other parts each by itself. Raises `EngineError` where an engine elsewhere is away.
    """
    samples: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        with Client(options, Path(folder)) as client:
            client.wait_ready()
            client.check_engine()
            facts: dict[str, Any] = {"ready_ms": round((time.perf_counter() - began) * 1000)}
            asked = _replayed(client, Path(folder), traces, pace)
            client.check_engine()
            told = client.request("pass-lsp/answers", None)
            facts |= _facts(asked, sum(len(trace.edits) for trace in traces), told)
            samples |= _samples(asked)
            samples["type-through"] = _typed_along(client, Path(folder), traces[0])
            samples["one forward"], samples["cancel to idle"] = _cancelled(client, Path(folder), traces[0])
        if overhead:
            samples |= _overhead(Path(folder))
    total = samples["answer"]
    rows = [{"part": part, "n": len(values), **percentiles(values, 2)} for part, values in samples.items()]
    facts |= {f"{point}_ms": value for point, value in percentiles(total).items()}
    return {"keystrokes": facts.pop("keystrokes"), **facts, "rows": rows}, samples


def _replayed(client: Client, folder: Path, traces: Sequence[Trace], pace: Pace) -> list[Asked]:
    asked: list[Asked] = []
    with tqdm(total=sum(len(trace.edits) for trace in traces), desc="latency", unit="key") as bar:
        for number, trace in enumerate(traces):
            typist = Typist(client, (folder / f"{number}" / trace.name).as_uri(), trace)
            for _ in typist.replay(pace):
                bar.update()
            typist.close()
            asked += typist.asked
    return asked


def _facts(asked: Sequence[Asked], keystrokes: int, told: dict[str, Any]) -> dict[str, Any]:
    answered = [each for each in asked if each.answered and not each.superseded]
    turns = [each.turn for each in asked if each.answered]
    sources = [each.figures.get("source") for each in answered]
    read = sorted(each.figures["prefilled_tokens"] for each in answered if "prefilled_tokens" in each.figures)
    fresh = [each.ms for each in answered if _is_fresh(each)]
    return {
        "keystrokes": keystrokes,
        "requests": len(asked),
        "superseded": sum(each.superseded for each in asked),
        "unanswered": sum(not each.answered for each in asked),
        "out_of_order": sum(later < earlier for earlier, later in pairwise(turns)),
        "shown": sum(bool(each.items) for each in answered),
        "memory_share": round(sources.count("memory") / max(len(answered), 1), 3),
        "joined_share": round(sum(bool(each.figures.get("joined")) for each in answered) / max(len(answered), 1), 3),
        "cold_ms": round(fresh[0], 1) if fresh else 0.0,
        "prefilled_tokens_p50": statistics.median(read) if read else 0,
        "read_ahead_tokens_per_key": round(told["read_ahead_tokens"] / max(keystrokes, 1), 1),
    }


def _is_fresh(asked: Asked) -> bool:
    """Whether the model was asked for this answer alone."""
    return asked.figures.get("source") == "model" and not asked.figures.get("joined")


def _samples(asked: Iterable[Asked]) -> dict[str, list[float]]:
    answered = [each for each in asked if each.answered and not each.superseded]
    fresh = [each for each in answered if _is_fresh(each) and "forwards" in each.figures]
    one_line = [each.ms for each in fresh if each.items and "\n" not in each.items[0]["insertText"]]
    found = {
        "answer": [each.ms for each in answered],
        "from memory": [each.ms for each in answered if each.figures.get("source") == "memory"],
        "fresh": [each.ms for each in fresh],
        "fresh, one line": one_line,
    }
    for part in PARTS:
        names = ("queue", "context", "prefill") if part == "first token" else (part,)
        found[part] = [sum(each.figures.get(f"{name}_ms", 0.0) for name in names) for each in fresh]
    return found


def _typed_along(client: Client, folder: Path, trace: Trace) -> list[float]:
    typist = Typist(client, (folder / "along" / trace.name).as_uri(), trace)
    taken = type_along(typist, every=max(len(trace.edits) // 40, 1), keys=5)
    typist.close()
    return taken


def _cancelled(client: Client, folder: Path, trace: Trace) -> tuple[list[float], list[float]]:
    """Ms of one forward, and from a cancel to an idle engine; each cancel comes while the model decodes."""
    client.notify("workspace/didChangeConfiguration", {"settings": _PATIENT})
    typist = Typist(client, (folder / "cancel" / trace.name).as_uri(), trace)
    before = len(client.request("pass-lsp/answers", None)["idle_after_ms"])
    for number, edit in enumerate(trace.edits[: 2 * _CANCELS]):
        typist.edit(edit)
        asked = typist.ask(edit.cursor)
        if number % 2:
            time.sleep(_UNDER_WAY_S)
            client.notify("$/cancelRequest", {"id": asked.msg_id})
            typist.asked.pop()
        client.wait(asked.msg_id)
    typist.fetch()
    figures = [each.figures for each in typist.asked]
    forwards = [each["decode_ms"] / (each["forwards"] - 1) for each in figures if each.get("forwards", 0) > 1]
    idle = client.request("pass-lsp/answers", None)["idle_after_ms"]
    return forwards, idle[before:] or idle[-_CANCELS:]


def _overhead(folder: Path) -> dict[str, list[float]]:
    """Answers of a server without a model in a file of 10,000 lines, and what is left without making the context."""
    trace = long_trace(LONG_LINES, _OVERHEAD_KEYS)
    with Client(["--model", NAME], folder, {"ahead": False, "debounceMs": 0}) as client:
        client.wait_ready()
        typist = Typist(client, (folder / "overhead" / trace.name).as_uri(), trace)
        for _ in typist.replay(Pace(pause_ms=0.0)):
            pass
    fresh = [each for each in typist.asked if each.figures.get("source") == "model"]
    return {
        f"overhead, {LONG_LINES} lines": [each.ms for each in fresh],
        "overhead without context": [each.ms - each.figures.get("context_ms", 0.0) for each in fresh],
    }
