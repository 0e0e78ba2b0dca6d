"""Which replica a session goes to: where its keys and values are, with as many sessions at each.

A hash alone leaves one of two replicas with `R + 0.56 √R` of `2R` sessions; here the fuller one has
at most a tenth more than the other, and one. Source of the idea: Mirrokni, Thorup, Zadimoghaddam,
"Consistent Hashing with Bounded Loads", 2018; docs/sizing.md has the arithmetic. No Ray in here.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from pass_lsp.serving.scheduler import DOCUMENTS

ACTIVE_S = 15.0
"""Whoever types asks more often; a session that rests counts for nothing, but its home is remembered."""
SLACK = 1.1
"""A session moves where its home has more than so many times the sessions of another. It pays for one prefill."""

R = TypeVar("R", bound=Hashable)


class Homes(Generic[R]):
    """The sessions that one router has seen. Of each it knows the replica, as long as that keeps the prefix."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._homes: OrderedDict[str, R] = OrderedDict()
        self._active: OrderedDict[str, tuple[R, float]] = OrderedDict()
        self._sessions: Counter[R] = Counter()

    def order(self, session: str, ring: Sequence[R]) -> list[R]:
        """`ring`, the replicas in the order that the session's hash gives, with its home first."""
        now = self._clock()
        self._leave(session)
        while self._active and next(iter(self._active.values()))[1] < now - ACTIVE_S:
            self._leave(next(iter(self._active)))
        emptiest = min(ring, key=self._sessions.__getitem__)  # the first of them: several routers agree then
        home = self._homes.pop(session, emptiest)
        if home not in ring or self._sessions[home] > SLACK * self._sessions[emptiest]:
            home = emptiest
        self._homes[session] = home
        self._active[session] = home, now
        self._sessions[home] += 1
        if len(self._homes) > DOCUMENTS * len(self._sessions):
            forgotten, _ = self._homes.popitem(last=False)
            self._leave(forgotten)
        return sorted(ring, key=lambda replica: replica != home)

    def _leave(self, session: str) -> None:
        if session in self._active:
            replica, _ = self._active.pop(session)
            self._sessions[replica] -= 1
            if not self._sessions[replica]:
                del self._sessions[replica]
