"""Gated LoRA: low-rank changes to linear layers that look-ahead rows see and ordinary rows never do.

Look-ahead rows are always the last rows of a forward, so the gate is a count. With the gate at
0 the model is bit for bit the stock one. Source: Samragh et al. 2025, section 3.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from pass_lsp.errors import LookaheadError

Factors = Mapping[str, tuple[torch.Tensor, torch.Tensor]]
"""By module path: (`a` `[r, in]`, `b` `[out, r]`)."""


_WRITERS = (".o_proj", ".down_proj", ".c_proj", ".dense", ".dense_4h_to_h", ".out_proj", ".fc2")


class Gate:
    """Which rows see the change: the last `rows`, or those that a mask `[R, 1]` marks with 1."""

    def __init__(self) -> None:
        self.rows = 0
        self.mask: torch.Tensor | None = None


def attach(model: nn.Module, factors: Factors) -> Gate:
    """Hang `factors` on the layers they name, behind a closed gate. Raises `LookaheadError` when they do not fit."""
    if not _fits(model, factors):
        raise LookaheadError(
            "The look-ahead artifact's LoRA was made for another model; train one for this model with "
            "`pass-lsp train lookahead`, or choose --lookahead none."
        )
    gate = Gate()
    modules = dict(model.named_modules())
    for path, (a, b) in factors.items():
        modules[path].register_forward_hook(_Change(gate, a, b))
    return gate


class _Change:
    def __init__(self, gate: Gate, a: torch.Tensor, b: torch.Tensor) -> None:
        self._gate, self._a, self._b = gate, a, b

    def __call__(self, _: nn.Module, given: Any, output: torch.Tensor) -> torch.Tensor:
        """`[…, R, in]` → what the layer made of it, `[…, R, out]`, changed where the gate is open.

        A layer beside experts is given rows without a batch.
        """
        gate, (rows,) = self._gate, given
        if gate.mask is not None:
            return output + F.linear(F.linear(rows, self._a) * gate.mask, self._b)
        if not gate.rows:
            return output
        change = F.linear(F.linear(rows[..., -gate.rows :, :], self._a), self._b)
        return torch.cat((output[..., : -gate.rows, :], output[..., -gate.rows :, :] + change), dim=-2)


def _fits(model: nn.Module, factors: Factors) -> bool:
    modules = dict(model.named_modules())
    for path, (a, b) in factors.items():
        layer = modules.get(path)
        sizes = (getattr(layer, "in_features", None), getattr(layer, "out_features", None))
        if a.dim() != 2 or b.dim() != 2 or (a.size(1), b.size(0)) != sizes or a.size(0) != b.size(1):
            return False
    return True


def targets(model: nn.Module) -> dict[str, nn.Linear]:
    """The linear layers that LoRA changes: those that write what a block adds, by their usual names; else all of them.

    On a small model each changed layer costs a CPU's forward more than it brings: changing all
    made one row 15 % slower.
    """
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None  # type: ignore[operator]
    linear = {path: m for path, m in model.named_modules() if isinstance(m, nn.Linear) and m is not head}
    return {path: m for path, m in linear.items() if path.endswith(_WRITERS)} or linear
