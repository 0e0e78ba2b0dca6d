"""The true text, or nearly that, at holes as they are in real code: it is shown, and spoils nothing."""

from __future__ import annotations

import pytest

from pass_lsp.domain import Reason
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


@pytest.mark.parametrize(("name", "source", "text", "expected"), OWN_LINE + AGAIN + SPACED + SHELL + INDENTED + CLOSED)
def test_nearly_the_truth_is_shown(name: str, source: str, text: str, expected: str | Reason) -> None:
    assert accepted(source, text, path=f"/p/{name}") == expected
