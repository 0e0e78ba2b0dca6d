"""What a model's configuration says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf

from pass_lsp.decoding.explained import explained
from pass_lsp.decoding.model import _is_here, choose_device, limits_of
from pass_lsp.engines.local import load_engine
from pass_lsp.errors import ModelError
from tests.decoding.families import SMALL

PICTURES = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def with_pictures(**text: Any) -> hf.PreTrainedConfig:
    """A model of text and pictures, whose text part has a configuration of its own."""
    return hf.Gemma3Config(text_config=SMALL | {"sliding_window": 5} | text, vision_config=PICTURES)


@pytest.mark.parametrize(
    ("config", "generation", "ends"),
    [
        (hf.LlamaConfig(**SMALL), None, ()),
        (hf.LlamaConfig(**SMALL | {"eos_token_id": 3}), None, (3,)),
        (hf.LlamaConfig(**SMALL | {"eos_token_id": [3, 4]}), hf.GenerationConfig(), (3, 4)),
        (hf.LlamaConfig(**SMALL | {"eos_token_id": 3}), hf.GenerationConfig(eos_token_id=[5, 0]), (5, 0)),
        (with_pictures(eos_token_id=7), None, (7,)),
        (with_pictures(eos_token_id=7), hf.GenerationConfig(eos_token_id=8), (8,)),
    ],
    ids=range(6),
)
def test_what_ends_an_answer_is_said_in_one_of_three_places(
    config: Any, generation: Any, ends: tuple[int, ...]
) -> None:
    assert limits_of(config, generation).eos_ids == frozenset(ends)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ValueError("… custom code …\nPass the argument `trust_remote_code=True`"), "give --trust-remote-code"),
        (ImportError("It requires the following packages: einops"), '"It requires the following packages: einops"'),
        (OSError("org/name has no file named model.safetensors.\nMore"), '"org/name has no file named model.safetens'),
    ],
    ids=["code", "library", "weights"],
)
def test_what_is_wrong_with_a_model_of_the_hub_is_not_the_network(error: Exception, says: str) -> None:
    with pytest.raises(ModelError) as told, explained("org/name"):
        raise error
    assert says in str(told.value) and str(told.value).count(";") == 1 and str(told.value).endswith(".")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_clone_without_its_large_files_is_told_how_to_get_them(model_dir: Path, tmp_path: Path, name: str) -> None:
    clone = shutil.copytree(model_dir, tmp_path / "clone")
    (clone / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 49\n")
    with pytest.raises(ModelError, match=f"pointer in place of {name}; run `git lfs pull` there"):
        load_engine(str(clone))


def test_full_memory_is_no_fault_of_the_model() -> None:
    with pytest.raises(ModelError, match="not enough memory to load org/name"), explained("org/name"):
        raise RuntimeError("CUDA error: out of memory")


def test_attention_of_cudnn_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.backends.cuda.cudnn_sdp_enabled()
    try:
        torch.backends.cuda.enable_cudnn_sdp(True)
        choose_device("cpu")
        assert torch.backends.cuda.cudnn_sdp_enabled()
        monkeypatch.setattr("pass_lsp.decoding.model._device", torch.device)
        choose_device("cuda")
        assert not torch.backends.cuda.cudnn_sdp_enabled()
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


def test_sizes_are_those_of_the_part_for_text() -> None:
    limits = limits_of(with_pictures(), None)
    assert (limits.hidden_size, limits.num_layers, limits.window, limits.context_length) == (32, 3, 5, 128)


IN_PARTS = {"a.safetensors": b"", "model.safetensors.index.json": b'{"weight_map": {"a": "a.safetensors"}}'}
FILES = {"config.json": b"", "tokenizer_config.json": b""}


@pytest.mark.parametrize(
    ("files", "whole"),
    [
        (FILES | {"model.safetensors": b""}, True),
        (FILES | IN_PARTS, True),
        (IN_PARTS, False),
        (FILES, False),
        (FILES | {"model.safetensors.index.json": IN_PARTS["model.safetensors.index.json"]}, False),
        (FILES | {"model.safetensors.index.json": b"["}, False),
    ],
    ids=["one", "parts", "weights alone", "no weights", "parts to come", "torn"],
)
def test_a_model_of_the_hub_is_here_when_all_of_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes], whole: bool
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    into_cache(tmp_path, files)
    assert _is_here("org/name") is whole
    assert not _is_here("../name") and not _is_here("org/other")


def test_a_model_that_the_hubs_cache_has_is_not_asked_for_again(tmp_path: Path, model_dir: Path) -> None:
    into_cache(tmp_path / "hub", {file.name: file.read_bytes() for file in model_dir.iterdir() if file.is_file()})
    code = "import os, socket; socket.getaddrinfo = lambda *_, **__: os._exit(3); import pass_lsp; "
    code += "print(pass_lsp.load_engine('org/name', dtype='bfloat16').generate([5]).finish)"
    environment = os.environ | {"HF_HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def into_cache(cache: Path, files: dict[str, bytes]) -> None:
    """Put a model `org/name` into a cache of the hub."""
    folder = cache / "models--org--name"
    for name, content in {"refs/main": b"1a", **{f"snapshots/1a/{name}": files[name] for name in files}}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
