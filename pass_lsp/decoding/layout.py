"""Which rows a forward carries: real tokens first, then groups of look-ahead rows hung on some of them.

    real rows        0 … T-1                 see the cache and the real rows up to themselves
    look-ahead rows  LA₁ … LAₘ behind row i  see the cache, the real rows up to i, and their own group's earlier rows

No real row ever sees a look-ahead row, no group another group. Masks depend on the shape alone,
so they are made once. Source: the merged pass of Parallel Prompt Decoding (Chen et al. 2024)
and quadratic decoding (Samragh et al. 2025), on a chain.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch

KEPT_TOKENS = 40
"""Longer shapes are those of prompts, of which hardly two are alike."""


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

    @property
    def causal(self) -> bool:
        """Whether the rows are a plain sequence: no group, or one behind the last real row."""
        return not self.groups or (len(self.groups) == 1 and self.groups[0][0] == self.num_tokens - 1)


def layout(num_tokens: int, groups: tuple[tuple[int, int], ...] = ()) -> Layout:
    """The layout of a shape; of a decoding step's the same object every time, so that its masks are made once."""
    return _kept(num_tokens, groups) if num_tokens <= KEPT_TOKENS else Layout(num_tokens, groups)


@lru_cache(maxsize=256)
def _kept(num_tokens: int, groups: tuple[tuple[int, int], ...]) -> Layout:
    return Layout(num_tokens, groups)
