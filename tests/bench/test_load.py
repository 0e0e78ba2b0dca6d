"""Many typists against one address: what is counted, bounded and drawn."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pass_lsp import cli
from pass_lsp.bench import load
from pass_lsp.bench.load import Plan, bench_load, rated
from pass_lsp.bench.plots import plot_load
from pass_lsp.bench.traces import Edit, Trace
from pass_lsp.cli.options import wishes_of
from pass_lsp.config import Settings
from pass_lsp.engines.remote import Address
from pass_lsp.engines.remote.wire import client_for
from pass_lsp.errors import ConfigError, EngineError
from tests.engines import fakes
from tests.engines.fakes import Exchange, Fake, serving

TEXT = "x = \ny = 2\n"
SLOW = Trace("slow.py", TEXT, tuple(Edit(900.0 * n, 4 + n, 0, "a", 5 + n) for n in range(4)))
"""Time for an answer after each key."""
QUICK = Trace("quick.py", TEXT, tuple(Edit(90.0 * n, 4 + n, 0, "a", 5 + n) for n in range(20)))
"""Each key drops what the last one asked."""


def measured(fake: Fake, trace: Trace, **plan: Any) -> dict[str, Any]:
    given = {"typists": (1,), "seconds": 1.2, "speed": 3.0, "wait_ms": 5.0, **plan}
    return bench_load(fake.url, Plan(**given), wishes_of(Settings(engine=fake.url)), [trace])


def test_requests_are_answered_counted_and_carry_a_session_a_typist() -> None:
    with serving(fakes.vllm()) as fake:
        # The last asks at 1.25 s, the next would at 1.49 s: all have time for their answer.
        found = measured(fake, SLOW, typists=(1, 3), seconds=1.4)
        one, three = found["rows"]
        assert (one["typists"], three["typists"], found["rated_typists"]) == (1, 3, 3)
        for row in (one, three):
            assert row["requests"] >= row["answers"] > 0 and row["failed"] == 0
            assert 0 < row["first_p50_ms"] <= row["answer_p50_ms"] <= row["answer_p99_ms"]
            assert row["answers_per_s"] == pytest.approx(row["answers"] / 1.4, rel=0.5)
        assert three["requests"] > one["requests"]
        assert len({each.headers["x-session-id"] for each in fake.completions}) == 3
        prompt = fake.completions[0].body["prompt"]
        assert "x = a" in prompt and "\ny = 2" in prompt


def test_a_trace_may_be_called_as_it_likes() -> None:
    with serving(fakes.vllm()) as fake:
        row = measured(fake, replace(SLOW, name="für/é→\n.txt"), seconds=1.4)["rows"][0]
        assert row["requests"] >= row["answers"] > 0
        assert len({each.headers["x-session-id"] for each in fake.completions}) == 1


def test_a_fault_here_is_not_taken_for_slow_service(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(load, "stream", broken)
    with serving(fakes.vllm()) as fake, pytest.raises(ZeroDivisionError):
        measured(fake, SLOW, seconds=1.4)


def test_a_key_cancels_what_the_last_one_asked() -> None:
    with serving(fakes.vllm()) as fake:
        fake.routes["/v1/completions"] = lambda exchange: exchange.wait_closed()
        row = measured(fake, QUICK)["rows"][0]
        assert row["requests"] == row["cancelled_share"] * row["requests"] > 1
        assert row["answers"] == row["failed"] == 0


def test_failures_are_counted_by_what_they_are_and_end_nothing() -> None:
    def busy(exchange: Exchange) -> None:
        exchange.json({"error": "queue full"}, 429, Retry_After="1")

    with serving(fakes.vllm()) as fake:
        fake.routes["/v1/completions"] = busy
        found = measured(fake, SLOW)
        row = found["rows"][0]
        assert 0 < row["failed"] <= row["requests"] and "too much to do" in row["why"]
        assert found["rated_typists"] == 0


def test_survivors_of_an_overload_are_no_good_service() -> None:
    def row(typists: int, share: float, p99: float, failed: int = 0) -> dict[str, Any]:
        answers = round(100 * share)
        return {"typists": typists, "answered_share": share, "answers": answers, "answer_p99_ms": p99, "failed": failed}

    one, four = row(1, 0.7, 80.0), row(4, 0.6, 200.0)
    assert rated([one, four], 500) == 4
    assert rated([one, four, row(16, 0.02, 150.0)], 500) == 4, "the one that was quick by chance"
    assert rated([one, row(4, 0.6, 600.0), row(8, 0.7, 90.0, failed=1)], 500) == 1
    assert rated([row(1, 0.0, 0.0)], 500) == 0


def test_no_typist_waits_for_the_connection_of_another() -> None:
    many = 130
    here = threading.Barrier(many)

    async def all_at_once(url: str) -> list[int]:
        async with client_for(Address.of(url)) as client:
            client.timeout = 60.0
            answers = await asyncio.gather(*(client.get("/v1/models") for _ in range(many)))
        return [answer.status_code for answer in answers]

    def meet(exchange: Exchange) -> None:
        here.wait(30)
        exchange.json({})

    with serving({"/v1/models": meet}) as fake:
        fake.server.socket.listen(many)
        assert asyncio.run(all_at_once(fake.url)) == [200] * many


def test_it_is_bounded_in_time_whatever_the_server_does_and_nothing_took_no_time(tmp_path: Path) -> None:
    with serving(fakes.vllm()) as fake:
        fake.routes["/v1/completions"] = lambda exchange: exchange.wait_closed()
        began = time.monotonic()
        found = measured(fake, SLOW, typists=(5,), seconds=0.3)
        assert time.monotonic() - began < 30
    (row,), times = found["rows"], ("first_p50_ms", "first_p99_ms", "answer_p50_ms", "answer_p90_ms", "answer_p99_ms")
    assert (row["answers"], found["rated_typists"]) == (0, 0) and [row[key] for key in times] == [None] * 5
    plot_load([row, {**row, "typists": 9}], 500.0, tmp_path / "load.png")


def test_nothing_there_and_nothing_to_type_are_explained() -> None:
    with pytest.raises(EngineError, match="No engine can be reached"):
        bench_load(f"http://127.0.0.1:{fakes.closed_port()}", Plan(), wishes_of(Settings()), [SLOW])
    with pytest.raises(ConfigError, match="no keystrokes"):
        bench_load("http://127.0.0.1:1", Plan(), wishes_of(Settings()), [Trace("a.py", "", ())])


def test_the_command_writes_json_last_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(fakes.llama_cpp()) as fake:
        arguments = ["bench", "load", fake.url, "--typists", "2", "--seconds", "1", "--speed", "5"]
        arguments += ["--plot", str(tmp_path / "load.png"), "--json", str(tmp_path / "load.json")]
        monkeypatch.setattr(sys, "argv", ["pass-lsp", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert not ended.value.code
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found == json.loads((tmp_path / "load.json").read_text())
    assert (found["bench"], found["engine"], found["rows"][0]["typists"]) == ("load", "llamacpp", 2)
    assert (tmp_path / "load.png").read_bytes().startswith(b"\x89PNG")
