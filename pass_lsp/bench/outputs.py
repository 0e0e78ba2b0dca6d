"""What every run says of itself, and whether what it is to write can be written; pictures are saved here.

Whether it can is said before, as a measurement may take an hour.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from pass_lsp.cores import cores
from pass_lsp.errors import ConfigError, installing


def here() -> str:
    """The machine that a run was made on, as its document says it: the pages may be written on another."""
    return f"{cores()} cores, {platform.machine()}, Python {platform.python_version()}"


def writable(json_file: Path | None = None, plot: Path | None = None) -> None:
    """Raises `ConfigError` where a file of a run could not be written, or no picture drawn."""
    for option, path in (("--json", json_file), ("--plot", plot)):
        if path is None:
            continue
        if not path.parent.is_dir():
            raise ConfigError(f"There is no folder {path.parent} for {option} {path}; make it, or name another file.")
        if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
            raise ConfigError(f"{option} {path} cannot be written; name a file in a folder of yours.")
    if plot is not None:
        _drawable(plot)


def save(figure: Any, path: Path) -> None:
    """Write a picture that was drawn. Raises `ConfigError`."""
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise ConfigError(f"The plot cannot be written to {path} ({error}); give --plot a .png file.") from error


def _drawable(plot: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(f"Plots need matplotlib, which is not installed; run: {installing('bench')}.") from error
    kinds = Figure().canvas.get_supported_filetypes()
    if plot.suffix.removeprefix(".").lower() not in kinds:
        raise ConfigError(f"--plot {plot} is no picture that can be drawn; use one of {', '.join(sorted(kinds))}.")
