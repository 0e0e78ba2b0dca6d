"""The whole training in slices, on a machine that is lent for minutes and holds nothing but torch.

    at home    python -m pass_lsp.train.slices pack  --corpus C --tokenizer T --out BOX
    away       python -m pass_lsp.train.slices train --box BOX --out OUT --size base --minutes 24 --slice-minutes 8
               … and once with --last, which ends the run with that slice, whatever --minutes says
               python -m pass_lsp.train.slices more  --out OUT --first 4
    at home    python -m pass_lsp.train.slices join  --parts OUT [OUT2 …] --run RUN

Every command is bounded in time, in the size of what it is given and in the size of what it
leaves. What must be larger travels in several: parts wait in `--work` until all are there.
The training goes on where the last slice ended while `--work` lasts; on a fresh machine, from
the parts that the last slice left, given with `--box`. A killed slice goes on from its last
checkpoint. Needs torch, transformers, tokenizers, safetensors and numpy; run from a checkout.
`docs/lent-gpu.md` is a plan for fifteen minutes, with look-ahead, tests and figures.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from pass_lsp.cores import cores
from pass_lsp.errors import TrainError, sentence
from pass_lsp.train import manifest
from pass_lsp.train.base import Plan, train_base
from pass_lsp.train.checkpoint import read_progress, recover
from pass_lsp.train.installed import add_installed
from pass_lsp.train.lock import alone
from pass_lsp.train.pack import pack_corpus, pack_run, progress_of, unpack_corpus, unpack_run
from pass_lsp.train.parts import MIB, collect, join, select, split

STATE = "state"
RESERVE_SHARE = 0.06
"""The share of a slice that is kept for packing what it leaves."""
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def pack(args: argparse.Namespace) -> dict[str, Any]:
    """At home: corpus and tokenizer into parts."""
    return pack_corpus(args.corpus, args.tokenizer, args.out, int(args.part_mib * MIB))


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Away: one slice; leaves as much of its state as may travel."""
    with alone(args.work):
        return _train(args)


def _train(args: argparse.Namespace) -> dict[str, Any]:
    began = time.monotonic()
    box, corpus, run = args.work / "box", args.work / "corpus", args.work / "run"
    collect(args.box, box)
    if not (corpus / "manifest.json").exists():
        unpack_corpus(box, corpus)
    _resume(box, run)
    added = add_installed(corpus, int(args.source_cap_mb * 1e6), args.workers or 1) if args.installed else None
    left = args.slice_minutes * (1 - RESERVE_SHARE) - (time.monotonic() - began) / 60
    plan = Plan(
        corpus,
        box,
        run,
        args.size,
        args.minutes,
        args.start_from,
        args.threads,
        args.seed,
        args.device,
        args.compiled,
        args.checkpoint_seconds,
        args.million_tokens,
        max(0.0, left),
        args.workers,
        args.rate,
        args.last,
    )
    last = train_base(plan)
    _leave(args, corpus, run, over=last["done"] >= 1)
    return {**last, "installed": added and added["files"], **more(args)}


def more(args: argparse.Namespace) -> dict[str, Any]:
    """Away: the parts of the state from number `--first` on, as many as may travel."""
    folder = args.work / STATE
    statement = manifest.read(folder / f"{STATE}.json")
    if statement is None:
        raise TrainError(f"{folder} holds no state; run a slice first.")
    paths = [folder / f"{STATE}.json", *(folder / part["file"] for part in statement["parts"])]
    chosen = select(paths, args.first, args.max_files, int(args.max_mib * MIB))
    if paths[1 + args.first :] and len(chosen) == 1:
        raise TrainError(
            f"Not one part may travel with --max-files {args.max_files} and --max-mib {args.max_mib:g}; "
            "give larger limits, or run a slice with a smaller --part-mib."
        )
    args.out.mkdir(parents=True, exist_ok=True)
    for path in chosen:
        shutil.copyfile(path, args.out / path.name)
    after = args.first + len(chosen) - 1
    return {
        "parts": len(paths) - 1,
        "left": [path.name for path in chosen],
        "next": after if paths[after + 1 :] else None,
    }


def join_run(args: argparse.Namespace) -> dict[str, Any]:
    """At home: the run that the parts hold, ready for `train export` and `train base`; its corpus's manifest beside."""
    gathered = args.run.with_name(f"{args.run.name}.parts")
    collect(args.parts, gathered)
    if (ahead := -_steps_ahead(gathered, args.run)) > 0:
        raise TrainError(f"{args.run} holds a run that is {ahead} steps further than these parts; give another --run.")
    statement = _restored(gathered, args.run)
    manifest.write(args.run / "manifest.json", statement["corpus"])
    shutil.rmtree(gathered)
    return json.loads(statement["progress"])


def _resume(box: Path, run: Path) -> None:
    """Take the state out of the box if it is further than what is here."""
    recover(run / "checkpoint")
    if _steps_ahead(box, run) > 0:
        _restored(box, run)


def _steps_ahead(box: Path, run: Path) -> int:
    """How much further the state in the box is than what is here; nothing where there is none in the box."""
    here, arrived = read_progress(run / "checkpoint"), manifest.read(box / f"{STATE}.json")
    return progress_of(arrived) - (here.step if here else -1) if arrived is not None else 0


def _restored(folder: Path, run: Path) -> dict[str, Any]:
    whole = folder / f"{STATE}.safetensors"
    statement = join(folder, STATE, whole)
    unpack_run(whole, run)
    whole.unlink()
    return statement


def _leave(args: argparse.Namespace, corpus: Path, run: Path, over: bool) -> None:
    """A run that is over leaves its weights alone: its momenta are more than these, and nothing goes on with them."""
    whole = args.work / f"{STATE}.safetensors"
    pack_run(run, whole, _DTYPES[args.precision], momenta=not over)
    facts = {
        "precision": args.precision,
        "progress": (run / "checkpoint" / "progress.json").read_text("utf-8"),
        "corpus": manifest.read(corpus / "manifest.json"),
    }
    split(whole, args.work / STATE, STATE, int(args.part_mib * MIB), facts)
    whole.unlink()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pass_lsp.train.slices",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True)
    at_home = commands.add_parser("pack", help=pack.__doc__)
    at_home.set_defaults(run_command=pack)
    for name in ("--corpus", "--tokenizer", "--out"):
        at_home.add_argument(name, type=Path, required=True)
    at_home.add_argument("--part-mib", type=_size, default=15.0, help="the largest part")
    away = commands.add_parser("train", help=train.__doc__)
    away.set_defaults(run_command=train, first=0)
    _training_options(away)
    rest = commands.add_parser("more", help=more.__doc__)
    rest.set_defaults(run_command=more)
    rest.add_argument("--first", type=_count, required=True, help="the number of the first part to leave")
    for command in (away, rest):
        command.add_argument("--out", type=Path, required=True, help="where to leave parts")
        command.add_argument("--work", type=Path, default=Path(".cache/slices"), help="what lasts between commands")
        command.add_argument("--max-files", type=_count, default=8, help="the most files to leave")
        command.add_argument("--max-mib", type=_size, default=63.0, help="the most to leave, together")
    back = commands.add_parser("join", help=join_run.__doc__)
    back.set_defaults(run_command=join_run)
    back.add_argument("--parts", type=Path, nargs="+", required=True)
    back.add_argument("--run", type=Path, required=True)
    return parser


def _training_options(away: argparse.ArgumentParser) -> None:
    add = away.add_argument
    add("--box", type=Path, nargs="*", default=[], help="folders with parts that have arrived")
    add("--size", default="base", help="a row of sizes.json; base")
    add("--minutes", type=_amount, default=24.0, help="training time of the whole run; 24")
    add("--million-tokens", type=_amount, help="the length of the run in tokens instead")
    add("--slice-minutes", type=_amount, default=9.0, help="how long this command may take, all in all; 9")
    add("--last", action="store_true", help="the run ends with this slice, whatever --minutes says")
    add("--checkpoint-seconds", type=_amount, default=120.0, help="time between two checkpoints; 120")
    add("--start-from", type=Path, help="an exported model to go on from")
    add("--rate", type=_amount, default=1.0, help="times the size's learning rates; going on needs less")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    add("--compiled", action="store_true", help="compile the model, which takes a minute or so of each slice")
    add("--workers", type=_count, default=max(0, cores() - 2), help="processes that make batches")
    add("--threads", type=_threads, default=1, help="CPU threads")
    add("--seed", type=int, default=0, help="of what is drawn at random")
    add("--installed", action="store_true", help="also learn from the packages installed there")
    add("--source-cap-mb", type=_size, default=8.0, help="the most that one installed package may bring; 8")
    add("--precision", choices=_DTYPES, default="bfloat16", help="of the weights and momenta that travel")
    add("--part-mib", type=_size, default=15.0, help="the largest part; 15")


def _at_least(least: float, kind: type[float]) -> Callable[[str], Any]:
    def number(text: str) -> float:
        if not least <= (value := kind(text)) < math.inf:
            raise argparse.ArgumentTypeError(f"{text} is out of range; give {least:g} or more")
        return value

    return number


_amount, _size = _at_least(0.0, float), _at_least(0.001, float)
_count, _threads = _at_least(0, int), _at_least(1, int)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the last line on stdout is its JSON, a failure is one sentence on stderr."""
    logging.basicConfig(format="%(message)s")
    args = _parser().parse_args(arguments)
    try:
        sys.stdout.write(json.dumps(args.run_command(args)) + "\n")
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        sys.stderr.write(f"{sentence(error)}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
