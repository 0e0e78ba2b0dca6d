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

Merged, one forward a cycle:

    pending token, d₁ … d_c │ a group LA₁ … LA_m behind each row that may be the last accepted one

Every row draws the target's own token, with the noise of its position, and goes on while that
equals the draft. This is exact whatever the draft is, and for one seed gives the tokens of
`autoregressive` at every temperature. The group behind the last accepted row is the next draft.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pass_lsp.decoding.copying import CopySource
from pass_lsp.decoding.forward import PREFILL_CHUNK, Forward
from pass_lsp.decoding.model import table_of
from pass_lsp.decoding.planner import MAX_COPY, Planner
from pass_lsp.decoding.sampling import (
    DRAFT,
    TARGET,
    draw,
    log_probs,
    residual,
    target_probs,
    target_tokens,
    uniform,
)
from pass_lsp.domain import Judged, SamplingParams, Step

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class Run:
    """Committed ids, in order, and the forward that brought them; the log-probabilities of its first ones, if asked."""

    token_ids: list[int]
    step: Step
    log_probs: tuple[float, ...] = ()


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
        logits = forward.prefill(pending).real
        tokens = target_tokens(logits, params, position).tolist()
        yield Run(tokens, Step(1, 0, 0, 1), _log_probs(logits, tokens, params, position - len(prompt_ids)))
        pending, position = tokens, position + 1


def parallel_speculative(
    forward: Forward, prompt_ids: Sequence[int], params: SamplingParams, limit: int, ends: frozenset[int]
) -> Iterator[Run]:
    """Two forwards a cycle, 2 to L + 2 tokens. `limit` bounds the positions used; a draft ends at an id of `ends`."""
    position = len(prompt_ids)
    pending = list(prompt_ids[forward.length :])
    while True:
        width = max(0, min(forward.num_lookahead, limit - position - 2))
        rows = forward.prefill(pending, width)
        (free,) = target_tokens(rows.real, params, position).tolist()
        told = _log_probs(rows.real, [free], params, position - len(prompt_ids))
        yield Run([free], Step(1, 0, 0, 1), told)
        position += 1
        drafts, draft_probs = _drafts(forward, rows.lookahead, free, params, position, ends)
        logits = forward([free, *drafts], num_logits=1 + len(drafts)).real  # [1 + len(drafts), V]
        accepted, token = verify(target_probs(logits, params), draft_probs, drafts, params, position)
        forward.crop(position + accepted)
        run = [*drafts[:accepted], token]
        told = _log_probs(logits, run, params, position - len(prompt_ids))
        yield Run(run, Step(1, len(drafts), accepted, accepted + 1), told)
        position += accepted + 1
        pending = [token]


def merged(
    forward: Forward,
    prompt_ids: Sequence[int],
    params: SamplingParams,
    planner: Planner,
    limit: int,
    ends: frozenset[int],
) -> Iterator[Run]:
    """One forward a cycle, 1 token and as many more as the draft was right; `planner` sizes drafts."""
    position = len(prompt_ids)
    pending, drafts = list(prompt_ids[forward.length :]), list[int]()
    text = CopySource(prompt_ids[:-1] if planner.copying else ())
    planner.begin()
    while True:
        room = max(0, limit - position - 1)
        drafts, match = _longest(text, planner, pending[-1], drafts[:room], room, ends)
        while len(pending) + len(drafts) > PREFILL_CHUNK:
            chunk = min(PREFILL_CHUNK, len(pending) - 1)
            forward(pending[:chunk])
            pending = pending[chunk:]
        groups = _groups(len(pending) - 1, len(drafts), bool(match), min(planner.depth, room - len(drafts)))
        rows = forward([*pending, *drafts], groups, num_logits=1 + len(drafts))
        settled = forward.settle(rows, drafts, params, position)
        if drafts:
            forward.crop(position + settled.accepted)
            planner.learn(len(drafts), settled.accepted, match)
        told = _log_probs(rows.real, settled.token_ids, params, position - len(prompt_ids))
        yield Run(settled.token_ids, Step(1, len(drafts), settled.accepted, len(settled.token_ids)), told)
        if planner.copying:
            text.extend([pending[-1], *settled.token_ids[:-1]])
        position, pending = position + len(settled.token_ids), settled.token_ids[-1:]
        drafts = _before_end(settled.drafts, ends)


def _log_probs(
    logits: torch.Tensor, token_ids: Sequence[int], params: SamplingParams, decoded: int
) -> tuple[float, ...]:
    """Of a run behind `decoded` tokens, by its logits `[R, V]`: as many as are among the first that are asked for."""
    count = min(len(token_ids), params.log_probs - decoded) if isinstance(params, Judged) else 0
    if count <= 0:
        return ()
    return tuple(log_probs(logits[:count], torch.tensor(token_ids[:count], device=logits.device)).tolist())


def _longest(
    text: CopySource, planner: Planner, pending: int, drafts: list[int], room: int, ends: frozenset[int]
) -> tuple[list[int], int]:
    """The draft that promises most, and the length of its match if it is a copy (0: look-ahead tokens)."""
    if not planner.copying:
        return drafts, 0
    copy = text.propose(pending, min(MAX_COPY, room))
    if not copy.match:
        return drafts, 0
    length = planner.copy_length(copy.match, len(copy.token_ids), len(drafts))
    return (_before_end(copy.token_ids[:length], ends), copy.match) if length else (drafts, 0)


def _before_end(drafts: list[int], ends: frozenset[int]) -> list[int]:
    """Nothing is drafted behind an id that ends the answer."""
    return next((drafts[: place + 1] for place, token in enumerate(drafts) if token in ends), drafts)


def _groups(last: int, num_drafts: int, copied: bool, depth: int) -> tuple[tuple[int, int], ...]:
    """Look-ahead rows behind every row that may be the last accepted one; of a copy, behind its two likeliest ends."""
    if depth <= 0:
        return ()
    rows = sorted({0, num_drafts}) if copied else range(num_drafts + 1)
    return tuple((last + row, depth) for row in rows)


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


def verify(
    target: torch.Tensor, draft: list[torch.Tensor], drafts: list[int], params: SamplingParams, position: int
) -> tuple[int, int]:
    """How many drafts stand, and the token after them; target `[1 + len(drafts), V]`, draft `[V]` for each."""
    for row, token in enumerate(drafts):
        ratio_top, ratio_bottom = target[row, token].item(), draft[row][token].item()
        if params.temperature == 0:
            refused = ratio_top == 0
        else:
            # A draft's law may be no numbers, which no comparison holds for.
            refused = not uniform(params, position + row) * ratio_bottom < ratio_top
        if refused:
            return row, draw(residual(target[row], draft[row]), params, TARGET, position + row)
    return len(drafts), draw(target[len(drafts)], params, TARGET, position + len(drafts))
