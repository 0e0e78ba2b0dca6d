"""The fast executors on a CPU: one forward as an ONNX Runtime graph with prepacked weights.

On the same weights they are several times faster than the stock forward, and extra rows are cheap,
which is what speculative decoding lives on. `float32` computes what the model computes;
`int8` holds 8-bit weights in blocks and quantises each row of activations by itself, so that
nothing but the order of sums depends on the rows beside one: strategies agree except at near ties.

`FusedExecutor` runs a graph that `fused.build` made, `TracedExecutor` one of `export.export`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime
import torch

from pass_lsp.decoding.cache import BLOCK, KVCache
from pass_lsp.decoding.layout import KEPT_TOKENS, Layout
from pass_lsp.decoding.lookahead import Lookahead

_HIDDEN = np.finfo(np.float32).min


class OnnxSlots:
    """Keys and values of every layer, `[1, H, capacity, D]` each, grown in blocks; places are masked, not cut."""

    def __init__(self, shapes: Sequence[tuple[int, int]]) -> None:
        self._shapes = shapes
        self.keys: list[np.ndarray] = [np.zeros((1, heads, BLOCK, width), np.float32) for heads, width in shapes]
        self.values: list[np.ndarray] = [np.zeros_like(array) for array in self.keys]

    @property
    def capacity(self) -> int:
        """Number of slots there is room for."""
        return self.keys[0].shape[2]

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
                _, heads, held, width = old.shape
                arrays[layer] = np.zeros((1, heads, capacity, width), np.float32)
                arrays[layer][:, :, :held] = old


class BoundSlots(OnnxSlots):
    """Slots that a session writes into where they lie: the same memory is bound as its input and its output."""

    def __init__(self, shapes: Sequence[tuple[int, int]], session: onnxruntime.InferenceSession) -> None:
        super().__init__(shapes)
        self.binding = session.io_binding()
        self._bind()

    def reserve(self, needed: int) -> None:
        """Make room for `needed` slots."""
        if needed > self.capacity:
            super().reserve(needed)
            self._bind()

    def _bind(self) -> None:
        for part, arrays in (("k", self.keys), ("v", self.values)):
            for layer, array in enumerate(arrays):
                held = onnxruntime.OrtValue.ortvalue_from_numpy(array)
                self.binding.bind_ortvalue_input(f"{part}{layer}", held)
                self.binding.bind_ortvalue_output(f"new_{part}{layer}", held)


class _GraphExecutor:
    """What both executors share: the session, the look-ahead rows' embeddings, the masks."""

    def __init__(
        self,
        graph: Path,
        window: int | None,
        table: torch.Tensor,
        output_table: torch.Tensor | None,
        lookahead: Lookahead | None,
        threads: int,
    ) -> None:
        self.table, self.output_table, self.lookahead = table, output_table, lookahead
        self._window = window
        self._session = _session(graph, threads)
        inputs = self._session.get_inputs()
        self._kinds = [i.name for i in inputs if i.name.endswith("_attention")]
        keys = [i for i in inputs if i.name.startswith("k") and i.name[1:].isdigit()]
        self._shapes = [(i.shape[-3], i.shape[-1]) for i in keys]
        self._extra = (lookahead.embeddings if lookahead else torch.zeros(1, table.size(1))).float().numpy()

    def _masks(self, shape: Layout, positions: np.ndarray, start: int, capacity: int) -> dict[str, np.ndarray]:
        """Additive masks `[R, capacity + R]` by kind; the forward's own rows are the last columns."""
        full = np.full((shape.num_rows, capacity + shape.num_rows), _HIDDEN, np.float32)
        full[:, :start] = 0 if shape.hidden is None else np.where(shape.hidden.numpy(), _HIDDEN, 0)
        full[:, capacity:][shape.allowed.numpy()] = 0
        masks = {"full_attention": full}
        if "sliding_attention" in self._kinds and self._window:
            keys = np.concatenate((np.arange(capacity), positions))
            if shape.held is not None:
                keys[:start] = shape.held.numpy()
            far = positions[:, None] - keys[None] >= self._window
            masks["sliding_attention"] = np.where(far, _HIDDEN, full)
        return {kind: masks[kind] for kind in self._kinds}


class TracedExecutor(_GraphExecutor):
    """Implements `Executor` with a graph that gives each layer's new keys and values."""

    def new_slots(self) -> OnnxSlots:
        """An empty store."""
        return OnnxSlots(self._shapes)

    def forward(self, cache: KVCache, token_ids: Sequence[int], shape: Layout, num_logits: int) -> torch.Tensor:
        """See `Executor.forward`."""
        slots: OnnxSlots = cache.slots
        start, end = cache.length, cache.length + shape.num_tokens
        slots.reserve(end)
        positions = start + shape.offsets.numpy()
        layers = range(len(slots.keys))
        feeds = {
            "ids": np.asarray(token_ids, np.int64),
            "extra": self._extra[shape.steps.numpy()],  # [M, d]
            "positions": positions,
            "keep": np.arange(shape.num_tokens - num_logits, shape.num_rows),
            **self._masks(shape, positions, start, slots.capacity),
            **{f"k{layer}": slots.keys[layer] for layer in layers},
            **{f"v{layer}": slots.values[layer] for layer in layers},
        }
        logits, *new = cast(list[np.ndarray], self._session.run(None, feeds))
        for held, rows in zip((*slots.keys, *slots.values), new, strict=True):
            held[:, :, start:end] = rows[:, :, : shape.num_tokens]
        return torch.from_numpy(logits)


class FusedExecutor(_GraphExecutor):
    """Implements `Executor` with a graph that writes keys and values into the slots itself.

    In the first forward of an empty cache the operator counts positions by itself: look-ahead rows
    that do not hang on the last row then draft for wrong places, which costs those drafts.
    """

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._calls: dict[tuple[int, tuple[tuple[int, int], ...], int], _Call] = {}
        self._logits = np.zeros((1, self.table.size(0)), np.float32)

    def new_slots(self) -> BoundSlots:
        """An empty store."""
        return BoundSlots(self._shapes, self._session)

    def forward(self, cache: KVCache, token_ids: Sequence[int], shape: Layout, num_logits: int) -> torch.Tensor:
        """See `Executor.forward`."""
        slots: BoundSlots = cache.slots
        start, total = cache.length, cache.length + shape.num_rows
        slots.reserve(total)
        call = self._call(shape, num_logits)
        positions = start + shape.offsets.numpy()
        call.fill(token_ids, positions, total)
        for name, value in call.inputs:
            slots.binding.bind_ortvalue_input(name, value)
        masks = self._masks(shape, positions, start, start)
        for kind, mask in masks.items():
            slots.binding.bind_cpu_input(kind, mask[None, None])
        slots.binding.bind_ortvalue_output("logits", call.output)
        self._session.run_with_iobinding(slots.binding)
        return call.logits

    def _call(self, shape: Layout, num_logits: int) -> _Call:
        key = (shape.num_tokens, shape.groups, num_logits)
        found = self._calls.get(key)
        if found is None:
            rows = num_logits + shape.num_lookahead
            if rows > len(self._logits):
                self._calls.clear()  # they hold the smaller array
                self._logits = np.zeros((rows, self.table.size(0)), np.float32)
            found = _Call(shape, num_logits, self._extra, self._logits[:rows])
            if shape.num_tokens <= KEPT_TOKENS:
                self._calls[key] = found
        return found


class _Call:
    """A forward's inputs and output for a number of rows, in arrays that stay where they are and are filled anew.

    Making a dozen arrays and handing them over shows in the time of a small model's forward.
    """

    def __init__(self, shape: Layout, num_logits: int, extra: np.ndarray, logits: np.ndarray) -> None:
        self._arrays = {
            "ids": np.zeros(shape.num_tokens, np.int64),
            "extra": extra[shape.steps.numpy()],  # [M, d]
            "positions": np.zeros((1, shape.num_rows), np.int64),
            "keep": np.arange(shape.num_tokens - num_logits, shape.num_rows),
            "last": np.zeros(1, np.int32),
            "total": np.zeros((), np.int32),
        }
        self.inputs = [(name, onnxruntime.OrtValue.ortvalue_from_numpy(array)) for name, array in self._arrays.items()]
        self.output, self.logits = onnxruntime.OrtValue.ortvalue_from_numpy(logits), torch.from_numpy(logits)

    def fill(self, token_ids: Sequence[int], positions: np.ndarray, total: int) -> None:
        """What differs from forward to forward; `total` slots are in use with these rows'."""
        self._arrays["ids"][:] = token_ids
        self._arrays["positions"][0] = positions
        self._arrays["last"][0] = total - 1
        self._arrays["total"][...] = total


def _session(graph: Path, threads: int) -> onnxruntime.InferenceSession:
    onnxruntime.disable_telemetry_events()  # those of Windows, which do not go by the environment
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Threads that spin while they wait make a busy machine's forwards many times slower.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Every forward has other shapes: an arena and patterns kept for each of them would only grow.
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
