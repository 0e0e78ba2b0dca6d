"""Traces, their replay through the real server, and the report."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pass_lsp import cli
from pass_lsp.bench.client import Client
from pass_lsp.bench.plots import plot_latency
from pass_lsp.bench.replay import Pace, Typist, type_along
from pass_lsp.bench.traces import Edit, Trace, load_traces, long_trace, made_traces, read_trace
from pass_lsp.engines.echo import ANSWER, EchoEngine
from pass_lsp.errors import ConfigError


def typed(trace: Trace) -> str:
    text = trace.text
    for edit in trace.edits:
        assert 0 <= edit.position <= edit.position + edit.deleted <= len(text)
        text = text[: edit.position] + edit.inserted + text[edit.position + edit.deleted :]
        assert 0 <= edit.cursor <= len(text)
    return text


def test_made_traces_are_typed_by_a_human_into_real_files() -> None:
    traces = made_traces(600)
    assert traces == made_traces(600) and traces != made_traces(600, seed=1)
    assert sum(len(trace.edits) for trace in traces) == 600
    edits = [edit for trace in traces for edit in trace.edits]
    single = sum(len(edit.inserted) == 1 for edit in edits) / len(edits)
    assert 0.6 < single < 0.95 and any(edit.deleted for edit in edits)
    assert any(edit.inserted in ("()", "[]", '""', "''") for edit in edits)
    for trace in traces:
        times = [edit.at_ms for edit in trace.edits]
        assert times == sorted(times)
        assert len(typed(trace)) > len(trace.text)
    gaps = [
        later.at_ms - edit.at_ms for trace in traces for edit, later in zip(trace.edits, trace.edits[1:], strict=False)
    ]
    assert 80 < sorted(gaps)[len(gaps) // 2] < 250


def test_a_long_trace_is_typed_in_the_middle_of_a_long_file() -> None:
    trace = long_trace(10_000, 200)
    assert len(trace.edits) == 200 and 10_000 <= trace.text.count("\n") < 13_000
    assert all(abs(edit.position / len(trace.text) - 0.5) < 0.15 for edit in trace.edits)
    typed(trace)


RECORDED = {
    "startContent": "ab",
    "endContent": "",
    "txns": [
        {"time": "2020-01-01T00:00:00.000Z", "patches": [[2, 0, "pasted text"]]},
        {"time": "2020-01-01T00:00:05.000Z", "patches": [[13, 0, "x"]]},
        {"time": "2020-01-01T00:00:05.000Z", "patches": [[14, 0, "y"], [0, 1, ""]]},
        {"time": "2020-01-01T01:00:00.000Z", "patches": [[14, 0, "z"]]},
    ],
}


@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz"])
def test_a_recorded_trace_begins_at_its_first_key_and_its_pauses_are_cut(tmp_path: Path, name: str) -> None:
    body = json.dumps(RECORDED).encode()
    (tmp_path / name).write_bytes(gzip.compress(body) if name.endswith("gz") else body)
    trace = read_trace(tmp_path / name, 10)
    assert trace.text == "abpasted text" and typed(trace) == "bpasted textxyz"
    assert [edit.at_ms for edit in trace.edits] == [0, 500, 500, 2500]
    assert [edit.cursor for edit in trace.edits] == [14, 15, 0, 15]
    assert len(load_traces(tmp_path / name, 2)[0].edits) == 2


@pytest.mark.parametrize(
    "txns",
    [
        *(None, "[]", "[1]", '[{"time": "yesterday", "patches": []}]', "[" * 100_000),
        '[{"time": "2026-01-01T00:00:00Z", "patches": [[Infinity, 0, "x"]]}]',
        '[{"time": "2026-01-01T00:00:00Z", "patches": [["x", 0, "x"]]}]',
        '[{"time": "2026-01-01T00:00:00Z", "patches": [[1, null, "x"]]}]',
    ],
    ids=range(8),
)
def test_a_trace_that_cannot_be_used_is_explained(tmp_path: Path, txns: str | None) -> None:
    (tmp_path / "trace.json").write_text(f'{{"startContent": "", "txns": {txns}}}' if txns else "")
    (tmp_path / "broken.json.gz").write_bytes(gzip.compress(b"[]" * 99)[:10] + b"\xff" * 20)
    for path in (tmp_path / "trace.json", tmp_path / "missing.json", tmp_path / "broken.json.gz"):
        with pytest.raises(ConfigError, match="startContent and txns"):
            read_trace(path, 10)


def test_the_engine_without_a_model_keeps_the_promises_of_an_engine(model_dir: Path) -> None:
    from transformers import AutoTokenizer

    from pass_lsp.completion import complete
    from pass_lsp.domain import CancelToken, SamplingParams

    engine = EchoEngine(AutoTokenizer.from_pretrained(str(model_dir)))
    item = complete("def f():\n    \n", 1, 4, engine=engine, path="x.py")
    assert item is not None and item.text == ANSWER.strip()
    runs: list[list[int]] = []
    result = engine.generate([1, 2], SamplingParams(max_new_tokens=3), on_commit=runs.append)
    assert [token for run in runs for token in run] == result.token_ids and (result.finish, result.forwards) == (
        "length",
        3,
    )
    assert engine.generate([1], stop=lambda ids: 1 if len(ids) == 2 else None).finish == "stop"
    token = CancelToken()
    token.cancel()
    assert engine.generate([1], cancel=token).finish == "cancelled"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Client(["--model", "none"], tmp_path_factory.mktemp("bench"), {"debounceMs": 0}) as made:
        made.wait_ready()
        yield made


def test_the_file_of_the_user_decides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "pass-lsp").mkdir()
    (tmp_path / "pass-lsp" / "config.toml").write_text("engine = 'http://127.0.0.1:1'\ndisabled_languages = ['python']")
    with Client(["--model", "none"], tmp_path, {"debounceMs": 0}) as client:
        client.wait_ready()
        client.check_engine()
        client.open("file:///own.py", "def f():\n    \n")
        assert client.inline_completion("file:///own.py", 1, 4)


def test_where_nothing_answers_nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = ["--engine", "http://127.0.0.1:1", "--keystrokes", "2", "--no-overhead"]
    monkeypatch.setattr(sys, "argv", ["pass-lsp", "bench", "latency", *engine])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    assert ended.value.code == 1 and out == "" and "No engine can be reached at http://127.0.0.1:1" in err


def test_a_replay_answers_each_key_with_the_server_s_own_figures(client: Client) -> None:
    [trace] = made_traces(25)
    typist = Typist(client, f"file:///{trace.name}", trace)
    assert list(typist.replay(Pace(pause_ms=0))) == list(trace.edits)
    assert len(typist.asked) == 25 and all(each.answered and not each.superseded for each in typist.asked)
    assert {each.figures["source"] for each in typist.asked} <= {"model", "memory"}
    assert [each.version for each in typist.asked] == list(range(2, 27))
    hurried = Typist(client, f"file:///again/{trace.name}", trace)
    list(hurried.replay(Pace(speed=50, wait_ms=0)))
    assert all(each.answered for each in hurried.asked)
    turns = [each.turn for each in hurried.asked]
    assert turns == sorted(turns)


def test_typing_a_suggestion_along_is_answered_from_memory(client: Client) -> None:
    text = "def f(value):\n    \n"
    edits = tuple(Edit(0, 18 + number, 0, key, 19 + number) for number, key in enumerate("xyz"))
    typist = Typist(client, "file:///along.py", Trace("along.py", text, edits))
    taken = type_along(typist, every=1, keys=4)
    assert len(taken) == len(edits) * 6


def test_a_plot_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        plot_latency({"answer": [1.0]}, tmp_path / "no" / "plot.png")


def test_the_command_replays_a_recorded_trace_without_a_model_and_draws_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trace.json").write_text(json.dumps(RECORDED))
    arguments = ["bench", "latency", "--fake", "--data", str(tmp_path / "trace.json"), "--keystrokes", "3"]
    arguments += ["--pause-ms", "0", "--plot", str(tmp_path / "plot.png")]
    monkeypatch.setattr(sys, "argv", ["pass-lsp", *arguments])
    with pytest.raises(SystemExit):
        cli.main()
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["bench"], found["data"], found["keystrokes"]) == ("latency", "trace.json", 3)
    assert found["requests"] == 3 and found["unanswered"] == found["out_of_order"] == 0
    assert set(found) >= {"p50_ms", "p90_ms", "p99_ms", "ready_ms", "cold_ms", "memory_share"}
    rows = {row["part"]: row["n"] for row in found["rows"]}
    assert {"queue", "context", "prefill", "first token", "decode", "postprocess", "cancel to idle"} <= set(rows)
    assert rows["answer"] == 3 and rows["overhead, 10000 lines"] == rows["overhead without context"] > 40
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
