"""`bench decode --study`: the paper's study again, with more methods: which L, which vectors, one model or two.

Code and prose are gone on from left to right, greedily and with T = 0.8 and top-k 10. Nothing is
copied, so that look-ahead alone is seen. Methods: one token a forward; `pass` and `merged` with
trained vectors and with one untrained vector for all (the paper's [UNK]); two-model speculative
sampling. Each is measured for L = 1 … 8 as far as the artifact goes, beside what T(k) and the
acceptance on the true text predict. Source: Monea, Joulin, Grave 2023, section 4.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tqdm import tqdm

from pass_lsp.bench.forced import Forced, Shortened, forced
from pass_lsp.bench.law import same_law, same_samples
from pass_lsp.bench.prompts import Task
from pass_lsp.bench.speculative import two_models
from pass_lsp.bench.table import Rows
from pass_lsp.decoding.cache import KVCache
from pass_lsp.decoding.costs import Costs
from pass_lsp.decoding.executor import Executor
from pass_lsp.decoding.forward import Forward
from pass_lsp.decoding.planner import Planner
from pass_lsp.decoding.strategies import Run, autoregressive, merged, parallel_speculative
from pass_lsp.domain import SamplingParams

MAX_LENGTH = 8
SAMPLING = {"greedy": SamplingParams(), "T = 0.8, top-k 10": SamplingParams(temperature=0.8, top_k=10)}
PLAIN = "autoregressive"

Method = Callable[[Sequence[int], SamplingParams, int, frozenset[int]], Iterator[Run]]
"""Prompt ids, how to sample, the positions there are, ids that end → runs of tokens."""


class FixedDepth(Planner):
    """Always the same number of look-ahead rows, whatever it costs; no copies."""

    def __init__(self, depth: int) -> None:
        super().__init__((0.5,) * depth, copying=False)

    @property
    def depth(self) -> int:
        """The number."""
        return len(self.acceptance)


@dataclass(frozen=True, slots=True)
class Models:
    """What the study compares: executors of one model with trained and untrained vectors, and of a smaller model."""

    trained: Executor
    untrained: Executor
    draft: Executor
    lengths: Sequence[int]
    ends: frozenset[int]

    def methods(self) -> dict[tuple[str, int], Method]:
        """Every method by (name, L), the plain one first."""
        found: dict[tuple[str, int], Method] = {(PLAIN, 0): _plain(self.trained)}
        for length in self.lengths:
            found["two models", length] = _two(self.trained, self.draft, length)
            for vectors, executor in (("trained", self.trained), ("untrained", self.untrained)):
                short = Shortened(executor, length)
                found[f"pass, {vectors}", length] = _pass(short)
                found[f"merged, {vectors}", length] = _merged(short, length)
        return found


def _plain(executor: Executor) -> Method:
    return lambda ids, params, limit, ends: autoregressive(_fresh(executor), ids, params)


def _pass(executor: Executor) -> Method:
    return lambda ids, params, limit, ends: parallel_speculative(_fresh(executor), ids, params, limit, ends)


def _merged(executor: Executor, length: int) -> Method:
    return lambda ids, params, limit, ends: merged(_fresh(executor), ids, params, FixedDepth(length), limit, ends)


def _two(target: Executor, draft: Executor, length: int) -> Method:
    return lambda ids, params, limit, ends: two_models(_fresh(target), _fresh(draft), ids, params, length, limit, ends)


def _fresh(executor: Executor) -> Forward:
    return Forward(executor, KVCache(executor.new_slots), None)


@dataclass
class Tally:
    """What a method did: by round, seconds and tokens after an answer's first run; in all, tokens and forwards."""

    rounds: list[list[tuple[float, int]]] = field(default_factory=list)
    tokens: int = 0
    forwards: int = 0

    @property
    def seconds(self) -> list[float]:
        """Seconds a token, by round."""
        return [sum(s for s, _ in r) / max(1, sum(n for _, n in r)) for r in self.rounds]

    @property
    def tokens_per_forward(self) -> float:
        """The first forward of an answer, which reads the prompt, included."""
        return self.tokens / max(1, self.forwards)


def bench_study(
    models: Models, tasks: Mapping[str, Sequence[Task]], costs: Costs, repeats: int, most: int, samples: int
) -> dict[str, Any]:
    """Rows of every text, sampling, method and L, the best L of each, and checks of the output law."""
    rows: Rows = []
    methods = models.methods()
    for text, prompts in tasks.items():
        for sampling, params in SAMPLING.items():
            tallies = _measured(methods, prompts, params, models.ends, repeats, most, f"{text}, {sampling}")
            known = {
                "trained": forced(models.trained, prompts, params),
                "untrained": forced(models.untrained, prompts, params),
            }
            rows += [
                {"text": text, "sampling": sampling, **_row(name, length, tally, tallies[PLAIN, 0], known, costs)}
                for (name, length), tally in tallies.items()
            ]
    prompts = [task.token_ids for group in tasks.values() for task in group]
    return {
        "lengths": [*models.lengths],
        "prompts": {text: len(group) for text, group in tasks.items()},
        "best": best(rows),
        "law": [
            *same_samples(methods, prompts, SAMPLING, models.ends, most),
            *same_law(models.trained, methods, prompts[0], samples),
        ],
        "rows": rows,
    }


def _measured(
    methods: Mapping[tuple[str, int], Method],
    tasks: Sequence[Task],
    params: SamplingParams,
    ends: frozenset[int],
    repeats: int,
    most: int,
    what: str,
) -> dict[tuple[str, int], Tally]:
    names = list(methods)
    tallies = {name: Tally() for name in names}
    for method in methods.values():  # nobody's first call counts
        _answered(method, tasks[0], params, ends, min(most, 8))
    bar = tqdm(total=repeats * len(tasks) * len(names), desc=what, unit="answer")
    for number in range(repeats):
        for tally in tallies.values():
            tally.rounds.append([])
        for seed, task in enumerate(tasks):
            first = (number * len(tasks) + seed) % len(names)
            for name in (*names[first:], *names[:first]):
                seconds, late, tokens, forwards = _answered(methods[name], task, replace(params, seed=seed), ends, most)
                tally = tallies[name]
                tally.rounds[-1].append((seconds, late))
                tally.tokens, tally.forwards = tally.tokens + tokens, tally.forwards + forwards
                bar.update()
    bar.close()
    return tallies


def _answered(
    method: Method, task: Task, params: SamplingParams, ends: frozenset[int], most: int
) -> tuple[float, int, int, int]:
    """(seconds after the first run, tokens of that time, all tokens, all forwards) of one answer."""
    runs = method(task.token_ids, params, len(task.token_ids) + most, ends)
    first = next(runs)
    tokens, forwards = len(first.token_ids), first.step.forwards
    early, began, over = tokens, time.perf_counter(), not ends.isdisjoint(first.token_ids)
    while not over and tokens < most:
        run = next(runs)
        tokens, forwards = tokens + len(run.token_ids), forwards + run.step.forwards
        over = not ends.isdisjoint(run.token_ids)
    return time.perf_counter() - began, tokens - early, tokens, forwards


def _row(
    name: str, length: int, tally: Tally, plain: Tally, known: Mapping[str, Forced], costs: Costs
) -> dict[str, Any]:
    ratios = [a / b for a, b in zip(plain.seconds, tally.seconds, strict=True) if b]
    vectors = known.get(name.rpartition(", ")[2])
    forward = {"pass": Forced.two_forwards, "merged": Forced.merged}.get(name.partition(",")[0])
    promised = forward(vectors, length) if forward and vectors else None
    return {
        "method": name,
        "L": length,
        "tokens_per_forward": round(tally.tokens_per_forward, 3),
        "true_text": round(promised, 3) if promised else None,
        "ms_a_token": round(1000 * statistics.median(tally.seconds), 3),
        "speedup": round(statistics.median(ratios), 2) if ratios else None,
        "predicted": round(promised * costs(1) / _forward_seconds(name, length, costs), 2) if promised else None,
    }


def _forward_seconds(name: str, length: int, costs: Costs) -> float:
    """The mean forward: of `pass`, both kinds have about L + 1 rows; `merged` hangs L rows behind each of L + 1."""
    return costs((1 + length) ** 2 if name.startswith("merged") else 1 + length)


def best(rows: Rows) -> Rows:
    """For each text, sampling and method the L that was fastest, and the one that T(k) and acceptance say should be."""
    groups: dict[tuple[str, str, str], Rows] = {}
    for row in rows:
        groups.setdefault((row["text"], row["sampling"], row["method"]), []).append(row)
    found = []
    for (text, sampling, method), group in groups.items():
        if method == PLAIN:
            continue
        top = max(group, key=lambda row: row["speedup"] or 0.0)
        expected = max((row for row in group if row["predicted"]), key=lambda row: row["predicted"], default=None)
        found.append(
            {
                "text": text,
                "sampling": sampling,
                "method": method,
                "best_L": top["L"],
                "speedup": top["speedup"],
                "tokens_per_forward": top["tokens_per_forward"],
                "predicted_L": expected["L"] if expected else None,
                "predicted": expected["predicted"] if expected else None,
            }
        )
    return found
