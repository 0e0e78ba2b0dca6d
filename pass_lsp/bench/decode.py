"""`bench decode`: every strategy and transformers' own generate, on the same prompts, in one run.

Each prompt is decoded by every contender in turn, `repeats` times, with an empty
cache; a figure is the median over prompts of the medians over repeats, and speed-ups are
ratios prompt by prompt. Free-running figures come with the share of repeated 8-grams,
because a model that repeats itself makes any drafter look good.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from tqdm import tqdm

from pass_lsp.bench.holes import NEAR_PREFIX, NEAR_SUFFIX, Hole
from pass_lsp.domain import Context, Mode, SamplingParams, Strategy
from pass_lsp.engines.local import LocalEngine
from pass_lsp.prompt import render, template_for

REFERENCE = "autoregressive"


@dataclass
class Score:
    """What one contender did over all prompts."""

    seconds: list[float] = field(default_factory=list)
    tokens: int = 0
    forwards: int = 0
    drafted: int = 0
    accepted: int = 0
    repeated: list[float] = field(default_factory=list)


def bench_decode(
    engine: LocalEngine, holes: Sequence[Hole], max_new_tokens: int, repeats: int, temperature: float
) -> dict[str, Any]:
    """One row a contender: tokens per second, tokens per forward, acceptance, speed-up over `autoregressive`."""
    contenders = _contenders(engine, max_new_tokens, temperature)
    scores = {name: Score() for name in contenders}
    prompts = [prompt_ids(engine, hole) for hole in holes]
    for run in contenders.values():
        run(prompts[0])
    for ids in tqdm(prompts, desc="decode", unit="prompt"):
        for name, run in contenders.items():
            taken: list[float] = []
            tokens: list[int] = []
            for _ in range(repeats):
                began = time.perf_counter()
                tokens = run(ids, scores[name])
                taken.append((time.perf_counter() - began) / max(1, len(tokens)))
            scores[name].seconds.append(statistics.median(taken))
            scores[name].repeated.append(repeated_share(tokens))
    rows = [_row(name, score, scores[REFERENCE]) for name, score in scores.items()]
    return {
        "prompts": len(prompts),
        "prompt_tokens": round(statistics.mean(map(len, prompts))),
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "repeats": repeats,
        "threads": torch.get_num_threads(),
        "device": engine.device,
        "dtype": engine.dtype,
        "auto": engine.auto_strategy,
        "rows": rows,
    }


def prompt_ids(engine: LocalEngine, hole: Hole) -> tuple[int, ...]:
    """The hole as the model's own fill-in-the-middle prompt."""
    context = Context(hole.prefix[-NEAR_PREFIX:], hole.suffix[:NEAR_SUFFIX], Mode.MULTI_LINE, path=hole.path)
    room = engine.context_length - 128
    return render(context, template_for(engine.tokenizer), engine.tokenizer, room).token_ids


def repeated_share(token_ids: Sequence[int], n: int = 8) -> float:
    """The share of n-grams of `token_ids` that occurred before in it."""
    grams = [tuple(token_ids[i : i + n]) for i in range(len(token_ids) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


Contender = Callable[..., list[int]]


def _contenders(engine: LocalEngine, max_new_tokens: int, temperature: float) -> dict[str, Contender]:
    stop_ids = template_for(engine.tokenizer).stop_ids

    def ours(strategy: Strategy) -> Contender:
        params = SamplingParams(max_new_tokens, temperature, stop_ids=stop_ids, strategy=strategy)

        def run(ids: tuple[int, ...], score: Score | None = None) -> list[int]:
            engine.forget()
            result = engine.generate(ids, params)
            if score is not None:
                score.tokens += sum(step.committed for step in result.steps)
                score.forwards += result.forwards
                score.drafted += result.drafted
                score.accepted += result.accepted
            return result.token_ids

        return run

    model: Any = engine.model

    def theirs(ids: tuple[int, ...], score: Score | None = None) -> list[int]:
        made = model.generate(
            torch.tensor([ids], device=model.device),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long, device=model.device),
            max_new_tokens=max_new_tokens,
            do_sample=temperature > 0,
            temperature=temperature or None,
            eos_token_id=[*stop_ids],
            pad_token_id=0,
        )[0, len(ids) :].tolist()
        if score is not None:
            score.tokens += len(made)
            score.forwards += len(made)
        return made

    strategies: list[Strategy] = [REFERENCE, *(["pass"] if engine.lookahead else []), "auto"]
    return {**{name: ours(name) for name in strategies}, "transformers generate": theirs}


def _row(name: str, score: Score, reference: Score) -> dict[str, Any]:
    speedups = [mine / own for own, mine in zip(score.seconds, reference.seconds, strict=True)]
    return {
        "strategy": name,
        "tokens_per_second": round(1 / statistics.median(score.seconds), 1),
        "tokens_per_forward": round(score.tokens / max(1, score.forwards), 3),
        "acceptance_rate": round(score.accepted / score.drafted, 3) if score.drafted else None,
        "speedup": round(statistics.median(speedups), 2),
        "repeated_8grams": round(statistics.mean(score.repeated), 3),
    }
