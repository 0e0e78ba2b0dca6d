"""What an engine does about the converted model that lies in the user's cache: read, made again, done without."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException
from safetensors import SafetensorError

from pass_lsp.decoding.costs import Costs
from pass_lsp.decoding.executor import Executor
from pass_lsp.decoding.graphs import conversion as converting
from pass_lsp.decoding.graphs import executor as graph_executor
from pass_lsp.decoding.graphs.executor import FusedExecutor
from pass_lsp.decoding.torch_executor import TorchExecutor
from pass_lsp.engines import local
from pass_lsp.engines.local import LocalEngine, load_engine

PROMPT = [3, 7, 11, 5]
NO_MEMORY = RuntimeException("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Exception during init: std::bad_alloc")


@pytest.fixture
def load(model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], LocalEngine]:
    """The engine of a tiny model, converted into a cache of its own."""
    monkeypatch.setattr(converting, "MIN_BYTES", 0)
    monkeypatch.setattr(local, "user_cache", lambda: tmp_path)
    return lambda: load_engine(str(model_dir), "cpu", lookahead=None)


def kept(tmp_path: Path) -> Path:
    """The folder of the one converted model."""
    [folder] = [path for path in (tmp_path / "graphs").iterdir() if path.is_dir()]
    return folder


def truncate(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        found = next(folder.glob(name))
        os.truncate(found, found.stat().st_size // 2)

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        truncate("fused.onnx"),
        truncate("tables.safetensors"),
        lambda folder: (folder / "fused.onnx").unlink(),
        lambda folder: (folder / "fused.onnx").write_bytes(b""),
    ],
    ids=["half a graph", "half the tables", "no graph", "an empty graph"],
)
def test_a_damaged_conversion_is_made_again(
    load: Callable[[], LocalEngine], tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    first = load()
    answer = first.generate(PROMPT).token_ids
    damage(kept(tmp_path))
    again = load()
    assert isinstance(again.executor, FusedExecutor) and again.generate(PROMPT).token_ids == answer
    assert str(kept(tmp_path)) in caplog.text
    caplog.clear()
    assert isinstance(load().executor, FusedExecutor) and not caplog.text


def test_one_that_stays_damaged_is_done_without(
    load: Callable[[], LocalEngine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = load().generate(PROMPT).token_ids
    truncate("fused.onnx")(kept(tmp_path))

    def locked(folder: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "rmtree", locked)
    stock = load()
    assert isinstance(stock.executor, TorchExecutor) and stock.generate(PROMPT).token_ids == answer


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("build", OSError(28, "No space left on device")),
        ("build", MemoryError()),
        ("_agrees", NO_MEMORY),
        ("save_file", SafetensorError("I/O error: No space left on device (os error 28)")),
    ],
    ids=["disk full", "memory full", "memory full when it is tried", "disk full at the end"],
)
def test_what_is_no_fault_of_the_model_is_tried_again(
    load: Callable[[], LocalEngine], monkeypatch: pytest.MonkeyPatch, step: str, error: Exception
) -> None:
    def fails(*_: object) -> None:
        raise error

    with monkeypatch.context() as full:
        full.setattr(converting, step, fails)
        assert isinstance(load().executor, TorchExecutor)
    assert isinstance(load().executor, FusedExecutor)


def test_a_conversion_for_which_there_is_no_memory_is_not_damaged(
    load: Callable[[], LocalEngine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load()
    before = {file: file.stat().st_mtime_ns for file in kept(tmp_path).iterdir()}

    def fails(*_: object) -> None:
        raise NO_MEMORY

    with monkeypatch.context() as full:
        full.setattr(graph_executor, "_session", fails)
        with pytest.raises(RuntimeException):
            load()
    assert {file: file.stat().st_mtime_ns for file in kept(tmp_path).iterdir()} == before
    assert isinstance(load().executor, FusedExecutor)


def test_a_neighbour_that_goes_while_it_is_looked_at_costs_nothing(
    load: Callable[[], LocalEngine], tmp_path: Path
) -> None:
    """A link whose file is gone stands for one that another process removed between listing and asking."""
    (tmp_path / "graphs" / "other").mkdir(parents=True)
    (tmp_path / "graphs" / "other" / "tables.new").symlink_to(tmp_path / "gone")
    assert isinstance(load().executor, FusedExecutor)


def test_a_model_that_cannot_be_converted_is_read_once_a_start(
    load: Callable[[], LocalEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converting, "_agrees", lambda *given: False)
    load()
    read: list[str] = []
    load_model = local.load_model
    monkeypatch.setattr(local, "load_model", lambda *given: read.append(given[0]) or load_model(*given))
    assert isinstance(load().executor, TorchExecutor) and len(read) == 1


def test_a_cache_that_may_only_be_read_is_read(
    load: Callable[[], LocalEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    load()

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refuse)
    assert isinstance(load().executor, FusedExecutor)


def test_costs_are_those_of_this_model_with_this_artifact(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept for a stock forward by its folder, from wherever that is named, and by what hangs on it."""
    monkeypatch.setattr(local, "user_cache", lambda: tmp_path)
    measured: list[object] = []

    def measures(executor: Executor, *_: object) -> Costs:
        measured.append(executor.lookahead)
        return Costs((1, 2), (1.0, 2.0))

    monkeypatch.setattr(local, "measured", measures)
    monkeypatch.chdir(model_dir)
    for name in (".", str(model_dir)):
        load_engine(name, "cpu", lookahead=None)
    assert measured == [None, None]  # of greedy and of sampled answers, once
    load_engine(".", "cpu", lookahead="random")
    assert len(measured) == 4 and measured[2] is not None


def test_costs_are_those_of_one_kind_of_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"kind {device.index}")
    assert local._device_name(torch.device("cuda", 1)) == "kind 1"
    assert local._device_name(torch.device("cpu")) == "cpu"
