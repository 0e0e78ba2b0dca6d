"""Who decodes: this engine by each strategy, and transformers' own loops on the same weights.

Each answers a task with an empty cache. The clock is read when the first token is there and when
the answer is complete, so that reading the prompt and decoding are told apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from pass_lsp.bench.prompts import Task
from pass_lsp.decoding.model import load_model
from pass_lsp.domain import SamplingParams, Step, Strategy
from pass_lsp.engines.local import LocalEngine
from pass_lsp.prompt import template_for

REFERENCE = "autoregressive"
GENERATE, LOOKUP = "transformers generate", "transformers prompt lookup"
LOOKUP_TOKENS = 10


@dataclass(frozen=True, slots=True)
class Answer:
    """What came, and when: `first` seconds to the first tokens, `rest` for the `late` tokens after them."""

    token_ids: list[int]
    first: float
    rest: float
    late: int
    forwards: int
    steps: tuple[Step, ...] = ()

    @property
    def tokens(self) -> int:
        """Tokens decoded, the one that ended the answer included."""
        return sum(step.committed for step in self.steps) if self.steps else len(self.token_ids)


Contender = Callable[[Task, int], Answer]
"""A task and a seed → an answer."""


def contenders(engine: LocalEngine, most: int, temperature: float) -> dict[str, Contender]:
    """Everyone who can decode `engine`'s weights here, the reference first; answers have `most` tokens at most."""
    strategies: list[Strategy] = [REFERENCE, *(["pass"] if engine.lookahead else []), "merged", "auto"]
    model = reference_model(engine)
    return {
        **{name: ours(engine, name, most, temperature) for name in strategies},
        GENERATE: theirs(engine, model, most, temperature, {}),
        LOOKUP: theirs(engine, model, most, temperature, {"prompt_lookup_num_tokens": LOOKUP_TOKENS}),
    }


def reference_model(engine: LocalEngine) -> Any:
    """The stock model to compare with: in the engine's own type on a GPU, else in float32."""
    if engine.dtype != "bfloat16":
        return engine.model
    return load_model(engine.path, torch.device(engine.device), engine.dtype, trust_remote_code=False)


def ours(engine: LocalEngine, strategy: Strategy, most: int, temperature: float) -> Contender:
    """This engine, as the server calls it."""
    stop_ids = template_for(engine.tokenizer).stop_ids

    def run(task: Task, seed: int) -> Answer:
        engine.forget()
        clock: list[float] = []
        params = SamplingParams(most, temperature, seed=seed, stop_ids=stop_ids, strategy=strategy)
        began = time.perf_counter()
        result = engine.generate(task.token_ids, params, on_commit=lambda _: clock.append(time.perf_counter()))
        ended = time.perf_counter()
        first = clock[0] if clock else ended
        late = sum(step.committed for step in result.steps[1:])
        return Answer(result.token_ids, first - began, ended - first, late, result.forwards, result.steps)

    return run


def theirs(engine: LocalEngine, model: Any, most: int, temperature: float, options: dict[str, Any]) -> Contender:
    """transformers' `generate` with `options`."""
    ends = sorted({*template_for(engine.tokenizer).stop_ids, *_eos_ids(model)})

    def run(task: Task, seed: int) -> Answer:
        clock, count = _Clock(), _Count(model)
        torch.manual_seed(seed)
        ids = torch.tensor([task.token_ids], device=model.device)
        sampling = {"temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature else {}
        began = time.perf_counter()
        made = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=most, do_sample=temperature > 0,
            eos_token_id=ends or None, pad_token_id=0, streamer=clock, **sampling, **options,
        )[0, ids.size(1) :].tolist()  # fmt: skip
        ended = time.perf_counter()
        count.end()
        return Answer(made, clock.first - began, ended - clock.first, len(made) - clock.tokens, count.forwards)

    return run


def _eos_ids(model: Any) -> list[int]:
    found = model.generation_config.eos_token_id
    found = model.config.eos_token_id if found is None else found
    return [] if found is None else [found] if isinstance(found, int) else list(found)


class _Clock:
    """A streamer that only notes when the first new tokens came, and how many."""

    def __init__(self) -> None:
        self.first, self.tokens, self._calls = 0.0, 0, 0

    def put(self, ids: torch.Tensor) -> None:
        self._calls += 1
        if self._calls == 2:  # the prompt comes first
            self.first, self.tokens = time.perf_counter(), ids.numel()

    def end(self) -> None:
        """Nothing is held back."""


class _Count:
    """Counts a model's forwards until `end`."""

    def __init__(self, model: Any) -> None:
        self.forwards = 0
        self._hook = model.register_forward_pre_hook(self._see)

    def _see(self, *_: object) -> None:
        self.forwards += 1

    def end(self) -> None:
        self._hook.remove()
