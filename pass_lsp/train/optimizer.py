"""Muon for matrices, AdamW for the rest.

Muon (Jordan et al. 2024) replaces a matrix's momentum by the nearest
semi-orthogonal matrix, found by a quintic Newton-Schulz iteration, in the number type
that the machine multiplies fastest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from pass_lsp.errors import TrainError

MOMENTUM = 0.95
PATIENCE = 20
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalized(matrices: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Approximately U Vᵀ of each matrix U S Vᵀ in `[B, n, m]`."""
    a, b, c = _COEFFICIENTS
    tall = matrices.size(1) > matrices.size(2)
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalized, scaled so that a step's size does not depend on the shape."""

    def __init__(
        self, params: list[nn.Parameter], lr: float, weight_decay: float = 0.0, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; matrices of one shape go through together."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in shapes.items():
                scale = max(1.0, shape[0] / shape[1]) ** 0.5
                momenta = torch.stack([self._nesterov(p, p.grad) for p in parameters])
                updates = orthogonalized(momenta.to(self._dtype)).to(momenta.dtype)
                for parameter, update in zip(parameters, updates, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(update, alpha=-group["lr"] * scale)

    def _nesterov(self, parameter: nn.Parameter, grad: torch.Tensor | None) -> torch.Tensor:
        assert grad is not None
        if "momentum" not in self.state[parameter]:
            self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        momentum = self.state[parameter]["momentum"].lerp_(grad, 1 - MOMENTUM)
        return grad.lerp(momentum, MOMENTUM)


def optimizers(
    model: nn.Module, muon_lr: float, adam_lr: float, dtype: torch.dtype = torch.float32
) -> list[torch.optim.Optimizer]:
    """One Muon (multiplying in `dtype`) over the hidden matrices, one AdamW over embeddings and norms."""
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        (matrices if parameter.ndim == 2 and "embed" not in name and "lm_head" not in name else others).append(
            parameter
        )
    adam = torch.optim.AdamW(others, lr=adam_lr, betas=(0.9, 0.95), weight_decay=0.0)
    made: list[torch.optim.Optimizer] = [Muon(matrices, lr=muon_lr, weight_decay=0.01, dtype=dtype), adam]
    for optimizer in made:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return made


@dataclass
class Patience:
    """With gradients that are not finite: such a step would be the end of the weights, and is left out."""

    missed: int = 0

    def bears(self, finite: bool) -> bool:
        """Whether to take the step. Raises `TrainError` after `PATIENCE` in a row that were not to be taken."""
        self.missed = 0 if finite else self.missed + 1
        if self.missed == PATIENCE:
            raise TrainError("The gradients are not finite; go on from what was saved, with a lower --rate.")
        return finite
