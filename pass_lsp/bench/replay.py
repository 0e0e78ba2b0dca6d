"""Types a trace into a server at human speed or faster, and keeps what each key brought and when."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from pass_lsp.bench.client import Client, items_of
from pass_lsp.bench.traces import Edit, Trace
from pass_lsp.documents.document import Document
from pass_lsp.documents.languages import language_of

_FETCH_EVERY = 300
"""Requests; the server keeps the figures of a few hundred answers."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast: `speed` times as fast as the trace, the client asking `wait_ms` after the key.

    With `pause_ms` the next key comes that long after the answer instead.
    """

    speed: float = 1.0
    wait_ms: float = 40.0
    pause_ms: float | None = None


@dataclass(slots=True)
class Asked:
    """One request: when it left, and what came of it. `figures` are the server's own."""

    msg_id: int
    version: int
    sent_s: float
    ms: float = 0.0
    items: list[dict[str, Any]] = field(default_factory=list)
    answered: bool = False
    superseded: bool = False
    turn: int = -1
    figures: dict[str, Any] = field(default_factory=dict)


class Typist:
    """One document in the server, and the same text here."""

    def __init__(self, client: Client, uri: str, trace: Trace) -> None:
        self.client, self.uri, self.trace = client, uri, trace
        self.asked: list[Asked] = []
        self._document = Document(uri, trace.text, 1)
        self._fetched = 0
        client.open(uri, trace.text, language_of(PurePosixPath(trace.name).name, "") or "plaintext")

    def edit(self, edit: Edit) -> None:
        """Make one change, here and there."""
        before = self._document
        start, end = (before.position(edit.position + more, "utf-32") for more in (0, edit.deleted))
        self._document = before.edited(edit.position, edit.position + edit.deleted, edit.inserted, before.version + 1)
        self.client.change(self.uri, self._document.version, start, end, edit.inserted)

    def ask(self, cursor: int) -> Asked:
        """Ask at an offset."""
        line, character = self._document.position(cursor, "utf-32")
        sent = time.perf_counter()
        asked = Asked(self.client.ask_inline(self.uri, line, character), self._document.version, sent)
        self.asked.append(asked)
        return asked

    def wait(self, asked: Asked) -> Asked:
        """Wait for an answer."""
        answer = self.client.wait(asked.msg_id)
        asked.answered, asked.turn = True, answer.turn
        asked.ms = (answer.at_s - asked.sent_s) * 1000
        asked.superseded = answer.message.get("result") is None
        asked.items = items_of(answer)
        return asked

    def replay(self, pace: Pace) -> Iterator[Edit]:
        """Type the whole trace, asking after each key that no other follows at once; yields each edit when done."""
        began, edits = time.perf_counter(), self.trace.edits
        for number, edit in enumerate(edits):
            following = edits[number + 1].at_ms if number + 1 < len(edits) else edit.at_ms + 1e9
            if pace.pause_ms is None:
                _sleep_until(began + edit.at_ms / pace.speed / 1000)
            self.edit(edit)
            if pace.pause_ms is not None:
                self.wait(self.ask(edit.cursor))
                time.sleep(pace.pause_ms / 1000)
            elif (following - edit.at_ms) / pace.speed > pace.wait_ms:
                time.sleep(pace.wait_ms / 1000)
                self.ask(edit.cursor)
            if len(self.asked) - self._fetched >= _FETCH_EVERY:
                self.fetch()
            yield edit
        self.fetch()

    def fetch(self) -> None:
        """Wait for what is open, and take in the server's figures of the answers so far."""
        new = self.asked[self._fetched :]
        for asked in new:
            self.wait(asked)
        told = self.client.request("pass-lsp/answers", None)["answers"]
        by_version = {each["version"]: each for each in told if "version" in each and each["source"] != "none"}
        for asked in new:
            if not asked.superseded:
                asked.figures = by_version.get(asked.version, {})
        self._fetched = len(self.asked)

    def close(self) -> None:
        """Close the document."""
        self.client.notify("textDocument/didClose", {"textDocument": {"uri": self.uri}})


def type_along(typist: Typist, every: int, keys: int) -> list[float]:
    """At every so many edits, type the suggestion along for a few keys and take two back; ms of answers from memory."""
    taken: list[float] = []
    for number, edit in enumerate(typist.trace.edits):
        typist.edit(edit)
        if number % every or not (items := typist.wait(typist.ask(edit.cursor)).items):
            continue
        text = items[0]["insertText"][:keys]
        if items[0]["range"]["start"] != items[0]["range"]["end"] or len(text) < keys:
            continue
        probes = [Edit(0, edit.cursor + at, 0, key, edit.cursor + at + 1) for at, key in enumerate(text)]
        probes += [Edit(0, edit.cursor + at, 1, "", edit.cursor + at) for at in (keys - 1, keys - 2)]
        first = len(typist.asked)
        for probe in probes:
            typist.edit(probe)
            typist.wait(typist.ask(probe.cursor))
        typist.fetch()
        taken += [each.ms for each in typist.asked[first:] if each.figures.get("source") == "memory"]
        typist.edit(Edit(0, edit.cursor, keys - 2, "", edit.cursor))
    return taken


def _sleep_until(at_s: float) -> None:
    left = at_s - time.perf_counter()
    if left > 0:
        time.sleep(left)
