"""The executor for a GPU: forwards of a few fixed widths over static buffers, replayed as CUDA graphs.

Rows are padded to the next width and their inputs reach the device in one copy; masks are made
there from the shape and the cache's length. One document's keys and values lie in the static
buffers at a time; those of others wait beside them. On a CPU the same code runs without graphs,
which is how it is tested; the stock model's own code is all that computes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

from pass_lsp.decoding.cache import KVCache
from pass_lsp.decoding.layout import Layout
from pass_lsp.decoding.lookahead import Lookahead
from pass_lsp.decoding.lora import attach
from pass_lsp.decoding.masks import additive_masks, as_argument
from pass_lsp.decoding.model import cache_name, output_table, table_of
from pass_lsp.errors import is_out_of_memory

log = logging.getLogger(__name__)

WIDTHS = (1, 4, 8, 16, 32, 64, 128, 256)
GRAPHED_WIDTH = 128
FIRST_CAPACITY = 1024


class StaticLayer(DynamicLayer):
    """Keys and values of one layer, `[1, H, capacity, D]`; rows are written to `places` `[W]` by index."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, places: torch.Tensor) -> None:
        super().__init__()
        self._slots, self._places = (keys, values), places
        self.is_initialized = True

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Write `[1, H, W, D]`; returns the whole buffers, what is not valid is masked."""
        keys, values = self._slots
        keys.index_copy_(2, self._places, key_states)
        values.index_copy_(2, self._places, value_states)
        return keys, values

    def get_seq_length(self) -> int:
        """Positions and masks are given, so nothing is counted here."""
        return 0


class StaticSlots:
    """What a document keeps while another one lies in the static buffers: `[layers·2, 1, H, length, D]`."""

    def __init__(self) -> None:
        self.kept: list[torch.Tensor] = []
        self.length = 0

    @property
    def nbytes(self) -> int:
        """Memory held outside the static buffers, in bytes."""
        return sum(tensor.nbytes for tensor in self.kept)

    def crop(self, length: int) -> None:
        """Forget every position from `length` on."""
        self.length = length


class _Inputs:
    """One width's inputs on the device, filled by one copy: ids, look-ahead steps (-1: none), offsets, length, mask.

    Only branches hide slots, or hold other positions than the slots' own.
    """

    def __init__(self, width: int, capacity: int, device: torch.device) -> None:
        self.width = width
        self.hidden = torch.zeros(width, capacity, dtype=torch.bool, device=device)
        self.held = torch.arange(capacity, device=device)
        self._branched = False
        self.packed = torch.zeros(width * (3 + width) + 1, dtype=torch.long, device=device)
        self.ids, self.steps, self.offsets, self.start, allowed = self.packed.split(
            [width, width, width, 1, width * width]
        )
        self.allowed = allowed.view(width, width)

    def fill(self, token_ids: Sequence[int], shape: Layout, start: int) -> None:
        """Padding rows see themselves alone and are written behind all others."""
        width, rows = self.width, shape.num_rows
        ids, steps, offsets = torch.zeros(width), torch.full((width,), -1), torch.zeros(width)
        ids[: shape.num_tokens] = torch.tensor(token_ids)
        steps[shape.num_tokens : rows] = shape.steps
        offsets[:rows] = shape.offsets
        allowed = torch.eye(width)
        allowed[:rows, :rows] = shape.allowed.float()
        parts = (ids, steps, offsets, torch.tensor([start]), allowed.flatten())
        self.packed.copy_(torch.cat([part.long() for part in parts]), non_blocking=True)
        if self._branched:
            self.hidden.zero_()
            torch.arange(len(self.held), out=self.held)
        self._branched = shape.hidden is not None
        if shape.hidden is not None and shape.held is not None:
            self.hidden[:rows, :start] = shape.hidden.to(self.hidden.device)
            self.held[:start] = shape.held.to(self.held.device)


class StaticExecutor:
    """Implements `Executor`."""

    new_slots = StaticSlots

    def __init__(self, model: Any, lookahead: Lookahead | None, context_length: int) -> None:
        self.model, self.lookahead = model, lookahead
        _hold_turns(model)
        self.table, self.output_table = table_of(model), output_table(model)
        self._config, self._context = model.config.get_text_config(), context_length
        self._embed, self._gate = model.get_input_embeddings(), attach(model, lookahead.lora if lookahead else {})
        self._cache_name = cache_name(model)
        vectors = lookahead.embeddings if lookahead is not None else self.table[:1]
        self._vectors = vectors.to(self.table.dtype)
        self._active = StaticSlots()
        self._buffers: list[torch.Tensor] = []
        self._capacity = 0
        self._inputs: dict[int, _Inputs] = {}
        self._graphs: dict[tuple[int, bool], tuple[Any, torch.Tensor]] = {}
        self._graphable = self.table.is_cuda
        self._stream: torch.cuda.Stream | None = None
        self._pool: Any = None

    @torch.inference_mode()
    def forward(self, cache: KVCache, token_ids: Sequence[int], shape: Layout, num_logits: int) -> torch.Tensor:
        """See `Executor.forward`."""
        width = next((w for w in WIDTHS if w >= shape.num_rows), shape.num_rows)
        self._bring(cache.slots, cache.length, cache.length + width)
        inputs = self._inputs_of(width)
        inputs.fill(token_ids, shape, cache.length)
        logits = self._run(inputs, bool(shape.num_lookahead))
        return logits[shape.num_tokens - num_logits : shape.num_rows]

    def _inputs_of(self, width: int) -> _Inputs:
        if width not in self._inputs:
            self._inputs[width] = _Inputs(width, self._capacity, self.table.device)
        return self._inputs[width]

    def _run(self, inputs: _Inputs, gated: bool) -> torch.Tensor:
        key = (inputs.width, gated)
        if self._graphable and inputs.width <= GRAPHED_WIDTH and key not in self._graphs:
            self._graphable = self._record(key, inputs, gated)
        if key not in self._graphs:
            return self._compute(inputs, gated)
        graph, logits = self._graphs[key]
        graph.replay()
        return logits

    def _record(self, key: tuple[int, bool], inputs: _Inputs, gated: bool) -> bool:
        """Whether the forward can be recorded: not if it waits for the device, as some mixtures of experts do."""
        before = torch.cuda.current_stream(self.table.device)
        try:
            self._graphs[key] = self._captured(inputs, gated)
        except RuntimeError as error:
            torch.cuda.set_stream(before)  # a recording that fails does not leave its own
            if is_out_of_memory(error):
                raise
            log.warning("This model's forward runs without CUDA graphs, which cannot record it (%s).", error)
            return False
        return True

    def _captured(self, inputs: _Inputs, gated: bool) -> tuple[Any, torch.Tensor]:
        with torch.cuda.device(self.table.device):  # streams are those of one device, of several not always the first
            # One pool for all graphs, which run one after the other: each would keep the memory of a forward.
            stream = self._stream = self._stream or torch.cuda.Stream()
            pool = self._pool = self._pool or torch.cuda.graph_pool_handle()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):  # libraries choose their kernels in runs that are not recorded
                self._compute(inputs, gated)
                torch.cuda.set_sync_debug_mode("error")
                try:
                    self._compute(inputs, gated)
                finally:
                    torch.cuda.set_sync_debug_mode("default")
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            # What other threads do meanwhile is theirs.
            with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
                logits = self._compute(inputs, gated)
        return graph, logits

    def _compute(self, inputs: _Inputs, gated: bool) -> torch.Tensor:
        """Logits `[W, V]`; everything depends on `inputs` and the static buffers alone."""
        width = inputs.width
        embeds = self._embed(inputs.ids)  # [W, d]
        ahead = inputs.steps >= 0
        embeds = torch.where(ahead[:, None], self._vectors[inputs.steps.clamp_min(0)], embeds)
        slots = torch.arange(self._capacity, device=embeds.device) - inputs.start  # [S], counted from the first row
        within = inputs.allowed[:, slots.clamp(0, width - 1)] > 0  # [W, S]
        allowed = torch.where(slots < 0, ~inputs.hidden, within & (slots < width))
        positions = inputs.start + inputs.offsets
        own = inputs.offsets[slots.clamp(0, width - 1)] + inputs.start
        seen = torch.where(slots < 0, inputs.held, own)
        masks = additive_masks(self._config, allowed, positions, seen, embeds.dtype)
        places = inputs.start + torch.arange(width, device=embeds.device)
        pairs = zip(self._buffers[::2], self._buffers[1::2], strict=True)
        layers: list[Any] = [StaticLayer(keys, values, places) for keys, values in pairs]
        self._gate.mask = ahead.to(embeds.dtype)[:, None] if gated else None
        try:
            return self.model(
                inputs_embeds=embeds[None],
                position_ids=positions.clamp_max(self._context - 1)[None],
                attention_mask=as_argument(masks),
                use_cache=True,
                **{self._cache_name: Cache(layers=layers)},
            ).logits[0]
        finally:
            self._gate.mask = None

    def _bring(self, slots: StaticSlots, length: int, needed: int) -> None:
        """Have `slots`' first `length` positions in the static buffers, and room for `needed`."""
        if slots is not self._active:
            self._active.kept = [buffer[:, :, : self._active.length].clone() for buffer in self._buffers]
        if needed > self._capacity:
            self._grow(needed)
        if slots is not self._active:
            for buffer, kept in zip(self._buffers, slots.kept, strict=False):
                buffer[:, :, :length] = kept[:, :, :length]
            slots.kept, self._active = [], slots

    def _grow(self, needed: int) -> None:
        # Graphs remember addresses, so they are recorded anew over the new buffers; their memory goes first.
        self._graphs, self._inputs, self._pool = {}, {}, None
        capacity = max(FIRST_CAPACITY, 1 << (needed - 1).bit_length())
        if not self._buffers:
            probe = self.model(input_ids=torch.zeros(1, 1, dtype=torch.long, device=self.table.device), use_cache=True)
            for layer in getattr(probe, self._cache_name).layers:
                self._buffers += [layer.keys[:, :, :0], layer.values[:, :, :0]]
        grown = []
        for old in self._buffers:
            fresh = old.new_zeros(*old.shape[:2], capacity, old.shape[3])
            fresh[:, :, : old.size(2)] = old
            grown.append(fresh)
        self._buffers, self._capacity = grown, capacity


def _hold_turns(model: Any) -> None:
    """Let no layer choose by the longest position of a forward how far positions turn: no graph can look at a number.

    Within the context (`Limits.context_length`) the choice is always the first one.
    """
    for module in model.modules():
        kinds = getattr(module, "rope_type", None)
        if isinstance(kinds, str):
            module.rope_type = "default"
        elif isinstance(kinds, dict):
            module.rope_type = dict.fromkeys(kinds, "default")
