"""The executor for any stock transformers model, on any device: the model's own forward, as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

from pass_lsp.decoding.cache import BLOCK, KVCache
from pass_lsp.decoding.layout import Layout
from pass_lsp.decoding.lookahead import Lookahead
from pass_lsp.decoding.lora import attach
from pass_lsp.decoding.masks import additive_masks, as_argument
from pass_lsp.decoding.model import cache_name, output_table, table_of


class SlotLayer(DynamicLayer):
    """Keys and values of one layer, `[1, H, capacity, D]`, grown in blocks; `length` slots are valid."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.length = 0

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Write `[1, H, T, D]` behind the valid slots; returns views of everything valid now."""
        end = self.length + key_states.size(2)
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        if self.keys is None or self.values is None or self.keys.dim() < 4 or end > self.keys.size(2):
            self.keys = _grown(self.keys, key_states, self.length, end)
            self.values = _grown(self.values, value_states, self.length, end)
        self.keys[:, :, self.length : end] = key_states
        self.values[:, :, self.length : end] = value_states
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        """Number of valid slots."""
        return self.length


def _grown(old: torch.Tensor | None, states: torch.Tensor, length: int, needed: int) -> torch.Tensor:
    batch, heads, _, width = states.shape
    capacity = -(-max(needed, length * 3 // 2) // BLOCK) * BLOCK
    fresh = states.new_zeros(batch, heads, capacity, width)
    if old is not None and length:
        fresh[:, :, :length] = old[:, :, :length]
    return fresh


class TorchSlots:
    """Slots of a stock transformers model."""

    def __init__(self) -> None:
        self.layers = Cache(layer_class_to_replicate=SlotLayer)

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        held = (tensor for layer in self.layers.layers for tensor in vars(layer).values())
        return sum(tensor.nbytes for tensor in held if isinstance(tensor, torch.Tensor))

    def crop(self, length: int) -> None:
        """Forget every position from `length` on."""
        for layer in self.layers.layers:
            layer.length = length  # type: ignore[attr-defined]


class TorchExecutor:
    """Implements `Executor`; the model stays the caller's and is changed only in that a closed gate hangs on it."""

    new_slots = TorchSlots

    def __init__(self, model: Any, lookahead: Lookahead | None) -> None:
        self.model, self.lookahead = model, lookahead
        self.table, self.output_table = table_of(model), output_table(model)
        self._embed, self._cache_name = model.get_input_embeddings(), cache_name(model)
        self.gate = attach(model, lookahead.lora if lookahead is not None else {})

    @torch.inference_mode()
    def forward(self, cache: KVCache, token_ids: Sequence[int], shape: Layout, num_logits: int) -> torch.Tensor:
        """See `Executor.forward`."""
        device, start = self.table.device, cache.length
        embeds = self._embed(torch.tensor([list(token_ids)], device=device))  # [1, T, d]
        if shape.num_lookahead and self.lookahead is not None:
            extra = self.lookahead.embeddings[shape.steps.to(device)]  # [M, d]
            embeds = torch.cat((embeds, extra[None].to(embeds.dtype)), dim=1)  # [1, R, d]
        positions = (start + shape.offsets).to(device)
        # A plain sequence needs no mask of ours, and the stock model has faster ways for it.
        mask = {} if shape.causal else {"attention_mask": self._mask(shape, positions, start)}
        self.gate.rows = shape.num_lookahead
        try:
            output = self.model(
                inputs_embeds=embeds,
                position_ids=positions[None],
                use_cache=True,
                logits_to_keep=num_logits + shape.num_lookahead,
                **{self._cache_name: cache.slots.layers},
                **mask,
            )
        finally:
            self.gate.rows = 0
        return output.logits[0]

    def _mask(self, shape: Layout, positions: torch.Tensor, start: int) -> Any:
        device = positions.device
        seen = torch.ones(shape.num_rows, start, dtype=torch.bool) if shape.hidden is None else ~shape.hidden
        allowed = torch.cat((seen, shape.allowed), dim=1).to(device)  # [R, start + R]
        held = torch.arange(start) if shape.held is None else shape.held
        keys = torch.cat((held.to(device), positions))
        config = self.model.config.get_text_config()
        return as_argument(additive_masks(config, allowed, positions, keys, self.table.dtype))
