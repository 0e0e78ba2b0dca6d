"""Models whose every logit is known, so that expected ids can be written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from pass_lsp.decoding.cache import CachePool, KVCache
from pass_lsp.decoding.generate import Parts
from pass_lsp.decoding.layout import Layout
from pass_lsp.decoding.lookahead import Lookahead
from pass_lsp.decoding.planner import Planner

After = Callable[[int], torch.Tensor]


class NoSlots:
    """Nothing to keep: a scripted row depends on its token alone."""

    nbytes = 0

    def crop(self, length: int) -> None:
        """Nothing is kept."""


class ScriptedExecutor:
    """Row laws by table: `after(token)` for real rows, `drafts(j, token)` for look-ahead row j behind `token`."""

    new_slots = NoSlots
    output_table = None

    def __init__(
        self, vocab: int, after: After, drafts: Callable[[int, int], torch.Tensor], num_lookahead: int
    ) -> None:
        self.table = torch.zeros(vocab, 1)
        self.lookahead = Lookahead(torch.zeros(num_lookahead, 1))
        self._after, self._drafts = after, drafts
        self.fed: list[list[int]] = []

    def forward(self, cache: KVCache, token_ids: Sequence[int], shape: Layout, num_logits: int) -> torch.Tensor:
        self.fed.append(list(token_ids))
        rows = [self._after(token) for token in token_ids[len(token_ids) - num_logits :]]
        rows += [self._drafts(step, token_ids[row]) for row, size in shape.groups for step in range(size)]
        return torch.stack(rows)


def parts_of(executor: ScriptedExecutor, eos: int | None = None, context: int = 1000) -> Parts:
    """What `generate` needs, around a scripted executor."""
    ends = frozenset() if eos is None else frozenset({eos})
    planner = Planner(tuple(0.5 ** (j + 1) for j in range(executor.lookahead.length)))
    return Parts(executor, CachePool(NoSlots), (planner, planner), context, ends)


def one_hot(vocab: int, token: int) -> torch.Tensor:
    """Logits that leave no doubt."""
    return torch.full((vocab,), -30.0).index_fill_(0, torch.tensor(token % vocab), 30.0)


def counting(vocab: int, num_lookahead: int, right: Callable[[int, int], bool]) -> ScriptedExecutor:
    """Counts upward; look-ahead row j behind `last` is right where `right(j, last)` says so."""

    def drafts(j: int, last: int) -> torch.Tensor:
        return one_hot(vocab, last + 2 + j if right(j, last) else last + 7 + j)

    return ScriptedExecutor(vocab, lambda token: one_hot(vocab, token + 1), drafts, num_lookahead)
