"""Answers decoded together = the same seeds one after the other, token for token, whichever executor runs them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pass_lsp.decoding import generate
from pass_lsp.domain import Branch, CancelToken, SamplingParams
from pass_lsp.engines.local import LocalEngine
from tests.decoding import test_graphs, test_static
from tests.decoding.families import FAMILIES, tiny_engine

PARAMS = SamplingParams(max_new_tokens=16, temperature=0.9, top_p=0.95)
SEEDS = (3, 4, 5, 6)


def prompt(length: int = 9) -> list[int]:
    return [i * 7 % 61 for i in range(length)]


def agree(engine: LocalEngine, params: SamplingParams, ids: list[int]) -> None:
    """Twice, so that a cache is met that other branches have used; the second time they end one by one."""
    for stop_ids in ((), tuple(range(0, 61, 9))):
        wanted = replace(params, stop_ids=stop_ids)
        together = engine.sample(ids, wanted, [Branch(seed) for seed in SEEDS])
        for seed, found in zip(SEEDS, together, strict=True):
            alone = engine.generate(ids, replace(wanted, seed=seed, strategy="autoregressive"))
            assert (found.token_ids, found.finish) == (alone.token_ids, alone.finish)


@pytest.mark.parametrize("family", FAMILIES)
def test_stock_models_sample_together_what_they_sample_alone(family: str) -> None:
    agree(tiny_engine(family), PARAMS, prompt())


@pytest.mark.parametrize("family", FAMILIES)
def test_static_buffers_do_too(family: str) -> None:
    agree(test_static.engine(family), PARAMS, prompt())


@pytest.mark.parametrize("family", (*test_graphs.FUSED, "llama-tied", "gemma2", "starcoder2"))
def test_converted_graphs_do_too(family: str, tmp_path: Path) -> None:
    agree(test_graphs.engine(test_graphs.converted(family, tmp_path), family), PARAMS, prompt())


def test_ends_fall_apart_here() -> None:
    """What `agree` relies on: some branch goes on alone."""
    ends = replace(PARAMS, stop_ids=tuple(range(0, 61, 9)))
    lengths = [len(f.token_ids) for f in tiny_engine("llama").sample(prompt(), ends, [Branch(s) for s in SEEDS])]
    assert sorted(lengths)[-1] > sorted(lengths)[-2] + 1


def test_more_branches_than_there_are_slots_to_spare_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "SPARE_SLOTS", 20)  # two at a time
    agree(tiny_engine("llama"), PARAMS, prompt())


def test_at_the_end_of_the_context_branches_end_as_one_answer_does() -> None:
    agree(tiny_engine("llama"), PARAMS, prompt(120))
    agree(tiny_engine("llama"), PARAMS, prompt(128))


def test_each_branch_is_heard_and_stopped_by_itself() -> None:
    engine, heard = tiny_engine("llama"), {seed: list[int]() for seed in SEEDS}
    branches = [
        Branch(seed, stop=lambda ids, n=n: n if len(ids) > n else None, on_commit=heard[seed].extend)
        for n, seed in enumerate(SEEDS)
    ]
    found = engine.sample(prompt(), PARAMS, branches)
    assert [len(f.token_ids) for f in found] == [0, 1, 2, 3] and {f.finish for f in found} == {"stop"}
    assert [heard[seed] for seed in SEEDS] == [f.token_ids for f in found]


def test_a_cancelled_sample_leaves_a_cache_that_is_true() -> None:
    engine, token = tiny_engine("llama"), CancelToken()
    late = Branch(SEEDS[0], stop=lambda ids: token.cancel() if len(ids) == 4 else None)
    found = engine.sample(prompt(), PARAMS, [late, Branch(SEEDS[1])], cancel=token)
    assert [f.finish for f in found] == ["cancelled"] * 2 and len(found[0].token_ids) == 4
    longer = [*prompt(), *found[0].token_ids, 1, 2, 3]
    again = engine.generate(longer, SamplingParams(8))
    assert again.cached_tokens == len(prompt())
    assert again.token_ids == tiny_engine("llama").generate(longer, SamplingParams(8)).token_ids
