"""Small servers that answer, refuse and fail as the real ones do: which members they take, which errors they give.

Shapes are those of vLLM 0.33, SGLang 0.5, llama.cpp's server, Ollama and LM Studio. A fake is strict
where the real one is and stricter: a member that the real server does not know is an error.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any
from urllib.parse import parse_qs

from pass_lsp.engines.remote import RemoteEngine

ANSWER = ("a ", "+ ", "b", "\n")
SURE = (-0.25, -1.5, -0.5, -2.0)
"""The log-probabilities of these pieces, for those who ask in the server's own way."""
Connect = Callable[..., RemoteEngine]
"""What the fixture `connect` is."""
Route = Callable[["Exchange"], None]


class Exchange:
    """One request at a fake, and the ways to answer it."""

    def __init__(self, handler: BaseHTTPRequestHandler, body: Any, fake: Fake) -> None:
        self.handler, self.body, self.fake = handler, body, fake
        self.path, self.headers = handler.path, {key.lower(): value for key, value in handler.headers.items()}

    def head(self, code: int, kind: str, length: int | None = None, **more: str) -> None:
        """Status and headers; a stream has no length and ends with the connection unless it is chunked."""
        self.handler.send_response(code)
        self.handler.send_header("Content-Type", kind)
        for key, value in more.items():
            self.handler.send_header(key.replace("_", "-"), value)
        if length is None:
            self.handler.send_header("Transfer-Encoding", "chunked")
        else:
            self.handler.send_header("Content-Length", str(length))
        self.handler.end_headers()

    def json(self, value: Any, code: int = 200, **headers: str) -> None:
        """A short answer."""
        text = json.dumps(value).encode()
        self.head(code, "application/json", len(text), **headers)
        self.handler.wfile.write(text)

    def chunk(self, data: bytes) -> None:
        """A piece of a stream."""
        self.handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.handler.wfile.flush()

    def stream(self, events: Sequence[Any], *, lines: bool = False, done: bool = True) -> None:
        """Server-sent events, or objects one a line; strings go out as they are."""
        self.head(200, "application/x-ndjson" if lines else "text/event-stream; charset=utf-8")
        for event in events:
            text = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
            self.chunk(f"{text}\n".encode() if lines or text.startswith(":") else f"data: {text}\n\n".encode())
        if done and not lines:
            self.chunk(b"data: [DONE]\n\n")
        self.chunk(b"")

    def wait_closed(self, limit_s: float = 10.0) -> None:
        """Say nothing until the client goes away, and note when that was."""
        connection, end = self.handler.connection, time.monotonic() + limit_s
        connection.settimeout(0.01)
        while time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                if connection.recv(1) == b"":
                    break
        self.fake.closed_s.append(time.monotonic())
        self.handler.close_connection = True

    def die(self) -> None:
        """End the connection as a killed process does."""
        with contextlib.suppress(OSError):
            self.handler.connection.shutdown(socket.SHUT_RDWR)
        self.handler.close_connection = True


class Fake:
    """A server on a port of its own (or a socket); `routes` may be changed at any time."""

    def __init__(self, routes: dict[str, Route], port: int = 0, uds: Path | None = None) -> None:
        self.routes, self.asked, self.closed_s = routes, [], []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                exchange = Exchange(self, body, fake)
                route = fake.routes.get(self.path.partition("?")[0])
                if route is None:
                    exchange.json({"error": {"code": 404, "message": "File Not Found"}}, 404)
                    return
                fake.asked.append(exchange)
                try:
                    route(exchange)
                except ConnectionError:  # the client went away while it was being written to
                    fake.closed_s.append(time.monotonic())
                    self.close_connection = True

            do_GET = do_POST = _any

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def address_string(self) -> str:
                return ""

        if uds is None:
            self.server: Any = ThreadingHTTPServer(("127.0.0.1", port), Handler)
            self.port = self.server.server_address[1]
            self.url = f"http://127.0.0.1:{self.port}"
        else:
            self.server = ThreadingUnixStreamServer(str(uds), Handler)
            self.port, self.url = 0, f"unix://{uds}"
        self.server.daemon_threads = True
        # Clients that hang up in the middle are what is tested.
        self.server.handle_error = lambda *_: None
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    asked: list[Exchange]
    closed_s: list[float]

    @property
    def completions(self) -> list[Exchange]:
        """The requests for text."""
        paths = ("/v1/completions", "/infill", "/completion", "/api/generate")
        return [each for each in self.asked if each.path in paths and (each.body or {}).get("n_predict") != 0]

    def close(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()


@contextlib.contextmanager
def serving(routes: dict[str, Route], port: int = 0, uds: Path | None = None) -> Iterator[Fake]:
    """A fake for the length of a block."""
    fake = Fake(routes, port, uds)
    try:
        yield fake
    finally:
        fake.close()


def closed_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def told(value: Any, code: int = 200) -> Route:
    """A route that always says the same."""
    return lambda exchange: exchange.json(value, code)


# --- the kinds ----------------------------------------------------------------------

OPENAI_MEMBERS = {"model", "prompt", "max_tokens", "temperature", "top_p", "seed", "stop", "stream"}


def openai_events(pieces: Sequence[str] = ANSWER, finish: str = "stop", sure: Sequence[Any] = ()) -> list[Any]:
    """As vLLM streams: a comment to keep alive, chunks, a chunk without text that ends it, one of usage."""
    chunk = {"id": "cmpl-1", "object": "text_completion", "model": "m"}
    texts = [{**chunk, "choices": [{"index": 0, "text": piece, "finish_reason": None}]} for piece in pieces]
    for event, told in zip(texts, sure, strict=False):
        event["choices"][0]["logprobs"] = {"token_logprobs": [told], "top_logprobs": [{"?": told}]}
    end = {"index": 0, "text": "", "finish_reason": finish}
    # The token that ends the answer has a probability as well.
    last = {**chunk, "choices": [end | ({"logprobs": {"token_logprobs": [-3.0]}} if sure else {})]}
    return [": keep-alive", *texts, last, {**chunk, "choices": [], "usage": {"prompt_tokens": 3}}]


def openai(members: set[str], unknown: Callable[[str], tuple[int, Any]], models: Sequence[str] = ()) -> Route:
    """`/v1/completions` of one kind; `unknown` is its answer to a member that it does not take."""

    def route(exchange: Exchange) -> None:
        for member in exchange.body:
            if member not in members or exchange.body[member] in (None, ""):
                code, body = unknown(member)
                exchange.json(body, code)
                return
        if models and exchange.body.get("model") not in models:
            message = f"The model `{exchange.body.get('model')}` does not exist."
            exchange.json({"error": {"message": message, "type": "NotFoundError", "param": "model", "code": 404}}, 404)
            return
        exchange.stream(openai_events(sure=SURE if exchange.body.get("logprobs") == 1 else ()))

    return route


def model_list(owner: str, *names: str, **facts: Any) -> Route:
    """`/v1/models`."""
    return told(
        {"object": "list", "data": [{"id": name, "object": "model", "owned_by": owner, **facts} for name in names]}
    )


def vllm(name: str = "Qwen/Qwen2.5-Coder-0.5B") -> dict[str, Route]:
    """vLLM: 400 with its own error object for a suffix."""

    def unknown(member: str) -> tuple[int, Any]:
        return 400, {"error": {"message": f"{member} is not supported", "type": "BadRequestError", "code": 400}}

    return {
        "/v1/models": model_list("vllm", name, root=name, max_model_len=8192),
        "/v1/completions": openai(OPENAI_MEMBERS | {"top_k", "logprobs"}, unknown, [name]),
    }


def sglang(name: str = "deepseek-ai/deepseek-coder-1.3b-base") -> dict[str, Route]:
    """SGLang: errors without an `error` member."""

    def unknown(member: str) -> tuple[int, Any]:
        return 400, {"object": "error", "message": f"bad {member}", "type": "BadRequestError", "code": 400}

    return {
        "/v1/models": model_list("sglang", name, root=name, max_model_len=16384),
        "/v1/completions": openai(OPENAI_MEMBERS | {"top_k", "logprobs"}, unknown),
    }


def lm_studio(name: str = "qwen2.5-coder-7b") -> dict[str, Route]:
    """LM Studio: a list of its own says which model is loaded."""

    def unknown(member: str) -> tuple[int, Any]:
        return 400, {"error": f"Unrecognized key(s) in object: '{member}'"}

    return {
        "/v1/models": model_list("organization_owner", "other-chat", name),
        "/api/v0/models": told(
            {
                "data": [
                    {"id": "other-chat", "state": "not-loaded", "max_context_length": 4096},
                    {"id": name, "state": "loaded", "max_context_length": 32768},
                ]
            }
        ),
        "/v1/completions": openai(OPENAI_MEMBERS | {"top_k"}, unknown),
    }


_LLAMA_MEMBERS = {
    *("n_predict", "temperature", "top_k", "top_p", "min_p", "seed", "stop", "stream", "cache_prompt", "n_probs"),
    "model",  # of a router; one that has a single model takes any
}


def _llama(exchange: Exchange, members: set[str]) -> None:
    for member in exchange.body:
        if member not in members:
            message = f"Unsupported param: {member}"
            exchange.json({"error": {"code": 400, "message": message, "type": "invalid_request_error"}}, 400)
            return
    pieces: list[dict[str, Any]] = [{"index": 0, "content": piece, "tokens": [], "stop": False} for piece in ANSWER]
    if exchange.body.get("n_probs") == 1:
        for piece, told in zip(pieces, SURE, strict=True):
            one = {"id": 5, "token": piece["content"], "bytes": [*piece["content"].encode()], "logprob": told}
            piece["completion_probabilities"] = [{**one, "top_logprobs": [one]}]
    end = {"index": 0, "content": "", "stop": True, "stop_type": "eos", "tokens_evaluated": 9, "tokens_cached": 12}
    exchange.stream([*pieces, end], done=False)


def llama_cpp(*, infills: bool = True, name: str = "/models/starcoder2-3b-q8_0.gguf") -> dict[str, Route]:
    """llama.cpp's server, with a model that can fill in or one that cannot."""

    def infill(exchange: Exchange) -> None:
        if not infills:
            message = "Infill is not supported by this model: prefix token is missing. "
            exchange.json({"error": {"code": 501, "message": message, "type": "not_supported_error"}}, 501)
        elif missing := {"input_prefix", "input_suffix"} - exchange.body.keys():
            message = f"[json.exception.out_of_range.403] key '{min(missing)}' not found"
            exchange.json({"error": {"code": 500, "message": message, "type": "server_error"}}, 500)
        else:
            _llama(exchange, _LLAMA_MEMBERS | {"input_prefix", "input_suffix", "input_extra"})

    return {
        "/v1/models": model_list("llamacpp", name, meta={"n_ctx_train": 16384}),
        "/props": told({"default_generation_settings": {"n_ctx": 4096}, "total_slots": 1, "model_path": name}),
        "/infill": infill,
        "/completion": lambda exchange: _llama(exchange, _LLAMA_MEMBERS | {"prompt"}),
    }


def llama_router(*names: str, loaded: str) -> dict[str, Route]:
    """llama.cpp's server since December 2025, started without a model: a process for each, by the name in a request."""
    single = llama_cpp()

    def routed(path: str, name: Callable[[Exchange], Any]) -> Route:
        def route(exchange: Exchange) -> None:
            if name(exchange) in names:
                single[path](exchange)
            else:
                message = "model name is missing from the request"
                exchange.json({"error": {"code": 400, "message": message, "type": "invalid_request_error"}}, 400)

        return route

    def in_query(exchange: Exchange) -> str:
        return parse_qs(exchange.path.partition("?")[2]).get("model", [""])[0]

    listed = [
        {"id": each, "owned_by": "llamacpp", "status": {"value": "loaded" if each == loaded else "unloaded"}}
        for each in names
    ]
    posts = {path: routed(path, lambda exchange: exchange.body.get("model")) for path in ("/infill", "/completion")}
    return {"/v1/models": told({"data": listed}), "/props": routed("/props", in_query), **posts}


def tabby_api(loaded: str, *others: str) -> dict[str, Route]:
    """TabbyAPI without keys: its list has all models that lie in its folder, another route the one that answers."""

    def answer(exchange: Exchange) -> None:
        exchange.stream(openai_events())

    card = {"id": loaded, "object": "model", "owned_by": "tabbyAPI", "parameters": {"max_seq_len": 2048}}
    return {
        "/v1/models": model_list("tabbyAPI", *others, loaded),
        "/v1/model": told(card),
        "/v1/completions": answer,
    }


def llama_swap(name: str = "qwen2.5-coder") -> dict[str, Route]:
    """llama-swap, a proxy that has a route with its version as Ollama has."""

    def unknown(member: str) -> tuple[int, Any]:
        return 400, {"error": member}

    return {
        "/v1/models": model_list("llama-swap", name),
        "/api/version": told({"version": "170", "commit": "abc", "build_date": "2026-01-01"}),
        "/v1/completions": openai(OPENAI_MEMBERS, unknown, [name]),
    }


def koboldcpp(name: str = "koboldcpp/qwen2.5-coder-1.5b-q8_0") -> dict[str, Route]:
    """KoboldCpp, which has Ollama's routes as well, for those who know no other."""

    def unknown(member: str) -> tuple[int, Any]:
        return 400, {"error": member}

    return {
        "/v1/models": model_list("koboldcpp", name, root="koboldcpp"),
        "/api/version": told({"version": "0.7.0"}),
        "/api/tags": told({"models": [{"name": "koboldcpp", "model": name}]}),
        "/v1/completions": openai(OPENAI_MEMBERS, unknown, [name]),
    }


def tgi(name: str = "bigcode/starcoder2-3b") -> dict[str, Route]:
    """text-generation-inference, which takes no bounds that bound nothing."""

    def complete(exchange: Exchange) -> None:
        body = exchange.body
        if not 0 < body.get("top_p", 0.5) < 1:
            error = {"error": "Input validation error: `top_p` must be > 0.0 and < 1.0", "error_type": "validation"}
            exchange.json(error, 422)
        elif len(body.get("stop", ())) > 4:
            error = {"error": "Input validation error: `stop` supports up to 4 stop sequences"}
            exchange.json(error | {"error_type": "validation"}, 422)
        else:
            exchange.stream(openai_events())

    return {"/v1/models": model_list(name, name), "/v1/completions": complete}


def ollama(name: str = "qwen2.5-coder:1.5b", *, inserts: bool = True) -> dict[str, Route]:
    """Ollama: objects one a line, errors as one string."""

    def generate(exchange: Exchange) -> None:
        body = exchange.body
        options = {"num_predict", "temperature", "top_k", "top_p", "seed", "stop"}
        if body["model"] != name:
            exchange.json({"error": f"model '{body['model']}' not found"}, 404)
        elif "suffix" in body and (body.get("raw") or not inserts or not body["suffix"]):
            exchange.json({"error": f"registry.ollama.ai/library/{name} does not support insert"}, 400)
        elif set(body) - {"model", "prompt", "suffix", "raw", "stream", "options", "logprobs"}:
            exchange.json({"error": "invalid member"}, 400)
        elif set(body["options"]) - options:
            exchange.json({"error": "invalid option provided"}, 400)
        else:
            pieces: list[dict[str, Any]] = [{"model": name, "response": piece, "done": False} for piece in ANSWER]
            if body.get("logprobs") is True:
                for piece, told in zip(pieces, SURE, strict=True):
                    piece["logprobs"] = [{"token": piece["response"], "logprob": told}]
            exchange.stream([*pieces, {"model": name, "response": "", "done": True, "done_reason": "stop"}], lines=True)

    return {
        "/v1/models": model_list("library", name),
        "/api/version": told({"version": "0.14.0"}),
        "/api/tags": told({"models": [{"name": name, "model": name}]}),
        "/api/show": told(
            {
                "capabilities": ["completion", *(["insert"] if inserts else [])],
                "model_info": {"general.architecture": "qwen2", "qwen2.context_length": 32768},
            }
        ),
        "/api/generate": generate,
    }
