"""What the editor has closed right of the cursor, and what several lines between that and the cursor make of it."""

from __future__ import annotations

import pytest

from tests.test_postprocess import accepted

VALUES = [
    # Behind what closes itself there is the other closer.
    ("a.tsx", "<a b={<CURSOR>}>\n", "() => {\n  c();\n}", "<a b={() => {\n  c();\n}}>\n"),
    ("a.tsx", "  <a>\n    {<CURSOR>}\n  </a>\n", "c && (\n      <b />\n    )",
     "  <a>\n    {c && (\n      <b />\n    )}\n  </a>\n"),
    ("a.js", "foo(<CURSOR>);\n", "() => {\n  a();\n}", "foo(() => {\n  a();\n});\n"),
    ("a.lua", "foo(function()<CURSOR>)\n", "\n  a()\nend\n", "foo(function()\n  a()\nend)\n"),
    # Behind a block, and behind items, it stands alone.
    ("a.js", "function f() {<CURSOR>}\n", "\n  if (a) {\n    b();\n  }\n",
     "function f() {\n  if (a) {\n    b();\n  }\n}\n"),
    ("a.js", "x = [<CURSOR>];\n", "\n  1,\n  2,\n", "x = [\n  1,\n  2,\n];\n"),
    # Parameters may stand on lines of their own above a body that is there.
    ("a.py", "def f(<CURSOR>):\n    pass\n", "\n    a: int,\n    b: str,\n",
     "def f(\n    a: int,\n    b: str,\n):\n    pass\n"),
    ("a.py", "def f(<CURSOR>):\n    pass\n", "\n    a: int,\n):\n    pass\n", "def f(\n    a: int,\n):\n    pass\n"),
    ("a.ts", "function f(<CURSOR>) {\n  a();\n}\n", "\n  a: B,\n  c: D,\n) {\n",
     "function f(\n  a: B,\n  c: D,\n) {\n  a();\n}\n"),
    ("a.tsx", "<B style={<CURSOR>}></B>\n", "{\n  c: 1,\n}}></B>", "<B style={{\n  c: 1,\n}}></B>\n"),
]  # fmt: skip

TEXTS = [
    ("a.html", "<div><CURSOR></div>\n", "\n  <p>a</p>\n", "<div>\n  <p>a</p>\n</div>\n"),
    ("a.tsx", "  <div><CURSOR></div>\n", "\n    <p>a</p>\n  ", "  <div>\n    <p>a</p>\n  </div>\n"),
    ("a.py", 'def f(a):\n    """<CURSOR>"""\n', "Return a.\n\n    Args:\n        a: it.\n    ",
     'def f(a):\n    """Return a.\n\n    Args:\n        a: it.\n    """\n'),
    ("a.ts", "/**<CURSOR> */\nfunction f(a) {}\n", "\n * @param a it\n ",
     "/**\n * @param a it\n */\nfunction f(a) {}\n"),
    ("a.ts", "/**\n * <CURSOR>\n */\nfunction f(a) {}\n", "Returns a.\n * @param a it\n * @returns a\n",
     "/**\n * Returns a.\n * @param a it\n * @returns a\n */\nfunction f(a) {}\n"),
    # A string that holds nothing yet may have several lines.
    ("a.ts", "const a = styled.div`<CURSOR>`;\n", "\n  color: red;\n  top: 0;\n",
     "const a = styled.div`\n  color: red;\n  top: 0;\n`;\n"),
    ("a.py", 'def f():\n    cur.execute("""<CURSOR>""")\n', "\n        SELECT *\n        FROM a\n    ",
     'def f():\n    cur.execute("""\n        SELECT *\n        FROM a\n    """)\n'),
    ("a.go", "package a\n\nvar q = `<CURSOR>`\n", "\n  a:\n", "package a\n\nvar q = `\n  a:\n`\n"),
    # So may a blank line in it.
    ("a.py", 'def f():\n    """Do.\n\n    <CURSOR>\n    """\n', 'Args:\n        a: it.\n    """\n    return a\n',
     'def f():\n    """Do.\n\n    Args:\n        a: it.\n    """\n'),
    ("a.py", 'x = """\na\n<CURSOR>\nd\n"""\n', "b\nc\nd\n", 'x = """\na\nb\nc\nd\n"""\n'),
    ("a.js", "const a = `\n  a\n  <CURSOR>\n`;\n", "b\n  c\n`;\nd();\n", "const a = `\n  a\n  b\n  c\n`;\n"),
    ("a.go", "package a\n\nvar q = `\n\ta\n\t<CURSOR>\n`\n", "b\n\tc\n`\n\nvar x = 1\n",
     "package a\n\nvar q = `\n\ta\n\tb\n\tc\n`\n"),
    ("a.ts", "const a = `<CURSOR>`;\n", "${b}: ${c}", "const a = `${b}: ${c}`;\n"),
    ("a.ts", "const a = `<CURSOR>`;\n", "${b}: ${c}`;\nd();\n", "const a = `${b}: ${c}`;\n"),
]  # fmt: skip

TAGS = [
    # What is said of what stands there replaces it.
    ("a.html", '<td class="<CURSOR>"></td>\n', 'x"></td>\n', '<td class="x"></td>\n'),
    ("a.html", '<td class="<CURSOR>"></td>\n', "x", '<td class="x"></td>\n'),
    ("a.php", "<li><?= <CURSOR> ?></li>\n", "$a ?></li>\n", "<li><?= $a ?></li>\n"),
    ("a.html", "{% if <CURSOR> %}\n", "a %}\n", "{% if a %}\n"),
    ("a.vue", "<div>{{ <CURSOR> }}</div>\n", "a }}</div>\n", "<div>{{ a }}</div>\n"),
    ("a.tsx", "x = <B <CURSOR>></B>\n", "a={b}></B>\n", "x = <B a={b}></B>\n"),
    ("a.tsx", "x = (\n  <B a={<CURSOR>} />\n);\n", "c", "x = (\n  <B a={c} />\n);\n"),
    ("a.tsx", "x = (\n  <B a={<CURSOR>} />\n);\n", "c} />\n);\n", "x = (\n  <B a={c} />\n);\n"),
    ("a.tsx", "x = (\n  <B <CURSOR> />\n);\n", "a={c} />\n", "x = (\n  <B a={c} />\n);\n"),
    ("a.tsx", "x = (\n  <B <CURSOR> />\n);\n", "a={<C />}", "x = (\n  <B a={<C />} />\n);\n"),
    ("a.tsx", "x = (\n  <p>\n    {/* <CURSOR> */}\n  </p>\n);\n", "a b", "x = (\n  <p>\n    {/* a b */}\n  </p>\n);\n"),
    ("a.tsx", "x = (\n  <p>\n    {/* <CURSOR> */}\n  </p>\n);\n", "a b */}\n  </p>\n",
     "x = (\n  <p>\n    {/* a b */}\n  </p>\n);\n"),
]  # fmt: skip


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize(("name", "source", "text", "expected"), VALUES + TEXTS + TAGS)
def test_what_is_closed_stands_where_it_belongs(name: str, source: str, text: str, expected: str, ending: str) -> None:
    source, expected = source.replace("\n", ending), expected.replace("\n", ending)
    assert accepted(source, text, path=f"/p/{name}") == expected
