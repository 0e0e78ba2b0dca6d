"""Greedy: `pass` = `autoregressive` = the naive twin = transformers' own generate, token for token in float32."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pass_lsp.decoding.strategies import naive
from pass_lsp.domain import SamplingParams
from tests.decoding.families import FAMILIES, tiny_engine

N = 24


def prompts():
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, 61, (length,), generator=generator).tolist() for length in (1, 2, 9, 20)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("num_lookahead", [1, 4])
def test_all_four_agree(family, num_lookahead):
    engine = tiny_engine(family, num_lookahead=num_lookahead)
    for prompt in prompts():
        plain = engine.generate(prompt, SamplingParams(max_new_tokens=N, strategy="autoregressive"))
        fast = engine.generate(prompt, SamplingParams(max_new_tokens=N, strategy="pass"))
        reference = engine.model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=N,
            do_sample=False,
            pad_token_id=0,
        )
        twin = list(islice(naive(engine.model, prompt, SamplingParams()), N))
        assert plain.token_ids == fast.token_ids == twin == reference[0, len(prompt) :].tolist()
        assert plain.forwards == N
        assert fast.forwards <= N


@pytest.mark.parametrize("family", ["llama", "qwen2-sliding", "starcoder2", "gemma2"])
def test_reuse_of_the_cache_changes_nothing(family):
    engine, fresh = tiny_engine(family), tiny_engine(family)
    generator = torch.Generator().manual_seed(3)
    prompt = torch.randint(0, 61, (12,), generator=generator).tolist()
    for strategy in ("pass", "autoregressive", "pass"):
        params = SamplingParams(max_new_tokens=10, strategy=strategy)
        result = engine.generate(prompt, params)
        fresh._parts.cache.clear()
        assert result.token_ids == fresh.generate(prompt, params).token_ids
        prompt = prompt[: len(prompt) - 3] + result.token_ids[:5]
    assert result.cached_tokens > 0


@settings(max_examples=30, deadline=None)
@given(
    prompt=st.lists(st.integers(0, 60), min_size=1, max_size=30),
    n=st.integers(0, 20),
    num_lookahead=st.integers(1, 6),
    stop_id=st.integers(0, 60),
)
def test_any_prompt_length_and_stop(prompt, n, num_lookahead, stop_id):
    engine = tiny_engine("llama", num_lookahead=num_lookahead)
    results = [
        engine.generate(prompt, SamplingParams(max_new_tokens=n, strategy=strategy, stop_ids=(stop_id,)))
        for strategy in ("autoregressive", "pass")
    ]
    assert results[0].token_ids == results[1].token_ids
    assert results[0].finish == results[1].finish


def test_long_prompts_are_prefilled_in_chunks_with_the_same_result():
    engine = tiny_engine("llama", max_position_embeddings=2000)
    prompt = [i * 7 % 61 for i in range(700)]
    params = SamplingParams(max_new_tokens=8, strategy="pass")
    assert engine.generate(prompt, params).token_ids == list(islice(naive(engine.model, prompt, params), 8))


@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_one_seed_gives_one_answer_whatever_was_cached(temperature):
    engine = tiny_engine("llama")
    params = SamplingParams(max_new_tokens=12, temperature=temperature, seed=5, strategy="autoregressive")
    first = engine.generate([1, 2, 3], params).token_ids
    assert engine.generate([1, 2, 3], params).token_ids == first
    assert first == list(islice(naive(engine.model, [1, 2, 3], params), 12))


def test_int8_is_exact_with_respect_to_its_own_weights():
    from pass_lsp.decoding.int8 import quantize

    engine = tiny_engine("llama")
    quantize(engine._model)
    for prompt in prompts():
        plain = engine.generate(prompt, SamplingParams(max_new_tokens=N, strategy="autoregressive"))
        fast = engine.generate(prompt, SamplingParams(max_new_tokens=N, strategy="pass"))
        assert plain.token_ids == fast.token_ids == list(islice(naive(engine._model, prompt, SamplingParams()), N))
