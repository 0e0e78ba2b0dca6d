"""The look-ahead artifact: L trained input vectors, and what is known of them.

A directory with `manifest.json` and `lookahead.safetensors` (one tensor,
`embeddings` `[L, d]`). The vectors live outside the vocabulary, so no tokenizer can
produce them and no head can emit them. Source: Monea, Joulin, Grave 2023, PaSS.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from pass_lsp.errors import LookaheadError

FORMAT = 1
RANDOM_LENGTH = 4


@dataclass(frozen=True, slots=True)
class Lookahead:
    """`embeddings` `[L, d]`; `acceptance[j]` is how often drafts 1..j+1 were all accepted on held-out code."""

    embeddings: torch.Tensor
    acceptance: tuple[float, ...] = ()

    @property
    def length(self) -> int:
        """L, the number of look-ahead tokens."""
        return self.embeddings.size(0)

    def to(self, device: torch.device, dtype: torch.dtype) -> Lookahead:
        """The same on a device, in a dtype."""
        return Lookahead(self.embeddings.to(device, dtype), self.acceptance)


def random_lookahead(embedding: torch.Tensor, length: int = RANDOM_LENGTH, seed: int = 0) -> Lookahead:
    """Untrained vectors of the table's own scale; `embedding` `[V, d]`. For tests of exactness."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(length, embedding.size(1), generator=generator) * embedding.float().std().cpu()
    return Lookahead(vectors, ())


def save_lookahead(folder: Path, lookahead: Lookahead, facts: dict[str, Any]) -> None:
    """Write the artifact; `facts` say what it was trained for and on."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"embeddings": lookahead.embeddings.float().cpu().contiguous()}, folder / "lookahead.safetensors")
    manifest = {
        "format": FORMAT,
        "length": lookahead.length,
        "hidden_size": lookahead.embeddings.size(1),
        "acceptance": [round(value, 4) for value in lookahead.acceptance],
        **facts,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def load_lookahead(folder: Path, hidden_size: int) -> Lookahead:
    """Read an artifact for a model of `hidden_size`. Raises `LookaheadError` when it does not fit."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        tensor = load_file(folder / "lookahead.safetensors")["embeddings"]
        acceptance = tuple(float(value) for value in manifest.get("acceptance", ()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise LookaheadError(
            f"The look-ahead artifact {folder} cannot be read ({type(error).__name__}); "
            "train it again with `pass-lsp train lookahead`, or choose --lookahead none."
        ) from error
    if manifest.get("format") != FORMAT or tensor.dim() != 2 or tensor.size(1) != hidden_size:
        raise LookaheadError(
            f"The look-ahead artifact {folder} was made for another model ({list(tensor.shape)}, this one is {hidden_size} "
            "wide); train one for this model with `pass-lsp train lookahead`, or choose --lookahead none."
        )
    return Lookahead(tensor, acceptance)
