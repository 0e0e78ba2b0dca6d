"""Holes to fill: real files that the embedded model was never trained on, with a piece taken out."""

from __future__ import annotations

import gzip
import json
import random
import sysconfig
import zlib
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pass_lsp.errors import ConfigError
from pass_lsp.train.corpus import HELD_OUT_MODULES
from pass_lsp.train.middle import split_middle

NEAR_PREFIX, NEAR_SUFFIX = 1600, 600
GIVEN = "given"


@dataclass(frozen=True, slots=True)
class Hole:
    """A file without `middle`; `prefix` ends and `suffix` begins where it was.

    `kind` says how it was cut (see `cut`; `given` by a file). `test` is a program to put
    behind the filled file, which fails if the file is wrong; "" where there is none.
    """

    path: str
    prefix: str
    middle: str
    suffix: str
    kind: str = ""
    test: str = ""

    @property
    def multi_line(self) -> bool:
        """Whether what is missing spans lines."""
        return "\n" in self.middle.strip("\n")


def held_out_holes(count: int, seed: int = 0) -> list[Hole]:
    """`count` holes in the held-out modules of this Python's standard library, the same for one seed and Python."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files = [(name, (root / name).read_text("utf-8")) for name in sorted(HELD_OUT_MODULES) if (root / name).exists()]
    rng = random.Random(seed)
    holes: list[Hole] = []
    while len(holes) < count:
        name, text = rng.choice(files)
        prefix, middle, suffix = split_middle(text, rng)
        rest_of_line = suffix.partition("\n")[0].strip()
        if 4 <= len(middle.strip()) <= 400 and len(prefix) > 300 and suffix.strip() and not rest_of_line:
            holes.append(Hole(name, prefix, middle, suffix))
    return holes


def read_holes(path: Path, limit: int) -> list[Hole]:
    """Holes from JSON lines (`.gz` or not) with `prompt`, `suffix` and `canonical_solution`, and perhaps a `test`.

    That is the form of HumanEval-infilling (Bavarian et al. 2022). Raises `ConfigError`.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig") as lines:
            rows = list(islice((json.loads(line) for line in lines if line.strip()), limit))
        holes = [_given(row) for row in rows]
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(
            f"{path} cannot be used ({type(error).__name__}); "
            "give JSON lines with prompt, suffix and canonical_solution."
        ) from error
    if not holes:
        raise ConfigError(f"{path} holds no holes; give JSON lines with prompt, suffix and canonical_solution.")
    return holes


def _given(row: dict[str, Any]) -> Hole:
    prefix, middle, suffix = (_text(row, key) for key in ("prompt", "canonical_solution", "suffix"))
    return Hole("solution.py", prefix, middle, suffix, GIVEN, _test(row))


def _test(row: dict[str, Any]) -> str:
    return f"{_text(row, 'test')}\ncheck({_text(row, 'entry_point')})\n" if row.get("test") else ""


def _text(row: dict[str, Any], key: str) -> str:
    """Raises `TypeError` or `ValueError` where that is no text, or half a surrogate pair."""
    value = row[key]
    if not isinstance(value, str):
        raise TypeError(key)
    value.encode()
    return value
