"""Means of weights: what they hold, and that they are kept with a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from pass_lsp.train import checkpoint
from pass_lsp.train.average import MeanWeights, half_way
from pass_lsp.train.checkpoint import Progress, State


@pytest.fixture
def model() -> LlamaForCausalLM:
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    return LlamaForCausalLM(LlamaConfig(vocab_size=16, tie_word_embeddings=True, **shape))


@torch.no_grad()
def filled(model: LlamaForCausalLM, value: float) -> None:
    for parameter in model.parameters():
        parameter.fill_(value)


def value_of(model: LlamaForCausalLM | None) -> float:
    assert model is not None
    (value,) = {each for parameter in model.parameters() for each in parameter.unique().tolist()}
    return value


def test_the_mean_is_of_every_step_and_the_model_stays(model: LlamaForCausalLM) -> None:
    mean = MeanWeights(model)
    assert mean.model(model) is None
    for value in (1.0, 2.0, 6.0):
        filled(model, value)
        mean.step()
    made = mean.model(model)
    assert value_of(made) == 3 and value_of(model) == 6
    assert made is not None and made.lm_head.weight is made.model.embed_tokens.weight


def test_the_mean_goes_on_from_a_checkpoint(model: LlamaForCausalLM, tmp_path: Path) -> None:
    mean = MeanWeights(model)
    for value in (1.0, 3.0):
        filled(model, value)
        mean.step()
    checkpoint.save(tmp_path / "checkpoint", State(model, [], mean, Progress(step=2)))
    again = MeanWeights(model)
    checkpoint.restore(tmp_path / "checkpoint", State(model, [], again, Progress(step=2)))
    filled(model, 8.0)
    again.step()
    assert value_of(again.model(model)) == 4


def test_half_way_lies_between(model: LlamaForCausalLM) -> None:
    other = LlamaForCausalLM(model.config)
    filled(model, 1.0)
    filled(other, 2.0)
    assert value_of(half_way(model, other)) == 1.5 and value_of(other) == 2
