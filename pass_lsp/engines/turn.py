"""Turns on one engine."""

from __future__ import annotations

import threading


class Turn:
    """A lock by which threads take turns. Whoever holds it and asks again would wait for ever, and is told instead."""

    def __init__(self) -> None:
        self._lock, self._holder = threading.Lock(), 0

    def __enter__(self) -> None:
        if self._holder == threading.get_ident():
            raise RuntimeError("This engine is decoding and has called you back; ask it again when that has returned.")
        self._lock.acquire()
        self._holder = threading.get_ident()

    def __exit__(self, *_: object) -> None:
        self._holder = 0
        self._lock.release()
