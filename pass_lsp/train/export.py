"""A finished run → a plain Hugging Face directory: bfloat16 weights, tokenizer, and what the training was."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM

from pass_lsp.errors import TrainError
from pass_lsp.train import manifest
from pass_lsp.train.checkpoint import read_progress, whole
from pass_lsp.train.tokenizer import characters_per_token, read_tokenizer

MAX_HISTORY = 12


def export_model(run: Path, corpus: Path, tokenizer: Path, out: Path) -> dict[str, Any]:
    """Write `out` from the last checkpoint of `run`; `training.json` holds what a card states and a later run needs.

    `corpus` may be the folder of the corpus, or one that holds its manifest alone.
    """
    progress = read_progress(run / "checkpoint")
    if progress is None:
        raise TrainError(f"{run} holds no checkpoint; run `pass-lsp train base` first.")
    text = read_tokenizer(tokenizer)
    manifest.same_inputs(run / "run.json", {"tokenizer_sha256": manifest.file_hash(tokenizer / "tokenizer.json")})
    evaluations = _evaluations(run / "log.jsonl")
    known = manifest.read(corpus / "manifest.json")
    if known is None:
        raise TrainError(f"{corpus} holds no manifest.json; give the folder that `pass-lsp train corpus` wrote.")
    with whole(run / "checkpoint"):
        model = LlamaForCausalLM.from_pretrained(str(run / "checkpoint"), dtype=torch.float32)
    begun = manifest.read(run / "run.json") or {}
    facts = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "tokens": progress.tokens + progress.earlier_tokens,
        "next_example": progress.next_example,
        "heldout_loss": evaluations[-1]["loss"],
        "heldout_middle_loss": evaluations[-1]["middle_loss"],
        "characters_per_token": characters_per_token(text, corpus),
        "corpus_sha256": known["train"]["sha256"],
        "corpus": _corpus(known),
        "history": _history(evaluations),
        "run": {"seconds": progress.seconds}
        | {key: begun[key] for key in ("size", "plan", "versions") if key in begun},
    }
    out.mkdir(parents=True, exist_ok=True)
    model.bfloat16().save_pretrained(str(out))
    # Safetensors leaves a file that nobody else may read.
    (out / "model.safetensors").chmod((out / "config.json").stat().st_mode)
    text.save_pretrained(str(out))
    manifest.write(out / "training.json", facts)
    return facts


def _evaluations(log: Path) -> list[dict[str, Any]]:
    """The lines of a log; half a line is what a kill or a full disk left. Raises `TrainError` where there is none."""
    found: list[dict[str, Any]] = []
    for line in log.read_text("utf-8").splitlines() if log.exists() else ():
        with suppress(ValueError):
            found.append(json.loads(line))
    if not found:
        raise TrainError(f"{log} holds no evaluation; run `pass-lsp train base` again, which adds one.")
    return found


def _corpus(known: dict[str, Any]) -> dict[str, Any]:
    told = {key: known[key] for key in ("source_cap", "overlap") if key in known}
    added = known.get("installed", {})
    return {
        "files": known["train"].get("files", 0),
        "characters": known["train"].get("bytes", 0),
        "sources": len(known.get("sources", ())) + len(added.get("sources", ())),
        "dropped": known.get("dropped", {}),
        **told,
    }


def _history(evaluations: list[dict[str, Any]]) -> list[list[Any]]:
    """[tokens, loss, loss of the middles] of at most `MAX_HISTORY` evaluations, the last among them.

    A run that was over when it was called again said the same once more.
    """
    rows = [[row["tokens"], row["loss"], row["middle_loss"]] for row in evaluations]
    rows = [row for row, _ in groupby(rows)]
    step = -(-len(rows) // MAX_HISTORY)
    return rows[::-1][::step][::-1]
