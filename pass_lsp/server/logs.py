"""Where the server's own log goes: stderr or a file, never stdout, and never with source text in it."""

from __future__ import annotations

import logging
from pathlib import Path

from pass_lsp.errors import ConfigError

LEVELS = ("debug", "info", "warning", "error")


def configure(level: str = "info", file: str | Path | None = None) -> None:
    """Log what `pass_lsp` says from `level` on, one of `LEVELS`, to `file` or else stderr. Raises `ConfigError`."""
    try:
        handler = logging.FileHandler(file, encoding="utf-8") if file else logging.StreamHandler()
    except OSError as error:
        raise ConfigError(f"The log file {file} cannot be written ({error.strerror}); choose another.") from error
    if level != "debug":
        # A disk that is full, or an editor that reads no more, costs the line; not a traceback on stderr for each.
        handler.handleError = lambda record: None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("pass_lsp")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
