"""The ledger: one JSON object a line about what was suggested and what became of it, on this machine only.

It holds numbers, reason codes, languages and a hash of the model's name; no source text, no file name. It is written
by whole lines and closed in between, so that several editors may share one file.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

LARGEST = 4 << 20
"""Bytes after which a ledger is put aside as `<name>.1`, in place of the one before it."""
_MOST_WAITING = 256


class Ledger:
    """Takes in events and writes them to `path` when told to; without a path it is off.

    A disk that is full or cannot be written costs the events, never more: `failure` then says why.
    """

    def __init__(self, path: Path | None, largest: int = LARGEST) -> None:
        self.path = path
        self.failure = ""
        self._largest = largest
        self._waiting: list[str] = []

    def note(self, kind: str, **values: float | str | bool) -> None:
        """Take in one event, to be written with the next `flush`."""
        if self.path is None:
            return
        event = {"at": round(time.time()), "kind": kind, **values}
        self._waiting.append(json.dumps(event, separators=(",", ":")) + "\n")
        if len(self._waiting) >= _MOST_WAITING:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting."""
        lines, self._waiting = self._waiting, []
        if self.path is None or not lines:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._rotate(self.path)
            # One write of whole lines to a file opened for appending: editors that share it do not mix them.
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(handle, "".join(lines).encode())
            finally:
                os.close(handle)
            self.failure = ""
        except OSError as error:
            self.failure = error.strerror or type(error).__name__

    def _rotate(self, path: Path) -> None:
        if path.exists() and path.stat().st_size >= self._largest:
            path.replace(previous(path))


def previous(path: Path) -> Path:
    """Where the ledger before this one lies."""
    return path.with_name(path.name + ".1")


def read(path: Path, holding: str = "") -> Iterator[Mapping[str, Any]]:
    """All events, oldest first; lines that are torn or are no event are left out. Raises `OSError`.

    Lines without the text `holding` are passed over, which is much quicker than reading them.
    """
    for file in (previous(path), path):
        if not file.exists():
            continue
        with file.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if holding not in line:
                    continue
                try:
                    event = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(event, dict) and isinstance(event.get("kind"), str):
                    yield event
