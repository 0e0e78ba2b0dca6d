"""The look-ahead artifact: L trained input vectors, optionally a head and a LoRA, and what is known of them.

A directory with `manifest.json` and `lookahead.safetensors`: `embeddings` `[L, d]`; `head.up`
`[h, d]` and `head.down` `[d, h]` where a head was trained; `lora.<module>.a` `[r, in]` and
`lora.<module>.b` `[out, r]` where a gated LoRA was. The vectors live outside the vocabulary, so
no tokenizer can produce them and no model can emit them. Source: Monea, Joulin, Grave 2023,
PaSS; the head mends what its look-ahead rows lack, the token before the one they predict.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch.nn import functional as F

from pass_lsp.decoding.explained import is_lfs_pointer
from pass_lsp.decoding.lora import Factors
from pass_lsp.errors import LookaheadError

FORMAT = 1
TENSORS = "lookahead.safetensors"
RANDOM_LENGTH = 4


@dataclass(frozen=True, slots=True)
class Head:
    """Turns the embedding of the token before into a shift of a look-ahead row's last hidden state."""

    up: torch.Tensor  # [h, d]
    down: torch.Tensor  # [d, h]

    def __call__(self, previous: torch.Tensor) -> torch.Tensor:
        """Embeddings `[…, d]` → shifts `[…, d]`; the model's output layer makes logits of them."""
        return F.linear(F.silu(F.linear(previous, self.up)), self.down)


@dataclass(frozen=True, slots=True)
class Lookahead:
    """`embeddings` `[L, d]`; `acceptance[j]` is how often drafts 1..j+1 were all accepted on held-out code."""

    embeddings: torch.Tensor
    acceptance: tuple[float, ...] = ()
    head: Head | None = None
    lora: Factors = field(default_factory=dict)

    @property
    def length(self) -> int:
        """L, the number of look-ahead tokens."""
        return self.embeddings.size(0)

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Lookahead:
        """The same with every tensor changed."""
        head = Head(change(self.head.up), change(self.head.down)) if self.head else None
        lora = {path: (change(a), change(b)) for path, (a, b) in self.lora.items()}
        return Lookahead(change(self.embeddings), self.acceptance, head, lora)

    def to(self, device: torch.device, dtype: torch.dtype) -> Lookahead:
        """The same on a device, in a dtype."""
        return self.map(lambda tensor: tensor.to(device, dtype))

    def tensors(self) -> dict[str, torch.Tensor]:
        """Every tensor under the name it has in the file."""
        named = {"embeddings": self.embeddings}
        if self.head is not None:
            named |= {"head.up": self.head.up, "head.down": self.head.down}
        for path, (a, b) in self.lora.items():
            named |= {f"lora.{path}.a": a, f"lora.{path}.b": b}
        return named


def random_lookahead(embedding: torch.Tensor, length: int = RANDOM_LENGTH, seed: int = 0) -> Lookahead:
    """Untrained vectors of the table's own scale; `embedding` `[V, d]`. For tests of exactness."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(length, embedding.size(1), generator=generator) * embedding.float().std().cpu()
    return Lookahead(vectors, ())


def save_lookahead(folder: Path, lookahead: Lookahead, facts: dict[str, Any]) -> None:
    """Write the artifact; `facts` say what it was trained for and on. A kill leaves each file whole."""
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / "new"
    plain = {name: t.detach().float().cpu().contiguous() for name, t in lookahead.tensors().items()}
    fresh.write_bytes(save(plain))  # `save_file` leaves a file that nobody else may read
    fresh.replace(folder / TENSORS)
    manifest = {
        "format": FORMAT,
        "length": lookahead.length,
        "hidden_size": lookahead.embeddings.size(1),
        "parts": [part for part, there in (("head", lookahead.head), ("lora", lookahead.lora)) if there],
        "acceptance": [round(value, 4) for value in lookahead.acceptance],
        **facts,
    }
    fresh.write_text(json.dumps(manifest, indent=1) + "\n")
    fresh.replace(folder / "manifest.json")


def unreadable(folder: Path, error: Exception) -> LookaheadError:
    """What to say of an artifact of which a file is missing or damaged."""
    if is_lfs_pointer(folder / TENSORS):
        return LookaheadError(f"{folder} holds a Git LFS pointer in place of {TENSORS}; run `git lfs pull` there.")
    return LookaheadError(
        f"The look-ahead artifact {folder} cannot be read ({type(error).__name__}); "
        "train it again with `pass-lsp train lookahead`, or choose --lookahead none."
    )


def load_lookahead(folder: Path, hidden_size: int) -> Lookahead:
    """Read an artifact for a model of `hidden_size`, as float32 on the CPU. Raises `LookaheadError` if it is unfit."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        tensors = load_file(folder / TENSORS)
        tensor = tensors["embeddings"]
        head = Head(tensors["head.up"], tensors["head.down"]) if "head.up" in tensors else None
        lora = {
            name[5:-2]: (tensor, tensors[f"{name[:-2]}.b"])
            for name, tensor in tensors.items()
            if name.startswith("lora.") and name.endswith(".a")
        }
        acceptance = tuple(float(value) for value in manifest.get("acceptance", ()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise unreadable(folder, error) from error
    fits = tensor.dim() == 2 and tensor.size(1) == hidden_size and len(tensor) > 0
    if head is not None:
        fits = fits and head.up.dim() == 2 and head.up.size(1) == hidden_size and head.down.shape == head.up.T.shape
    if manifest.get("format") != FORMAT or not fits:
        raise LookaheadError(
            f"The look-ahead artifact {folder} was made for another model (this one is {hidden_size} wide, "
            f"the artifact {list(tensor.shape)}); train one for this model with `pass-lsp train lookahead`, "
            "or choose --lookahead none."
        )
    # Executors take float32, and a planner draws as many rows as there are rates.
    lookahead = Lookahead(tensor, acceptance[: len(tensor)], head, lora).map(torch.Tensor.float)
    if not all(each.isfinite().all() for each in lookahead.tensors().values()):
        # A mask hides numbers alone: real rows of the same forward would be none, too.
        raise LookaheadError(
            f"The look-ahead artifact {folder} holds values that are no numbers; train it again with "
            "`pass-lsp train lookahead`, or choose --lookahead none."
        )
    return lookahead
