"""What travels: a corpus as compressed text, and a run as one file of tensors.

Text, not token ids: fill-in-the-middle is cut at characters, the pack serves every tokenizer,
and under xz with a large dictionary it is but 7 % larger (5.5 bits a token against 5.1).
"""

from __future__ import annotations

import gzip
import json
import lzma
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from pass_lsp.errors import TrainError
from pass_lsp.train import manifest
from pass_lsp.train.average import MeanWeights
from pass_lsp.train.checkpoint import recover
from pass_lsp.train.parts import MIB, join, split

_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 64 * MIB}]
_TEXTS = ("config.json", "generation_config.json", "progress.json")
PARTS = ("train", "heldout")


def pack_corpus(corpus: Path, tokenizer: Path, box: Path, part_bytes: int) -> dict[str, Any]:
    """Write a corpus and a tokenizer into `box` as parts; what is there of the same corpus is kept."""
    facts = manifest.read(corpus / "manifest.json")
    if facts is None:
        raise TrainError(f"{corpus} holds no manifest.json; run `pass-lsp train corpus` first.")
    box.mkdir(parents=True, exist_ok=True)
    for name in PARTS:
        wanted = facts[name]["sha256"]
        if (manifest.read(box / f"{name}.json") or {}).get("text_sha256") != wanted:
            packed = box / f"{name}.xz"
            _compress(corpus / f"{name}.jsonl.gz", packed)
            split(packed, box, name, part_bytes, {"text_sha256": wanted})
            packed.unlink(missing_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tokenizer / name, box / name)
    manifest.write(box / "corpus.json", facts)
    sizes = {path.name: path.stat().st_size for path in sorted(box.iterdir())}
    return {"files": sizes, "mib": round(sum(sizes.values()) / MIB, 2)}


def unpack_corpus(box: Path, corpus: Path) -> None:
    """The reverse of `pack_corpus`: `corpus` as `train corpus` would have written it."""
    facts = manifest.read(box / "corpus.json")
    if facts is None:
        raise TrainError(f"{box} holds no corpus.json; send it with the parts.")
    for name in PARTS:
        packed = corpus / f"{name}.xz"
        join(box, name, packed)
        with lzma.open(packed) as text, gzip.open(corpus / f"{name}.jsonl.gz", "wb", compresslevel=1) as out:
            shutil.copyfileobj(text, out, MIB)
        packed.unlink()
    manifest.write(corpus / "manifest.json", facts)


def pack_run(run: Path, whole: Path, dtype: torch.dtype, momenta: bool = True) -> None:
    """The last checkpoint of `run`, its log and its statement as one file of tensors in `dtype`."""
    recover(run / "checkpoint")
    checkpoint = run / "checkpoint"
    if not (checkpoint / "progress.json").exists():
        raise TrainError(f"{run} holds no checkpoint; run a slice of the training first.")
    tensors: dict[str, torch.Tensor] = {}
    for part in ("model", *(["optimizer"] if momenta else [])):
        for name, tensor in load_file(checkpoint / f"{part}.safetensors").items():
            if name.endswith(MeanWeights.STATE):
                continue  # as large as the model, and begun anew where the run goes on
            # Counters of steps have no dimension and must stay exact.
            tensors[f"{part}/{name}"] = tensor.to(dtype) if tensor.ndim else tensor
    texts = {name: (checkpoint / name).read_text("utf-8") for name in _TEXTS if (checkpoint / name).exists()}
    texts |= {name: (run / name).read_text("utf-8") for name in ("log.jsonl", "run.json") if (run / name).exists()}
    save_file(tensors, whole, metadata=texts)


def unpack_run(whole: Path, run: Path) -> None:
    """The reverse of `pack_run`: a run that `train base` goes on with, in float32."""
    checkpoint = run / "checkpoint"
    checkpoint.mkdir(parents=True, exist_ok=True)
    tensors = load_file(whole)
    with safe_open(whole, "pt") as file:
        texts: dict[str, str] = file.metadata()
    for part in ("model", "optimizer"):
        chosen = {
            name.removeprefix(f"{part}/"): tensor.float()
            for name, tensor in tensors.items()
            if name.startswith(f"{part}/")
        }
        save_file(chosen, checkpoint / f"{part}.safetensors", metadata={"format": "pt"})
    for name in ("log.jsonl", "run.json"):
        if name in texts:
            (run / name).write_text(texts[name], "utf-8")
    for name in _TEXTS:
        if name in texts:
            (checkpoint / name).write_text(texts[name], "utf-8")


def progress_of(statement: dict[str, Any]) -> int:
    """The step that a packed run has reached; -1 where the statement is of none."""
    return int(json.loads(statement["progress"])["step"]) if "progress" in statement else -1


def _compress(source: Path, target: Path) -> None:
    size = source.stat().st_size
    with (
        source.open("rb") as raw,
        gzip.open(raw) as text,
        lzma.open(target, "wb", filters=_FILTERS) as out,
        tqdm(total=size, desc=f"packing {source.name}", unit="B", unit_scale=True) as bar,
    ):
        while block := text.read(MIB):
            out.write(block)
            bar.update(raw.tell() - bar.n)
