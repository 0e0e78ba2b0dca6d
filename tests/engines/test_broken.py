"""A model directory with one file that is wrong: one sentence, whichever file it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
import pytest
import torch
from safetensors.torch import load_file, save_file

from pass_lsp.decoding.graphs import conversion as converting
from pass_lsp.decoding.lookahead import random_lookahead, save_lookahead
from pass_lsp.domain import STRATEGIES, SamplingParams
from pass_lsp.engines import local
from pass_lsp.engines.embedded import lookahead_folder, measured_hopeless, user_lookahead
from pass_lsp.engines.local import load_engine
from pass_lsp.errors import LookaheadError, ModelError

Damage = Callable[[Path], None]
DEEP = "[" * 100_000


def says(name: str, **values: Any) -> Damage:
    """The file's JSON object with other values."""

    def change(model: Path) -> None:
        file = model / name
        found = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(found | values))

    return change


def holds(name: str, text: str) -> Damage:
    def change(model: Path) -> None:
        (model / name).write_text(text)

    return change


def is_a_folder(name: str) -> Damage:
    def change(model: Path) -> None:
        (model / name).unlink(missing_ok=True)
        (model / name).mkdir()

    return change


def has(**tensors: torch.Tensor) -> Damage:
    """The artifact with other tensors, a head among them."""

    def change(model: Path) -> None:
        file = model / "lookahead" / "lookahead.safetensors"
        head = {"head.up": torch.ones(8, 32), "head.down": torch.ones(32, 8)}
        save_file(load_file(file) | head | {name.replace("_", "."): each for name, each in tensors.items()}, file)

    return change


def is_a_link_to_nowhere(name: str) -> Damage:
    """As a cache of the hub has it when what it points to was removed."""

    def change(model: Path) -> None:
        (model / name).unlink(missing_ok=True)
        (model / name).symlink_to(model / "removed")

    return change


def lacks(name: str) -> Damage:
    """Weights without those whose names hold `name`."""

    def change(model: Path) -> None:
        file = model / "model.safetensors"
        save_file({each: found for each, found in load_file(file).items() if name not in each}, file, {"format": "pt"})

    return change


@pytest.fixture
def model(model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny model of one's own that is converted, with a look-ahead artifact."""
    monkeypatch.setattr(converting, "MIN_BYTES", 0)
    monkeypatch.setattr(local, "user_cache", lambda: tmp_path / "cache")
    folder = shutil.copytree(model_dir, tmp_path / "model")
    save_lookahead(folder / "lookahead", random_lookahead(torch.randn(60, 32)), {})
    return folder


def test_the_model_is_a_good_one(model: Path) -> None:
    assert load_engine(str(model), "cpu").lookahead is not None


@pytest.mark.parametrize(
    "damage",
    [
        says("generation_config.json", eos_token_id="x"),
        says("generation_config.json", eos_token_id=[0, "x"]),
        says("generation_config.json", eos_token_id=[[0]]),
        says("generation_config.json", eos_token_id=1.5),
        holds("generation_config.json", "[]"),
        holds("generation_config.json", ""),
        is_a_folder("generation_config.json"),
        says("config.json", max_position_embeddings=1),
        is_a_folder("model.safetensors"),
        is_a_link_to_nowhere("model.safetensors"),
        lacks("lm_head"),
        lacks("layers.1.mlp"),
        says("config.json", num_hidden_layers=4),
        holds("lookahead/manifest.json", DEEP),
        is_a_folder("lookahead/lookahead.safetensors"),
        has(embeddings=torch.zeros(0, 32)),
        has(embeddings=torch.eye(4, 32).index_fill(0, torch.tensor(3), float("nan"))),
        has(head_down=torch.full((32, 8), float("inf"))),
    ],
)
def test_it_is_one_sentence(model: Path, damage: Damage) -> None:
    damage(model)
    with pytest.raises(ModelError) as failed:
        load_engine(str(model), "cpu")
    said = str(failed.value)
    assert said.endswith(".") and ";" in said and "\n" not in said and str(model) in said


def test_an_artifact_that_git_lfs_has_yet_to_bring(model: Path) -> None:
    holds("lookahead/lookahead.safetensors", "version https://git-lfs.github.com/spec/v1\nsize 49\n")(model)
    with pytest.raises(LookaheadError, match=r"pointer in place of lookahead\.safetensors; run `git lfs pull`"):
        load_engine(str(model), "cpu")


@pytest.mark.parametrize(
    "oddity",
    [
        says("lookahead/manifest.json", acceptance=[0.9] * 9),
        has(embeddings=torch.eye(4, 32).bfloat16()),
        has(head_up=torch.ones(8, 32).bfloat16()),
        has(embeddings=torch.eye(4, 32).long(), head_up=torch.ones(8, 32).long(), head_down=torch.ones(32, 8).long()),
    ],
    ids=["more rates than rows", "half rows", "half a head", "whole numbers"],
)
def test_other_figures_and_numbers_of_an_artifact_change_no_token(model: Path, oddity: Damage) -> None:
    oddity(model)
    engine = load_engine(str(model), "cpu")
    prompt = [5, 6, 7, 5, 6]
    answers = [engine.generate(prompt, SamplingParams(12, strategy=each)).token_ids for each in STRATEGIES]
    assert answers == [answers[0]] * len(STRATEGIES)


@pytest.mark.parametrize("text", [DEEP, "[]", '{"infill": {"hopeless": {"below": -1' + "0" * 400 + "}}}"])
def test_figures_that_cannot_be_read_are_none(model: Path, text: str) -> None:
    (model / "measured.json").write_text(text)
    assert measured_hopeless(str(model)) == float("-inf")


def test_a_model_far_down_may_have_an_artifact_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platformdirs, "user_data_dir", lambda *_, **__: str(tmp_path))
    deep = str(tmp_path / ("d" * 100) / ("e" * 100) / ("f" * 100))
    user_lookahead("other").mkdir(parents=True)
    assert lookahead_folder(deep) is None
    own = user_lookahead(deep)
    own.mkdir()
    (own / "manifest.json").touch()
    assert lookahead_folder(deep) == own
