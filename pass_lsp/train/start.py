"""What a run goes on from, where it fits: of `train base` exported weights, of `train lookahead` an artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from pass_lsp.decoding.lookahead import Lookahead, load_lookahead
from pass_lsp.errors import TrainError
from pass_lsp.train import manifest
from pass_lsp.train.sizes import deepened, saved_model
from pass_lsp.train.tokenizer import read_tokenizer

_KEPT = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")
"""What of a size a run cannot change in weights that are there; it can add layers."""


def start_facts(folder: Path, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """What `train export` stated of the weights in `folder`. Raises `TrainError`, also for another tokenizer's."""
    facts = manifest.read(folder / "training.json")
    if facts is None or not (folder / "tokenizer.json").exists():
        missing = "training.json" if facts is None else "tokenizer.json"
        raise TrainError(f"{folder} holds no {missing}; give a folder that `train export` wrote.")
    if read_tokenizer(folder).get_vocab() != tokenizer.get_vocab():
        raise TrainError(f"{folder} was trained with another tokenizer; give --tokenizer {folder}.")
    return facts


def started(folder: Path, size: dict[str, Any], device: torch.device) -> LlamaForCausalLM:
    """The weights in `folder` on `device`, with as many layers as `size` has. Raises `TrainError` where they differ."""
    model = saved_model(folder, device)
    for key in _KEPT:
        if (had := getattr(model.config, key)) != size[key]:
            raise TrainError(f"{folder} has {key} {had}, this --size {size[key]}; a size may add layers, nothing else.")
    return deepened(model, size["num_hidden_layers"]).to(device)  # type: ignore[arg-type, return-value]


def artifact(folder: Path, width: int, **wanted: int | None) -> Lookahead | None:
    """The artifact in `folder`, if there is one. Raises `TrainError` where a part that it has is not as `wanted`."""
    if not (folder / "manifest.json").exists():
        return None
    found = load_lookahead(folder, width)
    rank = next((len(a) for a, _ in found.lora.values()), None)
    has = {"length": found.length, "rank": rank, "head": None if found.head is None else True}
    for key, value in wanted.items():
        if value is not None and has[key] not in (None, value):
            raise TrainError(f"{folder} has {key} {has[key]}, not {value}; give another --out, or leave that out.")
    return found
