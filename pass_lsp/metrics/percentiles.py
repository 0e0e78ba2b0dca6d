"""Percentiles, the same way everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

POINTS = (50, 90, 99)


def percentile(ordered: Sequence[float], point: int) -> float:
    """The nearest-rank percentile of values in ascending order; 0 of none."""
    return ordered[min(len(ordered) - 1, len(ordered) * point // 100)] if ordered else 0.0


def percentiles(values: Iterable[float], digits: int = 1) -> dict[str, float]:
    """p50, p90 and p99, rounded."""
    ordered = sorted(values)
    return {f"p{point}": round(percentile(ordered, point), digits) for point in POINTS}
