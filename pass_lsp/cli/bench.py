"""`pass-lsp bench …`: the measurements. A table for people on stderr, one JSON document last on stdout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pass_lsp.cli import options

app = typer.Typer(no_args_is_help=True, help="Measure decoding, latency and quality on this machine.")

JsonFile = Annotated[Path | None, typer.Option("--json", help="Also write the JSON document there.")]
Data = Annotated[Path | None, typer.Option(help="JSON lines with prompt, suffix, canonical_solution; .gz or not.")]
Holes = Annotated[int, typer.Option(min=1, help="How many holes to use.")]


@app.command()
def decode(
    data: Data = None,
    holes: Holes = 40,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens an answer may have.")] = 64,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each prompt; the median counts.")] = 3,
    temperature: float = 0.0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    model: options.Model = "embedded",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    lookahead: options.Lookahead = "auto",
    json_file: JsonFile = None,
) -> None:
    """Tokens per second and per forward: every strategy, and transformers' own generate."""
    import torch

    from pass_lsp.bench.decode import bench_decode

    engine = options.local_engine(model, device, dtype, lookahead)
    torch.set_num_threads(threads)
    found = bench_decode(engine, _holes(data, holes), max_new_tokens, repeats, temperature)
    _report({"bench": "decode", "data": data.name if data else "held-out modules", **found}, json_file)


@app.command()
def infill(
    data: Data = None,
    holes: Holes = 200,
    model: options.Model = "embedded",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    lookahead: options.Lookahead = "auto",
    json_file: JsonFile = None,
) -> None:
    """How often the model writes what was there, beside floors that need no model."""
    from pass_lsp.bench.infill import bench_infill

    engine = options.local_engine(model, device, dtype, lookahead)
    found = bench_infill(engine, _holes(data, holes))
    _report({"bench": "infill", "data": data.name if data else "held-out modules", **found}, json_file)


@app.command()
def latency(
    data: Annotated[
        Path | None, typer.Option(help="A recorded trace (startContent, txns) as JSON; .gz or not.")
    ] = None,
    keystrokes: Annotated[int, typer.Option(min=1, help="How many keys to type.")] = 300,
    speed: Annotated[float, typer.Option(min=0.1, help="Times as fast as a human.")] = 1.0,
    wait_ms: Annotated[float, typer.Option(min=0, help="How long the client waits before it asks.")] = 40.0,
    pause_ms: Annotated[
        float | None, typer.Option(min=0, help="Type the next key that long after each answer instead.")
    ] = None,
    overhead: Annotated[bool, typer.Option(help="Also measure a server without a model.")] = True,
    fake: Annotated[bool, typer.Option("--fake", help="Replay against a server without a model.")] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw the answers there.")] = None,
    model: options.Model = "embedded",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    lookahead: options.Lookahead = "auto",
    json_file: JsonFile = None,
) -> None:
    """Type into the real server: milliseconds from a request to its answer, part by part."""
    from pass_lsp.bench.latency import bench_latency, load_traces
    from pass_lsp.bench.plots import plot_latency
    from pass_lsp.bench.replay import Pace
    from pass_lsp.engines.echo import NAME

    given = ["--model", NAME if fake else model, "--device", device, "--dtype", dtype, "--lookahead", lookahead]
    traces = load_traces(data, keystrokes)
    found, samples = bench_latency(given, traces, Pace(speed, wait_ms, pause_ms), overhead=overhead)
    if plot is not None:
        plot_latency(samples, plot)
    _report({"bench": "latency", "data": data.name if data else "held-out modules", **found}, json_file)


def _holes(data: Path | None, count: int) -> Any:
    from pass_lsp.bench.holes import held_out_holes, read_holes

    return read_holes(data, count) if data else held_out_holes(count)


def _report(found: dict[str, Any], json_file: Path | None) -> None:
    console = Console(stderr=True)
    rows = found.get("rows") or [{key: value for key, value in found.items() if key != "bench"}]
    table = Table(title=", ".join(f"{key} {value}" for key, value in found.items() if key not in ("rows", *rows[0])))
    for key in rows[0]:
        table.add_column(key, justify="left" if isinstance(rows[0][key], str) else "right")
    for row in rows:
        table.add_row(*("–" if value is None else str(value) for value in row.values()))
    console.print(table)
    text = json.dumps(found)
    if json_file is not None:
        json_file.write_text(text + "\n")
    typer.echo(text)
