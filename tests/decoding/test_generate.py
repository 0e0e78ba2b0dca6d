"""Where an answer ends, and what it cost, on models that always, never and sometimes accept."""

from __future__ import annotations

import numpy as np
import pytest

from pass_lsp.decoding.generate import generate
from pass_lsp.domain import CancelToken, Judged, SamplingParams
from pass_lsp.errors import ConfigError
from tests.decoding.scripted import counting, parts_of

VOCAB, WIDTH = 50, 4
ALWAYS = lambda j, last: True  # noqa: E731
NEVER = lambda j, last: False  # noqa: E731
SOMETIMES = lambda j, last: (last + j) % 3 != 0  # noqa: E731

drafters = pytest.mark.parametrize("right", [ALWAYS, NEVER, SOMETIMES], ids=["always", "never", "sometimes"])
strategies = pytest.mark.parametrize("strategy", ["autoregressive", "pass", "merged", "auto"])


def run(right=ALWAYS, prompt=(3, 4, 5), strategy="pass", eos=None, n=12, context=1000, temperature=0.0, **kwargs):
    model = counting(VOCAB, WIDTH, right)
    params = SamplingParams(max_new_tokens=n, temperature=temperature, stop_ids=kwargs.pop("stop_ids", ()))
    return generate(parts_of(model, eos, context), list(prompt), params, strategy, **kwargs)


@drafters
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_drafts_change_the_speed_and_nothing_else(right, temperature):
    result = run(right, n=20, temperature=temperature)
    assert result.token_ids == list(range(6, 26))
    assert result.finish == "length"


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_new_tokens": -1},
        {"max_new_tokens": 1.5},
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"temperature": "0"},
        {"temperature": None},
        {"top_k": -1},
        {"top_k": 1.0},
        {"top_p": 0},
        {"top_p": 1.1},
        {"top_p": float("nan")},
        {"top_p": "1"},
        {"seed": 1.5},
        {"seed": None},
        {"stop_ids": 3},
        {"stop_ids": "ab"},
        {"stop_ids": ("a",)},
        {"stop_ids": (1.5,)},
        {"stop_ids": None},
        {"strategy": "fast"},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [SamplingParams, Judged])
def test_values_that_no_decoding_can_use_are_told_in_a_sentence(kind, wrong):
    (name,) = wrong
    with pytest.raises(ConfigError, match=rf"{name}.*; use .*\.$"):
        kind(**wrong)


@pytest.mark.parametrize("several", [list, set, frozenset, tuple])
def test_stop_ids_may_come_as_any_collection_and_numbers_from_numpy(several):
    params = SamplingParams(
        stop_ids=several(np.arange(3, 5)), seed=np.int64(1), top_k=np.int32(2), temperature=np.float32(0.5)
    )
    assert params.stop_ids == (3, 4) and hash(params)


def test_always_accepted_costs_two_forwards_for_six_tokens():
    result = run(ALWAYS, n=18)
    assert (result.forwards, result.drafted, result.accepted) == (6, 12, 12)
    assert result.tokens_per_forward == 3.0


def test_never_accepted_costs_one_forward_a_token():
    result = run(NEVER, n=12)
    assert (result.forwards, result.accepted) == (12, 0)
    assert result.tokens_per_forward == 1.0


@drafters
@strategies
@pytest.mark.parametrize("eos", range(6, 14))
def test_eos_anywhere_ends_the_answer_and_is_left_out(right, strategy, eos):
    result = run(right, strategy=strategy, eos=eos)
    assert (result.token_ids, result.finish) == (list(range(6, eos)), "eos")


@drafters
@strategies
@pytest.mark.parametrize("stop_id", range(6, 14))
def test_stop_id_anywhere_ends_the_answer_and_is_left_out(right, strategy, stop_id):
    result = run(right, strategy=strategy, stop_ids=(stop_id,))
    assert (result.token_ids, result.finish) == (list(range(6, stop_id)), "stop")


@drafters
@strategies
@pytest.mark.parametrize("last", range(6, 14))
def test_stop_callable_cuts_inside_an_accepted_run(right, strategy, last):
    seen = []

    def stop(ids):
        seen.append(list(ids))
        return len(ids) - 1 if ids[-1] == last else None

    result = run(right, strategy=strategy, stop=stop)
    assert (result.token_ids, result.finish) == (list(range(6, last)), "stop")
    assert seen == [
        list(range(6, end + 1)) for end in range(6, last + 1)
    ]  # asked after every token, as in one-token decoding


@drafters
@strategies
@pytest.mark.parametrize("n", range(13))
def test_length_limit_in_the_middle_of_a_run(right, strategy, n):
    result = run(right, strategy=strategy, n=n)
    assert (result.token_ids, result.finish) == (list(range(6, 6 + n)), "length")


@drafters
@strategies
@pytest.mark.parametrize("context", range(3, 12))
def test_context_end_bounds_answer_and_positions(right, strategy, context):
    result = run(right, strategy=strategy, context=context)
    assert result.token_ids == list(range(6, 6 + context - 2))
    assert result.finish == "length"


@strategies
@pytest.mark.parametrize("after", range(10))
def test_cancel_stops_before_the_next_forward(strategy, after):
    token, committed = CancelToken(), []
    if after == 0:
        token.cancel()

    def on_commit(ids):
        committed.extend(ids)
        if len(committed) >= after:
            token.cancel()

    result = run(ALWAYS, strategy=strategy, n=40, cancel=token, on_commit=on_commit)
    assert result.finish == "cancelled"
    assert result.token_ids == committed == list(range(6, 6 + len(committed)))
    assert len(committed) < after + 6


def test_cancel_between_prefill_chunks():
    token = CancelToken()
    model = counting(VOCAB, WIDTH, ALWAYS)
    forward = model.forward

    def counted(*given):
        if len(model.fed) == 1:
            token.cancel()
        return forward(*given)

    model.forward = counted  # type: ignore[method-assign]
    result = generate(parts_of(model, context=5000), [1] * 2000, SamplingParams(), "pass", cancel=token)
    assert (result.finish, result.token_ids, len(model.fed)) == ("cancelled", [], 2)


def test_runs_are_reported_in_order_and_complete():
    runs = []
    result = run(SOMETIMES, n=17, on_commit=runs.append)
    assert [token for run_ids in runs for token in run_ids] == result.token_ids
    assert all(runs)


def test_the_cache_is_reused_between_requests():
    model = counting(VOCAB, WIDTH, ALWAYS)
    parts = parts_of(model)
    params = SamplingParams(max_new_tokens=4)
    first = generate(parts, [1, 2, 3, 4], params, "pass")
    again = generate(parts, [1, 2, 3, 4], params, "pass")
    longer = generate(parts, [1, 2, 3, 4, *first.token_ids, 20], params, "pass")
    other = generate(parts, [1, 9, 3], params, "pass")
    assert (first.cached_tokens, first.prefilled_tokens) == (0, 4)
    assert (again.cached_tokens, again.prefilled_tokens) == (3, 1)
    assert longer.cached_tokens >= 7
    assert (other.cached_tokens, other.prefilled_tokens) == (1, 2)


def test_a_failed_forward_leaves_no_half_written_cache():
    model = counting(VOCAB, WIDTH, ALWAYS)
    parts = parts_of(model)
    generate(parts, [1, 2, 3], SamplingParams(max_new_tokens=2), "pass")
    forward = model.forward

    def broken(*given):
        raise MemoryError

    model.forward = broken  # type: ignore[method-assign]
    with pytest.raises(MemoryError):
        generate(parts, [1, 2, 3, 4], SamplingParams(), "pass")
    model.forward = forward  # type: ignore[method-assign]
    result = generate(parts, [1, 2, 3, 4], SamplingParams(max_new_tokens=3), "pass")
    assert (result.cached_tokens, result.token_ids) == (0, [5, 6, 7])
