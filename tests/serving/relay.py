"""Between a client and a port: passes every byte on, and when armed kills the replica whose answer has begun."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import threading
import time

_REPLICA = re.compile(rb"x-replica: (\d+)")
_BEGUN = re.compile(rb'"token_ids": \[\d')
_LONG = re.compile(rb'"max_tokens": ?\d\d')


class Relay:
    """Listens at `url`; `torn` says that the killed replica's answer came without its end."""

    def __init__(self, port: int) -> None:
        self.armed, self.torn = False, False
        self.killed, self.killed_s = 0, 0.0
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                _Pair(self, client, socket.create_connection(("127.0.0.1", self._port)))

    def heard(self, asked: bytes, answer: bytes) -> bool:
        """Whether this answer's replica was killed now: it has said a token of a completion that somebody awaits."""
        if not (self.armed and _LONG.search(asked) and _BEGUN.search(answer)) or b"[DONE]" in answer:
            return False
        found = _REPLICA.search(answer)
        assert found
        self.armed, self.killed = False, int(found[1])
        os.kill(self.killed, signal.SIGKILL)
        self.killed_s = time.monotonic()
        return True


class _Pair:
    """One connection, a thread for each direction."""

    def __init__(self, relay: Relay, client: socket.socket, server: socket.socket) -> None:
        self._relay, self._client, self._server = relay, client, server
        self._asked = self._answer = b""
        self._left = False
        for way in (self._up, self._down):
            threading.Thread(target=way, daemon=True).start()

    def _up(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._client.recv(65536):
                self._asked = data if data.startswith((b"POST ", b"GET ")) else self._asked + data
                self._answer = b""
                self._server.sendall(data)
        self._left = True
        self._end()

    def _down(self) -> None:
        killed = False
        with contextlib.suppress(OSError):
            while data := self._server.recv(65536):
                self._answer += data
                killed = self._relay.heard(self._asked, self._answer) or killed
                self._client.sendall(data)
        if killed:
            self._relay.torn = not self._left and b"[DONE]" not in self._answer
        self._end()

    def _end(self) -> None:
        for end in (self._client, self._server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
