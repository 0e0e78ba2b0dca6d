"""The executor for any stock transformers model, on any device: the model's own forward, as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from pass_lsp.decoding.cache import KVCache, TorchSlots
from pass_lsp.decoding.layout import Layout
from pass_lsp.decoding.lookahead import Lookahead
from pass_lsp.decoding.lora import attach
from pass_lsp.decoding.masks import additive_masks, as_argument
from pass_lsp.decoding.model import output_table, table_of


class TorchExecutor:
    """Implements `Executor`; the model stays the caller's and is changed only in that a closed gate hangs on it."""

    new_slots = TorchSlots

    def __init__(self, model: Any, lookahead: Lookahead | None) -> None:
        self.model, self.lookahead = model, lookahead
        self.table, self.output_table = table_of(model), output_table(model)
        self._embed = model.get_input_embeddings()
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
                past_key_values=cache.slots.layers,
                use_cache=True,
                logits_to_keep=num_logits + shape.num_lookahead,
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
