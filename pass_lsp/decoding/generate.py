"""From prompt ids to a `Generation`: takes runs from a strategy until the answer ends.

EOS, stop ids, the stop callable, the length and the cancel flag all end a request
here and nowhere else. A run is looked at token by token, so an end inside an accepted
run ends the answer exactly where one-token decoding would have ended it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pass_lsp.decoding.cache import CachePool
from pass_lsp.decoding.executor import Executor
from pass_lsp.decoding.forward import Cancelled, Forward
from pass_lsp.decoding.layout import SPARE_SLOTS
from pass_lsp.decoding.layout import branches as branches_layout
from pass_lsp.decoding.planner import Planner
from pass_lsp.decoding.sampling import target_tokens
from pass_lsp.decoding.strategies import Run, autoregressive, merged, parallel_speculative
from pass_lsp.domain import (
    Branch,
    CancelToken,
    Finish,
    Generation,
    Judged,
    OnCommit,
    SamplingParams,
    Step,
    Stop,
    Strategy,
)


@dataclass(frozen=True, slots=True)
class Parts:
    """What decoding needs of an engine.

    `planners` are those of `auto`, for greedy and for sampled answers, which are not foreseen
    equally well; their estimates outlive a request.
    """

    executor: Executor
    caches: CachePool
    planners: tuple[Planner, Planner]
    context_length: int
    eos_ids: frozenset[int]


@dataclass
class _Answer:
    """The ids so far, and what ends them."""

    params: SamplingParams
    eos_ids: frozenset[int]
    limit: int
    stop: Stop | None
    on_commit: OnCommit | None
    finish: Finish | None = None

    def __post_init__(self) -> None:
        self.token_ids: list[int] = []
        self.log_probs: list[float] = []
        judged = self.params if isinstance(self.params, Judged) else None
        self._least = judged.least_log_prob if judged else -math.inf
        self._on_log_probs = judged.on_log_probs if judged else None

    def commit(self, run: Sequence[int], log_probs: Sequence[float] = ()) -> int:
        """Append what may stay of `run`; returns how many of its tokens were looked at."""
        before, measured, taken = len(self.token_ids), len(self.log_probs), 0
        for token in run:
            taken += 1
            if self._ended_by(token, log_probs[taken - 1 : taken]):
                break
        if self._on_log_probs is not None and len(self.log_probs) > measured:
            self._on_log_probs(self.log_probs[measured:])
        if self.on_commit is not None and len(self.token_ids) > before:
            self.on_commit(self.token_ids[before:])
        return taken

    def _ended_by(self, token: int, log_prob: Sequence[float]) -> bool:
        if token in self.eos_ids or token in self.params.stop_ids:
            self.finish = "eos" if token in self.eos_ids else "stop"
            return True
        self.token_ids.append(token)
        self.log_probs += log_prob
        keep = self.stop(self.token_ids) if self.stop is not None else None
        if keep is not None:
            del self.token_ids[max(0, keep) :]
            self.finish = "stop"
        elif sum(self.log_probs) < self._least:
            self.finish = "stop"
        elif len(self.token_ids) >= self.limit:
            self.finish = "length"
        return self.finish is not None


def generate(
    parts: Parts,
    prompt_ids: Sequence[int],
    params: SamplingParams,
    strategy: Strategy,
    cancel: CancelToken | None = None,
    on_commit: OnCommit | None = None,
    stop: Stop | None = None,
) -> Generation:
    """Decode after `prompt_ids` (checked by the caller: 1 to `context_length` known ids)."""
    limit = min(params.max_new_tokens, parts.context_length - len(prompt_ids) + 1)
    answer = _Answer(params, parts.eos_ids, limit, stop, on_commit)
    cached = 0
    steps: list[Step] = []
    if limit:
        cache = parts.caches.take(prompt_ids)
        cached = cache.reuse(prompt_ids)
        forward = Forward(parts.executor, cache, cancel)
        _decode(_runs(parts, forward, prompt_ids, params, strategy, limit), answer, steps)
    return Generation(
        token_ids=answer.token_ids,
        finish=answer.finish or "length",
        forwards=sum(step.forwards for step in steps),
        drafted=sum(step.drafted for step in steps),
        accepted=sum(step.accepted for step in steps),
        cached_tokens=cached,
        prefilled_tokens=len(prompt_ids) - cached if limit else 0,
        strategy=strategy,
        steps=tuple(steps),
        log_probs=tuple(answer.log_probs),
    )


def sample(
    parts: Parts,
    prompt_ids: Sequence[int],
    params: SamplingParams,
    branches: Sequence[Branch],
    cancel: CancelToken | None = None,
) -> list[Generation]:
    """Answers to one prompt, decoded together: a forward has a row for each, nothing is drafted.

    The tokens are those that `generate` gives for each seed. A forward of a few rows costs little
    more than one of a single row.
    """
    limit = min(params.max_new_tokens, parts.context_length - len(prompt_ids) + 1)
    answers = [_Answer(replace(params, seed=b.seed), parts.eos_ids, limit, b.stop, b.on_commit) for b in branches]
    cached = 0
    if limit:
        cache = parts.caches.take(prompt_ids)
        cached = cache.reuse(prompt_ids)
        forward, at_once = Forward(parts.executor, cache, cancel), 1 + SPARE_SLOTS // limit
        try:
            for first in range(0, len(answers), at_once):
                forward.crop(min(len(prompt_ids) - 1, forward.length))
                _decode_together(forward, prompt_ids, answers[first : first + at_once])
        except Cancelled:
            for answer in answers:
                answer.finish = answer.finish or "cancelled"
        finally:
            forward.crop(min(len(prompt_ids), forward.length))
    return [
        Generation(
            answer.token_ids,
            answer.finish or "length",
            forwards=len(answer.token_ids),
            cached_tokens=cached,
            prefilled_tokens=len(prompt_ids) - cached if limit else 0,
            strategy="autoregressive",
        )
        for answer in answers
    ]


def _decode_together(forward: Forward, prompt_ids: Sequence[int], answers: Sequence[_Answer]) -> None:
    position, rounds = len(prompt_ids), list[list[int]]()
    logits = forward.prefill(prompt_ids[forward.length :]).real.expand(len(answers), -1)
    live = list(range(len(answers)))
    while live:
        tokens = {
            branch: int(target_tokens(logits[row : row + 1], answers[branch].params, position))
            for row, branch in enumerate(live)
        }
        for branch, token in tokens.items():
            answers[branch].commit([token])
        live = [branch for branch in live if answers[branch].finish is None]
        if live:
            logits = forward.branch([tokens[branch] for branch in live], branches_layout(live, len(prompt_ids), rounds))
            rounds.append(live)
            position += 1


def _decode(runs: Iterator[Run], answer: _Answer, steps: list[Step]) -> None:
    try:
        for run in runs:
            taken = answer.commit(run.token_ids, run.log_probs)
            step = run.step
            steps.append(Step(step.forwards, step.drafted, min(step.accepted, taken), taken))
            if answer.finish is not None:
                return
    except Cancelled:
        answer.finish = "cancelled"


def _runs(
    parts: Parts, forward: Forward, prompt_ids: Sequence[int], params: SamplingParams, strategy: Strategy, limit: int
) -> Iterator[Run]:
    if strategy == "autoregressive":
        return autoregressive(forward, prompt_ids, params)
    end, ends = len(prompt_ids) + limit, parts.eos_ids | set(params.stop_ids)
    if strategy == "pass":
        return parallel_speculative(forward, prompt_ids, params, end, ends)
    planner = parts.planners[params.temperature > 0] if strategy == "auto" else Planner(_known(parts.executor))
    return merged(forward, prompt_ids, params, planner, end, ends)


def _known(executor: Executor) -> tuple[float, ...]:
    """Acceptance by depth, for every look-ahead row there is: with costs that hardly grow all of them are used."""
    lookahead = executor.lookahead
    if lookahead is None:
        return ()
    return lookahead.acceptance or tuple(0.5 ** (depth + 1) for depth in range(lookahead.length))
