"""What runs a forward: rows in, logits out, keys and values kept. Knows nothing of tokens' meaning.

`TorchExecutor` takes any stock transformers model as it is; `graphs/executor.py` holds the fast ones
for a CPU, `static_executor.py` the one for a GPU. Strategies see only what stands here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from pass_lsp.decoding.cache import KVCache
from pass_lsp.decoding.layout import Layout
from pass_lsp.decoding.lookahead import Lookahead


class Executor(Protocol):
    """A model and its look-ahead artifact, ready to run forwards on some device."""

    lookahead: Lookahead | None
    table: torch.Tensor
    """Input embeddings `[V, d]`."""
    output_table: torch.Tensor | None
    """The output layer's weight `[V, d]`; None where the model has no such matrix."""

    def new_slots(self) -> Any:
        """An empty store of keys and values, for a `KVCache`."""
        ...

    def forward(self, cache: KVCache, token_ids: Sequence[int], shape: Layout, num_logits: int) -> torch.Tensor:
        """Run `shape`'s rows behind `cache`: logits `[num_logits + M, V]` of the last real and the M look-ahead rows.

        `token_ids` are the real rows. Keys and values of every row are written behind the
        cache's length, those of real rows first; the caller records and crops. The logits may lie
        in a buffer that the next forward overwrites.
        """
        ...
