"""What a user is told of errors that are not ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException
from safetensors import SafetensorError
from safetensors.torch import save_file
from tokenizers import Tokenizer, models

from pass_lsp.errors import NO_MEMORY, TrainError, sentence


def test_the_system_is_quoted_also_through_other_languages(tmp_path: Path) -> None:
    gone = tmp_path / "gone" / "file"
    with pytest.raises(SafetensorError) as tensors:
        save_file({"w": torch.zeros(1)}, gone)
    with pytest.raises(Exception, match="os error") as tokens:
        Tokenizer(models.BPE()).save(str(gone))
    with pytest.raises(OSError) as opened:  # each system has its own words
        gone.open()
    for error in (tensors.value, tokens.value, opened.value):
        assert sentence(error).startswith("The system says '")
        assert sentence(error).endswith("check the path, its permissions and the free space.")


def test_what_is_ours_is_said_as_it_is() -> None:
    assert sentence(TrainError("There is no text; give some.")) == "There is no text; give some."
    full = RuntimeError("CUDA error: out of memory")
    running = RuntimeError("Non-zero status code returned while running MatMul node: std::bad_alloc")
    loading = RuntimeException("[ONNXRuntimeError] : 6 : Exception during initialization: std::bad_alloc")
    for error in (MemoryError(), torch.OutOfMemoryError("CUDA out of memory."), full, running, loading):
        assert sentence(error) == NO_MEMORY
    assert sentence(RuntimeError("use tensor.pin_memory()")).startswith("This is a bug")
    assert sentence(KeyError("x")).startswith("This is a bug in pass-lsp (KeyError")


def test_a_library_that_is_broken_here_is_no_bug() -> None:
    gone = ImportError("libgomp.so.1: cannot open shared object file\nIMPORTANT: …", name="onnxruntime")
    assert sentence(gone).startswith(
        "A library cannot be loaded (libgomp.so.1: cannot open shared object file); install"
    )
    assert "No module named 'onnx'" in sentence(ModuleNotFoundError("No module named 'onnx'", name="onnx"))
    assert sentence(ImportError()).startswith("A library cannot be loaded (no details); ")
    assert sentence(ImportError("cannot import name 'x'", name="pass_lsp.domain")).startswith("This is a bug")
