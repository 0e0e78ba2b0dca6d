"""What keeps a model directory from being loaded, in one sentence with the remedy."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path

from pass_lsp.errors import ModelError, is_out_of_memory

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_LFS = b"version https://git-lfs."


class explained:
    """Turns whatever loading raises into one `ModelError` sentence."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        if not os.path.exists(self._path) and not _HUB_ID.fullmatch(self._path):
            raise ModelError(f"There is no model directory {self._path}; check --model.")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, ModelError) or not isinstance(error, Exception):
            return
        raise ModelError(self._sentence(error)) from error

    def _sentence(self, error: Exception) -> str:
        path = self._path
        if is_out_of_memory(error):
            return f"There is not enough memory to load {path}; choose a smaller model, or --dtype int8."
        if "trust_remote_code" in str(error):
            remedy = "give --trust-remote-code, or set trust_remote_code in your user settings"
            return f"{path} needs its own code; if you trust its author, {remedy}."
        if isinstance(error, ImportError):
            return f"{path} needs a library that is not here ({_first_line(error)}); install it beside pass-lsp."
        if not os.path.exists(path):
            why = f"({_first_line(error)}); check --model and the network"
            return f"{path} is no model directory, and it cannot be fetched as one from the hub {why}."
        missing = [name for name in ("config.json", "tokenizer.json") if not (Path(path) / name).exists()]
        if missing:
            return f"{path} has no {' and no '.join(missing)}; --model needs a Hugging Face model directory."
        if not list(Path(path).glob("*.safetensors")):
            return f"{path} has no .safetensors file; convert the weights to safetensors (pickles are never loaded)."
        for file in Path(path).iterdir():
            if is_lfs_pointer(file):
                return f"{path} holds a Git LFS pointer in place of {file.name}; run `git lfs pull` there."
        what = f"{type(error).__name__}: {_first_line(error)}"
        return f"{path} is broken or of an unsupported kind ({what}); fetch it again."


def is_lfs_pointer(file: Path) -> bool:
    """Whether a file is what `git clone` leaves of a large one without Git LFS: a text of about 130 bytes."""
    with contextlib.suppress(OSError), file.open("rb") as held:
        return held.read(len(_LFS)) == _LFS
    return False


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return json.dumps(lines[0][:160]) if lines else "no details"
