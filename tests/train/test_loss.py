"""The chunked loss against the plain one: value and gradients, weights and chunk borders included."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from pass_lsp.train.loss import CHUNK, linear_cross_entropy


@pytest.mark.parametrize("rows", [1, 7, CHUNK, CHUNK + 1, 2 * CHUNK + 3])
def test_value_and_gradients_equal_the_plain_loss(rows: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    hidden = torch.randn(rows, 8, generator=generator, requires_grad=True)
    table = torch.randn(11, 8, generator=generator, requires_grad=True)
    targets = torch.randint(11, (rows,), generator=generator)
    weights = torch.rand(rows, generator=generator)
    weights[::3] = 0
    weights[0] = 1
    plain = (F.cross_entropy(hidden @ table.T, targets, reduction="none") * weights).sum() / weights.sum()
    wanted = torch.autograd.grad(3 * plain, (hidden, table))
    loss = linear_cross_entropy(hidden, table, targets, weights)
    found = torch.autograd.grad(3 * loss, (hidden, table))
    torch.testing.assert_close(loss, plain)
    for gradient, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-5)


def test_half_precision_hidden_states_give_float32_table_gradients() -> None:
    hidden = torch.randn(5, 8).bfloat16().requires_grad_(True)
    table = torch.randn(11, 8, requires_grad=True)
    linear_cross_entropy(hidden, table, torch.zeros(5, dtype=torch.long), torch.ones(5)).backward()
    assert hidden.grad is not None and hidden.grad.dtype == torch.bfloat16
    assert table.grad is not None and table.grad.dtype == torch.float32
