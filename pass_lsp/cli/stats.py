"""`pass-lsp stats`: this user's own numbers, from the ledger on this machine."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from pass_lsp.engines.embedded import measured_hopeless
from pass_lsp.metrics.gate import ledger_name
from pass_lsp.metrics.ledger import read
from pass_lsp.metrics.stats import MEMORY, MODEL, Stats


def stats(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """What was suggested and accepted, how much of it stayed, and how fast it came. Nothing leaves this machine."""
    from pass_lsp.server.folders import ledger_file

    path = ledger_file()
    # Of other models than the one that ships, only what became of their suggestions is known here.
    found = Stats.of(read(path)).as_dict({ledger_name("embedded"): measured_hopeless("embedded")})
    if as_json:
        typer.echo(json.dumps({"ledger": str(path), **found}))
        return
    if not found["answers"]:
        typer.echo(f"Nothing is recorded yet in {path}; it fills while you type, unless `ledger` is off.")
        return
    for name, value in _lines(found):
        typer.echo(f"{name:24} {value}")


def _lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    characters, latency = found["characters"], found["latency_ms"]
    lines = [
        ("answers", f"{found['answers']}, {found['from_memory']} of them from memory"),
        ("shown", f"{found['shown']} ({characters['shown']} characters)"),
        ("accepted", f"{found['accepted']} ({characters['accepted']} characters), {_percent(found['acceptance'])}"),
        ("partly accepted", f"{found['partly_accepted']} ({characters['partly']} characters)"),
    ]
    for name, kept in found["retained"].items():
        after = name.removeprefix("after_").removesuffix("_s")
        lines.append((f"still there after {after} s", f"{kept['characters']} characters, {_percent(kept['share'])}"))
    for source, words in ((MODEL, "ms with the model"), (MEMORY, "ms from memory")):
        lines.append((words, ", ".join(f"{point} {value}" for point, value in latency[source].items())))
    lines.append(("tokens per forward", str(found["tokens_per_forward"] or "–")))
    empty = ", ".join(f"{reason} {count}" for reason, count in found["empty_answers"].items())
    lines.append(("empty answers", empty or "none"))
    lines.append(("hidden as unsure", _hidden(**found["gate"])))
    return lines


def _hidden(learnt_from: int, learnt: bool, least_probability: float) -> str:
    by = f"by what became of {learnt_from} suggestions"
    if not least_probability:
        return f"nothing, {by}"
    by = by if learnt else "as measured of the model"
    return f"below a probability of {least_probability:.2%} for their first words, {by}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"
