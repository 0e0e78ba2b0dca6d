"""One engine for all editors: started once whoever asks, private, found again after its death."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock
import psutil
import pytest

from pass_lsp.config import Settings
from pass_lsp.engines.shared import SharedEngine, _options
from pass_lsp.errors import ConfigError, EngineError

Share = Callable[..., SharedEngine]

# httpcore leaves a socket whose connection is refused to the garbage collector, which closes it.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def lives(tmp_path: Path) -> Path:
    return tmp_path / "lives"


@pytest.fixture
def share(tmp_path: Path, lives: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Share]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))

    def make(*how: str, settings: Settings = Settings()) -> SharedEngine:
        command = (sys.executable, "-m", "tests.engines.engine_process", "{socket}", str(lives), *how)
        return SharedEngine(settings, command, tmp_path / "run")

    yield make
    for pid in started(lives):
        end(pid)


def started(lives: Path) -> list[int]:
    return [int(line) for line in lives.read_text().split()] if lives.exists() else []


def end(pid: int) -> None:
    # It may end by itself between any two looks at it.
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        process.kill()
        process.wait(10)


def test_windows_that_open_at_once_start_one_engine(share: Share, lives: Path) -> None:
    engines, said = [share() for _ in range(5)], []
    threads = [threading.Thread(target=engine.ensure, args=(said.append,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(started(lives)) == 1 and said.count("Starting the shared engine") == 1
    assert len({engine.socket for engine in engines}) == 1
    share().ensure()
    assert len(started(lives)) == 1


def test_whoever_waits_for_another_window_to_start_it_may_give_up(share: Share, lives: Path) -> None:
    engine, said = share(), list[str]()

    def wait() -> None:
        with contextlib.suppress(GaveUp):
            engine.ensure(report)

    def report(message: str) -> None:
        said.append(message)
        if len(said) == 3:
            raise GaveUp

    with filelock.FileLock(engine.socket.with_suffix(".lock")):
        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        waiting.join(30)
        assert not waiting.is_alive() and set(said) == {"Waiting for the shared engine"}
    share().ensure()
    assert len(started(lives)) == 1


class GaveUp(Exception):
    """As a user does who does not want to wait for a model."""


def test_nobody_else_gets_near_it(share: Share, tmp_path: Path) -> None:
    engine = share()
    engine.ensure()
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700
    assert engine.socket.with_suffix(".log").stat().st_mode & 0o777 == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with pytest.raises(ConfigError, match="belongs to somebody else"):
        SharedEngine(Settings(), (), tmp_path / "link")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        SharedEngine(Settings(), (), tmp_path / "file")


def test_each_model_dtype_and_device_has_its_own(share: Share, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    kinds = [
        {},
        {"dtype": "int8"},
        {"device": "cuda"},
        {"model": "org/name"},
        {"model": "model"},
        {"lookahead": "none"},
        {"trust_remote_code": True},
    ]
    sockets = [share(settings=Settings(**kind)).socket for kind in kinds]
    assert len(set(sockets)) == len(kinds)
    assert share(settings=Settings(deadline_ms=5, engine="shared")).socket == sockets[0]
    assert share(settings=Settings(model=str(tmp_path / "model"))).socket == sockets[4]


def test_a_model_may_bring_its_code_only_where_the_user_said_so() -> None:
    assert _options(Settings(trust_remote_code=True)) == [*_options(Settings()), "--trust-remote-code"]


def test_a_folder_that_is_called_like_a_keyword_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _options(Settings()), _options(Settings(lookahead="none")), _options(Settings(lookahead="random"))
    for name in ("embedded", "auto", "none", "random"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    assert before == (
        _options(Settings()),
        _options(Settings(lookahead="none")),
        _options(Settings(lookahead="random")),
    )
    assert _options(Settings(model="auto"))[1] == str(tmp_path / "auto")


def test_a_stale_socket_is_removed(share: Share, lives: Path) -> None:
    engine = share()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(engine.socket))
    engine.ensure()
    assert len(started(lives)) == 1


def test_one_that_is_about_to_end_is_followed_by_another(share: Share, lives: Path) -> None:
    """It was idle: it listens no more, and its process is there for a moment longer."""
    engine = share()
    old = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    born = psutil.Process(old.pid).create_time()
    engine.socket.with_suffix(".pid").write_text(json.dumps([old.pid, born]))
    said: list[str] = []

    def report(what: str) -> None:
        said.append(what)
        if "loads" in what and old.returncode is None:
            assert "Starting the shared engine" not in said
            old.communicate()

    engine.ensure(report)
    assert len(started(lives)) == 1 and said.count("Starting the shared engine") == 1


def test_asking_how_it_is_reads_no_certificates(share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = share()
    engine.ensure()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("takes a tenth of a second, twenty times a second")

    monkeypatch.setattr(ssl, "create_default_context", refuse)
    engine.ensure()


def test_a_dead_engine_is_started_again_once(share: Share, lives: Path) -> None:
    engine = share()
    engine.ensure()
    end(started(lives)[0])
    with pytest.raises(EngineError, match="is being started again"):
        engine.revive()
    limit = time.monotonic() + 20
    while not engine._healthy():
        assert time.monotonic() < limit
        time.sleep(0.02)
    assert len(started(lives)) == 2
    assert engine._restart is not None
    engine._restart.join()
    end(started(lives)[1])
    with pytest.raises(EngineError, match="ended twice within a minute"):
        engine.revive()
    assert len(started(lives)) == 2


def test_one_that_cannot_start_says_why(share: Share, lives: Path) -> None:
    with pytest.raises(EngineError, match=r"did not start: The model is broken; choose another; see .*log"):
        share("crash").ensure()
    assert len(started(lives)) == 1


def test_and_says_it_again_to_who_asks_it(share: Share, lives: Path) -> None:
    engine = share("crash")
    with contextlib.suppress(EngineError):
        engine.ensure()
    with pytest.raises(EngineError, match="did not start: The model is broken; choose another"):
        engine.revive()
    assert len(started(lives)) == 1
    with pytest.raises(EngineError, match="is being started again"):
        engine.revive()
    assert engine._restart is not None
    engine._restart.join()
