"""Checkpoints and manifests that were damaged are named, with what to do."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pass_lsp.errors import TrainError
from pass_lsp.train import manifest
from pass_lsp.train.base import Plan, train_base
from pass_lsp.train.export import export_model


@pytest.fixture(scope="module")
def made(corpus: Path, tokenizer_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A run of one step."""
    plan = Plan(corpus, tokenizer_dir, tmp_path_factory.mktemp("run"), "toy", million_tokens=1e-6)
    train_base(plan)
    return plan


@pytest.fixture
def run(made: Plan, tmp_path: Path) -> Plan:
    """A copy of it, with another step to go."""
    shutil.copytree(made.out, tmp_path / "run")
    return replace(made, out=tmp_path / "run", million_tokens=0.0015)


@pytest.mark.parametrize("name", ["progress.json", "config.json", "model.safetensors", "optimizer.safetensors"])
def test_a_torn_checkpoint_is_named(run: Plan, corpus: Path, tokenizer_dir: Path, tmp_path: Path, name: str) -> None:
    file = run.out / "checkpoint" / name
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(TrainError, match=r"checkpoint is damaged .* delete it to begin anew"):
        train_base(run)
    if name != "optimizer.safetensors":
        with pytest.raises(TrainError, match="checkpoint is damaged"):
            export_model(run.out, corpus, tokenizer_dir, tmp_path / "out")
    shutil.rmtree(run.out / "checkpoint")
    assert train_base(run)["step"] > 0


def test_a_torn_manifest_is_named(run: Plan, tmp_path: Path) -> None:
    (run.out / "run.json").write_text('{"size": ')
    with pytest.raises(TrainError, match=r"run\.json is damaged"):
        train_base(run)
    assert manifest.read(tmp_path / "none.json") is None


def test_a_corpus_that_is_not_finished_is_refused(run: Plan, corpus: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    shutil.copytree(corpus, half)
    (half / "manifest.json").unlink()
    with pytest.raises(TrainError, match="unfinished; run `pass-lsp train corpus` again"):
        train_base(replace(run, corpus=half, out=tmp_path / "other"))
    (half / "train.jsonl.gz").unlink()
    (half / "manifest.json").write_text('{"name": "of something else"}')
    assert manifest.corpus_hash(half) is None
