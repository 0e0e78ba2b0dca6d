"""From logits to a token: the one place where temperature, top-k and top-p are applied.

Noise is keyed by (seed, stream, absolute position), not drawn in sequence: a token's
noise does not depend on how many tokens a forward brought, so strategies can be
compared token by token.
"""

from __future__ import annotations

import numpy as np
import torch

from pass_lsp.domain import SamplingParams

TARGET, DRAFT, ACCEPT = 0, 1, 2  # independent noise streams


def target_probs(logits: torch.Tensor, params: SamplingParams) -> torch.Tensor:
    """The law that tokens are drawn from: logits `[R, V]` → float32 probabilities `[R, V]`.

    Temperature 0 gives one-hot rows. Order as in transformers: temperature, top-k, top-p.
    """
    logits = logits.float()
    if params.temperature == 0:
        return torch.zeros_like(logits).scatter_(-1, logits.argmax(-1, keepdim=True), 1.0)
    logits = logits / params.temperature
    if 0 < params.top_k < logits.size(-1):
        floor = logits.topk(params.top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < floor, float("-inf"))
    if params.top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        outside = (before >= params.top_p).scatter(-1, order, before >= params.top_p)
        logits = logits.masked_fill(outside, float("-inf"))
    return logits.softmax(-1)


def residual(target: torch.Tensor, draft: torch.Tensor) -> torch.Tensor:
    """The law after a rejection: the normalised positive part of target − draft, each `[V]`."""
    positive = (target - draft).clamp_min(0)
    mass = positive.sum()
    # Equal laws leave nothing but rounding; a rejection then has probability zero up to rounding.
    return positive / mass if mass > 1e-9 else target


def _generator(seed: int, stream: int, position: int) -> np.random.Generator:
    key = np.array([seed & (2**64 - 1), (position << 2) | stream], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def draw(probs: torch.Tensor, params: SamplingParams, stream: int, position: int) -> int:
    """One token of `probs` `[V]` by the Gumbel-max rule with the noise of `position`."""
    if params.temperature == 0:
        return int(probs.argmax())
    gumbel = _generator(params.seed, stream, position).gumbel(size=probs.size(-1))
    return int((probs.double().log() + torch.from_numpy(gumbel).to(probs.device)).argmax())


def uniform(params: SamplingParams, position: int) -> float:
    """The acceptance noise of `position`, in [0, 1)."""
    return float(_generator(params.seed, ACCEPT, position).random())
