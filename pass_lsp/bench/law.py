"""That a method leaves the output law as it is: the same tokens for one seed, or a chi-square on the joint law.

`merged` draws the target's own tokens, so for one seed they equal those of one-token decoding.
The others only keep the law: many samples of a few tokens are counted beside the exact
probability of each outcome, which the model itself gives, outcome by outcome.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch

from pass_lsp.bench.table import Rows
from pass_lsp.decoding.cache import KVCache
from pass_lsp.decoding.executor import Executor
from pass_lsp.decoding.forward import Forward
from pass_lsp.decoding.sampling import target_probs
from pass_lsp.decoding.strategies import Run
from pass_lsp.domain import SamplingParams

JOINT = 3
TOP_K = 4
SURE = 1e-3
"""A p-value below this says that the law is another one."""
MIN_EXPECTED = 5.0

Decode = Callable[[Sequence[int], SamplingParams, int, frozenset[int]], Iterator[Run]]


def first_tokens(
    method: Decode, ids: Sequence[int], params: SamplingParams, ends: frozenset[int], count: int
) -> list[int]:
    """The first `count` tokens of an answer, fewer if one of `ends` comes."""
    tokens: list[int] = []
    for run in method(ids, params, len(ids) + count + 8, ends):
        for token in run.token_ids:
            tokens.append(token)
            if len(tokens) == count or token in ends:
                return tokens
    return tokens


def same_samples(
    methods: Mapping[tuple[str, int], Decode],
    prompts: Sequence[Sequence[int]],
    sampling: Mapping[str, SamplingParams],
    ends: frozenset[int],
    most: int,
) -> Rows:
    """For the largest L of each method: on how many prompts its answer equals that of one-token decoding."""
    largest = dict(methods.keys())
    plain = next(iter(methods.values()))
    rows: Rows = []
    for name, length in [*largest.items()][1:]:
        for what, params in sampling.items():
            exact = params.temperature == 0 or name.startswith("merged")
            if not exact:
                continue  # the law is the same, the noise is used otherwise
            same = sum(
                first_tokens(methods[name, length], ids, replace(params, seed=seed), ends, most)
                == first_tokens(plain, ids, replace(params, seed=seed), ends, most)
                for seed, ids in enumerate(prompts)
            )
            rows.append(
                {
                    "method": name, "L": length, "check": f"same tokens, {what}", "found": f"{same} of {len(prompts)}",
                    "holds": same == len(prompts),
                }
            )  # fmt: skip
    return rows


def same_law(executor: Executor, methods: Mapping[tuple[str, int], Decode], ids: Sequence[int], samples: int) -> Rows:
    """Chi-square of `samples` answers of three tokens against the exact joint law, for the largest L of each method."""
    params = SamplingParams(temperature=0.8, top_k=TOP_K)
    law = joint_law(executor, ids, params, JOINT)
    rows: Rows = []
    for name, length in dict(methods.keys()).items():
        method = methods[name, length]
        counts = Counter(
            tuple(first_tokens(method, ids, replace(params, seed=seed), frozenset(), JOINT)) for seed in range(samples)
        )
        p_value = chi_square(counts, law)
        rows.append(
            {
                "method": name, "L": length, "check": f"chi-square, {samples} samples of {JOINT} tokens",
                "found": f"p = {p_value:.3g}", "holds": p_value > SURE,
            }
        )  # fmt: skip
    return rows


def joint_law(
    executor: Executor, ids: Sequence[int], params: SamplingParams, count: int
) -> dict[tuple[int, ...], float]:
    """The exact probability of every continuation of `count` tokens that can be drawn."""
    forward = Forward(executor, KVCache(executor.new_slots), None)
    law: dict[tuple[int, ...], float] = {}

    def follow(pending: Sequence[int], so_far: tuple[int, ...], mass: float) -> None:
        length = forward.length
        probs = target_probs(forward.prefill(pending).real, params)[0]
        for token in probs.nonzero()[:, 0].tolist():
            reached, chance = (*so_far, token), mass * probs[token].item()
            if len(reached) == count:
                law[reached] = chance
            else:
                follow([token], reached, chance)
        forward.crop(length)

    follow(ids, (), 1.0)
    return law


def chi_square(counts: Mapping[tuple[int, ...], int], law: Mapping[tuple[int, ...], float]) -> float:
    """The p-value of `counts` under `law`; rare outcomes are taken together, impossible ones refute it at once."""
    if any(outcome not in law for outcome in counts):
        return 0.0
    total = sum(counts.values())
    pairs = sorted((law[outcome] * total, counts.get(outcome, 0)) for outcome in law)
    bins: list[tuple[float, float]] = []
    expected, observed = 0.0, 0.0
    for more_expected, more_observed in pairs:
        expected, observed = expected + more_expected, observed + more_observed
        if expected >= MIN_EXPECTED:
            bins.append((expected, observed))
            expected, observed = 0.0, 0.0
    if bins:
        bins[-1] = (bins[-1][0] + expected, bins[-1][1] + observed)
    if len(bins) < 2:
        return 1.0
    statistic = sum((seen - wanted) ** 2 / wanted for wanted, seen in bins)
    freedom = torch.tensor((len(bins) - 1) / 2, dtype=torch.float64)
    return float(torch.special.gammaincc(freedom, torch.tensor(statistic / 2, dtype=torch.float64)))
