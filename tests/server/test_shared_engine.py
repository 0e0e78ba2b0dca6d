"""Three language servers and the engine that they share: all of them the real binary."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.server.rawlsp import PYTHON, RawClient
from tests.server.test_engine_elsewhere import TEXT, status

LIMIT_S = 180.0
"""For loading a model, three windows at once."""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A folder for sockets, with a name that is short enough; its engines end with it."""
    pytest.importorskip("uvicorn", reason="the extra [serve] is not installed")
    folder = Path(tempfile.mkdtemp(prefix="pass"))
    yield folder
    for process in engines(folder):
        process.kill()
        process.wait()
    shutil.rmtree(folder)


@pytest.fixture
def editors(runtime: Path, model_dir: Path, tmp_path: Path, log: Path) -> Iterator[list[RawClient]]:
    """Three windows that open at the same moment."""
    command = [
        PYTHON,
        "-m",
        "pass_lsp",
        "serve",
        "--engine",
        "shared",
        "--model",
        str(model_dir),
        "--lookahead",
        "none",
    ]
    env = {"XDG_RUNTIME_DIR": str(runtime), "XDG_CONFIG_HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
    env["XDG_CACHE_HOME"] = str(tmp_path)
    clients = [RawClient.spawn(command, log, env) for _ in range(3)]
    for client in clients:
        client.initialize()
    for client in clients:
        client.until(client.settled, LIMIT_S)
        client.open(TEXT)
    yield clients
    for client in clients:
        client.clean_up()


def engines(folder: Path) -> list[psutil.Process]:
    """The engines that serve a socket in a folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = process.info["cmdline"] or []
        if (
            "engine" in line
            and any(part.startswith(str(folder)) for part in line)
            and process.info["status"] != "zombie"
        ):
            found.append(process)
    return found


def answered(client: RawClient) -> bool:
    """Whether the model of the engine was asked: a random one rarely says anything worth showing."""
    client.complete(1, 11)
    return status(client)["reason"] != "engine-away"


def test_three_windows_hold_one_model_that_outlives_them_and_its_own_death(
    editors: list[RawClient], runtime: Path
) -> None:
    assert all(answered(client) for client in editors)
    for client in editors:
        answers = client.call("pass-lsp/answers")["result"]["answers"]
        assert any(each.get("log_prob", 0) < 0 for each in answers), "a random model is sure of nothing"
    [engine] = engines(runtime)
    for client in editors:
        assert client.process is not None
        loaded = {Path(file.path).name.partition(".")[0] for file in psutil.Process(client.process.pid).memory_maps()}
        assert not any("torch" in name for name in loaded)
    for client in editors[:2]:
        client.clean_up()
    assert answered(editors[2])
    os.kill(engine.pid, signal.SIGKILL)
    client, end, version, said = editors[2], time.monotonic() + LIMIT_S, 2, set[str]()
    while not (said and answered(client)):
        logs = [file.read_text() for file in runtime.glob("*/*.log")]
        assert time.monotonic() < end, (said, logs)
        client.change(version, {"text": TEXT + "\n" * version})
        if not answered(client):
            said.add(status(client)["message"])
        version += 1
        time.sleep(0.1)
    expected = ("started again", "broke off", "being loaded")
    assert all(any(part in each for part in expected) for each in said), said
    assert len(engines(runtime)) == 1
