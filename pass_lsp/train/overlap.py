"""How well near-duplicates are gone, by windows of five consecutive telling lines.

Comments do not count: files share licences. Between files of the corpus removal looks at whole files and single lines,
so what it misses (a long function copied into another file) shows here. Of what is held out three windows are
enough for a file to go, so only one or two of a file are left to show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

WINDOW = 5


def windows(text: str) -> set[int]:
    """Hashes of every five consecutive lines that say something, white space and comments aside."""
    lines = [line for raw in text.splitlines() if len(line := " ".join(raw.split())) > 12 and line[0] != "#"]
    return {hash(tuple(lines[at : at + WINDOW])) for at in range(len(lines) - WINDOW + 1)}


def overlap(train: Iterable[str], held_out: Iterable[str]) -> dict[str, float]:
    """Shares, from 0 to 1: of the held-out windows that occur in `train`, and of those of `train` in several files."""
    seen: Counter[int] = Counter()
    for text in train:
        seen.update(windows(text))
    apart = set().union(*map(windows, held_out))
    several = sum(count > 1 for count in seen.values())
    return {
        "heldout_in_train": round(len(apart & seen.keys()) / max(1, len(apart)), 5),
        "train_in_several": round(several / max(1, len(seen)), 5),
    }
