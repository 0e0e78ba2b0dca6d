"""The honest figures: cycles begun on the true text, of look-ahead rows alone and of copies alone.

The cache holds the true text. From there one cycle of `merged` is run by the same forwards, masks
and head as ever: the model's own next token, the drafts that look-ahead rows make behind it, and how
many of those the model would have written itself. Then everything is put back to the true text. A
model that repeats itself cannot flatter this figure, because it never reads its own answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from tqdm import tqdm

from pass_lsp.bench.prompts import Task
from pass_lsp.decoding.cache import KVCache
from pass_lsp.decoding.copying import CopySource
from pass_lsp.decoding.executor import Executor
from pass_lsp.decoding.forward import Forward
from pass_lsp.decoding.layout import Layout
from pass_lsp.decoding.lookahead import Lookahead
from pass_lsp.decoding.planner import MAX_COPY
from pass_lsp.domain import SamplingParams


@dataclass(frozen=True, slots=True)
class Forced:
    """`acceptance[j]`: the share of positions where drafts 1 … j+1 are all the model's own."""

    positions: int
    acceptance: tuple[float, ...]

    def merged(self, length: int | None = None) -> float:
        """Tokens per forward of `merged`, one forward a cycle: a token and the accepted drafts."""
        return 1 + sum(self.acceptance[:length])

    def two_forwards(self, length: int | None = None) -> float:
        """Tokens per forward of `pass`, two forwards a cycle: a free token, the accepted drafts, one more token."""
        return (2 + sum(self.acceptance[:length])) / 2


def forced(executor: Executor, tasks: Sequence[Task], params: SamplingParams = SamplingParams()) -> Forced:
    """Acceptance of the artifact's drafts along the true text of `tasks`."""
    length = executor.lookahead.length if executor.lookahead is not None else 0
    accepted: list[int] = []
    for seed, task in enumerate(tqdm(tasks, desc="true text", unit="prompt")):
        if task.truth:
            accepted += _accepted(
                Forward(executor, KVCache(executor.new_slots), None), task, replace(params, seed=seed)
            )
    shares = tuple(sum(count > place for count in accepted) / max(1, len(accepted)) for place in range(length))
    return Forced(len(accepted), shares)


def _accepted(forward: Forward, task: Task, params: SamplingParams) -> list[int]:
    """For every position of the truth, how many of the drafts made there are the model's own."""
    length, counts = forward.num_lookahead, list[int]()
    rows = forward.prefill(task.token_ids, length)
    for token in task.truth:
        position = forward.length
        own = forward.settle(rows, [], params, position)
        checked = forward([*own.token_ids, *own.drafts], num_logits=1 + len(own.drafts))
        counts.append(forward.settle(checked, own.drafts, params, position + 1).accepted)
        forward.crop(position)
        rows = forward([token], ((0, length),) if length else ())
    return counts


def copied(executor: Executor, tasks: Sequence[Task], params: SamplingParams = SamplingParams()) -> float:
    """Tokens per forward along the true text when nothing but copies is drafted, as long as the source has them.

    A cycle gives the model's own next token and as many copied ones as it would have written after
    it. The next cycle begins so many tokens on, in the true text.
    """
    tokens, cycles = 0, 0
    for seed, task in enumerate(tasks):
        forward = Forward(executor, KVCache(executor.new_slots), None)
        source, place = CopySource(task.token_ids), 0
        rows = forward.prefill(task.token_ids)
        while place < len(task.truth):
            position, asked = forward.length, replace(params, seed=seed)
            own = forward.settle(rows, [], asked, position).token_ids
            drafts = source.propose(own[0], min(MAX_COPY, len(task.truth) - place - 1)).token_ids
            checked = forward([*own, *drafts], num_logits=1 + len(drafts))
            given = 1 + forward.settle(checked, drafts, asked, position + 1).accepted
            forward.crop(position)
            truth = task.truth[place : place + given]
            rows = forward(truth)
            source.extend(truth)
            tokens, cycles, place = tokens + given, cycles + 1, place + given
    return tokens / max(1, cycles)


class Shortened:
    """Implements `Executor`: another one, of whose artifact only a beginning is used."""

    def __init__(self, executor: Executor, length: int, head: bool = True) -> None:
        found = executor.lookahead
        assert found is not None
        self._executor = executor
        self.table, self.output_table = executor.table, executor.output_table
        self.lookahead: Lookahead | None = replace(
            found,
            embeddings=found.embeddings[:length],
            acceptance=found.acceptance[:length],
            head=found.head if head else None,
        )

    def new_slots(self) -> Any:
        """See `Executor.new_slots`."""
        return self._executor.new_slots()

    def forward(self, cache: KVCache, token_ids: Sequence[int], shape: Layout, num_logits: int) -> torch.Tensor:
        """See `Executor.forward`."""
        return self._executor.forward(cache, token_ids, shape, num_logits)
