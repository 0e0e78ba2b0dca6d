"""A language client of its own, over stdio, that knows nothing of the server's code: what an editor would send."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from pass_lsp.errors import PassLspError

READY_SECONDS = 120.0


class Client:
    """Starts `pass-lsp serve --stdio` and talks to it; use it as a context manager."""

    def __init__(self, options: list[str], root: Path) -> None:
        command = [sys.executable, "-m", "pass_lsp", "serve", "--stdio", "--log-level", "error", *options]
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root)
        self._messages: Queue[dict[str, Any] | None] = Queue()
        self._last_id = 0
        self.status: dict[str, Any] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        capabilities = {
            "textDocument": {"inlineCompletion": {}},
            "general": {"positionEncodings": ["utf-32", "utf-16"]},
        }
        self.request("initialize", {"processId": None, "rootUri": root.as_uri(), "capabilities": capabilities})
        self.notify("initialized", {})

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.request("shutdown", None)
            self.notify("exit", None)
            self._server.wait(10)
        except (PassLspError, OSError, subprocess.TimeoutExpired):
            self._server.kill()
        self._server.wait()
        self._reader.join()
        for pipe in (self._server.stdin, self._server.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]

    def request(self, method: str, params: Any) -> Any:
        """Send a request and wait for its answer. Raises `PassLspError` for an error reply or a dead server."""
        self._last_id += 1
        self._send({"id": self._last_id, "method": method, "params": params})
        answer = self._wait(lambda message: message.get("id") == self._last_id and "method" not in message)
        if "error" in answer:
            raise PassLspError(f"The server refused {method}: {answer['error'].get('message')}.")
        return answer.get("result")

    def notify(self, method: str, params: Any) -> None:
        """Send a notification."""
        self._send({"method": method, "params": params})

    def wait_ready(self) -> None:
        """Wait until the model is loaded. Raises `PassLspError` when it cannot be."""
        while self.status.get("busy", True):
            self._wait(lambda message: message.get("method") == "didChangeStatus")
        if self.status.get("kind") == "Error":
            raise PassLspError(str(self.status.get("message")))

    def open(self, uri: str, text: str) -> None:
        """Open a Python document."""
        self.notify(
            "textDocument/didOpen", {"textDocument": {"uri": uri, "languageId": "python", "version": 1, "text": text}}
        )

    def insert(self, uri: str, version: int, line: int, character: int, text: str) -> None:
        """Type `text` at a position."""
        at = {"line": line, "character": character}
        change = {"range": {"start": at, "end": at}, "text": text}
        self.notify(
            "textDocument/didChange", {"textDocument": {"uri": uri, "version": version}, "contentChanges": [change]}
        )

    def inline_completion(self, uri: str, line: int, character: int) -> list[dict[str, Any]]:
        """The items at a position."""
        place = {"textDocument": {"uri": uri}, "position": {"line": line, "character": character}}
        result = self.request("textDocument/inlineCompletion", {**place, "context": {"triggerKind": 2}})
        return result if isinstance(result, list) else (result or {}).get("items", [])

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._server.stdin is not None
        self._server.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._server.stdin.flush()

    def _wait(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        limit = time.monotonic() + READY_SECONDS
        while True:
            try:
                message = self._messages.get(timeout=max(0.0, limit - time.monotonic()))
            except Empty:
                raise PassLspError(f"The server did not answer within {READY_SECONDS:.0f} s; see its log.") from None
            if message is None:
                raise PassLspError("The server ended unexpectedly; see its log above.")
            if message.get("method") == "didChangeStatus":
                self.status = message["params"]
            elif "id" in message and "method" in message:
                self._send({"id": message["id"], "result": None})
            if wanted(message):
                return message

    def _read(self) -> None:
        stdout = self._server.stdout
        assert stdout is not None
        while header := stdout.readline():
            length = int(header.split(b":")[1])
            stdout.readline()
            self._messages.put(json.loads(stdout.read(length)))
        self._messages.put(None)
