"""An engine that needs no model, and a service on a port of its own."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")

import uvicorn

from pass_lsp.domain import Finish, Generation, Judged, SamplingParams
from pass_lsp.errors import PromptError
from pass_lsp.serving.process import config_of, tcp
from pass_lsp.serving.service import Limits, Service


def log_prob_of(token: int) -> float:
    """How sure `Counting` is of a token."""
    return -token / 8


class Counting:
    """Says what follows from the last id and the position; a token takes `token_s`. `seen` are its forwards."""

    context_length = 512
    lookahead: Any = None

    def __init__(self, tokenizer: Any, token_s: float = 0.0) -> None:
        self.tokenizer, self.token_s = tokenizer, token_s
        self.calls: list[list[int]] = []
        self.seen: list[int] = []
        self.cancelled: list[float] = []

    def generate(
        self,
        prompt_ids: Sequence[int],
        params: SamplingParams = SamplingParams(),
        *,
        cancel: Any = None,
        on_commit: Any = None,
        stop: Any = None,
    ) -> Generation:
        if list(prompt_ids) == [13]:
            raise PromptError("Thirteen is no prompt; take another.")
        self.calls.append(list(prompt_ids))
        ids: list[int] = []
        finish: Finish = "length"
        while len(ids) < params.max_new_tokens:
            if cancel.cancelled:
                self.cancelled.append(time.monotonic())
                finish = "cancelled"
                break
            time.sleep(self.token_s)
            last = ids[-1] if ids else prompt_ids[-1]
            ids.append(10 + (last * 7 + len(prompt_ids) + len(ids) + params.seed) % 90)
            self.seen.append(prompt_ids[0])
            keep = stop(ids)
            if isinstance(params, Judged) and params.on_log_probs:
                params.on_log_probs([log_prob_of(ids[-1])])
            on_commit(ids[-1:])
            if keep is not None:
                del ids[keep:]
                finish = "stop"
                break
        told = tuple(map(log_prob_of, ids)) if isinstance(params, Judged) else ()
        return Generation(ids, finish, len(ids), prefilled_tokens=len(prompt_ids), log_probs=told)


@pytest.fixture(scope="session")
def tokenizer(tokenizer_dir: Path) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(str(tokenizer_dir))


class Here:
    """A service that listens; `post` and `get` give status, headers and the JSON or text."""

    def __init__(self, port: int, service: Service) -> None:
        self.port, self.service = port, service
        self._open = contextlib.ExitStack()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> HTTPResponse:
        connection = self._open.enter_context(contextlib.closing(HTTPConnection("127.0.0.1", self.port, timeout=30)))
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, path, data, {key.replace("_", "-"): value for key, value in headers.items()})
        return self._open.enter_context(contextlib.closing(connection.getresponse()))

    def close(self) -> None:
        self._open.close()

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        response = self.ask("GET", path, **headers)
        text = response.read().decode()
        return response.status, json.loads(text) if text.startswith("{") else text

    def post(self, body: Any, **headers: str) -> tuple[int, Any]:
        response = self.ask("POST", "/v1/completions", body, **headers)
        return response.status, json.loads(response.read())

    def stream(self, body: dict[str, Any], **headers: str) -> Iterator[dict[str, Any]]:
        response = self.ask("POST", "/v1/completions", body | {"stream": True}, **headers)
        assert response.status == 200
        for line in response:
            if line.strip() and line.strip() != b"data: [DONE]":
                yield json.loads(line.removeprefix(b"data: "))


Serve = Callable[..., contextlib.AbstractContextManager[Here]]


@pytest.fixture
def serve() -> Serve:
    @contextlib.contextmanager
    def here(engine: Any, limits: Limits | None = None, load: Callable[[], Any] | None = None) -> Iterator[Here]:
        service = Service(limits or Limits())
        config = config_of(service)
        config.timeout_graceful_shutdown = 1
        server, listener, loaded = uvicorn.Server(config), tcp("127.0.0.1", 0), threading.Event()
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        service.start(load or (lambda: engine), lambda _: loaded.set())
        try:
            if load is None:
                assert loaded.wait(30)
            with contextlib.closing(Here(listener.getsockname()[1], service)) as found:
                yield found
        finally:
            service.scheduler.close()
            server.should_exit = True
            thread.join(10)

    return here


def wait_for(condition: Callable[[], bool], limit_s: float = 20.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
