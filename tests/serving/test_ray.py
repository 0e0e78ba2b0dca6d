"""Two replicas on a real Ray, through the real command: what a team sees of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from pass_lsp.engines.embedded import embedded_model
from pass_lsp.serving.scheduler import IN_TURN
from tests.server.conftest import private
from tests.server.rawlsp import PYTHON, RawClient
from tests.serving.conftest import wait_for
from tests.serving.relay import Relay
from tests.serving.team import LONG, Team, deployed, free_port, write_plan

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]
pytest.importorskip("ray")

METHODS = """\
class Shapes:
    def __init__(self, width, height):
        self.width = width
        self.height = height

    def area(self):
        return self.width * self.height

    def perimeter(self):
        return 2 * (self.width + self.height)

    def scale(self, factor):
"""


def write(config: Path, port: int, model: str) -> None:
    write_plan(config, model=model, device="cpu", replicas=2, cpus=0.5, max_queue=4, max_tokens=1000, port=port)


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    config, port = tmp_path_factory.mktemp("team") / "deploy.toml", free_port()
    write(config, port, "embedded")
    with deployed(config, port) as found:
        yield found


def test_a_stream_arrives_piecewise(team: Team) -> None:
    with team.ask("/v1/completions", LONG | {"max_tokens": 300}) as response:
        arrivals = [time.monotonic() for line in response if line.startswith(b"data: ")]
    assert len(arrivals) > 50
    middle = arrivals[len(arrivals) // 2]
    assert arrivals[0] < middle < arrivals[-1] and len(set(arrivals)) > 20


def seconds_to_cancel(team: Team) -> float:
    """From the closing of a connection to the end of the decode, which the replica writes down."""
    before = sum(team.figure("pass_lsp_cancels_total").values())
    with team.ask("/v1/completions", LONG) as response:
        assert response.readline().startswith(b"data: ")
        closed_s = time.time()
    wait_for(lambda: sum(team.figure("pass_lsp_cancels_total").values()) == before + 1, 10)
    return max(team.figure("pass_lsp_last_cancel_timestamp_seconds").values()) - closed_s


def test_closing_the_connection_ends_the_decode_within_a_second(team: Team) -> None:
    took: list[float] = []
    # The best of three: a machine that does other things besides may be late, once or twice.
    while len(took) < 3 and min(took, default=1.0) >= 1.0:
        took.append(seconds_to_cancel(team))
    assert 0 < min(took) < 1.0, took


def test_the_figures_are_those_of_all_replicas(team: Team) -> None:
    replicas = team.replicas()
    asked = team.figure("pass_lsp_forwards_total")
    assert set(asked) == {str(pid) for pid in replicas} and len(asked) == 2 and min(asked.values()) > 0


def test_sessions_stick_to_their_replica(team: Team) -> None:
    seen = {session: {team.complete(session)[1] for _ in range(4)} for session in "abcdefgh"}
    assert all(len(pids) == 1 for pids in seen.values())
    assert len(set.union(*seen.values())) == 2


def test_a_crowded_replica_hands_over_and_gets_its_session_back(team: Team) -> None:
    homes = {name: team.complete(name)[1] for name in (f"crowd {number}" for number in range(40))}
    own = homes["crowd 0"]
    last, *others = [name for name, home in homes.items() if home == own][: IN_TURN + 1]
    with contextlib.ExitStack() as crowd:
        for name in others:
            assert crowd.enter_context(team.ask("/v1/completions", LONG, name)).status == 200
        assert team.figure("pass_lsp_queue")[str(own)] == IN_TURN
        status, other = team.complete(last)
        assert status == 200 and other != own
    wait_for(lambda: not sum(team.figure("pass_lsp_queue").values()), 30)
    assert team.complete(last) == (200, own)


def test_overload_is_said_and_nothing_breaks(team: Team) -> None:
    body = LONG | {"max_tokens": 100, "stream": False}

    def ask(number: int) -> tuple[int, Any, Any]:
        with team.ask("/v1/completions", body) as response:
            return response.status, json.loads(response.read()), response.headers.get("retry-after")

    def health() -> int:
        with team.ask("/health") as response:
            return response.status

    with ThreadPoolExecutor(40) as pool:
        asked = [pool.submit(ask, number) for number in range(40)]
        well = []
        while not all(each.done() for each in asked):
            well.append(health())
    answers = [each.result() for each in asked]
    assert {status for status, _, _ in answers} == {200, 429} and set(well) == {200}
    for status, said, again in answers:
        if status == 429:
            assert said["error"]["type"] == "rate_limit_error" and again == "1"
    assert team.complete()[0] == 200


def test_a_replica_dies_in_mid_stream_and_the_session_goes_on(team: Team) -> None:
    with team.ask("/v1/completions", LONG, "victim") as response:
        assert response.readline().startswith(b"data: ")
        victim = int(response.headers["x-replica"])
        os.kill(victim, signal.SIGKILL)
        killed_s = time.monotonic()
        with contextlib.suppress(HTTPException, ConnectionError):
            assert b"[DONE]" not in response.read()
    status, other = team.complete("victim", timeout_s=5)
    assert status == 200 and other != victim and time.monotonic() - killed_s < 5
    wait_for(lambda: len(team.replicas() - {victim}) == 2, 90)


@pytest.fixture(scope="module")
def slow_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model with layers that change nothing, in half its context: the same answers, but slower."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder, source = tmp_path_factory.mktemp("models") / "slow", str(embedded_model())
    model = LlamaForCausalLM.from_pretrained(source, dtype=torch.float32)
    own = model.config.num_hidden_layers
    config = model.config.to_dict() | {"num_hidden_layers": 4 * own, "max_position_embeddings": 512}
    wide = LlamaForCausalLM(LlamaConfig.from_dict(config))
    wide.load_state_dict(model.state_dict(), strict=False)
    for layer in wide.model.layers[own:]:
        layer.self_attn.o_proj.weight.data.zero_()
        layer.mlp.down_proj.weight.data.zero_()
    wide.to(torch.bfloat16).save_pretrained(str(folder))
    AutoTokenizer.from_pretrained(source).save_pretrained(str(folder))
    return folder


def test_the_model_is_changed_without_a_failed_request(team: Team, slow_dir: Path) -> None:
    old, length = team.replicas(), team.context_length()
    statuses: list[int] = []
    over = threading.Event()

    def typist(number: int) -> None:
        while not over.is_set():
            statuses.append(team.complete(f"typist {number}")[0])
            time.sleep(0.05)

    with ThreadPoolExecutor(2) as pool:
        typists = [pool.submit(typist, number) for number in range(2)]
        try:
            write(team.config, team.port, str(slow_dir))
            team.process.send_signal(signal.SIGHUP)
            wait_for(lambda: len(statuses) > 1 and not old & team.replicas(), 120)
        finally:
            over.set()
        for each in typists:
            each.result()
    assert set(statuses) == {200} and length == 1024 and team.context_length() == 512


@pytest.fixture
def editor(team: Team, tmp_path: Path) -> Iterator[tuple[RawClient, Relay, Path]]:
    """A language server whose engine is the team's, with a relay between them that can kill."""
    with contextlib.closing(Relay(team.port)) as relay:
        log = tmp_path / "log"
        command = [PYTHON, "-m", "pass_lsp", "serve", "--engine", relay.url]
        client = RawClient.spawn(command, log, private(tmp_path))
        try:
            client.initialize(initializationOptions={"ahead": False, "deadlineMs": 0})
            client.until(client.settled, 60)
            yield client, relay, log
        finally:
            client.clean_up()


def shown(client: RawClient, version: int) -> list[str]:
    """What the user sees after typing something new."""
    text = f"def first{version}(a, b):\n    return a + b\n\n\n" + METHODS
    client.change(version, {"text": text})
    found = client.complete(text.count("\n"), 0)
    assert found != "no result", client.answers
    return [item["insertText"] for item in found["items"]]


def test_a_dying_replica_costs_the_user_of_an_editor_nothing(team: Team, editor: tuple[RawClient, Relay, Path]) -> None:
    client, relay, log = editor
    client.open(METHODS)
    version = 2
    assert shown(client, version)
    # On a busy machine a whole answer may come through at once, before anybody could be killed in the middle of it.
    while not relay.torn and version < 40:
        wait_for(lambda: len(team.replicas()) == 2, 90)
        relay.armed, relay.killed, version = True, 0, version + 1
        found = shown(client, version)
        while relay.killed and not found:
            version += 1
            found = shown(client, version)
        assert not relay.killed or time.monotonic() - relay.killed_s < 5
    assert relay.torn, "every answer was over before its replica was dead"
    assert all("result" in answer for answer in client.answers.values())
    assert {note["method"] for note in client.notes} <= {"didChangeStatus", "$/progress"}
    assert client.noted("didChangeStatus")[-1]["message"] == "Ready."
    assert "ERROR" not in log.read_text() and "Traceback" not in log.read_text()
    client.close()
