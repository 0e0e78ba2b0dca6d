"""Where this user's own files lie on this platform."""

from __future__ import annotations

from pathlib import Path

import platformdirs

NAME = "pass-lsp"


def config_file() -> Path:
    """The user's settings."""
    return Path(platformdirs.user_config_dir(NAME, appauthor=False)) / "config.toml"


def ledger_file() -> Path:
    """The ledger of suggestions."""
    return Path(platformdirs.user_state_dir(NAME, appauthor=False)) / "ledger.jsonl"
