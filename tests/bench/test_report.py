"""`make bench`: the pages say what the documents say, and leave alone what was written by hand."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from pass_lsp.bench import report
from pass_lsp.bench.goals import goals, reached
from pass_lsp.bench.report import BEGIN, BY_HAND, END, RUNS, main, results_page, summary_rows, write_pages


def decode_document(dtype: str = "float32", auto: float = 1.5, generate: float = 6.0) -> dict[str, Any]:
    def row(text: str, contender: str, **figures: float) -> dict[str, Any]:
        plain = {"tokens_per_second": 100.0, "speedup": 1.0, "against_generate": 4.0, "tokens_per_forward": 1.0}
        return {"text": text, "temperature": 0.0, "contender": contender, **plain, **figures}

    return {
        "bench": "decode",
        "machine": {"dtype": dtype, "threads": 1},
        "rows": [
            row("fresh", "autoregressive"),
            row("fresh", "auto", speedup=auto, against_generate=generate, tokens_per_second=150.0),
            row("copy", "autoregressive"),
            row("copy", "auto", speedup=2.0, tokens_per_forward=5.0),
        ],
        "true_text": [
            {"text": "fresh", "temperature": 0.0, "parts": "all", "pass": 1.2, "merged": 1.4, "acceptance": [0.3, 0.1]},
            {"text": "copy", "temperature": 0.0, "parts": "all", "copies": 3.0},
        ],
        "forward": {"forward_to_reading": 4.0},
        "costs": [{"rows": 1, "ms": 5.0}],
        "goals": [{"goal": "not shown twice"}],
    }


PEER = {
    "bench": "peers",
    "against": [
        {"text": "fresh", "ours": "auto", "peer": "llama.cpp f32", "ratio": 1.6},
        {"text": "copy", "ours": "auto", "peer": "llama.cpp f32", "ratio": 9.0},
    ],
}


def test_goals_are_judged_by_the_run_they_belong_to() -> None:
    rows = {row["goal"]: row for row in reached([decode_document(), PEER], "cpu")}
    assert rows["tokens per forward, fresh, true text, `pass`"]["reached"]
    assert not rows["tokens per forward, fresh, true text, `merged`"]["reached"]
    assert rows["tokens per forward, fresh, true text, `merged`"]["share_of_goal"] == round(1.4 / 1.6, 2)
    assert rows["tokens per forward, copy-heavy, `auto`"]["measured"] == 5.0
    assert rows["`auto` ÷ `autoregressive`, copy-heavy"]["share_of_goal"] == 0.8
    assert rows["one forward ÷ reading the weights, float32"] == {
        "goal": "one forward ÷ reading the weights, float32", "wanted": "≤ 2", "measured": 4.0,
        "share_of_goal": 0.5, "reached": False,
    }  # fmt: skip
    assert rows["`auto` ÷ llama.cpp, float32"]["measured"] == 1.6
    assert "`auto` ÷ llama.cpp, 8 bit" not in rows
    assert "`auto` ÷ transformers generate (float32), int8" not in rows


def test_int8_and_gpu_have_goals_of_their_own() -> None:
    found = reached([decode_document("int8", generate=11.0)], "cpu")
    assert [(row["measured"], row["reached"]) for row in found] == [(11.0, False)]
    gpu = {row["goal"]: row["wanted"] for row in reached([decode_document("bfloat16")], "cuda:0")}
    assert gpu["tokens per forward, fresh, true text, `merged`"] == "≥ 2.5"
    assert len(gpu) == len(goals("cuda")) == 8


def test_goals_survive_documents_that_lack_their_figures() -> None:
    assert reached([{"bench": "decode", "machine": {"dtype": "float32"}}, {"bench": "latency"}, {}], "cpu") == []


def test_every_run_is_a_command_that_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from pass_lsp.cli import app

    for arguments in RUNS.values():
        flags = {word for word in arguments if word.startswith("--")}
        shown = CliRunner().invoke(app, ["bench", arguments[0], "--help"], env={"COLUMNS": "200"}).stdout
        assert all(flag in shown for flag in flags), arguments


def test_the_study_goes_as_far_as_a_longer_artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> Any:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, "{}")

    monkeypatch.setattr(subprocess, "run", run)
    report._run("study", tmp_path)
    (tmp_path / report.EIGHT).mkdir(parents=True)
    report._run("study", tmp_path)
    report._run("decode", tmp_path)
    assert [command[-2:] == ["--lookahead", str(report.EIGHT)] for command in commands] == [False, True, False]


LATENCY = {"bench": "latency", "keystrokes": 60, "p50_ms": 5.0, "p90_ms": 9.0, "rows": [{"part": "queue", "p50": 1}]}
INFILL = {
    "bench": "infill",
    "rows": [
        {"contender": name, "first_line_exact": hit, "interval": [0.1, 0.2]}
        for name, hit in (("model", 0.15), ("nothing", 0.0), ("previous line again", 0.01), ("next line", 0.02))
    ],
}


def test_the_pages_hold_every_run_and_keep_what_was_written_by_hand(tmp_path: Path) -> None:
    found = {"decode": decode_document(), "infill": INFILL, "latency": LATENCY, "peers": PEER}
    kept = tmp_path / ".cache" / "bench"
    kept.mkdir(parents=True)
    for name, document in found.items():
        (kept / f"{name}.json").write_text(json.dumps(document))
    results = tmp_path / "pass_lsp" / "bench" / "RESULTS.md"
    results.parent.mkdir(parents=True)
    results.write_text(f"old figures\n\n{BY_HAND}\n\n## What did not work\n\nInt4: half as fast.\n")
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_pages(tmp_path)
    page = results.read_text()
    assert "old figures" not in page and page.endswith("\n## What did not work\n\nInt4: half as fast.\n")
    for command in ("pass-lsp bench decode --holes", "pass-lsp bench infill", "pass-lsp bench latency", "make peers"):
        assert command in page
    assert "## Goals" in page and "not shown twice" not in page
    assert "![decode](../../docs/bench-decode.png)" in page
    assert "study" not in page  # it was not run
    first = page
    write_pages(tmp_path)
    assert results.read_text() == first
    (kept / "decode.json").unlink()
    (kept / "infill.json").write_text(json.dumps(INFILL | {"holes": 77}))
    readme.write_text(readme.read_text().replace("| --- | --- |", "| --- | --- |\n| renamed since | 1 |"))
    write_pages(tmp_path)  # what was not run again stays, what was is new
    assert results.read_text() == first.replace(
        "## `pass-lsp bench infill --holes 900`\n\n", "## `pass-lsp bench infill --holes 900`\n\nholes 77\n\n"
    )
    assert "| 1.2 / 1.4 |" in readme.read_text()
    (kept / "decode.json").write_text(json.dumps(found["decode"]))
    (kept / "infill.json").write_text(json.dumps(INFILL))
    write_pages(tmp_path)
    assert "renamed since" in readme.read_text()
    for name in RUNS.keys() - found.keys():
        (kept / f"{name}.json").write_text(json.dumps({"bench": name}))
    write_pages(tmp_path)  # now there is nothing to keep
    assert "renamed since" not in readme.read_text()
    shown = readme.read_text()
    assert shown.startswith("before\n") and shown.endswith(f"{END}\nafter\n") and "\nold\n" not in shown
    assert "| 1.2 / 1.4 |" in shown and "15.0% (10.0% to 20.0%)" in shown and "5.0 / 9.0 ms" in shown


def test_figures_keep_the_machine_that_they_are_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, readme = tmp_path / ".cache" / "bench", tmp_path / "README.md"
    kept.mkdir(parents=True)
    (tmp_path / "pass_lsp" / "bench").mkdir(parents=True)
    readme.write_text(f"{BEGIN}\n{END}")
    monkeypatch.setattr(report, "here", lambda: "3 cores, elsewhere")

    def pages(**found: dict[str, Any]) -> tuple[str, str]:
        for name, document in found.items():
            (kept / f"{name}.json").write_text(json.dumps(document))
        write_pages(tmp_path)
        return (tmp_path / "pass_lsp" / "bench" / "RESULTS.md").read_text(), readme.read_text()

    results, table = pages(infill=INFILL | {"where": "2 cores, here"})
    assert "on 2 cores, here. Read" in results and "\nwhere 2 cores, here\n" in results
    assert "Embedded model, 2 cores, here; made" in table
    for page in pages(latency=LATENCY | {"where": "8 cores, there"}):
        assert "2 cores, here and 8 cores, there" in page and "elsewhere" not in page
    (kept / "infill.json").unlink()
    assert "Embedded model, 2 cores, here and 8 cores, there; made" in pages()[1]
    others = {name: {"bench": name, "where": "8 cores, there"} for name in {*RUNS, report.PEERS} - {"latency"}}
    assert "Embedded model, 8 cores, there; made" in pages(**others)[1]


def test_the_summary_leaves_out_what_was_not_measured() -> None:
    assert summary_rows({"decode": decode_document()})[-1]["here"] == "6.0×"
    assert summary_rows({}) == []
    hurried = LATENCY | {"requests": 60, "superseded": 7}
    assert summary_rows({"latency": hurried})[0]["here"].startswith("5.0 / 9.0 ms; 12% were overtaken by the next key")
    assert "## What did not work" in results_page({}, "here", "")


def test_one_run_can_be_repeated_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        ran.append(command[command.index("bench") + 1 :])
        found = LATENCY if "latency" in command else {"bench": "other", "rows": []}
        return subprocess.CompletedProcess(command, 0, "noise\n" + json.dumps(found) + "\n")

    monkeypatch.setattr(report.subprocess, "run", run)
    monkeypatch.setattr(report, "ROOT", tmp_path)
    (tmp_path / "README.md").write_text(f"{BEGIN}{END}")
    (tmp_path / "pass_lsp" / "bench").mkdir(parents=True)
    main(["latency"], False)
    assert ran == [RUNS["latency"]]
    assert "5.0 / 9.0 ms" in (tmp_path / "README.md").read_text()
    main([], True)
    assert len(ran) == 1
    main(None, False)
    assert ran[1:] == [*RUNS.values()]
    with pytest.raises(typer.BadParameter, match="choose of"):
        main(["nothing"], False)
