"""Which rows a forward carries: real tokens first, then groups of look-ahead rows hung on some of them.

    real rows        0 … T-1                 see the cache and the real rows up to themselves
    look-ahead rows  LA₁ … LAₘ behind row i  see the cache, the real rows up to i, and their own group's earlier rows

No real row ever sees a look-ahead row, no group another group. Masks depend on the shape alone,
so they are made once. Source: the merged pass of Parallel Prompt Decoding (Chen et al. 2024)
and quadratic decoding (Samragh et al. 2025), on a chain.

`Branches` is the layout of several answers to one prompt that are decoded together, a row each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch

KEPT_TOKENS = 40
"""Longer shapes are those of prompts, of which hardly two are alike."""
SPARE_SLOTS = 512
"""Look-ahead rows and branches use slots beyond a model's last position, so many at most."""


@dataclass(frozen=True)
class Layout:
    """`num_tokens` real rows; `groups` are (real row, number of look-ahead rows behind it), in order."""

    num_tokens: int
    groups: tuple[tuple[int, int], ...] = ()

    @cached_property
    def num_lookahead(self) -> int:
        """Number of look-ahead rows."""
        return sum(size for _, size in self.groups)

    @property
    def num_rows(self) -> int:
        """Number of rows of the forward."""
        return self.num_tokens + self.num_lookahead

    @cached_property
    def offsets(self) -> torch.Tensor:
        """Position of each row, counted from the first, int64 `[R]`."""
        behind = [row + step for row, size in self.groups for step in range(1, size + 1)]
        return torch.tensor([*range(self.num_tokens), *behind])

    @cached_property
    def steps(self) -> torch.Tensor:
        """Which look-ahead embedding each look-ahead row carries, from 0, int64 `[M]`."""
        return torch.tensor([step for _, size in self.groups for step in range(size)], dtype=torch.long)

    @cached_property
    def allowed(self) -> torch.Tensor:
        """Whether row i may attend to row j of the same forward, bool `[R, R]`."""
        mask = torch.zeros(self.num_rows, self.num_rows, dtype=torch.bool)
        mask[:, : self.num_tokens] = torch.ones(self.num_tokens, self.num_tokens).tril()[
            [*range(self.num_tokens), *(row for row, size in self.groups for _ in range(size))]
        ]
        begin = self.num_tokens
        for _, size in self.groups:
            mask[begin : begin + size, begin : begin + size] = torch.ones(size, size).tril()
            begin += size
        return mask

    @cached_property
    def hidden(self) -> torch.Tensor | None:
        """Which cached slots a row may not attend to, bool `[R, cached]`; None: it may attend to all."""
        return None

    @cached_property
    def held(self) -> torch.Tensor | None:
        """Positions of the cached slots, int64 `[cached]`; None: one after the other."""
        return None

    @property
    def causal(self) -> bool:
        """Whether the rows are a plain sequence: no group, or one behind the last real row."""
        return not self.groups or (len(self.groups) == 1 and self.groups[0][0] == self.num_tokens - 1)


@dataclass(frozen=True)
class Branches(Layout):
    """The next row of each of several answers to one prompt of `prefix` tokens, which see of each other nothing.

    `rows` are the branches that this forward carries on, `rounds` those of the forwards before, whose
    keys and values lie behind the prefix in that order. Make it with `branches`.
    """

    rows: tuple[int, ...] = ()
    prefix: int = 0
    rounds: tuple[tuple[int, ...], ...] = ()

    @cached_property
    def owners(self) -> torch.Tensor:
        """The branch of every slot behind the prefix, int64."""
        return torch.tensor([branch for each in self.rounds for branch in each], dtype=torch.long)

    @cached_property
    def offsets(self) -> torch.Tensor:
        """See `Layout.offsets`: rows stand side by side, and left of where their slots are."""
        return torch.full((self.num_tokens,), len(self.rounds) - len(self.owners))

    @cached_property
    def allowed(self) -> torch.Tensor:
        """See `Layout.allowed`."""
        return torch.eye(self.num_tokens, dtype=torch.bool)

    @cached_property
    def hidden(self) -> torch.Tensor:
        """See `Layout.hidden`: what lies behind the prefix and is not the branch's own."""
        others = torch.tensor(self.rows)[:, None] != self.owners
        return torch.cat((torch.zeros(self.num_tokens, self.prefix, dtype=torch.bool), others), dim=1)

    @cached_property
    def held(self) -> torch.Tensor:
        """See `Layout.held`: a position a round."""
        behind = [self.prefix + number for number, each in enumerate(self.rounds) for _ in each]
        return torch.tensor([*range(self.prefix), *behind])

    @property
    def causal(self) -> bool:
        """See `Layout.causal`."""
        return False


def branches(rows: Sequence[int], prefix: int, rounds: Sequence[Sequence[int]]) -> Branches:
    """The layout that carries on `rows` after `rounds`."""
    return Branches(len(rows), (), tuple(rows), prefix, tuple(map(tuple, rounds)))


def layout(num_tokens: int, groups: tuple[tuple[int, int], ...] = ()) -> Layout:
    """The layout of a shape; of a decoding step's the same object every time, so that its masks are made once."""
    return _kept(num_tokens, groups) if num_tokens <= KEPT_TOKENS else Layout(num_tokens, groups)


@lru_cache(maxsize=256)
def _kept(num_tokens: int, groups: tuple[tuple[int, int], ...]) -> Layout:
    return Layout(num_tokens, groups)
