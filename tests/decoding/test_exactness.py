"""Greedy: every strategy = the naive twin = transformers' own generate, token for token in float32."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Qwen2MoeConfig, Qwen2MoeForCausalLM

from pass_lsp.decoding.cache import KVCache
from pass_lsp.decoding.forward import Forward
from pass_lsp.decoding.layout import layout
from pass_lsp.decoding.lookahead import random_lookahead
from pass_lsp.decoding.lora import targets
from pass_lsp.decoding.strategies import naive
from pass_lsp.domain import Judged, SamplingParams
from pass_lsp.engines.local import engine_of
from pass_lsp.errors import PromptError
from tests.decoding.families import FAMILIES, SMALL, tiny_engine, tiny_model

N = 24


def prompts():
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, 61, (length,), generator=generator).tolist() for length in (1, 2, 9, 20)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("num_lookahead", [1, 4])
def test_all_five_agree(family, num_lookahead):
    engine = tiny_engine(family, num_lookahead=num_lookahead)
    for prompt in prompts():
        plain = engine.generate(prompt, SamplingParams(max_new_tokens=N, strategy="autoregressive"))
        fast = engine.generate(prompt, SamplingParams(max_new_tokens=N, strategy="pass"))
        fastest = engine.generate(prompt, SamplingParams(max_new_tokens=N, strategy="merged"))
        reference = engine.model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=N,
            do_sample=False,
            pad_token_id=0,
        )
        twin = list(islice(naive(engine.model, prompt, SamplingParams()), N))
        assert plain.token_ids == fast.token_ids == fastest.token_ids == twin == reference[0, len(prompt) :].tolist()
        assert plain.forwards == N
        assert fast.forwards <= N


@pytest.mark.parametrize("family", ["llama", "qwen2-sliding", "starcoder2", "gemma2"])
def test_reuse_of_the_cache_changes_nothing(family):
    engine, fresh = tiny_engine(family), tiny_engine(family)
    generator = torch.Generator().manual_seed(3)
    prompt = torch.randint(0, 61, (12,), generator=generator).tolist()
    for strategy in ("pass", "autoregressive", "merged", "pass"):
        params = SamplingParams(max_new_tokens=10, strategy=strategy)
        result = engine.generate(prompt, params)
        fresh.forget()
        assert result.token_ids == fresh.generate(prompt, params).token_ids
        prompt = prompt[: len(prompt) - 3] + result.token_ids[:5]
    assert result.cached_tokens > 0


@settings(max_examples=30)
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
        for strategy in ("autoregressive", "pass", "merged", "auto")
    ]
    assert len({(tuple(result.token_ids), result.finish) for result in results}) == 1


def test_long_prompts_are_prefilled_in_chunks_with_the_same_result():
    engine = tiny_engine("llama", max_position_embeddings=2000)
    prompt = [i * 7 % 61 for i in range(700)]
    params = SamplingParams(max_new_tokens=8, strategy="pass")
    assert engine.generate(prompt, params).token_ids == list(islice(naive(engine.model, prompt, params), 8))


def test_a_prompt_is_any_sequence_of_ids_and_nothing_else():
    engine = tiny_engine("llama")
    wanted = engine.generate([3, 1, 4]).token_ids
    for prompt in ((3, 1, 4), torch.tensor([3, 1, 4]), torch.tensor([3, 1, 4]).numpy()):
        assert engine.generate(prompt).token_ids == wanted
    for prompt in ("abc", ["3", "1"], [1.5], [None], None, 7, {"input_ids": [3]}, torch.tensor([[3, 1, 4]])):
        with pytest.raises(PromptError, match="no list of token ids; "):
            engine.generate(prompt)


@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_one_seed_gives_one_answer_whatever_was_cached(temperature):
    engine = tiny_engine("llama")
    params = SamplingParams(max_new_tokens=12, temperature=temperature, seed=5, strategy="autoregressive")
    first = engine.generate([1, 2, 3], params).token_ids
    assert engine.generate([1, 2, 3], params).token_ids == first
    assert first == list(islice(naive(engine.model, [1, 2, 3], params), 12))


def test_a_model_that_turns_long_texts_otherwise_is_used_up_to_where_it_does():
    """LongRoPE: one position more, and keys that are kept would have to be turned anew."""
    turns = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [3.0] * 4}
    engine = tiny_engine("phi3", rope_parameters=turns, original_max_position_embeddings=32)
    assert engine.context_length == 32
    prompt = [i * 7 % 61 for i in range(20)]
    twin = list(islice(naive(engine.model, prompt, SamplingParams()), 13))
    for strategy in ("autoregressive", "pass", "merged", "auto"):
        assert engine.generate(prompt, SamplingParams(max_new_tokens=N, strategy=strategy)).token_ids == twin
    with pytest.raises(PromptError, match="context 32") as raised:
        engine.generate([1] * 33)
    assert raised.value.longest == 32


def test_a_lora_on_layers_that_take_rows_without_a_batch():
    """The shared expert of a mixture is given all rows of a batch in one."""
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    config = Qwen2MoeConfig(**SMALL, **experts, shared_expert_intermediate_size=16)
    torch.manual_seed(0)
    model = Qwen2MoeForCausalLM(config).eval().requires_grad_(False)
    layers = targets(model)
    assert any("shared_expert" in path for path in layers)
    lora = {path: (torch.randn(2, m.in_features), torch.randn(m.out_features, 2)) for path, m in layers.items()}
    rows = random_lookahead(model.get_input_embeddings().weight)
    engine = engine_of(model, lookahead=replace(rows, lora=lora))
    for prompt in prompts():
        twin = list(islice(naive(model, prompt, SamplingParams()), N))
        for strategy in ("pass", "merged"):
            assert engine.generate(prompt, SamplingParams(N, strategy=strategy)).token_ids == twin


def test_int8_is_exact_with_respect_to_its_own_weights():
    from pass_lsp.decoding.int8 import quantize

    model = tiny_model("llama")
    quantize(model)
    engine = engine_of(model, lookahead=random_lookahead(model.get_input_embeddings().weight))
    for prompt in prompts():
        plain = engine.generate(prompt, SamplingParams(max_new_tokens=N, strategy="autoregressive"))
        fast = engine.generate(prompt, SamplingParams(max_new_tokens=N, strategy="pass"))
        assert plain.token_ids == fast.token_ids == list(islice(naive(engine.model, prompt, SamplingParams()), N))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("warp", [{}, {"top_k": 5}, {"top_p": 0.8}], ids=str)
def test_one_seed_gives_the_same_sample_by_every_draft(family, warp):
    """`merged` draws the target's own token with the noise of its position, so drafts cannot show."""
    engine = tiny_engine(family, num_lookahead=3)
    for seed, prompt in enumerate(prompts()):
        results = [
            engine.generate(
                prompt, SamplingParams(max_new_tokens=N, temperature=0.9, seed=seed, strategy=strategy, **warp)
            )
            for strategy in ("autoregressive", "merged", "auto")
        ]
        assert results[0].token_ids == results[1].token_ids == results[2].token_ids


@pytest.mark.parametrize("family", ["llama", "gemma2", "starcoder2"])
def test_any_drafter_whatever_changes_nothing(family, monkeypatch):
    """Random, always wrong, oracle, and ids that no tokenizer produces."""
    engine = tiny_engine(family, num_lookahead=3)
    prompt = prompts()[2]
    wanted = engine.generate(prompt, SamplingParams(max_new_tokens=N, strategy="autoregressive")).token_ids
    generator = torch.Generator().manual_seed(0)

    def told(where, change):
        return [change(wanted[place]) if place < N else 60 for place in range(where, where + 3)]

    drafters = {
        "oracle": lambda where: told(where, lambda token: token),
        "wrong": lambda where: told(where, lambda token: (token + 1) % 61),
        "random": lambda where: torch.randint(0, 61, (3,), generator=generator).tolist(),
        "illegal": lambda where: [60, 0, 60],
    }
    forwards = {}
    settle = Forward.settle
    for name, drafter in drafters.items():
        committed: list[int] = []

        def settled(self, *given, d=drafter, c=committed):
            found = settle(self, *given)
            return replace(found, drafts=d(len(c) + len(found.token_ids)))

        monkeypatch.setattr(Forward, "settle", settled)
        engine.forget()
        params = SamplingParams(max_new_tokens=N, strategy="merged")
        result = engine.generate(prompt, params, on_commit=committed.extend)
        assert result.token_ids == wanted
        forwards[name] = result.forwards
    assert forwards["oracle"] < forwards["wrong"]


def test_the_cache_after_every_cycle_is_what_a_fresh_prefill_gives():
    """Look-ahead and refused rows leave nothing behind: the slots equal those of the committed text."""
    engine = tiny_engine("llama", num_lookahead=3)
    prompt = prompts()[3]
    engine.generate(prompt, SamplingParams(max_new_tokens=N, strategy="merged"))
    (used,) = engine._parts.caches._caches
    fresh = KVCache(engine.executor.new_slots)
    engine.executor.forward(fresh, used.token_ids, layout(used.length), 1)
    for old, new in zip(used.slots.layers.layers, fresh.slots.layers.layers, strict=True):
        torch.testing.assert_close(old.keys[:, :, : used.length], new.keys[:, :, : used.length])
        torch.testing.assert_close(old.values[:, :, : used.length], new.values[:, :, : used.length])


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt-bigcode"])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_log_probabilities_are_the_models_own_by_every_strategy(family, temperature):
    engine = tiny_engine(family, num_lookahead=3)
    for prompt in prompts():
        for strategy in ("autoregressive", "pass", "merged", "auto"):
            params = Judged(N, temperature, top_k=5, seed=3, strategy=strategy, log_probs=9)
            result = engine.generate(prompt, params)
            with torch.no_grad():
                laws = engine.model(torch.tensor([prompt + result.token_ids])).logits[0].float().log_softmax(-1)
            expected = [laws[len(prompt) - 1 + n, token].item() for n, token in enumerate(result.token_ids)]
            assert len(result.log_probs) == 9
            assert result.log_probs == pytest.approx(expected[:9], abs=1e-4)
            assert result.log_prob == pytest.approx(sum(expected[:9]), abs=1e-3)
            plain = SamplingParams(N, temperature, top_k=5, seed=3, strategy=strategy)
            assert replace(Judged.of(plain, float("-inf")), log_probs=9) == params
            unmeasured = engine.generate(prompt, plain)
            assert (unmeasured.token_ids, unmeasured.log_prob) == (result.token_ids, None)


def test_an_answer_ends_where_its_first_tokens_fall_below_what_is_asked():
    engine = tiny_engine("llama", num_lookahead=3)
    for strategy in ("autoregressive", "pass", "merged"):
        params = Judged(N, strategy=strategy, log_probs=9)
        whole = engine.generate([3, 1, 4], params)
        assert whole.log_prob is not None
        for kept in range(1, 10):
            between = (sum(whole.log_probs[:kept]) + sum(whole.log_probs[: kept - 1])) / 2
            result = engine.generate([3, 1, 4], replace(params, least_log_prob=between))
            assert (result.token_ids, result.finish) == (whole.token_ids[:kept], "stop")
            assert sum(whole.log_probs[:kept]) == pytest.approx(result.log_prob, abs=1e-4)
        sure = engine.generate([3, 1, 4], replace(params, least_log_prob=whole.log_prob - 0.01))
        assert (sure.token_ids, sure.finish) == (whole.token_ids, "length")
