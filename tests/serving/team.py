"""A deployed engine, as its users see it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Any

from tests.serving.conftest import wait_for

LONG = {"prompt": "x = [1, 1, 1, 1, 1, 1, ", "max_tokens": 900, "strategy": "autoregressive", "stream": True}
SHORT = {"prompt": "x = [1, 1, 1, ", "max_tokens": 4}


class Team:
    """The deployed engine; a new connection for each request."""

    def __init__(self, port: int, config: Path, process: subprocess.Popen[bytes]) -> None:
        self.port, self.config, self.process = port, config, process

    def wait_ready(self, log: Path) -> None:
        """Until the replicas serve; the command must not have failed before."""

        def ready() -> bool:
            assert not self.process.poll(), log.read_text()
            with contextlib.suppress(OSError, HTTPException), self.ask("/health", timeout_s=5) as response:
                return response.status == 200
            return False

        wait_for(ready, 180)

    @contextlib.contextmanager
    def ask(self, path: str, body: Any = None, session: str = "", timeout_s: float = 60) -> Iterator[HTTPResponse]:
        with contextlib.closing(HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)) as connection:
            headers = {"x-session-id": session} if session else {}
            connection.request("POST" if body else "GET", path, json.dumps(body) if body else None, headers)
            with contextlib.closing(connection.getresponse()) as response:
                yield response

    def complete(self, session: str = "", body: Any = SHORT, timeout_s: float = 60) -> tuple[int, int]:
        """Status and the replica's process."""
        with self.ask("/v1/completions", body, session, timeout_s) as response:
            response.read()
            return response.status, int(response.headers.get("x-replica", 0))

    def replicas(self) -> set[int]:
        return {self.complete(f"session {number}")[1] for number in range(12)}

    def context_length(self) -> int:
        with self.ask("/v1/engine") as response:
            return json.loads(response.read())["context_length"]

    def figure(self, name: str) -> dict[str, float]:
        """By the process of a replica."""
        with self.ask("/metrics") as response:
            lines = response.read().decode().splitlines()
        found = [re.fullmatch(rf'{name}{{replica="[^"]+:(\d+)"}} (\S+)', line) for line in lines]
        return {each[1]: float(each[2]) for each in found if each}


def deploy(*arguments: str, home: Path, out: IO[bytes], **env: str) -> subprocess.Popen[bytes]:
    """The real command, in a session of its own, with `home` for its caches and nothing known of any Ray."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "PASS_LSP_"))}
    command = [sys.executable, "-m", "pass_lsp", "deploy", *arguments]
    environment = clean | {"HOME": str(home), "XDG_CACHE_HOME": str(home)} | env
    return subprocess.Popen(command, stdout=out, stderr=out, env=environment, start_new_session=True)


def write_plan(config: Path, **settings: object) -> None:
    """The file of `pass-lsp deploy`; JSON's values are TOML's here."""
    config.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items()))


def free_port() -> int:
    """One that nobody is given by chance before it is used, which is after Ray has opened dozens."""
    while True:
        # Below what Linux gives by itself (32768), and above what Ray listens on by default (10002 to 19999).
        port = random.randrange(20_000, 32_768)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@contextlib.contextmanager
def deployed(config: Path, port: int) -> Iterator[Team]:
    """What the real command makes of a file, until it is told to end, which it does well."""
    log = config.with_name("log")
    with log.open("wb") as out:
        process = deploy("--config", str(config), home=config.parent, out=out)
    try:
        team = Team(port, config, process)
        team.wait_ready(log)
        # The first of them answers already while another still loads, and all sessions would be the first's.
        replicas = tomllib.loads(config.read_text())["replicas"]
        wait_for(lambda: len(team.replicas()) == replicas, 90)
        yield team
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
