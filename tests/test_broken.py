"""Answers that would leave the document broken are not shown; those that something may follow are."""

from __future__ import annotations

import pytest

from pass_lsp.context import errors_in
from pass_lsp.reasons import Reason
from tests.cursor import parse
from tests.test_postprocess import accepted, context_of

BROKEN = [
    # What was begun is not finished,
    ("with a<CURSOR>\nb = c\n", " c = d(e)"),
    ("if a == b <CURSOR>\nc = d\n", "and ^"),
    ("def f(a):\n    warnings.<CURSOR>\n    return a\n", "warn("),
    ("for <CURSOR>\nx = 1\n", "self.names("),
    # or what is new is no code.
    ("a = 1\n<CURSOR>\nb = 2\n", "c = = 3"),
    ("a = 1\n<CURSOR>\nb = 2\n", "c = r'[\\w!\\'&^&'+"),
    # A block below has lost its header, and gets none.
    ("def f(a):\n    <CURSOR>\n        return a\n    return b\n", "a = b"),
    ("def f(a):\n    <CURSOR>\n        # Why.\n        return a\n", "b(\n        a,\n    )"),
    ("class A:\n    a = 1\n    <CURSOR>\n        return a\n", "b = 2"),
    ("def f(a):\n    if a<CURSOR>\n        return a\n", " == b"),
    ("a:\n  <CURSOR>\n    c: 1\n", "b: 2", "a.yaml"),
]

SOUND = [
    # A header's block may come, as may what is decorated, and an `except`.
    ("if a<CURSOR>\nb = 1\n", " is None:", "if a is None:\nb = 1\n"),
    ("a = 1\n<CURSOR>\n", "@property", "a = 1\n@property\n"),
    ("a = 1\ntry<CURSOR>\n", ":\n    b()\n", "a = 1\ntry:\n    b()\n"),
    # The user may close what the user has opened,
    ("a = 1\nf(<CURSOR>\n", "a, b", "a = 1\nf(a, b\n"),
    ("a = 1\nf([<CURSOR>\n", "a, b]", "a = 1\nf([a, b]\n"),
    ('a = """A<CURSOR>\n', " b.", 'a = """A b.\n'),
    # An empty block gets its first line, from column 0 too,
    ("if a:\n<CURSOR>\nb = 1\n", "    c = d", "if a:\n    c = d\nb = 1\n"),
    # and where the document is broken elsewhere nobody knows.
    ("def f(:\n    pass\n\n\na = <CURSOR>\n", "b c", "def f(:\n    pass\n\n\na = b c\n"),
    ("a = <CURSOR>\n\n\ndef f(:\n    pass\n", "b c", "a = b c\n\n\ndef f(:\n    pass\n"),
    # A block that lacks its header gets one; comments and what goes on may be deeper.
    ("def f(a):\n    <CURSOR>\n        return a\n", "if a:", "def f(a):\n    if a:\n        return a\n"),
    ("def f(<CURSOR>\n    return a\n", "\n    a,\n):", "def f(\n    a,\n):\n    return a\n"),
    ("if a:\n    <CURSOR>\n        # Why.\n    b = a\n", "c()", "if a:\n    c()\n        # Why.\n    b = a\n"),
    ("a = b + \\\n    <CURSOR>\n        d\n", "c + \\", "a = b + \\\n    c + \\\n        d\n"),
    ("f(\n    <CURSOR>\n        b=1,\n)\n", "a,", "f(\n    a,\n        b=1,\n)\n"),
    ("a:\n  <CURSOR>\n    c: 1\n", "b:", "a:\n  b:\n    c: 1\n", "a.yaml"),
    ("a: |\n  c \\\n  <CURSOR>\n    -f\n", "-d \\", "a: |\n  c \\\n  -d \\\n    -f\n", "a.yaml"),
    ("a:\n  <CURSOR>\n    c: 1\n", "- b: 2", "a:\n  - b: 2\n    c: 1\n", "a.yaml"),
]  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_an_answer_that_breaks_the_document_is_not_shown(case: tuple[str, ...]) -> None:
    source, text, *name = case
    assert accepted(source, text, path=f"/p/{name[0] if name else 'a.py'}") is Reason.BROKEN


@pytest.mark.parametrize("case", SOUND)
def test_what_may_go_on_is_shown(case: tuple[str, ...]) -> None:
    source, text, expected, *name = case
    assert accepted(source, text, path=f"/p/{name[0] if name else 'a.py'}") == expected


def test_what_a_limit_cut_off_is_shown() -> None:
    assert accepted("a = 1\n<CURSOR>\nb = 2\n", "c = d(", "length") == "a = 1\nc = d(\nb = 2\n"


def test_errors_without_the_line_are_those_of_all_the_rest() -> None:
    for source, broken in (("a = 1\nb = = <CURSOR>\nc = 1\n", False), ("f(:\nb = <CURSOR>\nc = 1\n", True)):
        context, offset = context_of(source)
        document, _ = parse(source, "/p/a.py")
        errors = errors_in(document, offset, context)
        assert errors is not None and bool(errors(None, 0)) is broken
