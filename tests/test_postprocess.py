"""When answers stop, and what the filters make of them: tables of cases, and the real thing over all cuts."""

from __future__ import annotations

import heapq
import inspect
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pass_lsp import postprocess
from pass_lsp.context import build_context, errors_in
from pass_lsp.domain import Completion, Context, Generation, Mode, Prompt
from pass_lsp.postprocess.closers import balanced
from pass_lsp.postprocess.cycle import cycle_start
from pass_lsp.postprocess.filters import (
    indented_once,
    parsing_lines,
    without_fence,
    without_idle_lines,
    without_repetition,
)
from pass_lsp.postprocess.frame import Decoded, Frame, repeats
from pass_lsp.postprocess.overlap import overlap
from pass_lsp.reasons import Reason
from tests.cursor import parse
from tests.test_prompt import byte_level, spaced


@cache
def tokenizer() -> Any:
    return byte_level(("<|endoftext|>", "<|file|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"))


def prompt() -> Prompt:
    middle, end = tokenizer().convert_tokens_to_ids(["<|fim_middle|>", "<|endoftext|>"])
    return Prompt((middle,), (end,))


def context_of(source: str, path: str = "/p/a.py") -> tuple[Context, int]:
    document, offset = parse(source, path)
    context = build_context(document, offset, budget=6000)
    assert context.mode is not Mode.NONE, context.reason
    return context, offset


def ids_of(text: str) -> list[int]:
    return tokenizer().encode(text, add_special_tokens=False)


def answer(source: str, text: str, finish: str = "eos", path: str = "/p/a.py") -> Completion | Reason:
    """What becomes of the model's `text`, decoded with the stop as the engine does."""
    context, offset = context_of(source, path)
    ids, kept = ids_of(text), None
    stop = postprocess.Stop(context, prompt(), tokenizer())
    for count in range(1, len(ids) + 1):
        kept = stop(ids[:count])
        if kept is not None:
            break
    generation = Generation(ids[:kept], "stop" if kept is not None else finish)  # type: ignore[arg-type]
    document, _ = parse(source, path)
    errors = errors_in(document, offset, context)
    return postprocess.finish(generation, context, prompt(), tokenizer(), offset, errors)


def accepted(source: str, text: str, finish: str = "eos", path: str = "/p/a.py") -> str | Reason:
    """The document after the completion is accepted, or the reason for none."""
    result = answer(source, text, finish, path)
    if isinstance(result, Reason):
        return result
    document, offset = parse(source, path)
    assert result.start == offset
    assert offset <= result.end <= document.line_end(document.line_at(offset))
    return document.edited(result.start, result.end, result.text).text


# The whole way: (source, what the model says, the document afterwards)

SINGLE = [
    ("x = <CURSOR>", "1", "x = 1"),
    ("x = <CURSOR>\ny = 2\n", "1\ny = 3\nz = 4", "x = 1\ny = 2\n"),
    ("x = <CURSOR>", "1   \n", "x = 1"),
    ("x = <CURSOR>", "", Reason.EMPTY),
    ("x = <CURSOR>", "  \n\n", Reason.EMPTY),
    ("x = <CURSOR>", "\ny = 1", Reason.EMPTY),
    # What the editor closed by itself is replaced, not doubled.
    ("foo(<CURSOR>)", "a, b)", "foo(a, b)"),
    ("foo(<CURSOR>)", "a, b", "foo(a, b)"),
    ("foo(<CURSOR>)", "a) + bar(b", "foo(a) + bar(b)"),
    ("foo(<CURSOR>)", "a) + bar(b)", "foo(a) + bar(b)"),
    ("x(foo(<CURSOR>))", "bar()", "x(foo(bar()))"),
    ("x(foo(<CURSOR>))", "a)", "x(foo(a))"),
    ("x(foo(<CURSOR>))", "a))", "x(foo(a))"),
    ("def f(<CURSOR>):", "a, b):", "def f(a, b):"),
    ("def f(<CURSOR>):", "a, b)", "def f(a, b):"),
    ("def f(<CURSOR>):", "a, b", "def f(a, b):"),
    ('x = "<CURSOR>"', 'abc"', 'x = "abc"'),
    ('x = "<CURSOR>"', "abc", 'x = "abc"'),
    ('print("<CURSOR>")', 'abc", x)', 'print("abc", x)'),
    ('print("<CURSOR>")', 'abc")', 'print("abc")'),
    ("x = {<CURSOR>}", "'a': [1]}", "x = {'a': [1]}"),
    ("x = <CURSOR>,\n", "1,", "x = 1,\n"),
    ("x = <CURSOR>   \ny\n", "1", "x = 1\ny\n"),
    # A closer that nothing opens.
    ("x = foo(<CURSOR>", "a))", "x = foo(a)"),
    ("x = a<CURSOR>", "]", Reason.EMPTY),
    ("x = (a<CURSOR>", "]", Reason.EMPTY),
    ("x = ':)' + <CURSOR>", "')'", "x = ':)' + ')'"),
    # The next line of the document.
    ("retu<CURSOR>\nreturn x\n", "rn x", Reason.REPEATS_SUFFIX),
    ("p(1)\np(2)\np(2)\n<CURSOR>", "p(2)", Reason.REPETITIVE),
    ("p(1)\np(2)\n<CURSOR>", "p(2)", Reason.REPETITIVE),
    ("self.ab = ab\nself.<CURSOR>", "ab = ab", Reason.REPETITIVE),
    # What is left open by itself.
    ("foo(<CURSOR>)", "bar(", Reason.EMPTY),
    ("a = 1\n<CURSOR>\nb = 2\n", "c = foo(", Reason.BROKEN),
    ("a = 1\n<CURSOR>\nb = 2\n", "c = 'foo", Reason.BROKEN),
    ("a = 1\n<CURSOR>\n)\n", "c = foo(1", "a = 1\nc = foo(1\n)\n"),
    # A line that changes nothing.
    ("self.a = <CURSOR>", "self.a", Reason.REPETITIVE),
    ("self.a = <CURSOR>", "self.a.b", "self.a = self.a.b"),
    ("self.a = <CURSOR>", "self.a + 1", "self.a = self.a + 1"),
    ("call(a=<CURSOR>", "a)", "call(a=a)"),
    ("x = <CURSOR>", "1<|fim_middle|>2", "x = 1"),
    ("x = <CURSOR>", "<|endoftext|>1", Reason.EMPTY),
    ("x = '<CURSOR>", "ab <fim_suffix> c", "x = 'ab"),
]


@pytest.mark.parametrize(("source", "text", "expected"), SINGLE)
def test_single_line_answers(source: str, text: str, expected: str | Reason) -> None:
    assert accepted(source, text) == expected


TRIED = "    try:\n        g(a)\n    except OSError:\n        return 1\n"

MULTI = [
    # What stands above already.
    (
        "def f(n):\n    if n < 2:\n        return n\n    <CURSOR>\n",
        "if n < 2:\n        return n\n    return f(n - 1)\n",
        Reason.REPETITIVE,
    ),
    (
        "def f(n):\n    if n < 2:\n        return n\n    <CURSOR>\n",
        "if n < 3:\n        return n\n",
        "def f(n):\n    if n < 2:\n        return n\n    if n < 3:\n        return n\n",
    ),
    ("def f(n):\n    g(n)\n<CURSOR>", "g(n)\n", "def f(n):\n    g(n)\ng(n)"),
    # Lines that change nothing.
    ("def f(a):\n    <CURSOR>\n", "b = a\n    b = b\n    return b\n", "def f(a):\n    b = a\n"),
    ("def f(a):\n    <CURSOR>\n", "self.a = a\n    self.a = a\n    b = a\n", "def f(a):\n    self.a = a\n"),
    (
        "def f(a):\n    <CURSOR>\n",
        "b = next(a)\n    b = next(a)\n    return b\n",
        "def f(a):\n    b = next(a)\n    b = next(a)\n    return b\n",
    ),
    ("def f(a):\n    <CURSOR>\n", "g(\n        a=a\n    )\n", "def f(a):\n    g(\n        a=a\n    )\n"),
    # The block that the cursor is in ends the answer.
    (
        "def f(a):<CURSOR>\n\n\nx = 1\n",
        "\n    b = a\n    return b\n\n\ndef g():\n    pass\n",
        "def f(a):\n    b = a\n    return b\n\n\nx = 1\n",
    ),
    ("def f(a):\n    <CURSOR>\n", "b = a\n    return b\nx = 1\n", "def f(a):\n    b = a\n    return b\n"),
    ("def f(a):\n<CURSOR>", "    return a\nx = f(1)\n", "def f(a):\n    return a"),
    ("class A:\n  def f(self):<CURSOR>\n", "\n    return 1\n  x = 2\n", "class A:\n  def f(self):\n    return 1\n"),
    ("def f(a):<CURSOR>", "\n  return a\nb\n", "def f(a):\n  return a"),
    # Continuations of the same depth and deeper stay.
    (
        "def f(a):\n    <CURSOR>\n",
        "if a:\n        return 1\n    else:\n        return 2\n",
        "def f(a):\n    if a:\n        return 1\n    else:\n        return 2\n",
    ),
    (
        "def f(a):\n    <CURSOR>\n",
        "x = '''\nb\n'''\n    return (\nx)\ny\n",
        "def f(a):\n    x = '''\nb\n'''\n    return (\nx)\n",
    ),
    # One definition is enough.
    (
        "class A:\n    <CURSOR>\n",
        "@property\n    def a(self):\n        return 1\n\n    @property\n    def b(self):\n        return 2\n",
        "class A:\n    @property\n    def a(self):\n        return 1\n",
    ),
    ("import os\n\n<CURSOR>", "def f():\n    return 1\n\nf()\n", "import os\n\ndef f():\n    return 1"),
    ("a = 1\n<CURSOR>", "b = 2\nc = 3\n\n\nd = 4\n", "a = 1\nb = 2\nc = 3"),
    # Open brackets, until they close.
    ("x = foo(<CURSOR>\ny\n", "\n    a,\n    b,\n)\nz = 1\n", "x = foo(\n    a,\n    b,\n)\ny\n"),
    ("x = {<CURSOR>\n", "\n    'a': [\n        1,\n    ],\n}\nz = 1\n", "x = {\n    'a': [\n        1,\n    ],\n}\n"),
    ("x = foo(\n    <CURSOR>\n)\n", "a,\n    b,\n)\nz\n", "x = foo(\n    a,\n    b,\n)\n"),
    # What the document has next.
    (
        "def f(a):\n    <CURSOR>\n    return a\n",
        "a += 1\n    a *= 2\n    return a\n",
        "def f(a):\n    a += 1\n    a *= 2\n    return a\n",
    ),
    ("def f(a):\n    <CURSOR>\n    return a\n", "return a\n", Reason.REPEATS_SUFFIX),
    # Repetition.
    ("<CURSOR>\nx", "".join(f"call_it(self, {n % 2})\n" for n in range(12)), "call_it(self, 0)\ncall_it(self, 1)\nx"),
    ("def f(a):\n    <CURSOR>\n", f"if a:\n        return 1\n{2 * TRIED}",
     f"def f(a):\n    if a:\n        return 1\n{TRIED}"),
    ("def f(a):\n    <CURSOR>\n", f"{2 * TRIED}    b()\n".lstrip(), f"def f(a):\n{TRIED}"),
    ("if a:\n    b()\n<CURSOR>\n", 2 * "elif c:\n    d(e)\n" + "else:\n    f()\n",
     "if a:\n    b()\nelif c:\n    d(e)\n"),
    ("b()\n<CURSOR>\n", "a = 1\nf(a)\n\na = 1\nf(a)\n\na = 2\n", "b()\na = 1\nf(a)\n"),
    ("b()\n<CURSOR>\n", "a = 1\nf(a)\na = 2\nf(a)\na = 1\n", "b()\na = 1\nf(a)\na = 2\nf(a)\na = 1\n"),
    ("x = [<CURSOR>\n", "\n    (1, a),\n    (2, b),\n    (1, a),\n    (2, b),\n]\n",
     "x = [\n    (1, a),\n    (2, b),\n    (1, a),\n    (2, b),\n]\n"),
    # Indentation that is there already.
    ("def f(a):\n    <CURSOR>\n", "    return a\n", "def f(a):\n    return a\n"),
    ("def f(a):\n    <CURSOR>\n", "    b = a\n        return b\n", "def f(a):\n    b = a\n    return b\n"),
    ("def f(a):\n    <CURSOR>\n", "    b = a\n    return b\n", "def f(a):\n    b = a\n    return b\n"),
    ("if a:\n    if b:\n    <CURSOR>\n", "    c()\n", "if a:\n    if b:\n        c()\n"),
    ("def f():\n<CURSOR>    \n", "    return 1", "def f():\n    return 1\n"),
    # What does not parse at the end is left out.
    ("def f(a):\n    <CURSOR>\n", "b = a\n    if b:\n", "def f(a):\n    b = a\n"),
    ("if a:\n    b\n<CURSOR>\n", "else:\n    c\n", "if a:\n    b\nelse:\n    c\n"),
    # Docstrings end where they close.
    ('def f():\n    """<CURSOR>\n', 'Say it.\n\n    Twice.\n    """\n    x = 1\n',
     'def f():\n    """Say it.\n\n    Twice.\n    """\n'),
    ('def f():\n    """<CURSOR>"""\n', 'Say it."""\n    return 1\n', 'def f():\n    """Say it."""\n'),
]  # fmt: skip


@pytest.mark.parametrize(("source", "text", "expected"), MULTI)
def test_multi_line_answers(source: str, text: str, expected: str | Reason) -> None:
    assert accepted(source, text) == expected


LANGUAGES = [
    # Braces: the block of the cursor ends the answer, whether its closer is there or not.
    ("a.js", "function f() {<CURSOR>\n", "\n  return 1;\n}\n\nf();\n", "function f() {\n  return 1;\n}\n"),
    ("a.js", "function f() {\n  <CURSOR>\n}\n", "return 1;\n}\nx();\n", "function f() {\n  return 1;\n}\n"),
    ("a.js", "  if (a) {\n    <CURSOR>\n  }\n", "b();\n  }\n  c();\n", "  if (a) {\n    b();\n  }\n"),
    ("a.js", "f(function () {<CURSOR>\n", "\n  g();\n});\nh();\n", "f(function () {\n  g();\n});\n"),
    # What the editor closed by itself: the closer stays one, on a line of its own.
    ("a.ts", "class A {<CURSOR>}\n", "\n  x = 1;\n}\nf();\n", "class A {\n  x = 1;\n}\n"),
    ("a.go", "func f() {<CURSOR>}\n", "\n\treturn\n", "func f() {\n\treturn\n}\n"),
    ("a.rs", "fn f() -> i32 {\n    <CURSOR>\n}\n", "1\n}\n\nfn g() {}\n", "fn f() -> i32 {\n    1\n}\n"),
    # The head of a callback.
    ("a.js", "a();\n<CURSOR>\nb();\n", "c(() => {", "a();\nc(() => {\nb();\n"),
    # A closing tag may stand again one step further out.
    ("a.html", "<div>\n  <div>\n  </div>\n<CURSOR>", "</div>", "<div>\n  <div>\n  </div>\n</div>"),
    ("a.c", "int f(void)\n{\n    <CURSOR>\n}\n", "return 1;\n}\n\nint g", "int f(void)\n{\n    return 1;\n}\n"),
    # Words that end a block.
    ("a.rb", "def f(a)<CURSOR>\n", "\n  a + 1\nend\n\ndef g\nend\n", "def f(a)\n  a + 1\nend\n"),
    ("a.rb", "def f(a)\n  <CURSOR>\nend\n", "a + 1\nend\nf(1)\n", "def f(a)\n  a + 1\nend\n"),
    ("a.lua", "if a then\n  <CURSOR>\n", "b()\nend\nc()\n", "if a then\n  b()\nend\n"),
    ("a.sh", "for a in b; do\n  <CURSOR>\ndone\n", "echo $a\ndone\necho\n", "for a in b; do\n  echo $a\ndone\n"),
    # Trees of other kinds.
    ("a.yaml", "on:\n  <CURSOR>\nenv: x\n", "push: y\nenv: z\n", "on:\n  push: y\nenv: x\n"),
    ("a.html", "<ul>\n  <CURSOR>\n</ul>\n", "<li>a</li>\n</ul>\n<p>\n", "<ul>\n  <li>a</li>\n</ul>\n"),
    ("a.css", "a {\n  <CURSOR>\n}\n", "color: red;\n}\nb {\n", "a {\n  color: red;\n}\n"),
    # A comma behind the last item, where the language has none.
    ("a.json", '{\n  "a": <CURSOR>\n}\n', '1,\n  "b": 2\n', '{\n  "a": 1\n}\n'),
    ("a.json", '{\n  "a": <CURSOR>\n  "b": 2\n}\n', '1,\n  "b": 2\n', '{\n  "a": 1,\n  "b": 2\n}\n'),
    ("a.js", "f({\n  a: <CURSOR>\n});\n", "1,\n  b: 2,\n", "f({\n  a: 1,\n});\n"),
    # What does not parse at the end is left out, in every language that has a grammar.
    ("a.js", "f() ;{\n  <CURSOR>\n}\n", "a();\n  b(c, {\n", "f() ;{\n  a();\n}\n"),
    ("a.go", "func f() {\n\t<CURSOR>\n}\n", "a()\n\tif b {\n", "func f() {\n\ta()\n}\n"),
    # Indentation as the document has it (complaint 7).
    ("a.go", "func f() {\n\ta()\n\t<CURSOR>\n}\n", "if b {\n        c()\n    }\n",
     "func f() {\n\ta()\n\tif b {\n\t\tc()\n\t}\n}\n"),
    ("a.js", "function f() {\n  a();\n  <CURSOR>\n}\n", "if (b) {\n\tc();\n  }\n",
     "function f() {\n  a();\n  if (b) {\n    c();\n  }\n}\n"),
    # A model that explains itself.
    ("a.py", "def f():\n    <CURSOR>\n", "return 1\n```\nThis returns 1.\n", "def f():\n    return 1\n"),
    ("a.py", "def f():\n    <CURSOR>\n", "return 1\n\n  \n  ```\n", "def f():\n    return 1\n"),
    # Two lines that are nearly the next two (complaint 5).
    ("a.py", "<CURSOR>\nvalue_of_first = compute(1)\nvalue_of_second = compute(2)\n",
     "x = 1\nvalue_of_first = compute(1,)\nvalue_of_second = compute(2,)\n",
     "x = 1\nvalue_of_first = compute(1)\nvalue_of_second = compute(2)\n"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "source", "text", "expected"), LANGUAGES)
def test_answers_in_many_languages(name: str, source: str, text: str, expected: str) -> None:
    assert accepted(source, text, path=f"/p/{name}") == expected


@pytest.mark.parametrize("ending", ["c", "dart", "gradle", "js", "kt", "m", "pl", "proto", "scala", "sol", "swift"])
def test_what_an_editor_closes_is_closed_once(ending: str) -> None:
    source, path = "f();\nif (<CURSOR>)\n", f"/p/a.{ending}"
    assert accepted(source, "a) {\n  b();\n}\n\nc();\n", path=path) == "f();\nif (a) {\n  b();\n}\n"
    assert accepted(source, "a) {", path=path) == "f();\nif (a)\n"
    assert accepted("f(g[<CURSOR>])\n", "a], b);\n", path=path) == "f(g[a], b);\n"


METHOD = "class A {\n  int f() {\n    <CURSOR>\n    c();\n  }\n}\n"
FAR = METHOD + "class B {\n" + 999 * "  int x = 1;\n" + "}\n"
"""Whose last bracket is not closed within the window."""


@pytest.mark.parametrize(
    ("name", "source", "text", "kept"),
    [
        *(
            (f"a.{ending}", METHOD, "a();\n    b();\n  }\n", "a();\n    b();")
            for ending in ("java", "cs", "kt", "dart")
        ),
        *((f"a.{ending}", METHOD, "a(); }", "a();") for ending in ("java", "kt")),
        ("a.java", FAR, "a();\n    b();\n  }\n", "a();\n    b();"),
        ("a.js", "<CURSOR>\nf();\n", "a();\n}\n", "a();"),
        # Where the user has opened more, it is closed.
        ("a.java", METHOD.replace("<", "if (a) {\n      <"), "b();\n    }\n", "b();\n    }"),
        ("a.kt", METHOD.replace("<", "if (a) {\n      <"), "b();\n    }\n", "b();\n    }"),
        # What only looks like a closer.
        ("a.js", "function f(a) {\n  <CURSOR>\n  c();\n}\n", "a.replace(/}/g, '');", "a.replace(/}/g, '');"),
        ("a.sh", "f() {\n<CURSOR>\n  c\n}\n", "  case $1 in\n  a) b ;;\n  esac", "  case $1 in\n  a) b ;;\n  esac"),
    ],
)
def test_what_the_document_has_closed_is_not_closed_again(name: str, source: str, text: str, kept: str) -> None:
    assert accepted(source, text, path=f"/p/{name}") == source.replace("<CURSOR>", kept)


@pytest.mark.parametrize(
    ("source", "text", "expected"),
    [
        ("def f(a):\n    <CURSOR>\n", "b = a\n    retur", "def f(a):\n    b = a\n"),
        ("def f(a):\n    <CURSOR>\n", "b = (a +", "def f(a):\n    b = (a +\n"),
        ("x = <CURSOR>", "foo.ba", "x = foo.ba"),
    ],
)
def test_a_line_cut_off_by_the_length_is_dropped(source: str, text: str, expected: str) -> None:
    assert accepted(source, text, "length") == expected


def test_white_space_of_an_answer_is_read_once() -> None:
    # What tried each way to divide it would not end.
    frame = Frame.of(context_of("x = 1\n<CURSOR>\n")[0])
    blank, wide = "x = 1\n" + "\n" * 1_000_000 + "y", "x =" + " " * 1_000_000 + "("
    assert without_fence(blank, frame) == blank
    assert without_idle_lines(f"{wide}\n{wide}\n", frame) == f"{wide}\n{wide}\n"


def test_line_ends_of_the_document_are_kept() -> None:
    result = answer("def f(a):\r\n    <CURSOR>\r\n    pass\r\n", "b = a\n    c = b\n")
    assert isinstance(result, Completion)
    assert result.text == "b = a\r\n    c = b"


def test_the_generation_travels_with_the_completion() -> None:
    result = answer("x = <CURSOR>", "1")
    assert isinstance(result, Completion)
    assert result.generation is not None
    assert result.generation.finish == "eos"


def test_half_a_character_does_not_leak() -> None:
    context, offset = context_of("x = '<CURSOR>'")
    ids = ids_of("aé")
    for cut, text in ((ids[:-1], "a"), (ids, "aé"), ([*ids[:-1], *ids_of("b")], "a")):
        result = postprocess.finish(Generation(cut, "length"), context, prompt(), tokenizer(), offset)
        assert isinstance(result, Completion)
        assert result.text == text
    nothing = postprocess.finish(Generation(ids[1:2], "length"), context, prompt(), tokenizer(), offset)
    assert nothing is Reason.EMPTY


SOURCE = inspect.getsource(heapq)


@pytest.mark.parametrize("first", range(3))
def test_true_code_passes_every_filter(first: int) -> None:
    lines = SOURCE.splitlines(keepends=True)
    for number in range(first * 4, len(lines) - 5, 12):
        line = lines[number].rstrip()
        cut = len(line) - len(line.lstrip()) + len(line.strip()) // 2
        before, after = "".join(lines[:number]) + line[:cut], "\n" + "".join(lines[number + 1 :])
        if not line[:cut].strip() or line[:cut].rstrip().endswith(("(", "[", "{", ":", '"""')):
            continue
        assert accepted(before + "<CURSOR>" + after, line[cut:] + after[:60]) == before + line[cut:] + after


# The stop


def test_stop_keeps_the_tokens_up_to_the_newline() -> None:
    context, _ = context_of("x = <CURSOR>")
    stop = postprocess.Stop(context, prompt(), tokenizer())
    ids = ids_of("12\n3")
    assert [stop(ids[:count]) for count in (1, 2, 3, 4)] == [None, None, 2, 2]
    assert postprocess.Stop(context, prompt(), tokenizer())(ids) == 2


def test_stop_answers_for_a_fresh_list() -> None:
    context, _ = context_of("x = <CURSOR>")
    stop = postprocess.Stop(context, prompt(), tokenizer())
    assert stop(ids_of("1\n")) == 1
    assert stop(ids_of("abc")) is None
    assert stop(ids_of("abc\n")) == len(ids_of("abc"))
    assert stop([]) is None


def test_stop_ends_before_special_tokens() -> None:
    context, _ = context_of("x = <CURSOR>")
    ids = [*ids_of("1"), tokenizer().convert_tokens_to_ids("<|file|>"), *ids_of("2")]
    assert postprocess.Stop(context, prompt(), tokenizer())(ids) == 1


@settings(max_examples=60)
@given(
    st.sampled_from([case[0] for case in (*SINGLE, *MULTI)]),
    st.lists(st.sampled_from(["a", "é", "\n", "    ", "(", ")", "]", '"', "'''", "def f():\n", "return x", ":", "#"])),
    st.sampled_from(["eos", "length", "stop"]),
)
def test_any_answer_gives_a_completion_or_a_reason(source: str, parts: list[str], finish: str) -> None:
    context, offset = context_of(source)
    ids = ids_of("".join(parts))
    stop, once = postprocess.Stop(context, prompt(), tokenizer()), postprocess.Stop(context, prompt(), tokenizer())
    kept = None
    for count in range(len(ids) + 1):
        kept = stop(ids[:count])
        if kept is not None:
            assert 0 <= kept <= count
            break
    assert once(ids) == kept
    result = postprocess.finish(
        Generation(ids[:kept], finish),
        context,
        prompt(),
        tokenizer(),
        offset,  # type: ignore[arg-type]
    )
    assert isinstance(result, Reason) or (result.text == result.text.rstrip() and result.text.strip())


@settings(max_examples=60)
@given(st.text(st.sampled_from([*"ab é\n(", "\U0001f600"])))
def test_decoding_token_by_token_gives_the_same_text(text: str) -> None:
    decoded = Decoded(tokenizer(), prompt())
    for token in ids_of(text):
        decoded.push(token)
    assert decoded.text == text
    assert decoded.ends == sorted(decoded.ends)


def test_a_first_space_survives_decoding() -> None:
    llama = spaced(("▁<MID>",))
    decoded = Decoded(llama, Prompt((llama.convert_tokens_to_ids("▁<MID>"),)))
    for token in llama.encode("ab c", add_special_tokens=False):
        decoded.push(token)
    assert decoded.text == " ab c"


# Single filters


def frame_of(source: str, path: str = "/p/a.py") -> Frame:
    context, offset = context_of(source, path)
    return Frame.of(context, errors_in(parse(source, path)[0], offset, context))


@pytest.mark.parametrize(
    ("ids", "keep"),
    [
        ([1, 2, 3], None), ([5] * 9, None), ([5] * 12, 1), ([1, *[2, 3] * 5], 3), ([1, 2, 3, 4] * 3, None),
        ([1, 2, 3, 4] * 4, 4), ([], None), ([1], None),
    ],
)  # fmt: skip
def test_cycles(ids: list[int], keep: int | None) -> None:
    assert cycle_start(ids, least=10) == keep


REGULAR = [
    ("cur.execute('INSERT INTO t VALUES <CURSOR>')\n", "(%s, %s, %s, %s, %s, %s)"),
    ("x = <CURSOR>\n", "[0.0, 0.0, 0.0, 0.0, 0.0, 0.0]"),
    ("x = <CURSOR>\n", "0b1111111111111111"),
    ("x = <CURSOR>\n", "100000000000000"),
    ("x = <CURSOR>\n", "'00000000-0000-0000-0000-000000000000'"),
]


@pytest.mark.parametrize(("source", "text"), REGULAR)
def test_what_is_regular_is_no_cycle_if_it_ends(source: str, text: str) -> None:
    assert accepted(source, text) == source.replace("<CURSOR>", text)


def test_a_cycle_that_does_not_end_is_ended() -> None:
    for times, finish in ((200, "stop"), (12, "length")):
        assert accepted("x = <CURSOR>\n", "[" + "0, " * times, finish, "/p/a.js") == "x = [0,\n"


def test_indentation_is_no_cycle() -> None:
    text = "x = f(a,\n" + " " * 40 + "b)\n"
    assert accepted("<CURSOR>\ny", text) == text.rstrip("\n") + "\ny"


@pytest.mark.parametrize(
    ("line", "expected"),
    [("    }", True), ("    });", True), ("    )", False), ("}", False), ("", False), ("    x});", False)],
)
def test_repeats(line: str, expected: bool) -> None:
    frame = frame_of("x = {<CURSOR>\n\n    });\n")
    assert repeats(line, frame, frame.state) is expected


@pytest.mark.parametrize(
    ("source", "text", "expected"),
    [("f(<CURSOR>", "a))b", "a)"), ("f(<CURSOR>", "a", "a"), ("<CURSOR>\nx", "}", ""), ("# f<CURSOR>", ")", ")")],
)
def test_balanced(source: str, text: str, expected: str) -> None:
    assert balanced(text, frame_of(source)) == expected


def test_parsing_lines_keeps_what_never_parses() -> None:
    frame = frame_of("def f():\n    <CURSOR>\n")
    assert parsing_lines("x = = 1\n", frame) == "x = = 1"
    assert parsing_lines("'\\d'\n    y = (\n", frame) == "'\\d'"


def test_what_a_limit_left_open_is_shown() -> None:
    assert accepted("a = 1\n<CURSOR>\nb = 2\n", "c = f(1,\n    2,\n", "length") == "a = 1\nc = f(1,\n    2,\nb = 2\n"


def test_repetition_of_one_line() -> None:
    frame = frame_of("<CURSOR>\nx")
    assert without_repetition("foo(1)\n" * 4, frame) == ""
    assert without_repetition("return\n" * 4, frame) != ""


@pytest.mark.parametrize(
    ("above", "line", "again"),
    [("x = [\n  0,\n", "0,", True), ("f(() => {\n  return;\n", "return;", True), ("x = [\n  a,\n", "a,", False),
     ("f(() => {\n  g(0);\n", "g(0);", False), ("x = `\n  0,\n", "0,", False), ("0\n", "1", True)],
)  # fmt: skip
def test_what_may_stand_right_above_too(above: str, line: str, again: bool) -> None:
    frame = frame_of(above + "  <CURSOR>\n", "/p/a.js")
    assert (without_repetition(f"{line}\n  b\n", frame) != "") is again


def test_indentation_of_a_line_begun_is_left_alone() -> None:
    assert indented_once("    a", frame_of("x =<CURSOR>")) == "    a"


IN_COLUMN_0 = [
    ("def f():\n    a = 1\n<CURSOR>", "    return a\n", "def f():\n    a = 1\n    return a"),
    (
        "class A:\n    def f(self):\n        a = 1\n<CURSOR>\n\n\nx = 1\n",
        "        if a:\n            return a\n",
        "class A:\n    def f(self):\n        a = 1\n        if a:\n            return a\n\n\nx = 1\n",
    ),
    (
        "class A:\n    def f(self):\n        return 1\n\n<CURSOR>\n\n\ndef h():\n    pass\n",
        "    def g(self):\n        return 2\n",
        "class A:\n    def f(self):\n        return 1\n\n    def g(self):\n        return 2\n\n\ndef h():\n    pass\n",
    ),
    ("def f():\n<CURSOR>\n", "        a = 1\n        b = 2\n", "def f():\n    a = 1\n    b = 2\n"),
    ("a = 1\n<CURSOR>\n", "    b = 2\n", "a = 1\nb = 2\n"),
    ("x = foo(a,\n<CURSOR>\n", "        b)\n", "x = foo(a,\n        b)\n"),
    (
        'def f(x):\n    """Do.\n\n    Args:\n<CURSOR>\n    """\n',
        "        x: the value\n",
        'def f(x):\n    """Do.\n\n    Args:\n        x: the value\n    """\n',
    ),
]


@pytest.mark.parametrize(("source", "text", "expected"), IN_COLUMN_0)
def test_in_column_0_the_answer_says_how_deep_it_goes(source: str, text: str, expected: str) -> None:
    assert accepted(source, text) == expected


TABS = [
    ("class A:\n\tdef f(self):\n\t\tx()\n\t\t", "a = 1\n        return a\n", "a = 1\n\t\treturn a\n"),
    ("class A:\n\tdef f(self):\n\t\tx()\n\t\t", "for a in b:\n            c(a)\n", "for a in b:\n\t\t\tc(a)\n"),
    ("def f():\n\tx()\n\n\n", "if a:\n  b()\n", "if a:\n\tb()\n"),  # two columns a level
    ("def f():\n\tx()\n\t", "if a:\n                b()\n", "if a:\n\t\tb()\n"),  # eight
    ("class A:\n\tdef f(self):", "\n        a = 1\n        return a\n", "\n\t\ta = 1\n\t\treturn a\n"),
    ("class A:\n\tdef f(self):\n", "        if a:\n            b()\n", "\t\tif a:\n\t\t\tb()\n"),
    ("def f():\n\tx()\n\ty()\n", "    a = 1\n    b = 2\n", "\ta = 1\n\tb = 2\n"),
]


@pytest.mark.parametrize(("before", "text", "expected"), TABS)
def test_spaces_become_as_many_tabs_as_they_mean(before: str, text: str, expected: str) -> None:
    assert accepted(before + "<CURSOR>\n", text) == before + expected


MARKS = [
    ("js", "function f(s) {\n  s = s.replace(/`/g, '');\n  <CURSOR>\n}\n", "a();\n  b();\n"),
    ("js", "function f(s) {\n  s = s.replace(/[/\\\\]/, '');\n  <CURSOR>\n}\n", "a();\n  b();\n"),
    ("rs", "fn f(c: char) {\n  let q = c == '\"';\n  <CURSOR>\n}\n", "a();\n  b();\n"),
    ("rb", "def f\n  x = y.gsub(/'/, '')\n  <CURSOR>\nend\n", "a\n  b\n"),
    ("sh", "f() {\n  IFS='\\'\n  <CURSOR>\n}\n", "a\n  b\n"),
    ("sh", "cat <<'EOF' | wc\nIt's here\nEOF\nfor a in b; do\n  <CURSOR>\ndone\n", "a\n  b\n"),
    ("sh", "x=$((1 <<y))\nread z <<<it\nfor a in b; do\n  <CURSOR>\ndone\n", "a\n  b\n"),
    ("rb", "def f\n  x = g(<<~T)\n    It's\n  T\n  <CURSOR>\nend\n", "a\n  b\n"),
    ("rb", "class <<self\n  def f\n    x = '\n    self\n    '\n    <CURSOR>\n  end\nend\n", "a\n    b\n"),
    ("php", "<?php\nfunction f() {\n  $x = <<<T\n  It's\n  T;\n  <CURSOR>\n}\n", "a();\n  b();\n"),
    ("go", "func f() {\n  a := `\\`\n  <CURSOR>\n}\n", "b()\n  c()\n"),
]


@pytest.mark.parametrize(("ending", "source", "text"), MARKS)
def test_a_quote_that_opens_nothing_costs_no_line(ending: str, source: str, text: str) -> None:
    assert accepted(source, text, path=f"/p/a.{ending}") == source.replace("<CURSOR>", text.rstrip())


def test_a_fence_in_a_docstring_belongs_there() -> None:
    source = 'def f():\n    """Do.\n\n    ```python\n    f()\n    <CURSOR>\n    """\n'
    assert accepted(source, "```\n") == source.replace("<CURSOR>", "```")


def test_overlap_prefers_to_replace_little() -> None:
    assert overlap("a", frame_of("f(<CURSOR>)")) == 0
    assert overlap("a)", frame_of("f(<CURSOR>):")) == 1
    assert overlap("x", frame_of("f(g(<CURSOR>)")) == 0


@pytest.mark.parametrize(
    ("source", "text", "expected"),
    [
        ("import <CURSOR>\n", "import sys\n", "import sys\n"),
        ("from typing import <CURSOR>\n", "from typing import Any\n", "from typing import Any\n"),
        ("self.name = <CURSOR>\n", "self.name = name\n", "self.name = name\n"),
        ("return<CURSOR>\n", "return x\n", "return x\n"),
        ("return <CURSOR>\n", "returned\n", "return returned\n"),
        ("call(<CURSOR>)\n", "call(1)\n", "call(call(1))\n"),
    ],
)
def test_what_stands_left_of_the_cursor_is_not_said_again(source: str, text: str, expected: str) -> None:
    assert accepted(source, text) == expected


@pytest.mark.parametrize(
    ("cut", "reason"), [(postprocess.closed_part, Reason.DEADLINE), (postprocess.whole_words, Reason.EMPTY)]
)
def test_where_nothing_was_said_in_time_that_is_the_reason(cut: postprocess.Cut, reason: Reason) -> None:
    context, offset = context_of("x = <CURSOR>")
    assert postprocess.finish(Generation([], "length"), context, prompt(), tokenizer(), offset, cut=cut) is reason
