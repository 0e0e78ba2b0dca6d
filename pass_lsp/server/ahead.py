"""What the user may do next, and whether this machine may be busy with it."""

from __future__ import annotations

import time

import psutil

from pass_lsp.config import Settings
from pass_lsp.documents.document import Document
from pass_lsp.documents.scan import indentation
from pass_lsp.domain import Completion

LARGEST = 2_000_000
"""Characters of a document beyond which nothing is done ahead: nothing is suggested there either."""
_LOOK_S = 30.0
_power: tuple[float, bool] = (-_LOOK_S, False)


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
