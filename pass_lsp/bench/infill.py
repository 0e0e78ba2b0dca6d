"""`bench infill`: how often the model writes what was there, beside floors that need no model."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from typing import Any

from tqdm import tqdm

from pass_lsp.bench.holes import Hole
from pass_lsp.completion import complete_document
from pass_lsp.documents.document import Document
from pass_lsp.domain import Engine

Z = 1.96


def bench_infill(engine: Engine, holes: Sequence[Hole]) -> dict[str, Any]:
    """Exact match of the first missing line (with its Wilson interval) and edit similarity, for each contender."""
    contenders: dict[str, Callable[[Hole], str]] = {
        "model": lambda hole: _completed(engine, hole, hole.suffix),
        "model, suffix hidden": lambda hole: _completed(engine, hole, ""),
        "nothing": lambda hole: "",
        "previous line again": lambda hole: hole.prefix.rstrip().rpartition("\n")[2].strip(),
        "next line": lambda hole: hole.suffix.strip().partition("\n")[0].strip(),
    }
    rows = []
    for name, fill in contenders.items():
        answers = [fill(hole) for hole in tqdm(holes, desc=name, unit="hole")]
        rows.append(_row(name, holes, answers))
    return {"holes": len(holes), "multi_line": sum(hole.multi_line for hole in holes), "rows": rows}


def wilson(hits: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    if not total:
        return 0.0, 1.0
    share, spread = hits / total, Z * Z / total
    middle = (share + spread / 2) / (1 + spread)
    half = Z * math.sqrt(share * (1 - share) / total + spread / (4 * total)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def _completed(engine: Engine, hole: Hole, suffix: str) -> str:
    document = Document("", hole.prefix + suffix, language="python", path=hole.path)
    outcome = complete_document(document, len(hole.prefix), engine)
    return outcome.completion.text if outcome.completion else ""


def _row(name: str, holes: Sequence[Hole], answers: Sequence[str]) -> dict[str, Any]:
    hits = sum(_first_line(hole.middle) == _first_line(answer) for hole, answer in zip(holes, answers, strict=True))
    low, high = wilson(hits, len(holes))
    similar = [
        difflib.SequenceMatcher(None, hole.middle.strip(), answer.strip(), autojunk=False).ratio()
        for hole, answer in zip(holes, answers, strict=True)
    ]
    return {
        "contender": name,
        "first_line_exact": round(hits / len(holes), 3),
        "interval": [round(low, 3), round(high, 3)],
        "edit_similarity": round(sum(similar) / len(similar), 3),
    }


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].strip()
