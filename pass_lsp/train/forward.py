"""One batch through the model: last hidden states, loss, and gradients; compiled only where that gives the same."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from transformers import LlamaForCausalLM

from pass_lsp.train.fim import Batch, attention_mask
from pass_lsp.train.loss import linear_cross_entropy

logger = logging.getLogger(__name__)

CPU_TOKENS = 8192
"""Token places whose activations are held at once on a CPU; a small model's take about 3 GB."""
SAME = 0.05
"""How far, as a share, the size of compiled gradients may be from that of plain ones."""

HiddenOf = Callable[..., torch.Tensor]


class Forward:
    """The compiled forward where its gradients are those of the plain one, looked at once for each length.

    Compilers have bugs: that of torch 2.13 gave a CPU NaN for rows of 1,024 tokens, and none for 512.
    """

    def __init__(self, fast: HiddenOf, dtype: torch.dtype, device: str) -> None:
        self._fast, self._dtype, self._device = fast, dtype, device
        self._known: dict[int, HiddenOf] = {}

    def of(self, model: LlamaForCausalLM, batch: Batch) -> HiddenOf:
        """What to take for batches as long as this one; the gradients of `model` must be empty, and stay so."""
        if self._fast is hidden_states:
            return hidden_states
        length = batch.input_ids.size(1)
        if length not in self._known:
            plain, fast = (self._gradient_norm(model, each, batch) for each in (hidden_states, self._fast))
            same = abs(fast - plain) <= SAME * plain  # never true for NaN
            self._known[length] = self._fast if same else hidden_states
            if not same:
                logger.warning("Compiled gradients are wrong for %d tokens; those rows are not compiled.", length)
        return self._known[length]

    def backward(self, model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
        """Add the gradients of a batch; returns its loss, in nats."""
        return backward(model, self.of(model, batch), self._dtype, batch, self._device)

    def _gradient_norm(self, model: LlamaForCausalLM, hidden_of: HiddenOf, batch: Batch) -> float:
        backward(model, hidden_of, self._dtype, batch, self._device)
        norm = torch.nn.utils.get_total_norm(p.grad for p in model.parameters() if p.grad is not None)
        model.zero_grad(set_to_none=True)
        return norm.item()


def backward(
    model: LlamaForCausalLM, hidden_of: HiddenOf, dtype: torch.dtype, batch: Batch, device: str
) -> torch.Tensor:
    """Add the gradients of a batch, on a CPU some rows at a time; returns its loss, in nats."""
    rows = len(batch.input_ids) if device != "cpu" else max(1, CPU_TOKENS // batch.input_ids.size(1))
    whole = (batch.input_ids, batch.weights, batch.position_ids, batch.owner)
    losses: list[torch.Tensor] = []
    for part in zip(*(tensor.split(rows) for tensor in whole), strict=True):
        share = part[1][:, 1:].sum() / batch.weights[:, 1:].sum()
        loss = batch_loss(model, hidden_of, dtype, *moved(Batch(*part), device)) * share.to(device)
        loss.backward()
        losses.append(loss.detach())
    return torch.stack(losses).sum()


def batch_loss(
    model: LlamaForCausalLM,
    hidden_of: HiddenOf,
    dtype: torch.dtype,
    ids: torch.Tensor,
    weights: torch.Tensor,
    *shape: torch.Tensor,
) -> torch.Tensor:
    """Weighted mean cross-entropy in nats; products in `dtype`, `weights` `[B, T]`, the rest as in `hidden_states`."""
    with torch.autocast(ids.device.type, dtype, enabled=dtype != torch.float32):
        hidden = hidden_of(model, dtype, ids, *shape)[:, :-1].flatten(0, 1).to(dtype)
    return linear_cross_entropy(hidden, model.lm_head.weight, ids[:, 1:].flatten(), weights[:, 1:].flatten())


def hidden_states(
    model: LlamaForCausalLM, dtype: torch.dtype, ids: torch.Tensor, positions: torch.Tensor, owner: torch.Tensor
) -> torch.Tensor:
    """Last hidden states `[B, T, d]`; ids, positions and owner `[B, T]`."""
    seen = attention_mask(owner)
    mask = torch.zeros(seen.shape, dtype=dtype, device=ids.device).masked_fill(~seen, torch.finfo(dtype).min)
    return model.model(input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False).last_hidden_state


def moved(batch: Batch, device: str) -> tuple[torch.Tensor, ...]:
    """A batch's tensors on a device: ids, weights, positions, owner."""
    return tuple(t.to(device) for t in (batch.input_ids, batch.weights, batch.position_ids, batch.owner))
