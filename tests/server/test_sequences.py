"""Sequences of what editors do, through the real session: each request is answered once, in order, with what was meant.

The engine speaks a letter when it is told to, and does nothing else: what happens is the same every time.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pass_lsp.config import Settings
from pass_lsp.documents.document import Document
from pass_lsp.domain import CancelToken, Completion, Generation
from pass_lsp.reasons import Reason
from pass_lsp.server import ahead, completer, flight
from pass_lsp.server.app import PassServer, create_server
from pass_lsp.server.flow import Flow
from tests.server.fake_server import Outcome
from tests.server.test_sync import Buffer

SPELT = "f(a\U0001f600)\n    g[e\u0301]\n    h"
OTHER = "f(b)\n    g"
FAR = "".join(f"line_{number}\t= '{number}\u2028\x0c\U0001f600'\n" for number in range(40))
NUMBERS = itertools.count(1)
HEADER = "# new \U0001f600\n"
TEXTS = ("x = ", "x = \ny\n", "\U0001f600e\u0301 = foo()\n", "\ty\x0c\u2028 = \n", *[FAR + "x = \n" + FAR] * 3)


class Speaker:
    """Stands in for `completion`. `meant` is every whole text that it had in mind, `asked` what it was asked for."""

    def __init__(self) -> None:
        self.go, self.waits, self.parked = threading.Semaphore(0), asyncio.Event(), False
        self.meant: set[str] = set()
        self.loop = asyncio.get_running_loop()

    def complete(self, document: Document, offset: int, *_: Any, cancel: CancelToken, on_text: Any, **__: Any) -> Any:
        """Spell the answer, a letter whenever `go` says so; nothing in a comment."""
        if document.text[document.line_start(document.line_at(offset)) :].startswith("#"):
            return Outcome(reason=Reason.IN_COMMENT)
        spelt = ""

        def closed(whole_lines: bool) -> Completion | None:
            whole = spelt.rpartition("\n")[0]
            return self.item(document, offset, whole, "length") if whole else None

        for letter in SPELT:
            self.loop.call_soon_threadsafe(self.waits.set)
            self.go.acquire()
            if cancel.cancelled:
                return Outcome(reason=Reason.CANCELLED)
            spelt += letter
            on_text(spelt, closed)
        return Outcome(self.item(document, offset, SPELT, "eos"))

    def item(self, document: Document, offset: int, spelt: str, finish: Any) -> Completion:
        text, end = spelt.replace("\n", "\r\n") if "\r\n" in document.text else spelt, offset
        while end < len(document.text) and document.text[end] == ")" and ")" in text:
            end += 1
        self.meant.add(plain(document.text[:offset] + text + document.text[end:]))
        return Completion(text, offset, end, Generation([1], finish))

    def alternatives(self, document: Document, offset: int, *_: Any, **__: Any) -> list[Completion]:
        return [self.item(document, offset, OTHER, "eos")]


def plain(text: str) -> str:
    """Less what was put in far above: it is no matter to what is suggested."""
    return text.replace(HEADER, "").replace(HEADER.replace("\n", "\r\n"), "")


@dataclass
class Asked:
    """A request, and what the client saw when it sent it."""

    key: int
    text: str
    cursor: int
    inline: bool
    open: bool
    cancelled: bool = False
    overtaken: bool = False


@dataclass
class File:
    """A document as the client has it."""

    uri: str
    text: str
    cursor: int
    version: int = 1
    open: bool = True
    past: list[tuple[str, int]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    shown: tuple[str, int, dict[str, Any]] | None = None


class Client:
    """Sends to a server in this process, and holds its answers to the promises."""

    def __init__(self, server: PassServer, speaker: Speaker) -> None:
        self.server, self.speaker = server, speaker
        self.called: list[int] = []
        self.files: list[File] = []
        self.order: list[int] = []
        self.answers: dict[int, dict[str, Any]] = {}
        self.seen = 0
        server.protocol.connect(self.hear)

    def hear(self, data: bytes) -> None:
        message = json.loads(data.partition(b"\r\n\r\n")[2])
        if message.get("id") in self.called and "method" not in message:
            assert message["id"] not in self.answers, "answered twice"
            self.answers[message["id"]] = message
            self.order.append(message["id"])

    def send(self, method: str, params: Any, **more: Any) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params, **more}
        self.server.protocol.receive(json.dumps(message).encode())

    def call(self, method: str, params: Any) -> None:
        self.called.append(next(NUMBERS))
        self.send(method, params, id=self.called[-1])

    # --- what the client knows of texts ------------------------------------------

    def place(self, text: str, offset: int) -> dict[str, int]:
        return Buffer(self.server.session.documents.encoding, text).position(offset)

    def offset(self, text: str, place: dict[str, int]) -> int:
        starts = [0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", text))]
        start = starts[place["line"]]
        line = re.split(r"\r|\n", text[start:])[0]
        found = [at for at in range(len(line) + 1) if self.place(line, at)["character"] == place["character"]]
        assert len(found) == 1, f"{place} is no place of {text!r}"
        return start + found[0]

    # --- documents -------------------------------------------------------------------

    def open(self, file: File, language: str = "python") -> None:
        file.open, file.version = True, 1
        item = {"uri": file.uri, "languageId": language, "version": 1, "text": file.text}
        self.send("textDocument/didOpen", {"textDocument": item})

    def close(self, file: File) -> None:
        file.open, file.shown = False, None
        for asked in file.asked:
            asked.overtaken = True
        self.send("textDocument/didClose", {"textDocument": {"uri": file.uri}})

    def change(self, file: File, *edits: tuple[int, int, str], whole: bool = False) -> None:
        """Edits in order, each of the text that the one before it made; the cursor moves with them."""
        file.past.append((file.text, file.cursor))
        changes: list[dict[str, Any]] = []
        for start, end, text in edits:
            places = {"start": self.place(file.text, start), "end": self.place(file.text, end)}
            changes.append({"range": places, "text": text})
            file.text = file.text[:start] + text + file.text[end:]
            if file.cursor >= end:
                file.cursor += len(text) - (end - start)
        file.version += 1
        target = {"uri": file.uri, "version": file.version}
        changes = [{"text": file.text}] if whole else changes
        self.send("textDocument/didChange", {"textDocument": target, "contentChanges": changes})

    # --- requests ----------------------------------------------------------------------

    def ask(self, file: File, how: str, chosen: str = "") -> None:
        for asked in file.asked:
            asked.overtaken = True
        here = self.place(file.text, file.cursor)
        context: dict[str, Any] = {"triggerKind": 1 if how == "hand" else 2}
        if chosen:
            word = re.search(r"\w*$", file.text[: file.cursor])
            assert word is not None
            there = {"start": self.place(file.text, word.start()), "end": here}
            context["selectedCompletionInfo"] = {"range": there, "text": word[0] + chosen}
        asked = Asked(next(NUMBERS), file.text, file.cursor, how != "menu", file.open)
        file.asked.append(asked)  # before it is sent: it may be answered at once
        self.called.append(asked.key)
        method = "textDocument/completion" if how == "menu" else "textDocument/inlineCompletion"
        params = {"textDocument": {"uri": file.uri}, "position": here, "context": context}
        self.send(method, params, id=asked.key)

    def cancel(self, file: File) -> None:
        if file.asked:
            asked = file.asked[-1]
            asked.cancelled = True
            self.send("$/cancelRequest", {"id": asked.key})

    async def settle(self) -> None:
        """Until the engine waits for a word, or has nothing to do; then the loop has gone round."""
        idle = self.server.session.worker.submit("\0idle", lambda engine, token: None, ahead=True)
        waits = asyncio.ensure_future(self.speaker.waits.wait())
        await asyncio.wait((idle, waits), return_when=asyncio.FIRST_COMPLETED)
        waits.cancel()
        for _ in range(12):
            await asyncio.sleep(0)

    async def speak(self, letters: int) -> None:
        await self.settle()
        for _ in range(letters):
            if not self.speaker.waits.is_set():
                break
            self.speaker.waits.clear()
            self.speaker.go.release()
            await self.settle()

    # --- promises --------------------------------------------------------------------------

    def check(self) -> None:
        """Everything that was answered since the last time."""
        asked = {each.key: (file, each) for file in self.files for each in file.asked}
        for key in self.order[self.seen :]:
            if key in asked:
                self.check_answer(*asked[key], self.answers[key])
        self.seen = len(self.order)
        for file in self.files:
            own = [each.key for each in file.asked]
            assert [key for key in self.order if key in own] == sorted(key for key in self.order if key in own)

    def check_answer(self, file: File, asked: Asked, answer: dict[str, Any]) -> None:
        if "error" in answer:
            assert asked.cancelled and answer["error"]["code"] == -32800
        elif answer["result"] is None:
            assert asked.overtaken
        else:
            items = answer["result"]["items"]
            if not items:
                line = asked.text[: asked.cursor].rpartition("\n")[2]
                assert not asked.open or line.startswith("#"), "nothing, although something belongs there"
            for item in items:
                self.check_item(asked, item)
            if items and (file.text, file.cursor) == (asked.text, asked.cursor):
                file.shown = (file.text, file.cursor, items[0] if asked.inline else edit_of(items[0]))

    def check_item(self, asked: Asked, item: dict[str, Any]) -> None:
        plain_item = item if asked.inline else edit_of(item)
        ends = plain_item["range"]
        start, end = (self.offset(asked.text, ends[which]) for which in ("start", "end"))
        assert start <= asked.cursor <= end and ends["start"]["line"] == ends["end"]["line"]
        new, rest = plain_item["insertText"], asked.text[end:]
        assert new != asked.text[start:end]
        if not asked.inline:
            assert item["filterText"].startswith(asked.text[start : asked.cursor]) and item["label"].strip()
            assert "\n" not in item["filterText"] + item["label"] and "\r" not in item["filterText"] + item["label"]
            assert new.startswith(asked.text[start : asked.cursor])
        # Brackets that the editor has closed may stay where they are, if the answer has none of the kind.
        closers = len(rest) - len(rest.lstrip("".join(set(")]") - set(new))))
        made = [plain(asked.text[:start] + new + rest[left:]) for left in range(closers + 1)]
        assert not self.speaker.meant.isdisjoint(made), f"{made[0]!r} was never meant"


def edit_of(item: dict[str, Any]) -> dict[str, Any]:
    return {"range": item["textEdit"]["range"], "insertText": item["textEdit"]["newText"]}


class Editor(Client):
    """What people do in an editor, one method a thing; `much` says how much of it."""

    def __init__(self, server: PassServer, speaker: Speaker, texts: tuple[str, ...]) -> None:
        super().__init__(server, speaker)
        self.files = [File(f"file:///{next(NUMBERS)}.py", text, cursor_in(text)) for text in texts]
        self.file = self.files[0]
        for file in self.files:
            self.open(file)

    def along(self, much: int) -> None:
        """Type what the engine says, or would say; the editor closes brackets, and types over its own."""
        file, spelt = self.file, SPELT.replace("\n", "\r\n") if "\r\n" in self.file.text else SPELT
        begun = max(at for at in range(len(spelt)) if file.text[: file.cursor].endswith(spelt[:at]))
        for letter in re.findall(r"\r\n|.", spelt[begun:], re.DOTALL)[: 1 + much]:
            if letter in ")]" and file.text[file.cursor : file.cursor + 1] == letter:
                self.change(file, (file.cursor, file.cursor + 1, letter))
                continue
            closed = letter + {"(": ")", "[": "]"}.get(letter, "") if much % 2 else letter
            self.change(file, (file.cursor, file.cursor, closed))
            file.cursor -= len(closed) - len(letter)

    def type(self, much: int) -> None:
        letter = ("z", "f", "\n", "#", "\u2028", "\U0001f600", "\u0301", "(", "z f", "\t")[much % 10]
        if "\r\n" in self.file.text:
            letter = letter.replace("\n", "\r\n")
        self.change(self.file, (self.file.cursor, self.file.cursor, letter))

    def back(self, much: int) -> None:
        file = self.file
        for _ in range(1 + much % 3):
            gone = 2 if file.text[: file.cursor].endswith("\r\n") else 1
            if file.cursor:
                self.change(file, (file.cursor - gone, file.cursor, ""))

    def undo(self, much: int) -> None:
        file = self.file
        for _ in range(1 + much % 3):
            if file.past:
                text, cursor = file.past.pop()
                self.change(file, (0, len(file.text), text), whole=bool(much % 2))
                file.past.pop()
                file.cursor = cursor

    def accept(self, much: int) -> None:
        """All of what is shown, or the first characters of it."""
        file = self.file
        if file.shown is None or file.shown[:2] != (file.text, file.cursor):
            return
        item = file.shown[2]
        start, end = (self.offset(file.text, item["range"][which]) for which in ("start", "end"))
        if much % 2:
            self.change(file, (start, end, item["insertText"]))
            file.cursor = start + len(item["insertText"])
        elif start == file.cursor:
            part = item["insertText"][: 1 + much]
            self.change(file, (start, start, part.removesuffix("\r")))
        if "command" in item:
            command = item["command"]
            self.call("workspace/executeCommand", {"command": command["command"], "arguments": command["arguments"]})

    def stop(self, much: int) -> None:
        self.cancel(self.file)

    def above(self, much: int) -> None:
        """A line is put in far above, alone or with several cursors at once."""
        file = self.file
        header = HEADER.replace("\n", "\r\n") if "\r\n" in file.text else HEADER
        edits = [(file.cursor, file.cursor, "f")] if much % 2 else []
        self.change(file, *edits, (0, 0, header))

    def move(self, much: int) -> None:
        file = self.file
        places = Buffer("utf-32", file.text).places()
        near = places.index(file.cursor) + (much - 4)
        file.cursor = places[max(0, min(near, len(places) - 1))]

    def configure(self, much: int) -> None:
        self.send("workspace/didChangeConfiguration", {"settings": {"firstTextMs": much % 2}})

    def reopen(self, much: int) -> None:
        if self.file.open:
            self.close(self.file)
        if much % 3:
            self.open(self.file, "go")

    def nothing(self, much: int) -> None:
        """Only ask."""

    def other(self, much: int) -> None:
        self.file = self.files[much % len(self.files)]


def cursor_in(text: str) -> int:
    found = re.search(r"x = (?=[\r\n]|$)|foo\((?=\))|= (?=\r?\n)", text)
    assert found is not None
    return found.end()


@dataclass(frozen=True)
class Step:
    """A thing that an editor does, how it asks then, and how many letters the engine says (None: all in one packet)."""

    does: str
    much: int
    asks: str
    letters: int | None


DOES = (
    "along",
    "along",
    "along",
    "along",
    "type",
    "back",
    "back",
    "undo",
    "accept",
    "accept",
    "above",
    "above",
    "move",
)
DOES += ("nothing", "stop", "configure", "reopen", "other")
ASKS = ("typing", "typing", "typing", "key", "key", "hand", "menu", "chosen", "not")
STEPS = st.builds(
    Step,
    st.sampled_from(DOES),
    st.integers(0, 9),
    st.sampled_from(ASKS),
    st.sampled_from((None, None, 0, 1, 4, 40, 40)),
)


@pytest.fixture(scope="module")
def stage() -> Iterator[tuple[asyncio.AbstractEventLoop, PassServer, Speaker]]:
    """A server in this process, and its engine."""
    loop = asyncio.new_event_loop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ahead, "_QUIET_S", 0.0)
        patch.setattr(completer, "_KEY_S", 0.0)
        patch.setattr(flight, "time", SimpleNamespace(monotonic=lambda: 1e9))  # whatever has a time is due

        async def begin() -> tuple[PassServer, Speaker]:
            speaker = Speaker()
            flow = Flow(speaker.complete, lambda *_, **__: None, speaker.alternatives)
            plain = Settings(first_text_ms=0, deadline_ms=0, manual_deadline_ms=0, debounce_ms=0, ledger=False)
            server = create_server(lambda settings, report: object(), plain, flow=flow)  # type: ignore[arg-type, return-value]
            server.protocol.receive(
                b'{"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"capabilities": {}}}'
            )
            server.protocol.receive(b'{"jsonrpc": "2.0", "method": "initialized", "params": {}}')
            while server.session.status.as_dict()["busy"]:
                await asyncio.sleep(0.001)
            return server, speaker

        server, speaker = loop.run_until_complete(begin())
        yield loop, server, speaker
        speaker.go.release(1000)
        server.session.worker.close(5)
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


async def play(editor: Editor, steps: list[Step]) -> None:
    for step in steps:
        if step.asks == "key":  # VS Code cancels, tells the key and asks
            editor.cancel(editor.file)
        if step.does in ("reopen", "other") or editor.file.open:
            getattr(editor, step.does)(step.much)
        if step.asks != "not":
            editor.ask(editor.file, step.asks, "zap" if step.asks == "chosen" else "")
        if step.letters is not None:
            await editor.speak(step.letters)
            editor.check()
    for file in editor.files:
        await editor.speak(100)
        if file.open:
            editor.close(file)
    await editor.speak(100)
    editor.check()
    assert set(editor.answers) == set(editor.called), "not all are answered"


# A line comes in far above while the engine speaks; and what it says is typed along meanwhile.
@example("utf-16", [TEXTS[-1]], True, [Step("nothing", 0, "typing", 1), Step("above", 0, "typing", 40)])
@example(
    "utf-8",
    [TEXTS[0]],
    False,
    [Step("nothing", 0, "typing", 4), Step("along", 3, "key", 1), Step("along", 1, "key", 40)],
)
@settings(max_examples=100, derandomize=True)
@given(
    st.sampled_from(("utf-8", "utf-16", "utf-32")),
    st.lists(st.sampled_from(TEXTS), min_size=1, max_size=2),
    st.booleans(),
    st.lists(STEPS, min_size=4, max_size=20),
)
def test_each_request_is_answered_once_in_order_and_with_what_was_meant(
    stage: Any, encoding: Any, texts: list[str], windows: bool, steps: list[Step]
) -> None:
    loop, server, speaker = stage

    async def main() -> None:
        server.session.documents.encoding = encoding
        speaker.meant.clear()
        made = tuple(text.replace("\n", "\r\n") if windows else text for text in texts)
        await play(Editor(server, speaker, made), steps)

    loop.run_until_complete(asyncio.wait_for(main(), 60))
