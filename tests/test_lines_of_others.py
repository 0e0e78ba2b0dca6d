"""Lines that look as if they ended an answer, or were of another language, and belong to it: what strong models say."""

from __future__ import annotations

import pytest

from pass_lsp.documents.languages import lexis_of
from pass_lsp.documents.scan import Scan, heredoc_in
from pass_lsp.reasons import Reason
from tests.test_postprocess import accepted

HEREDOCS = [
    # The text of the document's own line, which is written anew; that of another one further below.
    ("a.pl", "return <CURSOR>\na\nb\nEND\n", "<<'END';\na\nb\nEND\n", "return <<'END';\na\nb\nEND\n"),
    ("a.sh", "<CURSOR>\na\nEOF\nc\n", "cat <<EOF\na\nEOF\nc\n", "cat <<EOF\na\nEOF\nc\n"),
    ("a.sh", "<CURSOR>\ncat <<EOF\nb\nEOF\n", "d <<EOF\na\nEOF\n", "d <<EOF\na\nEOF\ncat <<EOF\nb\nEOF\n"),
    ("a.sh", "usage() {\n  <CURSOR>\n}\n", "cat <<EOF\nUsage: $0\n)\nEOF\n  exit 1\n",
     "usage() {\n  cat <<EOF\nUsage: $0\n)\nEOF\n  exit 1\n}\n"),
    ("a.sh", "if a; then\n  <CURSOR>\nfi\n", "cat > b <<'EOF'\nx\nEOF\n",
     "if a; then\n  cat > b <<'EOF'\nx\nEOF\nfi\n"),
    ("a.rb", "def f\n  <CURSOR>\nend\n", "run(<<~SQL)\nSELECT 1\nSQL\n  b\n",
     "def f\n  run(<<~SQL)\nSELECT 1\nSQL\n  b\nend\n"),
    ("a.php", "<?php\nfunction f() {\n    <CURSOR>\n}\n", "$a = <<<EOT\nx\nEOT;\n    return $a;\n",
     "<?php\nfunction f() {\n    $a = <<<EOT\nx\nEOT;\n    return $a;\n}\n"),
    ("a.tf", "a {\n  <CURSOR>\n}\n", "b = <<EOF\n{\n}\nEOF\n  c = 1\n", "a {\n  b = <<EOF\n{\n}\nEOF\n  c = 1\n}\n"),
    ("a.pl", "sub f {\n    <CURSOR>\n}\n", 'print <<"EOT";\nDon\'t\n)\nEOT\n    1 << 2;\n',
     'sub f {\n    print <<"EOT";\nDon\'t\n)\nEOT\n    1 << 2;\n}\n'),
    # A line that begins one comes with it, and no more,
    ("a.sh", "f() {\n  ca<CURSOR>\n}\n", "t <<EOF > b\nUsage:\nEOF\n  c\n", "f() {\n  cat <<EOF > b\nUsage:\nEOF\n}\n"),
    ("a.rb", "def f\n  a = <<~SQL<CURSOR>\nend\n", "\n    SELECT\n  SQL\n  b\n",
     "def f\n  a = <<~SQL\n    SELECT\n  SQL\nend\n"),
    ("a.php", "<?php\nfunction f() {\n    $a = <CURSOR>\n}\n", "<<<EOT\nx\nEOT;\n    return $a;\n",
     "<?php\nfunction f() {\n    $a = <<<EOT\nx\nEOT;\n}\n"),
    ("a.tf", "a {\n  b = <CURSOR>\n}\n", "<<-EOT\n  {\n  EOT\n  c = 1\n", "a {\n  b = <<-EOT\n  {\n  EOT\n}\n"),
    # and its end is not said again.
    ("a.sh", "cat <<EOF<CURSOR>\nEOF\n", "\nUsage:\nEOF\nb\n", "cat <<EOF\nUsage:\nEOF\n"),
]  # fmt: skip

WITHIN = [
    # In the text of one, up to its end, however deep its lines are and whatever an apostrophe opens,
    ("a.sh", "cat <<EOF\nDon't\n<CURSOR>\nEOF\nf\n", "a (b\n\n  c\nd\nEOF\ng\n",
     "cat <<EOF\nDon't\na (b\n\n  c\nd\nEOF\nf\n"),
    ("a.sh", "cat <<EOF\n  a:\n    <CURSOR>\nd\nEOF\n", "b\nc\nEOF\n", "cat <<EOF\n  a:\n    b\nc\nd\nEOF\n"),
    ("a.tf", "a {\n  b = <<EOF\n{\n  <CURSOR>\n}\nEOF\n}\n", '"c": {\n    "d": [\n    ]\n  }\n}\nEOF\n}\n',
     'a {\n  b = <<EOF\n{\n  "c": {\n    "d": [\n    ]\n  }\n}\nEOF\n}\n'),
    ("a.sh", "f() {\n\ta\n\tb\n\tcat <<EOF\nc\n<CURSOR>\nEOF\n}\n", "d:\n    e\n",
     "f() {\n\ta\n\tb\n\tcat <<EOF\nc\nd:\n    e\nEOF\n}\n"),
    # which comes with it where the document has none.
    ("a.rb", "def f\n  a <<~SQL\n    <CURSOR>\nend\n", "SELECT\n    b\n  SQL\n  c\n",
     "def f\n  a <<~SQL\n    SELECT\n    b\n  SQL\nend\n"),
    ("a.sh", "f() {\n  cat <<EOF\n  <CURSOR>\n}\ncat <<EOF\nEOF\n", "a\nEOF\n  b\n",
     "f() {\n  cat <<EOF\n  a\nEOF\n}\ncat <<EOF\nEOF\n"),
    # Behind it, and behind what only looks so, there is code.
    ("a.sh", "f() {\n  cat <<EOF\nDon't\nEOF\n  <CURSOR>\n}\n", "a\n}\nb\n",
     "f() {\n  cat <<EOF\nDon't\nEOF\n  a\n}\n"),
    ("a.sh", "f() {\n  a=$((1<<b))\n  c\n  <CURSOR>\n}\n", "d\n}\nb\n", "f() {\n  a=$((1<<b))\n  c\n  d\n}\n"),
]  # fmt: skip

OUTDENTED = [
    ("a.c", "int f(void) {\n    <CURSOR>\n}\n", "b();\n#ifdef X\n    c();\n#endif\n    return 0;\n",
     "int f(void) {\n    b();\n#ifdef X\n    c();\n#endif\n    return 0;\n}\n"),
    ("a.c", "int f(void) {\n    a();\n    <CURSOR>\n}\n", "goto out;\n\nout:\n    return 0;\n",
     "int f(void) {\n    a();\n    goto out;\n\nout:\n    return 0;\n}\n"),
    ("a.cpp", "class A {\n    <CURSOR>\n};\n", "void b();\n\nprivate:\n    int c;\n",
     "class A {\n    void b();\n\nprivate:\n    int c;\n};\n"),
    # A namespace ends no less deep than what it holds.
    ("a.cpp", "namespace a {\n\n<CURSOR>\n\n}  // namespace a\n", "int f() {\n    return 1;\n}\n\n}  // namespace a\n",
     "namespace a {\n\nint f() {\n    return 1;\n}\n\n}  // namespace a\n"),
    ("a.c", "switch (a) {\n<CURSOR>\n}\n", "case 1: {\n    b();\n}\n}\n", "switch (a) {\ncase 1: {\n    b();\n}\n}\n"),
    ("a.cs", "class A {\n    void f() {\n        <CURSOR>\n    }\n}\n", "b();\n#if X\n        c();\n#endif\n",
     "class A {\n    void f() {\n        b();\n#if X\n        c();\n#endif\n    }\n}\n"),
    # What the `switch` around goes on with is none of it.
    ("a.c", "switch (a) {\ncase 1:\n    <CURSOR>\ndefault:\n    c();\n}\n", "b();\n    break;\ndefault:\n    d();\n",
     "switch (a) {\ncase 1:\n    b();\n    break;\ndefault:\n    c();\n}\n"),
]  # fmt: skip

ITEMS = [
    # In YAML an item may stand right below its key.
    ("args:<CURSOR>\nb: c\n", "\n- d: e\n  f: g\n- h\ni: j\n", "args:\n- d: e\n  f: g\n- h\nb: c\n"),
    ("a:\n  args:<CURSOR>\n  - b\n", "\n  - c\n  - b\n", "a:\n  args:\n  - c\n  - b\n"),
    ("a:\n  ar<CURSOR>\n  b: c\n", "gs:\n  - d\n  - e\n  f: g\n", "a:\n  args:\n  - d\n  - e\n  b: c\n"),
    ("a:\n  ar<CURSOR>\n  - b\n", "gs:\n  - c\n", "a:\n  args:\n  - b\n"),
    ("- a:<CURSOR>\n- b: c\n", "\n  - d\n- e: f\n", "- a:\n  - d\n- b: c\n"),
    ("- a:<CURSOR>\n", "\n- d\n", Reason.EMPTY),
    ("args:<CURSOR>\n- b\n", " c\n", Reason.BROKEN),
]

STRINGS = [
    ("a.go", "package a\n\nfunc f() {\n\tb()\n\t<CURSOR>\n}\n", "q := `\na:\n  b: 1\n`\n\tuse(q)\n",
     "package a\n\nfunc f() {\n\tb()\n\tq := `\na:\n  b: 1\n`\n\tuse(q)\n}\n"),
    ("a.sh", "f() {\n  b\n  <CURSOR>\n}\n", "cat <<-EOF\n\tusage\n\tEOF\n",
     "f() {\n  b\n  cat <<-EOF\n\tusage\n\tEOF\n}\n"),
    ("a.py", "def f(a):\n    <CURSOR>\n", '"""Do.\n\n    ```python\n    f(1)\n    ```\n    """\n    return a\n',
     'def f(a):\n    """Do.\n\n    ```python\n    f(1)\n    ```\n    """\n    return a\n'),
    ("a.py", "x = 1\n<CURSOR>\n", "y = '''\na\n\n\nb\n'''\n", "x = 1\ny = '''\na\n\n\nb\n'''\n"),
]  # fmt: skip

TEXTS = [
    # A line that begins a string of several lines comes with it, and no more,
    ("a.py", "def f():\n    q = <CURSOR>\n    g(q)\n", '"""\n        a\n\n    """\n    g(q)\n',
     'def f():\n    q = """\n        a\n\n    """\n    g(q)\n'),
    ("a.py", 'def f():\n    q = """<CURSOR>\n    g(q)\n', '\n        a\n    """\n    g(q)\n',
     'def f():\n    q = """\n        a\n    """\n    g(q)\n'),
    ("a.py", "def f():\n    g(<CURSOR>)\n", '"""\n        a\n    """, (b,))\n    c()\n',
     'def f():\n    g("""\n        a\n    """, (b,))\n'),
    ("a.js", "const q = sql<CURSOR>\nf(`${a}`);\n", "`\n  a\nb\n`;\nf();\n",
     "const q = sql`\n  a\nb\n`;\nf(`${a}`);\n"),
    ("a.go", "package a\n\nvar q = <CURSOR>\n\nvar r = 1\n", "`\na:\n  b: 1\n`\n\nvar s = 1\n",
     "package a\n\nvar q = `\na:\n  b: 1\n`\n\nvar r = 1\n"),
    ("a.lua", "local q = <CURSOR>\nlocal r = [[a]]\n", "[[\n  a\n]]\nlocal s\n",
     "local q = [[\n  a\n]]\nlocal r = [[a]]\n"),
    ("a.sh", "awk <CURSOR>\necho 'a'\n", "'\n  { print $1 }\n' b\necho c\n",
     "awk '\n  { print $1 }\n' b\necho 'a'\n"),
    # where the document has not its end.
    ("a.py", 'q = """<CURSOR>\nb\n"""\n', "a\nc\n", 'q = """a\nb\n"""\n'),
    ("a.lua", "local q = [[<CURSOR>\n  b\n]]\n", "a\n  c\n", "local q = [[a\n  b\n]]\n"),
    ("a.py", 'def f():\n    """A<CURSOR>\n    g()\n', " b.\n    c\n", 'def f():\n    """A b.\n    g()\n'),
]  # fmt: skip

POWERSHELL = [
    ("a.ps1", "function F {\n    $x = <CURSOR>\n    $y\n}\n", "@'\na don't\n'@\n    $z\n",
     "function F {\n    $x = @'\na don't\n'@\n    $y\n}\n"),
    ("a.ps1", "<#\n.SYNOPSIS\n    <CURSOR>\n#>\nfunction F {\n}\n", "Don't.\n    b\n#>\n",
     "<#\n.SYNOPSIS\n    Don't.\n#>\nfunction F {\n}\n"),
    ("a.ps1", 'F "C:\\a\\" {<CURSOR>}\n', "\n    b\n}\n", 'F "C:\\a\\" {\n    b\n}\n'),
    ("a.ps1", "Get-Item <CURSOR>\n\n$b\n", "$a |\n    Sort-Object `\n        -Unique\n$c\n",
     "Get-Item $a |\n    Sort-Object `\n        -Unique\n\n$b\n"),
]  # fmt: skip

RULE = "a: b\n" + "\tc\n" * 9
OTHERS = [
    ("a.py", "x = 1\n!pip install <CURSOR>\n", "numpy", "x = 1\n!pip install numpy\n"),
    ("a.py", "x = 1\n<CURSOR>\n", "%matplotlib inline\n", "x = 1\n%matplotlib inline\n"),
    ("a.yaml", "a: b\nname: <CURSOR>\n", "{{ .Release.Name }}-a", "a: b\nname: {{ .Release.Name }}-a\n"),
    # A tab is part of a recipe.
    ("Makefile", f"{RULE}\n<CURSOR>\n", "ifdef A\n  B = c \\\n    d\nendif\n",
     f"{RULE}\nifdef A\n  B = c \\\n    d\nendif\n"),
    ("Makefile", f"{RULE}\n<CURSOR>\n", "e f::\n    g\n    h\n", f"{RULE}\ne f::\n\tg\n\th\n"),
    ("Makefile", f"{RULE}\ne:<CURSOR>\n", "\n    g\n    h\n", f"{RULE}\ne:\n\tg\n\th\n"),
    # A grammar that knows little of a language has no say.
    ("a.sql", "SELECT 1;\n\n<CURSOR>\n", "DELETE FROM t\nUSING u\nWHERE t.id = u.id;\n",
     "SELECT 1;\n\nDELETE FROM t\nUSING u\nWHERE t.id = u.id;\n"),
    ("a.sql", "<CURSOR>\n\nSELECT 1;\n", "SELECT a\nFROM {{ ref('b') }}\nWHERE c = 1;\n",
     "SELECT a\nFROM {{ ref('b') }}\nWHERE c = 1;\n\nSELECT 1;\n"),
    ("a.css", ".b {\n  c: d;\n}\n\n<CURSOR>\n\n.e {\n  f: g;\n}\n",
     ".a {\n  &:hover .b {\n    c: d;\n  }\n  @media (width >= 600px) {\n    e: f;\n  }\n}\n",
     ".b {\n  c: d;\n}\n\n.a {\n  &:hover .b {\n    c: d;\n  }\n  @media (width >= 600px) {\n    e: f;\n  }\n}\n\n"
     ".e {\n  f: g;\n}\n"),
    ("a.csproj", "<a>\n  <b><CURSOR></b>\n</a>\n", "\n    <c/>\n  ", "<a>\n  <b>\n    <c/>\n  </b>\n</a>\n"),
]  # fmt: skip

MORE = [
    # The last of the cases,
    ("a.c", "switch (a) {\ncase 1:\n    b();\ncase <CURSOR>\n}\n", "2:\n    c();\n    break;\n",
     "switch (a) {\ncase 1:\n    b();\ncase 2:\n    c();\n    break;\n}\n"),
    ("a.go", "package a\n\nfunc f() {\n\tswitch b {\n\tcase 1:\n\t\tc()\n\tcase <CURSOR>\n\t}\n}\n",
     "2:\n\t\td()\n\t}\n",
     "package a\n\nfunc f() {\n\tswitch b {\n\tcase 1:\n\t\tc()\n\tcase 2:\n\t\td()\n\t}\n}\n"),
    # more links of a chain,
    ("A.java", "class A {\n    void f() {\n        a.stream()\n            .b(c)\n            .<CURSOR>\n    }\n}\n",
     "map(d)\n            .toList();\n        e();\n",
     "class A {\n    void f() {\n        a.stream()\n            .b(c)\n"
     "            .map(d)\n            .toList();\n    }\n}\n"),
    ("A.java", "class A {\n    void f() {\n        a\n            .<CURSOR>\n            .toList();\n    }\n}\n",
     "map(d)\n            .toList();\n",
     "class A {\n    void f() {\n        a\n            .map(d)\n            .toList();\n    }\n}\n"),
    # the clauses of a statement,
    ("a.sql", "SELECT 1;\nDELETE <CURSOR>\n\nSELECT 2;\n", "FROM t\nWHERE a = 1;\nSELECT 3;\n",
     "SELECT 1;\nDELETE FROM t\nWHERE a = 1;\n\nSELECT 2;\n"),
    ("a.sql", "update <CURSOR>\n", "t\nset a = 1,\n    b = 2\nleft outer join u on v\n", 
     "update t\nset a = 1,\n    b = 2\nleft outer join u on v\n"),
    ("a.sql", "DELETE <CURSOR>\nWHERE a = 1;\n", "FROM t\nWHERE b = 1;\n", "DELETE FROM t\nWHERE a = 1;\n"),
    # another row of numbers,
    ("a.py", "x = [\n    0,\n    <CURSOR>\n]\n", "0,\n    1,\n", "x = [\n    0,\n    0,\n    1,\n]\n"),
    ("a.py", "x = [\n    <CURSOR>\n]\n", "[0, 0, 0],\n" + "    [0, 0, 0],\n" * 2,
     "x = [\n" + "    [0, 0, 0],\n" * 3 + "]\n"),
    # several elements that tell nothing,
    ("a.html", "<tr>\n  <CURSOR>\n</tr>\n", "<td></td>\n" + "  <td></td>\n" * 3,
     "<tr>\n" + "  <td></td>\n" * 4 + "</tr>\n"),
    ("a.tsx", "x = (\n  <A>\n    <CURSOR>\n  </A>\n);\n", "<B c={8} />\n" + "    <B c={8} />\n" * 2,
     "x = (\n  <A>\n" + "    <B c={8} />\n" * 3 + "  </A>\n);\n"),
    ("a.html", "<ul>\n  <CURSOR>\n</ul>\n", "<li>a</li>\n" + "  <li>a</li>\n" * 3, "<ul>\n  <li>a</li>\n</ul>\n"),
    # and one definition.
    ("a.ts", "const x = 1;\n\n<CURSOR>\n", "function f() {\n  return 1;\n}\n\nfunction g() {\n  return 2;\n}\n",
     "const x = 1;\n\nfunction f() {\n  return 1;\n}\n"),
    ("a.ts", "const x = 1;\n\n<CURSOR>\n",
     "function f(\n  a: B,\n): C {\n  return 1;\n}\nfunction g() {\n  return 2;\n}\n",
     "const x = 1;\n\nfunction f(\n  a: B,\n): C {\n  return 1;\n}\n"),
    ("a.rs", "use a;\n\n<CURSOR>\n", "type A = B;\nstruct C {\n    d: u8,\n}\n\nstruct D;\n",
     "use a;\n\ntype A = B;\nstruct C {\n    d: u8,\n}\n"),
    ("a.rb", "class A\n  <CURSOR>\nend\n", "def f\n    1\n  rescue B\n    2\n  end\n\n  def g\n    2\n  end\n",
     "class A\n  def f\n    1\n  rescue B\n    2\n  end\nend\n"),
    ("a.lua", "local a\n\n<CURSOR>\n", "function f()\n  return 1\nend\n\nfunction g()\n  return 2\nend\n",
     "local a\n\nfunction f()\n  return 1\nend\n"),
]  # fmt: skip


CASES = HEREDOCS + WITHIN + OUTDENTED + STRINGS + TEXTS + POWERSHELL + OTHERS + MORE


@pytest.mark.parametrize(("source", "text", "expected"), ITEMS)
def test_items_belong_to_the_key_above_them(source: str, text: str, expected: str | Reason) -> None:
    assert accepted(source, text, path="/p/a.yaml") == expected


@pytest.mark.parametrize(("name", "source", "text", "expected"), CASES)
def test_what_belongs_to_an_answer_comes_with_it(name: str, source: str, text: str, expected: str) -> None:
    assert accepted(source, text, path=f"/p/{name}") == expected


@pytest.mark.parametrize(
    ("language", "line", "word"),
    [
        ("shellscript", "cat <<'EOF' > b", "EOF"), ("shellscript", "cat <<-END", "END"),
        ("shellscript", "echo '<<A'", ""), ("shellscript", "# <<A", ""),
        ("shellscript", "a <<< b", ""), ("perl", "$a <<$b", ""), ("perl", "f(<<~'A', 1)", "A"),
        ("terraform", "a = <<-A", "A"), ("ruby", "class << self", ""), ("python", "a <<B", ""),
    ],
)  # fmt: skip
def test_a_text_begins_below(language: str, line: str, word: str) -> None:
    assert heredoc_in(line, lexis_of(language), Scan()) == word
