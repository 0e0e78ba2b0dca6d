"""Statements of real code that are begun: the true text comes whole, and nothing of what follows it."""

from __future__ import annotations

import argparse
import ast
import configparser
import heapq
import inspect
import logging
import queue
import random
import re
import shutil
import tempfile
import textwrap
import zipfile
from collections.abc import Iterator
from itertools import islice
from types import ModuleType

import pytest

from tests.test_postprocess import accepted

log = logging.getLogger(__name__)
MODULES = (argparse, configparser, heapq, queue, shutil, tempfile, textwrap, zipfile)
CLOSERS = {"(": ")", "[": "]", "{": "}"}
MOST_LINES, MOST_OF_A_MODULE = 6, 15


def statements(module: ModuleType, kind: str) -> Iterator[tuple[str, str, str]]:
    """What stands left of the cursor, in the rest of the statement, and below it, for a random column of each."""
    text, rng = inspect.getsource(module), random.Random(module.__name__)
    lines = text.splitlines(keepends=True)
    starts = [sum(map(len, lines[:number])) for number in range(len(lines) + 1)]
    for node in filter(lambda node: isinstance(node, ast.stmt), ast.walk(ast.parse(text))):
        line, last = lines[node.lineno - 1], node.end_lineno or node.lineno
        code, indent = line.rstrip(), len(line) - len(line.lstrip())
        if len(code) < indent + 6 or last - node.lineno > MOST_LINES or kind_of(node, code, last) != kind:
            continue
        end = starts[last] - 1
        at = starts[node.lineno - 1] + rng.randrange(indent + 2, len(code))
        if text[:at].count('"""') % 2 == 0:
            yield text[:at], text[at:end], text[end:]


def kind_of(node: ast.AST, code: str, last: int) -> str:
    """`header` where a block is below, `bracket` where the line leaves one open, `line` where that is all."""
    if isinstance(node, (ast.FunctionDef, ast.If, ast.For, ast.While, ast.With)):
        return "header" if code.endswith(":") and node.body[0].lineno > node.lineno else ""
    if not isinstance(node, (ast.Assign, ast.Return, ast.Expr)):
        return ""
    return "line" if last == node.lineno else "bracket" if code[-1] in "([{," else ""


def closed_by_the_editor(hole: tuple[str, str, str]) -> Iterator[tuple[str, str, str, str]]:
    """The same from behind the first bracket that the rest of the line opens, and the closer that an editor puts."""
    left, rest, below = hole
    found = re.search(r"[(\[{]", rest.partition("\n")[0])
    if found is not None:
        yield left + rest[: found.end()], CLOSERS[found.group()], rest[found.end() :], below


@pytest.mark.parametrize("kind", ["header", "bracket", "line", "closed"])
def test_what_is_begun_comes_whole(kind: str) -> None:
    begun = [
        hole
        for module in MODULES
        for hole in islice(statements(module, kind.replace("closed", "bracket")), MOST_OF_A_MODULE)
    ]
    if kind == "closed":
        holes = [closed for hole in begun for closed in closed_by_the_editor(hole)]
    else:
        holes = [(left, "", rest, below) for left, rest, below in begun]
    told = [
        (f"{left}<CURSOR>{closer}{below}", rest + below, left + rest + below) for left, closer, rest, below in holes
    ]
    whole = sum(accepted(source, said) == expected for source, said, expected in told)
    log.info("%s: %d of %d whole", kind, whole, len(told))
    assert len(told) > 30 and whole > 0.95 * len(told)
