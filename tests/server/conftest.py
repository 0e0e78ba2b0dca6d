"""Servers under test: the real process, with a scripted engine."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server.rawlsp import LIMIT_S, PYTHON, RawClient

COMMAND = [PYTHON, "-m", "tests.server.fake_server"]
ROOT = Path(__file__).parents[2]

Start = Callable[..., RawClient]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the server's stderr goes."""
    return tmp_path / "server.log"


@pytest.fixture
def start(tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts servers on stdio and ends them after the test."""
    monkeypatch.chdir(ROOT)
    clients: list[RawClient] = []

    def spawn(*arguments: str, **env: str) -> RawClient:
        clients.append(RawClient.spawn([*COMMAND, *arguments], log, {**private(tmp_path), **env}))
        return clients[-1]

    yield spawn
    for client in clients:
        client.clean_up()


@pytest.fixture
def start_tcp(tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """The same over TCP; the server picks the port and logs it."""
    monkeypatch.chdir(ROOT)
    clients: list[RawClient] = []

    def spawn(*before: str) -> RawClient:
        env = {**os.environ, **private(tmp_path)}
        with log.open("ab") as errors:
            command = [*before, *COMMAND, "--tcp"]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=errors, env=env)
        clients.append(RawClient.connect(port_in(log), process))
        return clients[-1]

    yield spawn
    for client in clients:
        client.clean_up()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RawClient]:
    """One ready server for all tests of a module; at the end everything on its wire must have been right."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        client = RawClient.spawn(COMMAND, folder / "server.log", private(folder))
        client.initialize("utf-16")
        client.ready()
        yield client
        client.close()


def private(folder: Path) -> dict[str, str]:
    """Where a server under test keeps what belongs to the user."""
    return {"XDG_CONFIG_HOME": str(folder), "XDG_STATE_HOME": str(folder)}


def port_in(log: Path) -> int:
    """The port that the server logged, as soon as it has."""
    end = time.monotonic() + LIMIT_S
    while not (found := re.search(r"Listening on [\d.]+:(\d+)", log.read_text())):
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.02)
    return int(found[1])
