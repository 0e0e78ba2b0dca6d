"""pass-lsp: local code completion, decoded with Parallel Speculative Sampling.

    engine = pass_lsp.load_engine()
    item = pass_lsp.complete("def add(a, b):\\n    return ", 1, 11, engine=engine, path="x.py")

Importing this package imports neither torch nor the server; they come with first use.
"""

from typing import TYPE_CHECKING, Any

from pass_lsp.domain import CancelToken, Completion, Generation, SamplingParams
from pass_lsp.errors import ConfigError, LookaheadError, ModelError, PassLspError, PromptError

if TYPE_CHECKING:
    from pass_lsp.completion import complete
    from pass_lsp.engines.local import load_engine

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

_LAZY = {"complete": "pass_lsp.completion", "load_engine": "pass_lsp.engines.local"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
