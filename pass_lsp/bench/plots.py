"""Pictures of measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pass_lsp.bench.outputs import save
from pass_lsp.metrics.percentiles import percentile

_CURVES = ("type-through", "from memory", "fresh, one line", "answer")
_BARS = ("queue", "context", "prefill", "decode", "postprocess")


def plot_latency(samples: Mapping[str, Sequence[float]], path: Path) -> None:
    """How many answers came within which time, and what a fresh one spends its time on. Raises `ConfigError`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="tight")
    curves, bars = figure.subplots(1, 2, width_ratios=(2, 1))
    for name in _CURVES:
        if ordered := sorted(samples.get(name, ())):
            shares = [(rank + 1) / len(ordered) for rank in range(len(ordered))]
            curves.step([max(value, 0.05) for value in ordered], shares, where="post", label=f"{name} ({len(ordered)})")
    curves.set(xscale="log", xlabel="ms from request to answer", ylabel="share of answers", ylim=(0, 1.02))
    curves.grid(alpha=0.3)
    curves.legend(loc="lower right", fontsize=8)
    for name, point in (("p50", 50), ("p90", 90)):
        bottom = 0.0
        for number, part in enumerate(_BARS):
            value = percentile(sorted(samples.get(part, ())), point)
            bars.bar(name, value, bottom=bottom, color=f"C{number}", label=part if point == 50 else None)
            bottom += value
    bars.set(ylabel="ms of a fresh answer, part by part")
    bars.legend(fontsize=8)
    save(figure, path)


def plot_load(rows: Sequence[Mapping[str, Any]], goal_ms: float, path: Path) -> None:
    """Times and shares by the number of typists. Raises `ConfigError`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="tight")
    times, shares = figure.subplots(1, 2)
    typists = [row["typists"] for row in rows]
    for key in ("first_p50_ms", "answer_p50_ms", "answer_p99_ms"):
        times.plot(typists, [row[key] for row in rows], marker="o", label=key.removesuffix("_ms").replace("_", " "))
    times.axhline(goal_ms, color="grey", linestyle=":", label="goal for p99")
    times.set(xlabel="typists", ylabel="ms", ylim=(0, None))
    rates = [("cancelled", "cancelled_share"), ("work thrown away", "thrown_away_share")]
    for name, key in rates:
        shares.plot(typists, [row[key] for row in rows], marker="o", label=name)
    shares.plot(typists, [row["failed"] / max(row["requests"], 1) for row in rows], marker="o", label="failed")
    shares.set(xlabel="typists", ylabel="share of requests", ylim=(0, 1))
    for axes in (times, shares):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    save(figure, path)
