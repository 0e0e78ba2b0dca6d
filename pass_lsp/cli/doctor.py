"""`pass-lsp doctor`: what is wrong, and the remedy, one line each."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from pass_lsp.cli import options
from pass_lsp.cli.checks import Check, checks_of


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
    model: options.OwnModel = None,
    device: options.OwnDevice = None,
    dtype: options.OwnDtype = None,
    lookahead: options.OwnLookahead = None,
    trust_remote_code: options.OwnTrust = None,
    engine: options.OwnEngine = None,
    engine_kind: options.OwnKind = None,
    engine_template: options.OwnTemplate = None,
) -> None:
    """Check Python, libraries, memory, model or engine, tokenizer, speed, folders and recent answers.

    What is not given is taken from your settings file. The exit code is 1 if anything is wrong.
    """
    from pass_lsp.server.settings import Layers

    named = options.given(
        model=model, device=device, dtype=dtype, lookahead=lookahead, trust_remote_code=trust_remote_code,
        engine=engine, engine_kind=engine_kind, engine_template=engine_template,
    )  # fmt: skip
    layers = Layers(named)
    layers.read_files([])
    checks: list[Check] = []
    for check in checks_of(layers.resolved()):  # loading takes long, and may end the process
        checks.append(check)
        if not as_json:
            remedy = f"  → {check.remedy}" if check.remedy else ""
            typer.echo(f"{'ok ' if check.ok else 'BAD'}  {check.name:12} {check.found}{remedy}")
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks]))
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)
