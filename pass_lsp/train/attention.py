"""Attention for training: packed rows of causal text, whose mask says which text each token belongs to."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

BLOCKS = 4
"""Parts of the queries of a row on a CPU. More leave more of the masked half out, and take longer to compile."""
_BLOCKWISE = "pass_lsp_blockwise"


def attention(device: torch.device) -> str:
    """What transformers shall call it: a CPU's fused attention is slower backward, with a mask, than `blockwise`."""
    return _BLOCKWISE if device.type == "cpu" else "sdpa"


def blockwise(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """query `[B, H, T, D]`, key and value `[B, K, T, D]`, an additive causal mask `[B, 1, T, T]` → `[B, T, H, D]`.

    Block by block of queries, without the keys behind it; all heads that share keys are rows of one product.
    """
    batch, heads, length, width = query.shape
    shared = key.size(1)
    grouped = query.view(batch, shared, heads // shared, length, width)
    size = -(-length // BLOCKS)
    blocks: list[torch.Tensor] = []
    for begin in range(0, length, size):
        end = min(begin + size, length)
        rows = grouped[:, :, :, begin:end]  # [B, K, H / K, S, D]
        scores = (rows.flatten(2, 3) @ key[:, :, :end].mT).unflatten(2, rows.shape[2:4]) * scaling
        scores = scores + attention_mask[:, :, None, begin:end, :end]
        weights = F.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)  # [B, K, H / K, S, end]
        blocks.append((weights.flatten(2, 3) @ value[:, :, :end]).view_as(rows))
    return torch.cat(blocks, dim=3).view(batch, heads, length, width).transpose(1, 2).contiguous(), None


AttentionInterface.register(_BLOCKWISE, blockwise)
AttentionMaskInterface.register(_BLOCKWISE, eager_mask)
