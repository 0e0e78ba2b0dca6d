"""Step 3, `train base`: a small Llama-type code model, from nothing or from earlier weights.

A run lasts a given time: warm-up, constant rate, linear decay over the last part, whose
examples are the longest. It can be killed at any moment and goes on from its last checkpoint
when started again; a later run with other minutes goes on from exported weights. Every
evaluation appends one JSON line to `log.jsonl`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pass_lsp.decoding.model import choose_device
from pass_lsp.errors import TrainError
from pass_lsp.train.checkpoint import Progress, read_progress, recover, restore, save
from pass_lsp.train.corpus import read_corpus
from pass_lsp.train.fim import Batch, Examples, Packer
from pass_lsp.train.loss import linear_cross_entropy
from pass_lsp.train.machine import keep_memory, matmul_dtype
from pass_lsp.train.optimizer import optimizers
from pass_lsp.train.tokenizer import END, PAD, read_tokenizer

WARMUP_STEPS = 30
DECAY_SHARE = 0.35
EVAL_ROWS = 16
ATTENTION = "eager"
"""Packed rows need a full mask, for which a CPU's fused attention is the slower one."""
_NOT_SHAPE = frozenset({"sequence", "long_sequence", "rows", "muon_lr", "adam_lr", "vocab_size"})


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
    keep_memory()
    torch.set_num_threads(plan.threads)
    torch.manual_seed(plan.seed)
    device = choose_device(plan.device)
    plan = replace(plan, device=str(device))
    dtype = matmul_dtype(device)
    size = _size(plan.size)
    tokenizer = read_tokenizer(plan.tokenizer)
    recover(plan.out / "checkpoint")
    model, progress = _model(plan, size, tokenizer)
    model.to(device)  # type: ignore[arg-type]
    made = optimizers(model, size["muon_lr"], size["adam_lr"], dtype)
    restore(plan.out / "checkpoint", made, progress)
    files = read_corpus(plan.corpus)
    batches = {
        long: _batches(Examples(files, tokenizer, length, plan.seed + 1), size["rows"] * size["sequence"], progress)
        for long, length in ((False, size["sequence"]), (True, size["long_sequence"]))
    }
    validation = _validation(plan.corpus, tokenizer, size["sequence"])
    return _run(plan, dtype, model, made, progress, batches, validation)


def _run(
    plan: Plan,
    dtype: torch.dtype,
    model: LlamaForCausalLM,
    made: list[torch.optim.Optimizer],
    progress: Progress,
    batches: dict[bool, Iterator[Batch]],
    validation: list[Batch],
) -> dict[str, Any]:
    loss_of: Callable[..., torch.Tensor] = torch.compile(_loss) if plan.compiled else _loss
    total, saved = plan.minutes * 60, time.monotonic()
    bar = tqdm(total=round(total), initial=round(progress.seconds), unit="s", desc=plan.size)
    while progress.seconds < total:
        began = time.monotonic()
        batch = next(batches[progress.seconds > total * (1 - DECAY_SHARE)])
        loss = loss_of(model, dtype, *_on(batch, plan.device, dtype))
        loss.backward()
        _step(model, made, _rate(progress, total))
        progress.step += 1
        progress.tokens += int((batch.weights > 0).sum())
        progress.seconds += time.monotonic() - began
        bar.set_postfix(loss=f"{loss.item():.3f}", tokens=f"{progress.tokens / 1e6:.2f}M", refresh=False)
        bar.update(round(progress.seconds) - bar.n)
        if time.monotonic() - saved > plan.checkpoint_every:
            _evaluate(plan, model, progress, validation, loss.item())
            save(plan.out / "checkpoint", model, made, progress)
            saved = time.monotonic()
    bar.close()
    save(plan.out / "checkpoint", model, made, progress)
    return _evaluate(plan, model, progress, validation, None)


def _batches(examples: Examples, tokens: int, progress: Progress) -> Iterator[Batch]:
    """Batches of `tokens` places, from the next example that `progress` names; it is moved on."""
    packer = Packer(examples, max(1, tokens // examples.length), examples.length, progress.next_example)
    while True:
        batch = packer.batch()
        progress.next_example = packer.next_index
        yield batch


def _loss(
    model: LlamaForCausalLM, dtype: torch.dtype, ids: torch.Tensor, weights: torch.Tensor, *shape: torch.Tensor
) -> torch.Tensor:
    """Weighted mean cross-entropy in nats; products in `dtype`, `weights` `[B, T]`, the rest as in `_hidden`."""
    with torch.autocast(ids.device.type, dtype, enabled=dtype != torch.float32):
        hidden = _hidden(model, ids, *shape)[:, :-1].flatten(0, 1).to(dtype)
    return linear_cross_entropy(hidden, model.lm_head.weight, ids[:, 1:].flatten(), weights[:, 1:].flatten())


def _hidden(model: LlamaForCausalLM, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Last hidden states `[B, T, d]`; ids and positions `[B, T]`, additive mask `[B, 1, T, T]`."""
    return model.model(input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False).last_hidden_state


def _on(batch: Batch, device: str, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    mask = torch.zeros(batch.mask.shape, dtype=dtype).masked_fill(~batch.mask, torch.finfo(dtype).min)
    return tuple(t.to(device) for t in (batch.input_ids, batch.weights, batch.position_ids, mask))


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
    if progress := read_progress(checkpoint):
        return _loaded(checkpoint), progress
    if plan.start_from is not None:
        if not (plan.start_from / "training.json").exists():
            raise TrainError(f"{plan.start_from} holds no training.json; give a folder that `train export` wrote.")
        past = json.loads((plan.start_from / "training.json").read_text())
        return _loaded(plan.start_from), Progress(next_example=past["next_example"], earlier_tokens=past["tokens"])
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
    model.set_attn_implementation(ATTENTION)
    _initialize(model)
    return model, Progress()


def _loaded(folder: Path) -> LlamaForCausalLM:
    return LlamaForCausalLM.from_pretrained(str(folder), dtype=torch.float32, attn_implementation=ATTENTION)


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
        ids, weights, *shape = _on(batch, plan.device, torch.float32)
        logits = model.lm_head(_hidden(model, ids, *shape)[:, :-1]).flatten(0, 1)  # [B·(T-1), V]
        losses = F.cross_entropy(logits, ids[:, 1:].flatten(), reduction="none").cpu()
        weights = weights[:, 1:].flatten().cpu()
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
