"""What the machine allows: memory bandwidth, T(k) by the clock on the wall, one forward beside its reads."""

from __future__ import annotations

import platform
import statistics
import time
from itertools import product
from typing import Any

import torch

from pass_lsp.decoding.cache import KVCache
from pass_lsp.decoding.costs import AGAIN, BEHIND, ROWS, Costs
from pass_lsp.decoding.executor import Executor
from pass_lsp.decoding.layout import layout
from pass_lsp.engines.local import LocalEngine

COPIED_BYTES = 2**28
ROUNDS = 7
BYTES = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0625}
"""A weight's size; int8 comes in blocks of 64 with a float32 scale."""


def copy_bandwidth(device: str) -> float:
    """Bytes read and written a second when copying a large array; the best of a few rounds."""
    source = torch.ones(COPIED_BYTES // 4, device=device)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        target.copy_(source)
        if source.is_cuda:
            torch.cuda.synchronize(source.device)
        best = min(best, time.perf_counter() - began)
    return 2 * COPIED_BYTES / best


def curve(executor: Executor, context_length: int, repeats: int = 2 * ROUNDS) -> Costs:
    """T(k) behind a filled cache: seconds of a forward of k rows, medians; what `auto` goes by is processor time.

    A kind is seen by itself: the first forward after another kind does not count. What mixing kinds costs is in
    the costs that `auto` goes by.
    """
    behind = min(BEHIND, context_length // 2)
    points = tuple(rows for rows in ROWS if behind + rows <= context_length)
    cache = KVCache(executor.new_slots)
    executor.forward(cache, [0] * behind, layout(behind), 1)
    cache.extend([0] * behind)
    taken: dict[int, list[float]] = {rows: [] for rows in points}
    for _ in range(1 + repeats):
        for rows, again in product(points, range(1 + AGAIN)):
            cache.crop(behind)
            began = time.perf_counter()
            executor.forward(cache, [0] * rows, layout(rows), rows)[0, 0].item()
            if again:
                taken[rows].append(time.perf_counter() - began)
    return Costs(points, tuple(statistics.median(times[AGAIN:]) for times in taken.values()))


def weight_bytes(engine: LocalEngine) -> int:
    """Bytes of the weights that one forward reads: all of them, but of the embedding table only where it is tied."""
    model = engine.model
    names = {id(parameter): parameter.numel() for parameter in model.parameters()}
    tied = model.config.get_text_config().tie_word_embeddings
    idle = 0 if tied else model.get_input_embeddings().weight.numel()  # type: ignore[union-attr,operator]
    return int((sum(names.values()) - idle) * BYTES[engine.dtype])


def one_forward(engine: LocalEngine, costs: Costs) -> dict[str, Any]:
    """One forward of one row beside the time that reading its weights once would take."""
    bandwidth, size = copy_bandwidth(engine.device), weight_bytes(engine)
    taken = costs(1)
    return {
        "forward_ms": round(taken * 1000, 3),
        "weights_mb": round(size / 1e6, 1),
        "bandwidth_gb_s": round(bandwidth / 1e9, 1),
        "reading_ms": round(size / bandwidth * 1000, 3),
        "forward_to_reading": round(taken / (size / bandwidth), 2),
    }


def machine(engine: LocalEngine) -> dict[str, Any]:
    """Where and with what a run was made."""
    gpu = torch.cuda.get_device_name(engine.device) if engine.device.startswith("cuda") else None
    return {
        "device": gpu or f"{engine.device} ({platform.machine()})",
        "dtype": engine.dtype,
        "executor": type(engine.executor).__name__,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
