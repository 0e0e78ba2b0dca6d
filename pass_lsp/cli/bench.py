"""`pass-lsp bench …`: the measurements. A table for people on stderr, one JSON document last on stdout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pass_lsp.bench.outputs import here, writable
from pass_lsp.cli import options
from pass_lsp.config import Settings

if TYPE_CHECKING:
    from pass_lsp.engines.local import LocalEngine

app = typer.Typer(no_args_is_help=True, help="Measure decoding, latency and quality on this machine.")

JsonFile = Annotated[Path | None, typer.Option("--json", help="Also write the JSON document there.")]
Data = Annotated[Path | None, typer.Option(help="JSON lines with prompt, suffix, canonical_solution; .gz or not.")]


@app.command()
def decode(
    data: Data = None,
    holes: Annotated[int | None, typer.Option(min=1, help="Prompts of each kind; 20, or 6 with --study.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens an answer may have, 112 at most.")] = 96,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; the median counts.")] = 5,
    temperature: Annotated[
        list[float] | None, typer.Option(help="Several may be given; 0 and 0.8.", callback=options.temperature)
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads, for all alike; by the model's size.")] = None,
    study: Annotated[bool, typer.Option("--study", help="The paper's study: L, vectors, one model or two.")] = False,
    draft: Annotated[str | None, typer.Option(help="--study: a smaller model; cut from the model if none.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="--study: answers that the chi-square counts.")] = 1000,
    model: options.Model = "embedded",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    lookahead: options.Lookahead = "auto",
    trust_remote_code: options.TrustRemoteCode = False,
    plot: Annotated[Path | None, typer.Option(help="Also draw the figures there.")] = None,
    json_file: JsonFile = None,
) -> None:
    """Tokens per second and per forward: every strategy, and transformers' own loops, on the same weights."""
    from pass_lsp.bench.decode import Settings as Decoding
    from pass_lsp.bench.decode import bench_decode, run_study
    from pass_lsp.bench.pictures import draw
    from pass_lsp.bench.texts import code_holes, copy_holes, prose_holes

    writable(json_file, plot)
    wanted = holes or (6 if study else 20)
    if study:
        code = _holes(data, wanted) if data else code_holes(wanted)
        texts = {"code": code, "prose": prose_holes(wanted)}
    else:
        texts = {"fresh": _holes(data, wanted), "copy": copy_holes(wanted)}
    engine = options.local_engine(model, device, dtype, lookahead, trust_remote_code=trust_remote_code, threads=threads)
    settings = Decoding(max_new_tokens, repeats, tuple(temperature or (0.0, 0.8)), threads)
    found = run_study(engine, texts, settings, draft, samples) if study else bench_decode(engine, texts, settings)
    source = data.name if data else "held-out modules"
    found = {"bench": "study" if study else "decode", "data": source, **found}
    _report(found, json_file)
    if plot is not None:
        draw(found, plot)


@app.command()
def infill(
    data: Annotated[
        Path | None, typer.Option(help="Holes as JSON lines; or a folder of Python, or a heldout.jsonl.gz, to cut.")
    ] = None,
    holes: Annotated[int, typer.Option(min=1, help="How many to use; of cut ones two thirds more, apart.")] = 210,
    against: Annotated[str, typer.Option(metavar="MODEL", help="Another model, to compare with.")] = "",
    engine: options.Engine = "",
    engine_kind: options.EngineKind = "auto",
    engine_template: options.EngineTemplate = "auto",
    seed: Annotated[int, typer.Option(help="Which holes are cut.")] = 0,
    model: options.Model = "embedded",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    lookahead: options.Lookahead = "auto",
    trust_remote_code: options.TrustRemoteCode = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw the shares there.")] = None,
    json_file: JsonFile = None,
) -> None:
    """How often the model writes what was there, beside floors that need no model."""
    from pass_lsp.bench.infill import bench_infill
    from pass_lsp.bench.pictures import draw

    writable(json_file, plot)
    cut, said = _infill_holes(data, holes, seed)
    there = Settings(model, device, dtype, lookahead, trust_remote_code, engine, engine_kind, engine_template)

    def local(name: str) -> LocalEngine:
        return options.local_engine(name, device, dtype, lookahead, trust_remote_code=trust_remote_code)

    elsewhere = options.remote_engine(there) if engine else None
    name = elsewhere.peer.model if elsewhere else Path(model).name
    other = (Path(against).name, local(against)) if against else None
    found = bench_infill(elsewhere or local(model), cut, other)
    found = {"bench": "infill", "model": name, "data": said, **found}
    _report(found, json_file)
    if plot is not None:
        draw(found, plot)


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
    engine: options.Engine = "",
    engine_kind: options.EngineKind = "auto",
    engine_template: options.EngineTemplate = "auto",
    overhead: Annotated[bool, typer.Option(help="Also measure a server without a model.")] = True,
    fake: Annotated[bool, typer.Option("--fake", help="Replay against a server without a model.")] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw the answers there.")] = None,
    model: options.Model = "embedded",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    lookahead: options.Lookahead = "auto",
    trust_remote_code: options.TrustRemoteCode = False,
    json_file: JsonFile = None,
) -> None:
    """Type into the real server: milliseconds from a request to its answer, part by part."""
    from pass_lsp.bench.latency import bench_latency
    from pass_lsp.bench.plots import plot_latency
    from pass_lsp.bench.replay import Pace
    from pass_lsp.bench.traces import load_traces
    from pass_lsp.engines.echo import NAME

    writable(json_file, plot)
    given = ["--model", NAME if fake else model, "--device", device, "--dtype", dtype, "--lookahead", lookahead]
    given += ["--trust-remote-code"] if trust_remote_code else []
    if engine and not fake:
        given += ["--engine", engine, "--engine-kind", engine_kind, "--engine-template", engine_template]
    traces = load_traces(data, keystrokes)
    found, samples = bench_latency(given, traces, Pace(speed, wait_ms, pause_ms), overhead=overhead)
    _report({"bench": "latency", "data": data.name if data else "held-out modules", **found}, json_file)
    if plot is not None:
        plot_latency(samples, plot)


@app.command()
def load(
    url: Annotated[str, typer.Argument(metavar="URL", help="The engine's address (http, https, unix).")],
    typists: Annotated[
        list[int] | None, typer.Option(min=1, max=1000, help="How many type at once; several may be given; 1, 4, 16.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="How long each number of them types.")] = 20.0,
    speed: Annotated[float, typer.Option(min=0.1, max=100, help="Times as fast as a human.")] = 1.0,
    wait_ms: Annotated[float, typer.Option(min=0, help="How long a key must stand before it is asked.")] = 75.0,
    max_new_tokens: Annotated[int, typer.Option(min=1, max=1024, help="Tokens an answer may have.")] = 32,
    goal_ms: Annotated[float, typer.Option(min=1, help="The p99 that counts as served well.")] = 500.0,
    seed: Annotated[int, typer.Option(help="Of what is typed.")] = 0,
    data: Annotated[Path | None, typer.Option(help="A recorded trace (startContent, txns); .gz or not.")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw times and shares there.")] = None,
    model: Annotated[str, typer.Option(help="Its name there, where the engine serves several.")] = "",
    device: options.Unused = "",
    dtype: options.Unused = "",
    lookahead: options.Unused = "",
    engine_kind: options.EngineKind = "auto",
    engine_template: options.EngineTemplate = "auto",
    json_file: JsonFile = None,
) -> None:
    """Many type at once against an engine: throughput, latency, cancelled work, failures."""
    from pass_lsp.bench.load import Plan, bench_load
    from pass_lsp.bench.plots import plot_load
    from pass_lsp.bench.traces import read_trace

    writable(json_file, plot)
    there = Settings(model=model, engine=url, engine_kind=engine_kind, engine_template=engine_template)
    plan = Plan(tuple(typists or (1, 4, 16)), seconds, speed, wait_ms, max_new_tokens, seed, goal_ms)
    traces = [read_trace(data, 100_000)] if data else []
    found = bench_load(url, plan, options.wishes_of(there), traces)
    _report({"bench": "load", "data": data.name if data else "held-out modules", **found}, json_file)
    if plot is not None:
        plot_load(found["rows"], goal_ms, plot)


@app.command()
def typing(
    data: Annotated[Path | None, typer.Option(help="A recorded session: JSON with startContent and txns.")] = None,
    keystrokes: Annotated[int, typer.Option(min=2, help="How many to replay.")] = 3000,
    tokens: Annotated[int, typer.Option(min=64, help="Tokens that a prompt may have.")] = 2048,
    lines: Annotated[int, typer.Option(min=0, help="Pad each file to so many lines.")] = 0,
    model: options.Model = "embedded",
    device: options.Unused = "",
    dtype: options.Unused = "",
    lookahead: options.Unused = "",
    json_file: JsonFile = None,
) -> None:
    """Tokens that a keystroke makes the model read anew, and the cost of its context; needs no model."""
    from pass_lsp.bench.traces import load_traces
    from pass_lsp.bench.typing import bench_typing
    from pass_lsp.decoding.model import load_tokenizer
    from pass_lsp.engines.embedded import embedded_model

    writable(json_file)
    tokenizer = load_tokenizer(str(embedded_model()) if model == "embedded" else model, False)
    found = bench_typing(tokenizer, load_traces(data, keystrokes), tokens, lines)
    _report({"bench": "typing", "data": data.name if data else "held-out modules", **found}, json_file)


def _holes(data: Path | None, count: int) -> Any:
    from pass_lsp.bench.holes import held_out_holes, read_holes

    return read_holes(data, count) if data else held_out_holes(count)


def _infill_holes(data: Path | None, count: int, seed: int) -> tuple[Any, str]:
    """The holes, and in words where they come from."""
    from pass_lsp.bench.heldout import APART, cut_holes, installed_held_out, is_corpus, read_held_out
    from pass_lsp.bench.holes import read_holes

    if data is not None and not is_corpus(data):
        return read_holes(data, count), data.name
    held_out = read_held_out(data) if data is not None else installed_held_out()
    apart = [hole for kind in APART for hole in cut_holes(held_out, -(-count // 3), seed, (kind,))]
    return [*cut_holes(held_out, count, seed), *apart], " ".join(held_out.sources)


def _report(found: dict[str, Any], json_file: Path | None) -> None:
    from pass_lsp.bench.table import facts, shown, tables

    found, console = {**found, "where": here()}, Console(stderr=True)
    if not console.is_terminal:
        console = Console(stderr=True, width=240)  # nobody folds a file's lines
    console.print(facts(found), highlight=False, markup=False)
    for name, rows in tables(found):
        table = Table(title=name.replace("_", " "))
        for key in rows[0]:
            table.add_column(key.replace("_", " "), justify="left" if isinstance(rows[0][key], str) else "right")
        for row in rows:
            table.add_row(*(shown(row.get(key)) for key in rows[0]))
        console.print(table)
    text = json.dumps(found)
    typer.echo(text)
    if json_file is not None:
        json_file.write_text(text + "\n")
