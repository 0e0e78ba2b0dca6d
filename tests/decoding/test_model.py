"""What a model's configuration says."""

from __future__ import annotations

from typing import Any

import pytest
import transformers as hf

from pass_lsp.decoding.model import limits_of
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


def test_sizes_are_those_of_the_part_for_text() -> None:
    limits = limits_of(with_pictures(), None)
    assert (limits.hidden_size, limits.num_layers, limits.window, limits.context_length) == (32, 3, 5, 128)
