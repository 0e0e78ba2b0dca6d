"""How much to draft: by what forwards cost and what was accepted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from pass_lsp.decoding import costs as costs_module
from pass_lsp.decoding.costs import Costs, kept, measured
from pass_lsp.decoding.planner import MAX_COPY, Planner, Rate, flat
from pass_lsp.domain import SamplingParams
from tests.decoding.families import tiny_engine

GOOD = (0.8, 0.6, 0.45, 0.3)


def linear(rows: int, depth: int = 0) -> float:
    """Every row costs as much as the first."""
    return float(rows)


def test_rows_that_cost_nothing_are_all_used_and_rows_that_cost_all_are_not() -> None:
    assert Planner(GOOD, flat).depth == 4
    assert Planner(GOOD, linear).depth == 0
    assert Planner((), flat).depth == 0


def test_depth_weighs_cost_against_acceptance() -> None:
    def steep(rows: int, depth: int = 0) -> float:
        return 1 + 0.1 * rows

    assert Planner(GOOD, steep).depth == 1
    assert Planner((0.05,), steep).depth == 0


def test_refusals_lower_the_depth_and_time_brings_it_back() -> None:
    planner = Planner(GOOD, lambda rows, depth: 1 + 0.05 * rows)
    first = planner.depth
    assert first > 0
    for _ in range(200):
        planner.learn(first, 0)
    assert planner.depth == 0
    for _ in range(30):
        planner.begin()
    assert planner.depth == first


def test_long_matches_deserve_long_copies() -> None:
    planner = Planner((), lambda rows, depth: 1 + 0.05 * rows)
    lengths = [planner.copy_length(match, 100, 0) for match in (1, 2, 3, 5, 8, 12, 40)]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1] <= MAX_COPY
    assert planner.copy_length(40, 3, 0) == 3
    assert planner.copy_length(40, 0, 0) == 0


def test_copies_that_fail_are_no_longer_drafted() -> None:
    planner = Planner((), lambda rows, depth: 1 + 0.05 * rows)
    for _ in range(300):
        planner.learn(8, 0, match=5)
    assert planner.copy_length(5, 100, 0) == 0
    assert planner.copy_length(40, 100, 0) > 0  # another length of match is another estimate


def test_copying_can_be_switched_off() -> None:
    assert Planner(GOOD, flat, copying=False).copy_length(40, 100, 0) == 0


@pytest.mark.parametrize("hit", [True, False])
def test_a_rate_moves_towards_what_it_sees(hit: bool) -> None:
    rate = Rate(0.5)
    values = [rate.value]
    for _ in range(50):
        rate.see(hit)
        values.append(rate.value)
    assert values == sorted(values, reverse=not hit)
    assert abs(values[-1] - hit) < 0.2


def test_costs_are_read_off_straight_lines() -> None:
    costs = Costs((1, 4, 16), (1.0, 1.3, 2.5))
    assert [costs(rows) for rows in (1, 4, 16)] == pytest.approx([1.0, 1.3, 2.5])
    assert costs(2) == pytest.approx(1.1)
    assert costs(10) == pytest.approx(1.9)
    assert costs(28) == pytest.approx(3.7)  # beyond the last point the last line goes on
    assert Costs((1, 4), (1.0, 1.3), chain=0.2)(4, 3) == pytest.approx(1.9)


def test_drafts_that_are_dear_to_make_are_not_made() -> None:
    assert Planner(GOOD, Costs((1, 64), (1.0, 1.1), chain=0.01)).depth == 4
    assert Planner(GOOD, Costs((1, 64), (1.0, 1.1), chain=1.0)).depth == 0


@pytest.mark.parametrize("params", [SamplingParams(), SamplingParams(temperature=0.8)])
@pytest.mark.parametrize("num_lookahead", [0, 3])
def test_costs_are_measured_of_whole_cycles(params: SamplingParams, num_lookahead: int) -> None:
    engine = tiny_engine("llama", num_lookahead=num_lookahead)
    costs = measured(engine.executor, engine.context_length, params)
    assert costs.taken == tuple(sorted(costs.taken)) and costs.taken[0] > 0
    assert costs.chain >= 0 and (num_lookahead or not costs.chain)


def test_costs_are_measured_where_a_processs_time_is_counted_in_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Windows does; a forward that costs nothing would be divided by."""
    monkeypatch.setattr(costs_module, "os", SimpleNamespace(name="nt"))
    monkeypatch.setattr(costs_module.time, "process_time", lambda: 0.0)
    engine = tiny_engine("llama", num_lookahead=3)
    costs = measured(engine.executor, engine.context_length)
    assert costs.taken[0] > 0
    assert Planner(GOOD, costs).depth >= 0


def test_costs_are_kept_by_key_and_measured_again_when_the_file_is_broken(tmp_path: Path) -> None:
    costs, path = Costs((1, 2), (0.1, 0.2), 0.05), tmp_path / "costs.json"
    assert kept(path, "a", lambda: costs) == costs
    assert kept(path, "a", lambda: pytest.fail("measured twice")) == costs
    other = replace(costs, chain=1.0)
    assert kept(path, "b", lambda: other) == other
    path.write_text('{"a": 3')
    assert kept(path, "a", lambda: other) == other


@pytest.mark.parametrize(
    ("rows", "seconds", "chain"),
    [
        ([], [], 0),
        ([1], [0.1], 0),
        ([1, 2], [0.0, 0.0], 0),
        ([1, 2], [0.2, 0.1], 0),
        ([1, 1], [0.1, 0.2], 0),
        ([1, 2, 3], [0.1], 0),
        ([1, 2], [0.1, float("nan")], 0),
        ([1, 2], [0.1, 0.2], -1),
        (["a", "b"], ["c", "d"], 0),
    ],
    ids=repr,
)
def test_kept_costs_that_no_forward_has_are_measured_again(
    tmp_path: Path, rows: list[int], seconds: list[float], chain: float
) -> None:
    costs, path = Costs((1, 2), (0.1, 0.2), 0.05), tmp_path / "costs.json"
    kept(path, "a", lambda: costs)
    (key,) = json.loads(path.read_text())
    path.write_text(json.dumps({key: {"rows": rows, "seconds": seconds, "chain": chain}}))
    assert kept(path, "a", lambda: costs) == costs
    assert kept(path, "a", lambda: pytest.fail("measured twice")) == costs
