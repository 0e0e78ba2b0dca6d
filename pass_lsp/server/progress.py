"""`$/progress` of one long work, for clients that show it. Never waits for the client."""

from __future__ import annotations

import itertools
import time
from typing import Any

from lsprotocol import types

from pass_lsp.server.protocol import Protocol

_SHORTEST_PAUSE_S = 0.1
_numbers = itertools.count(1)


class Progress:
    """Begin, report and end, in this order, once the client has agreed to the `token`, which serves this work alone."""

    def __init__(self, protocol: Protocol, title: str, supported: bool) -> None:
        self.token = f"pass-lsp/{next(_numbers)}"
        self._protocol = protocol
        self._title = title
        self._open = False
        self._ended = False
        self._last_s = 0.0
        if supported:
            protocol.ask(types.WINDOW_WORK_DONE_PROGRESS_CREATE, {"token": self.token}, self._agreed)

    def report(self, message: str) -> None:
        """Show `message`; drops what comes faster than anyone reads."""
        now = time.monotonic()
        if self._open and now - self._last_s >= _SHORTEST_PAUSE_S:
            self._last_s = now
            self._send({"kind": "report", "message": message})

    def end(self, message: str) -> None:
        """The work is over."""
        if self._open and not self._ended:
            self._send({"kind": "end", "message": message})
        self._open, self._ended = False, True

    def _agreed(self, _: Any, ok: bool) -> None:
        if ok and not self._ended:
            self._open = True
            self._send({"kind": "begin", "title": self._title, "cancellable": True})

    def _send(self, value: dict[str, Any]) -> None:
        self._protocol.notify(types.PROGRESS, {"token": self.token, "value": value})
