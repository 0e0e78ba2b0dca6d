"""Where models and artifacts lie: the embedded model, and look-ahead artifacts beside a model or with the user."""

from __future__ import annotations

import contextlib
import json
import math
import re
from pathlib import Path

import platformdirs

from pass_lsp.errors import ModelError

_PACKAGE = Path(__file__).resolve().parents[1]


def embedded_model() -> Path:
    """The directory of the model that ships: in the wheel `pass_lsp/_models`, in a checkout `models/`."""
    for root in (_PACKAGE / "_models", _PACKAGE.parent / "models"):
        found = sorted(path.parent for path in root.glob("*/config.json"))
        if found:
            return found[0]
    raise ModelError("The embedded model is missing; install pass-lsp again, or name a model with --model.")


def measured_hopeless(model: str) -> float:
    """The log-probability below which answers of a model hardly ever begin right, if that was measured; else -inf.

    `model` is `embedded` or a directory, beside whose card `train card` keeps what `bench infill` found.
    """
    with contextlib.suppress(ModelError, OSError, ValueError, KeyError, TypeError, ArithmeticError, RecursionError):
        folder = embedded_model() if model == "embedded" else Path(model)
        least = float(json.loads((folder / "measured.json").read_text("utf-8"))["infill"]["hopeless"]["below"])
        if least <= 0:
            return least
    return -math.inf


def user_lookahead(model: str) -> Path:
    """Where a user's own artifact for `model` (directory or hub id) is kept."""
    slug = re.sub(r"[^A-Za-z0-9.-]+", "--", model)[-200:].strip("-")  # no system has names longer than 255
    return Path(platformdirs.user_data_dir("pass-lsp", appauthor=False)) / "lookahead" / slug


def user_cache() -> Path:
    """Where converted models and measured costs are kept; removing it costs time, nothing else."""
    return Path(platformdirs.user_cache_dir("pass-lsp", appauthor=False))


def lookahead_folder(model: str) -> Path | None:
    """The artifact for `model`: beside it, else the user's own; None when there is none."""
    for folder in (Path(model) / "lookahead", user_lookahead(model)):
        if (folder / "manifest.json").exists():
            return folder
    return None
