"""The true text, or nearly that, at holes as they are in real code: it is shown, and spoils nothing."""

from __future__ import annotations

import pytest

from pass_lsp.reasons import Reason
from tests.test_postprocess import accepted

CALLBACKS = [
    # Brackets around a function belong to no definition.
    (
        "a.ts",
        "a(() => {\n  b(() => {\n    <CURSOR>\n",
        "c();\n  });\n});\n",
        "a(() => {\n  b(() => {\n    c();\n  });\n",
    ),
    (
        "a.ts",
        "a(() => {\n  b(() => {\n    c();\n<CURSOR>\n});\n",
        "  });\n",
        "a(() => {\n  b(() => {\n    c();\n  });\n});\n",
    ),
    (
        "a.js",
        "function a() {\n  b.each((v) => {\n    c(v);\n    <CURSOR>\n}\n",
        "d(v);\n  });\n",
        "function a() {\n  b.each((v) => {\n    c(v);\n    d(v);\n  });\n}\n",
    ),
    (
        "a.js",
        "function a() {\n  b.each((v) =>\n    c(v)\n  <CURSOR>\n}\n",
        ")\n",
        "function a() {\n  b.each((v) =>\n    c(v)\n  )\n}\n",
    ),
]


@pytest.mark.parametrize(("name", "source", "text", "expected"), CALLBACKS)
def test_the_truth_is_shown(name: str, source: str, text: str, expected: str | Reason) -> None:
    assert accepted(source, text, path=f"/p/{name}") == expected


OWN_LINE = [
    # The user's own line is no repetition by the answer.
    ("a.js", "x = [\n  {<CURSOR>\n  {\n    a: 1,\n  },\n];\n", "\n    a: 2,\n  },\n",
     "x = [\n  {\n    a: 2,\n  },\n  {\n    a: 1,\n  },\n];\n"),
    ("a.py", "if a is None:<CURSOR>\nif a is None:\n    b()\n", "\n    a = c\n",
     "if a is None:\n    a = c\nif a is None:\n    b()\n"),
    ("a.py", "if a:\nif a:<CURSOR>\n", "\n    b = c\n", "if a:\nif a:\n    b = c\n"),
    ("a.py",
     "class A:\n    def readinto(self, b):<CURSOR>\n\n    def readinto1(self, b):\n"
     "        return self._file.readinto1(b)\n",
     "\n        return self._file.readinto(b)\n",
     "class A:\n    def readinto(self, b):\n        return self._file.readinto(b)\n\n"
     "    def readinto1(self, b):\n        return self._file.readinto1(b)\n"),
]  # fmt: skip

AGAIN = [
    # What ends a block may stand again, also where nothing is indented.
    ("a.html", "<div>\n<div>\n</div>\n<CURSOR>", "</div>", "<div>\n<div>\n</div>\n</div>"),
    ("a.sh", "if a; then\nif b; then\nc\nfi\n<CURSOR>", "fi", "if a; then\nif b; then\nc\nfi\nfi"),
    ("a.sh", "while a; do\nwhile b; do\nc\ndone\n<CURSOR>", "done", "while a; do\nwhile b; do\nc\ndone\ndone"),
]

SPACED = [
    ("a.js", "import {<CURSOR>}\n", " b ", "import { b }\n"),
    ("a.js", "import { <CURSOR>}\n", "b ", "import { b }\n"),
    ("a.js", "import { <CURSOR> }\n", "b ", "import { b }\n"),
    ("a.sh", "if [<CURSOR>]\n", ' -z "$a" ', 'if [ -z "$a" ]\n'),
    ("a.py", 'input("<CURSOR>")\n', "Name: ", 'input("Name: ")\n'),
    ("a.py", "f(<CURSOR>)\n", "a ", "f(a)\n"),
    ("a.js", "f({<CURSOR>});\n", " a }", "f({ a });\n"),
]

SHELL = [
    ("a.sh", 'case "$1" in\n  <CURSOR>\nesac\n', "a)\n    b\n    ;;\n",
     'case "$1" in\n  a)\n    b\n    ;;\nesac\n'),
    ("a.sh", "f() {\n  case $1 in\n    a) b ;;\n    <CURSOR>\n  esac\n}\n", "*) c ;;\n",
     "f() {\n  case $1 in\n    a) b ;;\n    *) c ;;\n  esac\n}\n"),
    # Patterns as deep as `case` itself
    ("a.sh", "<CURSOR>\nf\n", "case $1 in\na)\n  b\n  ;;\nc | d) e ;;\n*)\nesac\nf\n",
     "case $1 in\na)\n  b\n  ;;\nc | d) e ;;\n*)\nesac\nf\n"),
    ("a.sh", "case <CURSOR>\nf\n", "$1 in\na)\n  b\n  ;;\nc | d) e ;;\n*)\nesac\nf\n",
     "case $1 in\na)\n  b\n  ;;\nc | d) e ;;\n*)\nesac\nf\n"),
    # `file` is no `fi`.
    ("a.sh", "if a; then<CURSOR>\n\nfile=b\n", "\n  c\nfi\n\nfile=b\n", "if a; then\n  c\nfi\n\nfile=b\n"),
]  # fmt: skip

INDENTED = [
    # GNU: a tab is eight columns, and lines are indented by two.
    ("a.c", "int f()\n{\n  if (a)\n    {\n      b (c,\n\t d);\n      <CURSOR>\n    }\n}\n", "e (f,\n\t g);\n",
     "int f()\n{\n  if (a)\n    {\n      b (c,\n\t d);\n      e (f,\n\t g);\n    }\n}\n"),
    # Behind tabs, spaces align.
    ("a.c", "int f()\n{\n\ta();\n\tb();\n\t<CURSOR>\n}\n", "c(d,\n\t    e);\n",
     "int f()\n{\n\ta();\n\tb();\n\tc(d,\n\t    e);\n}\n"),
    # In column 0, below a line that is not indented though the code around it is.
    ("a.c", "int f()\n{\n    a();\n#ifdef B\n<CURSOR>\n#endif\n}\n", "    b();\n",
     "int f()\n{\n    a();\n#ifdef B\n    b();\n#endif\n}\n"),
    ("a.css", "a {\n  src: b,\n<CURSOR>\n}\n", "       c;\n", "a {\n  src: b,\n       c;\n}\n"),
    # Only the first line says again how deep the cursor is.
    ("a.php", "<?php\nfunction f() {\n    <CURSOR>\n}\n", "    g(\n        1);\n",
     "<?php\nfunction f() {\n    g(\n        1);\n}\n"),
    ("a.py", "def f():\n    <CURSOR>\n", "    if a:\n        b()\n", "def f():\n    if a:\n        b()\n"),
    ("a.py", "def f():\n    <CURSOR>\n", "    if a:\n            b()\n", "def f():\n    if a:\n        b()\n"),
    # White space alone is no code.
    ("a.go", "func f() {\n\ta()\n\t<CURSOR>\n}\n", "b()\n    ", "func f() {\n\ta()\n\tb()\n}\n"),
]  # fmt: skip

CLOSED = [
    # A line below closes what encloses the call.
    ("a.py", "f(g(<CURSOR>),\n  b)\n", "a)", "f(g(a),\n  b)\n"),
    ("a.py", "f(g(<CURSOR>),\n  b)\n", "a),", "f(g(a),\n  b)\n"),
    ("a.ts", "let a: A<{<CURSOR>}>;\n", " b?: c }>;", "let a: A<{ b?: c }>;\n"),
    ("a.html", "<script>\n  if (<CURSOR>) {\n  }\n</script>\n", "a) {", "<script>\n  if (a) {\n  }\n</script>\n"),
    # A model that explains itself.
    ("a.json", '{\n  "a": 1,\n  <CURSOR>\n}\n', '```json\n  "b": 2\n```\n', Reason.EMPTY),
]

TEST = "    @Test\n    void b() {\n    }\n}\n"
INHERITED = "/**\n * {@inheritdoc}\n */\n"

ANOTHER = [
    # The next item begins as this one does.
    ("a.java", f"class A {{\n    <CURSOR>\n\n{TEST}", "@Test\n    void a() {\n        c();\n    }", f"\n\n{TEST}"),
    ("a.java", f"class A {{\n    <CURSOR>\n\n{TEST}", "int a;", f"\n\n{TEST}"),
    ("a.py", "class A:\n    <CURSOR>\n\n    @property\n    def b(self):\n        c()\n",
     "@property\n    def a(self):\n        c()", "\n\n    @property\n    def b(self):\n        c()\n"),
    ("a.php", f"<?php\n<CURSOR>\n\n{INHERITED}function b()\n{{\n}}\n", f"{INHERITED}function a()\n{{\n    c();\n}}",
     f"\n\n{INHERITED}function b()\n{{\n}}\n"),
    ("a.json", '[\n  <CURSOR>\n  {\n    "a": 2\n  }\n]\n', '{\n    "a": 1\n  },', '\n  {\n    "a": 2\n  }\n]\n'),
    ("a.go", "func f() {\n\t<CURSOR>\n\tgo func() {\n\t\tb()\n\t}()\n}\n", "go func() {\n\t\ta()\n\t}()",
     "\n\tgo func() {\n\t\tb()\n\t}()\n}\n"),
    ("a.tsx", "function A() {\n  <CURSOR>\n\n  useEffect(() => {\n    b();\n  }, []);\n}\n",
     "useEffect(() => {\n    a();\n  }, [c]);", "\n\n  useEffect(() => {\n    b();\n  }, []);\n}\n"),
    ("a.js", "<CURSOR>\n\nafterEach(async function (a) {\n  b(a);\n});\n",
     "afterEach(async function (a) {\n  c(a);\n});", "\n\nafterEach(async function (a) {\n  b(a);\n});\n"),
    ("a.toml", "[a]\n\n<CURSOR>\n\n[[bin]]\nname = 'c'\n", "[[bin]]\nname = 'b'", "\n\n[[bin]]\nname = 'c'\n"),
    ("a.py", 'def f():\n    """<CURSOR>\n    """\n    b()\n', "A.", '\n    """\n    c()\n'),
]  # fmt: skip


@pytest.mark.parametrize(("name", "source", "text", "more"), ANOTHER)
def test_another_item_may_begin_as_the_next_one_does(name: str, source: str, text: str, more: str) -> None:
    assert accepted(source, text + more, path=f"/p/{name}") == source.replace("<CURSOR>", text)


@pytest.mark.parametrize("text", [TEST.lstrip(), "@Test\n", "void b() {\n        c();\n    }\n"])
def test_the_next_item_is_not_said_again(text: str) -> None:
    source = f"class A {{\n    <CURSOR>\n\n{TEST}".replace("@Test\n    " if text.startswith("void") else "\0", "")
    assert accepted(source, text, path="/p/A.java") is Reason.REPEATS_SUFFIX


def test_a_callback_is_not_said_again() -> None:
    source = "function A() {\n  <CURSOR>\n\n  useEffect(() => {\n    b();\n  }, []);\n}\n"
    again = "useEffect(() => {\n    b();\n  }, []);\n}\n"
    assert accepted(source, again, path="/p/a.tsx") is Reason.REPEATS_SUFFIX
    named = source.replace("useEffect(", 'it("a", ')
    assert accepted(named, 'it("a", () => {\n    c();\n  });\n}\n', path="/p/a.tsx") is Reason.REPEATS_SUFFIX


def test_a_line_may_stand_several_times_where_what_is_between_differs() -> None:
    source, turn = "func f() error {\n\t<CURSOR>\n}\n", "{}()\n\tif err != nil {{\n\t\treturn err\n\t}}"
    differing = "\n\t".join(map(turn.format, "abcd"))
    assert accepted(source, differing + "\n}\n", path="/p/a.go") == source.replace("<CURSOR>", differing)
    same = "\n\t".join(map(turn.format, "aaaa"))
    assert accepted(source, same + "\n}\n", path="/p/a.go") == source.replace("<CURSOR>", turn.format("a"))


GOES_ON = [
    # A line that is the header of a block goes on to the block's end,
    ("a.py", "def f<CURSOR>\n", "(a):\n    b()\n\n\nc = 1\n", "def f(a):\n    b()\n"),
    ("a.py", "def f(<CURSOR>\n", "a):\n    b()\n\n\nc = 1\n", "def f(a):\n    b()\n"),
    ("a.py", "def f(<CURSOR>):\n", "a):\n    b()\nc = 1\n", "def f(a):\n    b()\n"),
    ("a.py", "with a(<CURSOR>)\n", "b) as c:\n    d()\nc = 1\n", "with a(b) as c:\n    d()\n"),
    ("a.py", "if a:\n    b()\nel<CURSOR>\n", "se:\n    c()\nd()\n", "if a:\n    b()\nelse:\n    c()\n"),
    ("a.js", "a(<CURSOR>);\n", "() => {\n  b();\n});\nc();\n", "a(() => {\n  b();\n});\n"),
    ("a.js", "if (<CURSOR>)\n", "a) {\n  b();\n} else {\n  c();\n}\nd();\n",
     "if (a) {\n  b();\n} else {\n  c();\n}\n"),
    ("a.go", "func f<CURSOR>\n", "(a int) {\n\tb()\n}\n\nfunc g() {}\n", "func f(a int) {\n\tb()\n}\n"),
    ("a.rb", "def f<CURSOR>\n", "(a)\n  b\nend\n\nc\n", "def f(a)\n  b\nend\n"),
    ("a.lua", "local f = <CURSOR>\n", "function(a)\n  b()\nend\nc()\n", "local f = function(a)\n  b()\nend\n"),
    ("a.py", "def f(\n    a,\n    <CURSOR>\n", "b,\n):\n    c()\n\n\nd()\n", "def f(\n    a,\n    b,\n):\n    c()\n"),
    ("a.py", "def f(\n    a,\n    b<CURSOR>\n", "):\n    c()\nd()\n", "def f(\n    a,\n    b):\n    c()\n"),
    ("a.py", "x = [\n    a\n    if b\n<CURSOR>\n", "]:\n    c()\n", "x = [\n    a\n    if b\n]:\n"),
    ("a.c", "int f<CURSOR>\n", "(int a)\n{\n  b();\n}\n\nint g(void)\n{\n", "int f(int a)\n{\n  b();\n}\n"),
    ("a.c", "int f(<CURSOR>)\n", "int a)\n{\n  b();\n}\n", "int f(int a)\n{\n  b();\n}\n"),
    ("a.c", "int f(<CURSOR>\n", "int a)\n{\n  b();\n}\n", "int f(int a)\n{\n  b();\n}\n"),
    ("a.c", "int f(<CURSOR>)\n{\n  c();\n}\n", "int a)\n{\n  b();\n}\n", "int f(int a)\n{\n  c();\n}\n"),
    ("a.cs", "class A<CURSOR>\n", " : B\n{\n    int c;\n}\n", "class A : B\n{\n    int c;\n}\n"),
    ("a.php", "<?php\nfunction f<CURSOR>\n", "($a)\n{\n    b();\n}\nc();\n",
     "<?php\nfunction f($a)\n{\n    b();\n}\n"),
    ("a.h", "class A {\n  explicit <CURSOR>\n\n  int c;\n};\n", "operator bool() const {\n    return b();\n  }\n",
     "class A {\n  explicit operator bool() const {\n    return b();\n  }\n\n  int c;\n};\n"),
    ("a.c", "a = <CURSOR>\n", "b(c)\nd();\n", "a = b(c)\n"),
    ("a.html", "<ul<CURSOR>\n", ">\n  <li>a</li>\n</ul>\n<p>\n", "<ul>\n  <li>a</li>\n</ul>\n"),
    ("a.html", "<ul>\n  <<CURSOR>\n</ul>\n", "li>a</li>\n</ul>\n", "<ul>\n  <li>a</li>\n</ul>\n"),
    ("a.html", "<div>\n<<CURSOR>\n</div>\n", "ul>\n  <li>a</li>\n</ul>\n</div>\n",
     "<div>\n<ul>\n  <li>a</li>\n</ul>\n</div>\n"),
    ("a.sh", "for a in b; do\nif <CURSOR>\ndone\n", "a; then\n  c\nfi\ndone\n",
     "for a in b; do\nif a; then\n  c\nfi\ndone\n"),
    ("a.yaml", "on<CURSOR>\n", ":\n  push: 1\na: 2\n", "on:\n  push: 1\n"),
    # with all its parts,
    ("a.py", "try<CURSOR>\n", ":\n    a()\nexcept B:\n    c()\nd()\n", "try:\n    a()\nexcept B:\n    c()\n"),
    ("a.py", "if a:\n    if <CURSOR>\n", "b:\n        c()\nelse:\n    d()\n", "if a:\n    if b:\n        c()\n"),
    ("a.lua", "if <CURSOR>\n", "a then\n  b()\nelse\n  c()\nend\nd()\n", "if a then\n  b()\nelse\n  c()\nend\n"),
    ("a.sh", "if <CURSOR>\n", "a; then\n  b\nelse\n  c\nfi\nd\n", "if a; then\n  b\nelse\n  c\nfi\n"),
    # unless it has one,
    ("a.py", "if <CURSOR>\n    c()\n", "a:\n    b()\n", "if a:\n    c()\n"),
    ("a.js", "if <CURSOR>\n  c();\n}\n", "(a) {\n  b();\n}\n", "if (a) {\n  c();\n}\n"),
    ("a.js", "if <CURSOR>\n{\n}\n", "(a) {\n  b();\n}\n", "if (a) {\n{\n}\n"),
    # or the model indents nothing.
    ("a.py", "if <CURSOR>\n", "a:\nb()\n", "if a:\n"),
    # A bracket is closed,
    ("a.py", "a = <CURSOR>\n", "b(\n    c,\n    d,\n)\ne = 2\n", "a = b(\n    c,\n    d,\n)\n"),
    ("a.py", "a = <CURSOR>\n", "b(c,\n      d)\ne = 2\n", "a = b(c,\n      d)\n"),
    ("a.py", "a = b(c, <CURSOR>\n", "d,\n      e)\nf = 2\n", "a = b(c, d,\n      e)\n"),
    ("a.py", "a = b([<CURSOR>\n", "c,\n       d],\n      e)\nf = 2\n", "a = b([c,\n       d],\n      e)\n"),
    # also before those that the editor has put.
    ("a.py", "a = b(<CURSOR>)\n", "\n    c,\n    d,\n)\ne = 2\n", "a = b(\n    c,\n    d,\n)\n"),
    ("a.py", "a = b(<CURSOR>)\n", "\n    c,\n    d,\n", "a = b(\n    c,\n    d,\n)\n"),
    ("a.py", "a = b(<CURSOR>)\n", "c,\n      d)\n", "a = b(c,\n      d)\n"),
    ("a.py", "a = b(<CURSOR>)\n", "c, [\n    d])\n", "a = b(c, [\n    d])\n"),
    ("a.py", "a = b([<CURSOR>])\n", "\n    c,\n], d=2)\n", "a = b([\n    c,\n], d=2)\n"),
    ("a.py", "a = {<CURSOR>}\n", "\n    'b': 1,\n}\n", "a = {\n    'b': 1,\n}\n"),
    ("a.json", '{\n  "a": [<CURSOR>]\n}\n', "\n    1,\n    2\n  ]\n}\n", '{\n  "a": [\n    1,\n    2\n  ]\n}\n'),
    ("a.py", "a((<CURSOR>)\nd()\n", "b,\n   c))\nd()\n", "a((b,\n   c))\nd()\n"),
    ("a.py", "a = b[<CURSOR>]\n", "1]  # one\nc = 2\n", "a = b[1]  # one\n"),
    # What no mark finishes goes on on a deeper line,
    ("a.ts", "const a = <CURSOR>\nc();\n", "b()\n  .then(d)\n  .then(e);\nc();\n",
     "const a = b()\n  .then(d)\n  .then(e);\nc();\n"),
    ("a.rs", "fn f() {\n    let a = b(<CURSOR>)\n}\n", "c)\n        .d()\n        .e();\n}\n",
     "fn f() {\n    let a = b(c)\n        .d()\n        .e();\n}\n"),
    ("a.java", "class A {\n    String <CURSOR>\n}\n", 'a =\n            "b";\n\n    int c;\n}\n',
     'class A {\n    String a =\n            "b";\n}\n'),
    ("a.c", "void f()\n{\n    if (<CURSOR>)\n}\n", "a)\n        b();\n    c();\n}\n",
     "void f()\n{\n    if (a)\n        b();\n}\n"),
    ("a.js", "a(() => {\n  b();\n<CURSOR>", "})\n  .c();\nd();\n", "a(() => {\n  b();\n})\n  .c();"),
    ("a.kt", "val a = <CURSOR>\n", "b\n    ?: c\nval d = e\n", "val a = b\n    ?: c\n"),
    ("a.sh", "a -b<CURSOR>\nd\n", " \\\n  -c |\n  e\nd\n", "a -b \\\n  -c |\n  e\nd\n"),
    ("a.sh", "f<CURSOR>\n\nc\n", "()\n{\n  b\n}\n\nc\n", "f()\n{\n  b\n}\n\nc\n"),
    ("a.ts", "type A = {\n  b<CURSOR>\n};\n", "?:\n    | c\n    | d;\n  e: f;\n};\n",
     "type A = {\n  b?:\n    | c\n    | d;\n};\n"),
    ("a.rb", "a = <CURSOR>\nd\n", "b\n  .c &&\n  c\nd\n", "a = b\n  .c &&\n  c\nd\n"),
    ("a.lua", "local a = <CURSOR>\nd()\n", "b\n  or c\nd()\n", "local a = b\n  or c\nd()\n"),
    ("a.scss", "a {\n  <CURSOR>\n}\n", "b: c 1s,\n    d 2s;\n}\n", "a {\n  b: c 1s,\n    d 2s;\n}\n"),
    ("a.css", "a<CURSOR>\nc {}\n", " b\n{\n  d: e;\n}\nc {}\n", "a b\n{\n  d: e;\n}\nc {}\n"),
    ("a.yaml", "a:\n  - b: <CURSOR>\nf: g\n", "c\n    d: e\nf: g\n", "a:\n  - b: c\n    d: e\nf: g\n"),
    ("a.js", "const a = <CURSOR>\n  .then(d);\n", "b()\n  .then(c);\n", "const a = b()\n  .then(d);\n"),
    ("a.js", "// a (<CURSOR>\nd();\n", "b\n  c\n", "// a (b\nd();\n"),
    # as does a tag, up to what ends its element.
    ("a.tsx", "const a = (\n  <B<CURSOR>\n);\n", ">\n    <C />\n  </B>\n);\n",
     "const a = (\n  <B>\n    <C />\n  </B>\n);\n"),
    ("a.tsx", "const a = (\n  <B<CURSOR>\n);\n", "\n    c={d}\n  />\n);\n", "const a = (\n  <B\n    c={d}\n  />\n);\n"),
    ("a.vue", "<template>\n  <p <CURSOR>\n</template>\n", ':a="b">\n    {{ c }}\n  </p>\n</template>\n',
     '<template>\n  <p :a="b">\n    {{ c }}\n  </p>\n</template>\n'),
    ("a.html", "<p>\n  <a<CURSOR>\n</p>\n", '\n    href="b"\n  >\n</p>\n', '<p>\n  <a\n    href="b"\n  >\n</p>\n'),
    # Any other line ends with itself.
    ("a.py", "a = <CURSOR>\n", "b(c)\nif d:\n    e()\n", "a = b(c)\n"),
    ("a.py", "a = b(<CURSOR>)\n", "c)\nif d:\n    e()\n", "a = b(c)\n"),
    ("a.py", "a = b(c)<CURSOR>\n", "\nif d:\n    e()\n", Reason.EMPTY),
    ("a.py", "# a (<CURSOR>\n", "b\nc = 1\n", "# a (b\n"),
    ("a.md", "A <CURSOR>\n", "b (\nc\n", "A b (\n"),
]  # fmt: skip


@pytest.mark.parametrize("finish", ["eos", "length"])
@pytest.mark.parametrize(("name", "source", "text", "expected"), GOES_ON)
def test_an_answer_of_one_line_goes_on_to_the_end_of_what_it_begins(
    name: str, source: str, text: str, expected: str | Reason, finish: str
) -> None:
    assert accepted(source, text, finish, f"/p/{name}") == expected


NEARLY = OWN_LINE + AGAIN + SPACED + SHELL + INDENTED + CLOSED


@pytest.mark.parametrize(("name", "source", "text", "expected"), NEARLY)
def test_nearly_the_truth_is_shown(name: str, source: str, text: str, expected: str | Reason) -> None:
    assert accepted(source, text, path=f"/p/{name}") == expected
