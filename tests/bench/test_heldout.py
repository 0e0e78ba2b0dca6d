"""Held-out text and the holes cut in it: six kinds, in code only, the same for a seed."""

from __future__ import annotations

import ast
import gzip
import hashlib
import json
import random
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from pass_lsp.bench import heldout
from pass_lsp.bench.heldout import (
    BEGUN,
    BRACKETS,
    KINDS,
    MID_LINE,
    MULTI,
    SINGLE,
    SPAN,
    HeldOut,
    code_lines,
    cut,
    cut_holes,
    installed_held_out,
    is_corpus,
    read_held_out,
)
from pass_lsp.bench.holes import Hole
from pass_lsp.errors import ConfigError
from pass_lsp.train.corpus import HELD_OUT_MODULES

TEXT = '''"""A docstring."""
import os

# A comment.
def total(values, start=0):
    """Add them up."""
    result = start
    for value in values:
        result += value  # one
        if result > 9:
            break

    return sum(
        (result,
         0))
'''


def test_code_lines_are_code() -> None:
    lines = code_lines(TEXT)
    assert [TEXT[line.start : line.end].partition("\n")[0] for line in lines] == [
        "def total(values, start=0):",
        "result = start",
        "for value in values:",
        "result += value  # one",
        "if result > 9:",
        "break",
        "return sum(",
    ]
    assert TEXT[lines[-1].start : lines[-1].end].endswith("0))")
    assert [TEXT[at] for at in lines[1].tokens] == ["r", "=", "s"]
    assert [line.indent for line in lines] == [0, 4, 4, 8, 8, 12, 4]


@pytest.mark.parametrize(
    "text", ["", "\n", "def f(:\n  x\n", "'''", "x = (\n", "x = )(\n", "\x0cx = 1\n", "x = 1", "\ttab\n  y\n"]
)
def test_broken_and_odd_texts_have_lines_or_none(text: str) -> None:
    for line in code_lines(text):
        assert 0 <= line.start < line.end <= len(text)


@pytest.fixture
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heldout, "MIN_PREFIX", 0)


@pytest.mark.usefixtures("roomy")
def test_each_kind_is_what_it_says() -> None:
    lines = code_lines(TEXT)
    cuts = {
        kind: {hole.middle for seed in range(300) if (hole := cut("x.py", TEXT, lines, kind, random.Random(seed)))}
        for kind in KINDS
    }
    assert {"result = start", "for value in values:", "result += value  # one", "values:"} <= cuts[SINGLE]
    assert all("\n" not in middle for middle in cuts[SINGLE])
    loop = "for value in values:\n        result += value  # one\n        if result > 9:\n            break"
    assert {"result = start\n    " + loop, loop} <= cuts[MULTI]
    assert all(middle.count("\n") for middle in cuts[MULTI])
    assert len(cuts[SPAN]) > 50


def all_holes(text: str, kind: str) -> Iterator[Hole]:
    """What is cut by so many seeds that all there is comes."""
    for seed in range(600):
        if hole := cut("x.py", text, code_lines(text), kind, random.Random(seed)):
            assert (hole.prefix + hole.middle + hole.suffix, hole.kind) == (text, kind)
            yield hole


CALLS = '''"""A docstring."""
def total(values, start=(0)):
    """Add them (up)."""
    if check(values, first(start[0]), ("(", 1)):
        show(values)  # not at the end
        return {"a": make(values, [
            start, name()])}
    return y
'''


@pytest.mark.usefixtures("roomy")
def test_holes_inside_brackets_stand_before_what_an_editor_closes() -> None:
    cuts: set[tuple[str, str, str]] = set()
    for hole in all_holes(CALLS, BRACKETS):
        ends = (side.strip() for side in (hole.prefix.rpartition("\n")[2], hole.suffix.partition("\n")[0]))
        cuts.add((*ends, hole.middle))  # type: ignore[arg-type]
    assert {(left, middle, right) for left, right, middle in cuts} == {
        ("def total(", "values, start=(0)", "):"),
        ("def total(values", ", start=(0)", "):"),
        ("def total(values,", "start=(0)", "):"),
        ("def total(values, start", "=(0)", "):"),
        ("def total(values, start=", "(0)", "):"),
        ("def total(values, start=(", "0", ")):"),
        ("if check(", 'values, first(start[0]), ("(", 1)', "):"),
        ("if check(values", ', first(start[0]), ("(", 1)', "):"),
        ("if check(values,", 'first(start[0]), ("(", 1)', "):"),
        ("if check(values, first", '(start[0]), ("(", 1)', "):"),
        ("if check(values, first(start[0])", ', ("(", 1)', "):"),
        ("if check(values, first(start[0]),", '("(", 1)', "):"),
        ("if check(values, first(start[0]), (", '"(", 1', ")):"),
        ('if check(values, first(start[0]), ("("', ", 1", ")):"),
        ('if check(values, first(start[0]), ("(",', "1", ")):"),
        ("start", ", name()", "])}"),
        ("start,", "name()", "])}"),
        ("start, name", "()", "])}"),
        ("", "start, name()", "])}"),
    }


ITEMS = '''"""A docstring."""
value = make(first, [a, b], c) + other(x)
table = {
    "a": 1,
    "b": call(d),
}
'''


@pytest.mark.usefixtures("roomy")
def test_holes_amid_a_line_end_with_an_item_behind_which_the_line_goes_on() -> None:
    assert {(hole.prefix.rpartition("\n")[2], hole.middle) for hole in all_holes(ITEMS, MID_LINE)} == {
        ("value = make(", "first"),
        ("value = make(first, ", "[a, b]"),
        ("value = make(first, [", "a"),
        ("value = make(first, [a, ", "b"),
        ("value = make(first, [a, b], ", "c"),
    }


STATEMENTS = '''"""A docstring."""
def told(value):
    """Prose comes first."""
    if value: return 1
    for each in value:
        each()

        each()
    with value as each:
        each()
        # Some of it stands behind its code.
    value = call(
        1)
    while value:
        """Prose alone."""
    return value
'''


@pytest.mark.usefixtures("roomy")
def test_begun_statements_lack_all_that_belongs_to_them() -> None:
    cuts = {(hole.prefix.rpartition("\n")[2].strip(), hole.middle) for hole in all_holes(STATEMENTS, BEGUN)}
    block = ":\n        each()\n\n        each()"
    assert cuts == {
        ("for", "each in value" + block),
        ("for each", "in value" + block),
        ("for each in", "value" + block),
        ("value", "= call(\n        1)"),
        ("value =", "call(\n        1)"),
        ("value = call", "(\n        1)"),
        ("for each in value", block),
    }


def test_the_kinds_apart_change_no_hole_of_the_others() -> None:
    """Figures of the other kinds stay comparable: these were cut before there were more."""
    text = HeldOut({"a": [("a.py", TEXT * 3)], "b": [("b.py", TEXT * 2)]})
    cut_then = [(355, 14), (573, 72), (374, 92), (691, 14), (321, 97), (691, 32), (434, 14), (475, 31), (612, 111)]
    assert [(len(hole.prefix), len(hole.middle)) for hole in cut_holes(text, 9)] == cut_then
    many = repr([(hole.path, hole.kind, len(hole.prefix), len(hole.middle)) for hole in cut_holes(text, 60, seed=7)])
    assert hashlib.sha256(many.encode()).hexdigest()[:16] == "0503cb385d8d23d1"


def test_holes_are_the_same_for_a_seed_and_rejoin() -> None:
    held_out = installed_held_out()
    holes = cut_holes(held_out, 30)
    assert holes == cut_holes(held_out, 30) and holes[:9] == cut_holes(held_out, 9)
    assert holes != cut_holes(held_out, 30, seed=1)
    assert [hole.kind for hole in holes[:6]] == [*KINDS, *KINDS]
    root = Path(sysconfig.get_paths()["stdlib"])
    for hole in holes:
        if hole.path in HELD_OUT_MODULES:
            assert hole.prefix + hole.middle + hole.suffix == (root / hole.path).read_text("utf-8")
        ast.parse(hole.prefix + hole.middle + hole.suffix)
        assert len(hole.prefix) >= heldout.MIN_PREFIX and hole.suffix.strip()


def test_held_out_packages_count_when_they_are_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "module.py").write_text(TEXT * 2)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_module.py").write_text(TEXT * 2)

    class File:
        suffix = ".py"

        def __init__(self, path: Path) -> None:
            self.path = path

        def __str__(self) -> str:
            return self.path.relative_to(tmp_path).as_posix()

        def locate(self) -> Path:
            return self.path

    def distribution(name: str) -> SimpleNamespace:
        if name != "tenacity":
            raise heldout.metadata.PackageNotFoundError(name)
        return SimpleNamespace(version="9.9", files=[File(path) for path in sorted(tmp_path.rglob("*.py"))])

    monkeypatch.setattr(heldout.metadata, "distribution", distribution)
    sources = installed_held_out().sources
    assert sources["tenacity==9.9"] == [("module.py", TEXT * 2)]
    assert set(sources) - {"tenacity==9.9"} == set(HELD_OUT_MODULES)


def test_folders_and_parts_of_a_corpus_are_told_from_files_of_holes(tmp_path: Path, sources: Path) -> None:
    part, holes, torn = (tmp_path / name for name in ("heldout.jsonl.gz", "holes.jsonl.gz", "torn.gz"))
    part.write_bytes(gzip.compress(json.dumps({"source": "s", "path": "p.py", "text": TEXT * 2}).encode() + b"\n"))
    holes.write_bytes(gzip.compress(b'{"prompt": "", "suffix": "", "canonical_solution": ""}\n'))
    torn.write_bytes(part.read_bytes()[:20])
    plain = tmp_path / "plain.jsonl"
    plain.write_text("{}")
    assert is_corpus(part) and is_corpus(sources)
    assert not any(map(is_corpus, (holes, torn, plain, tmp_path / "missing")))
    assert read_held_out(part).sources == {"heldout.jsonl.gz": [("p.py", TEXT * 2)]}
    assert len(cut_holes(read_held_out(sources), 6)) == 6


def test_text_without_code_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"folder with \.py"):
        read_held_out(tmp_path)
    (tmp_path / "short.py").write_text("x = 1\n")
    with pytest.raises(ConfigError, match="filters"):
        read_held_out(tmp_path)
    with pytest.raises(ConfigError, match="larger folder"):
        cut_holes(HeldOut({"a": [("a.py", "# nothing\n" * 90)]}), 3)
