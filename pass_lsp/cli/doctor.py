"""`pass-lsp doctor`: what is wrong, and the remedy, one line each."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from pass_lsp.cli import options
from pass_lsp.cli.checks import checks_of


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
    model: options.Model = "embedded",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    lookahead: options.Lookahead = "auto",
) -> None:
    """Check Python, libraries, memory, model, tokenizer, look-ahead artifact, speed, folders and recent answers.

    The exit code is 1 if anything is wrong.
    """
    checks = list(checks_of(model, device, lambda: options.local_engine(model, device, dtype, lookahead)))
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks]))
    else:
        for check in checks:
            remedy = f"  → {check.remedy}" if check.remedy else ""
            typer.echo(f"{'ok ' if check.ok else 'BAD'}  {check.name:12} {check.found}{remedy}")
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)
