"""The card and the page of sources say what was measured and made, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pass_lsp.errors import TrainError
from pass_lsp.train import sources
from pass_lsp.train.card import NOT_MEASURED, write_card
from pass_lsp.train.sources import write_sources

TRAINING: dict[str, Any] = {
    "parameters": 8_200_000,
    "tokens": 12_345_678,
    "next_example": 9,
    "heldout_loss": 2.5,
    "heldout_middle_loss": 2.25,
    "corpus_sha256": "abc",
}
WHOLE = TRAINING | {
    "characters_per_token": 4.0,
    "corpus": {
        "files": 8349,
        "characters": 123_000_000,
        "sources": 101,
        "source_cap": 5_000_000,
        "dropped": {"benchmark": 586, "near-duplicate": 1538},
        "overlap": {"heldout_in_train": 0.00138, "train_in_several": 0.005},
    },
    "history": [[1_000_000, 4.0, 4.5], [12_345_678, 2.5, None]],
    "run": {"seconds": 3600, "size": "cpu", "plan": {"threads": 2, "device": "cpu", "minutes": 60.0}},
}
ROW = {"exact": 0.125, "exact_interval": [0.1, 0.155], "edit_similarity": 0.5, "parses": 0.75}
INFILL = {
    "bench": "infill",
    "data": "heapq.py",
    "holes": 30,
    "inside_brackets": {"holes": 10, "better": 3, "worse": 0},
    "begun": {"holes": 9, "better": 2, "worse": 1},
    "better": 5,
    "worse": 1,
    "rows": [{"contender": "model", **ROW}],
    "by_kind": [{"kind": "single-line", "holes": 10, "contender": "model", **ROW}],
    "hopeless": {"below": -5.3, "of_all": 0.352, "first_line_exact": 0.006, "interval": [0.002, 0.02]},
}
TESTED = {
    "bench": "infill",
    "data": "human.jsonl",
    "holes": 164,
    "rows": [{"contender": "model", **ROW, "passed": 0.2, "passed_interval": [0.15, 0.27]}],
}
FAST = {"contender": "pass", "text": "fresh", "temperature": 0.0, "tokens_per_second": 99.5, "tokens_per_forward": 1.7}
DECODE = {"bench": "decode", "rows": [FAST]}
LATENCY = {"bench": "latency", "p50_ms": 12.5, "p90_ms": 30.0}
FOOTPRINT = {"bench": "footprint", "first_completion_s": 2.5, "memory_mb": 120}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model directory without a card."""
    folder = tmp_path / "pass-cpu"
    (folder / "lookahead").mkdir(parents=True)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "num_attention_heads": 5,
        "num_key_value_heads": 1,
        "num_hidden_layers": 5,
        "hidden_size": 320,
        "vocab_size": 8192,
        "max_position_embeddings": 1024,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "training.json").write_text(json.dumps(WHOLE))
    (folder / "model.safetensors").write_bytes(bytes(16_400_000))
    (folder / "lookahead" / "manifest.json").write_text(json.dumps({"length": 4, "acceptance": [0.5, 0.25]}))
    return folder


def documents(folder: Path, *found: dict[str, Any]) -> list[Path]:
    paths = [folder / f"{number}.json" for number in range(len(found))]
    for path, document in zip(paths, found, strict=True):
        path.write_text(json.dumps(document))
    return paths


def test_everything_that_was_measured_is_stated(model: Path, tmp_path: Path) -> None:
    write_card(model, documents(tmp_path, INFILL, TESTED, DECODE, LATENCY, FOOTPRINT))
    card = (model / "README.md").read_text("utf-8")
    for text in (
        "12.35 M tokens, the last run 60 minutes on 2 CPU threads",
        "2.50 nats a token of code; of the missing middles 2.25",
        "5 layers, width 320, 5 heads, 1 key-value head, tied",
        "8,192 tokens, 4.0 characters a token",
        "123 M characters of Python in 8,349 files of 101 sources",
        "586 files dropped for benchmark overlap, 1,538 as near-duplicates; 0.14% of held-out",
        "4 embeddings; drafts 1 to j all accepted on held-out code: 50 %, 25 %",
        "16.4 MB in bfloat16",
        "| 12.35 M | 2.5 | – |",
        "| single-line | model | 12.5 % | 10.0 to 15.5 % | 0.5 | 75.0 % |",
        "a log-probability below -5.3 (35.2 % of them) begin with the right line in 0.6 % (0.2 to 2.0 %)",
        "30 holes, 10 inside brackets that are closed already, 9 of statements that are begun, in held-out code",
        "1 there only; inside brackets that are closed already, 3 and 0; of statements that are begun, 2 and 1.",
        "| model | 20.0 % | 15.0 to 27.0 % | 12.5 % |",
        "| `pass`, fresh prompts | 99.5 tokens/s, 1.7 tokens a forward |",
        "12.5 / 30.0 ms",
        "| memory besides torch | 120 MB |",
        "--source-cap-mb 5",
        "--size cpu --minutes 60",
        "| `base` | 2",
    ):
        assert text in card, text
    assert "$" not in card and NOT_MEASURED not in card


def test_one_new_document_renews_its_part_alone(model: Path, tmp_path: Path) -> None:
    old = {key: value for key, value in INFILL.items() if key not in ("inside_brackets", "begun")}
    write_card(model, documents(tmp_path, old))
    card = (model / "README.md").read_text("utf-8")
    assert "30 holes in held-out code" in card and "5 holes exact here only, 1 there only." in card
    write_card(model, documents(tmp_path, INFILL, TESTED))
    assert (model / "README.md").read_text("utf-8").count(NOT_MEASURED) == 1  # speed
    faster = {**LATENCY, "p50_ms": 7.5}
    figures = write_card(model, documents(tmp_path, faster))
    assert figures.keys() == {"infill", "infill with tests", "latency"}
    card = (model / "README.md").read_text("utf-8")
    assert "7.5 / 30.0 ms" in card and "5 holes exact here only" in card
    assert figures == json.loads((model / "measured.json").read_text("utf-8"))


def test_an_older_model_has_a_card_too(model: Path) -> None:
    (model / "training.json").write_text(json.dumps(TRAINING | {"heldout_loss": None, "heldout_middle_loss": None}))
    (model / "lookahead" / "manifest.json").unlink()
    write_card(model, [])
    card = (model / "README.md").read_text("utf-8")
    assert card.count(NOT_MEASURED) == 3 and "| look-ahead artifact | none yet |" in card
    assert "– nats a token of code" in card


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"bench": "infill"}'])
def test_what_is_no_figure_is_refused(model: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(TrainError, match="bench infill --json bad"):
        write_card(model, [tmp_path / "bad.json"])
    with pytest.raises(TrainError, match="bench infill"):
        write_card(model, [tmp_path / "missing.json"])
    with pytest.raises(TrainError, match="train export"):
        write_card(tmp_path, [])
    assert not (model / "README.md").exists()


def test_every_source_is_listed_with_its_licence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [
        {"name": "open-one", "version": "1.5", "license": "MIT", "held_out": False},
        {"name": "kept-apart", "version": "2.0", "license": "MIT", "held_out": True},
    ]
    monkeypatch.setattr(sources, "package_list", lambda: listed)

    def row(source: str, license: str = "MIT") -> dict[str, Any]:
        return {"source": source, "license": license, "files": 3, "bytes": 12345}

    facts = {
        "python": "3.11.7",
        "source_cap": 8_000_000,
        "held_out_modules": ["heapq.py"],
        "dropped": {"size": 1, "benchmark": 1234},
        "sources": [row("open-one"), row("kept-apart"), row("python", "PSF-2.0")],
        "installed": {"sources": [row("extra==3.0")]},
    }
    (tmp_path / "manifest.json").write_text(json.dumps(facts))
    page = tmp_path / "THIRD_PARTY.md"
    assert write_sources(tmp_path, "pass-cpu", page) == {"sources": 3, "held_out_packages": 1}
    text = page.read_text("utf-8")
    assert "| open-one==1.5 | MIT | 3 | 12,345 |" in text and "| extra==3.0 | MIT |" in text
    assert "| Python 3.11.7 standard library | PSF-2.0 |" in text
    assert "| kept-apart" not in text and "`kept-apart`" in text and "`heapq.py`" in text
    assert "At most 8 MB of each" in text and "benchmark 1,234, size 1" in text
    assert max(map(len, text.splitlines())) <= 120
    later = facts | {"sources": [row("open-one", "ISC"), row("python", "PSF-2.0")], "installed": {"sources": []}}
    (tmp_path / "manifest.json").write_text(json.dumps(later))
    assert write_sources(tmp_path, "pass-cpu", page)["sources"] == 3
    after = page.read_text("utf-8")
    assert after == text.replace("| open-one==1.5 | MIT |", "| open-one==1.5 | ISC |"), "the weights have seen it too"
    with pytest.raises(TrainError, match="train corpus"):
        write_sources(tmp_path / "nowhere", "pass-cpu", page)
