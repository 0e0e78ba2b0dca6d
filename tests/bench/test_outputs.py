"""A path that cannot be written is said before the run, and what was measured is shown whatever happens after."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pass_lsp import cli
from pass_lsp.bench.outputs import here, writable
from pass_lsp.cli import bench, options
from pass_lsp.errors import ConfigError


@pytest.mark.parametrize("name", ["nowhere/out.json", "folder", "file/out.json"])
@pytest.mark.parametrize("option", ["json_file", "plot"])
def test_where_nothing_can_be_written(tmp_path: Path, name: str, option: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=name):
        writable(**{option: tmp_path / name})


def test_a_picture_has_a_suffix_that_can_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    writable(tmp_path / "out.json", tmp_path / "out.png")
    writable(plot=tmp_path / "out.SVG")
    for name in ("out", "out.docx"):
        with pytest.raises(ConfigError, match="png"):
            writable(plot=tmp_path / name)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match="pip install"):
        writable(plot=tmp_path / "out.png")


@pytest.mark.parametrize("command", [["decode"], ["infill"], ["latency"], ["load", "http://localhost:1"], ["typing"]])
def test_it_is_said_before_the_run(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_: object, **__: object) -> Any:
        raise AssertionError("it ran")

    for place, name in ((options, "local_engine"), (bench, "_report"), (bench, "_infill_holes")):
        monkeypatch.setattr(place, name, run)
    monkeypatch.setattr(sys, "argv", ["pass-lsp", "bench", *command, "--json", str(tmp_path / "no" / "out.json")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1 and "There is no folder" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["decode", "infill", "latency", "load", "typing"])
def test_each_measurement_takes_the_shared_options(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = ["--model", "m", "--device", "cpu", "--dtype", "int8", "--lookahead", "none"]
    url = ["http://localhost:1"] if command == "load" else []
    out = ["--json", str(tmp_path / "no" / "out.json")]  # which ends it
    out += [] if command == "typing" else ["--plot", str(tmp_path / "plot.png")]
    monkeypatch.setattr(sys, "argv", ["pass-lsp", "bench", command, *url, *shared, *out])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1 and "There is no folder" in capsys.readouterr().err


@pytest.mark.parametrize("more", [[], ["--study"]])
def test_holes_that_are_not_there_are_missed_before_the_model_is_loaded(
    more: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_: object, **__: object) -> Any:
        raise AssertionError("it was loaded")

    monkeypatch.setattr(options, "local_engine", run)
    monkeypatch.setattr(sys, "argv", ["pass-lsp", "bench", "decode", "--data", "nowhere", *more])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1 and "nowhere cannot be used" in capsys.readouterr().err


def test_what_was_measured_is_shown_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OSError, match="No such file"):
        bench._report({"bench": "load", "rows": []}, tmp_path / "no" / "out.json")
    shown = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert shown == {"bench": "load", "rows": [], "where": here()}
