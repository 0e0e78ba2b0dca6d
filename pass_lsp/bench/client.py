"""A language client of its own, over stdio, that knows nothing of the server's code: what an editor would send.

A thread reads, so that answers have the time at which they came, whatever the caller is doing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pass_lsp.config import Settings
from pass_lsp.errors import EngineError, PassLspError
from pass_lsp.reasons import Reason

READY_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply and when it came, in seconds of `time.perf_counter`; `turn` counts replies."""

    message: dict[str, Any]
    at_s: float
    turn: int

    @property
    def result(self) -> Any:
        """What was answered. Raises `PassLspError` for an error."""
        if "error" in self.message:
            raise PassLspError(f"The server refused a request: {self.message['error'].get('message')}.")
        return self.message.get("result")


class Client:
    """Starts `pass-lsp serve --stdio` and talks to it; use it as a context manager."""

    def __init__(self, options: list[str], root: Path, settings: dict[str, Any] | None = None) -> None:
        command = [sys.executable, "-m", "pass_lsp", "serve", "--stdio", "--log-level", "error", *options]
        self.server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root)
        self.status: dict[str, Any] = {}
        self.answers: dict[int, Answer] = {}
        self._changed = threading.Condition()
        self._ended = False
        self._last_id = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        capabilities = {
            "textDocument": {"inlineCompletion": {}},
            "general": {"positionEncodings": ["utf-32", "utf-16"]},
        }
        # What a benchmark types is not what the user types, so it stays out of the user's ledger, and the user's file
        # decides nothing. Every answer is decoded to its end: one that is hidden as unsure costs less.
        options_of_ours = {**asdict(Settings()), "ledger": False, "hide_unsure": False, **(settings or {})}
        self.request(
            "initialize",
            {
                "processId": None,
                "rootUri": root.as_uri(),
                "capabilities": capabilities,
                "initializationOptions": options_of_ours,
            },
        )
        self.notify("initialized", {})

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.request("shutdown", None)
            self.notify("exit", None)
            self.server.wait(10)
        except (PassLspError, OSError, subprocess.TimeoutExpired):
            self.server.kill()
        self.server.wait()
        self._reader.join()
        for pipe in (self.server.stdin, self.server.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]

    # --- out ------------------------------------------------------------------

    def ask(self, method: str, params: Any) -> int:
        """Send a request; its id."""
        self._last_id += 1
        self._send({"id": self._last_id, "method": method, "params": params})
        return self._last_id

    def request(self, method: str, params: Any) -> Any:
        """Send a request and wait for its answer. Raises `PassLspError` for an error reply or a dead server."""
        return self.wait(self.ask(method, params)).result

    def notify(self, method: str, params: Any) -> None:
        """Send a notification."""
        self._send({"method": method, "params": params})

    def open(self, uri: str, text: str, language: str = "python") -> None:
        """Open a document."""
        item = {"uri": uri, "languageId": language, "version": 1, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": item})

    def change(self, uri: str, version: int, start: tuple[int, int], end: tuple[int, int], text: str) -> None:
        """Replace what lies between two positions (line, character) by `text`."""
        place = [{"line": line, "character": character} for line, character in (start, end)]
        change = {"range": {"start": place[0], "end": place[1]}, "text": text}
        target = {"uri": uri, "version": version}
        self.notify("textDocument/didChange", {"textDocument": target, "contentChanges": [change]})

    def ask_inline(self, uri: str, line: int, character: int) -> int:
        """Ask for what belongs at a position, as after a key; the id of the request."""
        place = {"textDocument": {"uri": uri}, "position": {"line": line, "character": character}}
        return self.ask("textDocument/inlineCompletion", {**place, "context": {"triggerKind": 2}})

    def inline_completion(self, uri: str, line: int, character: int) -> list[dict[str, Any]]:
        """The items at a position."""
        return items_of(self.wait(self.ask_inline(uri, line, character)))

    # --- in -------------------------------------------------------------------

    def wait(self, msg_id: int) -> Answer:
        """The answer to a request. Raises `PassLspError` if none comes."""
        self._until(lambda: msg_id in self.answers)
        return self.answers[msg_id]

    def wait_ready(self) -> None:
        """Wait until the model is loaded. Raises `PassLspError` when it cannot be."""
        self._until(lambda: not self.status.get("busy", True))
        if self.status.get("kind") == "Error":
            raise PassLspError(str(self.status.get("message")))

    def check_engine(self) -> None:
        """Raises `EngineError` where an engine elsewhere gives no answers: there is nothing to measure then."""
        told = self.request("pass-lsp/status", None)
        if told["reason"] == Reason.ENGINE_AWAY.value:
            raise EngineError(told["message"])

    def _until(self, holds: Callable[[], bool]) -> None:
        limit = time.monotonic() + READY_SECONDS
        with self._changed:
            while not holds():
                if self._ended:
                    raise PassLspError("The server ended unexpectedly; see its log above.")
                if not self._changed.wait(limit - time.monotonic()):
                    raise PassLspError(f"The server did not answer within {READY_SECONDS:.0f} s; see its log.")

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.server.stdin is not None
        try:
            self.server.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
            self.server.stdin.flush()
        except OSError as error:
            raise PassLspError("The server ended unexpectedly; see its log above.") from error

    def _read(self) -> None:
        stdout = self.server.stdout
        assert stdout is not None
        while header := stdout.readline():
            length = int(header.split(b":")[1])
            stdout.readline()
            body, at_s = stdout.read(length), time.perf_counter()
            with self._changed:
                self._take(json.loads(body), at_s)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _take(self, message: dict[str, Any], at_s: float) -> None:
        if message.get("method") == "didChangeStatus":
            self.status = message["params"]
        elif "id" in message and "method" in message:
            self._send({"id": message["id"], "result": None})
        elif "id" in message:
            self.answers[message["id"]] = Answer(message, at_s, len(self.answers))


def items_of(answer: Answer) -> list[dict[str, Any]]:
    """The items of an inline completion; none if another request took its place."""
    result = answer.result
    return result if isinstance(result, list) else (result or {}).get("items", [])
