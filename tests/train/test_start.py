"""Weights that a run goes on from: they lie where it trains, and others than fit it are refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pass_lsp.errors import TrainError
from pass_lsp.train import base
from pass_lsp.train.base import Plan, train_base
from pass_lsp.train.export import export_model
from pass_lsp.train.sizes import saved_model
from pass_lsp.train.tokenizer import train_tokenizer

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def start(corpus: Path, tokenizer_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model that has learned nothing."""
    run, out = (tmp_path_factory.mktemp(name) for name in ("run", "start"))
    train_base(Plan(corpus, tokenizer_dir, run, "toy", minutes=0))
    export_model(run, corpus, tokenizer_dir, out)
    return out


@pytest.fixture
def plan(start: Path, corpus: Path, tokenizer_dir: Path, tmp_path: Path) -> Plan:
    return Plan(corpus, tokenizer_dir, tmp_path / "run", "toy", minutes=0, start_from=start)


def test_the_mean_with_the_start_is_made_where_the_run_was(plan: Plan, start: Path) -> None:
    # A device that is not the CPU, and has no numbers: it tells where tensors of two devices meet.
    elsewhere = saved_model(start, CPU).to("meta")  # type: ignore[arg-type]
    mean = base._half_way(plan, elsewhere)
    assert mean is not None and {parameter.device.type for parameter in mean.parameters()} == {"meta"}


def test_a_size_may_add_layers_alone(plan: Plan) -> None:
    with pytest.raises(TrainError, match="has hidden_size 64, this --size 320"):
        train_base(replace(plan, size="cpu"))
    assert not (plan.out / "checkpoint").exists()


def test_another_tokenizer_is_refused(plan: Plan, corpus: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    train_tokenizer(corpus, other, 700)
    with pytest.raises(TrainError, match="another tokenizer; give --tokenizer"):
        train_base(replace(plan, tokenizer=other))
    assert not (plan.out / "checkpoint").exists()


def test_other_weights_than_it_began_with_are_refused(plan: Plan, start: Path, tmp_path: Path) -> None:
    train_base(plan)
    stated = json.loads((plan.out / "run.json").read_text())["start_sha256"]
    assert len(stated) == 64
    other = tmp_path / "later"
    shutil.copytree(start, other)
    (other / "model.safetensors").write_bytes((start / "model.safetensors").read_bytes() + b" ")
    with pytest.raises(TrainError, match="was made with start_sha256"):
        train_base(replace(plan, start_from=other))
    train_base(replace(plan, start_from=None))
    assert json.loads((plan.out / "run.json").read_text())["start_sha256"] == stated, "it stays what it began with"


@pytest.mark.parametrize("missing", ["training.json", "tokenizer.json"])
def test_a_folder_of_something_else_is_explained(plan: Plan, start: Path, tmp_path: Path, missing: str) -> None:
    other = tmp_path / "other"
    shutil.copytree(start, other)
    (other / missing).unlink()
    with pytest.raises(TrainError, match=rf"holds no {missing}; give a folder"):
        train_base(replace(plan, start_from=other))
