"""Step 3, `train base`: a small Llama-type code model, from nothing or from earlier weights.

A run lasts a given time: warm-up, constant rate, linear decay over the last part.
It can be killed at any moment and goes on from its last checkpoint when started
again; a later run with other minutes goes on from exported weights. Every
evaluation appends one JSON line to `log.jsonl`. Nothing here is ever pickled.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pass_lsp.decoding.model import choose_device
from pass_lsp.errors import TrainError
from pass_lsp.train.corpus import read_corpus
from pass_lsp.train.fim import Batch, Examples, Packer
from pass_lsp.train.optimizer import optimizers
from pass_lsp.train.tokenizer import END, PAD, read_tokenizer

WARMUP_STEPS = 30
DECAY_SHARE = 0.35
EVAL_ROWS = 16


@dataclass
class Progress:
    """What a checkpoint remembers besides weights and momenta."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    next_example: int = 0
    earlier_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """One training run: where from, where to, how long."""

    corpus: Path
    tokenizer: Path
    out: Path
    size: str = "cpu"
    minutes: float = 60.0
    start_from: Path | None = None
    threads: int = 1
    seed: int = 0
    device: str = "cpu"
    compiled: bool = False
    checkpoint_every: float = 300.0


def train_base(plan: Plan) -> dict[str, Any]:
    """Train until the plan's minutes are used up; returns the last evaluation."""
    torch.set_num_threads(plan.threads)
    torch.manual_seed(plan.seed)
    size = _size(plan.size)
    tokenizer = read_tokenizer(plan.tokenizer)
    _recover(plan.out / "checkpoint")
    model, progress = _model(plan, size, tokenizer)
    plan = replace(plan, device=str(choose_device(plan.device)))
    model.to(torch.device(plan.device))  # type: ignore[arg-type]
    made = optimizers(model, size["muon_lr"], size["adam_lr"])
    _restore(plan.out / "checkpoint", made, progress)
    length, rows = size["sequence"], size["rows"]
    packer = Packer(
        Examples(read_corpus(plan.corpus), tokenizer, length, plan.seed + 1), rows, length, progress.next_example
    )
    validation = _validation(plan.corpus, tokenizer, length)
    loss_of = torch.compile(_loss) if plan.compiled else _loss
    return _run(plan, model, made, progress, packer, validation, loss_of)


def _run(
    plan: Plan,
    model: LlamaForCausalLM,
    made: list[torch.optim.Optimizer],
    progress: Progress,
    packer: Packer,
    validation: list[Batch],
    loss_of: Callable[..., torch.Tensor],
) -> dict[str, Any]:
    total, saved = plan.minutes * 60, time.monotonic()
    bar = tqdm(total=round(total), initial=round(progress.seconds), unit="s", desc=plan.size)
    while progress.seconds < total:
        began = time.monotonic()
        batch = packer.batch()
        loss = loss_of(model, *_on(batch, plan.device))
        loss.backward()
        _step(model, made, _rate(progress, total))
        progress.step += 1
        progress.tokens += int((batch.weights > 0).sum())
        progress.next_example = packer.next_index
        progress.seconds += time.monotonic() - began
        bar.set_postfix(loss=f"{loss.item():.3f}", tokens=f"{progress.tokens / 1e6:.2f}M", refresh=False)
        bar.update(round(progress.seconds) - bar.n)
        if time.monotonic() - saved > plan.checkpoint_every:
            _evaluate(plan, model, progress, validation, loss.item())
            _save(plan.out / "checkpoint", model, made, progress)
            saved = time.monotonic()
    bar.close()
    _save(plan.out / "checkpoint", model, made, progress)
    return _evaluate(plan, model, progress, validation, None)


def _loss(model: LlamaForCausalLM, ids: torch.Tensor, weights: torch.Tensor, *shape: torch.Tensor) -> torch.Tensor:
    """Weighted mean cross-entropy in nats; `weights` `[B, T]`, the rest as in `_losses`."""
    wanted = weights[:, 1:].flatten()
    return (_losses(model, ids, *shape) * wanted).sum() / wanted.sum()


def _losses(model: LlamaForCausalLM, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each next token, `[B·(T-1)]`; ids and positions `[B, T]`, mask `[B, 1, T, T]`."""
    hidden = model.model(input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[:, :-1]).flatten(0, 1).float()  # [B·(T-1), V]
    return F.cross_entropy(logits, ids[:, 1:].flatten(), reduction="none")


def _on(batch: Batch, device: str) -> tuple[torch.Tensor, ...]:
    return tuple(t.to(device) for t in (batch.input_ids, batch.weights, batch.position_ids, batch.mask))


def _rate(progress: Progress, total: float) -> float:
    warm = min(1.0, (progress.step + 1) / WARMUP_STEPS)
    left = 1.0 - progress.seconds / total
    return warm * min(1.0, left / DECAY_SHARE)


def _step(model: LlamaForCausalLM, made: list[torch.optim.Optimizer], rate: float) -> None:
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in made:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def _size(name: str) -> dict[str, Any]:
    sizes = json.loads(resources.files("pass_lsp.train").joinpath("sizes.json").read_text())
    if name not in sizes:
        raise TrainError(f"Unknown size {name!r}; use one of {', '.join(sizes)}.")
    return sizes[name]


def _model(plan: Plan, size: dict[str, Any], tokenizer: PreTrainedTokenizerFast) -> tuple[LlamaForCausalLM, Progress]:
    checkpoint = plan.out / "checkpoint"
    if (checkpoint / "progress.json").exists():
        model = LlamaForCausalLM.from_pretrained(str(checkpoint), dtype=torch.float32)
        return model, Progress(**json.loads((checkpoint / "progress.json").read_text()))
    if plan.start_from is not None:
        if not (plan.start_from / "training.json").exists():
            raise TrainError(f"{plan.start_from} holds no training.json; give a folder that `train export` wrote.")
        model = LlamaForCausalLM.from_pretrained(str(plan.start_from), dtype=torch.float32)
        past = json.loads((plan.start_from / "training.json").read_text())
        return model, Progress(next_example=past["next_example"], earlier_tokens=past["tokens"])
    shape = {
        key: value for key, value in size.items() if key not in ("sequence", "rows", "muon_lr", "adam_lr", "vocab_size")
    }
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        tie_word_embeddings=True,
        max_position_embeddings=size["sequence"],
        bos_token_id=None,
        eos_token_id=tokenizer.get_vocab()[END],
        pad_token_id=tokenizer.get_vocab()[PAD],
        **shape,
    )
    model = LlamaForCausalLM(config)
    _initialize(model)
    return model, Progress()


@torch.no_grad()
def _initialize(model: LlamaForCausalLM) -> None:
    # Output projections start at zero, so that every block starts as the identity.
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2 and "embed" not in name:
            parameter.normal_(
                std=0.0 if name.endswith(("o_proj.weight", "down_proj.weight")) else parameter.size(1) ** -0.5
            )


def _validation(corpus: Path, tokenizer: PreTrainedTokenizerFast, length: int) -> list[Batch]:
    heldout = corpus / "heldout.jsonl.gz"
    if not heldout.exists():
        return []
    packer = Packer(Examples(read_corpus(heldout), tokenizer, length, seed=77), 4, length)
    return [packer.batch() for _ in range(EVAL_ROWS // 4)]


@torch.no_grad()
def _evaluate(
    plan: Plan, model: LlamaForCausalLM, progress: Progress, batches: list[Batch], train_loss: float | None
) -> dict[str, Any]:
    sums = torch.zeros(2, 2)  # [all, middle] × [loss, count]
    for batch in batches:
        ids, weights, positions, mask = _on(batch, plan.device)
        losses, weights = _losses(model, ids, positions, mask).cpu(), weights[:, 1:].flatten().cpu()
        for row, wanted in enumerate((weights > 0, weights > 1)):
            sums[row] += torch.stack((losses[wanted].sum(), wanted.sum()))
    # JSON knows no NaN, which is what no held-out text would give.
    loss, middle_loss = (round(mean, 4) if math.isfinite(mean) else None for mean in (sums[:, 0] / sums[:, 1]).tolist())
    tokens = progress.tokens + progress.earlier_tokens
    line = {"step": progress.step, "tokens": tokens, "seconds": round(progress.seconds), "train_loss": train_loss}
    line |= {"loss": loss, "middle_loss": middle_loss}
    plan.out.mkdir(parents=True, exist_ok=True)
    with (plan.out / "log.jsonl").open("a") as log:
        log.write(json.dumps(line) + "\n")
    return line


def _save(folder: Path, model: LlamaForCausalLM, made: list[torch.optim.Optimizer], progress: Progress) -> None:
    # Written beside and renamed, so that a kill leaves the old checkpoint or the new one, never half of each.
    fresh = folder.with_name("checkpoint.new")
    fresh.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(str(fresh))
    tensors = {
        f"{i}.{j}.{key}": value.contiguous()
        for i, optimizer in enumerate(made)
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


def _recover(folder: Path) -> None:
    """Undo the first of the two renames of `_save`, if a kill came between them."""
    old = folder.with_name("checkpoint.old")
    if old.exists() and not folder.exists():
        os.replace(old, folder)


def _restore(folder: Path, made: list[torch.optim.Optimizer], progress: Progress) -> None:
    if not progress.step or not (folder / "optimizer.safetensors").exists():
        return
    tensors = load_file(folder / "optimizer.safetensors")
    for i, optimizer in enumerate(made):
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            owner, index, key = name.split(".", 2)
            if int(owner) == i:
                state.setdefault(int(index), {})[key] = tensor
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
