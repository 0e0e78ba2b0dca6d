"""What stands for the far parts of a file in training has the form that it has in the product."""

from __future__ import annotations

import argparse
import inspect

import pytest

from pass_lsp.context import build_context
from pass_lsp.documents.document import Document
from pass_lsp.train.outline import IMPORTS_SHARE, above, below

SOURCE = inspect.getsource(argparse)
IMPORTS = "import os\nfrom sys import (\n    path,\n    stdin,\n)\n"
BODY = "        import json\n        one = a\n\n        return one\n\n"


def edge_of(text: str, line: str) -> int:
    return text.index(line) if text.startswith(line) else text.index("\n" + line) + 1


def test_above_are_imports_headers_and_signatures() -> None:
    methods = "".join(f"    def f{number}(\n        self, a\n    ):\n{BODY}" for number in range(30))
    text = f"{IMPORTS}\n\nclass A(B):\n    x = 1\n\n{methods}    def g(self):\n        y = 2\n        z = 3\n"
    found = above(text, edge_of(text, "        z = 3\n"), 400)
    assert found.startswith(f"{IMPORTS}class A(B):\n    ...\n")
    assert found.endswith("    def f29(\n        self, a\n    ):\n        ...\n\n    def g(self):\n        y = 2\n")
    assert "json" not in found and "f0" not in found
    assert 300 < len(found) <= 400 + len("    ...\n")


def test_imports_that_do_not_fit_are_left_out_whole() -> None:
    text = f"{IMPORTS}import re\n" + "x = 1\n" * 99 + "y = 2\n"
    room = int(len("import os\nimport re\n") / IMPORTS_SHARE) + 1
    assert above(text, edge_of(text, "y = 2\n"), room).startswith("import os\nimport re\nx = 1\n")


def test_a_header_that_keeps_its_next_line_needs_no_mark() -> None:
    text = "class A:\n    x = 1\n    y = 2\n    z = 3\n"
    assert above(text, edge_of(text, "    z = 3\n"), 1000) == "class A:\n    x = 1\n    y = 2\n"


def test_below_are_the_next_lines_with_bodies_left_out() -> None:
    text = "x = 1\n" + "".join(f"def f{n}(a):  # {n}\n    # why\n    b = a\n    return b\n\n\n" for n in range(40))
    found = below(text, edge_of(text, "def f0"), 100)
    assert found.startswith("def f0(a):  # 0\n    ...\n\n\ndef f1(a):  # 1\n    ...\n")
    assert 60 < len(found) <= 100 and found.endswith("\n")


def test_short_bodies_and_one_line_functions_stay() -> None:
    text = "x = 1\ndef f(a):\n    return a\n\ndef g(a): return a\ny = 2\n"
    assert below(text, edge_of(text, "def f"), 1000) == text.removeprefix("x = 1\n")


@pytest.mark.parametrize(
    "text", ["", "\n", "x", "def f(", "class A:\n", "    \n\n", "def f(:\n\n\n\n\n", "import (\n" * 30]
)
def test_broken_texts_are_outlined_too(text: str) -> None:
    for edge in range(len(text) + 1):
        if edge == 0 or text[edge - 1] == "\n":
            for room in (0, 1, 30, 1000):
                above(text, edge, room)
                assert len(below(text, edge, room)) <= room


@pytest.mark.parametrize("name", ["_parse_known_args", "_get_option_tuples", "parse_known_args"])
def test_the_product_shows_the_same_imports_and_headers(name: str) -> None:
    method = inspect.getsource(getattr(argparse.ArgumentParser, name)).rstrip()
    offset = SOURCE.index(method) + len(method) + len("\n        ")
    text = f"{SOURCE[: offset - 9]}\n        {SOURCE[offset - 9 :]}"
    shown = build_context(Document("", text, language="python", path="a.py"), offset, budget=2900).prefix
    far = above(text, text.rfind("\n", 0, offset - 900) + 1, 900)
    ours, theirs = far.splitlines(), shown.splitlines()
    header = next(row for row, line in enumerate(ours) if line.startswith("class ArgumentParser("))
    assert header >= 4
    assert ours[: header + 1] == theirs[: header + 1]
    marks = [{line for line in lines if line.strip() == "..."} for lines in (ours, theirs)]
    assert marks[0] <= marks[1] and "    ..." in marks[0]
