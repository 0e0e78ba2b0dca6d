"""From logits to a token: the one place where temperature, top-k and top-p are applied.

Noise is a function of (seed, stream, absolute position, token id), not drawn in sequence: a
token's noise does not depend on how many tokens a forward brought, so strategies can be
compared token by token, on any device. Source of the mixing: Steele et al. 2014, SplitMix64.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pass_lsp.domain import SamplingParams

TARGET, DRAFT, ACCEPT = 0, 1, 2  # independent noise streams

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_WORD = 2**64 - 1


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


def target_tokens(
    logits: torch.Tensor, params: SamplingParams, position: int, drafts: Sequence[int] = ()
) -> torch.Tensor:
    """The target's own token for `position` and on, one for each row of logits `[R, V]`, int64 `[R]` on the device.

    Where the device need not be waited for, rows behind the first that disagrees with its draft are
    not drawn and give -1: nobody asks for them, and a draw costs.
    """
    if params.temperature == 0:
        return logits.argmax(-1)
    tokens: list[torch.Tensor] = []
    for row, probs in enumerate(target_probs(logits, params)):
        tokens.append(_drawn(probs, params, TARGET, position + row))
        if not logits.is_cuda and row < len(drafts) and int(tokens[-1]) != drafts[row]:
            break
    undrawn = tokens[0].new_full((len(logits) - len(tokens),), -1)
    return torch.cat((torch.stack(tokens), undrawn))


def residual(target: torch.Tensor, draft: torch.Tensor) -> torch.Tensor:
    """The law after a rejection: the normalised positive part of target − draft, each `[V]`."""
    positive = (target - draft).clamp_min(0)
    mass = positive.sum()
    # Equal laws leave nothing but rounding; a rejection then has probability zero up to rounding.
    return positive / mass if mass > 1e-9 else target


def draw(probs: torch.Tensor, params: SamplingParams, stream: int, position: int) -> int:
    """One token of `probs` `[V]` by the Gumbel-max rule with the noise of `position`."""
    return int(_drawn(probs, params, stream, position))


def _drawn(probs: torch.Tensor, params: SamplingParams, stream: int, position: int) -> torch.Tensor:
    if params.temperature == 0:
        return probs.argmax()
    # After top-k and top-p few ids are left to ask noise for; a GPU would have to be waited for to know them.
    possible = torch.arange(probs.size(-1), device=probs.device) if probs.is_cuda else probs.nonzero()[:, 0]
    gumbel = -(-uniforms(params.seed, stream, position, possible).log()).log()
    return possible[(probs[possible].double().log() + gumbel).argmax()]


def uniform(params: SamplingParams, position: int) -> float:
    """The acceptance noise of `position`, in (0, 1)."""
    return float(uniforms(params.seed, ACCEPT, position, torch.zeros(1, dtype=torch.long)))


def uniforms(seed: int, stream: int, position: int, ids: torch.Tensor) -> torch.Tensor:
    """Independent uniform numbers in (0, 1), float64, one for each of `ids` (int64, any shape)."""
    key = _mixed(_mixed(seed & _WORD) + ((position << 2) | stream))
    bits = ids * _signed(_GOLDEN) + _signed(key)
    for shift, factor in ((30, _FIRST), (27, _SECOND), (31, 1)):
        bits = (bits ^ (bits >> shift & (1 << (64 - shift)) - 1)) * _signed(factor)
    return ((bits >> 12 & (1 << 52) - 1).double() + 0.5) * 2.0**-52


def _mixed(word: int) -> int:
    word = (word + _GOLDEN) & _WORD
    for shift, factor in ((30, _FIRST), (27, _SECOND), (31, 1)):
        word = (word ^ word >> shift) * factor & _WORD
    return word


def _signed(word: int) -> int:
    return word - 2**64 if word >= 2**63 else word
