"""The tokenizer's step: what it states, and that it resumes. What it does to code is tested where it is used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pass_lsp.errors import TrainError
from pass_lsp.train import manifest
from pass_lsp.train.tokenizer import SPECIAL_TOKENS, read_tokenizer, train_tokenizer

CODE = "def f(self, x1):\n        return x[12]  # two\n\n\n    y = 'ä'\n"


def test_it_states_its_inputs_and_goes_on(corpus: Path, tmp_path: Path) -> None:
    made = train_tokenizer(corpus, tmp_path / "out", 500)
    stated = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (stated["vocab_size"], stated["tokens"], stated["corpus_sha256"]) == (500, len(made), "abc")
    assert stated["sha256"] == manifest.file_hash(tmp_path / "out" / "tokenizer.json")
    assert 1 < stated["characters_per_token"] < 6
    before = (tmp_path / "out" / "tokenizer.json").stat().st_mtime_ns
    assert len(train_tokenizer(corpus, tmp_path / "out", 500)) == len(made)
    assert (tmp_path / "out" / "tokenizer.json").stat().st_mtime_ns == before
    with pytest.raises(TrainError, match="same inputs"):
        train_tokenizer(corpus, tmp_path / "out", 501)


def test_the_smallest_is_bytes_and_markers(corpus: Path, tmp_path: Path) -> None:
    """Which the command line asks for at least."""
    assert len(train_tokenizer(corpus, tmp_path / "out", 264)) == 264 == 256 + len(SPECIAL_TOKENS)


def test_it_is_made_for_code(tokenizer_dir: Path, corpus: Path) -> None:
    tokenizer = train_tokenizer(corpus, tokenizer_dir.parent / "for_code", 600)
    ids = tokenizer(CODE, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == CODE
    pieces = [tokenizer.decode([token]) for token in ids]
    assert "\n        " in pieces, "a line end carries the indentation that follows"
    assert "1" in pieces and "12" not in pieces, "digits stand alone"
    for marker in SPECIAL_TOKENS:
        assert len(tokenizer(marker, add_special_tokens=False)["input_ids"]) == 1


def test_what_a_kill_left_is_made_again(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    made = train_tokenizer(corpus, out, 500)
    whole = (out / "tokenizer.json").read_bytes()
    (out / "tokenizer.json").write_bytes(whole[:1000])
    with pytest.raises(TrainError, match=r"damaged tokenizer\.json"):
        read_tokenizer(out)
    (out / "manifest.json").unlink()
    assert train_tokenizer(corpus, out, 500).get_vocab() == made.get_vocab()
    assert (out / "tokenizer.json").read_bytes() == whole
    assert json.loads((out / "manifest.json").read_text())["tokens"] == len(made)
