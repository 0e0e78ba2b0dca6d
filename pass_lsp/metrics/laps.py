"""`Laps`: what each part of one piece of work took."""

from __future__ import annotations

import time


class Laps:
    """A stopwatch; `taken` maps the name of each part to its milliseconds, those of each time together."""

    def __init__(self) -> None:
        self.taken: dict[str, float] = {}
        self._began = self._last = time.perf_counter()

    def total_ms(self) -> float:
        """Milliseconds since the beginning."""
        return (time.perf_counter() - self._began) * 1000

    def lap(self, name: str) -> None:
        """The part called `name` ends now, and the next begins."""
        now = time.perf_counter()
        self.taken[name] = self.taken.get(name, 0.0) + (now - self._last) * 1000
        self._last = now
