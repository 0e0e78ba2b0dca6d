"""What a step of the training was made from: hashes, versions and options, in a JSON file beside its result."""

from __future__ import annotations

import json
import sys
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

from pass_lsp.errors import TrainError

_LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Python and the libraries that a result may depend on."""
    return {"python": sys.version.split()[0]} | {name: metadata.version(name) for name in _LIBRARIES}


def corpus_hash(corpus: Path) -> str | None:
    """The hash of the text that `corpus` trains on, as its manifest states it; None for a plain folder.

    Raises `TrainError` where nothing is there, or `train corpus` has not come to its end.
    """
    if not corpus.exists():
        raise TrainError(f"There is no corpus {corpus}; run `pass-lsp train corpus` first, or correct the name.")
    found = read(corpus / "manifest.json")
    if found is None and (corpus / "train.jsonl.gz").exists():
        raise TrainError(f"The corpus {corpus} is unfinished; run `pass-lsp train corpus` again.")
    return (found or {}).get("train", {}).get("sha256")


def read(path: Path) -> dict[str, Any] | None:
    """A manifest, or None where there is none. Raises `TrainError` for a damaged one."""
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise TrainError(f"{path} is damaged ({error}); delete it and run the step that writes it again.") from error


def write(path: Path, facts: dict[str, Any]) -> None:
    """Write a manifest last, whole or not at all: its being there says that the step is done."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", "utf-8")
    fresh.replace(path)


def same_inputs(path: Path, facts: dict[str, Any]) -> None:
    """Refuse to go on from what was begun with other inputs; what either side does not state is not compared."""
    begun = read(path) or {}
    for key, value in facts.items():
        if value is not None and begun.get(key, value) not in (value, None):
            raise TrainError(
                f"{path.parent} was made with {key} {begun[key]}, not {value}; give another --out, or the same inputs."
            )
