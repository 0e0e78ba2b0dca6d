"""What a model's configuration says."""

from __future__ import annotations

from typing import Any

import pytest
import transformers as hf

from pass_lsp.decoding.model import _explained, limits_of
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
    with pytest.raises(ModelError) as told, _explained("org/name"):
        raise error
    assert says in str(told.value) and str(told.value).count(";") == 1 and str(told.value).endswith(".")


def test_sizes_are_those_of_the_part_for_text() -> None:
    limits = limits_of(with_pictures(), None)
    assert (limits.hidden_size, limits.num_layers, limits.window, limits.context_length) == (32, 3, 5, 128)
