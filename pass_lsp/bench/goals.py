"""What decoding is meant to reach, and by how much it does: figures of runs beside goals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pass_lsp.bench.contenders import GENERATE
from pass_lsp.bench.table import Rows

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Goal:
    """`figure` finds what was measured in a run's document, or None; `least` tells a floor from a ceiling."""

    what: str
    value: float
    figure: Callable[[Document], float | None]
    least: bool = True


def _row(document: Document, text: str, contender: str, key: str) -> float | None:
    for row in document.get("rows", ()):
        if (row.get("text"), row.get("contender"), row.get("temperature")) == (text, contender, 0.0):
            return row.get(key)
    return None


def _speed(text: str) -> Callable[[Document], float | None]:
    return lambda document: _row(document, text, "auto", "speedup")


def _of(
    bench: str, dtype: str | None, figure: Callable[[Document], float | None]
) -> Callable[[Document], float | None]:
    def found(document: Document) -> float | None:
        fits = document.get("bench") == bench and dtype in (None, document.get("machine", {}).get("dtype"))
        return figure(document) if fits else None

    return found


def _forced(key: str, text: str = "fresh") -> Callable[[Document], float | None]:
    return lambda document: next(
        (row.get(key) for row in document.get("true_text", ()) if (row["text"], row["parts"]) == (text, "all")), None
    )


def _against(name: str) -> Callable[[Document], float | None]:
    return lambda document: next(
        (row["ratio"] for row in document.get("against", ()) if (row["text"], row["peer"]) == ("fresh", name)), None
    )


def _plain(document: Document) -> float | None:
    return document.get("forward", {}).get("forward_to_reading")


def goals(device: str) -> list[Goal]:
    """The goals for `cpu` (a model trained on a CPU) or `cuda` (one trained on a GPU)."""
    gpu = device.startswith("cuda")
    main = "bfloat16" if gpu else "float32"

    def decode(figure: Callable[[Document], float | None], dtype: str = main) -> Callable[[Document], float | None]:
        return _of("decode", dtype, figure)

    common = [
        Goal("tokens per forward, fresh, true text, `pass`", 1.3 if gpu else 1.15, decode(_forced("pass"))),
        Goal("tokens per forward, fresh, true text, `merged`", 2.5 if gpu else 1.6, decode(_forced("merged"))),
        Goal(
            "tokens per forward, copy-heavy, `auto`", 4.0,
            decode(lambda document: _row(document, "copy", "auto", "tokens_per_forward")),
        ),
        Goal("tokens per forward, copy-heavy, true text, copies", 4.0, decode(_forced("copies", "copy"))),
        Goal("`auto` ÷ `autoregressive`, fresh", 2.2 if gpu else 1.2, decode(_speed("fresh"))),
        Goal("`auto` ÷ `autoregressive`, copy-heavy", 4.0 if gpu else 2.5, decode(_speed("copy"))),
        Goal(
            f"`auto` ÷ {GENERATE}, {main}", 10.0 if gpu else 5.0,
            decode(lambda document: _row(document, "fresh", "auto", "against_generate")),
        ),
        Goal(f"one forward ÷ reading the weights, {main}", 1.25 if gpu else 2.0, decode(_plain), least=False),
    ]  # fmt: skip
    if gpu:
        return common
    return [
        *common,
        Goal(
            f"`auto` ÷ {GENERATE} (float32), int8", 12.0,
            decode(lambda document: _row(document, "fresh", "auto", "against_generate"), "int8"),
        ),
        Goal("`auto` ÷ llama.cpp, float32", 1.4, _of("peers", None, _against("llama.cpp f32"))),
        Goal("`auto` ÷ llama.cpp, 8 bit", 1.4, _of("peers", None, _against("llama.cpp q8_0"))),
    ]  # fmt: skip


def reached(documents: Sequence[Document], device: str) -> Rows:
    """A row for each goal that some document measures: the goal, the figure, and figure ÷ goal."""
    rows = []
    for goal in goals(device):
        found = next((value for document in documents if (value := goal.figure(document)) is not None), None)
        if found is None:
            continue
        share = found / goal.value if goal.least else goal.value / found
        rows.append(
            {
                "goal": goal.what,
                "wanted": f"{'≥' if goal.least else '≤'} {goal.value:g}",
                "measured": round(found, 3),
                "share_of_goal": round(share, 2),
                "reached": share >= 1,
            }
        )
    return rows
