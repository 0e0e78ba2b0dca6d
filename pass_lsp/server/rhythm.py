"""How fast the user types, and so how long an automatic request waits for the next key."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass

from pass_lsp.server.flight import Ask

_LONGEST_PAUSE_S = 1.0
"""A longer one says nothing about typing."""
_WEIGHT = 0.2
_SHARE = 0.4
"""Of the usual interval: a key that comes sooner supersedes the request anyway."""


@dataclass(slots=True)
class Rhythm:
    """The keys of one document: when the last one came, the usual interval, and whether the next request is urgent."""

    last_s: float = -1e9
    interval_s: float = 0.0
    urgent: bool = False

    def key(self, typed: str) -> None:
        """A change has come in that inserted `typed`."""
        now = time.monotonic()
        if 0 < now - self.last_s < _LONGEST_PAUSE_S:
            new = now - self.last_s
            self.interval_s = new if not self.interval_s else self.interval_s + _WEIGHT * (new - self.interval_s)
        self.last_s = now
        # Several characters at once are no key: something was accepted, pasted or closed by the editor.
        self.urgent = len(typed.strip()) > 2

    def delay_s(self, longest_ms: int, line_start: bool) -> float:
        """How long a request that comes now should wait, less what it has waited since the last key."""
        if line_start or self.urgent:
            return 0.0
        waited = time.monotonic() - self.last_s
        return max(0.0, min(longest_ms / 1000, _SHARE * self.interval_s) - waited)


class Rhythms:
    """That of each document."""

    def __init__(self) -> None:
        self._of: defaultdict[str, Rhythm] = defaultdict(Rhythm)

    def key(self, document: str, typed: str) -> None:
        """`typed` went into a document."""
        self._of[document].key(typed)

    def accepted(self, document: str) -> None:
        """The user took a suggestion, or a part of it: what comes next is wanted at once."""
        self._of[document].urgent = True

    def delay_s(self, ask: Ask) -> float:
        """How long a request should wait; one by hand, or in a document that was not typed in, does not."""
        if ask.manual or ask.key not in self._of:
            return 0.0
        line = ask.document.line_at(ask.offset)
        blank = not ask.document.text[ask.document.line_start(line) : ask.offset].strip()
        return self._of[ask.key].delay_s(ask.settings.debounce_ms, blank)

    def forget(self, document: str) -> None:
        """A document is closed."""
        self._of.pop(document, None)
