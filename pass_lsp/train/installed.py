"""More text for a corpus: what the Python of this machine has installed, by the same filters.

The same holdouts (by name, and whatever resembles their text), the same near-duplicate and
benchmark removal, the same rules for licences; the manifest lists what was added.
"""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

from pass_lsp.train import manifest
from pass_lsp.train.corpus import SourceFile, filter_files, installed_files, summary, write_files
from pass_lsp.train.filters import NearDuplicates


def add_installed(corpus: Path, source_cap: int, workers: int = 1) -> dict[str, Any]:
    """Add the installed packages to `corpus`, once; returns what was added. `source_cap` is in bytes."""
    facts = manifest.read(corpus / "manifest.json") or {}
    fresh = corpus / "train.new.jsonl.gz"
    if "installed" in facts:
        if fresh.exists():  # a kill came between the last two steps
            fresh.replace(corpus / "train.jsonl.gz")
        return facts["installed"]
    known = NearDuplicates()
    for name in ("train", "heldout"):
        for row in _rows(corpus / f"{name}.jsonl.gz"):
            known.remember(row["text"], held_out=name == "heldout")
    files = [file for file in installed_files() if not file.held_out]
    kept, dropped = filter_files(files, source_cap, random.Random(0), known, workers)
    rows = [SourceFile(row["source"], "", row["path"], row["text"], False) for row in _rows(corpus / "train.jsonl.gz")]
    facts["train"] = write_files(fresh, [*rows, *kept])
    added = sum(len(file.text) for file in kept)
    facts["installed"] = {"files": len(kept), "bytes": added, "dropped": dict(dropped), "sources": summary(kept)}
    # First what says where the text is from: text that no manifest names would be taken for the corpus's own.
    manifest.write(corpus / "manifest.json", facts)
    fresh.replace(corpus / "train.jsonl.gz")
    return facts["installed"]


def _rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
