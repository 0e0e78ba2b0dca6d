"""A file cut into parts for a journey whose pieces must be small, and joined again where all have arrived.

`NAME.json` states size and hash of the whole and of every part, and carries facts along. The
name of a part holds the beginning of the whole's hash, so parts of two files are never mixed.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pass_lsp.errors import TrainError
from pass_lsp.train import manifest

MIB = 1 << 20


def split(whole: Path, folder: Path, name: str, part_bytes: int, facts: dict[str, Any]) -> list[Path]:
    """Cut `whole` into parts of at most `part_bytes` in `folder`; returns the statement and the parts, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{name}.{'[0-9a-f]' * 8}.*"):
        old.unlink()
    digest = manifest.file_hash(whole)
    paths: list[Path] = []
    with whole.open("rb") as file:
        while block := file.read(part_bytes):
            paths.append(folder / f"{name}.{digest[:8]}.{len(paths):03}")
            paths[-1].write_bytes(block)
    parts = [{"file": path.name, "bytes": path.stat().st_size, "sha256": manifest.file_hash(path)} for path in paths]
    statement = folder / f"{name}.json"
    manifest.write(statement, {"bytes": whole.stat().st_size, "sha256": digest, "parts": parts, **facts})
    return [statement, *paths]


def select(paths: Sequence[Path], first: int, max_files: int, max_bytes: int) -> list[Path]:
    """The statement and as many parts from number `first` on as may travel together."""
    chosen, room = [paths[0]], max_bytes - paths[0].stat().st_size
    for path in paths[1 + first : first + max_files]:
        room -= path.stat().st_size
        if room < 0:
            break
        chosen.append(path)
    return chosen


def collect(sources: Sequence[Path], folder: Path) -> None:
    """Copy what has arrived in any of `sources` beside what arrived before."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in sources:
        if not source.is_dir():
            raise TrainError(f"{source} is no folder; name one that holds parts.")
        for path in sorted(source.iterdir()):
            if path.is_file() and source != folder:
                shutil.copyfile(path, folder / path.name)


def join(folder: Path, name: str, whole: Path) -> dict[str, Any]:
    """Write `whole` from its parts in `folder`, each checked; returns the statement. Raises `TrainError`."""
    statement = manifest.read(folder / f"{name}.json")
    if statement is None:
        raise TrainError(f"{folder} holds no {name}.json; send it with the parts.")
    missing = [part["file"] for part in statement["parts"] if not _sound(folder, part)]
    if missing:
        raise TrainError(f"Parts of {name} are missing or damaged: {', '.join(missing)}; send them and run again.")
    whole.parent.mkdir(parents=True, exist_ok=True)
    fresh = whole.with_name(whole.name + ".new")
    with fresh.open("wb") as file:
        for part in statement["parts"]:
            file.write((folder / part["file"]).read_bytes())
    fresh.replace(whole)
    return statement


def _sound(folder: Path, part: dict[str, Any]) -> bool:
    path = folder / part["file"]
    return path.exists() and path.stat().st_size == part["bytes"] and manifest.file_hash(path) == part["sha256"]
