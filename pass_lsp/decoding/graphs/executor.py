"""The fast executor on a CPU: one forward as an ONNX Runtime graph with prepacked weights.

On the same weights it is several times faster than the stock forward, and extra rows are cheap,
which is what speculative decoding lives on. `float32` computes what the model computes;
`int8` holds 8-bit weights in blocks and quantises each row of activations by itself, so that
nothing but the order of sums depends on the rows beside one: strategies agree except at near ties.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime
import torch

from pass_lsp.decoding.cache import BLOCK, KVCache
from pass_lsp.decoding.layout import Layout
from pass_lsp.decoding.lookahead import Lookahead
from pass_lsp.decoding.masks import window_of

_HIDDEN = np.finfo(np.float32).min


class OnnxSlots:
    """Keys and values of every layer, `[H, capacity, D]` each, grown in blocks; hidden places are masked, not cut."""

    def __init__(self, shapes: Sequence[tuple[int, int]]) -> None:
        self._shapes = shapes
        self.keys: list[np.ndarray] = [np.zeros((heads, BLOCK, width), np.float32) for heads, width in shapes]
        self.values: list[np.ndarray] = [np.zeros_like(array) for array in self.keys]

    @property
    def capacity(self) -> int:
        """Number of slots there is room for."""
        return self.keys[0].shape[1]

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(array.nbytes for array in (*self.keys, *self.values))

    def crop(self, length: int) -> None:
        """Nothing to do: what lies beyond the cache's length is masked and overwritten."""

    def reserve(self, needed: int) -> None:
        """Make room for `needed` slots."""
        if needed <= self.capacity:
            return
        capacity = -(-max(needed, self.capacity * 3 // 2) // BLOCK) * BLOCK
        for arrays in (self.keys, self.values):
            for layer, old in enumerate(arrays):
                arrays[layer] = np.zeros((old.shape[0], capacity, old.shape[2]), np.float32)
                arrays[layer][:, : old.shape[1]] = old


class OnnxExecutor:
    """Implements `Executor`."""

    def __init__(
        self,
        graph: Path,
        config: Any,
        table: torch.Tensor,
        output_table: torch.Tensor | None,
        lookahead: Lookahead | None,
        threads: int,
    ) -> None:
        self.table, self.output_table, self.lookahead = table, output_table, lookahead
        self._window = window_of(config)
        self._session = _session(graph, threads)
        inputs = self._session.get_inputs()
        self._kinds = [i.name for i in inputs if i.name.endswith("_attention")]
        num_layers = sum(i.name.startswith("k") and i.name[1:].isdigit() for i in inputs)
        self._names = [f"{part}{layer}" for part in "kv" for layer in range(num_layers)]
        self._shapes = [(i.shape[0], i.shape[2]) for i in inputs if i.name in self._names[:num_layers]]
        self._extra = (lookahead.embeddings if lookahead else torch.zeros(1, table.size(1))).float().numpy()

    def new_slots(self) -> OnnxSlots:
        """An empty store."""
        return OnnxSlots(self._shapes)

    def forward(self, cache: KVCache, token_ids: Sequence[int], shape: Layout, num_logits: int) -> torch.Tensor:
        """See `Executor.forward`."""
        slots: OnnxSlots = cache.slots
        start, end = cache.length, cache.length + shape.num_tokens
        slots.reserve(end)
        positions = start + shape.offsets.numpy()
        feeds = {
            "ids": np.asarray(token_ids, np.int64),
            "extra": self._extra[shape.steps.numpy()],  # [M, d]
            "positions": positions,
            "keep": np.arange(shape.num_tokens - num_logits, shape.num_rows),
            **self._masks(shape, positions, start, slots.capacity),
            **dict(zip(self._names, (*slots.keys, *slots.values), strict=True)),
        }
        logits, *new = cast(list[np.ndarray], self._session.run(None, feeds))
        for held, rows in zip((*slots.keys, *slots.values), new, strict=True):
            held[:, start:end] = rows[:, : shape.num_tokens]
        return torch.from_numpy(logits)

    def _masks(self, shape: Layout, positions: np.ndarray, start: int, capacity: int) -> dict[str, np.ndarray]:
        """Additive masks `[R, capacity + R]` by kind."""
        full = np.full((shape.num_rows, capacity + shape.num_rows), _HIDDEN, np.float32)
        full[:, :start] = 0
        full[:, capacity:][shape.allowed.numpy()] = 0
        masks = {"full_attention": full}
        if "sliding_attention" in self._kinds and self._window:
            keys = np.concatenate((np.arange(capacity), positions))
            far = positions[:, None] - keys[None] >= self._window
            masks["sliding_attention"] = np.where(far, _HIDDEN, full)
        return {kind: masks[kind] for kind in self._kinds}


def _session(graph: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Threads that spin while they wait make a busy machine's forwards many times slower.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Every forward has other shapes: an arena and patterns kept for each of them would only grow.
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
