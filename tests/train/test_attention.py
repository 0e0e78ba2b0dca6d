"""Attention for training: what transformers' plain one gives, and its gradients."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers.models.llama.modeling_llama import eager_attention_forward

from pass_lsp.train.attention import BLOCKS, attention, blockwise
from pass_lsp.train.fim import attention_mask


def packed_mask(batch: int, length: int) -> torch.Tensor:
    """`[B, 1, T, T]`: rows of several texts, and of padding at their end."""
    owner = torch.arange(length).div(length // 3, rounding_mode="floor").repeat(batch, 1)
    owner[-1, length - length // 5 :] = -1
    seen = attention_mask(owner)
    return torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)


@pytest.mark.parametrize("length", [1, BLOCKS - 1, BLOCKS, 9 * BLOCKS, 9 * BLOCKS + 1])
@pytest.mark.parametrize(("heads", "shared"), [(5, 1), (6, 3), (4, 4)])
def test_blocks_give_what_the_whole_gives_and_its_gradients(heads: int, shared: int, length: int) -> None:
    torch.manual_seed(length)
    query = torch.randn(2, heads, length, 8, requires_grad=True)
    key, value = (torch.randn(2, shared, length, 8, requires_grad=True) for _ in range(2))
    mask = packed_mask(2, max(length, 3))[:, :, :length, :length]
    module = SimpleNamespace(num_key_value_groups=heads // shared, training=True)
    found = []
    for attend in (blockwise, eager_attention_forward):
        out, _ = attend(module, query, key, value, mask, scaling=0.3)
        wanted = torch.autograd.grad((out * torch.arange(8.0)).sum(), (query, key, value))
        found.append((out, *wanted))
    for mine, theirs in zip(*found, strict=True):
        assert mine.shape == theirs.shape
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_a_cpu_attends_by_blocks_and_a_gpu_as_torch_does() -> None:
    assert attention(torch.device("cuda")) == "sdpa"
    assert attention(torch.device("cpu")) == "pass_lsp_blockwise"
