"""Failures that a user can do something about.

    PassLspError
    ├── ConfigError        a setting or an option has a value that cannot be used
    ├── ModelError         the model directory is missing, broken or of an unsupported kind
    │   └── LookaheadError the look-ahead artifact does not fit the model
    ├── PromptError        the prompt is empty, too long or holds ids the model does not know
    ├── EngineError        the remote engine is away, busy, or answers as no engine does
    └── TrainError         a training step lacks its input, or its input is unusable

Each message is one sentence for the user, with the remedy in it. Expected
failures raise one of these; `assert` is for what cannot happen.
"""

from __future__ import annotations

import re
import sys

NO_MEMORY = "There is not enough memory; close other programs or choose a smaller model."
NO_ARTIFACT = (
    "The strategy 'pass' needs a look-ahead artifact; train one with `pass-lsp train lookahead`, "
    "or use 'merged', 'autoregressive' or 'auto'."
)
_NO_MEMORY_SAID = ("out of memory", "can't allocate memory", "bad_alloc", "bad allocation", "Failed to allocate memory")
_FROM_RUST = re.compile(r"([^:()]+) \(os error \d+\)")
"""How safetensors and tokenizers tell of a full disk or a lack of permission, in errors of their own."""


class PassLspError(Exception):
    """Base of every failure that is explained to the user in one sentence."""


class ConfigError(PassLspError):
    """A setting or option has a value that cannot be used."""


class ModelError(PassLspError):
    """The model is missing, broken, too large for the memory, or of an unsupported kind."""


class LookaheadError(ModelError):
    """The look-ahead artifact is broken or was trained for another model."""


class PromptError(PassLspError):
    """The prompt is empty, longer than the context, or holds unknown token ids; `longest` says what it may have."""

    def __init__(self, message: str, longest: int = 0) -> None:
        super().__init__(message)
        self.longest = longest


class EngineError(PassLspError):
    """The remote engine is away, busy, or answers as no engine does; `rest_s` is how long to leave it alone.

    `lost` says that the connection ended in mid-answer, so that another replica may know the rest; `too_long` that
    this prompt was, and a shorter one may be sent at once; `busy` that the engine is well and has too much to do.
    """

    def __init__(
        self, message: str, *, rest_s: float = 0.0, lost: bool = False, too_long: bool = False, busy: bool = False
    ) -> None:
        super().__init__(message)
        self.rest_s, self.lost, self.too_long, self.busy = rest_s, lost, too_long, busy


class TrainError(PassLspError):
    """A training step lacks its input, or the input is unusable."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, torch, ONNX Runtime or a device says that the memory is full; by name: none is known here."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    known = isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime.")
    return known and any(said in str(error) for said in _NO_MEMORY_SAID)


def installing(extra: str) -> str:
    """The command that adds an extra to where this runs: pipx has a Python of its own, which no bare `pip` means."""
    python = f'"{sys.executable}"' if " " in sys.executable else sys.executable
    return f"{python or 'python'} -m pip install 'pass-lsp[{extra}]'"


def sentence(error: Exception) -> str:
    """What to tell the user of any error, with the remedy."""
    if isinstance(error, PassLspError):
        return str(error)
    if is_out_of_memory(error):
        return NO_MEMORY
    if isinstance(error, ImportError) and not (error.name or "").startswith("pass_lsp"):
        told = next(iter(str(error).splitlines()), "no details")
        return f"A library cannot be loaded ({told}); install pass-lsp again, and on Windows the Visual C++ runtime."
    if isinstance(error, OSError) and error.strerror:
        where = f" for {error.filename}" if error.filename else ""
        return f"The system says {error.strerror!r}{where}; check the path, its permissions and the free space."
    if told := _FROM_RUST.search(str(error)):
        return f"The system says {told[1].strip()!r}; check the path, its permissions and the free space."
    return f"This is a bug in pass-lsp ({type(error).__name__}: {error}); please report it with the command you ran."
