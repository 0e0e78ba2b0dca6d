"""A Ray that somebody else started: joined with its token, grown under load, healed, and left running."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pass_lsp.errors import ConfigError
from pass_lsp.serving.plan import Plan
from tests.serving.conftest import wait_for
from tests.serving.team import LONG, SHORT, Team, deploy, free_port, write_plan

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]
pytest.importorskip("ray")

TOKEN = secrets.token_hex(32)

HANGING = """\
import time
from pathlib import Path

from transformers import LlamaForCausalLM


class HangingForCausalLM(LlamaForCausalLM):
    def __init__(self, config):
        super().__init__(config)
        self.model.layers[0].register_forward_pre_hook(self.wait)

    def wait(self, *_):
        while Path(FLAG).exists():
            time.sleep(0.1)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def flag(home: Path) -> Path:
    """While it is there, forwards of the hanging model do not end."""
    return home / "hang"


@pytest.fixture(scope="module")
def hanging_dir(model_dir: Path, flag: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with code of its own."""
    folder = tmp_path_factory.mktemp("models") / "hanging"
    folder.mkdir()
    for file in model_dir.iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    config |= {"architectures": ["HangingForCausalLM"]}
    config |= {"auto_map": {"AutoModelForCausalLM": "hanging.HangingForCausalLM"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "hanging.py").write_text(HANGING.replace("FLAG", repr(str(flag))))
    return folder


@pytest.fixture(scope="module")
def ray_address(home: Path) -> Iterator[str]:
    """Of a cluster that asks for `TOKEN`."""
    port = free_port()
    clean = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    told = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "RAY_USAGE_STATS_ENABLED": "0"}
    told |= {"HOME": str(home), "XDG_CACHE_HOME": str(home)}
    options = {"port": port, "node-ip-address": "127.0.0.1", "num-cpus": 2, "object-store-memory": 10**8}
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--include-dashboard=false"]
    command += [f"--{name}={value}" for name, value in options.items()]
    log = home / "ray.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=clean | told, start_new_session=True)
    try:
        wait_for(lambda: "Ray runtime started" in log.read_text() or process.poll() is not None, 120)
        assert process.poll() is None, log.read_text()
        yield f"127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)


Join = Callable[..., Team]


@pytest.fixture(scope="module")
def join(home: Path, ray_address: str) -> Join:
    """Deploys a plan on the cluster; the command then returns."""
    port = free_port()

    def joined(**settings: object) -> Team:
        config, log = home / "team.toml", home / "log"
        always = {"device": "cpu", "cpus": 0.5, "max_tokens": 1000, "ray_address": ray_address, "port": port}
        write_plan(config, **(always | settings))
        with log.open("wb") as out:
            process = deploy("--config", str(config), home=home, out=out, RAY_AUTH_TOKEN=TOKEN)
        assert process.wait(180) == 0, log.read_text()
        team = Team(port, config, process)
        team.wait_ready(log)
        return team

    return joined


def test_where_nothing_runs_there_is_nothing_to_stop(ray_address: str, home: Path, tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as out:
        process = deploy("--ray-address", ray_address, "--stop", home=home, out=out, RAY_AUTH_TOKEN=TOKEN)
    assert process.wait(60) == 1
    said = (tmp_path / "log").read_text()
    assert "pass-lsp: No replicas of pass-lsp run on that Ray; there is nothing to stop." in said.splitlines(), said


def test_a_joined_cluster_serves_after_the_command_has_ended(join: Join) -> None:
    team = join()
    assert team.process.poll() == 0
    assert team.complete()[0] == 200 and len(team.replicas()) == 1


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ({"RAY_AUTH_TOKEN": "0" * 64}, "pass-lsp: Ray cannot be started or joined here"),
        ({}, "pass-lsp: Joining the Ray at 127.0.0.1:"),
    ],
    ids=["wrong", "none"],
)
def test_without_its_token_nobody_joins(
    env: dict[str, str], sentence: str, ray_address: str, home: Path, tmp_path: Path
) -> None:
    with (tmp_path / "log").open("wb") as out:
        process = deploy("--ray-address", ray_address, "--port", str(free_port()), home=tmp_path, out=out, **env)
    assert process.wait(120) == 1
    *_, said = (tmp_path / "log").read_text().splitlines()  # Ray itself warns before, once a second
    assert said.startswith(sentence) and "token" in said.lower(), said


def test_a_token_of_a_file_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pass_lsp.serving.cluster import _authenticate

    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # what is set on the way is taken back afterwards
    monkeypatch.setenv("HOME", str(tmp_path))
    elsewhere = Plan(ray_address="10.0.0.1:6379")
    with pytest.raises(ConfigError, match="set RAY_AUTH_TOKEN"):
        _authenticate(elsewhere)
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text(TOKEN)
    _authenticate(elsewhere)
    _authenticate(Plan())
    assert (os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN"]) == ("token", "")
    (tmp_path / ".ray" / "auth_token").unlink()
    _authenticate(Plan())
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


def test_load_brings_a_second_replica(join: Join) -> None:
    team = join(replicas=1, most_replicas=2, requests_per_replica=1.0)
    assert len(team.figure("pass_lsp_queue")) == 1
    over, statuses = threading.Event(), list[int]()

    def typist(number: int) -> None:
        while not over.is_set():
            statuses.append(team.complete(f"typist {number}", LONG | {"stream": False, "max_tokens": 300})[0])

    with ThreadPoolExecutor(4) as pool:
        typists = [pool.submit(typist, number) for number in range(4)]
        try:
            wait_for(lambda: len(team.figure("pass_lsp_queue")) == 2, 120)
            # No session but theirs has asked lately, so each replica gets two.
            wait_for(lambda: len({team.complete(f"typist {number}")[1] for number in range(4)}) == 2, 30)
        finally:
            over.set()
        for each in typists:
            each.result()
    assert set(statuses) == {200}


def test_a_replica_whose_engine_hangs_is_replaced(join: Join, hanging_dir: Path, flag: Path) -> None:
    team = join(model=str(hanging_dir), trust_remote_code=True, lookahead="random")
    status, stuck = team.complete()
    assert status == 200
    flag.touch()
    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(lambda: team.complete("unlucky", timeout_s=120)[0])
        wait_for(lambda: team.figure("pass_lsp_queue").get(str(stuck)) == 1, 20)
        wait_for(lambda: not Path(f"/proc/{stuck}").exists(), 90)
        flag.unlink()
        assert lost.result() >= 500
    wait_for(lambda: team.complete(body=SHORT)[0] == 200, 60)
    assert team.complete()[1] != stuck


def test_what_was_deployed_is_taken_off_again(join: Join, home: Path) -> None:
    team = join()
    with (home / "log").open("wb") as out:
        process = deploy("--config", str(team.config), "--stop", home=home, out=out, RAY_AUTH_TOKEN=TOKEN)
    assert process.wait(60) == 0, (home / "log").read_text()
    with team.ask("/health") as response:
        assert response.status == 404
    assert join().complete()[0] == 200
