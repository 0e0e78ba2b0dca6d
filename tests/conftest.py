"""Shared by all tests: quiet, offline, one thread (tiny models are slower on two)."""

from __future__ import annotations

import math
import os
import shutil
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from pass_lsp.cores import cores

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")
for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
    os.environ[name] = tempfile.mkdtemp(prefix="pass-lsp-tests-")  # settings and ledger are the user's own
# So are converted models and costs, of which tests make many; theirs are kept between runs.
os.environ["XDG_CACHE_HOME"] = str(Path(__file__).parents[1] / ".cache" / "tests")

# A machine that does other things besides may stall at any example.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

SOURCES = ("bisect.py", "colorsys.py", "fnmatch.py", "queue.py", "sched.py", "shlex.py")


@pytest.hookimpl(optionalhook=True)  # a lent machine has no xdist
def pytest_xdist_auto_num_workers() -> int:
    """Workers of `-n auto`: one a core, up to eight, as each may take a GB."""
    return min(cores(), 8)


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a few modules of the standard library."""
    folder = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        shutil.copy(Path(sysconfig.get_paths()["stdlib"]) / name, folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer_dir(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's tokenizer, trained on `sources` in a moment."""
    from pass_lsp.train.tokenizer import train_tokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(sources, folder, vocab_size=600)
    return folder


@pytest.fixture(scope="session")
def model_dir(tokenizer_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory like the embedded one, tiny and with random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(str(tokenizer_dir))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3,
    )
    folder = tmp_path_factory.mktemp("models") / "tiny"
    LlamaForCausalLM(config).save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other files are found however long this thread was off the processor meanwhile."""
    from pass_lsp.context import neighbours

    monkeypatch.setattr(neighbours, "LIMIT_MS", math.inf)


@pytest.fixture
def connect() -> Iterator[Callable[..., Any]]:
    """Engines elsewhere, by address and settings; they are closed again."""
    from pass_lsp.cli.options import remote_engine
    from pass_lsp.config import Settings

    made: list[Any] = []

    def make(url: str, **settings: Any) -> Any:
        made.append(remote_engine(Settings(engine=url, **settings)))
        return made[-1]

    yield make
    for engine in made:
        engine.close()
