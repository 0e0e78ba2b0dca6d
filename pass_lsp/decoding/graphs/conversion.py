"""From a model directory to a converted graph in a cache folder, once for each model, artifact and dtype.

A folder of the cache is named after the hash of everything it was made from, so it never goes
stale; the least recently used ones are removed when the cache grows over its bound.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import file_digest, sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import onnx
import onnxruntime
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from pass_lsp.decoding.cache import KVCache
from pass_lsp.decoding.graphs.executor import FusedExecutor, TracedExecutor
from pass_lsp.decoding.graphs.fused import build, buildable
from pass_lsp.decoding.layout import layout
from pass_lsp.decoding.lookahead import TENSORS, Lookahead, unreadable
from pass_lsp.decoding.masks import window_of
from pass_lsp.decoding.model import Limits, limits_of, output_table, table_of
from pass_lsp.errors import ModelError, is_out_of_memory

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pass_lsp.decoding.torch_executor import TorchExecutor

log = logging.getLogger(__name__)

FORMAT = 4
MIN_BYTES, MAX_BYTES = 10_000_000, 2_000_000_000
CACHE_BYTES = 8_000_000_000
TOLERANCE = 1e-3
QUANTIZED_BLOCK = 64

_REFUSED, _LIMITS = "refused", "limits.json"

GraphExecutor = FusedExecutor | TracedExecutor
_KINDS: dict[str, type[GraphExecutor]] = {"fused": FusedExecutor, "traced": TracedExecutor}
"""By the name of the graph's file, in the order in which they are tried."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """A model directory to convert, and where the result lies or will lie."""

    model: Path
    dtype: str
    folder: Path

    @property
    def done(self) -> bool:
        """Whether the graph is there."""
        return (self.folder / "tables.safetensors").exists()

    @property
    def refused(self) -> bool:
        """Whether it was tried, and this model stays with the stock forward."""
        return (self.folder / _REFUSED).exists()

    def limits(self) -> Limits | None:
        """Those of the model, once the graph is there: its configuration need not be read again, which takes long."""
        try:
            return Limits.read(self.folder / _LIMITS) if self.done else None
        except (OSError, ValueError, TypeError):
            return None

    def executor(
        self, limits: Limits, artifact: Lookahead | None, stock: Callable[[], PreTrainedModel], threads: int
    ) -> GraphExecutor | None:
        """The fast executor, made now if need be; None when the family cannot be converted, or nothing can be kept.

        What was kept may be damaged: a full disk, a crash. It is made once more, and else done without.
        """
        for again in (False, True):
            try:
                if self.refused or (not self.done and not convert(self, stock(), artifact)):
                    return None
            except Exception as error:
                if isinstance(error, (OSError, SafetensorError)) or is_out_of_memory(error):
                    return None  # no memory for it, no room or no right to write into the cache folder
                raise
            try:
                return executor_of(self, limits.window, artifact, threads)
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                what = "is left aside" if again else "is made again"
                log.warning(
                    "The converted model in %s cannot be read (%s) and %s.", self.folder, type(error).__name__, what
                )
            with contextlib.suppress(OSError):
                discard(self)
        return None


def conversion(model: str, dtype: str, device: torch.device, artifact: Path | None, cache: Path) -> Conversion | None:
    """How `model` would be converted; None where the stock forward stays: GPUs, tiny and huge models, hub ids.

    Raises `ModelError` where a file of it cannot be read, `LookaheadError` for one of the artifact.
    """
    weights = sorted(path for path in Path(model).glob("*.safetensors") if path.is_file())
    size = sum(path.stat().st_size for path in weights)
    fits = bool(weights) and MIN_BYTES <= size <= MAX_BYTES
    if device.type != "cpu" or dtype not in ("float32", "int8") or not fits:
        return None
    said = [path for name in ("config", "generation_config") if (path := Path(model) / f"{name}.json").exists()]
    drafting = artifact / TENSORS if artifact else None
    code = sorted(path for path in Path(model).glob("*.py") if path.is_file())  # some models bring their own
    sources = [*weights, *said, *code, *([drafting] if drafting else [])]
    versions = (FORMAT, dtype, torch.__version__, version("transformers"), onnxruntime.__version__)
    key = sha256(repr(versions).encode())
    for path in sources:
        try:
            with path.open("rb") as source:
                key.update(file_digest(source, "sha256").digest())
        except OSError as error:
            if artifact is not None and path == drafting:
                raise unreadable(artifact, error) from error
            raise ModelError(f"{path} cannot be read ({error.strerror}); check it, or make it again.") from error
    return Conversion(Path(model), dtype, cache / key.hexdigest()[:32])


def convert(wanted: Conversion, model: PreTrainedModel, lookahead: Lookahead | None) -> bool:
    """Make the graph of `model` (float32, on the CPU) and check it against the model; False when it cannot be made.

    Built by hand where the family is known, traced otherwise. Whatever goes wrong with both
    means that this model stays with the stock forward; raises `OSError`, `SafetensorError` and what
    says that memory is full, which are no fault of the model, and it is tried again the next time.
    """
    from pass_lsp.decoding.torch_executor import TorchExecutor

    stock = TorchExecutor(model, lookahead)
    wanted.folder.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(str(wanted.folder) + ".lock"):
        if wanted.done or wanted.refused:
            return wanted.done
        if not any(_made(wanted.folder, name, stock, lookahead) for name in _KINDS):
            (wanted.folder / _REFUSED).touch()  # so that the next start does not try for seconds again
            return False
        if wanted.dtype == "int8":
            _quantize(_graph_in(wanted.folder))
        limits_of(model.config, model.generation_config).save(wanted.folder / _LIMITS)
        output, table = output_table(model), table_of(model)
        tables = {"table": table} if output is None or output is table else {"table": table, "output": output}
        save_file({name: tensor.detach().clone() for name, tensor in tables.items()}, wanted.folder / "tables.new")
        os.replace(wanted.folder / "tables.new", wanted.folder / "tables.safetensors")
    with contextlib.suppress(OSError):  # another process may be making or removing what lies there
        _remove_oldest(keep=wanted.folder)
    return True


def executor_of(done: Conversion, window: int | None, lookahead: Lookahead | None, threads: int) -> GraphExecutor:
    """The executor of a finished conversion; `window` is the model's sliding one.

    Raises whatever its readers raise where a file of it is damaged: they have no common base.
    """
    with contextlib.suppress(OSError):  # only for the order in which old ones are removed; the cache may be read-only
        os.utime(done.folder)
    tables = load_file(done.folder / "tables.safetensors")
    graph = _graph_in(done.folder)
    kind = _KINDS[graph.stem]
    return kind(graph, window, tables["table"], tables.get("output", tables["table"]), lookahead, threads)


def discard(damaged: Conversion) -> None:
    """Remove what cannot be read, so that it is made anew. Raises `OSError`."""
    with filelock.FileLock(str(damaged.folder) + ".lock"):
        shutil.rmtree(damaged.folder)


def _graph_in(folder: Path) -> Path:
    return next(folder.glob("*.onnx"))


def _made(folder: Path, name: str, stock: TorchExecutor, lookahead: Lookahead | None) -> bool:
    """Whether the graph of this kind could be made, alone in `folder`, and agrees with the model."""
    changes = lookahead.lora if lookahead is not None else None
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    graph = folder / f"{name}.onnx"
    try:
        if name == "traced":
            from pass_lsp.decoding.graphs.export import export  # brings the stock models' code

            export(stock.model, stock.gate, graph)
        elif buildable(stock.model, changes):
            build(stock.model, changes, graph)
        return graph.exists() and _agrees(graph, stock, lookahead)
    except Exception as error:  # the exporter's own errors have no common base
        if isinstance(error, OSError) or is_out_of_memory(error):
            shutil.rmtree(folder, ignore_errors=True)  # a disk that is full is not to hold half a graph besides
            raise
        why = str(error).strip().partition("\n")[0]
        log.warning("No %s graph can be made of this model (%s: %s).", name, type(error).__name__, why)
        return False


def _agrees(graph: Path, stock: TorchExecutor, lookahead: Lookahead | None) -> bool:
    """Whether graph and stock model give the same logits for cached, drafted and look-ahead rows."""
    config = stock.model.config.get_text_config()
    other = _KINDS[graph.stem](graph, window_of(config), stock.table, stock.output_table, lookahead, 1)
    groups = ((0, 1), (2, min(2, lookahead.length))) if lookahead else ()
    ids = [(7 * i + 3) % stock.table.size(0) for i in range(12)]
    found = []
    for executor in (stock, other):
        cache = KVCache(executor.new_slots)
        executor.forward(cache, ids[:9], layout(9), 1)
        cache.extend(ids[:9])
        cache.crop(9)
        found.append(executor.forward(cache, ids[9:], layout(3, groups), 3))
    spread = found[0].abs().max()
    return bool((found[0] - found[1]).abs().max() <= TOLERANCE * spread)


def _quantize(graph: Path) -> None:
    """8-bit weights in blocks; activations are quantised a row at a time inside the product."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer").setLevel(logging.ERROR)
    quantizer = MatMulNBitsQuantizer(
        onnx.load(str(graph)), bits=8, block_size=QUANTIZED_BLOCK, is_symmetric=True, accuracy_level=4
    )
    quantizer.process()
    for old in graph.parent.glob(graph.name + "*"):
        old.unlink()
    quantizer.model.save_model_to_file(str(graph), True)  # type: ignore[union-attr]


def _remove_oldest(keep: Path) -> None:
    folders = sorted((path for path in keep.parent.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in folders}
    total = sum(sizes.values())
    for folder in folders:
        if total <= CACHE_BYTES:
            return
        if folder != keep:
            shutil.rmtree(folder, ignore_errors=True)
            total -= sizes[folder]
