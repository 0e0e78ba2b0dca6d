"""The law of sampled output, and the pieces it is made of."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
import torch
from scipy.stats import chisquare

from pass_lsp.decoding import sampling
from pass_lsp.decoding.generate import generate
from pass_lsp.decoding.sampling import ACCEPT, DRAFT, TARGET, draw, residual, target_probs, target_tokens, uniform
from pass_lsp.domain import SamplingParams
from tests.decoding.families import tiny_engine
from tests.decoding.scripted import ScriptedExecutor, parts_of

VOCAB = 4


def bigram(seed: int, num_lookahead: int, sharp: float = 1.5) -> tuple[ScriptedExecutor, torch.Tensor]:
    """A model whose next token depends on the last alone, with drafts of an unrelated law."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(VOCAB, VOCAB, generator=generator) * sharp
    drafts = torch.randn(num_lookahead, VOCAB, VOCAB, generator=generator) * sharp
    return ScriptedExecutor(VOCAB, lambda t: table[t], lambda j, t: drafts[j, t], num_lookahead), table


def joint(table: torch.Tensor, params: SamplingParams, start: int, length: int) -> dict[tuple[int, ...], float]:
    """The exact probability of every continuation of `length` tokens."""
    probs = target_probs(table, params)
    law = {}
    for ids in product(range(VOCAB), repeat=length):
        last, mass = start, 1.0
        for token in ids:
            mass *= probs[last, token].item()
            last = token
        law[ids] = mass
    return law


@pytest.mark.parametrize("temperature", [1e-7, 1e-30, 1e-40, 1e-320, 5e-324])
@pytest.mark.parametrize("how", [{}, {"top_k": 2}, {"top_p": 0.9}], ids=str)
def test_at_the_coldest_it_is_greedy(temperature: float, how: dict[str, float]) -> None:
    logits = torch.tensor([[-3.0, 40.0, 7.0, 39.9], [-5.0, -9.0, -6.0, float("-inf")], [2.0, 2.0, 1.0, 0.0]])
    params = SamplingParams(temperature=temperature, **how)  # type: ignore[arg-type]
    wanted = [[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]]
    torch.testing.assert_close(target_probs(logits, params), torch.tensor(wanted))
    assert target_tokens(logits, params, 3).tolist()[:2] == [1, 0]


def assert_law(counts: Counter, law: dict[tuple[int, ...], float]) -> None:
    total = sum(counts.values())
    impossible = [ids for ids, mass in law.items() if mass == 0 and counts[ids]]
    assert not impossible
    rare = [ids for ids, mass in law.items() if 0 < mass * total < 8]
    observed = [counts[ids] for ids, mass in law.items() if mass * total >= 8]
    expected = [mass * total for mass in law.values() if mass * total >= 8]
    if rare:
        observed.append(sum(counts[ids] for ids in rare))
        expected.append(sum(law[ids] for ids in rare) * total)
    scale = sum(observed) / sum(expected)
    assert chisquare(observed, [value * scale for value in expected]).pvalue > 1e-3


@pytest.mark.parametrize("strategy", ["autoregressive", "pass", "merged"])
@pytest.mark.parametrize(
    "warp",
    [{"temperature": 1.0}, {"temperature": 0.6}, {"temperature": 1.0, "top_k": 2}, {"temperature": 1.2, "top_p": 0.8}],
    ids=str,
)
def test_joint_law_of_four_tokens(strategy, warp):
    model, table = bigram(1, 2)
    counts: Counter = Counter()
    for seed in range(1800):
        params = SamplingParams(max_new_tokens=4, seed=seed, **warp)
        counts[tuple(generate(parts_of(model), [0], params, strategy).token_ids)] += 1
    assert_law(counts, joint(table, params, 0, 4))


def test_joint_law_of_a_real_model():
    engine = tiny_engine("llama", vocab_size=VOCAB, num_lookahead=3)
    params = SamplingParams(temperature=2.0)
    law = {}
    for ids in product(range(VOCAB), repeat=3):
        with torch.inference_mode():
            logits = engine.model(input_ids=torch.tensor([[1, 2, *ids]])).logits[0, 1:4]
        probs = target_probs(logits, params)
        law[ids] = float(torch.stack([probs[i, token] for i, token in enumerate(ids)]).prod())
    counts: Counter = Counter()
    for seed in range(400):
        params = SamplingParams(max_new_tokens=3, temperature=2.0, seed=seed, strategy="pass")
        counts[tuple(engine.generate([1, 2], params).token_ids)] += 1
    assert_law(counts, law)


@pytest.mark.parametrize("logit", [float("nan"), float("inf"), -float("inf")])
def test_drafts_of_a_law_that_is_no_numbers_are_refused(logit):
    model, table = bigram(1, 2)
    model._drafts = lambda j, token: torch.full((VOCAB,), logit)
    counts: Counter = Counter()
    for seed in range(900):
        params = SamplingParams(max_new_tokens=3, temperature=1.0, seed=seed)
        result = generate(parts_of(model), [0], params, "pass")
        counts[tuple(result.token_ids)] += 1
        assert (result.drafted, result.accepted) == (1, 0)
    assert_law(counts, joint(table, params, 0, 3))


def test_a_wrong_acceptance_rule_would_be_noticed():
    """The same test on drafts taken as they are: the chi-square must see it."""
    model, table = bigram(1, 2)
    params = SamplingParams(temperature=1.0)
    counts: Counter = Counter()
    for seed in range(1800):
        params = SamplingParams(temperature=1.0, seed=seed)
        free = draw(target_probs(table[:1], params)[0], params, TARGET, 1)
        drafted = draw(target_probs(model._drafts(0, 0)[None], params)[0], params, DRAFT, 2)
        counts[free, drafted] += 1
    with pytest.raises(AssertionError):
        assert_law(counts, joint(table, params, 0, 2))


def test_filters_agree_with_transformers():
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    logits = torch.randn(5, 40, generator=torch.Generator().manual_seed(0)) * 3
    ours = target_probs(logits, SamplingParams(temperature=0.7, top_k=9, top_p=0.8))
    ids = torch.zeros(5, 1, dtype=torch.long)
    theirs = logits
    for warper in (TemperatureLogitsWarper(0.7), TopKLogitsWarper(9), TopPLogitsWarper(0.8)):
        theirs = warper(ids, theirs)
    torch.testing.assert_close(ours, theirs.softmax(-1))


def test_greedy_is_one_hot_and_ties_go_to_the_first():
    probs = target_probs(torch.tensor([[1.0, 5.0, 5.0]]), SamplingParams())
    assert probs.tolist() == [[0.0, 1.0, 0.0]]


def test_residual_of_equal_laws_falls_back_to_the_target():
    law = torch.tensor([0.25, 0.75])
    torch.testing.assert_close(residual(law, law), law)
    assert residual(torch.tensor([0.5, 0.5]), torch.tensor([0.9, 0.1])).tolist() == [0.0, 1.0]


def noise(seed: int, stream: int, positions: range) -> torch.Tensor:
    return torch.tensor([uniform(SamplingParams(seed=seed), at, stream) for at in positions], dtype=torch.float64)


def test_noise_depends_on_seed_stream_and_position_alone():
    everything = torch.cat(
        [noise(seed, stream, range(500)) for seed in (0, 1, -1, 2**63) for stream in (TARGET, DRAFT, ACCEPT)]
    )
    assert everything.unique().numel() == everything.numel()
    assert everything.min() > 0 and everything.max() < 1
    assert torch.equal(noise(1, TARGET, range(7, 9)), noise(1, TARGET, range(20))[7:9])


def test_noise_is_uniform_and_neighbours_are_independent():
    here, other = noise(3, TARGET, range(4000)), noise(3, DRAFT, range(4000))
    for one, two in ((here[:-1], here[1:]), (here, other), (here, noise(4, TARGET, range(4000)))):
        cells = torch.histogramdd(torch.stack((one, two), 1), bins=[8, 8], range=[0.0, 1.0, 0.0, 1.0]).hist
        assert chisquare(cells.flatten().numpy()).pvalue > 1e-3


def test_a_row_is_drawn_the_same_alone_and_among_others():
    logits = torch.randn(6, 300, generator=torch.Generator().manual_seed(2)) * 2
    params = SamplingParams(temperature=1.0, top_k=40, top_p=0.9, seed=3)
    every = target_tokens(logits, params, 5).tolist()
    assert [target_tokens(row[None], params, 5 + at).item() for at, row in enumerate(logits)] == every
    assert target_tokens(logits, SamplingParams(), 5).tolist() == logits.argmax(-1).tolist()


@pytest.mark.parametrize("number", [2.0**-49, 0.5, 1 - 2.0**-49])
def test_what_has_no_probability_is_never_drawn(number, monkeypatch):
    monkeypatch.setattr(sampling, "uniform", lambda *given: number)
    probs = torch.tensor([0.0, 0.0, 0.3, 0.0, 0.7, 0.0])
    assert draw(probs, SamplingParams(temperature=1.0), TARGET, 0) == (2 if number < 0.3 else 4)


@pytest.mark.parametrize("logit", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("warp", [{}, {"top_k": 3}, {"top_p": 0.5}], ids=str)
@pytest.mark.parametrize("temperature", [0.0, 1e-9, 1.0])
def test_logits_that_are_no_numbers_still_give_ids_that_there_are(logit, warp, temperature):
    logits = torch.full((2, 61), logit)
    tokens = target_tokens(logits, SamplingParams(temperature=temperature, **warp), 3)
    assert all(0 <= token < 61 for token in tokens.tolist())


class OnApples(torch.Tensor):
    """Stands for a tensor on Apple's GPU."""

    device = torch.device("mps")

    def cumsum(self, *args, dtype=None, **kwargs):
        if dtype is torch.float64:
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
            )
        return super().cumsum(*args, dtype=dtype, **kwargs)


def test_a_gpu_without_float64_draws_the_same_tokens(monkeypatch):
    logits, params = torch.randn(3, 61), SamplingParams(temperature=0.8, top_p=0.9)
    expected = target_tokens(logits, params, 5).tolist()
    kinds = {"cpu": torch.Tensor, "mps": OnApples}
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device, **_: self.as_subclass(kinds[device.type]))
    found = target_tokens(logits.as_subclass(OnApples), params, 5)
    assert isinstance(found, OnApples)
    assert found.tolist() == expected
