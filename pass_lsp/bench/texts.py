"""Texts to complete besides plain holes: copies with small edits, code from left to right, and prose.

All of them come from what every installation has: the held-out modules of this Python's
standard library, and the READMEs that installed packages carry in their metadata (training
takes only source files, so no README was ever trained on).
"""

from __future__ import annotations

import ast
import random
import re
import sysconfig
import textwrap
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from pass_lsp.bench.holes import NEAR_SUFFIX, Hole
from pass_lsp.errors import ConfigError
from pass_lsp.train.corpus import HELD_OUT_MODULES

MIDDLE = 400
MIN_FUNCTION_LINES = 6
_BEFORE = 600
_NOT_PROSE = re.compile(r"```.*?```|~~~.*?~~~|<[^>]*>|!?\[[^\]]*\]\([^)]*\)", re.DOTALL)
_PROSE_LINE = re.compile(r"[A-Za-z*-].{60,}")


def copy_holes(count: int, seed: int = 0) -> list[Hole]:
    """`count` functions typed again: by turns an edited twin below its original, and the same above its original."""
    functions = [(path, *parts) for path, text in _held_out() for parts in _functions(text)]
    random.Random(seed).shuffle(functions)
    holes = []
    for number in range(count):
        path, before, signature, body = functions[number % len(functions)]
        source = signature + body
        if number % 2:
            holes.append(_cut(path, before[-_BEFORE:] + signature, body, f"\n\n{source}"))
        else:
            edited = _edited(signature, body)
            holes.append(_cut(path, f"{source}\n\n{edited[0]}", edited[1], "\n"))
    return holes


def code_holes(count: int, seed: int = 0) -> list[Hole]:
    """`count` places in held-out modules to go on from, left to right: nothing stands after the cursor."""
    files, rng = list(_held_out()), random.Random(seed)
    holes: list[Hole] = []
    while len(holes) < count:
        path, text = rng.choice(files)
        at = text.rfind("\n", 0, rng.randrange(400, len(text) - MIDDLE)) + 1
        if text[at:].partition("\n")[0].strip():
            holes.append(_cut(path, text[:at], text[at : at + MIDDLE], ""))
    return holes


def prose_holes(count: int, seed: int = 0) -> list[Hole]:
    """`count` places in READMEs of installed packages to go on from. Raises `ConfigError` when there are none."""
    texts, rng = [text for text in _readmes() if len(text) > 2 * MIDDLE], random.Random(seed)
    if not texts:
        raise ConfigError("No installed package carries a README of some length; install the extras, or use --data.")
    holes = []
    for _ in range(count):
        text = rng.choice(texts)
        at = text.rfind(" ", 0, rng.randrange(MIDDLE, len(text) - MIDDLE)) + 1
        holes.append(Hole("README.md", text[:at], text[at : at + MIDDLE], ""))
    return holes


def _held_out() -> Iterator[tuple[str, str]]:
    root = Path(sysconfig.get_paths()["stdlib"])
    for name in sorted(HELD_OUT_MODULES):
        if (root / name).exists():
            yield name, (root / name).read_text("utf-8")


def _functions(text: str) -> Iterator[tuple[str, str, str]]:
    """(text before, signature, body) of every function short enough to stand in a prompt twice."""
    lines = text.splitlines(keepends=True)
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef) or node.decorator_list or not node.args.args or node.name[0] == "_":
            continue
        first, last = node.body[0].lineno - 1, node.end_lineno or node.lineno
        signature, body = ("".join(lines[a:b]) for a, b in ((node.lineno - 1, first), (first, last)))
        source = textwrap.dedent(signature + body)
        if signature and last - first >= MIN_FUNCTION_LINES and len(source) < NEAR_SUFFIX - 20:
            split = sum(map(len, source.splitlines(keepends=True)[: first - node.lineno + 1]))
            yield "".join(lines[: node.lineno - 1]), source[:split], source[split:]


def _edited(signature: str, body: str) -> tuple[str, str]:
    """The function under another name, with one parameter renamed throughout."""
    found = ast.parse(signature + body).body[0]
    assert isinstance(found, ast.FunctionDef)
    old = found.args.args[-1].arg
    new = next(name for name in ("given", "other", f"{old}_again") if name not in signature + body)
    signature = signature.replace(f"def {found.name}", f"def {found.name}_again", 1)
    swap = re.compile(rf"\b{re.escape(old)}\b")
    return swap.sub(new, signature), swap.sub(new, body)


def _cut(path: str, prefix: str, middle: str, suffix: str) -> Hole:
    """The cursor stands behind the first line's indentation, where editors put it."""
    indent = len(middle) - len(middle.lstrip(" "))
    return Hole(path, prefix + middle[:indent], middle[indent:], suffix)


def _readmes() -> Iterator[str]:
    """The prose of every distribution's long description: paragraphs without code, links and pictures."""
    found = {dist.metadata["Name"]: dist for dist in metadata.distributions()}
    for name in sorted(found, key=str):
        text = _NOT_PROSE.sub("", str(found[name].metadata.json.get("description") or ""))
        paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if not part.startswith((" ", "\t")))
        yield "\n\n".join(part for part in paragraphs if _PROSE_LINE.match(part))
