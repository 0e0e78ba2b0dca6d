"""Percentiles, the same way everywhere."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

POINTS = (50, 90, 99)


def percentile(ordered: Sequence[float], point: int) -> float:
    """The nearest-rank percentile, `point` 1 to 100, of values in ascending order; 0 of none.

    The smallest of the values that at least `point` in 100 of them do not exceed: one that was measured, where
    `statistics.quantiles` interpolates between two.
    """
    return ordered[math.ceil(len(ordered) * point / 100) - 1] if ordered else 0.0


def percentiles(values: Iterable[float], digits: int = 1) -> dict[str, float]:
    """p50, p90 and p99, rounded."""
    ordered = sorted(values)
    return {f"p{point}": round(percentile(ordered, point), digits) for point in POINTS}
