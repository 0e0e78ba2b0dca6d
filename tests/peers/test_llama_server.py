"""A real llama.cpp server with the embedded model: what the fake in `tests/engines` claims, and more.

`make llama` builds it; without it these are skipped.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest

from pass_lsp.completion import complete, complete_document
from pass_lsp.documents.document import Document
from pass_lsp.domain import CancelToken, Generation, SamplingParams
from pass_lsp.engines.local import LocalEngine, load_engine
from pass_lsp.errors import EngineError
from pass_lsp.reasons import Reason
from tests.engines.fakes import Connect, closed_port
from tests.server.conftest import private
from tests.server.rawlsp import PYTHON, RawClient
from tests.serving.conftest import wait_for

HERE = Path(__file__).parent
PROGRAMS = HERE.parents[1] / ".cache" / "peers" / "bin"
SERVER, PYTHON_OF_PEERS = PROGRAMS / "llama-server", PROGRAMS / "python"
SOURCE = "def first(a, b):\n    return a + b\n\n\ndef second(a, b):\n    return a - b\n\n\ndef third(a, b):\n"
LONGER = "".join(
    f"def {name}(values, start, end):\n    total = sum(values[start:end])\n    return total / len(values)\n\n\n"
    for name in ("first", "second")
)
ENDLESS = "x = [1, 1, 1, 1, 1, 1, "

pytestmark = [
    pytest.mark.skipif(not SERVER.exists(), reason="no llama.cpp server here; `make llama` builds one"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Server:
    """The process, and what it logs."""

    def __init__(self, model: Path, log: Path, *more: str) -> None:
        self.log = log
        self.url = f"http://127.0.0.1:{(port := closed_port())}"
        command = [str(SERVER), "-m", str(model), "--host", "127.0.0.1", "--port", str(port)]
        with log.open("wb") as out:
            self.process = subprocess.Popen([*command, "-np", "1", "-t", "1", *more], stdout=out, stderr=out)
        wait_for(lambda: self.process.poll() is not None or self.ask("/health").get("status") == "ok", 60)
        assert self.process.poll() is None, log.read_text()

    def ask(self, path: str) -> Any:
        try:
            return httpx2.get(self.url + path, trust_env=False).json()
        except httpx2.HTTPError:
            return {}

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def engine() -> LocalEngine:
    return load_engine("embedded")


@pytest.fixture(scope="module")
def folder(engine: LocalEngine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model for `gguf_file.py`, and what that makes of it: `f32.gguf`."""
    from tests.peers.compare import save_weights

    made = tmp_path_factory.mktemp("llama")
    save_weights(engine, made)
    shutil.copy(Path(engine.path) / "tokenizer.json", made)
    convert(made, "f32.gguf")
    return made


def convert(folder: Path, name: str) -> Path:
    command = [str(PYTHON_OF_PEERS), str(HERE / "gguf_file.py"), str(folder), str(folder / name), "f32"]
    subprocess.run(command, check=True)
    return folder / name


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    running = Server(folder / "f32.gguf", folder / "log")
    yield running
    running.close()


OURS = re.compile(r"<\|file\|>.*\n<\|fim_suffix\|>([^|]*)<\|fim_prefix\|>([^|]*)<\|fim_middle\|>")
THEIRS = r"<|fim_prefix|>\2<|fim_suffix|>\1<|fim_middle|>"
"""What `/infill` makes of both sides."""


class AsSpelled:
    """The same weights here, reading the ids that the server makes of a prompt's text by a rule of its own."""

    def __init__(self, engine: LocalEngine, server: Server, infills: bool = False) -> None:
        self.tokenizer, self.context_length = engine.tokenizer, engine.context_length
        self._engine, self._url, self._infills = engine, server.url + "/tokenize", infills

    def generate(self, prompt_ids: Sequence[int], *params: Any, **heard: Any) -> Generation:
        text = self.tokenizer.decode(prompt_ids)
        spelt = {"content": OURS.sub(THEIRS, text) if self._infills else text, "parse_special": True}
        return self._engine.generate(httpx2.post(self._url, json=spelt).json()["tokens"], *params, **heard)


@pytest.mark.parametrize(
    ("settings", "kind", "length"),
    [
        ({}, "llamacpp", 1024),
        ({"engine_template": "pass-lsp"}, "llamacpp-raw", 1024),
        ({"engine_kind": "llamacpp-raw", "engine_template": "pass-lsp"}, "llamacpp-raw", 1024),
        ({"engine_kind": "openai", "engine_template": "pass-lsp"}, "openai", 0),
    ],
)
def test_every_way_to_ask_gives_what_the_same_weights_give_here(
    server: Server, engine: LocalEngine, connect: Connect, settings: dict[str, Any], kind: str, length: int
) -> None:
    there = connect(server.url, **settings)
    assert (there.peer.adapter.name, there.context_length) == (kind, length)
    found = complete(SOURCE, 9, 0, engine=there, path="a.py")
    here = AsSpelled(engine, server, kind == "llamacpp")
    assert found is not None and found == complete(SOURCE, 9, 0, engine=here, path="a.py")
    # All that the adapter can send, twice with the same seed.
    sampled = SamplingParams(12, temperature=0.9, top_p=0.9, top_k=20, seed=5)
    ids = there.tokenizer(SOURCE)["input_ids"]
    assert there.generate(ids, sampled).token_ids == there.generate(ids, sampled).token_ids


@pytest.mark.parametrize("settings", [{}, {"engine_kind": "llamacpp-raw", "engine_template": "pass-lsp"}])
def test_it_is_as_sure_as_the_same_weights_are_here(
    server: Server, engine: LocalEngine, connect: Connect, settings: dict[str, Any]
) -> None:
    text, there = LONGER + "def third(values, start, end):\n", connect(server.url, **settings)
    document = Document("", text, language="python", path="a.py")
    found, here = (
        complete_document(document, len(text), each, least_log_prob=-math.inf)
        for each in (there, AsSpelled(engine, server, not settings))
    )
    assert found.completion == here.completion and found.generation is not None and here.generation is not None
    told, expected = found.generation.log_probs, here.generation.log_probs
    assert len(expected) == 12 and told == pytest.approx(expected, abs=0.01)
    hidden = complete_document(document, len(text), there, least_log_prob=sum(expected) + 0.5)
    assert hidden.reason is Reason.UNSURE


def test_an_answer_comes_in_pieces_and_a_cancel_ends_it(server: Server, connect: Connect) -> None:
    there, token, runs = connect(server.url, engine_kind="llamacpp-raw"), CancelToken(), list[list[int]]()

    def heard(run: list[int]) -> None:
        runs.append(run)
        if len(runs) == 5:
            token.cancel()

    ids = there.tokenizer(ENDLESS)["input_ids"]
    assert there.generate(ids, SamplingParams(900), cancel=token, on_commit=heard).finish == "cancelled"
    assert 5 <= len(runs) < 900
    wait_for(lambda: "cancel task" in server.log.read_text() and not server.ask("/slots")[0]["is_processing"])
    held = re.findall(r"stop processing: n_tokens = (\d+)", server.log.read_text())[-1]
    assert int(held) < 900, "it went on although nobody listened"


def test_quick_requests_one_after_the_other_all_come_through(server: Server, connect: Connect) -> None:
    there = connect(server.url)
    ids = there.tokenizer(SOURCE)["input_ids"]
    assert {there.generate(ids, SamplingParams(1 + number % 3)).finish for number in range(50)} <= {"eos", "length"}


@pytest.mark.parametrize("kind", ["llamacpp", "llamacpp-raw", "openai"])
def test_text_of_many_tokens_is_cut_until_it_fits(server: Server, connect: Connect, kind: str) -> None:
    there = connect(server.url, engine_kind=kind)
    text = "\n".join(f"x{number}=[1,2,{number},4,'中é'];" for number in range(2000)) + "\nzs = "
    document = Document("file:///r/table.py", text, language="python", path="/r/table.py")
    said: list[str] = []
    for _ in range(6):
        try:
            outcome = complete_document(document, len(text), there)
            break
        except EngineError as error:
            said.append(str(error))
    else:
        pytest.fail(f"never short enough: {said}")
    assert outcome.generation is not None and said
    assert all("exceeds the available context size (1024 tokens)" in each for each in said)


def test_a_model_without_markers_and_a_key(folder: Path, tmp_path: Path, connect: Connect, monkeypatch: Any) -> None:
    for name in ("config.json", "weights.npz"):
        os.link(folder / name, tmp_path / name)
    spelt = (folder / "tokenizer.json").read_text("utf-8").replace("<|fim_", "<|other_")
    (tmp_path / "tokenizer.json").write_text(spelt, "utf-8")
    running = Server(convert(tmp_path, "bare.gguf"), tmp_path / "log", "--api-key", "s3cret")
    try:
        with pytest.raises(EngineError, match=r"refuses access \(401\); set PASS_LSP_TOKEN"):
            complete(SOURCE, 9, 0, engine=connect(running.url), path="a.py")
        monkeypatch.setenv("PASS_LSP_TOKEN", "s3cret")
        there = connect(running.url)
        assert there.peer.adapter.name == "llamacpp-raw"  # `/infill` said 501
        assert there.generate(there.tokenizer("x = ")["input_ids"], SamplingParams(4)).token_ids
    finally:
        running.close()


def test_a_real_language_server_suggests_what_it_says(server: Server, engine: LocalEngine, tmp_path: Path) -> None:
    expected = complete(SOURCE, 9, 0, engine=AsSpelled(engine, server, infills=True), path="a.py")
    log = tmp_path / "log"
    client = RawClient.spawn([PYTHON, "-m", "pass_lsp", "serve", "--engine", server.url], log, private(tmp_path))
    try:
        client.initialize()
        client.until(client.settled)
        client.open(SOURCE)
        found = client.complete(9, 0)
        assert expected is not None and found["items"][0]["insertText"] == expected.text, (found, log.read_text())
        assert client.noted("didChangeStatus")[-1]["message"] == "Ready."
        client.close()
    finally:
        client.clean_up()
