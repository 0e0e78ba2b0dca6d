"""How much to draft: the shape that promises the most tokens a second, by what cycles cost and what was accepted.

Two sources of drafts: look-ahead rows (depth m: m rows behind every real row, m drafts the next
cycle) and copies of earlier text. Acceptance of each is a running estimate that starts from
what is known; with costs that hardly grow with rows the plan is simply the deepest.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pass_lsp.decoding.layout import SPARE_SLOTS

MARGIN = 1.1
"""Drafting must promise this much more than one token a forward before it is worth the noise of the estimate."""
MAX_COPY = 32
MAX_DEPTH = math.isqrt(SPARE_SLOTS) - 1
"""So many drafts, each with so many rows behind it, still find slots at the end of the context."""
_MATCHES = (2, 3, 4, 6, 9, 16)
_COPY_PRIOR = (0.15, 0.3, 0.45, 0.6, 0.75, 0.85, 0.92)
_FORGET = 0.99

Seconds = Callable[[int, int], float]
"""What a cycle of so many rows costs, after which so many look-ahead drafts are made."""


def flat(rows: int, depth: int = 0) -> float:
    """Rows that cost next to nothing, as on an idle GPU."""
    return 1.0 + 0.001 * (rows + depth)


@dataclass
class Rate:
    """A probability, estimated from trials that fade, beginning at `prior` as if from `weight` trials."""

    prior: float
    weight: float = 8.0
    hits: float = 0.0
    trials: float = 0.0

    @property
    def value(self) -> float:
        """The estimate."""
        return (self.hits + self.prior * self.weight) / (self.trials + self.weight)

    def see(self, hit: bool) -> None:
        """Count one trial."""
        self.hits, self.trials = self.hits * _FORGET + hit, self.trials * _FORGET + 1

    def fade(self) -> None:
        """Lean back towards the prior, so that what once did not pay is tried again."""
        self.hits, self.trials = self.hits * 0.8, self.trials * 0.8


@dataclass
class Planner:
    """Decides depth and copy length. `acceptance[j]`: known share of groups whose drafts 1 … j+1 are all accepted."""

    acceptance: Sequence[float]
    seconds: Seconds = flat
    copying: bool = True
    _chain: list[Rate] = field(init=False)
    _copies: list[Rate] = field(init=False)
    _depth: int = field(init=False)

    def __post_init__(self) -> None:
        before = (1.0, *self.acceptance)
        known = [min(1.0, now / then) if then > 0 else 0.0 for now, then in zip(self.acceptance, before, strict=False)]
        self._chain = [Rate(value) for value in known[:MAX_DEPTH]]
        self._copies = [Rate(value) for value in _COPY_PRIOR]
        self._depth = self._best_depth()

    def begin(self) -> None:
        """A new request: lean a little towards what was known at first."""
        for rate in (*self._chain, *self._copies):
            rate.fade()
        self._depth = self._best_depth()

    @property
    def depth(self) -> int:
        """Look-ahead rows to hang behind every row that may be the last accepted one."""
        return self._depth

    def _best_depth(self) -> int:
        best, promise = 0, MARGIN / self.seconds(1, 0)
        expected, chance = 1.0, 1.0
        for depth, rate in enumerate(self._chain, start=1):
            chance *= rate.value
            expected += chance
            speed = expected / self.seconds((1 + depth) ** 2, depth)
            if speed > promise:
                best, promise = depth, speed
        return best

    def copy_length(self, match: int, available: int, drafts: int) -> int:
        """How many copied tokens to draft after a match of `match`; 0: the `drafts` look-ahead tokens promise more."""
        if not self.copying or not available:
            return 0
        rate, depth = self._copies[bisect.bisect(_MATCHES, match)].value, self._depth
        best, promise, endless = 0, MARGIN * self._promise(drafts), 1 / max(1 - rate, 1e-3)
        expected, chance = 1.0, 1.0
        for length in range(1, min(available, MAX_COPY) + 1):
            taken = self.seconds(1 + length + 2 * depth, depth)
            if endless <= promise * taken:
                break  # not even an endless copy would pay for this row
            chance *= rate
            expected += chance
            if expected > promise * taken:
                best, promise = length, expected / taken
        return best

    def _promise(self, drafts: int) -> float:
        expected, chance = 1.0, 1.0
        for rate in self._chain[:drafts]:
            chance *= rate.value
            expected += chance
        return expected / self.seconds((1 + drafts) * (1 + self._depth), self._depth)

    def learn(self, drafted: int, accepted: int, match: int = 0) -> None:
        """What became of a draft: from look-ahead rows, or copied after `match` tokens."""
        for place in range(min(drafted, accepted + 1)):
            rate = self._copies[bisect.bisect(_MATCHES, match)] if match else self._chain[place]
            rate.see(place < accepted)
        if not match:
            self._depth = self._best_depth()
