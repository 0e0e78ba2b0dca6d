"""`pass-lsp train …`: from package names to a shipped model, step by step; every step resumes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from pass_lsp.train.lock import alone

app = typer.Typer(no_args_is_help=True, help="Train the embedded model, or look-ahead embeddings for any model.")

Out = Annotated[Path, typer.Option(help="The folder to write; an unfinished run there goes on.")]
Corpus = Annotated[Path, typer.Option(help="The folder that `train corpus` wrote.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads.")]
Minutes = Annotated[float, typer.Option(min=0.0, help="How long to train.")]
Rate = Annotated[float, typer.Option(min=0.0, help="Times the usual learning rates; going on needs less.")]
Seed = Annotated[int, typer.Option(help="Of what is drawn at random.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes that prepare text beside the main one.")]
Tokenizer = Annotated[Path, typer.Option(help="The folder that `train tokenizer` wrote.")]


@app.command()
def corpus(
    out: Out,
    wheels: Annotated[Path, typer.Option(help="Where package wheels are kept.")] = Path(".cache/train/wheels"),
    source_cap_mb: Annotated[
        float, typer.Option(min=0.1, help="The most text that one package may bring, in MB.")
    ] = 8.0,
    seed: Seed = 0,
    workers: Workers = 1,
) -> None:
    """Step 1: collect, filter and split Python source."""
    from pass_lsp.train.corpus import build_corpus

    with alone(out):
        facts = build_corpus(out, wheels, int(source_cap_mb * 1e6), seed, workers)
    told = ("train", "heldout", "dropped", "overlap")
    typer.echo(json.dumps({key: facts[key] for key in told if key in facts}))


@app.command()
def tokenizer(
    corpus: Corpus,
    out: Out,
    vocab_size: Annotated[int, typer.Option(min=264, help="Number of tokens; 264 are bytes and markers.")] = 8192,
) -> None:
    """Step 2: train the tokenizer."""
    from pass_lsp.train.tokenizer import train_tokenizer

    with alone(out):
        made = train_tokenizer(corpus, out, vocab_size)
    typer.echo(json.dumps({"vocab_size": len(made)}))


@app.command()
def base(
    corpus: Corpus,
    tokenizer: Tokenizer,
    out: Out,
    size: Annotated[str, typer.Option(help="A row of sizes.json: toy, cpu, small, base.")] = "cpu",
    minutes: Minutes = 60.0,
    million_tokens: Annotated[float | None, typer.Option(min=0.0, help="The run's length in tokens instead.")] = None,
    slice_minutes: Annotated[
        float | None, typer.Option(min=0.0, help="Stop after so long; the next call goes on.")
    ] = None,
    start_from: Annotated[Path | None, typer.Option(help="An exported model to go on from.")] = None,
    rate: Rate = 1.0,
    threads: Threads = 1,
    device: Device = "cpu",
    compiled: Annotated[bool, typer.Option(help="Compile the model (a C++ compiler is needed).")] = False,
    workers: Workers = 0,
    seed: Seed = 0,
) -> None:
    """Step 3: train the model."""
    from pass_lsp.train.base import Plan, train_base

    plan = Plan(corpus, tokenizer, out, size, minutes, start_from, threads, seed, device, compiled)
    plan = replace(plan, million_tokens=million_tokens, slice_minutes=slice_minutes, workers=workers, rate=rate)
    with alone(out):
        last = train_base(plan)
    typer.echo(json.dumps(last))


@app.command()
def export(
    run: Annotated[Path, typer.Option(help="The folder that `train base` wrote.")],
    corpus: Corpus,
    tokenizer: Tokenizer,
    out: Annotated[Path, typer.Option(help="The model directory to write.")],
) -> None:
    """Step 4: write the trained model as a Hugging Face directory, in bfloat16."""
    from pass_lsp.train.export import export_model

    with alone(out):
        facts = export_model(run, corpus, tokenizer, out)
    typer.echo(json.dumps(facts))


@app.command()
def lookahead(
    model: Annotated[str, typer.Option(help="A Hugging Face causal LM directory; it stays as it is.")],
    data: Annotated[Path, typer.Option(help="A corpus folder, or any folder of Python files.")],
    out: Out,
    length: Annotated[
        int | None, typer.Option(min=1, max=64, help="L, the number of look-ahead embeddings; 4.")
    ] = None,
    head: Annotated[bool | None, typer.Option(help="Also a head that knows the token before; yes.")] = None,
    rank: Annotated[
        int | None, typer.Option(min=0, help="Rank of a LoRA that look-ahead rows alone see; 0: none; 16.")
    ] = None,
    minutes: Minutes = 10.0,
    rate: Rate = 1.0,
    threads: Threads = 1,
    device: Device = "auto",
    seed: Seed = 0,
) -> None:
    """Step 5: train a look-ahead artifact for a frozen model: embeddings, and what the options add to them.

    An artifact in the folder is trained on; parts that it lacks are added to it. One of another length or
    rank than is given is refused.
    """
    from pass_lsp.train.lookahead import Plan, train_lookahead

    plan = Plan(
        model, data, out, length, minutes, rate=rate, head=head, rank=rank, threads=threads, device=device, seed=seed
    )
    with alone(out):
        facts = train_lookahead(plan)
    typer.echo(json.dumps(facts))


@app.command()
def card(
    model: Annotated[Path, typer.Option(help="The model directory whose README.md is written.")],
    measured: Annotated[
        list[Path] | None, typer.Option(help="What `pass-lsp bench … --json FILE` wrote; may be given several times.")
    ] = None,
    footprint: Annotated[bool, typer.Option(help="Measure memory and the first completion now.")] = False,
) -> None:
    """Step 6: write the model card from what was measured."""
    from pass_lsp.train.card import write_card

    given = list(measured or ())
    with TemporaryDirectory() as folder:
        if footprint:
            from pass_lsp.bench.footprint import bench_footprint

            given.append(Path(folder) / "footprint.json")
            given[-1].write_text(json.dumps(bench_footprint(str(model))))
        figures = write_card(model, given)
    typer.echo(json.dumps({"card": str(model / "README.md"), "measured": sorted(figures)}))


@app.command()
def sources(
    corpus: Annotated[Path, typer.Option(help="The folder that holds the corpus's manifest.json.")],
    model: Annotated[str, typer.Option(help="The name of the model that was trained on it.")] = "pass-cpu",
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("THIRD_PARTY.md"),
) -> None:
    """List every source that a model was trained on, with its licence."""
    from pass_lsp.train.sources import write_sources

    typer.echo(json.dumps(write_sources(corpus, model, out)))
