"""The real binary with an engine elsewhere: away, there, busy, broken; and no model in this process."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pass_lsp.decoding.model import load_tokenizer
from pass_lsp.engines.embedded import embedded_model
from pass_lsp.metrics.gate import ledger_name
from tests.engines import fakes
from tests.engines.fakes import Exchange, Route, serving
from tests.engines.test_ours import FACTS, ours
from tests.server.conftest import private
from tests.server.rawlsp import PYTHON, URI, RawClient
from tests.server.test_unsure import learnt

Serve = Callable[..., RawClient]
TEXT = "def add(a, b):\n    return \n"


@pytest.fixture
def serve(tmp_path: Path, log: Path) -> Iterator[Serve]:
    clients: list[RawClient] = []

    def spawn(url: str, *more: str, **env: str) -> RawClient:
        command = [PYTHON, "-X", "importtime", "-m", "pass_lsp", "serve", "--engine", url, *more]
        clients.append(RawClient.spawn(command, log, {**private(tmp_path), **env}))
        clients[-1].initialize()
        clients[-1].until(clients[-1].settled)
        clients[-1].open(TEXT)
        return clients[-1]

    yield spawn
    for client in clients:
        client.clean_up()


def shown(client: RawClient) -> list[str]:
    """The texts that a request brings; an engine that is away brings none and is no error."""
    items = client.complete(1, 11)
    assert items is not None and items != "no result", client.order
    return [item["insertText"] for item in (items["items"] if isinstance(items, dict) else items)]


def status(client: RawClient) -> dict[str, Any]:
    return client.noted("didChangeStatus")[-1]


def comes_back(client: RawClient) -> list[str]:
    end = time.monotonic() + 20
    while not (found := shown(client)) and time.monotonic() < end:
        time.sleep(0.1)
    return found


def test_an_engine_elsewhere_needs_no_model_here(serve: Serve, log: Path) -> None:
    with serving(fakes.vllm()) as fake:
        client = serve(fake.url)
        assert shown(client) == ["a + b"]
        assert status(client)["message"] == "Ready."
        assert len({each.headers["x-session-id"] for each in fake.completions if "x-session-id" in each.headers}) >= 1
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in log.read_text().splitlines()}
    assert "httpx2" in loaded and not loaded & {"torch", "transformers", "onnxruntime"}


def test_what_an_engine_elsewhere_is_unsure_of_is_hidden(serve: Serve, tmp_path: Path) -> None:
    def sure(told: float) -> Route:
        return lambda exchange: exchange.stream(fakes.openai_events(sure=[told] * len(fakes.ANSWER)))

    with serving(fakes.vllm()) as fake:
        learnt(tmp_path, ledger_name("embedded", fake.url))
        client = serve(fake.url)
        fake.routes["/v1/completions"] = sure(-3.0)
        assert shown(client) == []
        assert status(client)["reason"] == "low-confidence"
        fake.routes["/v1/completions"] = sure(-0.1)
        client.change(2, {"text": "\n" + TEXT})
        assert [item["insertText"] for item in client.complete(2, 11)["items"]] == ["a + b"]


def test_an_engine_that_is_away_is_said_once_and_comes_back_by_itself(serve: Serve, log: Path) -> None:
    port = fakes.closed_port()
    client = serve(f"http://127.0.0.1:{port}")
    assert shown(client) == []
    assert status(client)["kind"] == "Warning" and status(client)["reason"] == "engine-away"
    assert f"No engine can be reached at http://127.0.0.1:{port}; start it" in status(client)["message"]
    with serving(fakes.vllm(), port):
        assert comes_back(client) == ["a + b"]
        assert status(client)["message"] == "Ready."
    assert "Traceback" not in log.read_text()


def test_a_strategy_that_the_engine_there_does_not_bear_is_told_once(serve: Serve, tmp_path: Path) -> None:
    """Each request was refused, and each refusal a reason to ask again what is there."""
    (tmp_path / "pass-lsp").mkdir()
    (tmp_path / "pass-lsp" / "config.toml").write_text('strategy = "pass"')
    tokenizer = load_tokenizer(str(embedded_model()), False)
    with serving(ours(tokenizer) | {"/v1/engine": fakes.told(FACTS | {"lookahead": False})}) as fake:
        client = serve(fake.url)
        for version in range(2, 5):
            client.change(version, {"text": f"x = {version}\n"})
            assert shown(client) == ["value = compute(value)"] and status(client)["message"] == "Ready."
        told = [each["message"] for each in client.noted("window/showMessage")]
        assert [text.partition(",")[0] for text in told] == ["The strategy 'pass' needs a look-ahead artifact"]
        assert {each.body["strategy"] for each in fake.completions} == {"auto", "autoregressive"}


def test_a_wrong_address_is_explained(serve: Serve) -> None:
    client = serve("ftp://engine", PASS_LSP_TOKEN="s3cret")
    assert status(client)["kind"] == "Error" and "ftp://engine" in status(client)["message"]


def test_an_engine_that_dies_busy_or_silent_never_breaks_the_server(serve: Serve, log: Path) -> None:
    with serving(fakes.vllm()) as fake:
        client = serve(fake.url, "--log-level", "debug", PASS_LSP_TOKEN="s3cret")
        completions = fake.routes["/v1/completions"]

        def busy(exchange: Exchange) -> None:
            exchange.json({"error": {"message": "queue full"}}, 429, Retry_After="1")

        def garbage(exchange: Exchange) -> None:
            with contextlib.suppress(OSError):
                exchange.handler.wfile.write(b"\x00\xff" * 1000 + b"\r\n\r\n")
            exchange.die()

        def silent(exchange: Exchange) -> None:
            exchange.wait_closed()

        for number, (act, said) in enumerate(
            [(busy, "too much to do"), (garbage, "broke off"), (lambda exchange: exchange.die(), "broke off")]
        ):
            fake.routes["/v1/completions"] = act
            client.change(2 + number, {"text": TEXT + "\n" * (number + 1)})
            client.until(lambda client=client, said=said: shown(client) == [] and said in status(client)["message"])
            fake.routes["/v1/completions"] = completions
            assert comes_back(client) == ["a + b"]
        fake.routes["/v1/completions"] = silent
        client.change(9, {"text": "x = 1\n" + TEXT})
        message = client.inline(2, 11)
        client.send(message)
        wait_for_request(fake, "x = 1")
        client.notify("$/cancelRequest", {"id": message["id"]})
        assert client.wait(message["id"])["error"]["code"] == -32800
        fake.routes["/v1/completions"] = completions
        assert client.complete(2, 11, URI)
        client.until(lambda: fake.closed_s)
    text = log.read_text()
    assert "s3cret" not in text and "return" not in text and "Traceback" not in text


def wait_for_request(fake: fakes.Fake, text: str) -> None:
    end = time.monotonic() + 20
    while not any(text in each.body["prompt"] for each in fake.completions):
        assert time.monotonic() < end
        time.sleep(0.01)
