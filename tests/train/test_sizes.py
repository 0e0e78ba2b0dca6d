"""The table of sizes: what it promises about parameters is what the models have."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pass_lsp.errors import TrainError
from pass_lsp.train.sizes import all_sizes, new_model, parameters, size_named


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


def test_an_unknown_size_is_explained() -> None:
    with pytest.raises(TrainError, match="toy, cpu"):
        size_named("vast")
