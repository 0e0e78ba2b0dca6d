"""`make demo`: the main job, end to end, on a file that the model was never trained on.

Starts the real server as a subprocess, opens a file of the standard library with a
hole in it, asks as an editor would, and shows the answer in place with its speed.
"""

from __future__ import annotations

import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pass_lsp.bench.client import Client
from pass_lsp.bench.contenders import ours
from pass_lsp.bench.holes import Hole, held_out_holes
from pass_lsp.bench.measure import measure, rows_of
from pass_lsp.bench.prompts import tasks_of
from pass_lsp.domain import Strategy
from pass_lsp.engines.local import load_engine
from pass_lsp.errors import PassLspError

MODULE = "argparse.py"
BEFORE = "                            inserts[end] += ')'\n"
AFTER = "\n                    for i in range(start + 1, end):"
LINES_AROUND = 12


@dataclass(frozen=True, slots=True)
class Shown:
    """The answer, and how long it took the first time and again."""

    text: str
    cold_ms: float
    warm_ms: float
    ready_s: float


def main(svg: Annotated[Path | None, typer.Option(help="Also draw what is shown, into this SVG file.")] = None) -> None:
    """Show one completion and the speed of decoding; exits 1 with one sentence when something fails."""
    console = Console(
        highlight=False, record=svg is not None, force_terminal=svg is not None or None, width=svg and 100
    )
    try:
        hole = demo_hole()
        console.print(f"[bold]pass-lsp[/bold] completes [bold]{MODULE}[/bold] of this Python, which it has never seen.")
        console.print("Starting the server and loading the model (converted for this CPU the first time) …")
        shown = ask(hole)
        _show(console, hole, shown)
        console.print("Measuring the decoder …")
        _speed(console, hole)
        if svg is not None:
            console.save_svg(str(svg), title="make demo")
    except PassLspError as error:
        console.print(f"pass-lsp: {error}", style="red")
        sys.exit(1)


def demo_hole() -> Hole:
    """The end of an `if` taken out of argparse; in a Python where it differs, a line of the middle."""
    text = (Path(sysconfig.get_paths()["stdlib"]) / MODULE).read_text("utf-8")
    start = text.find(BEFORE) + len(BEFORE)
    end = text.find(AFTER, start)
    if start < len(BEFORE) or end < 0:
        start = text.find("\n", len(text) // 2) + 1
        end = text.find("\n", start)
    start += len(text[start:]) - len(text[start:].lstrip(" "))
    return Hole(MODULE, text[:start], text[start:end], text[end:])


def ask(hole: Hole) -> Shown:
    """Complete the hole through the real server, twice. Raises `PassLspError` when nothing comes back."""
    before, line = hole.prefix, hole.prefix.count("\n")
    column = len(before) - before.rfind("\n") - 1
    with tempfile.TemporaryDirectory() as folder:
        # A model sees the last parts of a path: they are the same in every run.
        uri = (Path(folder) / "lib" / "python3.11" / hole.path).as_uri()
        began = time.perf_counter()
        with Client([], Path(folder)) as client:
            client.wait_ready()
            ready_s = time.perf_counter() - began
            client.open(uri, before + hole.suffix)
            taken = []
            items = []
            for _ in range(2):
                began = time.perf_counter()
                items = client.inline_completion(uri, line, column)
                taken.append((time.perf_counter() - began) * 1000)
    if not items:
        raise PassLspError("The server found nothing to complete; run `pass-lsp doctor` to see why.")
    text = items[0]["insertText"]
    skipped = column - items[0]["range"]["start"]["character"]
    return Shown(text[skipped:], taken[0], taken[1], ready_s)


def _show(console: Console, hole: Hole, shown: Shown) -> None:
    before = "\n".join(hole.prefix.split("\n")[-LINES_AROUND:])
    after = "\n".join(hole.suffix.split("\n")[: LINES_AROUND // 2])
    text = Text.assemble((before, "dim"), (shown.text, "bold green"), (after, "dim"))
    coloured = console.is_terminal and console.color_system is not None and not console.no_color
    console.rule(f"{MODULE}, the completion {'in green' if coloured else 'between ▶ and ◀'}")
    if coloured:
        console.print(text, soft_wrap=True)
    else:
        console.print(f"{before}▶{shown.text}◀{after}", markup=False, soft_wrap=True)
    console.rule()
    what_was = (
        "exactly what was there"
        if shown.text.strip() == hole.middle.strip()
        else "not letter for letter what was there"
    )
    count = len(shown.text.splitlines())
    console.print(f"{count} line{'s' * (count != 1)}, {what_was}.")
    console.print(
        f"ready after {shown.ready_s:.1f} s · first answer {shown.cold_ms:.0f} ms · again {shown.warm_ms:.0f} ms"
    )


def _speed(console: Console, hole: Hole) -> None:
    holes = [hole, *held_out_holes(7)]
    engine = load_engine()
    strategies: list[Strategy] = ["autoregressive", "auto"]
    contenders = {name: ours(engine, name, 48, 0.0) for name in strategies}
    rows = rows_of(measure(contenders, tasks_of(engine, holes, 48), 2, "decode"))
    table = Table(title="two ways to decode, 8 holes")
    for heading in ("strategy", "tokens/s", "tokens/forward"):
        table.add_column(heading, justify="left" if heading == "strategy" else "right")
    for row in rows:
        table.add_row(row["contender"], f"{row['tokens_per_second']:.0f}", f"{row['tokens_per_forward']:.2f}")
    console.print(table)
    console.print(
        f"auto uses [bold]{engine.auto_strategy}[/bold] here, by measured cost of a forward and known acceptance."
    )


if __name__ == "__main__":
    typer.run(main)
