"""Answers in the middle of a line: where something may be missing before the rest, and where they end."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from pass_lsp.documents.document import Document
from pass_lsp.documents.languages import language_of, lexis_of
from pass_lsp.documents.scan import Lexis, scan
from pass_lsp.domain import Mode
from pass_lsp.reasons import Reason
from pass_lsp.suggestions import Suggestions
from tests.test_context import context_of
from tests.test_postprocess import accepted, answer, parse
from tests.test_real_languages import FILES, ROOT

PLACES = [
    # (file, source, what the model says, the document afterwards)
    ("a.py", "f(<CURSOR>, b)\n", "a", "f(a, b)\n"),
    ("a.py", "f(<CURSOR>, b)\n", "a, b)\ng(c)\n", "f(a, b)\n"),
    ("a.py", "f(<CURSOR>, b) + 1\n", "a, c, b) + 2\n", "f(a, c, b) + 1\n"),
    ("a.py", "f(<CURSOR>, b)\n", "g(x, y), h[1]", "f(g(x, y), h[1], b)\n"),
    ("a.py", "f(<CURSOR>, b)\n", '"x, b", (1, b)', 'f("x, b", (1, b), b)\n'),
    ("a.py", "f(<CURSOR>, b)\n", "a, bar", "f(a, bar, b)\n"),
    ("a.py", "f(<CURSOR>,)\n", "a, b", "f(a, b,)\n"),
    ("a.py", "f(<CURSOR>) * 2\n", "a) * 3\n", "f(a) * 2\n"),
    ("a.py", "f(a<CURSOR>, c)\n", "_b", "f(a_b, c)\n"),
    ("a.py", "f(<CURSOR>, b)\n", "a,\n  c)\n", "f(a, b)\n"),
    ("a.py", "f(<CURSOR>, b)\n", "a, ", "f(a, b)\n"),
    ("a.py", "x = <CURSOR>  # why\n", "1", "x = 1  # why\n"),
    ("a.py", "x = <CURSOR>  # why\n", "'#' + y  # because\nz = 2\n", "x = '#' + y  # why\n"),
    ("a.py", "if a:<CURSOR>  # why\n", " return", "if a: return  # why\n"),
    ("a.ts", "import { <CURSOR> } from './x';\n", "a, b", "import { a, b } from './x';\n"),
    ("a.ts", "import { <CURSOR> } from './x';\n", "a, b } from './y';\n", "import { a, b } from './x';\n"),
    ("a.ts", "import { a, <CURSOR> } from './x';\n", "b", "import { a, b } from './x';\n"),
    ("a.ts", "for (<CURSOR>; i < n; i++) {\n}\n", "let i = 0; i < m; i++) {\n", "for (let i = 0; i < n; i++) {\n}\n"),
    ("a.ts", "const [a, b] = f(<CURSOR>).g();\n", "() => ({ c })).h();\n", "const [a, b] = f(() => ({ c })).g();\n"),
    ("a.ts", "f(<CURSOR>); // why\n", "a); // because", "f(a); // why\n"),
    ("a.tsx", "x = <A b={<CURSOR>} c={d} />;\n", "e} f={g} />;\n", "x = <A b={e} c={d} />;\n"),
    ("a.rs", "let a = <CURSOR>; // why\n", "b.c();\n", "let a = b.c(); // why\n"),
    ("a.go", "a, b := f(<CURSOR>), g(x)\n", "y, z", "a, b := f(y, z), g(x)\n"),
    # Among the arguments of a type, and the attributes of a tag, up to `>`.
    ("a.rs", "let a: Vec<<CURSOR>> = b;\n", "Option<u8>> = c;\n", "let a: Vec<Option<u8>> = b;\n"),
    ("a.rs", "fn f(a: HashMap<A, <CURSOR>>) -> B {\n}\n", "fn() -> C", "fn f(a: HashMap<A, fn() -> C>) -> B {\n}\n"),
    ("a.ts", "const [a, b] = useState<<CURSOR>>(null);\n", "string | null>('');\n",
     "const [a, b] = useState<string | null>(null);\n"),
    ("A.java", "class A {\n  Map<B, List<<CURSOR>>> c = d;\n}\n", "E>> f", "class A {\n  Map<B, List<E>> c = d;\n}\n"),
    ("a.tsx", "x = <a b={<C />} <CURSOR>>d</a>;\n", "e={() => f > g}>h</a>;\n",
     "x = <a b={<C />} e={() => f > g}>d</a>;\n"),
    ("a.html", "<a <CURSOR>>b</a>\n", 'href="/c" />\n', '<a href="/c">b</a>\n'),
    # Before the next part of a statement, up to that.
    ("a.sql", "SELECT a, <CURSOR> FROM t;\n", "b FROM u WHERE c;\n", "SELECT a, b FROM t;\n"),
    ("a.sql", "SELECT <CURSOR>from t where c;\n", "a, b", "SELECT a, b from t where c;\n"),
    ("a.sql", "SELECT a FROM t WHERE <CURSOR> ORDER BY b;\n", "c = 1", "SELECT a FROM t WHERE c = 1 ORDER BY b;\n"),
    ("a.lua", "if <CURSOR> then\n  b()\nend\n", "a then\n  c()\n", "if a then\n  b()\nend\n"),
    ("a.lua", "if <CURSOR> then\n  b()\nend\n", "a.thenable then\n", "if a.thenable then\n  b()\nend\n"),
    # In a string, up to its end.
    ("a.py", "open('<CURSOR>', 'w')\n", "a.txt", "open('a.txt', 'w')\n"),
    ("a.py", "open('<CURSOR>', 'w')\n", "a.txt', 'w')\nb()\n", "open('a.txt', 'w')\n"),
    ("a.py", "x = ('''a\n<CURSOR>''', b + 1)\n", "c''', d)", "x = ('''a\nc''', b + 1)\n"),
    ("a.py", "x = 'a<CURSOR>' % b\n", r" isn\'t b' % c", "x = 'a isn\\'t b' % b\n"),
    ("a.tsx", 'x = <a href="<CURSOR>">b</a>;\n', '/c">d</a>;\n', 'x = <a href="/c">b</a>;\n'),
    ("a.html", '<a href="<CURSOR>">b</a>\n', '/c" id="d">e</a>\n', '<a href="/c">b</a>\n'),
    ("a.sh", 'if [ "<CURSOR>" = b ]; then\n  c\nfi\n', '$1" = d ]', 'if [ "$1" = b ]; then\n  c\nfi\n'),
    # In an expression in one, up to its bracket.
    ("a.py", "x = f'{<CURSOR>} of {b}'\n", "a", "x = f'{a} of {b}'\n"),
    ("a.py", "x = f'{<CURSOR>} of {b}'\n", "a[c]} of {b}'\nd", "x = f'{a[c]} of {b}'\n"),
    ("a.py", "print(f'{a}, {<CURSOR>} b', c)\n", "d(e)} b', c)", "print(f'{a}, {d(e)} b', c)\n"),
    ("a.py", "x = f'''\n{a} {<CURSOR>} b\n'''\n", "c} b\n'''", "x = f'''\n{a} {c} b\n'''\n"),
    ("a.ts", "x = `a ${b <CURSOR>} c`;\n", "+ 1} c`;\n", "x = `a ${b + 1} c`;\n"),
    ("a.ts", "x = `a\n  ${<CURSOR>} c`;\n", "f({ b })} d`;\n", "x = `a\n  ${f({ b })} c`;\n"),
    ("a.rb", 'puts "#{<CURSOR>} b"\n', 'a} b"', 'puts "#{a} b"\n'),
    ("a.sh", 'echo "$(<CURSOR>) b"\n', 'ls) b"', 'echo "$(ls) b"\n'),
    ("a.cs", 'var x = $"{<CURSOR>} b";\n', 'a.C()} b";', 'var x = $"{a.C()} b";\n'),
]  # fmt: skip

NOTHING = [
    # What opens a bracket that the rest of the line does not know of.
    ("a.py", "f(<CURSOR>, b)\n", "g(", Reason.EMPTY),
    ("a.py", "f(<CURSOR>, b)\n", ", b)", Reason.EMPTY),
    # What was missing is there.
    ("a.py", "f(a<CURSOR>, b)\n", ", c", Reason.EMPTY),
    ("a.ts", "f(<CURSOR>) + 1;\n", "() => {\n  a();\n}", Reason.EMPTY),
    # The document parsed without its line, and does not with this one.
    ("a.py", "f(<CURSOR>, b)\n", "return", Reason.BROKEN),
    ("a.ts", "const a = f(<CURSOR>, b);\n", "= c", Reason.BROKEN),
    # It would take the end of the string away.
    ("a.py", "open('<CURSOR>', 'w')\n", "a\\", Reason.EMPTY),
]

ELSEWHERE = [
    ("a.py", "x = <CURSOR>foo(1)"),
    ("a.py", "x = <CURSOR> + 1"),
    ("a.py", "x = foo(<CURSOR>] + 1"),  # closes what is not open
    ("a.py", "x = 'a <CURSOR>, b'"),
    ("a.py", "'''a\n<CURSOR>, b'''"),
    ("a.py", "# a <CURSOR>, b"),
    ("a.py", "x = a if <CURSOR> else b"),
    ("a.py", "x = a <<CURSOR>> b"),
    ("a.py", "x = a <CURSOR>> b"),
    ("a.sql", "SELECT a <CURSOR>b FROM t"),
    ("a.sh", "x=$(<CURSOR>a) b"),
    ("a.md", "a <CURSOR>, b"),
    ("a.txt", "a <CURSOR>, b"),
    ("a.html", "<p>a <CURSOR>, b</p>"),
    ("a.html", '<p>a="<CURSOR>" b</p>'),  # between tags it is text
    ("a.py", "x = a<CURSOR>' b'"),
    ("a.py", "x = 'a (b <CURSOR>) c'"),
    ("a.py", "x = {'a <CURSOR>} b'"),  # the bracket is not the string's own
    ("a.ts", "/* a {<CURSOR>} b */ c"),
]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize(("name", "source", "text", "expected"), PLACES + NOTHING)
def test_an_answer_ends_where_its_place_does(
    name: str, source: str, text: str, expected: str | Reason, ending: str
) -> None:
    wanted = expected.replace("\n", ending) if isinstance(expected, str) else expected
    assert accepted(source.replace("\n", ending), text, path=f"/p/{name}") == wanted


@pytest.mark.parametrize(("name", "source"), ELSEWHERE)
def test_elsewhere_nothing_belongs_before_the_rest_of_a_line(name: str, source: str) -> None:
    assert context_of(source, name).reason is Reason.MID_LINE


def test_nothing_of_the_line_is_replaced_and_one_line_is_asked_for() -> None:
    context = context_of("f({<CURSOR>}, b)\n", "a.ts")
    assert (context.mode, context.mid_line, context.line_suffix) == (Mode.SINGLE_LINE, True, "}, b)")
    assert not context_of("f({<CURSOR>});\n", "a.ts").mid_line
    made = answer("f(<CURSOR>, b)\n", "a, b)", path="/p/a.py")
    assert not isinstance(made, Reason) and (made.text, made.end - made.start) == ("a", 0)


def test_what_is_left_of_it_is_known_while_it_is_typed() -> None:
    document, offset = parse("x = f(<CURSOR>, b) + 1\n", "/p/a.py")
    made = answer("x = f(<CURSOR>, b) + 1\n", "g(c)[0]", path="/p/a.py")
    assert not isinstance(made, Reason)
    known = Suggestions()
    known.remember("a", document, offset, [made])
    for typed, right in (("g", ""), ("g(", ")"), ("g(c)", ""), ("g(c)[", "]")):
        now = Document("", document.text[:offset] + typed + right + document.text[offset:], path="/p/a.py")
        found = known.recall("a", now, offset + len(typed))
        assert found is not None, typed
        (left,) = found.completions
        assert now.edited(left.start, left.end, left.text).text == "x = f(g(c)[0], b) + 1\n", typed


@pytest.mark.parametrize("source", ["x = f'{<CURSOR>} of {b}'\n", "open('<CURSOR>', 'w')\n"])
def test_so_it_is_in_a_string(source: str) -> None:
    document, offset = parse(source, "/p/a.py")
    made = answer(source, "abc", path="/p/a.py")
    assert not isinstance(made, Reason)
    known = Suggestions()
    known.remember("a", document, offset, [made])
    now = document.edited(offset, offset, "ab")
    found = known.recall("a", now, offset + 2)
    assert found is not None
    (left,) = found.completions
    assert now.edited(left.start, left.end, left.text).text == source.replace("<CURSOR>", "abc")


def items(line: str, lexis: Lexis) -> Iterator[tuple[int, int]]:
    """Where each item between brackets and separators begins and ends, if the line goes on behind it with code."""
    for at, mark in enumerate(line):
        state = scan(line[: at + 1], lexis)
        if mark not in "([{,;" or state.string or state.comment or (mark in "([{" and state.brackets[-1:] != mark):
            continue
        start = at + 1 + len(line[at + 1 :]) - len(line[at + 1 :].lstrip())
        for end in range(start + 1, len(line)):
            here = scan(line[:end], lexis)
            if line[end] in ",;)]}" and (here.brackets, here.string, here.comment) == (state.brackets, "", False):
                if line[end:].strip(" )]}>\"'`;:,{") and line[start] not in ";)]}":
                    yield start, start + len(line[start:end].rstrip())
                break


def strings(line: str, lexis: Lexis) -> Iterator[tuple[int, int]]:
    """Where what stands in each string begins and ends, if the line goes on behind it with code."""
    start, within = 0, ""
    for at in range(1, len(line) + 1):
        string = scan(line[:at], lexis).string
        if string and not within:
            start = at
        end = at - len(dict(lexis.strings).get(within, within))
        if within and not string and start < end and line[at:].strip(" )]}>\"'`;:,{"):
            yield start, end
        within = string


@pytest.mark.parametrize("goes_on", [False, True], ids=["ends there", "goes on"])
def test_strings_come_whole_in_real_code(goes_on: bool) -> None:
    asked = 0
    for path in (*FILES, ROOT / "editors/vscode/src/server.ts", Path(inspect.getfile(inspect))):
        lexis = lexis_of(language_of(path.name, ""))
        lines = path.read_text("utf-8").splitlines(keepends=True)[:400]
        for number, line in enumerate(lines):
            if scan("".join(lines[:number]), lexis).string:
                continue
            for start, end in strings(line.rstrip("\n"), lexis):
                left, missing = "".join(lines[:number]) + line[:start], line[start:end]
                right = line[end:] + "".join(lines[number + 1 :])
                said = missing + (line[end:] + "".join(lines[number + 1 : number + 3])) * goes_on
                got = accepted(f"{left}<CURSOR>{right}", said, path=f"/p/{path.name}")
                assert got == left + missing + right, (path.name, line, missing)
                asked += path.is_relative_to(ROOT / "tests/data")
    assert asked == 22


@pytest.mark.parametrize("goes_on", [False, True], ids=["ends there", "goes on"])
def test_the_truth_comes_whole_in_real_code(goes_on: bool) -> None:
    """From a model that ends there, and from one that writes the rest of the line and what follows again."""
    asked = 0
    for path in (*FILES, ROOT / "editors/vscode/src/server.ts", Path(inspect.getfile(inspect))):
        lexis = lexis_of(language_of(path.name, ""))
        lines = path.read_text("utf-8").splitlines(keepends=True)[:400]
        for number, line in enumerate(lines):
            before, below = "".join(lines[:number]), "".join(lines[number + 1 :])
            for start, end in items(line.rstrip("\n"), lexis):
                left, missing, right = before + line[:start], line[start:end], line[end:] + below
                said = missing + (line[end:] + "".join(lines[number + 1 : number + 3])) * goes_on
                if context_of(left + "<CURSOR>" + right, path.name).reason is Reason.MID_LINE or "/^~" in line:
                    assert path.suffix == ".py" or path.name == "find.ts", line  # in a docstring, and in a regex
                    continue
                assert accepted(f"{left}<CURSOR>{right}", said, path=f"/p/{path.name}") == left + missing + right
                asked += path.is_relative_to(ROOT / "tests/data")  # the others change
    assert asked == 64
