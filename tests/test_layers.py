"""The house of DESIGN section 3, read from the source: who imports whom, and how large things are."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "pass_lsp"
FILES = sorted((ROOT / PACKAGE).rglob("*.py"))

LEVELS = {
    **dict.fromkeys(("cli", "server", "serving", "bench"), 4),
    **dict.fromkeys(("completion", "answer"), 3),
    **dict.fromkeys(("prompt", "postprocess", "suggestions", "context", "engines", "train"), 2),
    **dict.fromkeys(("documents", "decoding"), 1),
    **dict.fromkeys(("domain", "reasons", "config", "errors", "heap", "cores", "metrics"), 0),
}
DOORS = {"__main__": {"cli"}, "__init__": {"domain", "errors", "completion", "engines"}}
"""The two files that stand before the house, and the rooms that they open."""
SAME_LEVEL = {
    ("cli", "bench"),
    ("cli", "server"),
    ("cli", "serving"),
    ("completion", "answer"),
    ("config", "domain"),
    ("domain", "errors"),
    ("domain", "reasons"),
}
"""Imports between rooms of one level: the command line starts its neighbours; the ground floor is one."""

HEAVY = ("decoding/", "train/", "bench/", "engines/local.py", "cli/bench.py")
OWNERS = {
    **dict.fromkeys(("pygls", "lsprotocol"), ("server/",)),
    "tree_sitter": ("context/",),
    **dict.fromkeys(("torch", "transformers"), HEAVY),
    **dict.fromkeys(("starlette", "uvicorn", "fastapi", "prometheus_client", "pydantic", "ray"), ("serving/",)),
}
BARE_MACHINE = {"torch", "transformers", "tokenizers", "safetensors", "numpy", "tqdm", "filelock"}
"""What a GPU machine has for `decoding/` and `train/` (tqdm comes with transformers, filelock with torch)."""


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def relative(path: Path) -> str:
    return path.relative_to(ROOT / PACKAGE).as_posix()


def module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(name: str) -> str:
    """The room of a dotted module of the package; "" for the package itself."""
    return [*name.split("."), ""][1]


MODULES = {module(path) for path in FILES}


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def nodes(start: ast.AST, *, nested: bool) -> Iterator[ast.AST]:
    """What runs below `start`: no type-checking blocks and, unless `nested`, no function bodies."""
    for child in ast.iter_child_nodes(start):
        if is_type_checking(child) or (not nested and isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))):
            continue
        yield child
        yield from nodes(child, nested=nested)


def imports(path: Path, *, nested: bool = True) -> set[str]:
    """Dotted names that a file imports: modules of ours as modules, whatever else as it stands."""
    found: set[str] = set()
    for node in nodes(tree(path), nested=nested):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level and node.module, f"{relative(path)}: relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in MODULES else node.module)
    return found


def ours(path: Path, *, nested: bool = True) -> set[str]:
    return {name for name in imports(path, nested=nested) if name.split(".")[0] == PACKAGE}


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


every_file = pytest.mark.parametrize("path", FILES, ids=relative)


def test_the_page_draws_this_house() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    levels = re.findall(r"^(\d)  ((?:\w+(?:/|\.py) *)+)", page, re.MULTILINE)
    assert {name: int(level) for level, names in levels for name in re.findall(r"\w+(?=/|\.py)", names)} == LEVELS
    rows = re.findall(r"^\| `([^`]+)`.* \| ", page, re.MULTILINE)
    assert len(rows) == len(set(rows))


def test_every_file_is_in_a_room() -> None:
    assert {room(module(path)) for path in FILES} - {"", "__main__"} <= LEVELS.keys()


@every_file
def test_imports_lead_downward(path: Path) -> None:
    here = room(module(path)) or "__init__"
    for name in ours(path):
        there = room(name)
        if not there or there == here:
            continue  # the package itself holds the version and the nouns of level 0
        if here in DOORS:
            assert there in DOORS[here], f"{relative(path)} imports {name}"
        else:
            down = LEVELS[there] < LEVELS[here] or (here, there) in SAME_LEVEL
            assert down, f"{relative(path)} (level {LEVELS[here]}) imports {name} (level {LEVELS[there]})"


@every_file
def test_libraries_stay_in_their_rooms(path: Path) -> None:
    for name in imports(path):
        owners = OWNERS.get(name.split(".")[0])
        assert owners is None or relative(path).startswith(owners), f"{relative(path)} imports {name}"


@every_file
def test_the_ground_floor_and_a_bare_machine_need_little(path: Path) -> None:
    libraries = {name.split(".")[0] for name in imports(path)} - sys.stdlib_module_names - {PACKAGE}
    here = room(module(path))
    if here == "" or LEVELS.get(here) == 0 or here == "documents":
        assert not libraries
    if here in ("decoding", "train"):
        graphs = relative(path).startswith("decoding/graphs/")
        assert libraries <= (BARE_MACHINE | {"onnx", "onnxruntime"} if graphs else BARE_MACHINE)
        assert graphs or not any(".graphs" in name for name in ours(path))
        assert {room(name) for name in ours(path)} <= {"decoding", "train", "documents", "domain", "errors", "cores"}


def test_no_import_cycles() -> None:
    graph = {module(path): ours(path, nested=False) - {module(path)} for path in FILES}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " → ".join((*way, name))
        if name not in done:
            for other in sorted(graph.get(name, ())):
                visit(other, (*way, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


@every_file
def test_no_star_imports_bare_excepts_or_prints(path: Path) -> None:
    for node in ast.walk(tree(path)):
        place = f"{relative(path)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ImportFrom):
            assert all(alias.name != "*" for alias in node.names), f"{place}: star import"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{place}: bare except"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{place}: print"


@every_file
def test_modules_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 300
    for function in functions(path):
        assert lines(function) <= 60, f"{relative(path)}: {function.name} has {lines(function)} lines"


def test_the_median_function_has_at_most_twelve_lines() -> None:
    assert statistics.median(lines(function) for path in FILES for function in functions(path)) <= 12


def public(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Public functions and classes at module level, and the public methods of public classes."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node
            yield from public(node.body)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_"):
            yield node


@every_file
def test_whatever_is_public_is_explained(path: Path) -> None:
    assert relative(path).endswith("__init__.py") or ast.get_docstring(tree(path)), f"{relative(path)}: no docstring"
    for node in public(tree(path).body):
        assert ast.get_docstring(node), f"{relative(path)}: {node.name} has no docstring"


@every_file
def test_every_signature_is_typed(path: Path) -> None:
    for function in functions(path):
        arguments = function.args
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        named += [extra for extra in (arguments.vararg, arguments.kwarg) if extra]
        bare = [arg.arg for arg in named if arg.annotation is None and arg.arg not in ("self", "cls")]
        assert not bare, f"{relative(path)}: {function.name} has no type for {', '.join(bare)}"
        assert function.returns is not None, f"{relative(path)}: {function.name} has no return type"


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import pass_lsp", {"torch", "transformers", "pygls", "lsprotocol", "tree_sitter"}),
        ("import pass_lsp.server.app", {"torch", "transformers"}),
        ("import pass_lsp.server.app, pass_lsp.cli", {"starlette", "uvicorn", "prometheus_client", "pydantic", "ray"}),
    ],
)
def test_imports_stay_light(code: str, absent: set[str]) -> None:
    checked = f"import sys; {code}; print(*sorted({absent!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", checked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_asking_for_the_version_stays_light() -> None:
    command = [sys.executable, "-X", "importtime", "-m", PACKAGE, "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "pass_lsp" in loaded
    assert not loaded & {"torch", "transformers", "pygls", "lsprotocol", "tree_sitter"}
    assert done.stdout.startswith("pass-lsp ")
