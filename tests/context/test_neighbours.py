"""Other files: what each source finds, how it is fused, when it stays, and what must never be shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pass_lsp.config import SOURCES
from pass_lsp.context import build_context, neighbours, prepare
from pass_lsp.context.definitions import definitions_of
from pass_lsp.context.files import imported
from pass_lsp.context.ignored import is_ignored, root_of
from pass_lsp.context.neighbours import LIMIT_MS, Neighbours, Piece, Spot, fused
from pass_lsp.context.similar import likeness, most_similar, windows_of, words_of
from pass_lsp.documents.document import Document
from pass_lsp.documents.languages import language_of, row_of
from pass_lsp.documents.workspace import Region, Workspace, with_edit
from pass_lsp.domain import Mode, Snippet
from pass_lsp.reasons import Reason
from tests.cursor import parse

pytestmark = pytest.mark.usefixtures("unhurried")

SHOP = '''"""A shop."""


class Shop(Base):
    """Sells things."""

    limit = 10

    def add(self, order, count=1):
        self.orders.append(order)
        self.total += count
        return self.total

    def empty(self):
        return not self.orders


def unrelated():
    pass


def open_shop(name, orders=()):
    shop = Shop(name)
    for order in orders:
        shop.add(order)
    return shop
'''


def opened(path: Path | str, text: str, version: int = 1) -> Document:
    return Document(f"file://{path}", text, version, language_of(str(path)), str(path))


def found(document: Document, offset: int, workspace: Workspace, sources: tuple[str, ...] = SOURCES) -> list[Snippet]:
    context = build_context(document, offset, budget=8000, workspace=workspace, sources=sources)
    assert context.mode is not Mode.NONE, context.reason
    return list(context.snippets)


# Definitions


FAR = "y = 1\n" * 45
"""So far from the cursor no name counts."""
SHOP_TS = "export class Shop {\n  a: number;\n}\n"
ONE_FILE = [
    ("app/main.py", "from shop import Shop\nx = Shop(<CURSOR>", "shop.py", SHOP, "    def add(self, order, count=1):"),
    ("app/main.py", "from .shop import Shop\nx = Shop(<CURSOR>", "app/shop.py", SHOP, "class Shop(Base):"),
    ("app/main.py", "from ..lib.shop import Shop\nx = Shop(<CURSOR>", "lib/shop.py", SHOP, "class Shop(Base):"),
    ("main.py", "import pkg\nx = pkg.open_shop(<CURSOR>", "pkg/__init__.py", SHOP, "def open_shop(name, orders=()):"),
    ("main.py", "from pkg.shop import open_shop\nopen_shop(<CURSOR>", "src/pkg/shop.py", SHOP, "def open_shop("),
    ("a/x.ts", 'import { f } from "../b/y";\nf(<CURSOR>', "b/y.ts", "export function f(a: number) {\n  a;\n}\n",
     "export function f(a: number) {"),
    ("a/x.js", 'const { g } = require("./lib");\ng(<CURSOR>', "a/lib/index.js", "export const g = (a) => {\n  a;\n};\n",
     "const g = (a) => {"),
    ("x.c", '#include "y.h"\nint main() { f(<CURSOR>', "include/y.h", "struct f { int a; };\n", "struct f { int a; };"),
    ("cmd/main.go", 'package main\nimport "example.org/m/shop"\nfunc main() {\n\tshop.Open(<CURSOR>',
     "shop/a.go", "package shop\n\nfunc Open(name string) error {\n\treturn nil\n}\n", "func Open(name string)"),
    ("src/main.rs", "use crate::shop::Shop;\nfn main() { Shop::new(<CURSOR>",
     "src/shop.rs", "pub struct Shop {\n    a: u32,\n}\n", "pub struct Shop {"),
    ("src/o/Main.java", "package o;\nimport o.shop.Shop;\nclass Main { Shop shop = new Shop(<CURSOR>",
     "src/o/shop/Shop.java", "package o.shop;\npublic class Shop {\n    int a;\n}\n", "public class Shop {"),
    ("main.rb", 'require_relative "shop"\nShop.new(<CURSOR>', "shop.rb", "class Shop\n  def add(a)\n  end\nend\n",
     "class Shop"),
    ("main.lua", 'local s = require("m.shop")\ns.open(<CURSOR>', "m/shop.lua", "function M.open(a)\n  return a\nend\n",
     "function M.open(a)"),
    ("main.php", "<?php\nuse App\\Shop;\n$a = new Shop(<CURSOR>", "src/App/Shop.php", "<?php\nclass Shop\n{\n}\n",
     "class Shop"),
    ("a.sh", "source ./b.sh\nload_all <CURSOR>", "b.sh", "load_all() {\n  echo\n}\n", "load_all() {"),
    # What has no body, as in headers.
    ("x.c", f'#include "y.h"\n{FAR}f(<CURSOR>', "y.h", 'extern "C" {\nint **f(int a,\n        int b);\n}\n',
     "int **f(int a,\n        int b);\n"),
    ("x.c", f'#include "y.h"\n{FAR}F(<CURSOR>', "y.h", "#ifndef Y\n#define F(a) ((a) + 1)\n#endif\n",
     "#define F(a) ((a) + 1)"),
    ("x.c", f'#include "y.h"\n{FAR}Shop s = <CURSOR>', "y.h", "typedef struct {\n  int a;\n} Shop;\n",
     "typedef struct {\n  int a;\n} Shop;\n"),
    ("x.cpp", f'#include "y.hpp"\n{FAR}f(<CURSOR>', "y.hpp", "namespace a {\nint f(int a);\n}\n", "int f(int a);"),
    ("x.ts", f'import {{ f }} from "./y";\n{FAR}f(<CURSOR>', "y.d.ts", "export declare function f(a: B): C;\n",
     "export declare function f(a: B): C;"),
    ("x.ts", f'import {{ LIMITS }} from "./y";\n{FAR}LIMITS<CURSOR>', "y.ts",
     "const { LIMITS } = z;\nexport const LIMITS = {\n  a: 1,\n};\nconst a = LIMITS;\n",
     "export const LIMITS = {\n  a: 1,\n};\n"),
    ("x.js", f'import {{ f }} from "./y";\n{FAR}f(<CURSOR>', "y.js", "export const f = async (a) => {\n  b();\n};\n",
     "export const f = async (a) => {\n  // ...\n};\n"),
    # A module of a folder.
    ("app/main.py", "from . import shop\nshop.open_shop(<CURSOR>", "app/shop.py", SHOP, "def open_shop("),
    ("app/a/main.py", "from .. import x, shop as s\ns.open_shop(<CURSOR>", "app/shop.py", SHOP, "def open_shop("),
    ("main.py", "from pkg import shop\nshop.open_shop(<CURSOR>", "pkg/shop.py", SHOP, "def open_shop("),
    ("main.py", "from .pkg import (  # a\n    x,  # b\n    shop,\n)\nshop.open_shop(<CURSOR>", "pkg/shop.py", SHOP,
     "def open_shop("),
    ("app/main.py", "from . import open_shop\nopen_shop(<CURSOR>", "app/__init__.py", SHOP, "def open_shop("),
    ("main.py", "from lib import shop\nshop.open_shop(<CURSOR>", "src/lib/shop/__init__.py", SHOP, "def open_shop("),
    # Imports that go on behind a backslash, and braces within braces.
    ("main.py", "from pkg import x, \\\n    shop\nshop.open_shop(<CURSOR>", "pkg/shop.py", SHOP, "def open_shop("),
    ("main.py", "from pkg.shop \\\n    import open_shop\nopen_shop(<CURSOR>", "pkg/shop.py", SHOP, "def open_shop("),
    ("src/main.rs", "use crate::{a, shop::Shop};\nfn main() { Shop::new(<CURSOR>",
     "src/shop.rs", "pub struct Shop {\n    a: u32,\n}\n", "pub struct Shop {"),
    ("src/main.rs", "use crate::{\n    a::{b, c},\n    d::{shop::{self, Shop}}, // f\n};\nfn f() { Shop::new(<CURSOR>",
     "src/d/shop.rs", "pub struct Shop {\n    a: u32,\n}\n", "pub struct Shop {"),
    ("src/main.rs", "pub(crate) use crate::d::{shop};\nfn main() { shop::Shop::new(<CURSOR>",
     "src/d/shop.rs", "pub struct Shop {\n    a: u32,\n}\n", "pub struct Shop {"),
    # Several modules in one line.
    ("main.py", "import os, shop\nshop.open_shop(<CURSOR>", "shop.py", SHOP, "def open_shop("),
    ("main.py", "import os as o, pkg.shop as s  # x\ns.open_shop(<CURSOR>", "pkg/shop.py", SHOP, "def open_shop("),
    # What TypeScript imports is called as its compiler will call it.
    ("a/x.ts", 'import { f } from "./y.js";\nf(<CURSOR>', "a/y.ts", "export function f(a: number) {\n  a;\n}\n",
     "export function f(a: number) {"),
    ("a/x.tsx", 'import { f } from "./y.jsx";\nf(<CURSOR>', "a/y.tsx", "export function f(a: number) {\n  a;\n}\n",
     "export function f(a: number) {"),
    ("a/x.ts", 'import { f } from "./y.mjs";\nf(<CURSOR>', "a/y.mts", "export function f(a: number) {\n  a;\n}\n",
     "export function f(a: number) {"),
    ("a/x.js", 'import { f } from "./y.js";\nf(<CURSOR>', "a/y.js", "export function f(a) {\n  a;\n}\n",
     "export function f(a) {"),
    # Names that the import gives them.
    ("main.py", f"from shop import x, Shop as S\n{FAR}S(<CURSOR>", "shop.py", SHOP, "class Shop(Base):"),
    ("main.py", f"import pkg.shop as m\n{FAR}m.open_shop(<CURSOR>", "pkg/shop.py", SHOP, "def open_shop("),
    ("x.ts", f'import {{ f as g }} from "./y";\n{FAR}g(<CURSOR>', "y.ts", "export function f(a) {\n  a;\n}\n",
     "export function f(a) {"),
    ("x.ts", f'import {{\n  Shop as S,\n}} from "./y";\n{FAR}new S(<CURSOR>', "y.ts", SHOP_TS, "export class Shop {"),
    ("src/main.rs", f"use crate::shop::Shop as S;\n{FAR}fn main() {{ S::new(<CURSOR>",
     "src/shop.rs", "pub struct Shop {\n    a: u32,\n}\n", "pub struct Shop {"),
    # Of a module that is called so all that there is, of one that is only imported from nothing else.
    ("main.py", f"import pkg.shop as m\n{FAR}m.<CURSOR>", "pkg/shop.py", SHOP,
     "class Shop(Base):\ndef unrelated():\ndef open_shop(name, orders=()):\n"),
    ("main.py", f"from pkg import shop\n{FAR}shop.<CURSOR>", "pkg/shop.py", SHOP, "def open_shop("),
    ("main.py", f"from . import shop as s\n{FAR}s.<CURSOR>", "shop.py", SHOP, "def open_shop("),
    ("main.py", f"import pkg\n{FAR}pkg.<CURSOR>", "pkg/__init__.py", SHOP, "def open_shop("),
    ("x.ts", f'import * as ns from "./y";\n{FAR}ns.<CURSOR>', "y.ts", SHOP_TS, "export class Shop {"),
    ("x.js", f'const ns = require("./y");\n{FAR}ns.<CURSOR>', "y.js", "class Shop {\n}\n", "class Shop {"),
    ("main.go", f'package main\nimport "m/shop"\n{FAR}shop.<CURSOR>', "shop/a.go",
     "package shop\n\nfunc Open(name string) error {\n\treturn nil\n}\n", "func Open(name string)"),
    # The default export, which each file calls as it likes.
    ("x.ts", f'import type G, {{ a }} from "./y";\n{FAR}G(<CURSOR>', "y.ts",
     "export default async function f(a) {\n  a;\n}\n", "export default async function f(a) {"),
    ("x.ts", f'import g from "./y";\n{FAR}g(<CURSOR>', "y.ts", "export default (a) => {\n  a;\n};\n",
     "export default (a) => {"),
    ("x.ts", f'import {{ default as G }} from "./y";\n{FAR}G(<CURSOR>', "y.ts", f"{SHOP_TS}export default Shop;\n",
     "export class Shop {"),
    ("x.ts", f'import G from "./y";\n{FAR}G(<CURSOR>', "y.ts", "class Shop {\n}\nexport { Shop as default };\n",
     "class Shop {"),
    ("x.ts", f'import {{ Order }} from "./y";\n{FAR}let a: Order = <CURSOR>', "y.ts",
     "export type Order = {\n  a: number;\n};\n", "export type Order = {\n  a: number;\n};\n"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "source", "path", "text", "expected"), ONE_FILE)
def test_definitions_behind_imports(
    name: str, source: str, path: str, text: str, expected: str, tmp_path: Path
) -> None:
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(text)
    document, offset = parse(source, str(tmp_path / name))
    snippets = found(document, offset, Workspace(roots=(str(tmp_path),)), ("definitions",))
    assert len(snippets) == 1
    assert expected in snippets[0].text
    assert snippets[0].path == str(tmp_path / path)
    assert found(document, offset, Workspace(roots=(str(tmp_path),)), ("similar",)) == []


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ('import { a } from "./y";\nswitch (a) {\n  default:\n    <CURSOR>', SHOP_TS + "export default Shop;\n"),
        (f'import G, * as ns from "./y";\n{FAR}a(<CURSOR>', SHOP_TS + "export default Shop;\n"),
        ('import { y } from "./y";\ny.<CURSOR>', SHOP_TS),
    ],
)
def test_what_is_not_said_is_not_shown(source: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "y.ts").write_text(text)
    document, offset = parse(source, str(tmp_path / "x.ts"))
    assert found(document, offset, Workspace(roots=(str(tmp_path),)), ("definitions",)) == []


HANDED_ON = [
    ("main.py", "from pkg import Shop\nShop(<CURSOR>",
     {"pkg/__init__.py": "from .shop import Shop\n", "pkg/shop.py": SHOP}, "class Shop(Base):"),
    ("main.py", "import pkg\npkg.open_shop(<CURSOR>",
     {"pkg/__init__.py": "from pkg.shop import (\n    Shop,\n    open_shop,\n)\n", "pkg/shop.py": SHOP},
     "def open_shop("),
    ("main.py", "from pkg import Shop\nShop(<CURSOR>",
     {"pkg/__init__.py": "from .shop import *\n", "pkg/shop.py": SHOP}, "class Shop(Base):"),
    ("pkg/main.py", "from . import Shop\nShop(<CURSOR>",
     {"pkg/__init__.py": "from .main import run\nfrom .shop import Shop\n", "pkg/shop.py": SHOP}, "class Shop(Base):"),
    ("x.ts", 'import { Shop } from "./lib";\nnew Shop(<CURSOR>',
     {"lib/index.ts": 'export { Shop } from "./shop";\n', "lib/shop.ts": SHOP_TS}, "export class Shop {"),
    ("src/main.rs", "use crate::shop::Shop;\nfn main() { Shop::new(<CURSOR>",
     {"src/shop/mod.rs": "mod one;\npub use self::one::Shop;\n", "src/shop/one.rs": "pub struct Shop {\n}\n"},
     "pub struct Shop {"),
    # Under another name.
    ("main.py", "from pkg import Store\nStore(<CURSOR>",
     {"pkg/__init__.py": "from .shop import (\n    x,\n    Shop as Store,\n)\n", "pkg/shop.py": SHOP},
     "class Shop(Base):"),
    ("src/main.rs", "use crate::shop::S;\nfn main() { S::new(<CURSOR>",
     {"src/shop/mod.rs": "mod one;\npub use self::one::Shop as S;\n", "src/shop/one.rs": "pub struct Shop {\n}\n"},
     "pub struct Shop {"),
    ("x.ts", 'import { S } from "./lib";\nnew S(<CURSOR>',
     {"lib/index.ts": 'export {\n  Shop as S,\n} from "./shop";\n', "lib/shop.ts": SHOP_TS}, "export class Shop {"),
    ("x.ts", 'import { S } from "./lib";\nnew S(<CURSOR>',
     {"lib/index.ts": 'export { default as S } from "./shop";\n', "lib/shop.ts": f"{SHOP_TS}export default Shop;\n"},
     "export class Shop {"),
    ("main.py", f"import pkg\n{FAR}pkg.<CURSOR>",
     {"pkg/__init__.py": "from .shop import *\n", "pkg/shop.py": SHOP}, "def open_shop("),
    # More than once.
    ("main.py", "from pkg import Store\nStore(<CURSOR>",
     {"pkg/__init__.py": "from .a import S as Store\n", "pkg/a/shop.py": SHOP,
      "pkg/a/__init__.py": "from .shop import Shop as S\n"}, "class Shop(Base):"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "source", "files", "expected"), HANDED_ON)
def test_definitions_behind_a_file_that_hands_them_on(
    name: str, source: str, files: dict[str, str], expected: str, tmp_path: Path
) -> None:
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    document, offset = parse(source, str(tmp_path / name))
    snippets = found(document, offset, Workspace(roots=(str(tmp_path),)), ("definitions",))
    assert [Path(snippet.path).name for snippet in snippets] == [Path(list(files)[1]).name]
    assert expected in snippets[0].text


HANDS_ON = [
    ("main.py", "from pkg import M27\n", "pkg/__init__.py", "from .{0} import {1}\n", ["__init__.py", "m27.py"]),
    ("x.ts", 'import { M27 } from "./pkg";\n', "pkg/index.ts", "export {{ {1} }} from './{0}';\n",
     ["index.ts", "m27.ts"]),
    # Of what is handed on without names the first ones.
    ("x.ts", 'import { M27 } from "./pkg";\n', "pkg/index.ts", "export * from './{0}';\n",
     ["index.ts", *(f"m{number}.ts" for number in range(16))]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "source", "path", "line", "expected"), HANDS_ON)
def test_of_what_is_handed_on_what_is_said_is_read(
    name: str, source: str, path: str, line: str, expected: list[str], tmp_path: Path
) -> None:
    names = [f"m{number}" for number in range(30)]
    (tmp_path / "pkg").mkdir()
    (tmp_path / path).write_text("".join(line.format(name, name.upper()) for name in names))
    for each in names:
        (tmp_path / f"pkg/{each}{Path(name).suffix}").write_text("x = 1\n")
    document, _ = parse(f"{source}<CURSOR>", str(tmp_path / name))
    modules, workspace = row_of(language_of(name)).modules, Workspace(roots=(str(tmp_path),))
    assert modules is not None
    read = imported(document, document.path, modules, workspace, {"M27": 0}, lambda: False)
    assert [Path(one.path).name for one, _ in read] == expected


def test_definitions_of_what_is_said_nearest_come_first(tmp_path: Path) -> None:
    named = [f"{module}_{number}" for module in "ab" for number in range(9)]
    for module in "ab":
        functions = (f"def {name}(order):\n    return order\n\n\n" for name in named if name[0] == module)
        (tmp_path / f"{module}.py").write_text("".join(functions) + "class _:\n    pass\n")
    lines = "".join(f"{name}(1)\n" for name in named)
    document, offset = parse(
        f"from a import *\nfrom b import *\n_ = 1\n{lines}x = b_8(<CURSOR>", str(tmp_path / "main.py")
    )
    context = build_context(document, offset, budget=300, workspace=Workspace(roots=(str(tmp_path),)), sources=SOURCES)
    shown = "".join(snippet.text for snippet in context.snippets)
    assert "def b_8(" in shown and "def a_0(" not in shown and "class _" not in shown


def test_all_files_of_a_go_package_are_read_but_its_tests(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    names = ["Test", "Close", "Open", *(f"More{number}" for number in range(9))]
    for name in names:
        file = "a_test.go" if name == "Test" else f"{name.lower()}.go"
        (tmp_path / "shop" / file).write_text(f"package shop\n\nfunc {name}(name string) error {{\n\treturn nil\n}}\n")
    source = 'package main\n\nimport "example.org/m/shop"\n\nvar all = f(' + ", ".join(f"shop.{name}" for name in names)
    document, offset = parse(source + ", <CURSOR>", str(tmp_path / "main.go"))
    found_in = [Path(s.path).name for s in found(document, offset, Workspace(roots=(str(tmp_path),)), ("definitions",))]
    assert sorted(found_in) == ["close.go", *(f"more{number}.go" for number in range(7))]


def test_modules_are_looked_for_until_time_is_up(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.py").write_text(SHOP)
    document, _ = parse("import a, b, c\n<CURSOR>", str(tmp_path / "main.py"))
    modules, workspace = row_of("python").modules, Workspace(roots=(str(tmp_path),))
    assert modules is not None
    ends = iter([False, False, True])
    some = list(imported(document, document.path, modules, workspace, {}, lambda: next(ends)))
    assert [Path(one.path).name for one, _ in some] == ["a.py", "b.py"]


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("main.py", "from x import (\n" + "\x0ca" * 1_000_000),
        ("src/main.rs", "use crate::{" + "a::{" * 200_000),
        ("main.py", "import b" * 200_000),
        ("main.ts", ("import a, " + "a " * 3_000 + "\n") * 390),
        ("main.ts", ("export {" + "a as b, " * 500 + "} from './y'\n") * 390),
        ("main.ts", "export default " + "async " * 200_000 + "!"),
    ],
    ids=range(6),
)
@pytest.mark.timeout(20)
def test_lists_of_names_cost_what_they_are_long(name: str, head: str, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(SHOP)
    document, _ = parse(f"{head}\n<CURSOR>", str(tmp_path / name))
    modules, workspace = row_of(language_of(name)).modules, Workspace(roots=(str(tmp_path),))
    assert modules is not None
    assert list(imported(document, document.path, modules, workspace, {"a": 0}, lambda: False)) == []


def test_lines_of_imports_end_where_those_of_documents_do(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.py").write_text(SHOP)
    document, _ = parse("x = 1\x0cimport a\rimport b\r\nimport c\u2028\n<CURSOR>", str(tmp_path / "main.py"))
    modules, workspace = row_of("python").modules, Workspace(roots=(str(tmp_path),))
    assert modules is not None
    read = imported(document, document.path, modules, workspace, {}, lambda: False)
    assert [Path(one.path).name for one, _ in read] == ["b.py", "c.py"]


def test_a_definition_is_shown_without_the_bodies_in_it() -> None:
    shop, unrelated, open_shop = definitions_of(opened("/p/shop.py", SHOP))
    assert (shop.name, unrelated.name, open_shop.name) == ("Shop", "unrelated", "open_shop")
    assert shop.text.splitlines() == [
        "class Shop(Base):", '    """Sells things."""', "", "    limit = 10", "", "    def add(self, order, count=1):",
        "        # ...", "", "    def empty(self):", "        # ...",
    ]  # fmt: skip
    assert open_shop.text == "def open_shop(name, orders=()):\n    # ...\n"
    assert definitions_of(opened("/p/notes.txt", SHOP)) == ()


def test_an_open_document_counts_before_the_file_on_disk(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("class Shop:\n    old = 1\n")
    document, offset = parse("from shop import Shop\nx = Shop(<CURSOR>", str(tmp_path / "main.py"))
    workspace = Workspace((opened(tmp_path / "shop.py", "class Shop:\n    new = 1\n"),), roots=(str(tmp_path),))
    assert "new = 1" in found(document, offset, workspace, ("definitions",))[0].text


def test_imports_never_lead_out_of_the_open_folders(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "shop.py").write_text(SHOP)
    for line in ("from ..shop import Shop", "from shop import Shop", f"from {'.' * 9}shop import Shop"):
        document, offset = parse(f"{line}\nx = Shop(<CURSOR>", str(tmp_path / "inside" / "main.py"))
        assert found(document, offset, Workspace(roots=(str(tmp_path / "inside"),)), ("definitions",)) == []
        assert found(document, offset, Workspace(), ("definitions",)) == []


@pytest.mark.parametrize(("target", "shown"), [
    ("inside/pkg/shop.py", True), ("outside/shop.py", False), ("inside/private/shop.py", False),
    ("inside/.ssh/shop.py", False),
])  # fmt: skip
def test_a_link_leads_to_nothing_that_may_not_be_shown(target: str, shown: bool, tmp_path: Path) -> None:
    for folder in ("inside", str(Path(target).parent)):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / "inside/.gitignore").write_text("private/\n")
    (tmp_path / target).write_text(SHOP)
    (tmp_path / "inside/link.py").symlink_to(tmp_path / target)
    (tmp_path / "way").symlink_to(tmp_path / "inside")
    for root in ("inside", "way"):  # the folder that is open may itself be behind a link
        document, offset = parse("from link import Shop\nx = Shop(<CURSOR>", str(tmp_path / root / "main.py"))
        snippets = found(document, offset, Workspace(roots=(str(tmp_path / root),)), ("definitions",))
        assert bool(snippets) is shown


# Similar windows, edits, outlines


def test_words_and_likeness() -> None:
    assert words_of("def load_orders(orderPath): x") == {
        "def",
        "load_orders",
        "orderPath",
        "load",
        "orders",
        "order",
        "path",
    }
    assert likeness(frozenset("abc"), frozenset("bcd")) == 0.5
    assert likeness(frozenset(), frozenset()) == 0.0


def test_the_most_similar_window_of_each_document_is_found() -> None:
    noise = "".join(f"noise_{number} = {number}\n" for number in range(100))
    one = opened("/p/one.py", noise + "def total_price(order):\n    return order.price * order.count\n" * 8 + noise)
    two = opened("/p/two.py", noise)
    best = most_similar(words_of("def total_price(order):\n    return order.price"), iter((two, one)))
    assert [document.path for document, _ in best] == ["/p/one.py"]
    assert "total_price" in best[0][1].words
    assert [window.first for window in windows_of(one)][:3] == [0, 20, 40]


def test_each_source_has_a_switch(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    other = opened(
        tmp_path / "other.py", "def add_order(order, total):\n    self.total += order.count\n    return total\n" * 9
    )
    edited = opened(tmp_path / "edited.py", "".join(f"completely_different_{number} = 1\n" for number in range(90)))
    outlined = opened(tmp_path / "outlined.py", "def something_else(whatever, altogether):\n    pass\n")
    source = "from shop import Shop\n\ndef add_order(order, total):\n    shop = Shop(order.count, <CURSOR>"
    document, offset = parse(source, str(tmp_path / "main.py"))
    workspace = Workspace((outlined, other, edited), (Region(edited.uri, 40, 42),), (str(tmp_path),))
    for source, name in (("definitions", "shop"), ("similar", "other"), ("edits", "edited")):
        assert [Path(s.path).stem for s in found(document, offset, workspace, (source,))] == [name]
    assert "outlined" in [Path(s.path).stem for s in found(document, offset, workspace, ("open",))]
    everything = found(document, offset, workspace)
    assert {s.source for s in everything} >= {"definitions", "similar", "edits"}
    assert sorted(s.rank for s in everything) == list(range(len(everything)))[::1]
    assert [s.rank for s in everything] == sorted((s.rank for s in everything), reverse=True)
    assert found(document, offset, workspace, ("path",)) == found(document, offset, workspace, ()) == []


def test_an_edit_of_the_same_document_counts_when_it_is_far_away() -> None:
    lines = [f"line_number_{number} = {number}\n" for number in range(400)]
    document, offset = parse("".join(lines[:300]) + "<CURSOR>\n" + "".join(lines[300:]), "/p/a.py")
    near, far = Region(document.uri, 290, 290), Region(document.uri, 20, 21)
    assert "line_number_20 =" in found(document, offset, Workspace(edits=(near, far)), ("edits",))[0].text
    elsewhere = replace(document, uri="file:///p/b.py")
    assert found(elsewhere, offset, Workspace(edits=(replace(near, uri=elsewhere.uri),)), ("edits",)) == []


def test_what_the_document_says_already_is_left_out() -> None:
    text = "def add_order(order, total):\n    total += order.count\n    return total\n"
    document, offset = parse(text + "x = <CURSOR>", "/p/a.py")
    assert found(document, offset, Workspace((opened("/p/copy.py", text),)), ("similar",)) == []


def test_fusion_prefers_what_several_sources_find() -> None:
    one, two, three = (Piece("/p/a.py", at, at + 10, f"{at}", "s") for at in (0, 20, 40))
    part = Piece("/p/a.py", 42, 45, "part", "d")
    assert set(fused([[one, two, three], [part]])[:2]) == {part, three}
    assert fused([[one], [two]]) == [one, two]


# Staying


def test_the_choice_stays_while_the_cursor_stays_near_and_nothing_else_changes() -> None:
    text = "def add_order(order, total):\n    self.total += order.count\n" * 9
    other, document = opened("/p/other.py", text), opened("/p/a.py", "x = 1\n" * 200)
    kept, workspace = Neighbours(), Workspace((other,))

    def at(line: int, typed: str, workspace: Workspace = workspace) -> tuple[Snippet, ...]:
        end = document.line_end(line)
        changed = document.edited(end, end, typed, 2)
        return kept.snippets(Spot(changed, "/p/a.py", "python", line), workspace, ("similar",), 4000)

    first = at(10, "  # add_order total order count self")
    assert first and at(11, "  # something else") == first and at(50, "") == first
    assert at(51, "") == ()
    assert at(10, "  # add_order total order count self") == first
    changed = replace(other, text="nothing = 1\n", version=2)
    assert at(10, "  # add_order total order count self", Workspace((changed,))) == ()
    reopened = replace(other, text="something = 2\n" + text, version=2)  # versions begin anew with each opening
    assert at(10, "  # add_order total order count self", Workspace((reopened,))) != ()


def test_at_the_time_cap_what_is_found_by_then_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def tick() -> float:
        now[0] += 0.02
        return now[0]

    monkeypatch.setattr(neighbours, "LIMIT_MS", LIMIT_MS)
    monkeypatch.setattr(neighbours.time, "perf_counter", tick)
    text = "def add_order(order, total):\n    self.total += order.count\n" * 9
    others = tuple(opened(f"/p/{number}.py", text + f"unlike_{number} = 1\n" * 30) for number in range(9))
    spot = Spot(opened("/p/a.py", "# add_order total order count self\n"), "/p/a.py", "python", 0)
    kept = Neighbours()
    few = kept.snippets(spot, Workspace(others), ("similar", "open"), 40_000)
    assert 0 < len(few) < 9
    monkeypatch.setattr(neighbours.time, "perf_counter", lambda: 0.0)
    assert len(kept.snippets(spot, Workspace(others), ("similar", "open"), 40_000)) >= len(few)


def test_preparing_stops_when_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(neighbours, "windows_of", lambda document: seen.append(document.path))
    workspace = Workspace((opened("/p/a.py", "x = 1\n"), opened("/p/.env", "A=1\n"), opened("/p/b.py", "y = 1\n")))
    prepare(workspace, lambda: len(seen) == 1)
    assert seen == ["/p/a.py"]
    prepare(workspace, lambda: False)
    assert seen == ["/p/a.py", "/p/a.py", "/p/b.py"]


# Safety


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".env", "add_order = total_secret\n" * 9), ("id_rsa", "add_order = total_secret\n" * 9),
        ("credentials.json", '{"add_order": "total_secret"}\n' * 9), ("a.py", "add_order = total_secret\n\0" * 9),
        ("min.js", "add_order = total_secret;" * 400), ("ignored.py", "add_order = total_secret\n" * 9),
        ("key.py", f"add_order = total_secret\n-----BEGIN PRIVATE KEY-----\n{'A' * 64}\n{'B' * 64}\n"),
    ],
)  # fmt: skip
def test_what_may_hold_secrets_is_never_shown(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("ignored.py\n")
    (tmp_path / name).write_text(text)
    module = name.partition(".")[0]
    source = f"from {module} import add_order\nimport min\nadd_order(total_secret, <CURSOR>"
    document, offset = parse(source, str(tmp_path / "main.py"))
    other = opened(tmp_path / name, text)
    for documents in ((), (other,)):
        workspace = Workspace(documents, (Region(other.uri, 0, 3),), (str(tmp_path),))
        assert found(document, offset, workspace) == []


def test_an_ignored_document_gets_no_suggestion(tmp_path: Path) -> None:
    (tmp_path / ".pass-lsp-ignore").write_text("private/\n")
    workspace = Workspace(roots=(str(tmp_path),))
    document, offset = parse("x = <CURSOR>", str(tmp_path / "private" / "a.py"))
    assert build_context(document, offset, budget=100, workspace=workspace).reason is Reason.IGNORED
    document, offset = parse("x = <CURSOR>", str(tmp_path / "public" / "a.py"))
    assert build_context(document, offset, budget=100, workspace=workspace).reason is None


def test_ignore_files_of_deeper_folders_decide(tmp_path: Path) -> None:
    root, deep = str(tmp_path), tmp_path / "a"
    deep.mkdir()
    (tmp_path / ".gitignore").write_text("*.gen.py\n/build\n# note\n")
    (deep / ".gitignore").write_text("!kept.gen.py\n\xff\n", encoding="latin-1")
    names = ["x.gen.py", "a/x.gen.py", "a/kept.gen.py", "build/x.py", "a/build/x.py", "x.py"]
    assert [is_ignored(f"{root}/{name}", (root,)) for name in names] == [True, True, False, True, False, False]
    (tmp_path / ".gitignore").write_text("x.py\nanother line that makes it longer\n")
    assert is_ignored(f"{root}/x.py", (root,)) and not is_ignored(f"{root}/x.py", ())
    assert root_of(f"{root}/a/x.py", (root, str(deep), "", "/elsewhere")) == str(deep)
    assert root_of("/nowhere/x.py", (root,)) is None


def test_an_ignore_file_too_large_to_read_excludes_all(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("# a long note\n" * 80_000 + "x.py\n")
    assert is_ignored(f"{tmp_path}/x.py", (str(tmp_path),))


# Edits


def test_near_edits_are_one_region_and_the_newest_comes_first() -> None:
    edits = with_edit(with_edit((), Region("u", 10, 10)), Region("u", 14, 15))
    assert edits == (Region("u", 10, 15),)
    edits = with_edit(edits, Region("v", 12, 12))
    assert edits == (Region("v", 12, 12), Region("u", 10, 15))
    edits = with_edit(edits, Region("u", 1, 1), inserted=20)
    assert edits == (Region("u", 1, 1), Region("v", 12, 12), Region("u", 30, 35))
    for number in range(20):
        edits = with_edit(edits, Region(f"w{number}", 0, 0))
    assert len(edits) == 8 and edits[0].uri == "w19"
