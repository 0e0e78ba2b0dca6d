"""The gate: which suggestions are worth showing unasked, learnt from what this user took of one model's.

What tells is the model's own log-probability of the first tokens, all together. How often suggestions
of each are taken is estimated by isotonic regression (Ayer et al. 1955, pooled adjacent violators):
the surer the model, the oftener, and nothing else is assumed. Text and names are not looked at.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

LEAST_SHOWN, LEAST_TAKEN, LEAST_HIDDEN = 200, 10, 30
"""With fewer nothing is hidden: too little is known, the client tells of no accepts, or it is not worth it."""
RARELY = 0.03
"""The share of suggestions taken below which they are not worth a look."""
REMEMBERED_S = 30 * 86_400
"""What is hidden is not shown, and so not learnt about; when the samples are this old it gets another chance."""
MOST = 4000
_REFIT_EVERY = 16
_TAKEN = {"shown": False, "accepted": True, "partly": True}

Sample = tuple[float, float, bool]
"""When (s), log-probability (nats), and whether it was taken; shown before that, as a sample of its own."""


class Gate:
    """`least_log_prob` is what a suggestion needs to be shown: -inf as long as too little is known."""

    def __init__(self, model: str = "") -> None:
        self.model = model
        self.least_log_prob = -math.inf
        self._samples: deque[Sample] = deque(maxlen=MOST)
        self._fresh = 0

    @classmethod
    def of(cls, model: str, events: Iterable[Mapping[str, Any]]) -> Gate:
        """What the ledger's `events` say about `model`; malformed ones say nothing."""
        gate = cls(model)
        gate._samples.extend(sample for event in events if event.get("model") == model for sample in _samples(event))
        gate._fit()
        return gate

    @property
    def shown(self) -> int:
        """How many suggestions it has learnt from."""
        return sum(not taken for _, _, taken in self._recent())

    def learn(self, log_prob: float, taken: bool) -> None:
        """A suggestion was shown; or one that was is taken now."""
        self._samples.append((time.time(), log_prob, taken))
        self._fresh += 1
        if self._fresh >= _REFIT_EVERY:
            self._fit()

    def _recent(self) -> list[Sample]:
        since = time.time() - REMEMBERED_S
        return [sample for sample in self._samples if sample[0] >= since]

    def _fit(self) -> None:
        self._fresh = 0
        shown: Counter[float] = Counter()
        taken: Counter[float] = Counter()
        for _, log_prob, was_taken in self._recent():
            (taken if was_taken else shown)[log_prob] += 1
        blocks = isotonic([(least, many, min(taken[least], many)) for least, many in sorted(shown.items())])
        worth = [block for block in blocks if block.taken >= RARELY * block.shown]
        hidden = shown.total() - sum(block.shown for block in worth)
        known = shown.total() >= LEAST_SHOWN and sum(block.taken for block in blocks) >= LEAST_TAKEN
        self.least_log_prob = worth[0].least if known and worth and hidden >= LEAST_HIDDEN else -math.inf


def _samples(event: Mapping[str, Any]) -> Iterator[Sample]:
    at, log_prob = event.get("at"), event.get("log_prob")
    if event["kind"] in _TAKEN and all(isinstance(it, (int, float)) and math.isfinite(it) for it in (at, log_prob)):
        yield at, log_prob, _TAKEN[event["kind"]]  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class Block:
    """Suggestions from `least` on (log-probability, in nats) to where the next block begins."""

    least: float
    shown: int
    taken: int


def isotonic(samples: Iterable[tuple[float, int, int]]) -> list[Block]:
    """(log-probability, shown, taken) in ascending order → blocks whose shares of taken rise."""
    blocks: list[Block] = []
    for sample in samples:
        block = Block(*sample)
        while blocks and blocks[-1].taken * block.shown >= block.taken * blocks[-1].shown:
            last = blocks.pop()
            block = Block(last.least, last.shown + block.shown, last.taken + block.taken)
        blocks.append(block)
    return blocks
