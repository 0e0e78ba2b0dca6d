"""The KV cache: pre-allocated slots addressed by position, and the token ids they hold.

Rolling back is moving a length; what lies beyond is overwritten, never attended. Every layer
keeps its full history, sliding-window layers too (their mask hides the rest), so that rejected
rows can always be taken back. A pool keeps the prefixes of several documents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

BLOCK = 256
"""Slots are allocated in so many at a time."""


class Slots(Protocol):
    """Where an executor keeps keys and values."""

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        ...

    def crop(self, length: int) -> None:
        """Forget every position from `length` on."""
        ...


class KVCache:
    """One sequence's keys and values, and the ids they were computed from.

    Invariant: between forwards the slots hold exactly `token_ids`, so the longest common
    prefix of `token_ids` and a new prompt needs no forward.
    """

    def __init__(self, new_slots: Callable[[], Any]) -> None:
        self.token_ids: list[int] = []
        self._new_slots = new_slots
        self.slots = new_slots()

    @property
    def length(self) -> int:
        """Number of positions whose keys and values are valid."""
        return len(self.token_ids)

    def shared(self, prompt_ids: Sequence[int]) -> int:
        """How many leading ids of `prompt_ids` are held, all but the last at most."""
        limit = min(len(self.token_ids), len(prompt_ids) - 1)
        for i in range(limit):
            if self.token_ids[i] != prompt_ids[i]:
                return i
        return max(0, limit)

    def reuse(self, prompt_ids: Sequence[int]) -> int:
        """Keep what `prompt_ids` shares with the last sequence, all but its last token at most; returns the count."""
        shared = self.shared(prompt_ids)
        self.crop(shared)
        return shared

    def extend(self, token_ids: Sequence[int]) -> None:
        """Record ids whose keys and values the last forward wrote."""
        self.token_ids.extend(token_ids)

    def crop(self, length: int) -> None:
        """Forget every position from `length` on."""
        del self.token_ids[length:]
        self.slots.crop(length)

    def clear(self) -> None:
        """Forget everything, the memory too; for when a forward failed half-way."""
        self.token_ids = []
        self.slots = self._new_slots()


class CachePool:
    """The caches of a few documents within `limit` bytes; the least recently used goes first."""

    def __init__(self, new_slots: Callable[[], Any], limit: int = 2**28, most: int = 8) -> None:
        self._new_slots, self._limit, self._most = new_slots, limit, most
        self._caches: list[KVCache] = []  # the most recently used last

    def take(self, prompt_ids: Sequence[int]) -> KVCache:
        """The cache to decode `prompt_ids` in: the one that shares most, unless that is little of either sequence."""
        # Where none shares anything, the shortest is the least to lose: one that failed, or held no more than an id.
        best = max(self._caches, key=lambda cache: (cache.shared(prompt_ids), -cache.length), default=None)
        if best is None or 2 * best.shared(prompt_ids) < min(best.length, len(prompt_ids) - 1):
            best = KVCache(self._new_slots)
        self._caches = [cache for cache in self._caches if cache is not best]
        while self._caches and (len(self._caches) >= self._most or self.nbytes + best.slots.nbytes > self._limit):
            del self._caches[0]
        self._caches.append(best)
        return best

    def __len__(self) -> int:
        return len(self._caches)

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(cache.slots.nbytes for cache in self._caches)

    def clear(self) -> None:
        """Forget everything."""
        self._caches.clear()
