"""How much to draft: by what forwards cost and what was accepted."""

from __future__ import annotations

import pytest

from pass_lsp.decoding.costs import Costs
from pass_lsp.decoding.planner import MAX_COPY, Planner, Rate, flat

GOOD = (0.8, 0.6, 0.45, 0.3)


def linear(rows: int) -> float:
    """Every row costs as much as the first."""
    return float(rows)


def test_rows_that_cost_nothing_are_all_used_and_rows_that_cost_all_are_not() -> None:
    assert Planner(GOOD, flat).depth == 4
    assert Planner(GOOD, linear).depth == 0
    assert Planner((), flat).depth == 0


def test_depth_weighs_cost_against_acceptance() -> None:
    def steep(rows: int) -> float:
        return 1 + 0.1 * rows

    assert Planner(GOOD, steep).depth == 1
    assert Planner((0.05,), steep).depth == 0


def test_refusals_lower_the_depth_and_time_brings_it_back() -> None:
    planner = Planner(GOOD, lambda rows: 1 + 0.05 * rows)
    first = planner.depth
    assert first > 0
    for _ in range(200):
        planner.learn(first, 0)
    assert planner.depth == 0
    for _ in range(30):
        planner.begin()
    assert planner.depth == first


def test_long_matches_deserve_long_copies() -> None:
    planner = Planner((), lambda rows: 1 + 0.05 * rows)
    lengths = [planner.copy_length(match, 100, 0) for match in (1, 2, 3, 5, 8, 12, 40)]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1] <= MAX_COPY
    assert planner.copy_length(40, 3, 0) == 3
    assert planner.copy_length(40, 0, 0) == 0


def test_copies_that_fail_are_no_longer_drafted() -> None:
    planner = Planner((), lambda rows: 1 + 0.05 * rows)
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
