"""A corpus of a few modules, as `train corpus` writes it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from pass_lsp.train.corpus import read_corpus


@pytest.fixture(scope="session")
def corpus(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus folder: all of `sources` but one to train on, and that one held out."""
    folder = tmp_path_factory.mktemp("corpus")
    for name, held_out in (("train", False), ("heldout", True)):
        with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as lines:
            for path, text in read_corpus(sources):
                if (path == "queue.py") == held_out:
                    lines.write(json.dumps({"source": "python", "path": path, "text": text}) + "\n")
    (folder / "manifest.json").write_text(json.dumps({"train": {"sha256": "abc"}}))
    return folder
