"""Step 3, `train base`: a small Llama-type code model, from nothing or from earlier weights.

A run lasts a given time, or a given number of tokens: warm-up, constant rate, linear decay
over the last part, with the longest examples at its end. It can be killed at any moment and goes
on from its last checkpoint when started again; a slice of it ends after so many minutes and
leaves a checkpoint. A later run goes on from exported weights, also with more layers than they have.
A run ends with the mean of its last weights, and half way back to those it began with, where that is
better. Every evaluation appends one JSON line to `log.jsonl`; `run.json` states what the run was begun with.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from tqdm import tqdm
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from pass_lsp.decoding.model import choose_device
from pass_lsp.train import manifest
from pass_lsp.train.average import MeanWeights, half_way
from pass_lsp.train.checkpoint import Progress, State, read_progress, recover, restore, save, whole
from pass_lsp.train.corpus import read_corpus
from pass_lsp.train.feed import Feed
from pass_lsp.train.fim import Batch, Examples, Packer
from pass_lsp.train.forward import Forward, hidden_states, moved
from pass_lsp.train.machine import compiled, keep_memory, matmul_dtype
from pass_lsp.train.optimizer import Patience, optimizers
from pass_lsp.train.sizes import new_model, saved_model, shapes, size_named
from pass_lsp.train.start import start_facts, started
from pass_lsp.train.tokenizer import read_tokenizer

WARMUP_STEPS = 30
DECAY_SHARE = 0.6
LONG_SHARE = 0.2
"""The end of a run, whose examples are the longer ones. On a CPU they are learnt from at four fifths of the speed."""
MEAN_SHARE = 0.75
"""The end of a run, of whose weights the mean is taken."""
EVAL_ROWS = 32
_HASHED = ("corpus", "tokenizer", "out", "start_from", "size")
"""What of a plan `run.json` states otherwise: by hash, or at its head."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One training run: where from, where to, how long.

    `million_tokens` makes its length a number of tokens instead of `minutes`; `slice_minutes`
    bounds how long this call may take, start included, and with `last` the run ends with it. `workers` are
    processes that make batches. `rate` multiplies the size's learning rates: weights that are trained already need
    less.
    """

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
    million_tokens: float | None = None
    slice_minutes: float | None = None
    workers: int = 0
    rate: float = 1.0
    last: bool = False

    def share(self, progress: Progress) -> float:
        """How much of the run is done, from 0 to 1."""
        if self.million_tokens is not None:
            return min(1.0, progress.tokens / (self.million_tokens * 1e6)) if self.million_tokens else 1.0
        return min(1.0, progress.seconds / (self.minutes * 60)) if self.minutes else 1.0


def train_base(plan: Plan) -> dict[str, Any]:
    """Train until the run or this slice of it is over; returns the last evaluation."""
    began = time.monotonic()
    keep_memory()
    torch.set_num_threads(plan.threads)
    torch.manual_seed(plan.seed)
    device = choose_device(plan.device)
    plan = replace(plan, device=str(device))
    dtype = matmul_dtype(device)
    size = size_named(plan.size)
    tokenizer = read_tokenizer(plan.tokenizer)
    recover(plan.out / "checkpoint")
    model, progress = _model(plan, size, tokenizer, device)
    _state_inputs(plan, size, model)
    model.to(device)  # type: ignore[arg-type]
    made = optimizers(model, size["muon_lr"], size["adam_lr"], dtype)
    state = State(model, made, MeanWeights(model), progress)
    restore(plan.out / "checkpoint", state)
    validation = _held_out(plan.corpus, tokenizer, 4, size["sequence"], EVAL_ROWS // 4)
    end = math.inf if plan.slice_minutes is None else began + plan.slice_minutes * 60
    over = plan.share(progress) >= 1 and not plan.last
    forward = Forward(compiled(hidden_states) if plan.compiled else hidden_states, dtype, plan.device)
    with Feed(plan.corpus, plan.tokenizer, plan.seed + 1, 0 if over else plan.workers) as feed:
        if not over:
            _prepare(plan, size, tokenizer, forward, state, feed)
        left = end - time.monotonic() if plan.last else 0.0
        plan = replace(plan, last=left > 0)  # a slice that is over before it begins is the end of nothing
        if plan.last:
            plan = replace(plan, million_tokens=None, minutes=(progress.seconds + left) / 60)
        _run(plan, state, forward, _batches(plan, size, progress, feed), validation, end)
    if plan.last:
        plan = replace(plan, minutes=progress.seconds / 60)
    return _ended(plan, state, validation)


def _prepare(
    plan: Plan, size: dict[str, Any], tokenizer: PreTrainedTokenizerFast, forward: Forward, state: State, feed: Feed
) -> None:
    """All that takes a while and teaches nothing: workers read the text, and meanwhile the model is compiled.

    None of it counts as training, of which every slice would have the less.
    """
    for long, (rows, length) in enumerate(shapes(size)) if plan.compiled else ():
        if long or plan.share(state.progress) <= 1 - LONG_SHARE:
            for batch in _held_out(plan.corpus, tokenizer, rows, length, 1):
                forward.of(state.model, batch)
    feed.wait()


def _run(
    plan: Plan, state: State, forward: Forward, batches: Iterator[Batch], validation: list[Batch], end: float
) -> None:
    model, progress = state.model, state.progress
    bar = tqdm(total=1000, initial=round(plan.share(progress) * 1000), unit="‰", desc=plan.size)
    saved, patience = (now := time.monotonic()), Patience()
    # The last part of a slice is for its checkpoint and evaluation, which are as long as the last ones were.
    closing = 0.0
    while plan.share(progress) < 1 and now < end - closing:
        began = now
        batch = next(batches)
        loss = forward.backward(model, batch)
        learned = patience.bears(_step(state, plan))
        progress.step, progress.averaged = progress.step + 1, False
        progress.tokens += int((batch.owner >= 0).sum()) if learned else 0
        now = time.monotonic()
        progress.seconds += now - began
        bar.set_postfix(loss=f"{loss.item():.3f}", tokens=f"{progress.tokens / 1e6:.2f}M", refresh=False)
        bar.update(round(plan.share(progress) * 1000) - bar.n)
        if now - saved > plan.checkpoint_every:
            _logged(plan, progress, _losses(plan, model, validation), loss.item())
            save(plan.out / "checkpoint", state)
            saved = time.monotonic()
            closing, now = saved - now, saved
    bar.close()
    save(plan.out / "checkpoint", state)


def _ended(plan: Plan, state: State, validation: list[Batch]) -> dict[str, Any]:
    """The last evaluation. A run that is over keeps a mean of weights where that is better."""
    progress = state.progress
    last = _logged(plan, progress, _losses(plan, state.model, validation), None)
    if plan.share(progress) < 1 or progress.averaged:
        return last
    for mean_of in (state.mean.model, partial(_half_way, plan)):
        if (mean := mean_of(state.model)) is None:
            continue
        losses = _losses(plan, mean, validation)
        if (losses[0] or math.inf) < (last["loss"] or 0):
            progress.averaged = True
            state.model, last = mean, _logged(plan, progress, losses, None)
    save(plan.out / "checkpoint", state)
    return last


def _batches(plan: Plan, size: dict[str, Any], progress: Progress, feed: Feed) -> Iterator[Batch]:
    """The batches of the run from `progress` on, which is moved on; the last ones are of the longer kind."""
    for long, (rows, length) in enumerate(shapes(size)):
        if not long and plan.share(progress) > 1 - LONG_SHARE:
            continue
        for batch, resume_at in feed.batches(rows, length, progress.next_example):
            progress.next_example = resume_at
            yield batch
            if not long and plan.share(progress) > 1 - LONG_SHARE:
                break


def _rate(step: int, share: float) -> float:
    return min(1.0, (step + 1) / WARMUP_STEPS) * min(1.0, (1.0 - share) / DECAY_SHARE)


def _step(state: State, plan: Plan) -> bool:
    """Take a step, unless the gradients are not finite: one such step would be the end of the weights."""
    model, share = state.model, plan.share(state.progress)
    finite = bool(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).isfinite())
    if not finite:
        model.zero_grad(set_to_none=True)
        return False
    for optimizer in state.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * plan.rate * _rate(state.progress.step, share)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    if share >= 1 - MEAN_SHARE:
        state.mean.step()
    return True


def _model(
    plan: Plan, size: dict[str, Any], tokenizer: PreTrainedTokenizerFast, device: torch.device
) -> tuple[LlamaForCausalLM, Progress]:
    past = start_facts(plan.start_from, tokenizer) if plan.start_from is not None else None
    checkpoint = plan.out / "checkpoint"
    if progress := read_progress(checkpoint):
        with whole(checkpoint):
            return saved_model(checkpoint, device), progress
    if plan.start_from is not None and past is not None:
        begun = Progress(next_example=past["next_example"], earlier_tokens=past["tokens"])
        return started(plan.start_from, size, device), begun
    return new_model(size, tokenizer, device), Progress()


def _half_way(plan: Plan, model: LlamaForCausalLM) -> LlamaForCausalLM | None:
    if plan.start_from is None:
        return None
    return half_way(started(plan.start_from, size_named(plan.size), model.device), model)


def _state_inputs(plan: Plan, size: dict[str, Any], model: LlamaForCausalLM) -> None:
    """Write `run.json`; a run begun with another size, tokenizer or start is refused. Corpora may follow each other.

    What has no checkpoint yet is not begun: a wrong command may be put right.
    """
    path = plan.out / "run.json"
    begun = (manifest.read(path) or {}) if (plan.out / "checkpoint").exists() else {}
    inputs = {"size": plan.size, "tokenizer_sha256": manifest.file_hash(plan.tokenizer / "tokenizer.json")}
    start = manifest.file_hash(plan.start_from / "model.safetensors") if plan.start_from is not None else None
    if begun:
        manifest.same_inputs(path, {**inputs, "start_sha256": start})
    inputs["start_sha256"] = begun.get("start_sha256", start)
    corpora = begun.get("corpora", [])
    corpus = manifest.corpus_hash(plan.corpus)
    told = {key: value for key, value in asdict(plan).items() if key not in _HASHED}
    facts = {"corpora": corpora if corpus in corpora else [*corpora, corpus], "shape": size, "plan": told}
    plan.out.mkdir(parents=True, exist_ok=True)
    manifest.write(path, {**inputs, "parameters": model.num_parameters(), **facts, "versions": manifest.versions()})


def _held_out(corpus: Path, tokenizer: PreTrainedTokenizerFast, rows: int, length: int, count: int) -> list[Batch]:
    """`count` batches of held-out text, always the same; none where there is no such text."""
    heldout = corpus / "heldout.jsonl.gz"
    files = read_corpus(heldout) if heldout.exists() else []
    if not files:
        return []
    packer = Packer(Examples(files, tokenizer, length, seed=77), rows, length)
    return [packer.batch() for _ in range(count)]


def _logged(plan: Plan, progress: Progress, losses: list[float | None], train_loss: float | None) -> dict[str, Any]:
    """The losses on held-out text, written as a line of the log."""
    loss, middle_loss = losses
    tokens = progress.tokens + progress.earlier_tokens
    line = {"step": progress.step, "tokens": tokens, "seconds": round(progress.seconds), "train_loss": train_loss}
    line |= {"averaged": progress.averaged, "loss": loss, "middle_loss": middle_loss}
    line["done"] = round(plan.share(progress), 4)
    plan.out.mkdir(parents=True, exist_ok=True)
    with (plan.out / "log.jsonl").open("a") as log:
        log.write(json.dumps(line) + "\n")
    return line


@torch.no_grad()
def _losses(plan: Plan, model: LlamaForCausalLM, batches: list[Batch]) -> list[float | None]:
    """Nats a token of all that counts, and of the middles alone; None where there is no such text."""
    sums = torch.zeros(2, 2)  # [all, middle] × [loss, count]
    for batch in batches:
        ids, weights, *shape = moved(batch, plan.device)
        logits = model.lm_head(hidden_states(model, torch.float32, ids, *shape)[:, :-1]).flatten(0, 1)  # [B·(T-1), V]
        losses = F.cross_entropy(logits, ids[:, 1:].flatten(), reduction="none").cpu()
        weights = weights[:, 1:].flatten().cpu()
        for row, wanted in enumerate((weights > 0, weights > 1)):
            sums[row] += torch.stack((losses[wanted].sum(), wanted.sum()))
    # JSON knows no NaN, which is what no held-out text would give.
    return [round(mean, 4) if math.isfinite(mean) else None for mean in (sums[:, 0] / sums[:, 1]).tolist()]
