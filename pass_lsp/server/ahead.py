"""`Ahead`: what the user may want next, decoded while nobody waits; and whether this machine may be busy with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import psutil

from pass_lsp.config import Settings
from pass_lsp.documents.document import Document
from pass_lsp.documents.scan import indentation
from pass_lsp.domain import Completion
from pass_lsp.reasons import Reason
from pass_lsp.server.flight import Flight, Landing

LARGEST = 2_000_000
"""Characters of a document beyond which nothing is done ahead: nothing is suggested there either."""
_QUIET_S = 0.05
"""How long nothing must happen before work ahead begins."""
_LOOK_S = 30.0
_power: tuple[float, bool] = (-_LOOK_S, False)


class Ahead:
    """Plans for each document, by its key, and takes off once it has been quiet for a moment. Lives on the event loop.

    `fly` begins a decode; `needless` says whether one is under way for a document, or its answer known for a place.
    """

    def __init__(self, fly: Callable[[Flight], None], needless: Callable[[str, Document, int], bool]) -> None:
        self._fly, self._needless = fly, needless
        self._plans: dict[str, asyncio.TimerHandle] = {}

    def prepare(self, key: str, document: Document, completion: Completion, settings: Settings) -> None:
        """While `completion` is on screen, decode what follows it. Its own later lines are remembered already.

        Not at once: whoever types along does not want to share the processor with it.
        """
        self.forget(key)
        if may_work_ahead(document, settings):
            place = accepted(document, completion)
            later = asyncio.get_running_loop().call_later(_QUIET_S, self._take_off, key, *place, settings, 1)
            self._plans[key] = later

    def go_on(self, flight: Flight, landing: Landing) -> None:
        """Nobody waited for this flight; what comes after it may be wanted next."""
        if landing.reason is Reason.CANCELLED or not may_work_ahead(flight.document, flight.settings):
            return
        if flight.after_accept == 0 and landing.completions:
            self.prepare(flight.key, flight.document, landing.completions[0], flight.settings)
        elif flight.after_accept == 1 and not landing.completions:
            # Nothing more belongs on this line, so the user will go to the next.
            place = beginning_of_next_line(flight.document, flight.offset)
            self._take_off(flight.key, *place, flight.settings, after_accept=2)

    def forget(self, key: str) -> None:
        """Something else happens in that document."""
        if (plan := self._plans.pop(key, None)) is not None:
            plan.cancel()

    def forget_all(self) -> None:
        """What is planned is of no use any more."""
        for key in list(self._plans):
            self.forget(key)

    def _take_off(self, key: str, document: Document, offset: int, settings: Settings, after_accept: int) -> None:
        self.forget(key)
        if not self._needless(key, document, offset):
            flight = Flight(key, document, offset, settings)
            flight.after_accept = after_accept
            self._fly(flight)


def may_work_ahead(document: Document, settings: Settings) -> bool:
    """Whether work that nobody has asked for yet is wanted here."""
    if not settings.ahead or settings.off_for(document.language):
        return False
    return len(document.text) <= LARGEST and (settings.ahead_on_battery or not on_battery())


def on_battery() -> bool:
    """Whether this machine runs on its battery, as of the last half minute."""
    global _power
    if time.monotonic() - _power[0] >= _LOOK_S:
        _power = time.monotonic(), _discharging()
    return _power[1]


def _discharging() -> bool:
    try:
        battery = psutil.sensors_battery()
    except (AttributeError, OSError, RuntimeError, NotImplementedError):  # no such thing on this platform
        return False
    return battery is not None and battery.power_plugged is False


def accepted(document: Document, completion: Completion) -> tuple[Document, int]:
    """The document with the completion in it, and the cursor behind that."""
    after = document.edited(completion.start, completion.end, completion.text)
    return after, completion.start + len(completion.text)


def beginning_of_next_line(document: Document, offset: int) -> tuple[Document, int]:
    """The document after Enter at `offset`, indented as an editor does it."""
    line = document.line_at(offset)
    text = document.text[document.line_start(line) : offset]
    lead = indentation(text)
    if text.rstrip().endswith((":", "{", "(", "[")):
        lead += "\t" if lead.startswith("\t") else "    "
    begun = ("\r\n" if "\r\n" in document.text else "\n") + lead
    return document.edited(offset, offset, begun), offset + len(begun)


def cursor_after(start: int, typed: str) -> int:
    """Where the cursor is after `typed` went in at `start`: between brackets that the editor closed, else behind it."""
    closed = typed in ("()", "[]", "{}", '""', "''", "``")
    return start + len(typed) - closed
