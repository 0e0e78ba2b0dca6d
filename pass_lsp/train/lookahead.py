"""Step 5, `train lookahead`: look-ahead embeddings and their head for any causal language model, the model frozen.

One forward trains many anchors: behind every anchor i of a sequence hangs its own
group LA₁ … LA_L, at positions i+1 … i+L, seeing the real tokens up to i and its own
group's earlier rows. The teacher is the frozen model itself: its own logits at the
true positions come out of the same forward. Loss per row: 0.1 cross-entropy to the
text + 0.9 L1 distance to the teacher's law, later rows weighing less.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from tqdm import tqdm
from transformers import PreTrainedModel

from pass_lsp.decoding.lookahead import Head, Lookahead, load_lookahead, random_lookahead, save_lookahead
from pass_lsp.decoding.model import choose_device, load_model, load_tokenizer, output_layer, table_of
from pass_lsp.errors import TrainError
from pass_lsp.train.corpus import read_corpus

DECAY = 4.0
CE_SHARE, L1_SHARE = 0.1, 0.9
PATIENCE = 6
HELD_OUT_SEQUENCES = 12
MAX_HEAD = 1024


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: the model, the text, and how long."""

    model: str
    data: Path
    out: Path
    length: int = 4
    minutes: float = 10.0
    sequence: int = 256
    anchors: int = 48
    batch: int = 4
    lr: float = 0.01
    head_lr: float = 0.003
    head: bool = True
    threads: int = 1
    seed: int = 0
    device: str = "auto"
    evaluate_every: int = 50


def train_lookahead(plan: Plan) -> dict[str, Any]:
    """Train until the minutes are used up or the held-out acceptance stops rising; returns the manifest's facts.

    The best vectors so far lie in `out` after every evaluation, so a run that is killed goes on from them.
    """
    torch.set_num_threads(plan.threads)
    device = choose_device(plan.device)
    model = load_model(plan.model, device, "float32", trust_remote_code=False)
    tokenizer = load_tokenizer(plan.model, trust_remote_code=False)
    table = table_of(model)
    best = _start(plan, table)
    lookahead = _trainable(best, device)
    optimizer = torch.optim.AdamW(_groups(lookahead, plan), weight_decay=0.0)
    training, held_out = _sequences(plan, tokenizer)
    facts: dict[str, Any] = {"base_model": Path(plan.model).name, "steps": 0}
    began, stale, step = time.monotonic(), 0, 0
    bar = tqdm(total=round(plan.minutes * 60), unit="s", desc="look-ahead")
    while (elapsed := time.monotonic() - began) < plan.minutes * 60 and stale < PATIENCE:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * _rate(step, elapsed / (plan.minutes * 60))
        loss = group_loss(model, lookahead, next(training).to(device), plan.anchors, plan.seed + step)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        bar.set_postfix(loss=f"{loss.item():.4f}", best=f"{sum(best.acceptance):.3f}", refresh=False)
        bar.update(round(time.monotonic() - began) - bar.n)
        if step % plan.evaluate_every == 0:
            found = _snapshot(lookahead, acceptance(model, lookahead, held_out))
            _log(plan.out, step, loss.item(), found.acceptance)
            stale = 0 if sum(found.acceptance) > sum(best.acceptance) else stale + 1
            best = max(best, found, key=lambda candidate: sum(candidate.acceptance))
            facts["steps"] = step
            save_lookahead(plan.out, best, facts)
    bar.close()
    if not best.acceptance:
        best = _snapshot(lookahead, acceptance(model, lookahead, held_out))
        save_lookahead(plan.out, best, facts)
    return {**facts, "acceptance": best.acceptance}


def group_loss(
    model: PreTrainedModel, lookahead: Lookahead, ids: torch.Tensor, anchors: int, seed: int
) -> torch.Tensor:
    """Mean loss of all look-ahead rows; ids `[B, T]`, `anchors` groups a sequence."""
    (batch, width), length = ids.shape, lookahead.length
    generator = torch.Generator().manual_seed(seed)
    places = torch.randperm(width - length - 1, generator=generator)[:anchors].sort().values.to(ids.device)  # [A]
    real, drafted = _packed_logits(model, lookahead, ids, places)
    targets = places[:, None] + 2 + torch.arange(length, device=ids.device)  # [A, L]: LAⱼ behind i predicts token i+1+j
    teacher = real[:, targets - 1].detach().softmax(-1)  # [B, A, L, V]
    weights = torch.exp(-torch.arange(length, device=ids.device) / DECAY)  # [L]
    student = drafted.log_softmax(-1)
    cross_entropy = F.nll_loss(student.flatten(0, 2), ids[:, targets].flatten(), reduction="none").view(
        batch, -1, length
    )
    distance = (student.exp() - teacher).abs().sum(-1)  # [B, A, L]
    return ((CE_SHARE * cross_entropy + L1_SHARE * distance) * weights).mean()


def _packed_logits(
    model: PreTrainedModel, lookahead: Lookahead, ids: torch.Tensor, places: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the real rows `[B, T, V]` and of the groups behind `places` `[B, A, L, V]`, from one forward."""
    (batch, width), length, groups = ids.shape, lookahead.length, places.numel()
    rows = width + groups * length
    device = ids.device
    embed = model.get_input_embeddings()
    embeds = torch.cat((embed(ids), lookahead.embeddings.repeat(batch, groups, 1)), dim=1)  # [B, rows, d]
    steps = torch.arange(1, length + 1, device=device)
    positions = torch.cat((torch.arange(width, device=device), (places[:, None] + steps).flatten()))  # [rows]
    group = torch.arange(groups, device=device).repeat_interleave(length)
    within = steps.repeat(groups)
    mask = torch.zeros(rows, rows, dtype=torch.bool, device=device)
    mask[:width, :width] = torch.ones(width, width, dtype=torch.bool, device=device).tril()
    mask[width:, :width] = torch.arange(width, device=device)[None] <= places[group][:, None]
    mask[width:, width:] = (group[:, None] == group[None]) & (within[:, None] >= within[None])
    logits = model(
        inputs_embeds=embeds,
        position_ids=positions[None].expand(batch, -1),
        attention_mask=_masks(model, mask, positions, batch),
        use_cache=False,
    ).logits.float()
    drafted = logits[:, width:].unflatten(1, (groups, length))  # [B, A, L, V]
    if lookahead.head is not None:  # the token before is teacher-forced: LAⱼ behind i predicts i+1+j, so it is i+j
        previous = ids[:, places[:, None] + steps]  # [B, A, L]
        drafted = drafted + output_layer(model)(lookahead.head(table_of(model)[previous])).float()
    return logits[:, :width], drafted


def _masks(model: PreTrainedModel, mask: torch.Tensor, positions: torch.Tensor, batch: int) -> Any:
    """The mask as the model takes it: one, or one for each kind of layer where windows slide. `[B, 1, rows, rows]`."""

    def additive(allowed: torch.Tensor) -> torch.Tensor:
        blocked = torch.zeros(allowed.shape, device=allowed.device).masked_fill(
            ~allowed, torch.finfo(torch.float32).min
        )
        return blocked[None, None].expand(batch, 1, -1, -1)

    config = model.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or ())
    if not window or (not kinds and not getattr(config, "use_sliding_window", True)):
        return additive(mask)
    near = mask & (positions[:, None] - positions[None] < window)
    if not kinds or kinds == {"sliding_attention"}:
        return additive(near)
    return {"full_attention": additive(mask), "sliding_attention": additive(near)} if len(kinds) > 1 else additive(mask)


@torch.no_grad()
def acceptance(model: PreTrainedModel, lookahead: Lookahead, held_out: torch.Tensor) -> tuple[float, ...]:
    """How often greedy drafts 1 … j of a group all equal the model's own choice, teacher-forced; for j = 1 … L.

    For j > 1 a lower bound: groups count as refused where the text leaves the model's own path.
    """
    length, stands = lookahead.length, []
    for ids in held_out.split(2):
        ids = ids.to(lookahead.embeddings.device)
        places = torch.arange(8, ids.size(1) - length - 1, 5, device=ids.device)
        real, drafted = _packed_logits(model, lookahead, ids, places)
        targets = places[:, None] + 2 + torch.arange(length, device=ids.device)
        # Only where the text is what the model itself would have written do later rows see its own continuation.
        own = real.argmax(-1)[:, targets - 2] == ids[:, targets - 1]
        right = drafted.argmax(-1) == real.argmax(-1)[:, targets - 1]
        stands.append((right & own).cumprod(-1).sum((0, 1)) / own[..., :1].sum().clamp_min(1))
    return tuple(torch.stack(stands).mean(0).tolist())


def _start(plan: Plan, table: torch.Tensor) -> Lookahead:
    if (plan.out / "manifest.json").exists():
        return load_lookahead(plan.out, table.size(1))
    start = random_lookahead(table, plan.length, plan.seed)
    width = table.size(1)
    wide = min(2 * width, MAX_HEAD)
    generator = torch.Generator().manual_seed(plan.seed)
    scale = 1 / (table.float().std().item() * width**0.5)  # brings table rows to about unit size inside the head
    head = Head(torch.randn(wide, width, generator=generator) * scale, torch.zeros(width, wide)) if plan.head else None
    return Lookahead(table.float().mean(0).cpu() + 0.1 * start.embeddings, (), head)


def _trainable(start: Lookahead, device: torch.device) -> Lookahead:
    def leaf(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.float().to(device).clone().requires_grad_(True)

    head = Head(leaf(start.head.up), leaf(start.head.down)) if start.head else None
    return Lookahead(leaf(start.embeddings), (), head)


def _groups(lookahead: Lookahead, plan: Plan) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = [{"params": [lookahead.embeddings], "lr": plan.lr, "peak_lr": plan.lr}]
    if lookahead.head is not None:
        head = [lookahead.head.up, lookahead.head.down]
        groups.append({"params": head, "lr": plan.head_lr, "peak_lr": plan.head_lr})
    return groups


def _snapshot(lookahead: Lookahead, accepted: tuple[float, ...]) -> Lookahead:
    head = Head(lookahead.head.up.detach().clone(), lookahead.head.down.detach().clone()) if lookahead.head else None
    return Lookahead(lookahead.embeddings.detach().clone(), accepted, head)


def _rate(step: int, progress: float) -> float:
    return min(1.0, (step + 1) / 20) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def _sequences(plan: Plan, tokenizer: Any) -> tuple[Iterator[torch.Tensor], torch.Tensor]:
    """Endless training batches `[B, T]`, and held-out sequences `[N, T]` of other files."""
    files = read_corpus(plan.data)
    held = plan.data / "heldout.jsonl.gz"
    apart = [text for _, text in (read_corpus(held) if held.exists() else files[:: max(2, len(files) // 20)])]
    order = torch.randperm(len(files), generator=torch.Generator().manual_seed(plan.seed)).tolist()

    def windows(texts: Iterator[str]) -> Iterator[torch.Tensor]:
        for text in texts:
            ids = tokenizer(text[: plan.sequence * 60], add_special_tokens=False, verbose=False)["input_ids"]
            for start in range(0, len(ids) - plan.sequence, plan.sequence):
                yield torch.tensor(ids[start : start + plan.sequence])

    def batches() -> Iterator[torch.Tensor]:
        while True:
            taken = windows(files[i][1] for i in order if files[i][1] not in apart)
            while len(rows := [row for _, row in zip(range(plan.batch), taken, strict=False)]) == plan.batch:
                yield torch.stack(rows)

    spread = list(windows(iter(apart)))
    held_out = spread[:: max(1, len(spread) // HELD_OUT_SEQUENCES)][:HELD_OUT_SEQUENCES]
    if not held_out or next(windows(text for _, text in files), None) is None:
        raise TrainError(f"{plan.data} holds too little text; give files of at least {plan.sequence} tokens.")
    return batches(), torch.stack(held_out)


def _log(out: Path, step: int, loss: float, accepted: tuple[float, ...]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with (out / "log.jsonl").open("a") as log:
        log.write(json.dumps({"step": step, "loss": round(loss, 4), "acceptance": accepted}) + "\n")
