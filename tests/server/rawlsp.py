"""A small LSP client that shares no code with the server, so that it can see the server's mistakes.

Every answer is kept with the order in which it came; a second answer to one id, or any byte
on stdout that is no frame, is an error that `close` reports.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

LIMIT_S = 30.0
URI = "file:///work/sample.py"


def framed(message: Any) -> bytes:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def span(start_line: int, start: int, end_line: int, end: int) -> dict[str, Any]:
    return {
        "start": {"line": start_line, "character": start},
        "end": {"line": end_line, "character": end},
    }


class RawClient:
    """Talks JSON-RPC over two binary streams; a thread reads."""

    def __init__(self, reader: BinaryIO, writer: BinaryIO, process: subprocess.Popen[bytes] | None = None) -> None:
        self.process = process
        self.answers: dict[Any, dict[str, Any]] = {}
        self.order: list[Any] = []
        self.nameless: list[dict[str, Any]] = []
        self.notes: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.results: dict[str, Any] = {}
        self.faults: list[str] = []
        self.ended = False
        self.hold = threading.Event()
        """While it is not set, nothing is read."""
        self.hold.set()
        self._reader, self._writer = reader, writer
        self._connection: socket.socket | None = None
        self._next_id = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @classmethod
    def spawn(cls, command: Sequence[str], log: Path, env: dict[str, str] | None = None) -> RawClient:
        with log.open("ab") as errors:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **(env or {})},
            )
        assert process.stdin and process.stdout
        return cls(process.stdout, process.stdin, process)  # type: ignore[arg-type]

    @classmethod
    def connect(cls, port: int, process: subprocess.Popen[bytes] | None = None) -> RawClient:
        connection = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)
        connection.settimeout(None)
        reader, writer = connection.makefile("rb"), connection.makefile("wb")
        client = cls(reader, writer, process)  # type: ignore[arg-type]
        client._connection = connection
        return client

    # --- out ---------------------------------------------------------------

    def write(self, data: bytes) -> None:
        self._writer.write(data)
        self._writer.flush()

    def send(self, *messages: Any) -> None:
        """All in one packet."""
        self.write(b"".join(framed(message) for message in messages))

    def message(self, method: str, params: Any = None) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "method": method, "params": params}

    def request(self, method: str, params: Any = None) -> dict[str, Any]:
        self._next_id += 1
        return {**self.message(method, params), "id": self._next_id}

    def ask(self, method: str, params: Any = None) -> int:
        message = self.request(method, params)
        self.send(message)
        return message["id"]

    def call(self, method: str, params: Any = None) -> dict[str, Any]:
        return self.wait(self.ask(method, params))

    def notify(self, method: str, params: Any = None) -> None:
        self.send(self.message(method, params))

    # --- in ----------------------------------------------------------------

    def until(self, holds: Callable[[], Any], limit_s: float = LIMIT_S) -> Any:
        """Wait for what `holds` returns to be true; fails at the limit."""
        end = time.monotonic() + limit_s
        with self._changed:
            while not (value := holds()):
                left = end - time.monotonic()
                assert left > 0, f"not within {limit_s} s; faults {self.faults}, last notes {self.notes[-3:]}"
                self._changed.wait(min(left, 0.05))
            return value

    def wait(self, msg_id: Any, limit_s: float = LIMIT_S) -> dict[str, Any]:
        return self.until(lambda: self.answers.get(msg_id), limit_s)

    def noted(self, method: str) -> list[Any]:
        return [note["params"] for note in self.notes if note["method"] == method]

    # --- the usual steps ------------------------------------------------------

    def initialize(self, *encodings: str, **params: Any) -> dict[str, Any]:
        capabilities = params.pop("capabilities", {})
        if encodings:
            capabilities = {**capabilities, "general": {"positionEncodings": list(encodings)}}
        whole = {"processId": None, "rootUri": None, "capabilities": capabilities, **params}
        answer = self.call("initialize", whole)
        self.notify("initialized", {})
        return answer

    def ready(self) -> None:
        """Wait for the engine."""
        self.until(lambda: any(not status["busy"] for status in self.noted("didChangeStatus")))

    def settled(self) -> bool:
        """Whether the model is loaded, or cannot be."""
        return any(not status["busy"] and status["reason"] != "disabled" for status in self.noted("didChangeStatus"))

    def open(self, text: str, uri: str = URI, language: str = "python") -> None:
        item = {"uri": uri, "languageId": language, "version": 1, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": item})

    def change_message(self, version: int, *changes: Any, uri: str = URI) -> dict[str, Any]:
        params = {"textDocument": {"uri": uri, "version": version}, "contentChanges": list(changes)}
        return self.message("textDocument/didChange", params)

    def change(self, version: int, *changes: Any, uri: str = URI) -> None:
        self.send(self.change_message(version, *changes, uri=uri))

    def inline(self, line: int = 0, character: int = 0, uri: str = URI) -> dict[str, Any]:
        """The message of an inline completion request, not yet sent."""
        params = {
            "textDocument": {"uri": uri},
            "position": {"line": line, "character": character},
            "context": {"triggerKind": 2},
        }
        return self.request("textDocument/inlineCompletion", params)

    def complete(self, line: int = 0, character: int = 0, uri: str = URI) -> Any:
        message = self.inline(line, character, uri)
        self.send(message)
        return self.wait(message["id"]).get("result", "no result")

    # --- the end ---------------------------------------------------------------

    def hang_up(self) -> None:
        """Close the server's input."""
        self._writer.close()

    def disconnect(self) -> None:
        """End a TCP connection while the server works."""
        assert self._connection is not None
        self._connection.shutdown(socket.SHUT_RDWR)

    def exit_code(self, limit_s: float = LIMIT_S) -> int:
        assert self.process is not None
        return self.process.wait(limit_s)

    def close(self) -> None:
        """Shut down as an editor does; everything that was wrong on the wire fails here."""
        assert "error" not in self.call("shutdown")
        self.notify("exit")
        if self.process is not None:
            assert self.exit_code() == 0
        self._thread.join(LIMIT_S)
        self.clean_up()
        assert self.faults == []

    def clean_up(self) -> None:
        """Leave nothing open; never fails."""
        self.hold.set()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._connection is not None and self.process is None:
            self.disconnect()
        self._thread.join(LIMIT_S)
        for stream in (self._writer, self._reader, self._connection):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()

    def _read(self) -> None:
        try:
            while self.hold.wait() and (message := self._one()) is not None:
                with self._changed:
                    self._sort(message)
                    self._changed.notify_all()
        except (OSError, ValueError) as error:
            self.faults.append(f"unreadable: {error!r}")
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def _one(self) -> Any:
        length = None
        while (line := self._reader.readline()) not in (b"\r\n", b""):
            if line.startswith(b"Content-Length: "):
                length = int(line[16:])
            else:
                self.faults.append(f"junk on the wire: {line!r}")
        return None if line == b"" or length is None else json.loads(self._reader.read(length))

    def _sort(self, message: dict[str, Any]) -> None:
        if message.get("jsonrpc") != "2.0":
            self.faults.append(f"no jsonrpc: {message}")
        if "method" in message and "id" in message:
            self.requests.append(message)
            self.send({"jsonrpc": "2.0", "id": message["id"], "result": self.results.get(message["method"])})
        elif "method" in message:
            self.notes.append(message)
        elif message["id"] is None:
            self.nameless.append(message)
        else:
            if message["id"] in self.answers:
                self.faults.append(f"answered twice: {message['id']}")
            if ("result" in message) == ("error" in message):
                self.faults.append(f"neither result nor error, or both: {message}")
            self.answers[message["id"]] = message
            self.order.append(message["id"])


PYTHON = sys.executable
