"""Prose in Python: found as the tokenizer of the language finds it, and shifted with what it stands in."""

from __future__ import annotations

import io
import sysconfig
import time
import tokenize
from itertools import accumulate
from pathlib import Path

import pytest

from pass_lsp.train.prose import Span, prose, within


def pieces(text: str) -> list[str]:
    return [text[start:end] for start, end in prose(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("x = 1  # one\n# two\n", ["# one", "# two"]),
        ("x = '# no'; y = \"# no\"  # yes", ["# yes"]),
        (
            'def f():\n    """It\'s # one.\n\n    # More.\n    """\n    return 1\n',
            ['"""It\'s # one.\n\n    # More.\n    """'],
        ),
        ("class A:\n    r'''Raw \\''' here'''\n", ["r'''Raw \\''' here'''"]),
        ('x = """no\n# no\n"""\n', []),
        ('"""no""".join(x)\n', []),
        ("'''never closed\n# at all", ["'''never closed\n# at all"]),
        ("x = 'never closed\ny = 1  # yes\n", ["# yes"]),
        ('"""one"""  # two\n', ['"""one"""', "# two"]),
        ("f(\n    '''a\n    b''', x)\n", []),
    ],
)
def test_comments_and_strings_that_stand_alone_are_prose(text: str, found: list[str]) -> None:
    assert pieces(text) == found


@pytest.mark.parametrize("name", ["argparse.py", "textwrap.py", "configparser.py", "shutil.py"])
def test_it_agrees_with_the_tokenizer_of_the_language(name: str) -> None:
    text = (Path(sysconfig.get_paths()["stdlib"]) / name).read_text("utf-8")
    found, wanted = set(prose(text)), tokenized(text)
    assert len(wanted) > 20
    assert found == wanted


def tokenized(text: str) -> set[Span]:
    starts = [0, *accumulate(map(len, text.splitlines(keepends=True)))]
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    found: set[Span] = set()
    begins = True
    for token, following in zip(tokens, [*tokens[1:], tokens[-1]], strict=True):
        ends = following.type in (tokenize.NEWLINE, tokenize.COMMENT)
        long = token.type == tokenize.STRING and token.string.lstrip("rRbBuUfF").startswith(('"""', "'''"))
        if token.type == tokenize.COMMENT or (long and begins and ends):
            (row, column), (last_row, last_column) = token.start, token.end
            found.add((starts[row - 1] + column, starts[last_row - 1] + last_column))
        if token.type not in (tokenize.NL, tokenize.COMMENT):
            begins = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    return found


@pytest.mark.parametrize("text", ["'" * 200_001, '"""' * 100_001, "\\" * 200_000, "x = '\\\n" * 50_000, "r" * 300_000])
def test_hostile_text_costs_little(text: str) -> None:
    began = time.perf_counter()
    prose(text)
    assert time.perf_counter() - began < 5


def test_spans_follow_a_window() -> None:
    spans = [(2, 5), (10, 20)]
    assert within(spans, 0, 30) == spans
    assert within(spans, 4, 12) == [(0, 1), (6, 8)]
    assert within(spans, 5, 10) == []
