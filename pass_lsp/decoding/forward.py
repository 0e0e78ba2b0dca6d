"""One forward of a stock transformers model: ids and look-ahead rows in, logits out.

Knows nothing of tokens' meaning or of sampling. Positions are explicit in every
forward. The only place where cancellation is checked: before each forward.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from pass_lsp.decoding.cache import KVCache
from pass_lsp.decoding.lookahead import Lookahead
from pass_lsp.decoding.model import output_layer, table_of
from pass_lsp.domain import CancelToken

PREFILL_CHUNK = 256


class Cancelled(Exception):
    """Someone asked for the work to end; never leaves `decoding/`."""


class Forward:
    """A model, its look-ahead vectors, one KV cache and one request's cancel flag."""

    def __init__(
        self, model: PreTrainedModel, cache: KVCache, lookahead: Lookahead | None, cancel: CancelToken | None
    ) -> None:
        self._model, self._cache, self._lookahead, self._cancel = model, cache, lookahead, cancel
        self._embed, self._table = model.get_input_embeddings(), table_of(model)

    @torch.inference_mode()
    def __call__(self, token_ids: Sequence[int], num_lookahead: int = 0, num_logits: int = 1) -> torch.Tensor:
        """Feed `token_ids` behind the cache, then look-ahead rows 1..`num_lookahead`.

        Returns the logits `[num_logits + num_lookahead, V]` of the last `num_logits` ids
        and of every look-ahead row. Afterwards the cache holds the ids, not the look-ahead rows.
        """
        if self._cancel is not None and self._cancel.cancelled:
            raise Cancelled
        start, rows = self._cache.length, len(token_ids) + num_lookahead
        device = self._table.device
        embeds = self._embed(torch.tensor([token_ids], device=device))  # [1, T, d]
        if num_lookahead and self._lookahead is not None:
            extra = self._lookahead.embeddings[None, :num_lookahead].to(embeds.dtype)
            embeds = torch.cat((embeds, extra), dim=1)  # [1, T + L, d]
        try:
            output = self._model(
                inputs_embeds=embeds,
                position_ids=torch.arange(start, start + rows, device=device)[None],
                past_key_values=self._cache.layers,
                use_cache=True,
                logits_to_keep=num_logits + num_lookahead,
            )
        except BaseException:
            self._cache.clear()  # some layers may hold the new rows and some not
            raise
        self._cache.extend(token_ids)
        self._cache.crop(start + len(token_ids))
        return output.logits[0]

    @torch.inference_mode()
    def sharpened(self, logits: torch.Tensor, previous: int) -> torch.Tensor:
        """A look-ahead row's logits `[V]`, once the token before the one it predicts is known."""
        if self._lookahead is None or self._lookahead.head is None:
            return logits
        shift = self._lookahead.head(self._table[previous].to(self._lookahead.embeddings.dtype))
        return logits + output_layer(self._model)(shift)

    def prefill(self, token_ids: Sequence[int], num_lookahead: int = 0) -> torch.Tensor:
        """Feed `token_ids` (one at least) in chunks; the logits of the last id and of the look-ahead rows."""
        while len(token_ids) > PREFILL_CHUNK:
            self(token_ids[:PREFILL_CHUNK])
            token_ids = token_ids[PREFILL_CHUNK:]
        return self(token_ids, num_lookahead)

    def crop(self, length: int) -> None:
        """Take back every position from `length` on."""
        self._cache.crop(length)

    @property
    def length(self) -> int:
        """Number of cached positions."""
        return self._cache.length
