"""A checkpoint of `train base`: weights, momenta, their mean and progress, replaced as one. Nothing is ever pickled."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from pass_lsp.errors import TrainError
from pass_lsp.train.average import MeanWeights


@dataclass
class Progress:
    """What a checkpoint remembers besides weights and momenta. `averaged`: the weights are a mean."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    next_example: int = 0
    earlier_tokens: int = 0
    averaged: bool = False


@dataclass
class State:
    """A run as it is now, which is what a checkpoint holds; `mean` is that of its last weights."""

    model: LlamaForCausalLM
    optimizers: list[torch.optim.Optimizer]
    mean: MeanWeights
    progress: Progress


def save(folder: Path, state: State) -> None:
    """Write the checkpoint beside `folder` and rename: a kill leaves the old one or the new one, never half of each."""
    fresh = folder.with_name("checkpoint.new")
    fresh.mkdir(parents=True, exist_ok=True)
    state.model.save_pretrained(str(fresh))
    tensors = {
        f"{i}.{j}.{key}": value.contiguous()
        for i, optimizer in enumerate((*state.optimizers, state.mean))
        for j, kept in optimizer.state_dict()["state"].items()
        for key, value in kept.items()
    }
    save_file(tensors, fresh / "optimizer.safetensors")
    (fresh / "progress.json").write_text(json.dumps(asdict(state.progress)))
    old = folder.with_name("checkpoint.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(fresh, folder)
    shutil.rmtree(old, ignore_errors=True)


def recover(folder: Path) -> None:
    """Undo the first of the two renames of `save`, if a kill came between them."""
    old = folder.with_name("checkpoint.old")
    if old.exists() and not folder.exists():
        os.replace(old, folder)


def read_progress(folder: Path) -> Progress | None:
    """How far the checkpoint in `folder` is; None when there is none. Raises `TrainError`."""
    found = folder / "progress.json"
    with whole(folder):
        return Progress(**json.loads(found.read_text())) if found.exists() else None


@contextmanager
def whole(folder: Path) -> Iterator[None]:
    """Reading what is in `folder` ends in a `TrainError` where it is damaged."""
    try:
        yield
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise  # the system's, not the file's
        raise TrainError(
            f"{folder} is damaged ({type(error).__name__}); put back a copy of it, or delete it to begin anew."
        ) from error


def restore(folder: Path, state: State) -> None:
    """Give the optimizers their momenta back, and the mean what it knew. Raises `TrainError`."""
    if not state.progress.step or not (folder / "optimizer.safetensors").exists():
        return
    with whole(folder):
        tensors = load_file(folder / "optimizer.safetensors")
    for i, optimizer in enumerate((*state.optimizers, state.mean)):
        kept: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            owner, index, key = name.split(".", 2)
            if int(owner) == i:
                kept.setdefault(int(index), {})[key] = tensor
        optimizer.load_state_dict({"state": kept, "param_groups": optimizer.state_dict()["param_groups"]})
