"""Models that cannot be decoded exactly are refused at load, in one sentence; all others are not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf

from pass_lsp.decoding.executor import Executor
from pass_lsp.decoding.lookahead import random_lookahead
from pass_lsp.decoding.model import table_of
from pass_lsp.decoding.static_executor import StaticExecutor
from pass_lsp.decoding.torch_executor import TorchExecutor
from pass_lsp.decoding.trial import require_agreement
from pass_lsp.engines.local import load_engine
from pass_lsp.errors import LookaheadError, ModelError
from tests.decoding.families import FAMILIES, SMALL, artifact, tiny_engine, tiny_model

NARROW: dict[str, Any] = {"vocab_size": 61, "n_layer": 2, "n_head": 4, "bos_token_id": None, "eos_token_id": None}
FALCON = {name: SMALL[name] for name in SMALL if name not in ("intermediate_size", "num_key_value_heads")}
OTHERS: dict[str, Any] = {
    "positions by slots": lambda: hf.BloomConfig(**NARROW, hidden_size=32),
    "positions by distance": lambda: hf.MptConfig(vocab_size=61, d_model=32, n_heads=4, n_layers=2),
    "a mask of its own": lambda: hf.FalconConfig(**FALCON, alibi=True),
    "slots by distance": lambda: hf.GPTNeoConfig(
        vocab_size=61, hidden_size=32, intermediate_size=48, num_layers=2, num_heads=4, max_position_embeddings=64,
        window_size=40, attention_types=[[["global", "local"], 1]], bos_token_id=None, eos_token_id=None,
    ),
    "ids beside embeddings": lambda: hf.Gemma4TextConfig(
        **SMALL, head_dim=8, global_head_dim=8, vocab_size_per_layer_input=61, hidden_size_per_layer_input=8
    ),
}  # fmt: skip


def model_of(config: Any) -> hf.PreTrainedModel:
    torch.manual_seed(0)
    return hf.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval().requires_grad_(False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_passes(family: str, dtype: torch.dtype) -> None:
    lookahead = tiny_engine(family).lookahead
    assert lookahead is not None
    model, lookahead = tiny_model(family).to(dtype=dtype), lookahead.to(torch.device("cpu"), dtype)
    executors: list[Executor] = [TorchExecutor(model, lookahead), StaticExecutor(model, None, 128)]
    for executor in executors:
        require_agreement("m", model, executor)


@pytest.mark.parametrize("kind", OTHERS)
def test_a_model_that_goes_its_own_way_is_refused(kind: str) -> None:
    model = model_of(OTHERS[kind]())
    lookahead = random_lookahead(table_of(model))
    executors: list[Executor] = [TorchExecutor(model, lookahead), StaticExecutor(model, lookahead, 128)]
    for executor in executors:
        with pytest.raises(ModelError, match=f"m is a {model.config.model_type} model, whose code .*; choose "):
            require_agreement("m", model, executor)


def test_other_logits_than_the_models_own_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    executor = TorchExecutor(model, None)
    mask = executor._mask
    monkeypatch.setattr(executor, "_mask", lambda shape, positions, start: mask(shape, positions - 1, start) * 0)
    with pytest.raises(ModelError, match="its logits differ"):
        require_agreement("m", model, executor)


def test_weights_that_are_no_numbers_are_told_as_that() -> None:
    model = tiny_model("llama")
    model.get_output_embeddings().weight[7] = float("nan")  # type: ignore[union-attr,operator]
    with pytest.raises(ModelError, match="m gives no numbers where probabilities belong; fetch it again"):
        require_agreement("m", model, TorchExecutor(model, None))


@pytest.mark.parametrize("kind", [TorchExecutor, StaticExecutor])
def test_an_artifact_that_overflows_is_no_fault_of_the_model(kind: Any) -> None:
    model, found = tiny_model("llama"), artifact("llama")
    lora = {path: (a * 1e30, b * 1e30) for path, (a, b) in found.lora.items()}
    rest = () if kind is TorchExecutor else (128,)
    with pytest.raises(LookaheadError, match="With its look-ahead artifact m gives no numbers"):
        require_agreement("m", model, kind(model, replace(found, lora=lora), *rest))


def test_full_memory_is_no_fault_of_the_model() -> None:
    model = tiny_model("llama")
    executor = TorchExecutor(model, None)
    full = RuntimeError("CUDA error: out of memory")

    def fails(*_: Any) -> None:
        raise full

    model.register_forward_pre_hook(fails)
    with pytest.raises(RuntimeError) as failed:
        require_agreement("m", model, executor)
    assert failed.value is full


def test_memory_that_is_pinned_is_not_full() -> None:
    model = tiny_model("llama")

    def fails(*_: Any) -> None:
        raise RuntimeError("Cannot copy between CPU and CUDA tensors unless pinned. Please use tensor.pin_memory()")

    model.register_forward_pre_hook(fails)
    with pytest.raises(ModelError, match="RuntimeError"):
        require_agreement("m", model, TorchExecutor(model, None))


def test_it_is_tried_at_load(model_dir: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model_dir, tmp_path / "model")
    model_of(OTHERS["positions by slots"]()).save_pretrained(folder)
    with pytest.raises(ModelError, match=f"^{folder} is a bloom model, "):
        load_engine(str(folder), "cpu")
