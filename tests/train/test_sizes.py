"""The table of sizes: what it promises about parameters is what the models have."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM

from pass_lsp.decoding.lora import targets
from pass_lsp.errors import TrainError
from pass_lsp.train.lookahead import LENGTH, MAX_HEAD, RANK
from pass_lsp.train.sizes import all_sizes, deepened, new_model, parameters, size_named, spread


class Vocabulary:
    """As much of a tokenizer as a new model asks for."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def get_vocab(self) -> dict[str, int]:
        return {"<|endoftext|>": 0, "<|pad|>": 1}


@pytest.mark.parametrize("name", all_sizes())
def test_the_count_of_parameters_is_right(name: str) -> None:
    size = size_named(name)
    tokenizer: Any = Vocabulary(size["vocab_size"])
    model = new_model(size, tokenizer, torch.device("cpu"))
    assert model.num_parameters() == parameters(size)
    assert model.config.max_position_embeddings == size["long_sequence"] >= size["sequence"]


def test_the_sizes_are_what_they_are_called() -> None:
    millions = {name: parameters(size) / 1e6 for name, size in all_sizes().items()}
    assert list(millions) == sorted(millions, key=millions.__getitem__) == ["toy", "cpu", "small", "base"]
    assert millions["cpu"] < 9 and 11 < millions["small"] < 14 and 20 < millions["base"] < 24


@pytest.mark.parametrize("name", all_sizes())
def test_a_model_with_its_artifact_may_be_shipped(name: str) -> None:
    """48 MB for all of a model directory; a tokenizer takes 70 bytes a token, the texts beside it 100 kB."""
    size = size_named(name)
    width = size["hidden_size"]
    model = new_model(size | {"vocab_size": 2}, Vocabulary(2), torch.device("meta"))  # type: ignore[arg-type]
    adapters = sum(RANK * (layer.in_features + layer.out_features) for layer in targets(model).values())
    artifact = LENGTH * width + 2 * width * min(2 * width, MAX_HEAD) + adapters
    assert 2 * (parameters(size) + artifact) + 70 * size["vocab_size"] + 1e5 < 48e6


def test_an_unknown_size_is_explained() -> None:
    with pytest.raises(TrainError, match="toy, cpu"):
        size_named("vast")


@pytest.fixture
def shallow() -> LlamaForCausalLM:
    """A model of two layers, all of which say something."""
    tokenizer: Any = Vocabulary(64)
    model = new_model(size_named("toy"), tokenizer, torch.device("cpu"))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model


@torch.no_grad()
@pytest.mark.parametrize("layers", [3, 4, 5])
def test_a_deeper_model_says_the_same_and_can_learn_more(shallow: LlamaForCausalLM, layers: int) -> None:
    deep = deepened(shallow, layers)
    assert deep.config.num_hidden_layers == layers == len(deep.model.layers)
    assert deep.lm_head.weight is deep.model.embed_tokens.weight
    ids = torch.arange(40).reshape(2, 20)
    assert torch.equal(deep(ids).logits, shallow(ids).logits)
    with torch.enable_grad():
        deep(ids, labels=ids).loss.backward()
    for layer in deep.model.layers:
        assert layer.self_attn.o_proj.weight.grad.abs().sum() > 0 and layer.mlp.down_proj.weight.grad.abs().sum() > 0
    silent = [not layer.mlp.down_proj.weight.any() for layer in deep.model.layers]
    assert sum(silent) == layers - 2 and not silent[0], "what reads the embeddings stays the first"


def test_what_belongs_to_layers_goes_where_these_went() -> None:
    parts = {f"model.layers.{at}.mlp.down_proj": at for at in range(5)} | {"lm_head": 9}
    placed = {0: 0, 1: 1, 3: 2, 4: 3, 6: 4}
    assert spread(parts, 8) == {f"model.layers.{at}.mlp.down_proj": was for at, was in placed.items()} | {"lm_head": 9}
    assert spread(parts, 5) == spread(parts, 4) == parts and spread({}, 3) == {}


def test_a_model_as_deep_as_asked_for_stays_itself(shallow: LlamaForCausalLM) -> None:
    assert deepened(shallow, 2) is shallow


def test_a_model_is_not_made_shallower(shallow: LlamaForCausalLM) -> None:
    with pytest.raises(TrainError, match="has 2 layers, which is more than the 1"):
        deepened(shallow, 1)
