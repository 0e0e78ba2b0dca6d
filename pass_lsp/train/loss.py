"""The training loss: weighted cross-entropy of next tokens, its gradients made chunk by chunk.

The logits of a whole batch, `[N, V]` in float32, would be the largest tensor of a step by far.
Each chunk's logits become their own gradient in place, so they exist for one chunk at a time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

CHUNK, GPU_CHUNK = 512, 8192


class _LinearCrossEntropy(torch.autograd.Function):
    """hidden `[N, d]`, table `[V, d]`, targets `[N]`, weights `[N]` that sum to 1 → scalar, in nats."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, table: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        hidden_grad, table_grad = torch.empty_like(hidden), torch.zeros_like(table, dtype=torch.float32)
        cast, total = table.to(hidden.dtype), hidden.new_zeros((), dtype=torch.float32)
        size = CHUNK if hidden.device.type == "cpu" else GPU_CHUNK
        for begin in range(0, len(hidden), size):
            chunk = slice(begin, begin + size)
            rows, wanted, weight = hidden[chunk], targets[chunk, None], weights[chunk, None]
            logits = F.linear(rows, cast).float()  # [chunk, V]
            logits -= logits.amax(-1, keepdim=True)
            said = logits.gather(1, wanted)
            gradient = logits.exp_()
            normaliser = gradient.sum(-1, keepdim=True)
            total += ((normaliser.log() - said) * weight).sum()
            gradient *= weight / normaliser  # the probabilities, weighed
            gradient.scatter_add_(1, wanted, -weight)
            gradient = gradient.to(hidden.dtype)
            hidden_grad[chunk] = gradient @ cast
            table_grad += gradient.T @ rows
        ctx.save_for_backward(hidden_grad, table_grad)
        return total

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (output,) = outputs
        hidden_grad, table_grad = ctx.saved_tensors
        return hidden_grad * output.to(hidden_grad.dtype), table_grad * output, None, None


def linear_cross_entropy(
    hidden: torch.Tensor, table: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Mean cross-entropy in nats of hidden `[N, d]` · tableᵀ `[d, V]` to `targets` `[N]`, by `weights` `[N]`."""
    asked: Any = _asked(weights) if hidden.device.type == "cpu" else slice(None)  # a GPU would have to wait for it
    return _LinearCrossEntropy.apply(hidden[asked], table, targets[asked], weights[asked] / weights.sum())  # type: ignore[no-any-return]


def _asked(weights: torch.Tensor) -> torch.Tensor:
    """Which rows have a weight, and some that have none: kept memory would be torn up by ever new sizes."""
    chunks = -(-int(weights.count_nonzero()) // CHUNK)
    return (weights == 0).argsort(stable=True)[: chunks * CHUNK]
