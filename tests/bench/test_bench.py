"""The benchmarks' arithmetic and files, and that their last line is JSON."""

from __future__ import annotations

import gzip
import io
import json
import logging
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from scipy.stats import binomtest

from pass_lsp import cli
from pass_lsp.bench import demo, infill
from pass_lsp.bench.heldout import BRACKETS, MULTI, SINGLE, SPAN, is_corpus
from pass_lsp.bench.holes import GIVEN, Hole, held_out_holes, read_holes
from pass_lsp.bench.infill import bench_infill, wilson
from pass_lsp.bench.measure import repeated_share
from pass_lsp.bench.pictures import draw
from pass_lsp.bench.traces import Edit, Trace, made_traces
from pass_lsp.bench.typing import bench_typing
from pass_lsp.completion import Outcome
from pass_lsp.documents.document import Document
from pass_lsp.domain import Completion
from pass_lsp.engines.embedded import embedded_model
from pass_lsp.engines.local import load_engine
from pass_lsp.errors import ConfigError
from pass_lsp.metrics import gate
from pass_lsp.reasons import Reason
from pass_lsp.train.corpus import HELD_OUT_MODULES
from pass_lsp.train.tokenizer import read_tokenizer


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
        assert (holes[0].kind, holes[0].test) == (GIVEN, "")
    (tmp_path / "holes.jsonl").write_text(lines + "{", encoding="utf-8-sig")  # what is not asked for is not looked at
    assert read_holes(tmp_path / "holes.jsonl", 5)[:3] == holes


def test_read_holes_takes_tests_of_the_humaneval_form(tmp_path: Path) -> None:
    row = {**ROW, "test": "def check(candidate):\n    pass\n", "entry_point": "f", "task_id": "x/0"}
    (tmp_path / "holes.jsonl").write_text(json.dumps(row) + "\n")
    (hole,) = read_holes(tmp_path / "holes.jsonl", 3)
    assert hole.test.rstrip().endswith("check(f)")


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\n\n", b"{", b"[1]\n", b'"text"\n', b'{"prompt": "x"}\n', b"\xff\xfe\n", b"null\n", b"[" * 100_000),
        *(json.dumps(ROW | {key: value}).encode() for key in ROW for value in (None, 1, ["x"], "\ud800")),
        json.dumps(ROW | {"test": 5, "entry_point": "f"}).encode(),
        json.dumps(ROW | {"test": "x", "entry_point": None}).encode(),
    ],
    ids=range(23),
)
def test_read_holes_explains_what_it_cannot_use(tmp_path: Path, content: bytes) -> None:
    for name in ("holes.jsonl", "holes.jsonl.gz"):
        (tmp_path / name).write_bytes(content if name.endswith("l") else gzip.compress(content))
        assert not is_corpus(tmp_path / name)
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

    def scripted(document: Document, offset: int, engine: Any, settings: Any, least_log_prob: float) -> Outcome:
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


@pytest.mark.parametrize(
    ("text", "begins"),
    [("# one\n    y", True), ('\n    """Doc."""', True), ("y = 1  # one", False), ('"""a""".join(b)', False)],
)
def test_an_answer_that_begins_with_prose_is_told(text: str, begins: bool) -> None:
    assert infill.judge(Hole("b.py", "def f():\n    ", "a = 1", "\n"), text).prose is begins


def test_infill_counts_by_kind_and_against_another_model(monkeypatch: pytest.MonkeyPatch) -> None:
    holes = [
        Hole("a.py", "x = 1\ny = ", "x + 1", "\nz = 3\n", SINGLE),
        Hole("a.py", "x = 1\ny = ", "x + 2", "\nz = 3\n", SINGLE),
        Hole("b.py", "def f():\n    ", "a = 1\n    return a", "\n\nf()\n", MULTI),
    ]
    answers: dict[Any, list[str]] = {
        "ours": ["x + 1", "x +", "a = 1\n    return a"],
        "theirs": ["x + 1", "x + 2", "a = 1\n    return b"],
    }

    def scripted(document: Document, offset: int, engine: Any, settings: Any, least_log_prob: float) -> Outcome:
        hidden = not document.text[offset:]
        return Outcome(Completion("" if hidden else answers[engine].pop(0), offset, offset))

    monkeypatch.setattr(infill, "complete_document", scripted)
    ours: Any = "ours"
    found = bench_infill(ours, holes, ("older", "theirs"))  # type: ignore[arg-type]
    rows = {row["contender"]: row for row in found["rows"]}
    assert (found["better"], found["worse"]) == (1, 1)
    assert rows["model"]["exact"] == rows["against older"]["exact"] == pytest.approx(2 / 3, abs=1e-3)
    assert rows["model"]["first_line_exact"] == rows["model"]["exact"]
    assert rows["model"]["parses"] == pytest.approx(2 / 3, abs=1e-3)  # "y = x +" does not
    assert rows["nothing"]["parses"] == 0
    kinds = {(row["kind"], row["contender"]): row for row in found["by_kind"]}
    assert {kind for kind, _ in kinds} == {SINGLE, MULTI}
    assert kinds[SINGLE, "model"]["exact"] == 0.5 and kinds[SINGLE, "model"]["holes"] == 2
    assert kinds[MULTI, "model"]["exact"] == 1.0 and kinds[MULTI, "against older"]["exact"] == 0.0
    assert kinds[MULTI, "against older"]["first_line_exact"] == 1.0
    assert "passed" not in rows["model"] and "network" not in found


def test_closers_that_an_answer_replaces_are_no_part_of_what_is_compared() -> None:
    hole = Hole("a.py", "def f(x):\n    return g(", "x, 1", ")\n", BRACKETS)

    def judged(text: str, replaced: int) -> tuple[bool, bool, float]:
        answer = infill.judge(hole, text, replaced=replaced)
        return answer.exact, answer.parses, answer.similarity

    assert judged("x, 1", 0) == judged("x, 1)", 1) == (True, True, 1.0)
    assert judged("x, 1)", 0)[:2] == (False, False)  # the closer is there twice
    assert judged("x", 0) == judged("x)", 1) == (False, True, pytest.approx(0.4))
    assert judged("x, 1) + g(x)", 1)[:2] == judged("x, 1) + 2", 1)[:2] == (False, True)
    assert 0.6 < judged("x, 1) + 2", 1)[2] < 1.0


def test_holes_inside_brackets_are_asked_before_their_closers_and_counted_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    holes = [
        Hole("a.py", "x = 1\ny = ", "x + 1", "\nz = 3\n", SINGLE),
        Hole("b.py", "x = 1\ny = f(", "x, 2", ")\nz = 3\n", BRACKETS),
        Hole("b.py", "x = 1\ny = g(", "x", ")\nz = 3\n", BRACKETS),
    ]
    asked: list[str] = []

    def scripted(document: Document, offset: int, engine: Any, settings: Any, least_log_prob: float) -> Outcome:
        asked.append(document.text[offset:])
        text = {"y = ": "x + 2", "y = f(": "x, 2)", "y = g(": "y"}[document.text[6:offset]]
        text = "x" if engine == "theirs" else text
        return Outcome(Completion(text, offset, offset + text.count(")"), log_prob=-1.0))

    monkeypatch.setattr(infill, "complete_document", scripted)
    ours: Any = "ours"
    found = bench_infill(ours, holes, ("older", "theirs"))  # type: ignore[arg-type]
    assert asked[:6] == ["\nz = 3\n", ")\nz = 3\n", ")\nz = 3\n", "", ")", ")"]
    assert (found["holes"], found["better"], found["worse"], found["multi_line"]) == (1, 0, 0, 0)
    assert found["inside_brackets"] == {"holes": 2, "better": 1, "worse": 1}
    assert {row["contender"]: row["exact"] for row in found["rows"]}["model"] == 0.0
    assert found["when_unsure_ones_are_left_out"][0]["answers"] == 1
    kinds = {(row["kind"], row["contender"]): row for row in found["by_kind"]}
    assert (kinds[BRACKETS, "model"]["exact"], kinds[BRACKETS, "model"]["parses"]) == (0.5, 1.0)
    assert kinds[BRACKETS, "model, suffix hidden"]["parses"] == 1.0
    assert kinds[BRACKETS, "nothing"] == kinds[SINGLE, "nothing"] | {
        "kind": BRACKETS, "holes": 2, "parses": 1.0,
        "interval": [0.0, pytest.approx(0.658, abs=1e-3)], "exact_interval": [0.0, pytest.approx(0.658, abs=1e-3)],
    }  # fmt: skip
    assert kinds[BRACKETS, "against older"]["exact"] == 0.5


def test_infill_tells_what_hiding_unsure_answers_would_bring(monkeypatch: pytest.MonkeyPatch) -> None:
    holes = [Hole("a.py", "x = 1\ny = ", str(number), "\nz = 3\n", SINGLE) for number in range(10)]
    answers = iter([("0", -1.0), ("1", -2.0), ("2", -9.0), *((f"wrong{n}", -5.0 - n) for n in range(3, 9)), ("", None)])

    def scripted(document: Document, offset: int, engine: Any, settings: Any, least_log_prob: float) -> Outcome:
        assert least_log_prob == float("-inf")
        text, log_prob = next(answers, ("", None))
        return Outcome(Completion(text, offset, offset, log_prob=log_prob) if text else None)

    monkeypatch.setattr(infill, "complete_document", scripted)
    engine: Any = None
    monkeypatch.setattr(gate, "LEAST_HIDDEN", 4)
    found = bench_infill(engine, holes)
    rows = {row["left_out"]: row for row in found["when_unsure_ones_are_left_out"]}
    assert list(rows) == list(infill.LEFT_OUT)
    assert [rows[0.0][key] for key in ("answers", "first_line_exact", "of_the_right_ones")] == [9, 0.333, 1.0]
    # The five that are left out are 8, 7, 6 and 5, wrong, and 2, right.
    assert [rows[0.6][key] for key in ("answers", "first_line_exact", "of_the_right_ones")] == [4, 0.5, 0.667]
    assert rows[0.8]["first_line_exact"] == 1.0
    hidden = {"below": -9.0, "answers": 4, "of_all": 0.444, "first_line_exact": 0.0, "of_the_right_ones": 0.0}
    assert found["hopeless"] == hidden | {"interval": [0.0, pytest.approx(0.49, abs=0.01)]}


def test_infill_runs_the_tests_of_holes_that_have_some(monkeypatch: pytest.MonkeyPatch) -> None:
    test = "def check(candidate):\n    assert candidate(2) == 3\ncheck(f)\n"
    holes = [
        Hole("s.py", "def f(x):\n    return ", "x + 1", "\n", GIVEN, test),
        Hole("s.py", "def f(x):\n    return ", "1 + x", "\n", GIVEN, test),
    ]
    monkeypatch.setattr(infill, "_infilled", lambda engine, hole, suffix: "x + 1" if suffix else "x")
    engine: Any = None
    found = bench_infill(engine, holes)
    rows = {row["contender"]: row for row in found["rows"]}
    assert rows["model"]["passed"] == 1.0 and rows["model"]["exact"] == 0.5
    assert rows["model, suffix hidden"]["passed"] == 0.0
    assert rows["what was there"]["passed"] == rows["what was there"]["exact"] == 1.0
    assert rows["nothing"]["passed"] == 0.0
    assert found["network"] in ("namespace", "audit hook") and not found["by_kind"]


def test_the_model_alone_gets_its_own_form_of_the_question(model_dir: Path) -> None:
    engine = load_engine(str(model_dir), device="cpu", lookahead=None)
    asked: list[list[int]] = []
    generate = engine.generate

    def spy(prompt_ids: Any, params: Any) -> Any:
        asked.append(list(prompt_ids))
        return generate(prompt_ids, params)

    engine.generate = spy  # type: ignore[method-assign,assignment]
    found = bench_infill(engine, [Hole("a/b.py", "first = 1\nsec", "ond = 2", " # end\n", SPAN)])
    shown, hidden = (engine.tokenizer.decode(ids) for ids in asked)
    assert shown == "<|file|>a/b.py\n<|fim_suffix|> # end\n<|fim_prefix|>first = 1\nsec<|fim_middle|>"
    assert hidden == shown.replace(" # end\n", "")
    assert found["holes"] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["infill", "--holes", "2"],
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


# --- demo -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("look", "marked"),
    [({"force_terminal": True, "color_system": "standard"}, False), ({}, True)]
    + [({"force_terminal": True, **plain}, True) for plain in ({"no_color": True}, {"color_system": None})],
)
def test_the_demo_marks_its_answer_where_there_is_no_green(look: dict[str, Any], marked: bool) -> None:
    console = Console(file=io.StringIO(), highlight=False, **look)
    demo._show(console, Hole("a.py", "a = ", "1", ""), demo.Shown("2", 1.0, 1.0, 1.0))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert ("a = ▶2◀" in shown, "in green" in shown) == (marked, not marked)


# --- typing ---------------------------------------------------------------------


def test_typing_reads_little_anew_where_the_suffix_comes_first() -> None:
    tokenizer = read_tokenizer(embedded_model())
    found = bench_typing(tokenizer, made_traces(300), 1024, 0)
    first, second = found["rows"]
    assert (first["order"], second["order"]) == ("suffix first", "prefix first")
    assert found["keystrokes"] == 300
    assert first["read_p50"] <= 8 and second["read_p50"] <= second["suffix_p50"] + 8
    assert first["read_p99"] <= 16  # whatever brackets the editor closes
    assert first["suffix_p50"] > 50


@pytest.mark.parametrize("keys", [0, 1])
def test_typing_needs_two_keys(keys: int) -> None:
    trace = Trace("a.py", "a = 1\n", (Edit(0, 6, 0, "b", 7),) * keys)
    with pytest.raises(ConfigError, match="give a longer session"):
        bench_typing(read_tokenizer(embedded_model()), [trace], 1024, 0)


def test_infill_cuts_a_folder_compares_two_models_and_draws_it(
    model_dir: Path, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--data", str(sources), "--model", str(model_dir), "--against", str(model_dir), "--holes", "3"]
    given += ["--plot", str(tmp_path / "shares.png")]
    monkeypatch.setattr(sys, "argv", ["pass-lsp", "bench", "infill", *given])
    with pytest.raises(SystemExit):
        cli.main()
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    rows = {row["contender"]: row for row in found["rows"]}
    assert rows[f"against {model_dir.name}"] == rows["model"] | {"contender": f"against {model_dir.name}"}
    assert (found["better"], found["worse"]) == (0, 0) and len({row["kind"] for row in found["by_kind"]}) == 6
    assert found["holes"] == 3
    assert found["inside_brackets"] == found["begun"] == found["mid_line"] == {"holes": 1, "better": 0, "worse": 0}
    assert (tmp_path / "shares.png").read_bytes().startswith(b"\x89PNG")


def test_shares_are_drawn_with_their_intervals_also_of_one_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.axes import Axes

    drawn: list[Any] = []
    barh = Axes.barh
    monkeypatch.setattr(
        Axes, "barh", lambda axes, *it, **how: drawn.append((*it, how["xerr"])) or barh(axes, *it, **how)
    )
    row = {"first_line_exact": 0.5, "interval": [0.25, 0.75], "exact": 0.0, "exact_interval": [0.0, 0.25]}
    rows = [{"contender": name, **row} for name in ("model", "nothing")]
    by_kind = [{"kind": kind, **row} for kind in ("line", "block") for row in rows]
    draw({"bench": "infill", "rows": rows, "by_kind": []}, tmp_path / "one.png")
    places, shares, around = drawn[0]
    assert (places, shares, around) == ([0, 1], [0.5, 0.5], [[0.25, 0.25], [0.25, 0.25]])
    assert drawn[1][1:] == ([0.0, 0.0], [[0.0, 0.0], [0.25, 0.25]])
    draw({"bench": "infill", "rows": rows, "by_kind": by_kind}, tmp_path / "two.png")
    assert [bars[0] for bars in drawn[2:4]] == [[-0.2, 0.8], [0.2, 1.2]]
