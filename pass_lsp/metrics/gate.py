"""The gate: which suggestions are worth showing unasked, learnt from what this user took of one model's.

What tells is the model's own log-probability of the first tokens, all together. How often suggestions
of each are taken is estimated by isotonic regression (Ayer et al. 1955, pooled adjacent violators):
the surer the model, the oftener, and nothing else is assumed. Text and names are not looked at.
Before anything is learnt, and below what is, stands what the model's own measurement found hopeless.
"""

from __future__ import annotations

import hashlib
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
HOPELESS = 0.02
"""The share of held-out answers with a right first line below which a model's own measurement leaves them out."""
_REFIT_EVERY = 16
_TAKEN = {"shown": False, "accepted": True, "partly": True}

Sample = tuple[float, float, bool]
"""When (s), log-probability (nats), and whether it was taken; shown before that, as a sample of its own."""


class Gate:
    """`least_log_prob` is what a suggestion needs to be shown: `hopeless_below` as long as too little is known."""

    def __init__(self, model: str = "", hopeless_below: float = -math.inf) -> None:
        self.model, self.hopeless_below = model, hopeless_below
        self.least_log_prob = hopeless_below
        self._samples: deque[Sample] = deque(maxlen=MOST)
        self._fresh = 0

    @classmethod
    def of(cls, model: str, events: Iterable[Mapping[str, Any]], hopeless_below: float = -math.inf) -> Gate:
        """What the ledger's `events` say about `model` (see `ledger_name`); malformed ones say nothing."""
        gate = cls(model, hopeless_below)
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
        learnt = worth[0].least if known and worth and hidden >= LEAST_HIDDEN else -math.inf
        self.least_log_prob = max(learnt, self.hopeless_below)


def ledger_name(model: str, engine: str = "") -> str:
    """What the ledger calls a model, and the address where it runs."""
    where = f"{engine} " if "://" in engine else ""
    return hashlib.sha256(f"{where}{model}".encode()).hexdigest()[:12]


def hopeless(answers: Iterable[tuple[float, bool]]) -> Block | None:
    """(log-probability, right) of held-out answers → how many are hopeless, and the `least` that the others have."""
    given, right_ones = Counter[float](), Counter[float]()
    for log_prob, right in answers:
        given[log_prob] += 1
        right_ones[log_prob] += right
    blocks = isotonic((least, many, right_ones[least]) for least, many in sorted(given.items()))
    below = [block for block in blocks if block.taken < HOPELESS * block.shown]
    shown, right = sum(block.shown for block in below), sum(block.taken for block in below)
    if shown < LEAST_HIDDEN or len(below) == len(blocks):
        return None
    return Block(blocks[len(below)].least, shown, right)


def _samples(event: Mapping[str, Any]) -> Iterator[Sample]:
    at, log_prob = event.get("at"), event.get("log_prob")
    # Compared instead of asked `isfinite`, which fails at an integer of 400 digits.
    if event["kind"] in _TAKEN and all(isinstance(it, (int, float)) and abs(it) < 1e12 for it in (at, log_prob)):
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
