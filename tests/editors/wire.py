"""Stands between an editor and its server and writes down what passes: `wire.py LOG COMMAND...`.

One JSON line a message: who sent it, and the message. Bytes go through as they are.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO


def held(log: Path) -> Path:
    """A file; as long as it is there, what the client sends is written down and waits."""
    return log.with_suffix(".held")


def pump(source: BinaryIO, target: BinaryIO, who: str, log: Path) -> None:
    """Write frames down and hand them on, until the source ends."""
    bodies: SimpleQueue[bytes | None] = SimpleQueue()
    handing_on = threading.Thread(target=hand_on, args=(bodies, target, who, log), daemon=True)
    handing_on.start()
    while header := source.readline():
        length = 0
        while header.strip():
            name, _, value = header.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
            header = source.readline()
        body = source.read(length)
        line = json.dumps({"from": who, "message": json.loads(body)}) + "\n"
        handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, line.encode())
        os.close(handle)
        bodies.put(body)
    bodies.put(None)
    handing_on.join()


def hand_on(bodies: SimpleQueue[bytes | None], target: BinaryIO, who: str, log: Path) -> None:
    """Write bodies to the other side, as frames, until there is None; all that wait in one go."""
    waiting = [bodies.get()]
    while waiting[0] is not None:
        while who == "client" and held(log).exists():
            time.sleep(0.01)
        while not bodies.empty() and waiting[-1] is not None:
            waiting.append(bodies.get())
        frames = [b"Content-Length: %d\r\n\r\n%b" % (len(body), body) for body in waiting if body is not None]
        target.write(b"".join(frames))
        target.flush()
        waiting = waiting[-1:] if waiting[-1] is None else [bodies.get()]


def main(log: str, *command: str) -> int:
    """Run the command behind the wire; its exit code."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin and server.stdout
        signal.signal(signal.SIGTERM, lambda *_: server.terminate())
        upwards = (sys.stdin.buffer, server.stdin, "client", Path(log))

        def follow() -> None:
            pump(*upwards)
            upwards[1].close()

        threading.Thread(target=follow, daemon=True).start()
        pump(server.stdout, sys.stdout.buffer, "server", Path(log))
    return server.returncode


class Wire:
    """What has passed since the server was started last, or since `forget`."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._forgotten = 0
        self._seen: list[dict[str, Any]] = []
        self._read = 0

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Keep what the client sends from the server, to hand it over all at once."""
        held(self.log).touch()
        try:
            yield
        finally:
            held(self.log).unlink()

    def forget(self) -> None:
        """Look only at what comes from now on."""
        self._forgotten = len(self._all())

    def messages(self, who: str, method: str | None = None) -> list[dict[str, Any]]:
        """All that `who` sent, in order; of one method, if that is named."""
        sent = [entry["message"] for entry in self._entries() if entry["from"] == who]
        return [message for message in sent if method is None or message.get("method") == method]

    def everything(self, who: str) -> list[dict[str, Any]]:
        """All that `who` ever sent."""
        return [entry["message"] for entry in self._all() if entry["from"] == who]

    def starts(self) -> int:
        """How often the server was started."""
        return sum(entry["message"].get("method") == "initialize" for entry in self._all())

    def answers(self, method: str) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
        """Each request of the client's with what it was answered, None as long as it is not."""
        replies = {message["id"]: message for message in self.messages("server") if "method" not in message}
        return [(asked, replies.get(asked["id"])) for asked in self.messages("client", method)]

    def items(self, method: str = "textDocument/inlineCompletion") -> list[dict[str, Any]]:
        """The first item of every answer that has one, in order."""
        found = []
        for _, reply in self.answers(method):
            result = (reply or {}).get("result") or []
            items = result["items"] if isinstance(result, dict) else result
            found += items[:1]
        return found

    def offered(self, line: int, character: int) -> dict[str, Any] | None:
        """The first item for the newest inline request, if that was made at this place and has one."""
        answers = self.answers("textDocument/inlineCompletion")
        asked, reply = answers[-1] if answers else ({}, None)
        items = ((reply or {}).get("result") or {}).get("items") or []
        here = asked and asked["params"]["position"] == {"line": line, "character": character}
        return items[0] if here and items else None

    def complaints(self) -> list[str]:
        """What the server showed to the user or said went wrong, and all errors but for the client's own cancels."""
        said = [message["params"]["message"] for message in self.messages("server", "window/showMessage")]
        states = [message["params"] for message in self.messages("server", "didChangeStatus")]
        said += [state["message"] for state in states if state["kind"] in ("Warning", "Error")]
        errors = [message["error"] for message in self.messages("server") if "error" in message]
        return said + [error["message"] for error in errors if error["code"] != -32800]

    def ready(self) -> bool:
        """Whether the server has said that its model is there."""
        said = [entry["message"] for entry in self._all()[self._start() :]]
        states = [message["params"] for message in said if message.get("method") == "didChangeStatus"]
        return bool(states) and states[-1]["kind"] == "Normal" and not states[-1]["busy"]

    def _all(self) -> list[dict[str, Any]]:
        if self.log.exists():
            with self.log.open("rb") as log:
                log.seek(self._read)
                whole = log.read().rpartition(b"\n")[0]
            if whole:
                self._read += len(whole) + 1
                self._seen += map(json.loads, whole.split(b"\n"))
        return self._seen

    def _start(self) -> int:
        """Where the last start of the server is."""
        begins = [at for at, entry in enumerate(self._all()) if entry["message"].get("method") == "initialize"]
        return begins[-1] if begins else 0

    def _entries(self) -> list[dict[str, Any]]:
        return self._all()[max(self._forgotten, self._start()) :]


if __name__ == "__main__":
    code = main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # the thread may hold on to stdin, which the interpreter would wait for
