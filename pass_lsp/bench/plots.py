"""Pictures of measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pass_lsp.errors import ConfigError, installing
from pass_lsp.metrics.percentiles import percentile

_CURVES = ("type-through", "from memory", "fresh, one line", "answer")
_BARS = ("queue", "context", "prefill", "decode", "postprocess")


def plot_latency(samples: Mapping[str, Sequence[float]], path: Path) -> None:
    """How many answers came within which time, and what a fresh one spends its time on. Raises `ConfigError`."""
    pyplot = _pyplot()
    figure, (curves, bars) = pyplot.subplots(1, 2, figsize=(11, 4), width_ratios=(2, 1))
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
    _save(figure, path)


def plot_load(rows: Sequence[Mapping[str, Any]], goal_ms: float, path: Path) -> None:
    """Times and shares by the number of typists. Raises `ConfigError`."""
    pyplot = _pyplot()
    figure, (times, shares) = pyplot.subplots(1, 2, figsize=(11, 4))
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
    _save(figure, path)


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError(f"Plots need matplotlib, which is not installed; run: {installing('bench')}.") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise ConfigError(f"The plot cannot be written to {path}; give a .png in a folder that exists.") from error
    finally:
        _pyplot().close(figure)
