"""pass-lsp: local code completion, decoded with Parallel Speculative Sampling.

    engine = pass_lsp.load_engine()
    item = pass_lsp.complete("def add(a, b):\\n    return ", 1, 11, engine=engine, path="x.py")

Importing this package imports nothing else; it comes with first use.
"""

from __future__ import annotations

# As `typing` has it, which takes a while to be read: until `__main__` is, Ctrl-C is a traceback.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pass_lsp.completion import complete
    from pass_lsp.domain import CancelToken, Completion, Generation, SamplingParams
    from pass_lsp.engines.local import load_engine
    from pass_lsp.errors import ConfigError, LookaheadError, ModelError, PassLspError, PromptError

__version__ = "0.1.0"

__all__ = [
    "CancelToken",
    "Completion",
    "ConfigError",
    "Generation",
    "LookaheadError",
    "ModelError",
    "PassLspError",
    "PromptError",
    "SamplingParams",
    "complete",
    "load_engine",
]

_LAZY = {
    "pass_lsp.completion": ("complete",),
    "pass_lsp.domain": ("CancelToken", "Completion", "Generation", "SamplingParams"),
    "pass_lsp.engines.local": ("load_engine",),
    "pass_lsp.errors": ("ConfigError", "LookaheadError", "ModelError", "PassLspError", "PromptError"),
}


def __getattr__(name: str) -> Any:
    for module, names in _LAZY.items():
        if name in names:
            from importlib import import_module

            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
