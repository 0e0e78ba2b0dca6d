"""`bench decode`: every way to decode the same weights on the same prompts, in one run.

Fresh prompts are holes in code held out from training; copy-heavy ones have much of their answer
in sight. Free-running figures come with the share of repeated 8-grams, because a model that
repeats itself makes any drafter look good; the honest figure is the one on the true text.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pass_lsp.bench.contenders import contenders, reference_model
from pass_lsp.bench.forced import Forced, Shortened, copied, forced
from pass_lsp.bench.goals import reached
from pass_lsp.bench.hardware import curve, machine, one_forward
from pass_lsp.bench.holes import Hole
from pass_lsp.bench.measure import measure, rows_of
from pass_lsp.bench.prompts import Task, tasks_of
from pass_lsp.bench.study import bench_study
from pass_lsp.bench.table import Rows
from pass_lsp.bench.variants import answer_room, study_models
from pass_lsp.decoding.costs import Costs
from pass_lsp.decoding.executor import Executor
from pass_lsp.decoding.lookahead import Lookahead
from pass_lsp.decoding.model import table_of
from pass_lsp.decoding.torch_executor import TorchExecutor
from pass_lsp.domain import SamplingParams
from pass_lsp.engines.local import LocalEngine


@dataclass(frozen=True, slots=True)
class Settings:
    """How much to measure."""

    max_new_tokens: int = 96
    repeats: int = 5
    temperatures: tuple[float, ...] = (0.0, 0.8)
    threads: int | None = None


def bench_decode(engine: LocalEngine, texts: Mapping[str, Sequence[Hole]], settings: Settings) -> dict[str, Any]:
    """The whole document: rows of contenders, figures on the true text, T(k), and goals.

    `texts` maps `fresh` and `copy` to holes.
    """
    most = answer_room(settings.max_new_tokens)
    tasks = {text: tasks_of(engine, holes, most) for text, holes in texts.items()}
    costs = curve(engine.executor, engine.context_length)
    rows: Rows = []
    for text, prompts in tasks.items():
        for temperature in settings.temperatures:
            scores = measure(
                contenders(engine, most, temperature), prompts, settings.repeats, f"{text}, T = {temperature:g}"
            )
            rows += [{"text": text, "temperature": temperature, **row} for row in rows_of(scores)]
    found = {
        "prompts": {text: len(prompts) for text, prompts in tasks.items()},
        "prompt_tokens": {text: sum(len(t.token_ids) for t in p) // max(1, len(p)) for text, p in tasks.items()},
        "max_new_tokens": most,
        "repeats": settings.repeats,
        "machine": machine(engine),
        "auto": engine.auto_strategy,
        "rows": rows,
        "true_text": true_text_rows(engine, tasks, settings.temperatures),
        "forward": one_forward(engine, costs),
        "costs": cost_rows(engine, costs),
    }
    return {**found, "goals": reached([{"bench": "decode", **found}], engine.device)}


def run_study(
    engine: LocalEngine, texts: Mapping[str, Sequence[Hole]], settings: Settings, draft: str | None, samples: int
) -> dict[str, Any]:
    """The document of `--study`; `texts` maps `code` and `prose` to holes, `draft` names a smaller model."""
    most = answer_room(settings.max_new_tokens)
    tasks = {text: tasks_of(engine, holes, most, fill=False) for text, holes in texts.items()}
    with tempfile.TemporaryDirectory() as folder:
        models = study_models(engine, draft, Path(folder), settings.threads)
        costs = curve(engine.executor, engine.context_length)
        found = bench_study(models, tasks, costs, settings.repeats, most, samples)
    how = {"max_new_tokens": most, "repeats": settings.repeats, "draft": draft or "the model's first layers"}
    return {**how, "machine": machine(engine), **found, "costs": cost_rows(engine, costs)}


def true_text_rows(engine: LocalEngine, tasks: Mapping[str, Sequence[Task]], temperatures: Sequence[float]) -> Rows:
    """Tokens per forward and acceptance on the true continuation; on fresh text also of the artifact's parts."""
    if engine.lookahead is None:
        return []
    rows: Rows = []
    for text, prompts in tasks.items():
        for temperature in temperatures:
            executors = {"all": engine.executor}
            if text == next(iter(tasks)) and temperature == 0:
                executors |= without_parts(engine, engine.lookahead)
            for parts, executor in executors.items():
                params = SamplingParams(temperature=temperature)
                row = {"text": text, "temperature": temperature, "parts": parts}
                copies = round(copied(executor, prompts, params), 3) if parts == "all" else None
                rows.append({**row, **_figures(forced(executor, prompts, params)), "copies": copies})
    return rows


def without_parts(engine: LocalEngine, found: Lookahead) -> dict[str, Executor]:
    """Executors whose artifact lacks parts that were trained together with the rest."""
    executors: dict[str, Executor] = {}
    if found.head is not None:
        executors["without head"] = Shortened(engine.executor, found.length, head=False)
    if found.lora:
        model = reference_model(engine)
        table = table_of(model)
        bare = replace(found, lora={}).to(table.device, table.dtype)
        executors["without LoRA"] = TorchExecutor(model, bare)
        executors["embeddings alone"] = TorchExecutor(model, replace(bare, head=None))
    return executors


def _figures(found: Forced) -> dict[str, Any]:
    return {
        "pass": round(found.two_forwards(), 3),
        "merged": round(found.merged(), 3),
        "acceptance": [round(share, 3) for share in found.acceptance],
        "positions": found.positions,
    }


def cost_rows(engine: LocalEngine, costs: Costs) -> Rows:
    """T(k): measured in this run, its ratio to one row, and what `auto` goes by (processor time at an earlier load)."""
    return [
        {
            "rows": rows,
            "ms": round(1000 * taken, 3),
            "ratio": round(taken / costs(1), 2),
            "auto_goes_by_ms": round(1000 * engine.costs(rows, 0), 3),
        }
        for rows, taken in zip(costs.rows, costs.taken, strict=True)
    ]
