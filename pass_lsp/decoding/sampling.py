"""From logits to a token: the one place where temperature, top-k and top-p are applied.

Noise is a function of (seed, stream, absolute position), not drawn in sequence: a token's noise
does not depend on how many tokens a forward brought, so strategies can be compared token by token,
on any device. One number a token, by inverting the law's sum: a number for each id of the vocabulary
(Gumbel) cost as much as a small model's forward. Source of the mixing: Steele et al. 2014, SplitMix64.
"""

from __future__ import annotations

import torch

from pass_lsp.domain import SamplingParams

TARGET, DRAFT, ACCEPT = 0, 1, 2  # independent noise streams

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_WORD = 2**64 - 1
_COLD, _COLDEST = 1e-6, 1e-30
"""Below the second a float32 cannot tell the laws apart, nor hold the temperature."""


def target_probs(logits: torch.Tensor, params: SamplingParams) -> torch.Tensor:
    """The law that tokens are drawn from: logits `[R, V]` → float32 probabilities `[R, V]`.

    Temperature 0 gives one-hot rows. Order as in transformers: temperature, top-k, top-p.
    """
    logits = logits.float()
    if params.temperature == 0:
        return torch.zeros_like(logits).scatter_(-1, logits.argmax(-1, keepdim=True), 1.0)
    if params.temperature < _COLD:  # the quotients would overflow; only the distance to the highest counts
        logits = logits - logits.amax(-1, keepdim=True)
    logits = logits / max(params.temperature, _COLDEST)
    if 0 < params.top_k < logits.size(-1):
        floor = logits.topk(params.top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < floor, float("-inf"))
    if params.top_p < 1:
        probs = logits.softmax(-1)
        logits = logits.masked_fill(probs < _least_kept(probs, params.top_p), float("-inf"))
    return logits.softmax(-1)


def _least_kept(probs: torch.Tensor, top_p: float) -> torch.Tensor:
    """The smallest probability of the nucleus, `[R, 1]`: of the likeliest ids that together reach `top_p`.

    Sorting a vocabulary takes a CPU longer than a small model's forward. Ids so unlikely that all of
    them, were there V, would not weigh what the nucleus leaves out are left out first.
    """
    if probs.is_cuda:
        return _reached(probs.sort(dim=-1, descending=True).values, top_p)
    few = (1 - top_p) / probs.size(-1)
    return torch.stack([_reached(row[~(row < few)].sort(descending=True).values, top_p) for row in probs])


def _reached(ordered: torch.Tensor, top_p: float) -> torch.Tensor:
    """The last of the falling probabilities `[…, N]` before whose sum is below `top_p`, `[…, 1]`."""
    inside = (ordered.cumsum(-1) - ordered < top_p).sum(-1, keepdim=True)
    return ordered.gather(-1, inside.clamp_min(1) - 1)


def target_tokens(logits: torch.Tensor, params: SamplingParams, position: int) -> torch.Tensor:
    """The target's own token for `position` and on, one for each row of logits `[R, V]`, int64 `[R]` on the device."""
    if params.temperature == 0:
        return logits.argmax(-1)
    return _drawn(target_probs(logits, params), params, TARGET, position)


def log_probs(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Of tokens `[R]` by the model's own law, logits `[R, V]`, whatever it was warped to: float32 `[R]`, in nats."""
    logits = logits.float()
    return logits.gather(-1, tokens[:, None])[:, 0] - logits.logsumexp(-1)


def residual(target: torch.Tensor, draft: torch.Tensor) -> torch.Tensor:
    """The law after a rejection: the normalised positive part of target − draft, each `[V]`."""
    positive = (target - draft).clamp_min(0)
    mass = positive.sum()
    # Equal laws leave nothing but rounding; a rejection then has probability zero up to rounding.
    return positive / mass if mass > 1e-9 else target


def draw(probs: torch.Tensor, params: SamplingParams, stream: int, position: int) -> int:
    """One token of `probs` `[V]` with the noise of `position`."""
    return int(_drawn(probs[None], params, stream, position))


def _drawn(probs: torch.Tensor, params: SamplingParams, stream: int, position: int) -> torch.Tensor:
    """One token for each row of `probs` `[R, V]`, of `position` and on: the first whose sum passes the noise."""
    if params.temperature == 0:
        return probs.argmax(-1)
    device = probs.device
    if device.type == "mps":  # which has no float64
        probs = probs.to(torch.device("cpu"))
    sums = probs.cumsum(-1, dtype=torch.float64)
    noise = [uniform(params, position + row, stream) for row in range(len(probs))]
    reached = torch.tensor(noise, dtype=torch.float64).to(sums.device, non_blocking=True)[:, None] * sums[:, -1:]
    # Sums that are no numbers, of a model whose logits are none, pass nothing.
    tokens = torch.searchsorted(sums, reached, right=True)[:, 0].clamp_max(probs.size(-1) - 1)
    return tokens.to(device)


def uniform(params: SamplingParams, position: int, stream: int = ACCEPT) -> float:
    """The noise of `position` in `stream`, in (0, 1); far enough from 1 that no sum is missed by rounding."""
    word = _mixed(_mixed(params.seed & _WORD) + ((position << 2) | stream))
    return ((word >> 16) + 0.5) * 2.0**-48


def _mixed(word: int) -> int:
    word = (word + _GOLDEN) & _WORD
    for shift, factor in ((30, _FIRST), (27, _SECOND), (31, 1)):
        word = (word ^ word >> shift) * factor & _WORD
    return word
