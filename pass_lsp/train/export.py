"""A finished run → a plain Hugging Face directory: bfloat16 weights, tokenizer, and what the training was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM

from pass_lsp.errors import TrainError
from pass_lsp.train.tokenizer import read_tokenizer


def export_model(run: Path, corpus: Path, tokenizer: Path, out: Path) -> dict[str, Any]:
    """Write `out` from the last checkpoint of `run`; `training.json` holds what a card states and a later run needs."""
    progress_file = run / "checkpoint" / "progress.json"
    if not progress_file.exists():
        raise TrainError(f"{run} holds no checkpoint; run `pass-lsp train base` first.")
    progress = json.loads(progress_file.read_text())
    evaluations = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    if not (corpus / "manifest.json").exists():
        raise TrainError(f"{corpus} holds no manifest.json; give the folder that `pass-lsp train corpus` wrote.")
    manifest = json.loads((corpus / "manifest.json").read_text())
    model = LlamaForCausalLM.from_pretrained(str(run / "checkpoint"), dtype=torch.float32)
    facts = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "tokens": progress["tokens"] + progress["earlier_tokens"],
        "next_example": progress["next_example"],
        "heldout_loss": evaluations[-1]["loss"],
        "heldout_middle_loss": evaluations[-1]["middle_loss"],
        "corpus_sha256": manifest["train"]["sha256"],
    }
    out.mkdir(parents=True, exist_ok=True)
    model.bfloat16().save_pretrained(str(out))
    read_tokenizer(tokenizer).save_pretrained(str(out))
    (out / "training.json").write_text(json.dumps(facts, indent=1) + "\n")
    return facts
