"""Pictures of a run, drawn from its JSON document alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pass_lsp.bench.outputs import save
from pass_lsp.bench.table import Rows


def draw(found: Mapping[str, Any], path: Path) -> None:
    """The picture that belongs to a document of `bench decode` or `bench infill`. Raises `ConfigError`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7), layout="constrained")
    _PAINTERS[found["bench"]](figure, found)
    save(figure, path)


def _decode(figure: Any, found: Mapping[str, Any]) -> None:
    bars, forwards, costs, accepted = figure.subplots(2, 2).flat
    _bars(bars, found["rows"], "tokens_per_second", "tokens a second, after the first")
    _bars(forwards, found["rows"], "tokens_per_forward", "tokens a forward, free-running")
    costs.plot([row["rows"] for row in found["costs"]], [row["ms"] for row in found["costs"]], marker="o")
    costs.set(xlabel="rows k", ylabel="ms", title="T(k): one forward", ylim=(0, None))
    for row in found["true_text"]:
        label = f"{row['text']}, T = {row['temperature']:g}, {row['parts']}"
        accepted.plot(range(1, 1 + len(row["acceptance"])), row["acceptance"], marker="o", label=label)
    accepted.set(xlabel="drafts", ylabel="share accepted", title="acceptance on the true text", ylim=(0, 1))
    if found["true_text"]:
        accepted.legend(fontsize=7)


def _bars(axes: Any, rows: Rows, key: str, title: str) -> None:
    names = list(dict.fromkeys(row["contender"] for row in rows))
    kinds = list(dict.fromkeys((row["text"], row["temperature"]) for row in rows))
    for number, kind in enumerate(kinds):
        values = [_value(rows, kind, name, key) for name in names]
        places = [place + _beside(number, len(kinds)) for place in range(len(names))]
        axes.barh(places, values, height=0.8 / len(kinds), label=f"{kind[0]}, T = {kind[1]:g}")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_title(title)
    axes.legend(fontsize=7)


def _beside(number: int, count: int) -> float:
    """How far the bar of that number stands from the middle of the `count` that share a place."""
    return (number - (count - 1) / 2) * 0.8 / count


def _value(rows: Rows, kind: tuple[str, float], name: str, key: str) -> float:
    return next((row[key] for row in rows if (row["text"], row["temperature"], row["contender"]) == (*kind, name)), 0.0)


def _study(figure: Any, found: Mapping[str, Any]) -> None:
    rows: Rows = found["rows"]
    kinds = list(dict.fromkeys((row["text"], row["sampling"]) for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows if row["L"]))
    for number, (kind, axes) in enumerate(
        zip(kinds, figure.subplots(2, -(-len(kinds) // 2), squeeze=False).flat, strict=False)
    ):
        for color, method in enumerate(methods):
            mine = [row for row in rows if (row["text"], row["sampling"], row["method"]) == (*kind, method)]
            lengths = [row["L"] for row in mine]
            axes.plot(lengths, [row["speedup"] or 0.0 for row in mine], marker="o", color=f"C{color}", label=method)
            if mine[0]["predicted"]:
                axes.plot(lengths, [row["predicted"] for row in mine], linestyle=":", color=f"C{color}")
        axes.axhline(1.0, color="grey", linewidth=0.8)
        axes.set(xlabel="L", ylabel="speed-up", title=", ".join(kind))
        if number == 0:
            axes.legend(fontsize=7, title="dotted: by T(k) and acceptance", title_fontsize=7)


def _infill(figure: Any, found: Mapping[str, Any]) -> None:
    """Shares with Wilson's intervals: the kinds of holes beside each other for every contender."""
    rows: Rows = found["by_kind"] or [{"kind": "holes", **row} for row in found["rows"]]
    names = list(dict.fromkeys(row["contender"] for row in rows))
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    shares = (("first_line_exact", "interval", "first line exact"), ("exact", "exact_interval", "all of it exact"))
    left, right = figure.subplots(1, 2, sharey=True)
    for (key, interval, title), axes in zip(shares, (left, right), strict=True):
        for number, kind in enumerate(kinds):
            mine = [row for row in rows if row["kind"] == kind]
            places = [names.index(row["contender"]) + _beside(number, len(kinds)) for row in mine]
            values = [row[key] for row in mine]
            # Both are rounded, so that a bound may lie on the wrong side of its share.
            around = [[max(row[key] - row[interval][0], 0) for row in mine]]
            around.append([max(row[interval][1] - row[key], 0) for row in mine])
            style = {"height": 0.8 / len(kinds), "xerr": around, "error_kw": {"elinewidth": 0.8}}
            axes.barh(places, values, color=f"C{number}", label=kind, **style)
        axes.set(title=title, xlabel="share of holes, 95 % interval", xlim=(0, None))
        axes.grid(alpha=0.3, axis="x")
    left.set_yticks(range(len(names)), names)
    left.invert_yaxis()
    right.legend(fontsize=7)


_PAINTERS: Mapping[str, Callable[[Any, Mapping[str, Any]], None]] = {
    "decode": _decode,
    "study": _study,
    "infill": _infill,
}
