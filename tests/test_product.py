"""The whole: the shipped model, the real binary, and files that the model was never trained on."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

import pass_lsp
from pass_lsp.bench.holes import held_out_holes
from pass_lsp.bench.prompts import prompt_ids
from pass_lsp.completion import complete_document
from pass_lsp.config import Settings
from pass_lsp.decoding.strategies import naive
from pass_lsp.documents.document import Document
from pass_lsp.documents.languages import LANGUAGES
from pass_lsp.engines.embedded import embedded_model, measured_hopeless
from pass_lsp.engines.local import LocalEngine
from pass_lsp.prompt import FAMILIES
from pass_lsp.reasons import Reason
from pass_lsp.train.corpus import package_list
from tests.server.rawlsp import RawClient

LIMIT_S = 180.0
"""For loading the model."""
MAX_MODEL_BYTES = 48_000_000


@pytest.fixture(scope="module")
def engine() -> LocalEngine:
    return pass_lsp.load_engine()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[RawClient]:
    command = [sys.executable, "-m", "pass_lsp", "serve", "--stdio"]
    started = RawClient.spawn(command, tmp_path / "log")
    yield started
    started.clean_up()


def test_the_embedded_model_answers_without_transformers(engine: LocalEngine) -> None:
    """Importing it takes longer than everything but torch until the first answer."""
    heavy = ("transformers", "torch._dynamo", "sympy")
    asked = "pass_lsp.complete('def add(a, b):\\n    return ', 1, 11, engine=pass_lsp.load_engine())"
    code = f"import sys, pass_lsp; {asked}; print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_gpu_needs_no_onnx() -> None:
    code = "import sys, pass_lsp.engines.local; print([n for n in ('onnx', 'onnxruntime') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_the_embedded_model_is_hopeless_at_was_measured() -> None:
    assert -15 < measured_hopeless("embedded") == measured_hopeless(str(embedded_model())) < -2


def test_a_stock_model_is_read_with_transformers(model_dir: Path) -> None:
    engine = pass_lsp.load_engine(str(model_dir), lookahead="none")
    assert engine.vocabulary is None and engine.tokenizer is engine.tokenizer


def test_the_tokenizer_is_the_one_that_transformers_would_choose(engine: LocalEngine) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(str(embedded_model()))
    assert type(engine.tokenizer) is type(theirs)
    assert engine.tokenizer.get_vocab() == theirs.get_vocab()
    assert engine.tokenizer.special_tokens_map == theirs.special_tokens_map


def test_an_answer_that_is_not_sure_enough_ends_early(engine: LocalEngine) -> None:
    ended = shown = 0
    for hole in held_out_holes(12):
        document = Document("", hole.prefix + hole.suffix, language="python", path=hole.path)
        place = document, len(hole.prefix), engine, Settings(deadline_ms=0)
        looked_at = complete_document(*place, least_log_prob=-math.inf)
        assert looked_at.completion == complete_document(*place).completion
        if (found := looked_at.completion) is None or looked_at.generation is None:
            continue
        shown += 1
        assert found.log_prob == looked_at.generation.log_prob and found.log_prob is not None
        assert complete_document(*place, least_log_prob=found.log_prob - 0.01).completion == found
        hidden = complete_document(*place, least_log_prob=found.log_prob / 2)
        assert (hidden.completion, hidden.reason) == (None, Reason.UNSURE) and hidden.generation is not None
        ended += len(hidden.generation.token_ids) < len(looked_at.generation.token_ids)
    assert ended > shown / 2 > 2


@pytest.mark.timeout(600)
def test_holes_in_heapq_are_filled_through_the_real_server(client: RawClient, tmp_path: Path) -> None:
    text = (Path(sysconfig.get_paths()["stdlib"]) / "heapq.py").read_text("utf-8")
    client.initialize("utf-16")
    client.until(
        lambda: any(status["kind"] == "Normal" and not status["busy"] for status in client.noted("didChangeStatus")),
        LIMIT_S,
    )
    filled = []
    for missing in ("heap.append(item)", "lastelt = heap.pop()", "n = len(x)", "newitem = heap[pos]"):
        at = text.index(f"    {missing}")
        uri, line = (tmp_path / str(at) / "heapq.py").as_uri(), text[:at].count("\n")
        client.open(text[:at] + "    " + text[text.index("\n\n", at) :], uri)
        items = client.complete(line, 4, uri)["items"]
        told = client.call("pass-lsp/answers")["result"]["answers"][-1]
        assert items or told["reason"], "an empty answer says why"
        filled += [(line, item) for item in items]
    assert len(filled) >= 3  # one may be hidden: this small model is not always sure, or says nothing
    for line, item in filled:
        assert item["insertText"].strip()
        assert "<|" not in item["insertText"]
        assert item["range"]["start"]["line"] == item["range"]["end"]["line"] == line
    assert "heap.append" not in (tmp_path / "log").read_text("utf-8", "replace")  # no source text in logs
    client.call("shutdown")
    client.notify("exit")
    assert client.exit_code() == 0


def test_nothing_is_sent_away(tmp_path: Path) -> None:
    # A library that sends keeps an identifier, and what it has not sent yet; it does not where tests run for others.
    hushed = {"CI", "TF_BUILD", "GITHUB_ACTIONS", "PYTEST_CURRENT_TEST", "ORT_DISABLE_TELEMETRY"}
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment = {name: value for name, value in os.environ.items() if name not in hushed} | home
    code = "import pass_lsp; pass_lsp.load_engine().generate([5])"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"pass-lsp"}
    assert {path.name for path in tmp_path.iterdir()} == {"cache"}


def test_the_embedded_model_decodes_exactly(engine: LocalEngine) -> None:
    forwards = committed = 0
    for hole in held_out_holes(6, seed=5):
        ids = prompt_ids(engine, hole)
        params = [pass_lsp.SamplingParams(max_new_tokens=24, strategy=name) for name in ("autoregressive", "pass")]
        plain, fast = (engine.generate(ids, each) for each in params)
        assert plain.token_ids == fast.token_ids
        assert plain.token_ids[:4] == list(islice(naive(engine.model, ids, params[0]), 4))[: len(plain.token_ids)]
        forwards += fast.forwards
        committed += sum(step.committed for step in fast.steps)
    assert committed / forwards > 1.05


def test_no_marker_ever_reaches_a_user(engine: LocalEngine) -> None:
    for hole in held_out_holes(25, seed=9):
        text = hole.prefix + hole.suffix
        line, character = hole.prefix.count("\n"), len(hole.prefix) - hole.prefix.rfind("\n") - 1
        item = pass_lsp.complete(text, line, character, engine=engine, path=hole.path)
        if item is not None:
            assert "<|" not in item.text
            assert item.text.strip()
            assert item.start <= len(hole.prefix) <= item.end


def test_the_model_is_a_plain_directory_of_bounded_size() -> None:
    folder = embedded_model()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert size < MAX_MODEL_BYTES
    for name in ("config.json", "model.safetensors", "tokenizer.json", "README.md", "lookahead/manifest.json"):
        assert (folder / name).exists()
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {".json", ".safetensors", ".md"}


def test_the_card_and_the_sources_say_what_the_training_was() -> None:
    card, facts = (
        (embedded_model() / "README.md").read_text(),
        json.loads((embedded_model() / "training.json").read_text()),
    )
    assert f"{facts['tokens'] / 1e6:.2f} M tokens" in card
    assert f"{facts['heldout_loss']:.2f} nats" in card
    sources = (Path(__file__).parents[1] / "THIRD_PARTY.md").read_text()
    for package in package_list():
        assert package["held_out"] or f"| {package['name']}=={package['version']} |" in sources


def test_the_readme_counts_right() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    grammars = {row.grammar.partition(":")[0] for row in LANGUAGES if row.grammar}
    families = {row.name for row in FAMILIES}  # one of which was trained in two forms
    assert f"in {len(grammars)} languages" in text and f"({len(families)} families" in text


def test_make_help_lists_the_targets() -> None:
    listed = subprocess.run(["make", "help"], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    assert {line.split()[0] for line in listed.stdout.splitlines()} >= {
        "setup",
        "demo",
        "test",
        "check",
        "bench",
        "help",
    }
