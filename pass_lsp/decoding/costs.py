"""What a cycle of k rows costs here, T(k): measured once for a machine, model and dtype, and kept.

A cycle is a forward and what is made of its logits: on a small model the second is a good part. Cycles
of many rows come one at a time among those of one row, and each finds the caches as the other left
them. So a cycle is measured together with the one of one row behind it, and bears what that loses.
"""

from __future__ import annotations

import bisect
import json
import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise, product
from pathlib import Path

import torch

from pass_lsp.decoding.cache import KVCache
from pass_lsp.decoding.executor import Executor
from pass_lsp.decoding.forward import Forward
from pass_lsp.decoding.planner import MAX_DEPTH
from pass_lsp.domain import SamplingParams

ROWS = (1, 2, 3, 4, 6, 9, 12, 16, 25, 36, 49, 64)
BEHIND = 256
ROUNDS = 5
FORMAT = 6
AGAIN = 3
MAX_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of a cycle by its rows, from measured points; straight lines between them and beyond.

    `chain` is what making one draft of a look-ahead row takes besides.
    """

    rows: tuple[int, ...]
    taken: tuple[float, ...]
    chain: float = 0.0

    def __call__(self, rows: int, depth: int = 0) -> float:
        """Seconds of a cycle of `rows` rows in all, after which `depth` drafts are made."""
        right = min(max(bisect.bisect_left(self.rows, rows), 1), len(self.rows) - 1)
        low, high = self.rows[right - 1], self.rows[right]
        share = (rows - low) / (high - low)
        return self.taken[right - 1] + share * (self.taken[right] - self.taken[right - 1]) + depth * self.chain


def measured(executor: Executor, context_length: int, params: SamplingParams = SamplingParams()) -> Costs:
    """Measure T(k) for answers drawn by `params`: the least of a few rounds, since noise only ever adds.

    More rows never cost less.
    """
    behind, device = min(BEHIND, context_length // 2), executor.table.device
    points = [rows for rows in ROWS if behind + rows <= context_length]
    forward = Forward(executor, KVCache(executor.new_slots), None)
    forward([0] * behind)
    depth = min(forward.num_lookahead, MAX_DEPTH)
    cycles = [(rows, 0) for rows in points] + ([(1, depth)] if depth else [])
    least = dict.fromkeys(cycles, float("inf"))
    alone = float("inf")
    began = time.perf_counter()
    for number in range(ROUNDS):
        for (rows, ahead), _ in product(cycles, range(AGAIN)):
            alone = min(alone, _seconds(lambda: _cycle(forward, params, 1, 0), device))
            taken = _seconds(lambda r=rows, m=ahead: _cycle(forward, params, r, m), device)
            after = _seconds(lambda: _cycle(forward, params, 1, 0), device)
            least[rows, ahead] = min(least[rows, ahead], taken + after)
        if number and time.perf_counter() - began > MAX_SECONDS:
            break
    plain = Costs(tuple(points), tuple(accumulate((least[rows, 0] - alone for rows in points), max)))
    return replace(plain, chain=max(0.0, least[1, depth] - alone - plain(1 + depth)) / depth) if depth else plain


def _cycle(forward: Forward, params: SamplingParams, rows: int, depth: int) -> None:
    """Run a cycle and take its rows back."""
    length = forward.length
    found = forward([0] * rows, ((0, depth),) if depth else (), num_logits=rows)
    forward.settle(found, [0] * (rows - 1), params, forward.length)
    forward.crop(length)


def kept(path: Path, key: str, measure: Callable[[], Costs]) -> Costs:
    """The costs kept in the file `path` under `key` for this machine, measured and kept when there are none."""
    key = f"{platform.machine()} {platform.processor()} {os.cpu_count()} {torch.__version__} {FORMAT} {key}"
    try:
        found = json.loads(path.read_text())[key]
        return _checked(Costs(tuple(found["rows"]), tuple(found["seconds"]), float(found["chain"])))
    except (OSError, ValueError, KeyError, TypeError):
        costs = measure()
    _keep(path, key, costs)
    return costs


def _checked(costs: Costs) -> Costs:
    """Raises `ValueError` or `TypeError` unless more rows cost as much or more, and one row something."""
    (first, *_), points = costs.taken, zip(costs.rows, costs.taken, strict=True)
    rises = all(a < b and x <= y < math.inf for (a, x), (b, y) in pairwise(points))
    if not (rises and first > 0 and len(costs.rows) > 1 and 0 <= costs.chain < math.inf):
        raise ValueError("no costs")
    return costs


def _keep(path: Path, key: str, costs: Costs) -> None:
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        known = {}
    known = dict(list(known.items())[-63:]) if isinstance(known, dict) else {}
    known[key] = {"rows": costs.rows, "seconds": costs.taken, "chain": costs.chain}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(known))
        os.replace(fresh, path)
    except OSError:
        pass  # a cache that cannot be written is measured again next time


def _seconds(run: Callable[[], None], device: torch.device) -> float:
    # On a CPU the work itself is counted, so that a busy machine cannot spoil what is kept. Windows counts it in ticks
    # of 16 ms, more than a small model's forward takes.
    clock = time.process_time if device.type == "cpu" and os.name != "nt" else time.perf_counter
    began = clock()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - began
