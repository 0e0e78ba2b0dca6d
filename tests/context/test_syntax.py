"""Parsing: edited trees, windows of huge files, patience, and memory that comes back."""

from __future__ import annotations

import argparse
import inspect
import time
import tracemalloc
from typing import Any

import pytest

from pass_lsp.context import build_context, errors_in, syntax
from pass_lsp.context.syntax import WINDOW_LINES, Trees, one_byte_each, parsed_once
from pass_lsp.documents.document import Document
from pass_lsp.domain import Mode

SOURCE = inspect.getsource(argparse)


def test_trees_are_edited_to_what_a_fresh_parse_gives() -> None:
    edited, text = Trees(), SOURCE[:20_000]
    for at, new in ((5000, "def g(:\n"), (100, "'''"), (5000, ""), (19_000, "é = (1,\n")):
        text = text[:at] + new + text[at + 3 :]
        document = Document("file:///a.py", text)
        line = document.line_count - 1
        once = edited.around(document, line, "    ", "python")
        assert str(once) == str(Trees().around(document, line, "    ", "python"))
        source = one_byte_each(text)
        assert str(edited.root("u", "python", source)) == str(Trees().root("u", "python", source))


def test_huge_files_are_parsed_near_the_cursor_only() -> None:
    document = Document("file:///a.py", "def f(a):\n    return a\n" * 25_000, 1, "python", "/a.py")
    root = Trees().around(document, 49_000, "", "python")
    assert root is not None and root.start_point[0] == 0
    assert len(root.named_children) < WINDOW_LINES
    context = build_context(document, document.line_end(49_001), budget=6000)
    assert context.mode is Mode.SINGLE_LINE
    assert len(context.prefix) + len(context.suffix) <= 6300


def test_a_key_in_a_huge_file_changes_little_of_what_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    document = Document("file:///é.py", "def f(é):\n    é\n    return é\n" * 4_000, 1, "python", "/é.py")
    offset, changed, edit = document.line_end(10_000), list[int](), syntax._edit

    def noted(tree: Any, old: bytes, new: bytes) -> None:
        changed.append(abs(len(new) - len(old)))
        edit(tree, old, new)

    monkeypatch.setattr(syntax, "_edit", noted)
    made: list[int] = []
    for _ in range(4):
        context = build_context(document, offset, budget=6000)
        errors = errors_in(document, offset, context)
        assert errors is not None and errors("x", 0) == 0 < errors("(", 0)
        made.append(syntax._kept.cache_info().misses)
        document, offset = document.edited(offset, offset, "x"), offset + 1
    assert len(changed) > 6 and max(changed) < 20
    assert made[0] == made[-1]


def test_judging_an_answer_leaves_the_tree_for_the_next_key_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed, parse_of = list[bytes](), syntax._parsed

    def noted(language: str, source: bytes, last: Any) -> Any:
        parsed.append(source)
        return parse_of(language, source, last)

    monkeypatch.setattr(syntax, "_parsed", noted)
    document, offset = Document("file:///judged.py", SOURCE, 1, "python", "/judged.py"), SOURCE.index("\nclass")
    for key in range(3):
        context = build_context(document, offset, budget=600)
        assert len(parsed) == key + 1  # for the first key, and one for each answer
        errors = errors_in(document, offset, context)
        assert errors is not None and errors("x", 0) == 0
        document, offset = document.edited(offset, offset, "x"), offset + 1


def test_a_text_that_takes_too_long_to_parse_is_trimmed_by_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def tick() -> float:
        now[0] += 0.3
        return now[0]

    monkeypatch.setattr(syntax.time, "thread_time", tick)
    monkeypatch.setattr(syntax.time, "monotonic", lambda: now[0])
    trees, document = Trees(), Document("file:///slow.py", SOURCE, 1, "python", "/slow.py")
    assert trees.around(document, 9, "", "python") is None
    begun = now[0]
    assert trees.around(document, 10, "", "python") is None
    assert now[0] - begun < 0.5  # not tried again at once
    now[0] = 100.0
    monkeypatch.setattr(syntax.time, "thread_time", lambda: 100.0)
    assert trees.around(document, 10, "", "python") is not None


@pytest.mark.parametrize("size", [1000, len(SOURCE)])
def test_a_text_is_not_kept_by_the_parser(size: int) -> None:
    texts = [one_byte_each(SOURCE[:size] + f"\nx = {number}\n") for number in range(30)]
    parsed_once("python", texts[0])
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for text in texts:
            assert parsed_once("python", text) is not None
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept < len(texts[0])


@pytest.mark.parametrize("size", [1000, len(SOURCE)])
def test_nodes_tell_their_text(size: int) -> None:
    source = one_byte_each(SOURCE[:size])
    root = parsed_once("python", source)
    assert root is not None and [node.text for node in root.named_children] == [
        source[node.start_byte : node.end_byte] for node in root.named_children
    ]


def test_a_busy_machine_costs_no_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    hours = iter(range(0, 10**9, 3600))
    monkeypatch.setattr(syntax.time, "monotonic", lambda: float(next(hours)))
    document = Document("file:///slow.py", SOURCE, 1, "python", "/slow.py")
    assert Trees().around(document, 9, "", "python") is not None


def test_a_tree_as_deep_as_its_text_is_long_costs_no_more_for_it() -> None:
    document = Document("file:///deep.js", "- a\n" * 20_000, 1, "javascript", "/deep.js")
    context = build_context(document, document.line_end(10_000), budget=2000)
    assert context.mode is Mode.SINGLE_LINE and context.prefix.endswith("- a\n- a")


def wrapped(text: str, width: int = 80) -> str:
    return "".join(text[at : at + width] + "\n" for at in range(0, len(text), width))


LONG = (wrapped("(" * 40_000), "(\n" * 20_000, wrapped("([{" * 10_000), "x = 1\n" * 99 + wrapped("(" * 40_000))


@pytest.mark.parametrize("text", LONG)
@pytest.mark.parametrize("share", [0.1, 1.0])
def test_one_long_error_is_not_looked_through(text: str, share: float) -> None:
    document = Document("file:///open.py", text + "\n", 1, "python", "/open.py")
    offset = document.line_end(int((document.line_count - 2) * share))
    began = time.thread_time()
    context = build_context(document, offset, budget=2000)
    errors = errors_in(document, offset, context)
    assert context.mode is not Mode.NONE and errors is not None and errors("x", 0) == 0
    assert time.thread_time() - began < 2  # a second and more for each look


DEEP = (
    "- " * 256 + "a\n",
    "? " * 256 + "a\n",
    "".join(" " * n + "a:\n" for n in range(260)),
    "a: b- " + ": ? - " * 99 + "\n",
)


@pytest.mark.parametrize("text", DEEP)
def test_blocks_deeper_than_the_grammar_bears_are_not_parsed(text: str) -> None:
    document = Document("file:///deep.yaml", text + "b: \n", 1, "yaml", "/deep.yaml")
    assert Trees().around(document, document.line_count - 2, "", "yaml") is None
    assert build_context(document, document.line_end(document.line_count - 2), budget=2000).prefix.endswith("b: ")


def test_what_looks_deep_is_parsed() -> None:
    text = "# " + "-" * 300 + "\na: b" + "-:?" * 100 + "\nc:\n" + "".join(" " * n + "d:\n" for n in range(2, 190))
    assert parsed_once("yaml", one_byte_each(text)) is not None
