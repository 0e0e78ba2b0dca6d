"""Weight-only int8: a quarter of the memory of float32, exact with respect to the rounded weights.

Each output row of a weight has its own scale. Rows are restored to the activations'
type inside the product, so the result of a row of input never depends on the rows beside
it; that keeps every strategy exact, and costs time on a CPU.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class Int8Linear(nn.Module):
    """`y = x Wᵀ + b` with `W` `[out, in]` held as int8 and one scale an output row."""

    weight: torch.Tensor
    scale: torch.Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        scale = (linear.weight.abs().amax(dim=1, keepdim=True) / 127).clamp_min(1e-12)
        self.register_buffer("weight", (linear.weight / scale).round().to(torch.int8))
        self.register_buffer("scale", scale.to(linear.weight.dtype))
        self.bias = linear.bias
        self.in_features, self.out_features = linear.in_features, linear.out_features

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x `[…, in]` → `[…, out]`."""
        y = F.linear(x, self.weight.to(x.dtype)) * self.scale.T  # scaled behind the product: one restored copy, not two
        return y if self.bias is None else y + self.bias


def quantize(model: nn.Module) -> None:
    """Replace every linear layer of `model`, in place; a head tied to the embedding table stays as it is."""
    shared = {
        p.data_ptr() for module in model.modules() if isinstance(module, nn.Embedding) for p in module.parameters()
    }
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear) and child.weight.data_ptr() not in shared:
                setattr(parent, name, Int8Linear(child))
