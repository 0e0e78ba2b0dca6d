"""The benchmarks' arithmetic and files, and that their last line is JSON."""

from __future__ import annotations

import gzip
import json
import logging
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from pass_lsp import cli
from pass_lsp.bench import infill
from pass_lsp.bench.decode import bench_decode, repeated_share
from pass_lsp.bench.holes import Hole, held_out_holes, read_holes
from pass_lsp.bench.infill import bench_infill, wilson
from pass_lsp.completion import Outcome
from pass_lsp.documents.document import Document
from pass_lsp.domain import Completion, Reason
from pass_lsp.engines.local import load_engine
from pass_lsp.errors import ConfigError
from pass_lsp.train.corpus import HELD_OUT_MODULES


@pytest.mark.parametrize(("hits", "total"), [(0, 10), (1, 10), (5, 10), (10, 10), (81, 263), (15, 148), (999, 1000)])
def test_wilson_agrees_with_scipy(hits: int, total: int) -> None:
    expected = binomtest(hits, total).proportion_ci(0.95, method="wilson")
    assert wilson(hits, total) == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_wilson_of_known_values_and_of_nothing() -> None:
    # Newcombe 1998, table I, method 3.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("ids", "n", "share"),
    [
        ([], 8, 0.0),
        ([1] * 7, 8, 0.0),
        ([1] * 8, 8, 0.0),
        ([1] * 9, 8, 0.5),
        (list(range(50)), 8, 0.0),
        ([1, 2, 1, 2, 1, 2], 2, 3 / 5),
        ([1, 2, 3, 1, 2, 3], 3, 1 / 4),
    ],
)
def test_repeated_share(ids: Sequence[int], n: int, share: float) -> None:
    assert repeated_share(ids, n) == pytest.approx(share)


# --- holes --------------------------------------------------------------------


def test_holes_are_the_same_for_a_seed_and_rejoin_to_their_files() -> None:
    holes = held_out_holes(30)
    assert holes == held_out_holes(30)
    assert holes[:10] == held_out_holes(10)
    assert holes != held_out_holes(30, seed=1)
    root = Path(sysconfig.get_paths()["stdlib"])
    for hole in holes:
        assert hole.path in HELD_OUT_MODULES
        assert hole.prefix + hole.middle + hole.suffix == (root / hole.path).read_text("utf-8")
        assert hole.middle.strip()
    assert {hole.multi_line for hole in holes} == {True, False}


def test_multi_line_is_told_from_the_missing_text() -> None:
    assert not Hole("x.py", "", "one\n", "").multi_line
    assert Hole("x.py", "", "one\ntwo", "").multi_line


ROW = {"prompt": "a = ", "suffix": "\n", "canonical_solution": "1"}


def test_read_holes_takes_plain_and_packed_lines_up_to_a_limit(tmp_path: Path) -> None:
    lines = "".join(json.dumps({**ROW, "canonical_solution": str(n)}) + "\n\n" for n in range(5))
    (tmp_path / "holes.jsonl").write_text(lines)
    (tmp_path / "holes.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    for name in ("holes.jsonl", "holes.jsonl.gz"):
        holes = read_holes(tmp_path / name, 3)
        assert [hole.middle for hole in holes] == ["0", "1", "2"]
        assert (holes[0].prefix, holes[0].suffix) == ("a = ", "\n")


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"{", b"[1]\n", b'"text"\n', b'{"prompt": "x"}\n', b"\xff\xfe\n", b"null\n"]
)
def test_read_holes_explains_what_it_cannot_use(tmp_path: Path, content: bytes) -> None:
    for name in ("holes.jsonl", "holes.jsonl.gz"):
        (tmp_path / name).write_bytes(content if name.endswith("l") else gzip.compress(content))
        with pytest.raises(ConfigError, match="JSON lines with prompt"):
            read_holes(tmp_path / name, 10)
    with pytest.raises(ConfigError, match="missing"):
        read_holes(tmp_path / "missing.jsonl", 10)
    (tmp_path / "torn.gz").write_bytes(gzip.compress(json.dumps(ROW).encode() * 50)[:40])
    with pytest.raises(ConfigError, match="torn"):
        read_holes(tmp_path / "torn.gz", 10)


# --- the benchmarks themselves ------------------------------------------------


def test_infill_counts_what_was_hit(monkeypatch: pytest.MonkeyPatch) -> None:
    holes = [
        Hole("a.py", "x = 1\ny = ", "2", "\nz = 3\n"),
        Hole("b.py", "def f():\n    ", "a = 1\n    return a", "\n\nf()\n"),
    ]

    def scripted(document: Document, offset: int, engine: Any) -> Outcome:
        if "z = 3" in document.text:
            return Outcome(Completion("2", offset, offset))
        if "f()\n" in document.text:
            return Outcome(Completion("a = 1\n    return 2", offset, offset))
        return Outcome(reason=Reason.EMPTY)

    monkeypatch.setattr(infill, "complete_document", scripted)
    engine: Any = None
    found = bench_infill(engine, holes)
    rows = {row["contender"]: row for row in found["rows"]}
    assert (found["holes"], found["multi_line"]) == (2, 1)
    assert rows["model"]["first_line_exact"] == 1.0
    assert 0.9 < rows["model"]["edit_similarity"] < 1.0
    assert rows["model, suffix hidden"] == rows["nothing"] | {"contender": "model, suffix hidden"}
    assert rows["nothing"]["first_line_exact"] == rows["nothing"]["edit_similarity"] == 0.0
    assert rows["model"]["interval"] == [pytest.approx(0.342, abs=1e-3), 1.0]


def test_decode_compares_all_contenders_on_the_same_prompts(model_dir: Path) -> None:
    engine = load_engine(str(model_dir), device="cpu", lookahead="random")
    found = bench_decode(engine, held_out_holes(2), max_new_tokens=8, repeats=1, temperature=0.0)
    rows = {row["strategy"]: row for row in found["rows"]}
    assert rows.keys() == {"autoregressive", "pass", "auto", "transformers generate"}
    assert rows["autoregressive"]["speedup"] == 1.0
    assert rows["autoregressive"]["tokens_per_forward"] == rows["transformers generate"]["tokens_per_forward"] == 1.0
    assert rows["autoregressive"]["acceptance_rate"] is None
    assert rows["pass"]["acceptance_rate"] is not None and rows["pass"]["tokens_per_forward"] >= 1.0
    assert found["prompts"] == 2 and found["prompt_tokens"] > 50


@pytest.mark.parametrize(
    "arguments",
    [
        ["infill", "--holes", "2"],
        ["decode", "--holes", "1", "--repeats", "1", "--max-new-tokens", "4", "--threads", "1"],
        ["latency", "--keystrokes", "2", "--pause-ms", "0", "--no-overhead"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_the_last_line_on_stdout_is_json(
    model_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    out = tmp_path / "figures.json"
    options = ["--model", str(model_dir), "--device", "cpu", "--json", str(out)]
    monkeypatch.setattr(sys, "argv", ["pass-lsp", "bench", *arguments, *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    lines = capsys.readouterr().out.splitlines()
    found = json.loads(lines[-1])
    assert found["bench"] == arguments[0]
    assert json.loads(out.read_text()) == found
    assert logging.getLogger("pass_lsp").propagate


def test_infill_reads_holes_from_a_file(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "holes.jsonl"
    data.write_text(json.dumps(ROW) + "\n")
    monkeypatch.setattr(sys, "argv", ["pass-lsp", "bench", "infill", "--data", str(data), "--model", str(model_dir)])
    with pytest.raises(SystemExit):
        cli.main()
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["data"], found["holes"]) == ("holes.jsonl", 1)
