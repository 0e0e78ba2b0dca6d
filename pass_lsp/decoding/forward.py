"""One request's forwards: prefill in chunks, then rows of a chosen shape; the cache kept true, cancel checked.

Knows nothing of sampling. The only place where cancellation is checked: before each forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pass_lsp.decoding.cache import KVCache
from pass_lsp.decoding.executor import Executor
from pass_lsp.decoding.layout import Branches, Layout, layout
from pass_lsp.decoding.sampling import target_tokens
from pass_lsp.domain import CancelToken, SamplingParams

PREFILL_CHUNK = 256
CANDIDATES = 32


class Cancelled(Exception):
    """Someone asked for the work to end; never leaves `decoding/`."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What one forward gave: logits of the last real rows `[K, V]` and of every look-ahead row `[M, V]`."""

    real: torch.Tensor
    lookahead: torch.Tensor
    shape: Layout

    @property
    def owners(self) -> torch.Tensor:
        """For each row that has logits, which group hangs behind it, int64 `[K]`; 0 where none does."""
        return torch.tensor([self.owner(row) or 0 for row in range(len(self.real))])

    def owner(self, row: int) -> int | None:
        """Which group hangs behind a row that has logits, counted from the first of those; None where none does."""
        place = self.shape.num_tokens - len(self.real) + row
        return next((number for number, (owner, _) in enumerate(self.shape.groups) if owner == place), None)


@dataclass(frozen=True, slots=True)
class Settled:
    """New tokens for good (the accepted drafts and one more), how many drafts stood, and drafts for the next cycle."""

    token_ids: list[int]
    accepted: int
    drafts: list[int]


class Forward:
    """An executor, one KV cache and one request's cancel flag."""

    def __init__(self, executor: Executor, cache: KVCache, cancel: CancelToken | None) -> None:
        self._executor, self._cache, self._cancel = executor, cache, cancel

    def __call__(self, token_ids: Sequence[int], groups: tuple[tuple[int, int], ...] = (), num_logits: int = 1) -> Rows:
        """Feed `token_ids` behind the cache, with `groups` of look-ahead rows (real row, size) behind some of them.

        Logits come for the last `num_logits` ids and for every look-ahead row. Afterwards the
        cache holds the ids, and nothing of the look-ahead rows.
        """
        shape = layout(len(token_ids), groups)
        logits = self._run(token_ids, shape, num_logits)
        return Rows(logits[:num_logits], logits[num_logits:], shape)

    def branch(self, token_ids: Sequence[int], shape: Branches) -> torch.Tensor:
        """Feed the next token of each branch that `shape` carries on: logits `[R, V]`.

        Afterwards the cache holds no sequence until it is cropped to what the branches share.
        """
        return self._run(token_ids, shape, len(token_ids))

    def _run(self, token_ids: Sequence[int], shape: Layout, num_logits: int) -> torch.Tensor:
        if self._cancel is not None and self._cancel.cancelled:
            raise Cancelled
        start = self._cache.length
        try:
            logits = self._executor.forward(self._cache, token_ids, shape, num_logits)
        except BaseException:
            self._cache.clear()  # some layers may hold the new rows and some not
            raise
        self._cache.extend(token_ids)
        self._cache.crop(start + len(token_ids))
        return logits

    def prefill(self, token_ids: Sequence[int], num_lookahead: int = 0) -> Rows:
        """Feed `token_ids` (one at least) in chunks; logits of the last id, and of a group behind it."""
        while len(token_ids) > PREFILL_CHUNK:
            self(token_ids[:PREFILL_CHUNK])
            token_ids = token_ids[PREFILL_CHUNK:]
        return self(token_ids, ((len(token_ids) - 1, num_lookahead),) if num_lookahead else ())

    @torch.inference_mode()
    def sharpened(self, logits: torch.Tensor, previous: int) -> torch.Tensor:
        """A look-ahead row's logits `[V]`, once the token before the one it predicts is known."""
        shift, output = self._shift(previous), self._executor.output_table
        return logits if shift is None or output is None else logits + output @ shift

    def settle(self, rows: Rows, drafts: list[int], params: SamplingParams, position: int) -> Settled:
        """What one merged forward decides: the target's tokens, how far the drafts agree, and the next draft.

        `rows` hold the pending token's row and one for each draft; `position` is that of the
        first new token. It happens on the device; one small copy brings the ids here.
        """
        tokens = target_tokens(rows.real, params, position)  # [1 + D]
        if rows.shape.groups:
            return self._settle_and_draft(rows, drafts, tokens)
        ids = tokens.tolist()
        accepted = next((place for place, draft in enumerate(drafts) if ids[place] != draft), len(drafts))
        return Settled(ids[: accepted + 1], accepted, [])

    @torch.inference_mode()
    def _settle_and_draft(self, rows: Rows, drafts: list[int], tokens: torch.Tensor) -> Settled:
        # Indices are of one dimension: to index by a number of none, torch waits for it.
        drafted = torch.tensor(drafts, dtype=torch.long).to(tokens.device, non_blocking=True)
        accepted = (tokens[:-1] == drafted).long().cumprod(0).sum()[None]  # [1]
        chain = self._chain(rows, tokens.index_select(0, accepted), accepted)
        ids = torch.cat((accepted, tokens, *chain)).tolist()
        count, new = ids[0], ids[1 : 2 + len(drafts)]
        ahead = ids[2 + len(drafts) :] if rows.owner(count) is not None else []
        return Settled(new[: count + 1], count, ahead)

    def _chain(self, rows: Rows, previous: torch.Tensor, accepted: torch.Tensor) -> list[torch.Tensor]:
        """The most likely tokens `[1]` by the group behind row `accepted` `[1]`, each knowing the one before.

        The head's shift is added to each row's best candidates only: over the whole vocabulary
        it would cost an output layer a token, and a draft may be anything.
        """
        size, output = rows.shape.groups[0][1], self._executor.output_table
        group = rows.owners.to(accepted.device, non_blocking=True).index_select(0, accepted)
        logits = rows.lookahead.unflatten(0, (-1, size)).index_select(0, group)[0]  # [m, V]
        scores, ids = logits.topk(min(CANDIDATES, logits.size(-1)))  # [m, C]
        chain: list[torch.Tensor] = []
        for row in range(size):
            shift = self._shift(previous)
            best = scores[row] if shift is None or output is None else scores[row] + output[ids[row]] @ shift[0]
            previous = ids[row].gather(0, best.argmax()[None])
            chain.append(previous)
        return chain

    def _shift(self, previous: torch.Tensor | int) -> torch.Tensor | None:
        lookahead = self._executor.lookahead
        if lookahead is None or lookahead.head is None:
            return None
        return lookahead.head(self._executor.table[previous].to(lookahead.embeddings.dtype))

    def crop(self, length: int) -> None:
        """Take back every position from `length` on."""
        self._cache.crop(length)

    @property
    def num_lookahead(self) -> int:
        """L of the artifact; 0 without one."""
        return self._executor.lookahead.length if self._executor.lookahead is not None else 0

    @property
    def length(self) -> int:
        """Number of cached positions."""
        return self._cache.length
