"""Muon against the singular value decomposition that it approximates, and on a small problem."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pass_lsp.train.optimizer import Muon, optimizers, orthogonalized


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 6, 20), (2, 20, 6), (1, 5, 1)])
def test_singular_values_come_near_one_and_directions_stay(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 7
    found = orthogonalized(matrices)
    u, values, vt = torch.linalg.svd(matrices, full_matrices=False)
    # The quintic's coefficients trade exactness for speed: it ends between 0.7 and 1.2 (Jordan et al. 2024).
    sharp = values > values.amax(-1, keepdim=True) * 0.05
    core = u.mT @ found @ vt.mT
    diagonal = core.diagonal(dim1=-2, dim2=-1)
    assert ((diagonal > 0.6) & (diagonal < 1.3))[sharp].all()
    assert (core - torch.diag_embed(diagonal)).abs().max() < 1e-3


def test_scale_and_batch_do_not_matter() -> None:
    matrices = torch.randn(4, 6, 9, generator=torch.Generator().manual_seed(1))
    together = orthogonalized(matrices)
    assert torch.allclose(together, orthogonalized(matrices * 1000), atol=1e-4)
    for number, matrix in enumerate(matrices):
        assert torch.allclose(together[number], orthogonalized(matrix[None])[0], atol=1e-5)
    assert torch.equal(orthogonalized(torch.zeros(1, 3, 4)), torch.zeros(1, 3, 4))


def problem() -> tuple[nn.Sequential, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
    inputs = torch.randn(64, 8, generator=generator)
    return model, inputs, torch.randn(64, 8, generator=generator)[:, :4].sin() + inputs[:, :4]


def test_muon_lowers_a_loss() -> None:
    model, inputs, wanted = problem()
    muon = Muon([p for p in model.parameters() if p.ndim == 2], lr=0.02)
    losses = []
    for _ in range(60):
        loss = (model(inputs) - wanted).square().mean()
        losses.append(loss.item())
        muon.zero_grad()
        loss.backward()
        muon.step()
    assert losses[-1] < 0.6 * losses[0]


def test_a_step_s_size_is_the_rate_whatever_the_gradient_s() -> None:
    for scale in (1e-3, 1e3):
        parameter = nn.Parameter(torch.zeros(6, 6))
        parameter.grad = torch.randn(6, 6, generator=torch.Generator().manual_seed(3)) * scale
        Muon([parameter], lr=0.1).step()
        assert 0.05 < torch.linalg.matrix_norm(parameter.detach(), 2) < 0.13


def test_parameters_without_a_gradient_stay_and_decay_shrinks() -> None:
    still, moved = nn.Parameter(torch.ones(3, 3)), nn.Parameter(torch.ones(3, 3))
    moved.grad = torch.zeros(3, 3)
    Muon([still, moved], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(still, torch.ones(3, 3))
    assert torch.allclose(moved, torch.full((3, 3), 0.95))


def test_same_shapes_together_give_what_each_gives_alone() -> None:
    gradients = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(4))
    together = [nn.Parameter(torch.zeros(4, 6)) for _ in gradients]
    for parameter, gradient in zip(together, gradients, strict=True):
        parameter.grad = gradient.clone()
    Muon(together, lr=0.1).step()
    for parameter, gradient in zip(together, gradients, strict=True):
        alone = nn.Parameter(torch.zeros(4, 6))
        alone.grad = gradient.clone()
        Muon([alone], lr=0.1).step()
        assert torch.allclose(parameter, alone, atol=1e-6)


def test_muon_has_the_hidden_matrices_and_adam_the_rest() -> None:
    model = nn.ModuleDict({"embed_tokens": nn.Embedding(5, 4), "proj": nn.Linear(4, 4), "lm_head": nn.Linear(4, 5)})
    muon, adam = optimizers(model, muon_lr=0.02, adam_lr=0.004)
    assert [id(p) for group in muon.param_groups for p in group["params"]] == [id(model["proj"].weight)]
    assert sum(len(group["params"]) for group in adam.param_groups) == 4
    assert [muon.param_groups[0]["peak_lr"], adam.param_groups[0]["peak_lr"]] == [0.02, 0.004]
