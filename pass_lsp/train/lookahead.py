"""Step 5, `train lookahead`: the look-ahead artifact for any causal language model, the model frozen.

Three parts, each optional but the first: embeddings, a head that knows the token before, and a
gated LoRA that look-ahead rows alone see. One step trains many anchors: behind every anchor i
of a sequence hangs its own group LA₁ … LA_L, at positions i+1 … i+L, seeing the real tokens up to
i and its own group's earlier rows. The teacher is the frozen model itself: its own logits at the
true positions, from the forward that reads the text and leaves its keys and values to the groups;
nothing is learnt through that one. Loss per row: 0.1 cross-entropy to the text + 0.9 L1 distance to
the teacher's law, later rows weighing less.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, count
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from tqdm import tqdm
from transformers import DynamicCache, PreTrainedModel

from pass_lsp.decoding.layout import Layout
from pass_lsp.decoding.lookahead import Head, Lookahead, random_lookahead, save_lookahead
from pass_lsp.decoding.lora import Gate, attach, targets
from pass_lsp.decoding.masks import additive_masks, as_argument
from pass_lsp.decoding.model import cache_name, choose_device, load_model, load_tokenizer, output_table, table_of
from pass_lsp.errors import TrainError
from pass_lsp.train import manifest
from pass_lsp.train.corpus import read_corpus
from pass_lsp.train.machine import keep_memory, matmul_dtype
from pass_lsp.train.optimizer import Patience
from pass_lsp.train.sizes import spread
from pass_lsp.train.start import artifact

LENGTH, RANK = 4, 16
DECAY = 4.0
CE_SHARE, L1_SHARE = 0.1, 0.9
HELD_OUT_SEQUENCES = 24
MAX_HEAD = 1024
MAX_TOKEN = 60
"""Characters of a token at most, where a text is cut before it is tokenized."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: the model, the text, and how long. Of a part None is what is there, else `LENGTH`, a head, `RANK`."""

    model: str
    data: Path
    out: Path
    length: int | None = None
    minutes: float = 10.0
    sequence: int = 256
    anchors: int = 48
    batch: int = 4
    lr: float = 0.01
    head_lr: float = 0.003
    lora_lr: float = 0.002
    rate: float = 1.0
    head: bool | None = None
    rank: int | None = None
    threads: int = 1
    seed: int = 0
    device: str = "auto"
    evaluate_every: int = 100


@dataclass(frozen=True, slots=True)
class Student:
    """A frozen model, the artifact in training, and the gate that opens its LoRA for look-ahead rows."""

    model: PreTrainedModel
    lookahead: Lookahead
    gate: Gate

    @classmethod
    def of(cls, model: PreTrainedModel, lookahead: Lookahead) -> Student:
        """The artifact hung on the model; once for each model, the changes add up."""
        return cls(model, lookahead, attach(model, lookahead.lora))


def train_lookahead(plan: Plan) -> dict[str, Any]:
    """Train until the minutes are used up; returns the manifest's facts.

    The best vectors so far lie in `out` after every evaluation, so a run that is killed goes on from them.
    """
    inputs = _inputs(plan)  # before a large model is read: there may be no text
    keep_memory()
    torch.set_num_threads(plan.threads)
    device = choose_device(plan.device)
    dtype = matmul_dtype(device)
    model = load_model(plan.model, device, "float32", trust_remote_code=False)
    start = _start(plan, model)
    student = Student.of(model, start.map(lambda tensor: tensor.float().to(device).clone().requires_grad_(True)))
    optimizer = torch.optim.AdamW(_groups(student.lookahead, plan), weight_decay=0.0)
    earlier = int((manifest.read(plan.out / "manifest.json") or {}).get("steps", 0))
    training, held_out = _sequences(plan, load_tokenizer(plan.model, trust_remote_code=False), earlier)
    facts: dict[str, Any] = {"base_model": Path(plan.model).name, "steps": earlier, "inputs": inputs}
    facts["versions"] = manifest.versions()
    # Measured, not read: what went well with other weights of the model is no mark to be judged by.
    best, step, patience, loss = _snapshot(student, held_out), 0, Patience(), torch.zeros(())

    def better() -> Lookahead:
        found = _snapshot(student, held_out)
        _log(plan.out, step, loss.item(), found.acceptance)
        return max(best, found, key=lambda candidate: sum(candidate.acceptance))

    began = time.monotonic()
    bar = tqdm(total=round(plan.minutes * 60), unit="s", desc="look-ahead")
    while (elapsed := time.monotonic() - began) < plan.minutes * 60:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * _rate(step, elapsed / (plan.minutes * 60))
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            loss = group_loss(student, next(training).to(device), plan.anchors, plan.seed + step)
        loss.backward()
        gradients = [it.grad for group in optimizer.param_groups for it in group["params"] if it.grad is not None]
        if patience.bears(bool(torch.nn.utils.get_total_norm(gradients).isfinite())):
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        facts["steps"] = earlier + step
        bar.set_postfix(loss=f"{loss.item():.4f}", best=f"{sum(best.acceptance):.3f}", refresh=False)
        bar.update(round(time.monotonic() - began) - bar.n)
        if step % plan.evaluate_every == 0:
            best = better()
            save_lookahead(plan.out, best, facts)
    bar.close()
    best = better() if step % plan.evaluate_every else best
    save_lookahead(plan.out, best, facts)
    return {"base_model": facts["base_model"], "steps": facts["steps"], "acceptance": best.acceptance}


def group_loss(student: Student, ids: torch.Tensor, anchors: int, seed: int) -> torch.Tensor:
    """Mean loss of all look-ahead rows; ids `[B, T]`, `anchors` groups a sequence."""
    (batch, width), length = ids.shape, student.lookahead.length
    generator = torch.Generator().manual_seed(seed)
    places = torch.randperm(width - length - 1, generator=generator)[:anchors].sort().values.to(ids.device)  # [A]
    real, drafted = _packed_logits(student, ids, places)
    targets = places[:, None] + 2 + torch.arange(length, device=ids.device)  # [A, L]: LAⱼ behind i predicts token i+1+j
    teacher = real[:, targets - 1].detach().softmax(-1)  # [B, A, L, V]
    weights = torch.exp(-torch.arange(length, device=ids.device) / DECAY)  # [L]
    log_probs = drafted.log_softmax(-1)
    cross_entropy = F.nll_loss(log_probs.flatten(0, 2), ids[:, targets].flatten(), reduction="none").view(
        batch, -1, length
    )
    distance = (log_probs.exp() - teacher).abs().sum(-1)  # [B, A, L]
    return ((CE_SHARE * cross_entropy + L1_SHARE * distance) * weights).mean()


def _packed_logits(student: Student, ids: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the real rows `[B, T, V]` and of the groups behind `places` `[B, A, L, V]`."""
    model, lookahead, device = student.model, student.lookahead, ids.device
    (batch, width), length, groups = ids.shape, lookahead.length, places.numel()
    shape = Layout(width, tuple((place, length) for place in places.tolist()))
    cached = {cache_name(model): DynamicCache()}  # without the model's configuration: windows are in the masks
    with torch.no_grad():
        real = model(input_ids=ids, use_cache=True, **cached).logits.float()
    positions = shape.offsets.to(device)  # [R]
    config, allowed = model.config.get_text_config(), shape.allowed[width:].to(device)
    masks = additive_masks(config, allowed, positions[width:], positions, torch.float32)
    student.gate.rows = shape.num_lookahead
    try:
        logits = model(
            inputs_embeds=lookahead.embeddings.repeat(batch, groups, 1),
            position_ids=positions[None, width:].expand(batch, -1),
            attention_mask=as_argument(masks, batch),
            use_cache=True,
            **cached,
        ).logits.float()
    finally:
        student.gate.rows = 0
    drafted = logits.unflatten(1, (groups, length))  # [B, A, L, V]
    output = output_table(model)
    if lookahead.head is not None and output is not None:
        # The token before is teacher-forced: LAⱼ behind i predicts i+1+j, so it is i+j.
        previous = ids[:, places[:, None] + torch.arange(1, length + 1, device=device)]  # [B, A, L]
        drafted = drafted + F.linear(lookahead.head(table_of(model)[previous]), output).float()
    return real, drafted


@torch.no_grad()
def acceptance(student: Student, held_out: torch.Tensor) -> tuple[float, ...]:
    """How often greedy drafts 1 … j of a group all equal the model's own choice, teacher-forced; for j = 1 … L.

    For j > 1 a lower bound: groups count as refused where the text leaves the model's own path.
    """
    length, stands = student.lookahead.length, []
    for ids in held_out.split(2):
        ids = ids.to(student.lookahead.embeddings.device)
        places = torch.arange(8, ids.size(1) - length - 1, 5, device=ids.device)
        real, drafted = _packed_logits(student, ids, places)
        targets = places[:, None] + 2 + torch.arange(length, device=ids.device)
        # Only where the text is what the model itself would have written do later rows see its own continuation.
        own = real.argmax(-1)[:, targets - 2] == ids[:, targets - 1]
        right = drafted.argmax(-1) == real.argmax(-1)[:, targets - 1]
        stands.append((right & own).cumprod(-1).sum((0, 1)) / own[..., :1].sum().clamp_min(1))
    return tuple(torch.stack(stands).mean(0).tolist())


def _start(plan: Plan, model: PreTrainedModel) -> Lookahead:
    """What `out` holds already, with the parts that it lacks new: they begin as no change. Raises `TrainError`."""
    table = table_of(model).float().cpu()
    width = table.size(1)
    start = artifact(plan.out, width, length=plan.length, rank=plan.rank, head=plan.head)
    if start is None:
        start = Lookahead(table.mean(0) + 0.1 * random_lookahead(table, plan.length or LENGTH, plan.seed).embeddings)
    generator = torch.Generator().manual_seed(plan.seed)
    # An artifact of the model before it got more layers.
    head, lora = start.head, spread(start.lora, model.config.get_text_config().num_hidden_layers)
    if plan.head is not False and head is None:
        wide = min(2 * width, MAX_HEAD)
        scale = 1 / (table.std().item() * width**0.5)  # brings table rows to about unit size inside the head
        head = Head(torch.randn(wide, width, generator=generator) * scale, torch.zeros(width, wide))
    rank = next((len(a) for a, _ in lora.values()), RANK) if plan.rank is None else plan.rank
    for path, layer in targets(model).items() if rank else ():
        if path not in lora:
            a = torch.randn(rank, layer.in_features, generator=generator) * layer.in_features**-0.5
            lora[path] = (a, torch.zeros(layer.out_features, rank))
    return Lookahead(start.embeddings, (), head, lora)


def _groups(lookahead: Lookahead, plan: Plan) -> list[dict[str, Any]]:
    factors = [factor for pair in lookahead.lora.values() for factor in pair]
    head = [lookahead.head.up, lookahead.head.down] if lookahead.head is not None else []
    parts = ((plan.lr, [lookahead.embeddings]), (plan.head_lr, head), (plan.lora_lr, factors))
    return [{"params": params, "lr": lr * plan.rate, "peak_lr": lr * plan.rate} for lr, params in parts if params]


def _snapshot(student: Student, held_out: torch.Tensor) -> Lookahead:
    copy = student.lookahead.map(lambda tensor: tensor.detach().clone())
    return replace(copy, acceptance=acceptance(student, held_out))


def _rate(step: int, progress: float) -> float:
    return min(1.0, (step + 1) / 20) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def _sequences(plan: Plan, tokenizer: Any, first: int) -> tuple[Iterator[torch.Tensor], torch.Tensor]:
    """Endless training batches `[B, T]` from the number `first` on, and held-out sequences `[N, T]` of other files."""
    files = [text for _, text in read_corpus(plan.data)]
    held = plan.data / "heldout.jsonl.gz"
    apart = [text for _, text in read_corpus(held)] if held.exists() else files[:: max(2, len(files) // 20)]
    hidden = set(apart)
    texts = [text for text in files if text not in hidden]
    ends = list(accumulate(map(len, texts)))

    def windows(text: str) -> Iterator[torch.Tensor]:
        ids = tokenizer(text[: plan.sequence * MAX_TOKEN], add_special_tokens=False, verbose=False)["input_ids"]
        for start in range(0, len(ids) - plan.sequence, plan.sequence):
            yield torch.tensor(ids[start : start + plan.sequence])

    def drawn(rng: random.Random) -> torch.Tensor:
        """Some lines of some file: with the lines of one file after the other a step would know little else."""
        while True:
            (text,) = rng.choices(texts, cum_weights=ends)
            begin = text.rfind("\n", 0, rng.randrange(len(text))) + 1
            for each in (text[begin:], text):
                if (row := next(windows(each), None)) is not None:
                    return row

    def batches() -> Iterator[torch.Tensor]:
        for number in count(first):
            rng = random.Random(plan.seed * 1_000_003 + number)
            yield torch.stack([drawn(rng) for _ in range(plan.batch)])

    found = [row for text in apart for row in windows(text)]
    held_out = found[:: max(1, len(found) // HELD_OUT_SEQUENCES)][:HELD_OUT_SEQUENCES]
    if not held_out or not any(True for text in texts for _ in windows(text)):
        raise TrainError(f"{plan.data} holds too little text; give files of at least {plan.sequence} tokens.")
    return batches(), torch.stack(held_out)


def _inputs(plan: Plan) -> dict[str, Any]:
    """What the artifact is made from: hashes where there are any, and the options that matter."""
    weights = Path(plan.model) / "model.safetensors"
    return {
        "model_sha256": manifest.file_hash(weights) if weights.exists() else None,
        "corpus_sha256": manifest.corpus_hash(plan.data),
        **{key: getattr(plan, key) for key in ("minutes", "rate", "seed")},
    }


def _log(out: Path, step: int, loss: float, accepted: tuple[float, ...]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    known = round(loss, 4) if math.isfinite(loss) else None
    with (out / "log.jsonl").open("a") as log:
        log.write(json.dumps({"step": step, "loss": known, "acceptance": accepted}) + "\n")
