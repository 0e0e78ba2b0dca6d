"""`pass-lsp doctor`: what is wrong, and the remedy, one line each."""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Annotated

import typer

from pass_lsp.cli import options
from pass_lsp.errors import PassLspError

if TYPE_CHECKING:
    from pass_lsp.engines.local import LocalEngine


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report; `remedy` is empty when all is well."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
    model: options.Model = "embedded",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    lookahead: options.Lookahead = "auto",
) -> None:
    """Check Python, libraries, model, tokenizer, look-ahead artifact and speed; exit code 1 if anything is wrong."""
    checks = list(_checks(lambda: options.local_engine(model, device, dtype, lookahead)))
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks]))
    else:
        for check in checks:
            remedy = f"  → {check.remedy}" if check.remedy else ""
            typer.echo(f"{'ok ' if check.ok else 'BAD'}  {check.name:12} {check.found}{remedy}")
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)


def _checks(load: Callable[[], LocalEngine]) -> Iterator[Check]:
    supported = sys.version_info >= (3, 11)
    yield Check("python", supported, platform.python_version(), "" if supported else "install Python 3.11 or newer")
    for name in ("torch", "transformers", "pygls", "tree-sitter"):
        yield _package(name)
    began = time.perf_counter()
    try:
        engine = load()
    except PassLspError as error:
        yield Check("model", False, "cannot be loaded", str(error))
        return
    took = time.perf_counter() - began
    yield Check("model", True, f"{engine.path}, {engine.dtype} on {engine.device}, loaded in {took:.1f} s")
    yield _template(engine)
    yield _lookahead(engine)
    yield from _speed(engine)


def _package(name: str) -> Check:
    try:
        return Check(name, True, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, False, "not installed", "install pass-lsp again: pip install --force-reinstall pass-lsp")


def _template(engine: LocalEngine) -> Check:
    from pass_lsp.completion import self_test
    from pass_lsp.prompt import template_for

    name, problem = template_for(engine.tokenizer).name, self_test(engine)
    if problem:
        return Check("template", False, name, problem)
    if name == "left-to-right":
        return Check("template", True, "the model cannot fill in the middle; it will not see what follows the cursor")
    return Check("template", True, f"fill-in-the-middle, {name}; its markers are tokens, and no answer holds one")


def _lookahead(engine: LocalEngine) -> Check:
    if engine.lookahead is None:
        remedy = f"for more speed: pass-lsp train lookahead --model {engine.path} --data YOUR_CODE --out DIR"
        return Check("look-ahead", True, "none; decoding one token a forward", remedy)
    accepted = sum(engine.lookahead.acceptance)
    return Check(
        "look-ahead",
        True,
        f"{engine.lookahead.length} tokens, {accepted:.2f} accepted a cycle; auto uses {engine.auto_strategy}",
    )


def _speed(engine: LocalEngine) -> Iterator[Check]:
    from pass_lsp.completion import complete

    text = "import os\n\n\ndef size_of(path):\n    return os.path."
    for name in ("cold", "warm"):
        began = time.perf_counter()
        item = complete(text, 4, 19, engine=engine, path="doctor.py")
        took = (time.perf_counter() - began) * 1000
        clean = item is None or "<|" not in item.text
        yield Check(
            name,
            clean,
            f"{took:.0f} ms for a one-line answer",
            "" if clean else "the FIM markers of this model are wrong",
        )
