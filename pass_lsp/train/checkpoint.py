"""A checkpoint of `train base`: weights, momenta and progress, replaced as one. Nothing is ever pickled."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel


@dataclass
class Progress:
    """What a checkpoint remembers besides weights and momenta. `averaged`: the mean with the start was looked at."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    next_example: int = 0
    earlier_tokens: int = 0
    averaged: bool = False


def save(folder: Path, model: PreTrainedModel, optimizers: list[torch.optim.Optimizer], progress: Progress) -> None:
    """Write the checkpoint beside `folder` and rename: a kill leaves the old one or the new one, never half of each."""
    fresh = folder.with_name("checkpoint.new")
    fresh.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(str(fresh))
    tensors = {
        f"{i}.{j}.{key}": value.contiguous()
        for i, optimizer in enumerate(optimizers)
        for j, state in optimizer.state_dict()["state"].items()
        for key, value in state.items()
    }
    save_file(tensors, fresh / "optimizer.safetensors")
    (fresh / "progress.json").write_text(json.dumps(asdict(progress)))
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
    """How far the checkpoint in `folder` is; None when there is none."""
    found = folder / "progress.json"
    return Progress(**json.loads(found.read_text())) if found.exists() else None


def restore(folder: Path, optimizers: list[torch.optim.Optimizer], progress: Progress) -> None:
    """Give the optimizers their momenta back."""
    if not progress.step or not (folder / "optimizer.safetensors").exists():
        return
    tensors = load_file(folder / "optimizer.safetensors")
    for i, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            owner, index, key = name.split(".", 2)
            if int(owner) == i:
                state.setdefault(int(index), {})[key] = tensor
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
