"""The context: golden windows, modes, exclusions, stability under typing, and junk that must not raise."""

from __future__ import annotations

import argparse
import heapq
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pass_lsp.context import build_context, outline
from pass_lsp.context.exclusions import is_secret, refusal
from pass_lsp.context.outline import Outline
from pass_lsp.context.syntax import grammar
from pass_lsp.context.trim import Sides, Windows
from pass_lsp.documents.document import Document
from pass_lsp.documents.languages import LANGUAGES, Language, language_of, lexis_of
from pass_lsp.documents.scan import Scan, columns, scan
from pass_lsp.domain import Context, Mode
from pass_lsp.reasons import Reason
from tests.cursor import CURSOR, parse

DATA = Path(__file__).parent / "data" / "context"
SOURCE = inspect.getsource(argparse)


def context_of(source: str, path: str = "/work/project/example.py", budget: int = 6000) -> Context:
    document, offset = parse(source, path)
    return build_context(document, offset, budget=budget)


# Golden windows


@pytest.mark.parametrize(
    ("name", "path", "budget"),
    [("far_siblings", "a.py", 900), ("nested_header", "a.py", 420), ("broken", "a.py", 300), ("script", "s.sh", 500)],
)
def test_golden_windows(name: str, path: str, budget: int) -> None:
    context = context_of((DATA / f"{name}.source").read_text(), path, budget)
    expected = (DATA / f"{name}.prompt").read_text()
    assert context.prefix + CURSOR + context.suffix == expected


ROWS = [row for row in LANGUAGES if row.grammar]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_golden_window_of_each_language(row: Language) -> None:
    source = (DATA / "languages" / f"{row.name}.source").read_text()
    path = f"/work/project/example.{row.files.split()[0]}"
    context = context_of(source, path, min(700, len(source) * 7 // 10))
    assert context.language == row.name
    assert context.prefix + CURSOR + context.suffix == (DATA / "languages" / f"{row.name}.prompt").read_text()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_kinds_of_a_row_are_kinds_of_its_grammar(row: Language) -> None:
    known = grammar(row.grammar)
    kinds = f"{row.imports} {row.folds} {row.scopes} {row.signatures} {row.wrappers}".split()
    assert [kind for kind in kinds if known.id_for_node_kind(kind, True) is None] == []


def test_no_grammar_is_loaded_before_its_language_is_used() -> None:
    code = (
        "import sys; from pass_lsp.context import build_context; from pass_lsp.documents.document import Document; "
        "build_context(Document('', 'x = 1', language='lua', path='a.lua'), 5, budget=9); "
        "print(*sorted(name for name in sys.modules if name.startswith('tree_sitter_') and '.' not in name))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["tree_sitter_lua"]


def test_a_text_within_the_budget_is_kept_whole() -> None:
    context = context_of("import os\n\nx = <CURSOR>\ny = 2\n")
    assert (context.prefix, context.suffix) == ("import os\n\nx = ", "\ny = 2\n")
    assert (context.line_prefix, context.line_suffix, context.path) == ("x = ", "", "/work/project/example.py")


def test_imports_and_enclosing_signatures_survive_a_long_way() -> None:
    body = "".join(f"        value_{number} = {number}\n" for number in range(2000))
    imports, headers = "import os\nfrom sys import path\n", "class A(\n    B\n):\n    def f(\n        self\n    ):\n"
    context = context_of(f"{imports}\n\n{headers}{body}        return <CURSOR>\n")
    assert context.prefix.startswith(f"{imports}{headers}        # ...\n        value_")
    assert 3000 < len(context.prefix) <= 6000


@pytest.mark.parametrize("mark", ['"""', "'''"])
@pytest.mark.parametrize("line", ["        {0}Do 30.<CURSOR>", "        {0}<CURSOR>\n        return a * 30"])
def test_signatures_survive_on_the_lines_that_begin_and_end_a_docstring(line: str, mark: str) -> None:
    method = (
        "    def f(self):\n        {0}Do {1}.\n\n        It isn't, or is it (not at all.\n"
        "        {0}\n        return a * {1}\n\n"
    )
    source = "class A(B):\n" + "".join(method.format(mark, number) for number in range(60))
    line = line.format(mark)
    source = source.replace(line.replace("<CURSOR>", ""), line, 1)
    context = context_of(source, f"/{hash(source)}.py", 2000)
    assert context.prefix.startswith("class A(B):\n    # ...\n") and context.indent == 8
    assert "# ..." in context.suffix


@pytest.mark.parametrize(("where", "longer"), [(0.02, "suffix"), (0.99, "prefix")])
def test_room_that_one_side_leaves_goes_to_the_other(where: float, longer: str) -> None:
    document = Document("file:///a.py", SOURCE, 1, "python", "/a.py")
    line = int(document.line_count * where)
    context = build_context(document, document.line_end(line), budget=9000)
    sides = {"prefix": len(context.prefix), "suffix": len(context.suffix)}
    assert sum(sides.values()) <= 9000 + 200
    assert sides[longer] > 4500


def test_far_bodies_are_elided_near_ones_are_not() -> None:
    body = "    one = a\n    two = one\n    three = two\n    return three\n\n\n"
    functions = "".join(f"def f{number}(a):\n{body}" for number in range(40))
    context = context_of(functions + "def g(b):\n    return <CURSOR>\n", budget=1500)
    assert "):\n    # ...\n" in context.prefix
    assert context.prefix.endswith("    return three\n\n\ndef g(b):\n    return ")
    after = context_of("def g(b):\n    return <CURSOR>\n\n\n" + functions, budget=1500)
    assert "):\n    # ...\n" in after.suffix
    assert after.suffix.startswith("\n\n\ndef f0(a):\n    one = a\n")


def test_what_a_body_imports_is_its_own() -> None:
    body = "    import copy\n" + "".join(f"    value_{number} = {number}\n" for number in range(30))
    functions = "".join(f"def f{number}():\n{body}" for number in range(99))
    guarded = "import os\nif TYPE_CHECKING:\n    from sys import path\n"
    context = context_of(f"{guarded}\n\n{functions}def g():\n    return <CURSOR>\n", budget=1500)
    assert context.prefix.startswith("import os\n    from sys import path\n")
    assert context.prefix.count("import copy") == 1  # in the last body, as it stands


def test_comments_that_begin_a_body_are_left_out_with_it() -> None:
    body = "    # How it works:\n    # by magic.\n    one = a\n    return one\n\n\n"
    functions = "".join(f"def f{number}(a):\n{body}" for number in range(40))
    context = context_of(functions + "def g(b):\n    return <CURSOR>\n", budget=1500)
    far, _, near = context.prefix.partition("    # How it works:\n")
    assert far.endswith("):\n") and far.count("(a):\n    # ...\n") == far.count("(a):\n") - 1 > 5
    assert near.startswith("    # by magic.\n    one = a\n")


# Modes


MODES = [
    ("def f():<CURSOR>", Mode.MULTI_LINE, 4),
    ("def f():<CURSOR>\n\nx = 1\n", Mode.MULTI_LINE, 4),
    ("class A:\n    def f(\n        self,\n    ) -> int:<CURSOR>\n", Mode.MULTI_LINE, 8),
    ("def f():\n    <CURSOR>\n", Mode.MULTI_LINE, 4),
    ("def f():\n<CURSOR>\n", Mode.MULTI_LINE, 4),
    ("class A:\n    def f(self):\n    <CURSOR>\n", Mode.MULTI_LINE, 8),
    ("class A:\n\tdef f(self):\n\t\t<CURSOR>\n", Mode.MULTI_LINE, 8),
    ("class A:\n  def f(self):\n    if self:<CURSOR>\n", Mode.MULTI_LINE, 6),
    ("def f():\n    a = 1\n\n<CURSOR>\n\n    return a\n", Mode.MULTI_LINE, 4),
    ("def f():\n    a = 1\n\n<CURSOR>\n\ndef g(): pass\n", Mode.MULTI_LINE, 0),
    ("import os\n<CURSOR>", Mode.MULTI_LINE, 0),
    ("x = foo(<CURSOR>", Mode.MULTI_LINE, 0),
    ("def f():\n    x = {<CURSOR>\n", Mode.MULTI_LINE, 4),
    ("x = foo(\n    <CURSOR>\n)\n", Mode.MULTI_LINE, 4),
    ('def f():\n    """<CURSOR>\n    return 1\n', Mode.MULTI_LINE, 4),
    ('def f():\n    """<CURSOR>"""\n    return 1\n', Mode.MULTI_LINE, 4),
    ('"""<CURSOR>', Mode.MULTI_LINE, 0),
    ('def f():\n    """Text <CURSOR>', Mode.SINGLE_LINE, 4),
    ('def f():\n    x = """<CURSOR>', Mode.SINGLE_LINE, 4),
    ('def f():\n    """Text.\n\n    <CURSOR>\n    """\n', Mode.MULTI_LINE, 4),
    ('def f():\n    """Text."""<CURSOR>\n', Mode.SINGLE_LINE, 4),
    ("x = <CURSOR>", Mode.SINGLE_LINE, 0),
    ("x = foo(<CURSOR>)", Mode.SINGLE_LINE, 0),
    ('x = foo("<CURSOR>")', Mode.SINGLE_LINE, 0),
    ("def f(<CURSOR>):", Mode.SINGLE_LINE, 0),
    ("# a comment (<CURSOR>", Mode.SINGLE_LINE, 0),
    ("# if this:<CURSOR>", Mode.SINGLE_LINE, 0),
    ('print("if x:<CURSOR>', Mode.SINGLE_LINE, 0),
    ("x: <CURSOR>", Mode.SINGLE_LINE, 0),
    ("count:<CURSOR>", Mode.SINGLE_LINE, 0),
    ("x = {'a':<CURSOR>", Mode.SINGLE_LINE, 0),
    ("if x[1:<CURSOR>", Mode.SINGLE_LINE, 0),
    ("    return self.<CURSOR>", Mode.SINGLE_LINE, 4),
]


@pytest.mark.parametrize(("source", "mode", "indent"), MODES)
def test_mode_and_indent(source: str, mode: Mode, indent: int) -> None:
    context = context_of(source)
    assert (context.mode, context.indent, context.reason) == (mode, indent, None)


@pytest.mark.parametrize(
    ("source", "mode", "indent"),
    [
        ("function f() {<CURSOR>\n}\n", Mode.MULTI_LINE, 0),
        ("function f() {\n  <CURSOR>\n}\n", Mode.MULTI_LINE, 2),
        ("function f() {\n<CURSOR>\n}\n", Mode.MULTI_LINE, 4),
        ("// a (<CURSOR>\n", Mode.SINGLE_LINE, 0),
        ("/* a\n<CURSOR>\n*/\n", Mode.SINGLE_LINE, 0),
        ("let x = <CURSOR>;\n", Mode.SINGLE_LINE, 0),
    ],
)
def test_other_languages_have_indentation_rules(source: str, mode: Mode, indent: int) -> None:
    context = context_of(source, "/work/a.js")
    assert (context.mode, context.indent, context.language) == (mode, indent, "javascript")


@pytest.mark.parametrize(
    ("path", "source", "mode", "indent"),
    [
        ("a.js", "class A {<CURSOR>}\n", Mode.MULTI_LINE, 0),
        ("a.js", "const f = (a) => {<CURSOR>\n};\n", Mode.MULTI_LINE, 0),
        ("a.js", "f(`a ${<CURSOR>", Mode.SINGLE_LINE, 0),
        ("a.ts", "/**<CURSOR>\nfunction f() {}\n", Mode.MULTI_LINE, 0),
        ("a.ts", "/** a <CURSOR>\nfunction f() {}\n", Mode.SINGLE_LINE, 0),
        ("a.go", "switch a {\n\tcase 1:<CURSOR>\n\t}\n", Mode.MULTI_LINE, 4),
        ("a.rs", "match a {\n    1 =><CURSOR>\n}\n", Mode.MULTI_LINE, 4),
        ("a.rb", "def f(a)<CURSOR>\n", Mode.MULTI_LINE, 4),
        ("a.rb", "a.each do |b|<CURSOR>\n", Mode.MULTI_LINE, 4),
        ("a.rb", "a.each<CURSOR>\n", Mode.SINGLE_LINE, 0),
        ("a.lua", "if a then<CURSOR>\n", Mode.MULTI_LINE, 4),
        ("a.lua", "local f = function(a)<CURSOR>\n", Mode.MULTI_LINE, 4),
        ("a.sh", "for a in b; do<CURSOR>\n", Mode.MULTI_LINE, 4),
        ("a.sh", "echo ${#a[@]} <CURSOR>\n", Mode.SINGLE_LINE, 0),
        ("a.yaml", "on:\n  push:<CURSOR>\n", Mode.MULTI_LINE, 4),
        ("a.yaml", "name: <CURSOR>shop: 1\n", Mode.NONE, 0),
        ("a.html", "<ul class='a'><CURSOR>\n", Mode.MULTI_LINE, 4),
        ("a.html", "<br><CURSOR>\n", Mode.SINGLE_LINE, 0),
        ("a.html", "<ul><CURSOR></ul>\n", Mode.MULTI_LINE, 0),
        ("a.html", "<p>a <b><CURSOR></b> c</p>\n", Mode.NONE, 0),
        ("a.jsx", "const a = <li><CURSOR></li>;\n", Mode.SINGLE_LINE, 0),
        ("a.js", "/** <CURSOR> */\nf();\n", Mode.MULTI_LINE, 0),
        ("a.css", "a {<CURSOR>\n}\n", Mode.MULTI_LINE, 0),
        ("a.sql", "SELECT a FROM<CURSOR>\n", Mode.MULTI_LINE, 0),
        ("a.sql", "-- a note <CURSOR>\n", Mode.SINGLE_LINE, 0),
        ("a.json", '{"a": [<CURSOR>]}', Mode.SINGLE_LINE, 0),
        ("a.toml", "[a]<CURSOR>\n", Mode.MULTI_LINE, 0),
        ("a.md", "Some text <CURSOR>\n", Mode.SINGLE_LINE, 0),
        ("a.md", "Don't (\n\n```sh<CURSOR>\n", Mode.MULTI_LINE, 0),
        ("a.unknown", "begin {\n  <CURSOR>\n}\n", Mode.MULTI_LINE, 2),
    ],
)
def test_modes_in_other_languages(path: str, source: str, mode: Mode, indent: int) -> None:
    context = context_of(source, f"/p/{path}")
    assert (context.mode, context.indent) == (mode, indent)


CALLBACKS = """\
describe("a", () => {
  before(function () {
    x = [1, { a: 2 }];
  });

  it("b", () => {
    list.forEach((each) => {
      if (each) {
        each();
      }
    });
    done();
  });
});
"""


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("line", range(1, CALLBACKS.count("\n")))
def test_what_is_open_at_the_cursor_is_what_the_text_before_it_opens(line: int, whole: bool) -> None:
    lines = CALLBACKS.splitlines(keepends=True)
    before = "".join(lines[:line])
    context = context_of(f"{before}  <CURSOR>\n{''.join(lines[line:]) if whole else ''}", "/p/a.ts")
    assert context.brackets == scan(before, lexis_of("typescript")).brackets


@pytest.mark.parametrize("lines", [380, 410, 500, 700])
def test_what_is_open_is_known_when_it_is_long_since_the_last_definition(lines: int) -> None:
    said = 'def f():\n    """A story.\n' + "    It isn't over.\n" * 100 + '    """\n\n\n'
    names = "".join(f"x{number} = {number}\n" for number in range(lines))
    assert (context := context_of(f"{said}{names}y = <CURSOR>\n")).string == "" and context.mode is Mode.SINGLE_LINE
    listed = "".join(f"    {number},\n" for number in range(lines))
    assert context_of(f"{said}y = (\n{listed}    <CURSOR>\n)\n").brackets == "("
    assert context_of(f"{said}{names}y = '''\n{listed}<CURSOR>\n'''\n").string == "'''"


@pytest.mark.parametrize(
    ("source", "path", "reason"),
    [
        ("<CURSOR>", "a.py", Reason.NO_CONTEXT),
        ("\n  \n<CURSOR>\n\t", "a.py", Reason.NO_CONTEXT),
        ("x = <CURSOR>foo(1)", "a.py", Reason.MID_LINE),
        ("x = foo(<CURSOR>1)", "a.py", Reason.MID_LINE),
        ("x = <CURSOR>" + "`" * 1000, "a.js", Reason.MID_LINE),
        ("x = fo<CURSOR>o", "a.py", Reason.MID_WORD),
        ("x = é<CURSOR>é", "a.py", Reason.MID_WORD),
        ("x = '\0<CURSOR>'", "a.py", Reason.BINARY),
        ("\ufffd" * 200 + "<CURSOR>", "a.py", Reason.BINARY),
        ("KEY=<CURSOR>", "/home/me/.env", Reason.EXCLUDED),
        ("x = " + "1 + " * 1500 + "<CURSOR>", "a.js", Reason.MINIFIED),
        (f"x = '\n-----BEGIN RSA PRIVATE KEY-----\n{'A' * 64}\n{'B' * 64}\n'\n<CURSOR>", "a.py", Reason.EXCLUDED),
        ("x = 1\n" * 350_000 + "<CURSOR>", "a.py", Reason.TOO_LARGE),
    ],
)
def test_nothing_belongs_here(source: str, path: str, reason: Reason) -> None:
    context = context_of(source, path)
    assert (context.mode, context.reason, context.prefix) == (Mode.NONE, reason, "")


def test_a_wide_gap_right_of_the_cursor_is_read_once() -> None:
    # What tried each way to divide it would not end.
    assert context_of("x = <CURSOR>" + " " * 4_900 + "y").reason is Reason.MID_LINE
    assert context_of("x = f(<CURSOR>" + " " * 4_900 + ") ; ").reason is None


@pytest.mark.parametrize(
    ("path", "secret"),
    [
        ("/p/.env", True), (".env.production", True), ("/p/prod.env", True), ("/h/.ssh/config", True),
        ("server.pem", True), ("a/id_rsa", True), ("credentials.json", True), ("secrets.yaml", True),
        ("/h/.aws/credentials", True), ("infra.tfvars", True), ("/h/.git/config", True), (".npmrc", True),
        ("terraform.tfstate.backup", True), ("prod.tfvars.json", True), ("/h/.vault-token", True), (".secrets", True),
        ("/h/gcloud/application_default_credentials.json", True), ("web/.dev.vars", True), ("/h/.Renviron", True),
        ("shop-firebase-adminsdk-x1.json", True), ("serviceAccountKey.json", True), ("/h/.zsh_history", True),
        ("k8s/db-secret.yaml", True), ("prod.kubeconfig", True), ("use-secret.ts", False), ("kept_history.sql", False),
        (".secrets.toml", True), ("local.settings.json", True), ("server.key~", True), ("key.pem.bak", True),
        ("id_rsa.old", True), ("prod.env.orig", True), (".credentials.swp", False), ("secrets.yaml.bak~", True),
        ("secrets.py~", False), ("settings.json", False), ("terraform.tf.bak", False), ("main.py.orig", False),
        ("secrets.py", False), ("environment.py", False), ("credentials.rs", False), ("keyboard.py", False),
        ("src/env/main.py", False), ("monkey.py", False), ("", False),
    ],
)  # fmt: skip
def test_secrets_are_told_by_name(path: str, secret: bool) -> None:
    assert is_secret(path) is secret


@pytest.mark.parametrize(("source", "silent"), [("# a <CURSOR>", 1), ("x = 'a<CURSOR>'", 1), ("x = <CURSOR>", 0),
                                                ('def f():\n    """<CURSOR>', 0), ('x = """\n<CURSOR>\n"""', 0),
                                                ('x = """a\n<CURSOR>\n"""', 1)])  # fmt: skip
def test_comments_and_strings_can_be_left_alone(source: str, silent: bool) -> None:
    document, offset = parse(source, "/p/a.py")
    context = build_context(document, offset, budget=100, in_comments=False)
    assert context.reason is (Reason.IN_COMMENT if silent else None)


BEGIN, END, BASE64 = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "MC4CAQ" + "Ab1+/" * 11 + "abc"
SHORT = f"{BEGIN}\n{BASE64}\n{END}\n"


@pytest.mark.parametrize(
    "text",
    [
        SHORT,
        SHORT.replace("\n", "\r\n"),
        "key: |\n" + "".join(f"  {line}\n" for line in SHORT.splitlines()),
        json.dumps({"type": "service_account", "private_key": SHORT}),
        json.dumps(json.dumps({"private_key": SHORT})),
        "KEY = (\n" + "".join(f'    "{line}\\n"\n' for line in SHORT.splitlines()) + ")\n",
        "KEY = " + " +\n    ".join(f"'{line}\\n'" for line in SHORT.splitlines()),
        "[" + ", ".join(f"`{line}`" for line in SHORT.splitlines()) + "].join('\\n')",
        "".join(f"# {line}\n" for line in SHORT.splitlines()),
        f"{BEGIN}\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,{'0F' * 16}\n\n{BASE64}\n",
        json.dumps(f"{BEGIN}\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,{'0F' * 16}\n\n{BASE64}\n"),
        f"-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v2\n\n{BASE64}\n",
    ],
)
def test_private_keys_are_told_in_any_writing(text: str) -> None:
    assert refusal(Document("", text, path="/p/settings"), 0) is Reason.EXCLUDED


@pytest.mark.parametrize(
    "text",
    [
        f'MARK = "{BEGIN}"\nx = ',
        f'BEGIN, END = "{BEGIN}\\n", "{END}\\n"\n\n# {"=" * 79}\n# Keys\n',
        f"const begin = '{BEGIN}';\n{'/' * 79}\n",
        f'text = f"{BEGIN}\\n{{encoded}}\\n{END}"\n',
        f"{BEGIN}\nMIIE...\n{END}\n",
        f"-----BEGIN CERTIFICATE-----\n{BASE64}\n",
        f"-----BEGIN PUBLIC KEY-----\n{BASE64}\n",
        # What tried each way to divide these would not end.
        BEGIN + "\\" * 200_000,
        BEGIN + "\\\\n" * 200_000,
        BEGIN + "A: B\n" * 200_000,
        BEGIN * 20_000,
        "-----BEGIN " + "A " * 200_000,
        pytest.param(f"{BEGIN}Aa: ".ljust(52, "z") * 38_000, marks=pytest.mark.timeout(4)),  # took 10 s
    ],
    ids=range(13),
)
def test_code_that_names_the_mark_of_a_key_is_code(text: str) -> None:
    assert refusal(Document("", text + "\n", path="/p/keys.py"), 10**6) is None


def test_the_uri_names_the_file_when_the_path_does_not() -> None:
    document = Document("file:///home/me/%2Eenv", "A=1\n", 1)
    assert build_context(document, 2, budget=100).reason is Reason.EXCLUDED


# Stability


def typed(text: str, offset: int, budget: int) -> tuple[int, int]:
    """Type `text` into the middle of a big file; (keystrokes, those that changed more than the prefix's end)."""
    document = Document("file:///typing.py", SOURCE, 1, "python", "/typing.py")
    last: Context | None = None
    changed = total = 0
    for number, character in enumerate(text):
        document = document.edited(offset, offset, character, number + 2)
        offset += 1
        context = build_context(document, offset, budget=budget)
        if context.mode is Mode.NONE:
            continue
        total += 1
        if last is not None and not (context.prefix.startswith(last.prefix) and context.suffix == last.suffix):
            changed += 1
        last = context
    return total, changed


@pytest.mark.parametrize("budget", [1500, 6000])
def test_typing_extends_prompt(budget: int) -> None:
    body = inspect.getsource(heapq.merge)
    text = "\n" + "".join(f"    {line}\n" for line in body.splitlines())[:1500]
    offset = SOURCE.index("\n    def _get_optional_kwargs")
    total, changed = typed(text, offset, budget)
    assert total > 1000
    assert changed <= total * 0.05


@pytest.mark.parametrize("budget", range(300, 340))
def test_what_stands_below_is_not_chosen_again_while_typing(budget: int) -> None:
    asked: list[int] = []

    def outlined(first: int, last: int) -> Outline:
        asked.append(first)
        return Outline()

    document, windows = Document("file:///a.css", "a {\n}\n" * 500, 1, "css", "/a.css"), Windows()
    for _ in "ab":
        asked.clear()
        offset = document.line_end(500)
        windows.of(Sides(document, 500, offset, outlined, lexis_of("css")), budget)
        document = document.edited(offset, offset, "x")
    assert all(first <= 500 for first in asked)


def test_what_is_typed_on_a_line_leaves_the_rest_alone() -> None:
    offset = SOURCE.index("\n    def _get_optional_kwargs")
    text = '        x = """unclosed ({[ \''
    assert typed(text, offset, 6000) == (len(text), 0)


def test_lists_in_lists_that_are_not_indented_are_not_read_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counted(line: str) -> int:
        read.append(line)
        return columns(line)

    monkeypatch.setattr(outline, "columns", counted)
    document = Document("file:///deep.json", "[\n" * 3000 + "]\n" * 3000, 1, "json", "/deep.json")
    context = build_context(document, document.line_end(5000), budget=2000)
    assert context.mode is Mode.SINGLE_LINE
    assert len(read) < 10 * document.line_count


# Properties


def is_made_of_lines(part: str, lines: set[str]) -> bool:
    return all(line in lines or line.strip() == "# ..." for line in part.splitlines(keepends=True))


@settings(max_examples=80)
@given(st.integers(0, len(SOURCE)), st.integers(1, 12_000))
def test_windows_are_whole_lines_that_meet_at_the_cursor(offset: int, budget: int) -> None:
    document = Document("file:///a.py", SOURCE, 1, "python", "/a.py")
    context = build_context(document, offset, budget=budget)
    if context.mode is Mode.NONE:
        return
    assert SOURCE[:offset].endswith(context.line_prefix)
    assert context.prefix.endswith(context.line_prefix)
    assert context.suffix.startswith(context.line_suffix)
    lines = set(SOURCE.splitlines(keepends=True))
    assert is_made_of_lines(context.prefix[: len(context.prefix) - len(context.line_prefix)], lines)
    line_end = len(context.line_suffix) + 1
    assert context.suffix == context.line_suffix or context.suffix[line_end - 1] == "\n"
    assert is_made_of_lines(context.suffix[line_end:], lines)


JUNK = st.text(st.sampled_from([*"ab_ (){}[]:'\"\\#\n\r\t\0,.=", "é", "\U0001f600", "\ud800", "\u2028", "\f"]))
CODE = ("def f(", "class A:\n", '"""', "'''", "    ", "\n", "\r\n", "x", ")", "(", ":", "if x:\n", "@d\n", "#")
PIECES = st.lists(st.sampled_from(CODE))


@settings(max_examples=300)
@given(JUNK | PIECES.map("".join), st.data(), st.sampled_from(["a.py", "a.js", "a.md", "a.yaml", ""]))
def test_junk_never_raises(text: str, data: st.DataObject, path: str) -> None:
    offset = data.draw(st.integers(-1, len(text) + 1))
    budget = data.draw(st.integers(0, 60))
    context = build_context(Document("", text, 0, "", path), offset, budget=budget)
    assert (context.mode is Mode.NONE) == (context.reason is not None)


@settings(max_examples=60)
@given(st.integers(0, len(SOURCE)), st.integers(0, 400), st.integers(100, 3000))
def test_broken_code_never_raises(start: int, length: int, budget: int) -> None:
    text = SOURCE[:start] + SOURCE[start + length :]
    build_context(Document("file:///b.py", text, 1, "python", "/b.py"), start, budget=budget)


# Languages


@pytest.mark.parametrize(
    ("path", "language_id", "language"),
    [
        ("a.py", "", "python"), ("A.PYI", "", "python"), ("C:\\x\\a.ts", "", "typescript"), ("a.py", "rust", "rust"),
        ("Makefile", "", "makefile"), ("noext", "", ""), ("a.unknown", "", ""), ("a.py", "plaintext", "python"),
        ("", "Python", "python"), ("a.sh", "", "shellscript"), ("notes", "plaintext", "plaintext"),
        ("main.tf", "", "terraform"), ("a.dart", "", "dart"), ("build.gradle", "", "groovy"),
        ("a.m", "objc", "objective-c"),
    ],
)  # fmt: skip
def test_language_of(path: str, language_id: str, language: str) -> None:
    assert language_of(path, language_id) == language


@pytest.mark.parametrize("row", LANGUAGES, ids=lambda row: row.name)
def test_the_patterns_of_a_row_read_a_line_once(row: Language) -> None:
    # What tried each way to divide such a line would not end.
    lexis = row.lexis
    patterns = [lexis.opens, lexis.defines, lexis.closes, lexis.inert, row.modules.pattern if row.modules else ""]
    for pattern in filter(None, patterns):
        for word in {"", *re.findall(r"[a-z]{2,}", pattern)}:
            re.search(pattern, f"{word}{' ' * 300_000}x")
    scan("/[" * 20_000 + "=/" * 20_000, lexis)


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("f(a[", "python", ("([", "", "", False)),
        ("f(a])", "python", ("", "]", "", False)),
        ("'it", "python", ("", "", "'", False)),
        ("'it\n", "python", ("", "", "", False)),
        ("'a\\'(", "python", ("", "", "'", False)),
        ('"""a\n"b', "python", ("", "", '"""', False)),
        ('"""a""" (', "python", ("(", "", "", False)),
        ("# (", "python", ("", "", "", True)),
        ("# (\n[", "python", ("[", "", "", False)),
        ("/* ( \n", "c", ("", "", "/*", False)),
        ("// (\n{", "c", ("{", "", "", False)),
        ("fn f<'a>(x", "rust", ("(", "", "", False)),
        ("don't (", "markdown", ("", "", "", False)),
        ("`a\n${", "javascript", ("", "", "`", False)),
        ("f(1) # isn't (", "elixir", ("", "", "", True)),
        ("@a = (0 .. $#b", "perl", ("(", "", "", False)),
        ("cat <<A\r\n) don't\r\nA\r\n", "shellscript", ("", "", "", False)),
    ],
)
def test_scan(text: str, language: str, expected: tuple[str, str, str, bool]) -> None:
    state = scan(text, lexis_of(language))
    assert (state.brackets, state.surplus, state.string, state.comment) == expected


@pytest.mark.parametrize(
    ("language", "line"),
    [
        ("c", r"/* C:\dir\*/"),
        ("html", r"<!-- a \-->"),
        ("javascript", "const quoted = /['\"(]/g;"),
        ("javascript", 'if (!/^[^{]+[{`]$/.test(text)) return /["[]/;'),
        ("typescript", r"list.map((each) => /[)'\/]{/.exec(each))"),
        ("typescriptreact", "<p>{a / (b / c)}</p>"),
        ("ruby", r"""when /^%[({'"]/, /\A[^\/']\z/"""),
        ("ruby", "value = text =~ /[`'{(]/"),
        ("c", "f(10'000);"),
        ("cpp", 'f(R"(\n{\n)");'),
        ("csharp", r"""F(@"C:\dir\");"""),
        ("csharp", r"""F($@"C:\{dir}\", @$"C:\{dir}\");"""),
        ("dockerfile", "RUN (curl http://a/#b)"),
        ("haskell", "f' x' = g ('\"')"),
        ("javascript", r"s.replace(/\(/, s.split(/\"/), /\//g)"),
        ("julia", "f(A' * x, '(')"),
        ("julia", "#= it's (\n=# y"),
        ("kotlin", 'a = """\n{ it\'s (\n"""'),
        ("less", "a { b: url(http://c) }"),
        ("lua", r"f([[C:\]], [=[a ]] ' \]=])"),
        ("lua", "--[=[ it's ]] (\n]=] f()"),
        ("makefile", r"a = $(shell echo \#)"),
        ("ruby", r"f(/#{a}\(/)"),
        ("ruby", "a\n=begin\nit's (\n=end"),
        ("rust", r"""f(r"C:\", r#"a " b"#, '(', 'a')"""),
        ("scss", "@import url(//a/b);"),
        ("shellscript", r"echo 'it'\''s' don\'t \" \( $'it\'s'"),
        ("toml", r"""a = ['C:\dir\', '''a\''']"""),
    ],
)
def test_what_a_language_spells_in_its_own_way_leaves_nothing_open(language: str, line: str) -> None:
    state = scan(f"{line}\n", lexis_of(language))
    assert state.plain and not state.surplus, state


@pytest.mark.parametrize("language", ["php", "ruby", "shellscript"])
@pytest.mark.timeout(20)
def test_texts_below_are_found_in_one_go(language: str) -> None:
    mark = "x <<<A" if language == "php" else "x <<A"
    begun = "".join(f"{mark}{number}\n" for number in range(40_000))
    ended = f"f({mark}\n'(\n \tA;)\n[{mark}\n'(\nAB\nA\n{mark}\n{{"
    state = scan(begun + ended, lexis_of(language))
    assert (state.brackets, state.string) == ("([{", "")


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["a", "(", ")", "'", '"', "#", "\n", " ", "[", "]"])).map("".join), st.data())
def test_scan_can_be_resumed(text: str, data: st.DataObject) -> None:
    # A run of quotes is one mark, so the text may not be cut inside one.
    cuts = [at for at in range(len(text) + 1) if len(text[max(at - 1, 0) : at + 1].strip("'\"")) or at == len(text)]
    at = data.draw(st.sampled_from(cuts))
    python = lexis_of("python")
    whole, parts = scan(text, python), scan(text[at:], python, scan(text[:at], python))
    assert (whole.brackets, whole.surplus, whole.string, whole.comment) == (
        parts.brackets, parts.surplus, parts.string, parts.comment
    )  # fmt: skip


def test_scan_finds_the_statement() -> None:
    text = "a = 1\nb = f(\n  2,"
    assert text[scan(text, lexis_of("python")).statement :] == "b = f(\n  2,"
    assert Scan().plain


def test_columns_expand_tabs() -> None:
    assert (columns("  \tx"), columns("\tx", 8), columns("x")) == (4, 8, 0)
