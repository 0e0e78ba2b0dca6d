"""`Pause`: a cancel flag that can also hold the decode loop before its next forward, until somebody decides."""

from __future__ import annotations

import threading
import time

from pass_lsp.domain import CancelToken


class Pause(CancelToken):
    """The loop that looks at `cancelled` waits there while this is paused: work stops as if it were cancelled.

    `pause`, `resume` and `cancel` may be called from any thread and never wait; `cancelled` is the worker's to ask.
    """

    __slots__ = ("_asked_s", "_decided", "_until_s", "stopped_after_s")

    def __init__(self) -> None:
        super().__init__()
        self._decided = threading.Event()
        self._decided.set()
        self._asked_s = self._until_s = 0.0
        self.stopped_after_s = 0.0
        """Seconds from the last `pause` until the loop waited; 0 where it never did."""

    def pause(self, limit_s: float) -> None:
        """Wait before the next forward; without a decision within `limit_s` seconds that is the end."""
        self._asked_s = time.perf_counter()
        self._until_s = self._asked_s + limit_s
        self._decided.clear()

    def resume(self) -> None:
        """Go on, if it is not cancelled by now."""
        self._decided.set()

    def cancel(self) -> None:
        """See `CancelToken`; whoever waits goes on to end."""
        super().cancel()
        self._decided.set()

    @property
    def cancelled(self) -> bool:
        """Whether the work is to end, once that is known."""
        if not self._cancelled and not self._decided.is_set():
            now = time.perf_counter()
            self.stopped_after_s = now - self._asked_s
            if not self._decided.wait(self._until_s - now):
                super().cancel()
        return self._cancelled
