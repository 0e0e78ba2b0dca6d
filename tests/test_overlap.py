"""What the editor or the user has closed already is not closed twice: (source, what the model says, afterwards)."""

from __future__ import annotations

import pytest

from pass_lsp.reasons import Reason
from tests.test_postprocess import accepted

COUNTED = [
    # The bracket around the call closes on a line below.
    ("call(\n    foo(<CURSOR>)\n)\n", "a)", "call(\n    foo(a)\n)\n", "py"),
    ("call(\n    foo(<CURSOR>),\n    bar,\n)\n", "a),", "call(\n    foo(a),\n    bar,\n)\n", "py"),
    ("call(\n    foo(<CURSOR>),\n    bar,\n)\n", "a)", "call(\n    foo(a),\n    bar,\n)\n", "py"),
    ("x = {\n    'a': {<CURSOR>}\n}\n", "'b': 1}", "x = {\n    'a': {'b': 1}\n}\n", "py"),
    ("const a = {\n  b: {<CURSOR>},\n};\n", " c: 1 },", "const a = {\n  b: { c: 1 },\n};\n", "js"),
    ("function f() {\n  foo(bar(<CURSOR>));\n}\n", "1));", "function f() {\n  foo(bar(1));\n}\n", "js"),
    ('{\n  "a": {<CURSOR>}\n}\n', '"b": 1}', '{\n  "a": {"b": 1}\n}\n', "json"),
    # What this line lacks is said, whatever the lines below close.
    ("call(\n    foo(bar(<CURSOR>)\n)\n", "a)", "call(\n    foo(bar(a))\n)\n", "py"),
    ("x = foo(bar(<CURSOR>)\n", "a)", "x = foo(bar(a))\n", "py"),
    # Nothing but what stands there already.
    ("class A {\n  f() {<CURSOR>}\n}\n", "}", Reason.EMPTY, "js"),
    ("print('hi'<CURSOR>)\n", ")", Reason.EMPTY, "py"),
]

UNCOUNTED = [
    ('print(f"Hello {<CURSOR>}")\n', "name}", 'print(f"Hello {name}")\n', "py"),
    ('print(f"Hello {<CURSOR>}")\n', 'name}"', 'print(f"Hello {name}")\n', "py"),
    ('print(f"Hello {<CURSOR>}")\n', "name}!", 'print(f"Hello {name}!")\n', "py"),
    ('print(f"Hello {<CURSOR>}")\n', "name}, {b}", 'print(f"Hello {name}, {b}")\n', "py"),
    ('print(f"Hello {a}{<CURSOR>}")\n', "b['c']}. {d}!", "print(f\"Hello {a}{b['c']}. {d}!\")\n", "py"),
    ("const a = `x ${<CURSOR>}`;\n", "name} y", "const a = `x ${name} y`;\n", "js"),
    ("let a = Vec::<<CURSOR>>;\n", "u8>::new()", "let a = Vec::<u8>::new();\n", "rs"),
    ("let a: Map<<CURSOR>>;\n", "(b: C) => D", "let a: Map<(b: C) => D>;\n", "ts"),
    ("# call f(<CURSOR>)\n", "x) and g(y)", "# call f(x) and g(y)\n", "py"),
    ('print(f"{len(<CURSOR>)}")\n', "name)}", 'print(f"{len(name)}")\n', "py"),
    ('x = "f(<CURSOR>)"\n', "g(y)", 'x = "f(g(y))"\n', "py"),
    ("# call f(<CURSOR>)\n", "x)", "# call f(x)\n", "py"),
    ("const a = `x ${<CURSOR>}`;\n", "name}", "const a = `x ${name}`;\n", "js"),
    ('<a href="<CURSOR>">\n', 'foo.html"', '<a href="foo.html">\n', "html"),
    ("See [docs](<CURSOR>)\n", "http://x)", "See [docs](http://x)\n", "md"),
    ("\\section{<CURSOR>}\n", "Intro}", "\\section{Intro}\n", "tex"),
    ("a: '<CURSOR>'\n", "b'", "a: 'b'\n", "yaml"),
    ("let a = '<CURSOR>';\n", "b';", "let a = 'b';\n", "rs"),
    ("let a: Vec<<CURSOR>>;\n", "u8>;", "let a: Vec<u8>;\n", "rs"),
    ("let a: Vec<<CURSOR>>;\n", "Box<u8>", "let a: Vec<Box<u8>>;\n", "rs"),
]


TAGS = [
    ("<p><CURSOR></p>\n", "Hello</p>", "<p>Hello</p>\n", "html"),
    ("<p><CURSOR></p>\n", "Hello", "<p>Hello</p>\n", "html"),
    ("<p><CURSOR></p>\n", "</p>", Reason.EMPTY, "html"),
    ("<p><b><CURSOR></b></p>\n", "Hello</b>!</p>", "<p><b>Hello</b>!</p>\n", "html"),
    ("<p><b><CURSOR></b></p>\n", "Hello</b>", "<p><b>Hello</b></p>\n", "html"),
    ("<p><CURSOR></p>\n", "<p>a</p>", "<p><p>a</p></p>\n", "html"),
    ("<p><CURSOR></p>\n", "a <pre>b</pre></p>", "<p>a <pre>b</pre></p>\n", "html"),
    ("<div><CURSOR></div>\n", "\n  <p>a</p>\n</div>", "<div>\n  <p>a</p>\n</div>\n", "html"),
    ("x = a.map((i) => <li><CURSOR></li>);\n", "{i}</li>);", "x = a.map((i) => <li>{i}</li>);\n", "jsx"),
    ("x = a.map((i) => <li><CURSOR></li>);\n", "{i}", "x = a.map((i) => <li>{i}</li>);\n", "jsx"),
    (
        "<ul><CURSOR></ul>\n",
        "\n  <li>a</li>\n  <li>b</li>\n</ul>\n<p>",
        "<ul>\n  <li>a</li>\n  <li>b</li>\n</ul>\n",
        "html",
    ),
    ("<p><CURSOR></p>\n", "Hello</p>\n<p>More</p>\n", "<p>Hello</p>\n", "html"),
    ("  <p><CURSOR></p>\n</div>\n", "Hello</p>\n</div>\n", "  <p>Hello</p>\n</div>\n", "html"),
    (
        "return (\n  <div><CURSOR></div>\n);\n",
        "\n    <A />\n  </div>\n);",
        "return (\n  <div>\n    <A />\n  </div>\n);\n",
        "jsx",
    ),
    ("return <><CURSOR></>;\n", "<A /></>;", "return <><A /></>;\n", "jsx"),
    ("/** <CURSOR> */\nf();\n", "Calls it. */", "/** Calls it. */\nf();\n", "ts"),
    ("/** <CURSOR>*/\nf();\n", "Calls it.", "/** Calls it.*/\nf();\n", "ts"),
    ("<!-- <CURSOR> -->\n", "Said. -->", "<!-- Said. -->\n", "html"),
]


# What would leave a bracket or a quote open, or close one of a line below, is not said before closers.
CUT = [
    ("init(<CURSOR>)\n", "a, a, init(b", "init(a, a)\n", "py"),
    ("f(<CURSOR>)\n", "a, 'b", "f(a)\n", "py"),
    ("f(<CURSOR>)\n", "'a = b", Reason.EMPTY, "py"),
    ("f([<CURSOR>])\n", "(0,\n 1)", "f([(0,\n 1)])\n", "py"),
    ("x = [a, str(<CURSOR>),\n     b]\n", "c)]", "x = [a, str(c),\n     b]\n", "py"),
    ("def f(a=(<CURSOR>),\n      b=1): pass\n", "), c=2):", "def f(a=(), c=2,\n      b=1): pass\n", "py"),
    ("if (a and b <= <CURSOR>):\n    pass\n", "0:", "if (a and b <= 0):\n    pass\n", "py"),
    ("if (<CURSOR>) {\n}\n", "a && f(b)) { g(", "if (a && f(b)) {\n}\n", "js"),
    # Not where a grammar knows better than the lexer what is a literal.
    ("x = f(<CURSOR>);\n", "/['(]/, b", "x = f(/['(]/, b);\n", "js"),
    ("let x = f(<CURSOR>);\n", "'(', b", "let x = f('(', b);\n", "rs"),
]


@pytest.mark.parametrize(("source", "text", "expected", "ending"), COUNTED + UNCOUNTED + TAGS + CUT)
def test_what_is_closed_is_not_closed_twice(source: str, text: str, expected: str | Reason, ending: str) -> None:
    assert accepted(source, text, path=f"/p/a.{ending}") == expected
