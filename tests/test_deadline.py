"""When time is short: the best closed part, and the stop that waits for one."""

from __future__ import annotations

from typing import Any

import pytest

from pass_lsp.context import build_context
from pass_lsp.postprocess import Deadline, closed_lines, closed_part, deadline, whole_words
from pass_lsp.postprocess.frame import Frame
from tests.cursor import parse


def frame_of(source: str, path: str = "/p/a.py") -> Frame:
    return Frame.of(build_context(*parse(source, path), budget=10_000))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", ""),
        ("x", ""),  # the word may go on
        ("x +", "x"),
        ("x + y", "x"),
        ("os.path.join(a, b", ""),
        ("os.path.join(a, b) ", "os.path.join(a, b)"),
        ("os.path.join(a, b).strip", ""),  # what stands closed is in the middle of a chain
        ("f('a b", ""),
        ("a = 1\nb = 2\nc", "a = 1\nb = 2\n"),
        ("a = [\n  1,\n", "a"),
        ("a = 1\nfor x in y:\n    z", "a = 1\n"),
        ("if a:\n    b()\n    c(d,", "if a:\n    b()\n"),
        ("'''\nopen", ""),
    ],
)
def test_the_closed_part(text: str, part: str) -> None:
    frame = frame_of("def f():\n    <CURSOR>\n")
    assert closed_part(text, frame) == part
    assert closed_lines(text, frame) == (part if part.endswith("\n") else "")


def test_what_is_open_at_the_cursor_may_stay_open() -> None:
    assert closed_part("a, b, c", frame_of("f(<CURSOR>\n")) == "a, b"
    assert closed_part("a, b), c", frame_of("f(<CURSOR>\n")) == "a, b"
    assert closed_part("some words ", frame_of('x = """<CURSOR>\n')) == "some words"


@pytest.mark.parametrize(
    ("source", "text", "part"),
    [
        ("for a in <CURSOR>\n", "b:\n    c(", "b:\n"),
        ("for a in <CURSOR>\n", "b:\n    c()\n    d", "b:\n    c()\n"),
        ("def f(<CURSOR>\n", "a):\n    c(", "a):\n"),
        ("def f(<CURSOR>)\n", "a):\n    c()\n    d", "a):\n    c()\n"),
        ("a = <CURSOR>\n", "b + c(\n    d", "b"),
        ("a = b(<CURSOR>)\n", "\n    c\n", "\n    c\n"),
    ],
)
def test_a_line_that_goes_on_is_closed_where_it_could_end(source: str, text: str, part: str) -> None:
    assert closed_part(text, frame_of(source).begun(text)) == part


def test_a_text_that_a_word_ends_is_not_closed_before_that() -> None:
    frame = frame_of("a\n<CURSOR>\n", "/p/a.sh")
    assert [closed_part(text, frame) for text in ("b\ncat <<A\nx\n", "b\ncat <<A\nA\n")] == ["b\n", "b\ncat <<A\nA\n"]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("alpha.beta(gamma) + del", "alpha.beta(gamma)"),
        ("alpha(beta, gamma, del", "alpha(beta, gamma"),
        ("alpha + 'beta gamma del", "alpha + 'beta gamma"),
        ("alphabet + x.be", "alphabet"),
        ("alpha(beta)", "alpha(beta)"),
        ("a.alphabet", "a.alphabet"),  # it may as well be whole
        ("", ""),
    ],
)
def test_a_line_that_is_too_long_ends_with_a_whole_word(text: str, kept: str) -> None:
    assert whole_words(text, frame_of("x = <CURSOR>\n")) == kept


class Rule:
    """A stop that never stops, with a text."""

    def __init__(self, text: str) -> None:
        self.text, self.frame = text, frame_of("x = <CURSOR>\n")

    def __call__(self, token_ids: list[int]) -> int | None:
        return None


def test_time_ends_decoding_as_soon_as_something_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(deadline.time, "monotonic", lambda: now[0])
    rule: Any = Rule("f(a")
    hurried, patient = Deadline(rule, 250, 5000), Deadline(rule, 0, 300)
    assert hurried([1]) is None and not hurried.passed
    now[0] += 0.3
    assert hurried([1, 2]) is None
    rule.text = "f(a) +"
    assert hurried([1, 2, 3]) == 3 and hurried.passed
    now[0] += 10
    assert patient([1, 2]) is None and not patient.passed


def test_the_latest_end_takes_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(deadline.time, "monotonic", lambda: now[0])
    rule: Any = Rule("f(a")
    stop = Deadline(rule, 250, 500)
    now[0] += 0.6
    assert stop([1]) == 1 and stop.passed


def test_a_rule_that_stops_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    rule: Any = lambda ids: 1  # noqa: E731
    monkeypatch.setattr(deadline.time, "monotonic", lambda: 1e9)
    stop = Deadline(rule, 1)
    assert stop([1, 2]) == 1 and not stop.passed
