"""What a forward of k rows costs here, T(k): measured once for a machine, model and dtype, and kept."""

from __future__ import annotations

import bisect
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch

from pass_lsp.decoding.cache import KVCache
from pass_lsp.decoding.executor import Executor
from pass_lsp.decoding.layout import layout

ROWS = (1, 2, 3, 4, 6, 9, 12, 16, 25, 36, 49, 64)
BEHIND = 256
ROUNDS = 7
FORMAT = 2
MAX_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of a forward by its rows, from measured points; straight lines between them and beyond."""

    rows: tuple[int, ...]
    taken: tuple[float, ...]

    def __call__(self, rows: int) -> float:
        """Seconds of a forward of `rows` rows."""
        right = min(max(bisect.bisect_left(self.rows, rows), 1), len(self.rows) - 1)
        low, high = self.rows[right - 1], self.rows[right]
        share = (rows - low) / (high - low)
        return self.taken[right - 1] + share * (self.taken[right] - self.taken[right - 1])


def measured(executor: Executor, context_length: int) -> Costs:
    """Measure T(k): the least of a few rounds, since noise only ever adds; more rows never cost less."""
    behind, on_gpu = min(BEHIND, context_length // 2), executor.table.device.type == "cuda"
    points = [rows for rows in ROWS if behind + rows <= context_length]
    cache = KVCache(executor.new_slots)
    executor.forward(cache, [0] * behind, layout(behind), 1)
    cache.extend([0] * behind)
    least = dict.fromkeys(points, float("inf"))
    began = time.perf_counter()
    for number in range(ROUNDS):
        for rows in points:
            cache.crop(behind)
            taken = _seconds(lambda r=rows: executor.forward(cache, [0] * r, layout(r), r), on_gpu)
            least[rows] = min(least[rows], taken)
        if number and time.perf_counter() - began > MAX_SECONDS:
            break
    return Costs(tuple(points), tuple(accumulate((least[rows] for rows in points), max)))


def kept(path: Path, key: str, measure: Callable[[], Costs]) -> Costs:
    """The costs kept in the file `path` under `key` for this machine, measured and kept when there are none."""
    key = f"{platform.machine()} {platform.processor()} {os.cpu_count()} {torch.__version__} {FORMAT} {key}"
    try:
        found = json.loads(path.read_text())[key]
        return Costs(tuple(found["rows"]), tuple(found["seconds"]))
    except (OSError, ValueError, KeyError, TypeError):
        costs = measure()
    _keep(path, key, costs)
    return costs


def _keep(path: Path, key: str, costs: Costs) -> None:
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        known = {}
    known = dict(list(known.items())[-63:]) if isinstance(known, dict) else {}
    known[key] = {"rows": costs.rows, "seconds": costs.taken}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(known))
        os.replace(fresh, path)
    except OSError:
        pass  # a cache that cannot be written is measured again next time


def _seconds(run: Callable[[], torch.Tensor], on_gpu: bool) -> float:
    # On a CPU the work itself is counted, so that a busy machine cannot spoil what is kept.
    clock = time.perf_counter if on_gpu else time.process_time
    began = clock()
    run()
    if on_gpu:
        torch.cuda.synchronize()
    return clock() - began
