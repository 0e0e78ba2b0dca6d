"""The KV cache: pre-allocated slots addressed by position, and the token ids they hold.

Rolling back is moving `length`; what lies beyond is overwritten, never attended.
Every layer keeps its full history, sliding-window layers too (their mask hides
the rest), so that rejected rows can always be taken back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

BLOCK = 256


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


class KVCache:
    """One sequence's keys and values, and the ids they were computed from.

    Invariant: `len(token_ids) == length` between forwards, so the longest common
    prefix of `token_ids` and a new prompt needs no forward.
    """

    def __init__(self) -> None:
        self.token_ids: list[int] = []
        self.layers = Cache(layer_class_to_replicate=SlotLayer)

    @property
    def length(self) -> int:
        """Number of positions whose keys and values are valid."""
        return len(self.token_ids)

    def reuse(self, prompt_ids: Sequence[int]) -> int:
        """Keep what `prompt_ids` shares with the last sequence, all but its last token at most; returns the count."""
        shared = 0
        limit = min(len(self.token_ids), len(prompt_ids) - 1)
        while shared < limit and self.token_ids[shared] == prompt_ids[shared]:
            shared += 1
        self.crop(shared)
        return shared

    def extend(self, token_ids: Sequence[int]) -> None:
        """Record ids whose keys and values the last forward wrote."""
        self.token_ids.extend(token_ids)

    def crop(self, length: int) -> None:
        """Forget every position from `length` on."""
        del self.token_ids[length:]
        for layer in self.layers.layers:
            layer.length = length  # type: ignore[attr-defined]

    def clear(self) -> None:
        """Forget everything, the memory too; for when a forward failed half-way."""
        self.token_ids = []
        self.layers = Cache(layer_class_to_replicate=SlotLayer)
