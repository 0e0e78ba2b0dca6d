"""The texts that benchmarks complete: always there, the same for a seed, and what they claim to be."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from pass_lsp.bench import texts
from pass_lsp.bench.holes import NEAR_PREFIX, NEAR_SUFFIX
from pass_lsp.bench.prompts import tasks_of
from pass_lsp.bench.table import facts, markdown, shown, tables
from pass_lsp.bench.texts import code_holes, copy_holes, prose_holes
from pass_lsp.engines.local import load_engine
from pass_lsp.errors import ConfigError
from pass_lsp.train.corpus import HELD_OUT_MODULES


@pytest.mark.parametrize("make", [copy_holes, code_holes, prose_holes])
def test_texts_are_the_same_for_a_seed(make) -> None:
    assert make(6) == make(6)
    assert make(6)[:3] == make(3)
    assert make(6) != make(6, seed=1)
    assert all(len(hole.middle) > 40 and len(hole.prefix) > 40 for hole in make(6))


def test_copies_are_functions_whose_original_is_in_sight() -> None:
    for number, hole in enumerate(copy_holes(8)):
        assert hole.path in HELD_OUT_MODULES
        lines = [line.strip() for line in hole.middle.splitlines() if line.strip()]
        seen = hole.prefix[-NEAR_PREFIX:] + hole.suffix[:NEAR_SUFFIX]
        known = sum(line in seen for line in lines)
        assert known == len(lines) if number % 2 else known >= 1
        if number % 2 == 0:  # the edited twin is a function of its own
            twice = [node for node in ast.parse(hole.prefix + hole.middle).body if isinstance(node, ast.FunctionDef)]
            assert [node.name for node in twice] == [twice[0].name, f"{twice[0].name}_again"]
            assert ast.dump(twice[0].args) != ast.dump(twice[1].args)


def test_nothing_stands_behind_code_and_prose_that_goes_on() -> None:
    for hole in (*code_holes(4), *prose_holes(4)):
        assert hole.suffix == ""
    assert all("```" not in hole.prefix + hole.middle for hole in prose_holes(12))


def test_without_a_readme_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "_readmes", lambda: iter(["too short"]))
    with pytest.raises(ConfigError, match="README"):
        prose_holes(1)


def test_tasks_hold_what_truly_follows(model_dir: Path) -> None:
    engine = load_engine(str(model_dir), device="cpu", lookahead=None)
    holes = code_holes(3)
    for hole, task in zip(holes, tasks_of(engine, holes, 40), strict=True):
        assert 0 < len(task.truth) <= 40
        assert hole.middle.startswith(engine.tokenizer.decode(task.truth))
        assert len(task.token_ids) <= engine.context_length - 128


def test_going_on_needs_no_suffix_and_no_markers_of_a_hole(model_dir: Path) -> None:
    engine = load_engine(str(model_dir), device="cpu", lookahead=None)
    hole = code_holes(1)[0]
    text = engine.tokenizer.decode(tasks_of(engine, [hole], 8, fill=False)[0].token_ids)
    assert text.startswith(f"<|file|>{hole.path}\n") and hole.prefix.endswith(text[-40:])
    assert "fim" not in text and "fim" in engine.tokenizer.decode(tasks_of(engine, [hole], 8)[0].token_ids)


# --- tables -------------------------------------------------------------------


def test_a_document_of_plain_values_is_one_row() -> None:
    assert list(tables({"bench": "latency", "p50_ms": 3})) == [("figures", [{"p50_ms": 3}])]
    assert facts({"bench": "latency", "p50_ms": 3}) == ""


def test_every_list_of_rows_is_a_table_and_the_rest_is_facts() -> None:
    found = {"bench": "x", "a_b": 1, "where": {"dtype": "int8"}, "rows": [{"k": 1}], "empty": [], "by": [{"k": [1, 2]}]}
    assert [name for name, _ in tables(found)] == ["rows", "by"]
    assert facts(found) == "a b 1, empty , where dtype int8"
    assert markdown([{"a": None, "b": [1, 2.5]}, {"b": True}]) == [
        "| a | b |",
        "| --- | --- |",
        "| – | 1 2.5 |",
        "| – | yes |",
    ]
    assert shown(False) == "no"


def test_rows_of_the_study_get_a_column_for_each_length() -> None:
    row = {"text": "code", "sampling": "greedy", "ms_a_token": 5.0, "speedup": 1.0, "tokens_per_forward": 1.0}
    rows = [
        {**row, "method": "autoregressive", "L": 0},
        *({**row, "method": "pass", "L": n, "speedup": n / 2} for n in (1, 2)),
    ]
    ((_, wide),) = tables({"rows": rows})
    assert [(r["method"], r["ms"], r["L=1"], r["L=2"]) for r in wide] == [
        ("autoregressive", 5.0, None, None),
        ("pass", None, "1.00 (0.5×)", "1.00 (1.0×)"),
    ]
