"""The decode loops: each yields the tokens it is sure of, with what they cost.

A strategy knows ids, logits and noise; where an answer ends (EOS, stops, lengths)
is its caller's business, who simply takes no more. `naive` is the reference that
every test trusts: no cache, no batching of rows, one whole forward a token.

PaSS, two forwards a cycle (Monea, Joulin, Grave 2023, sections 2 and 3):

    A  ids not cached yet │ LA₁ … LA_L      → free token, drafts d₁ … d_L
    B  free token, d₁ … d_L                 → accept, then one more token

The free token is exact, because ordinary rows never see look-ahead rows. A draft is
accepted with min(1, target/draft); the first refused one is replaced by a draw from
the residual; when none is refused, the last row gives a bonus token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from pass_lsp.decoding.forward import Forward
from pass_lsp.decoding.model import table_of
from pass_lsp.decoding.sampling import DRAFT, TARGET, draw, residual, target_probs, uniform
from pass_lsp.domain import SamplingParams, Step


@dataclass(frozen=True, slots=True)
class Run:
    """Committed ids, in order, and the forward that brought them."""

    token_ids: list[int]
    step: Step


@torch.inference_mode()
def naive(model: PreTrainedModel, prompt_ids: Sequence[int], params: SamplingParams) -> Iterator[int]:
    """One token a forward, everything computed anew: obviously right, and slow."""
    token_ids = list(prompt_ids)
    while True:
        device = table_of(model).device
        logits = model(input_ids=torch.tensor([token_ids], device=device), use_cache=False).logits[0, -1:]
        token_ids.append(draw(target_probs(logits, params)[0], params, TARGET, len(token_ids)))
        yield token_ids[-1]


def autoregressive(forward: Forward, prompt_ids: Sequence[int], params: SamplingParams) -> Iterator[Run]:
    """One token a forward."""
    position = len(prompt_ids)
    pending = list(prompt_ids[forward.length :])
    while True:
        logits = forward.prefill(pending)
        token = draw(target_probs(logits, params)[0], params, TARGET, position)
        yield Run([token], Step(1, 0, 0, 1))
        pending, position = [token], position + 1


def parallel_speculative(
    forward: Forward,
    prompt_ids: Sequence[int],
    params: SamplingParams,
    num_lookahead: int,
    limit: int,
    ends: frozenset[int],
) -> Iterator[Run]:
    """Two forwards a cycle, 2 to L + 2 tokens. `limit` bounds the positions used; a draft ends at an id of `ends`."""
    position = len(prompt_ids)
    pending = list(prompt_ids[forward.length :])
    while True:
        width = max(0, min(num_lookahead, limit - position - 2))
        logits = forward.prefill(pending, width)  # [1 + width, V]
        free = draw(target_probs(logits[:1], params)[0], params, TARGET, position)
        yield Run([free], Step(1, 0, 0, 1))
        position += 1
        drafts, draft_probs = _drafts(forward, logits[1:], free, params, position, ends)
        logits = forward([free, *drafts], num_logits=1 + len(drafts))  # [1 + len(drafts), V]
        accepted, token = _verify(target_probs(logits, params), draft_probs, drafts, params, position)
        forward.crop(position + accepted)
        yield Run([*drafts[:accepted], token], Step(1, len(drafts), accepted, accepted + 1))
        position += accepted + 1
        pending = [token]


def _drafts(
    forward: Forward, logits: torch.Tensor, previous: int, params: SamplingParams, position: int, ends: frozenset[int]
) -> tuple[list[int], list[torch.Tensor]]:
    """Ids for `position` on, and the law `[V]` each was drawn from; nothing is drafted behind an end.

    Each law is fixed before its token is drawn, and depends only on what was drawn before:
    that is all the acceptance rule asks for.
    """
    drafts: list[int] = []
    laws: list[torch.Tensor] = []
    for row in logits:  # [V]
        laws.append(target_probs(forward.sharpened(row, previous)[None], params)[0])
        previous = draw(laws[-1], params, DRAFT, position + len(drafts))
        drafts.append(previous)
        if previous in ends:
            break
    return drafts, laws


def _verify(
    target: torch.Tensor, draft: list[torch.Tensor], drafts: list[int], params: SamplingParams, position: int
) -> tuple[int, int]:
    """How many drafts stand, and the token after them; target `[1 + len(drafts), V]`, draft `[V]` for each."""
    for row, token in enumerate(drafts):
        ratio_top, ratio_bottom = target[row, token].item(), draft[row][token].item()
        if params.temperature == 0:
            refused = ratio_top == 0
        else:
            refused = uniform(params, position + row) * ratio_bottom >= ratio_top
        if refused:
            return row, draw(residual(target[row], draft[row]), params, TARGET, position + row)
    return len(drafts), draw(target[len(drafts)], params, TARGET, position + len(drafts))
