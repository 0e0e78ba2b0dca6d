"""Attention masks as stock models take them: one, or one for each kind of layer where windows slide."""

from __future__ import annotations

from typing import Any

import torch


def window_of(config: Any) -> int | None:
    """Width of the sliding window of a text config, None when no layer slides."""
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if not window or (kinds is None and not getattr(config, "use_sliding_window", True)):
        return None
    return int(window) if kinds is None or "sliding_attention" in kinds else None


def mask_kinds(config: Any) -> tuple[str, ...]:
    """The masks that a model with this text config takes, of `full_attention` and `sliding_attention`."""
    if window_of(config) is None:
        return ("full_attention",)
    kinds = set(getattr(config, "layer_types", None) or ("sliding_attention",))
    return tuple(kind for kind in ("full_attention", "sliding_attention") if kind in kinds)


def additive_masks(
    config: Any, allowed: torch.Tensor, queries: torch.Tensor, keys: torch.Tensor, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """Masks `[Q, K]` by kind: 0 where a row may attend, the lowest number elsewhere.

    `allowed` `[Q, K]` is what the rows' order permits; positions `queries` `[Q]` and
    `keys` `[K]` decide what a window hides.
    """
    masks = {}
    for kind in mask_kinds(config):
        seen = allowed
        if kind == "sliding_attention" and (window := window_of(config)):
            seen = allowed & (queries[:, None] - keys[None] < window)
        masks[kind] = torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(
            ~seen, torch.finfo(dtype).min
        )
    return masks


def as_argument(masks: dict[str, torch.Tensor], batch: int = 1) -> Any:
    """The `attention_mask` argument of a stock model: `[B, 1, Q, K]`, or a dict of such where kinds differ."""
    shaped = {kind: mask[None, None].expand(batch, 1, -1, -1) for kind, mask in masks.items()}
    return next(iter(shaped.values())) if len(shaped) == 1 else shaped
