"""The file of `pass-lsp deploy`: what it may say, what is said of a wrong one, and of one that changes."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pass_lsp.cli import deploy as command
from pass_lsp.cli.deploy import _cluster
from pass_lsp.errors import ConfigError
from pass_lsp.server import logs
from pass_lsp.serving.cluster import Cluster
from pass_lsp.serving.plan import TEXT, Plan, read
from tests.serving.conftest import wait_for
from tests.test_cli import explained, real


def test_the_file_to_edit_says_every_setting_and_its_default() -> None:
    assert tomllib.loads(TEXT) == asdict(Plan())


def test_a_command_beats_the_file_and_the_file_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "team.toml"
    file.write_text("replicas = 3\ngpus = 1\n")
    plan = read(file, {"replicas": 5})
    assert (plan.replicas, plan.most, plan.gpus, plan.model) == (5, 5, 1.0, "embedded")
    file.write_text("\ufeffreplicas = 3\n", "utf-8")  # a byte order mark, as Windows' editors write
    assert read(file, {}).replicas == 3
    assert read(None, {}) == Plan()
    assert Plan(replicas=2, most_replicas=8).most == 8


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("replicas = ", "is not TOML"),
        ("replica = 2", "Unknown setting 'replica'"),
        ('replicas = "2"', "must be of type int"),
        ("replicas = true", "must be of type int"),
        ("replicas = 0", "must be 1 or more"),
        ("port = 0", "port is 0"),
        ("port = 70000", "port is 70000"),
        ("gpus = -0.5", "is negative; use 0 or more"),
        ("gpus = 1.5", "gpus is 1.5; Ray gives a share below 1 or whole ones"),
        ("max_seconds = 0", "is 0 or less"),
        ("max_tokens = 0", "is 0 or less"),
    ],
)
def test_a_wrong_file_is_explained(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "team.toml").write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        read(tmp_path / "team.toml", {})


@pytest.mark.parametrize(("name", "remedy"), [("absent.toml", "--write"), (".", "give a text file"), ("odd", "give a")])
def test_a_file_that_cannot_be_read_has_its_own_remedy(tmp_path: Path, name: str, remedy: str) -> None:
    (tmp_path / "odd").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=f"cannot be read; .*{remedy}"):
        read(tmp_path / name, {})


def test_the_command_writes_the_file_once_and_refuses_open_doors(tmp_path: Path, monkeypatch: Any) -> None:
    for name in ("PASS_LSP_TOKEN", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    assert real("deploy", "--write", "team.toml", cwd=tmp_path).code == 0
    assert (tmp_path / "team.toml").read_text() == TEXT
    assert "exists already" in explained(real("deploy", "--write", "team.toml", cwd=tmp_path))
    (tmp_path / "team.toml").write_text('host = "0.0.0.0"\n')
    assert "can be reached from elsewhere" in explained(real("deploy", "--config", "team.toml", cwd=tmp_path))
    assert "cannot be read" in explained(real("deploy", "--config", "absent.toml", cwd=tmp_path))
    # What only takes off needs no token of ours; Ray's own is asked for next.
    away = ("deploy", "--stop", "--config", "team.toml", "--ray-address", "127.0.0.1:1")
    assert "can be reached from elsewhere" not in explained(real(*away, cwd=tmp_path))
    assert "give ray_address" in explained(real("deploy", "--stop", cwd=tmp_path))


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, "")  # what is set on the way is taken back afterwards
    with pytest.raises(ConfigError, match=r"needs ray.*pip install 'pass-lsp\[ray\]'") as said:
        _cluster(Plan())
    assert f" {sys.executable} -m pip " in str(said.value)  # a bare `pip` is not that of pipx, or of an environment


class Deployed(Cluster):
    """What the command asks of a cluster, without one."""

    def __init__(self) -> None:
        self.plans: list[tuple[Plan, str]] = []
        self.held = threading.Event()

    def deploy(self, plan: Plan, token: str) -> None:
        self.plans.append((plan, token))

    def close(self) -> None:
        pass

    async def hold(self, again: asyncio.Event, over: asyncio.Event, renew: Callable[[], None]) -> None:
        self.held.set()
        await super().hold(again, over, renew)


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    cluster, before = Deployed(), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(command, "_cluster", lambda _: cluster)
    monkeypatch.setattr(logs, "configure", lambda _: None)
    monkeypatch.delenv("PASS_LSP_TOKEN", raising=False)
    yield cluster
    signal.signal(signal.SIGTERM, before)


def while_it_runs(cluster: Deployed, config: Path, act: Callable[[], None]) -> None:
    """Run the command, `act` beside it, and end it by a signal."""
    failures: list[BaseException] = []

    def aside() -> None:
        assert cluster.held.wait(20)
        try:
            act()
        except BaseException as error:
            failures.append(error)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=aside)
    thread.start()
    command.deploy(config=config)
    thread.join()
    assert not failures, failures


def test_what_changes_is_in_force_or_said_not_to_be(
    deployed: Deployed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="pass_lsp")
    config, token = tmp_path / "team.toml", tmp_path / "token"
    token.write_text("first")
    config.write_text(kept := f"token_file = '{token}'\n")

    def change(text: str) -> None:
        config.write_text(kept + text)
        said = len(caplog.records)
        os.kill(os.getpid(), signal.SIGHUP)
        wait_for(lambda: len(caplog.records) > said)

    def act() -> None:
        token.write_text("second")
        change("replicas = 2")
        change('replicas = 3\nport = 9000\nhost = "0.0.0.0"')

    while_it_runs(deployed, config, act)
    assert [(plan.replicas, plan.port, token) for plan, token in deployed.plans] == [
        (1, 8765, "first"),
        (2, 8765, "second"),
    ]
    *_, renewed, refused = [record.getMessage() for record in caplog.records]
    assert renewed == "The new plan runs."
    assert refused.startswith("The old plan goes on: host and port cannot change while it runs; end the command")


def test_a_signal_ends_it_where_event_loops_take_none(
    deployed: Deployed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, which has no SIGHUP either."""

    def none(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(asyncio.SelectorEventLoop, "add_signal_handler", none)
    monkeypatch.delattr(signal, "SIGHUP")
    (tmp_path / "team.toml").write_text("replicas = 2")
    interrupted = signal.getsignal(signal.SIGINT)
    while_it_runs(deployed, tmp_path / "team.toml", lambda: None)
    assert [plan.replicas for plan, _ in deployed.plans] == [2]
    assert signal.getsignal(signal.SIGINT) is interrupted
