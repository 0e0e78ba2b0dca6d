"""The sizes of `sizes.json`, as stock transformers models: new ones, saved ones, and how large they are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from copy import deepcopy
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pass_lsp.errors import TrainError
from pass_lsp.train.attention import attention
from pass_lsp.train.tokenizer import END, PAD

_NOT_SHAPE = frozenset({"sequence", "long_sequence", "rows", "muon_lr", "adam_lr", "vocab_size"})
_LAYER = re.compile(r"model\.layers\.(\d+)\.")
_OUTPUTS = ("o_proj.weight", "down_proj.weight")


def all_sizes() -> dict[str, dict[str, Any]]:
    """Every size by name: the shape of the model, and how it is trained."""
    return json.loads(resources.files("pass_lsp.train").joinpath("sizes.json").read_text())


def size_named(name: str) -> dict[str, Any]:
    """One size. Raises `TrainError`."""
    sizes = all_sizes()
    if name not in sizes:
        raise TrainError(f"Unknown size {name!r}; use one of {', '.join(sizes)}.")
    return sizes[name]


def shapes(size: dict[str, Any]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and their length: of most batches of a run, and of its last."""
    rows, short, long = size["rows"], size["sequence"], size["long_sequence"]
    return (rows, short), (max(1, rows * short // long), long)


def parameters(size: dict[str, Any]) -> int:
    """How many parameters a model of this size has with its own vocabulary, without building one."""
    width, layers = size["hidden_size"], size["num_hidden_layers"]
    head = width // size["num_attention_heads"]
    attend = 2 * width * width + 2 * width * head * size["num_key_value_heads"]
    layer = attend + 3 * width * size["intermediate_size"] + 2 * width
    return size["vocab_size"] * width + layers * layer + width


def new_model(size: dict[str, Any], tokenizer: PreTrainedTokenizerFast, device: torch.device) -> LlamaForCausalLM:
    """A model that has learned nothing yet; its vocabulary is the tokenizer's."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        tie_word_embeddings=True,
        max_position_embeddings=size["long_sequence"],
        bos_token_id=None,
        eos_token_id=tokenizer.get_vocab()[END],
        pad_token_id=tokenizer.get_vocab()[PAD],
        **{key: value for key, value in size.items() if key not in _NOT_SHAPE},
    )
    model = LlamaForCausalLM(config)
    model.set_attn_implementation(attention(device))
    _initialize(model)
    return model


def saved_model(folder: Path, device: torch.device) -> LlamaForCausalLM:
    """The model of a checkpoint or a model directory, in float32, to be trained on."""
    return LlamaForCausalLM.from_pretrained(str(folder), dtype=torch.float32, attn_implementation=attention(device))


@torch.no_grad()
def deepened(model: LlamaForCausalLM, layers: int) -> LlamaForCausalLM:
    """`model` with `layers` layers, which says the same: every new one is a copy of the one below and adds nothing yet.

    Copies learn faster than layers that know nothing (Wu et al. 2024, "LLaMA Pro", section 3). Raises `TrainError`
    where the model has more layers already.
    """
    had = model.config.num_hidden_layers
    if layers < had:
        raise TrainError(f"That model has {had} layers, which is more than the {layers} of this --size.")
    if layers == had:
        return model
    config = deepcopy(model.config)
    config.num_hidden_layers = layers
    deeper = LlamaForCausalLM(config)
    deeper.set_attn_implementation(attention(model.device))
    known, sources = model.state_dict(), _sources(had, layers)
    for name, parameter in deeper.named_parameters():
        at = _layer_of(name)
        if at is not None and sources.index(sources[at]) < at and name.endswith(_OUTPUTS):
            parameter.zero_()
        else:
            parameter.copy_(known[name if at is None else _in_layer(name, sources[at])])
    return deeper.to(model.device)  # type: ignore[arg-type]


def spread(parts: Mapping[str, Any], layers: int) -> dict[str, Any]:
    """What belongs to the layers of a model, by module path, on the layers that `deepened` has made them."""
    found = [at for path in parts if (at := _layer_of(path)) is not None]
    had = max(found, default=-1) + 1
    sources = _sources(had, layers) if 0 < had < layers else [*range(had)]
    placed = ((path, _layer_of(path), part) for path, part in parts.items())
    return {path if at is None else _in_layer(path, sources.index(at)): part for path, at, part in placed}


def _sources(had: int, layers: int) -> list[int]:
    """For each of `layers` layers which of the `had` ones it is, or is a copy of where that came before."""
    return [((at + 1) * had - 1) // layers for at in range(layers)]


def _layer_of(name: str) -> int | None:
    found = _LAYER.match(name)
    return int(found[1]) if found else None


def _in_layer(name: str, at: int) -> str:
    return _LAYER.sub(f"model.layers.{at}.", name)


@torch.no_grad()
def _initialize(model: LlamaForCausalLM) -> None:
    # Output projections start at zero, so that every block starts as the identity.
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2 and "embed" not in name:
            parameter.normal_(std=0.0 if name.endswith(_OUTPUTS) else parameter.size(1) ** -0.5)
