"""Engines elsewhere: what each kind of server is sent, and what comes of whatever it answers."""

from __future__ import annotations

import asyncio
import gc
import ssl
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpcore2
import httpx2
import pytest
from httpcore2._async import http11

from pass_lsp.cli.checks import _elsewhere
from pass_lsp.cli.serve import load
from pass_lsp.completion import complete, complete_document
from pass_lsp.config import Settings
from pass_lsp.documents.document import Document
from pass_lsp.documents.workspace import Workspace
from pass_lsp.domain import CancelToken, Generation, Judged, SamplingParams
from pass_lsp.engines.remote import Address, RemoteEngine, wire
from pass_lsp.engines.remote import engine as remote
from pass_lsp.engines.remote import stream as streams
from pass_lsp.engines.remote.stream import TAIL_S
from pass_lsp.engines.remote.wire import client_for
from pass_lsp.errors import ConfigError, EngineError
from pass_lsp.reasons import Reason
from tests.engines import fakes
from tests.engines.fakes import Connect, Exchange, Fake, Route, serving

SOURCE = "def add(a, b):\n    return \n"
UNHURRIED = Settings(deadline_ms=0)
"""A busy machine may take longer than a user waits."""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a busy machine is late with comes in time: the end of a stream, and a connection."""
    wait_at_most(20.0, monkeypatch)
    monkeypatch.setattr(wire, "CONNECT_S", 20.0)


def wait_at_most(tail_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the end of a stream whose answer is over."""
    for module in (streams, remote):
        monkeypatch.setattr(module, "TAIL_S", tail_s)


def said(engine: Any) -> str | None:
    item = complete(SOURCE, 1, 11, engine=engine, path="/work/add.py")
    return item and item.text


def only(fake: Fake) -> dict[str, Any]:
    assert len(fake.completions) == 1
    return fake.completions[0].body


def answers(*events: Any, **how: Any) -> dict[str, Route]:
    """A server of the plain kind whose completions are these events."""
    models = fakes.model_list("me", "qwen2.5-coder")
    return {"/v1/models": models, "/v1/completions": lambda exchange: exchange.stream(events, **how)}


def acting(act: Route) -> dict[str, Route]:
    return {"/v1/models": fakes.model_list("me", "qwen2.5-coder"), "/v1/completions": act}


# --- the kinds ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("routes", "kind", "length"),
    [
        (fakes.vllm(), "vllm", 8192),
        (fakes.sglang(), "sglang", 16384),
        (fakes.lm_studio(), "lmstudio", 32768),
        (fakes.llama_cpp(), "llamacpp", 4096),
        (fakes.llama_cpp(infills=False), "llamacpp-raw", 4096),
        (fakes.ollama(), "ollama", 4096),
        (fakes.ollama("odd:1b"), "ollama-insert", 4096),
        (fakes.ollama("odd:1b", inserts=False), "ollama", 4096),
        (fakes.llama_router("a/chat:Q4", "b/coder:Q8", loaded="b/coder:Q8"), "llamacpp", 4096),
        (fakes.tabby_api("qwen2.5-coder-exl3", "a-chat-model"), "openai", 2048),
        (fakes.llama_swap(), "openai", 0),
        (fakes.koboldcpp(), "openai", 0),
        (fakes.tgi(), "openai", 0),
        (answers(*fakes.openai_events()), "openai", 0),
    ],
)
def test_each_kind_is_known_by_its_answers_and_takes_all_that_it_is_sent(
    connect: Connect, routes: dict[str, Route], kind: str, length: int
) -> None:
    with serving(routes) as fake:
        engine = connect(fake.url)
        assert said(engine) == "a + b"
        assert (engine.peer.adapter.name, engine.context_length) == (kind, length)
        body = only(fake)
        options = body.get("options", body)
        assert options["temperature"] == 0.0 and options.get("top_p") == (None if kind == "openai" else 1.0)
        longest = options.get("max_tokens", options.get("n_predict", options.get("num_predict")))
        assert longest == Settings().multi_line_tokens


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize(
    ("routes", "start", "end"),
    [
        (fakes.vllm(), "<|repo_name|>", "<|fim_middle|>"),
        (fakes.sglang(), "<｜fim▁begin｜>#b.py", "<｜fim▁end｜>"),
        (fakes.llama_cpp(infills=False), "<repo_name>", "<fim_middle>"),
        (fakes.ollama("codellama:7b-code"), "<PRE> ", " <MID>"),
    ],
)
def test_raw_prompts_are_written_as_the_models_family_wants(
    connect: Connect, routes: dict[str, Route], start: str, end: str
) -> None:
    with serving(routes) as fake:
        document = Document("file:///r/add.py", SOURCE, language="python", path="/r/add.py")
        other = Document("file:///r/b.py", "def sub(a, b):\n    return a - b\n", language="python", path="/r/b.py")
        around = Workspace((other,), (), ("/r",))
        complete_document(document, 26, connect(fake.url), UNHURRIED, workspace=around)
        prompt = only(fake)["prompt"]
        assert prompt.endswith(end) and "def add(a, b):\n    return" in prompt and "sub" in prompt
        assert prompt.startswith(start)


@pytest.mark.usefixtures("unhurried")
def test_a_server_of_unknown_make_is_sent_no_more_stops_than_openais_interface_has(connect: Connect) -> None:
    def act(exchange: Exchange) -> None:
        if len(exchange.body["stop"]) > 4:  # text-generation-inference, for one
            exchange.json({"error": "`stop` supports up to 4 stop sequences", "error_type": "validation"}, 422)
        else:
            exchange.stream(fakes.openai_events())

    with serving(acting(act)) as fake:
        assert said(connect(fake.url)) == "a + b"
        assert only(fake)["stop"][0] == "<|endoftext|>"


def test_a_server_that_fills_in_gets_both_sides_and_other_files(connect: Connect) -> None:
    with serving(fakes.llama_cpp()) as fake:
        document = Document("file:///r/add.py", SOURCE, language="python", path="/r/add.py")
        other = Document("file:///r/b.py", "def sub(a, b):\n    return a - b\n", language="python", path="/r/b.py")
        complete_document(document, 26, connect(fake.url), UNHURRIED, workspace=Workspace((other,), (), ("/r",)))
        body = only(fake)
        assert (body["input_prefix"], body["input_suffix"]) == (SOURCE[:26], "\n")
        assert [extra["filename"] for extra in body["input_extra"]] == ["b.py"]
        assert "def sub" in body["input_extra"][0]["text"]
        assert body["cache_prompt"] is True and "stop" not in body


def test_markers_in_a_users_text_reach_no_server(connect: Connect) -> None:
    text = "x = '<|fim_<|fim_middle|>middle|> <|im_start|><fim_<fim-suffix>pad><[fim-middle]>'\ny = "
    for routes in (fakes.vllm(), fakes.llama_cpp(), fakes.ollama("odd:1b")):
        with serving(routes) as fake:
            complete(text, 1, 4, engine=connect(fake.url), path="a.py")
            body = only(fake)
            ours = body["prompt"] if "prompt" in body else body["input_prefix"]
            assert "x = ' '" in ours and "im_start" not in ours and ours.count("fim_middle") <= 1


def test_kind_template_and_model_can_be_set(connect: Connect) -> None:
    with serving(fakes.llama_cpp()) as fake:
        engine = connect(fake.url, engine_template="santacoder")
        assert said(engine) == "a + b" and "<fim-middle>" in only(fake)["prompt"]
    with serving(fakes.ollama()) as fake:
        engine = connect(fake.url, engine_kind="ollama-insert", model="qwen2.5-coder:1.5b")
        assert said(engine) == "a + b" and only(fake)["suffix"] == "\n"
        with pytest.raises(EngineError, match=r"no model 'llama'; --model can be qwen2\.5-coder:1\.5b"):
            said(connect(fake.url, model="llama"))
    for wrong in ({"engine_kind": "gpt"}, {"engine_template": "gpt"}):
        with pytest.raises(ConfigError, match="'gpt'; use auto or one of"):
            connect("http://127.0.0.1:1", **wrong)


def test_a_server_may_be_told_to_fill_in_by_itself(connect: Connect) -> None:
    for routes, kind in ((fakes.llama_cpp(), "llamacpp"), (fakes.ollama(), "ollama-insert")):
        with serving(routes) as fake:
            engine = connect(fake.url, engine_template="infill")
            assert said(engine) == "a + b" and engine.peer.adapter.name == kind
            assert "\0" not in str(only(fake))
    for routes in (fakes.vllm(), fakes.llama_cpp(infills=False), fakes.ollama(inserts=False)):
        with serving(routes) as fake, pytest.raises(EngineError, match="cannot fill in by itself; set engine_template"):
            said(connect(fake.url, engine_template="infill"))


def test_of_many_models_one_is_asked_that_completes_and_is_there(connect: Connect) -> None:
    studio = {
        "data": [
            {"id": "text-embedding-nomic", "type": "embeddings", "state": "loaded", "max_context_length": 2048},
            {"id": "chat", "type": "llm", "state": "not-loaded", "max_context_length": 8192},
            {
                "id": "coder",
                "type": "llm",
                "state": "loaded",
                "max_context_length": 9999,
                "loaded_context_length": 4096,
            },
        ]
    }
    names = ("text-embedding-nomic", "chat", "coder")
    listed = fakes.model_list("organization_owner", *names)
    with serving({**fakes.lm_studio(), "/v1/models": listed, "/api/v0/models": fakes.told(studio)}) as fake:
        engine = connect(fake.url)
        assert (said(engine), only(fake)["model"], engine.context_length) == ("a + b", "coder", 4096)
    with serving(fakes.llama_router("a/chat:Q4", "b/coder:Q8", loaded="b/coder:Q8")) as fake:
        assert said(connect(fake.url)) == "a + b" and only(fake)["model"] == "b/coder:Q8"
        assert (
            said(connect(fake.url, model="a/chat:Q4")) == "a + b" and fake.completions[-1].body["model"] == "a/chat:Q4"
        )
    with serving(fakes.tabby_api("qwen2.5-coder-exl3", "a-chat-model")) as fake:
        assert said(connect(fake.url)) == "a + b" and "<|fim_middle|>" in only(fake)["prompt"]


def test_ollama_is_not_asked_for_text_by_a_model_that_has_none(connect: Connect) -> None:
    """Its list begins with what was pulled last, and that is often the one for embeddings."""

    def show(exchange: Exchange) -> None:
        if exchange.body["model"] == "nomic-embed-text:latest":
            exchange.json({"capabilities": ["embedding"], "model_info": {"bert.context_length": 2048}})
        else:
            shown(exchange)

    routes = fakes.ollama()
    shown = routes["/api/show"]
    names = fakes.model_list("library", "nomic-embed-text:latest", "qwen2.5-coder:1.5b")
    with serving({**routes, "/v1/models": names, "/api/show": show}) as fake:
        assert said(connect(fake.url)) == "a + b" and only(fake)["model"] == "qwen2.5-coder:1.5b"
        fake.routes["/v1/models"] = fakes.model_list("library", "nomic-embed-text:latest")
        with pytest.raises(EngineError, match="has no model; pull one with"):
            said(connect(fake.url))


def test_whoever_gives_no_tokenizer_is_sent_no_ids(connect: Connect) -> None:
    with serving(fakes.vllm()) as fake:
        with pytest.raises(EngineError, match="is no engine of pass-lsp; set engine_kind to auto"):
            said(connect(fake.url, engine_kind="pass-lsp"))
        assert not fake.completions


def test_one_that_answers_to_every_path_is_no_ollama(connect: Connect) -> None:
    odd = fakes.told({"error": "Unexpected endpoint or method."})  # as LM Studio says with 200
    with serving(
        {**dict.fromkeys(("/v1/engine", "/api/version", "/props"), odd), **answers(*fakes.openai_events())}
    ) as fake:
        engine = connect(fake.url)
        assert said(engine) == "a + b" and engine.peer.adapter.name == "openai"


def test_a_socket_serves_as_well(connect: Connect, tmp_path: Path) -> None:
    with serving(fakes.vllm(), uds=tmp_path / "engine.sock") as fake:
        assert said(connect(fake.url)) == "a + b"


# --- addresses and secrets -------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host",
        "host:80",
        "http://",
        "unix:relative",
        "http://h:99999",
        "http://h?q=1",
        "//",
        "http://\u200b",
        "http://[::1]x:1",
    ],
)
def test_only_addresses_that_can_be_used_are_taken(url: str) -> None:
    with pytest.raises(ConfigError, match=r"write for example"):
        Address.of(url)


def test_addresses_are_bases_and_hold_no_passwords() -> None:
    assert Address.of("http://host:8000/v1/").base == "http://host:8000"
    assert Address.of("https://host/team/v1").base == "https://host/team"
    assert [Address.of(url).local for url in ("http://127.0.0.1:1", "http://[::1]:1", "unix:///s", "https://host")] == [
        True,
        True,
        True,
        False,
    ]
    sockets = {"unix:///run/c#/a?.sock": "/run/c#/a?.sock", " unix:/s ": "/s", "UNIX:///a%20b": "/a%20b"}
    assert {url: Address.of(url).socket for url in sockets} == sockets
    with pytest.raises(ConfigError, match="PASS_LSP_TOKEN") as caught:
        Address.of("http://user:secret@host")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://me:s3cret@host/v1", "http://me:s3c/ret@host", "http://host/v1?key=s3cret#s3cret", "me:s3cret@host"]
)
def test_what_a_token_may_be_is_shown_nowhere(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Address.of(url)
    assert "s3c" not in str(caught.value)
    told: list[str] = []
    with pytest.raises(ConfigError):
        load(Settings(engine=url), told.append)
    assert len(told) == 1 and "s3c" not in told[0] and "host" in told[0]
    said = " ".join(f"{check.found} {check.remedy}" for check in _elsewhere(Settings(engine=url)))
    assert "s3c" not in said and "host" in said


def test_certificates_are_read_only_where_one_can_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file")
    for url in ("https://127.0.0.1:1", "https://host"):
        with pytest.raises(ConfigError, match=r"SSL_CERT_FILE or SSL_CERT_DIR names cannot be read \(.+\); correct"):
            client_for(Address.of(url))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("takes a tenth of a second")

    monkeypatch.setattr(httpcore2, "default_ssl_context", refuse)
    for url in ("http://127.0.0.1:1", "unix:///s"):
        client_for(Address.of(url))


@pytest.mark.parametrize("proxy", ["socks5://me:s3cret@127.0.0.1:1", "gopher://me:s3cret@127.0.0.1:1"])
def test_a_proxy_that_cannot_be_used_is_said_without_its_password(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setitem(sys.modules, "socksio", None)
    with pytest.raises(ConfigError, match="add the host to NO_PROXY") as caught:
        client_for(Address.of("http://host"))
    assert "s3cret" not in str(caught.value)
    client_for(Address.of("http://127.0.0.1:1"))


def test_a_proxy_that_lets_nobody_through_is_named(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving({}) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(EngineError, match="does not let through to https://host; correct it, or add the host"):
            said(connect("https://host"))


def test_what_is_wrong_with_tls_is_said(connect: Connect) -> None:
    with serving({}) as plain, pytest.raises(EngineError, match="does not answer in TLS; write http://"):
        said(connect(plain.url.replace("http:", "https:")))
    untrusted = ssl.SSLCertVerificationError(1, "certificate verify failed")
    untrusted.verify_message = "self-signed certificate"
    error = httpx2.ConnectError("?")
    error.__context__ = untrusted
    found = wire.failure(error, Address.of("https://host"))
    assert str(found) == (
        "https://host has a certificate that is not trusted here (self-signed certificate); "
        "name a file with its authority in SSL_CERT_FILE."
    )


def test_an_engine_that_is_dropped_where_another_loop_runs_lets_its_connections_go(connect: Connect) -> None:
    with serving(fakes.vllm()) as fake:
        engine = connect(fake.url)
        assert said(engine) == "a + b"

        async def drop() -> None:
            engine.close()

        asyncio.run(drop())
        assert engine._client.is_closed


def test_the_token_is_sent_and_its_lack_explained(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    def guarded(route: Route) -> Route:
        def inner(exchange: Exchange) -> None:
            if exchange.headers.get("authorization") == "Bearer s3cret":
                route(exchange)
            else:
                exchange.json({"error": {"code": 401, "message": "Invalid API Key"}}, 401)

        return inner

    with serving({path: guarded(route) for path, route in fakes.vllm().items()}) as fake:
        fake.routes["/v1/engine"] = fake.routes["/v1/models"]
        with pytest.raises(EngineError, match="set PASS_LSP_TOKEN"):
            said(connect(fake.url))
        monkeypatch.setenv("PASS_LSP_TOKEN", "s3cret")
        assert said(connect(fake.url)) == "a + b"
        monkeypatch.setenv("PASS_LSP_TOKEN", "s3\ncret")
        with pytest.raises(ConfigError, match="no token has") as caught:
            connect(fake.url)
        assert "cret;" not in str(caught.value)


def test_a_session_is_stable_for_a_document_and_tells_no_path(connect: Connect) -> None:
    with serving(fakes.vllm()) as fake:
        engine = connect(fake.url)
        for uri, root in (
            ("file:///r/a.py", "/r"),
            ("file:///r/a.py", "/r"),
            ("file:///r/b.py", "/r"),
            ("file:///r/a.py", "/s"),
        ):
            complete_document(
                Document(uri, "x = ", path=uri[7:]), 4, engine, UNHURRIED, workspace=Workspace(roots=(root,))
            )
        keys = [each.headers["x-session-id"] for each in fake.completions]
        assert keys[0] == keys[1] and len(set(keys)) == 3
        assert all(len(key) == 32 and int(key, 16) >= 0 for key in keys)
        assert len({each.headers["x-request-id"] for each in fake.completions}) == 4


# --- streams ----------------------------------------------------------------------------


def texts(*pieces: str) -> list[Any]:
    return fakes.openai_events(pieces)


def test_an_answer_is_committed_as_it_comes_and_cut_by_its_stop_rule(connect: Connect) -> None:
    seen: list[str] = []

    def act(exchange: Exchange) -> None:
        exchange.head(200, "text/event-stream")
        for event in texts("a + b", "\n", "print(add)\n")[1:4]:
            exchange.chunk(f"data:{fakes.json.dumps(event)}\r\n\r\n".encode())
        exchange.wait_closed()

    with serving(acting(act)) as fake:
        engine = connect(fake.url)
        document = Document("", SOURCE, language="python", path="add.py")
        tokenizer = engine.tokenizer
        outcome = complete_document(
            document, 26, engine, UNHURRIED, on_commit=lambda run: seen.append(tokenizer.decode(run))
        )
        assert outcome.completion is not None and outcome.completion.text == "a + b"
        assert outcome.generation is not None and outcome.generation.finish == "stop"
        assert seen[0] == "a + b"
        wait_for(lambda: bool(fake.closed_s))


def answering(events: list[Any]) -> dict[str, Route]:
    return {"/v1/completions": lambda exchange: exchange.stream(events)}


TELLING = [
    fakes.vllm(),
    fakes.sglang(),
    fakes.llama_cpp(),
    fakes.llama_cpp(infills=False),
    fakes.ollama(),
    fakes.ollama("odd:1b"),
]


def judged(engine: RemoteEngine, **how: Any) -> Generation:
    return engine.generate(engine.tokenizer("x = ")["input_ids"], Judged(64, **how))


@pytest.mark.parametrize("routes", TELLING)
def test_servers_that_tell_how_probable_tokens_are_are_judged(connect: Connect, routes: dict[str, Route]) -> None:
    heard: list[list[float]] = []
    with serving(routes) as fake:
        engine = connect(fake.url)
        whole = judged(engine, on_log_probs=heard.append)
        assert whole.log_probs == fakes.SURE and heard == [[each] for each in fakes.SURE]
        assert judged(engine, log_probs=3).log_probs == fakes.SURE[:3]
        unsure = judged(engine, least_log_prob=-2.0)
        assert engine.tokenizer.decode(unsure.token_ids) == "a + b" and unsure.finish == "stop"
        assert unsure.log_prob == -2.25
        assert judged(engine, least_log_prob=-5.0).token_ids == whole.token_ids
        sent = [set(each.body) for each in fake.completions]
        plain = engine.generate(engine.tokenizer("x = ")["input_ids"], SamplingParams(64))
        assert (plain.token_ids, plain.log_prob) == (whole.token_ids, None)
        assert set(fake.completions[-1].body) < sent[0], "nothing is asked that nobody wants to know"


@pytest.mark.parametrize(
    "routes",
    [
        fakes.lm_studio(),
        answers(*fakes.openai_events()),
        answers(*fakes.openai_events(sure=fakes.SURE)),
        # Not what was asked for, in whatever way.
        *(
            {**fakes.vllm(), **answering(fakes.openai_events(sure=odd))}
            for odd in ((), fakes.SURE[:2], (-1.0, None, -1.0, -1.0), ("-1",) * 4, (float("nan"),) * 4, (1.0,) * 4)
        ),
    ],
)
def test_of_what_a_server_does_not_tell_nothing_is_hidden(connect: Connect, routes: dict[str, Route]) -> None:
    with serving(routes) as fake:
        engine = connect(fake.url)
        found = judged(engine, least_log_prob=-3.9)
        assert engine.tokenizer.decode(found.token_ids) == "a + b\n" and found.log_prob is None


def test_what_a_server_is_unsure_of_is_not_shown(connect: Connect) -> None:
    document = Document("", SOURCE, language="python", path="add.py")
    with serving(fakes.vllm()) as fake:
        engine = connect(fake.url)
        hidden = complete_document(document, 26, engine, UNHURRIED, least_log_prob=-1.0)
        assert (hidden.completion, hidden.reason) == (None, Reason.UNSURE)
        shown = complete_document(document, 26, engine, UNHURRIED, least_log_prob=-9.0)
        assert shown.completion is not None and shown.completion.text == "a + b"
        assert shown.completion.log_prob is not None and shown.completion.log_prob < -1.0


def test_answers_that_end_by_themselves_share_a_connection(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    late = threading.Event()

    def lags(exchange: Exchange) -> None:
        exchange.head(200, "text/event-stream")
        for event in texts("a + b")[1:]:
            exchange.chunk(f"data: {fakes.json.dumps(event)}\n\n".encode())
        late.wait(30)

    with serving(answers(*fakes.openai_events())) as fake:
        engine = connect(fake.url)
        ids = engine.tokenizer("x")["input_ids"]
        for _ in range(3):
            assert engine.generate(ids).finish == "eos"
            assert engine.generate(ids, SamplingParams(1)).finish == "eos"
        assert len({each.handler.client_address for each in fake.completions}) == 1
        fake.routes["/v1/completions"] = lags
        wait_at_most(TAIL_S, monkeypatch)
        assert engine.generate(ids).finish == "eos", "waits for a server that does not end its stream"
        late.set()


def test_who_thinks_for_a_moment_finds_the_connection_again(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answers(*fakes.openai_events())) as fake:
        engine = connect(fake.url)
        ids = engine.tokenizer("x")["input_ids"]
        assert engine.generate(ids).finish == "eos"
        real = time.monotonic
        for later_s, connections in ((40.0, 1), (100.0, 2)):
            clock = SimpleNamespace(monotonic=lambda later_s=later_s: real() + later_s)
            monkeypatch.setattr(http11, "time", clock)
            assert engine.generate(ids).finish == "eos"
            assert len({each.handler.client_address for each in fake.completions}) == connections


def test_a_kept_connection_that_the_server_has_closed_is_no_failure(connect: Connect) -> None:
    served: set[Any] = set()

    def once(exchange: Exchange) -> None:
        """As llama.cpp's server: closes after a stream, which the client may hear of only with its next request."""
        address = exchange.handler.client_address
        known = address in served
        served.add(address)  # before the client can know that it has its answer
        exchange.die() if known else exchange.stream(fakes.openai_events())

    with serving(acting(once)) as fake:
        engine = connect(fake.url)
        ids = engine.tokenizer("x")["input_ids"]
        for _ in range(3):
            assert engine.generate(ids, SamplingParams(1)).finish == "eos"
        assert len(fake.completions) == 5 and len(served) == 3
        fake.routes["/v1/completions"] = lambda exchange: exchange.die()
        with pytest.raises(EngineError, match="broke off"):
            engine.generate(ids, SamplingParams(1))


def test_a_new_connection_that_fails_is_a_failure_behind_any_proxy(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SOCKS has a name of its own for it, and was asked for ever."""
    asked: list[str] = []

    async def refuse(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.path)
        assert len(asked) < 9
        await request.extensions["trace"]("socks.connect_tcp.started", {})
        raise httpx2.RemoteProtocolError("Server disconnected without sending a response.")

    with serving(fakes.vllm()) as fake:
        engine = connect(fake.url)
        ids = engine.tokenizer("x")["input_ids"]
        monkeypatch.setattr(engine._client._transport, "handle_async_request", refuse)
        with pytest.raises(EngineError, match="broke off"):
            engine.generate(ids)
    assert len(asked) == 1


def test_a_prompt_that_was_too_long_is_followed_by_shorter_ones(connect: Connect) -> None:
    def strict(exchange: Exchange) -> None:
        tokens = len(exchange.body["prompt"])  # one for each character, as in tables of numbers
        if tokens > 1500:
            message = f"request ({tokens} tokens) exceeds the available context size (1500 tokens), try increasing it"
            exchange.json({"error": {"code": 400, "message": message, "type": "exceed_context_size_error"}}, 400)
        else:
            exchange.stream(fakes.openai_events())

    table = "".join(f"{number},\n" for number in range(2000)) + "x = "
    documents = [Document(f"file:///r/{name}.py", table, path=f"/r/{name}.py") for name in "ab"]
    with serving(acting(strict)) as fake:
        engine = connect(fake.url)
        for _ in range(2):
            with pytest.raises(EngineError, match=r"exceeds the available context.*; the next one is shorter"):
                complete_document(documents[0], len(table), engine, UNHURRIED)
        assert complete_document(documents[0], len(table), engine, UNHURRIED).generation is not None
        assert len(fake.completions[-1].body["prompt"]) > 500
        with pytest.raises(EngineError):
            complete_document(documents[1], len(table), engine, UNHURRIED)
        assert len(fake.completions[-1].body["prompt"]) == len(fake.completions[0].body["prompt"])
        assert sum(each.path == "/v1/models" for each in fake.asked) == 1, "a refused prompt is no reason to look again"


def test_what_fitted_the_server_before_is_nothing_to_the_next(connect: Connect) -> None:
    long = {"error": {"message": "This model's maximum context length is 1024 tokens."}}
    with serving({**fakes.vllm(), "/v1/completions": fakes.told(long, 400)}) as fake:
        engine = connect(fake.url).session("file:///r/a.py")
        ids = engine.tokenizer("x" * 3000)["input_ids"]
        with pytest.raises(EngineError, match="the next one is shorter"):
            engine.generate(ids)
        assert engine.context_length == 600
        fake.routes["/v1/completions"] = lambda exchange: exchange.die()
        with pytest.raises(EngineError, match="broke off"):
            engine.generate(ids)
        fake.routes |= fakes.vllm()
        assert engine.generate(ids).finish == "eos" and engine.context_length == 8192


def test_that_it_was_too_long_may_be_said_in_the_stream(connect: Connect) -> None:
    message = "Trying to keep the first 3000 tokens when context the overflows."  # as LM Studio words it
    with serving(answers({"error": {"message": message}}, done=False)) as fake:
        engine = connect(fake.url).session("file:///r/a.py")
        ids = engine.tokenizer("x" * 3000)["input_ids"]
        with pytest.raises(EngineError, match=r"Trying to keep.*; the next one is shorter"):
            engine.generate(ids)
        assert engine.context_length == 600
        fake.routes["/v1/completions"] = lambda exchange: exchange.stream(fakes.openai_events())
        assert engine.generate(ids).finish == "eos", "the engine is not left alone"


def test_a_cancel_ends_a_silent_server_within_milliseconds(connect: Connect) -> None:
    began = threading.Event()

    def act(exchange: Exchange) -> None:
        began.set()
        exchange.wait_closed()

    with serving(acting(act)) as fake:
        engine, token = connect(fake.url), CancelToken()
        ids = engine.tokenizer("x")["input_ids"]
        cancelled_s: list[float] = []

        def cancel() -> None:
            began.wait()
            cancelled_s.append(time.monotonic())
            token.cancel()

        threading.Thread(target=cancel).start()
        assert engine.generate(ids, cancel=token).finish == "cancelled"
        wait_for(lambda: bool(fake.closed_s))
        # Generous: what is tested is that it waits for no timeout.
        assert fake.closed_s[0] - cancelled_s[0] < 2.0


def test_a_deadline_passes_although_the_server_says_nothing_more(connect: Connect) -> None:
    def act(exchange: Exchange) -> None:
        exchange.head(200, "text/event-stream")
        exchange.chunk(f"data: {fakes.json.dumps(texts('a + b', '')[1])}\n\n".encode())
        exchange.wait_closed()

    with serving(acting(act)) as fake:
        engine = connect(fake.url)
        document = Document("", SOURCE, language="python", path="add.py")
        outcome = complete_document(document, 26, engine, Settings(deadline_ms=300, manual_deadline_ms=2000))
        assert outcome.completion is not None and outcome.completion.text.startswith("a")


@pytest.mark.parametrize(
    ("routes", "sentence"),
    [
        (answers({"error": {"message": "out of memory", "code": 500}}), "gave up on an answer: out of memory"),
        (answers({"object": "error", "message": "boom"}), "gave up on an answer: boom"),
        (answers("{half a line", done=False), "ended an answer before it was over"),
        (answers(*texts("a")[:-2], done=False), "ended an answer before it was over"),
        (acting(lambda exchange: exchange.head(200, "text/html", 0)), "answers a completion with text/html"),
        (acting(lambda exchange: exchange.die()), "broke off"),
        (acting(fakes.told({"detail": [{"input": "SECRET CODE"}]}, 422)), r"refuses the request \(422\); check"),
        (acting(fakes.told({"error": "model crashed"}, 500)), r"failed \(500: model crashed\)"),
        (acting(fakes.told({"error": {"message": "Loading model"}}, 503)), r"not ready \(503: Loading model\)"),
        (acting(fakes.told(["?"], 404)), "knows no completions"),
        (acting(fakes.told({"error": "no such Host"}, 403)), r"refuses access \(403: no such Host\); check --engine"),
        (acting(fakes.told("<html>", 413)), r"longer than the engine's context \(413\); the next one is shorter"),
    ],
)
def test_what_a_server_does_wrong_is_said_in_one_sentence(
    connect: Connect, routes: dict[str, Route], sentence: str
) -> None:
    with serving(routes) as fake:
        with pytest.raises(EngineError, match=sentence) as caught:
            said(connect(fake.url))
        assert "SECRET" not in str(caught.value) and "\n" not in str(caught.value)


def test_garbage_between_events_does_no_harm(connect: Connect) -> None:
    def act(exchange: Exchange) -> None:
        exchange.head(200, "text/event-stream")
        for data in (
            b"\xff\xfe\x00 garbage\n\n",
            b"event: ping\nid: 1\nretry: 5\n\n",
            b'data: [1, 2]\n\ndata: {"choices": 3}\n\ndata: {"choices": [{"text": 7}]}\n\n',
            b'data: {"choices": [{"text": "a \xf0\x9f"}]}\n\n',
            b'data: {"choices": [{"text": "\\ud83d b", "finish_reason": "stop"}]}\n\n',
        ):
            for byte in data:
                exchange.chunk(bytes([byte]))
        exchange.chunk(b"")

    with serving(acting(act)) as fake:
        assert said(connect(fake.url)) == "a"  # up to what is no text


def test_an_answer_may_end_with_done_alone(connect: Connect) -> None:
    with serving(answers(*texts("a + b")[:-2])) as fake:
        engine = connect(fake.url)
        result = engine.generate(engine.tokenizer("x")["input_ids"], on_commit=lambda _: None)
        assert (engine.tokenizer.decode(result.token_ids), result.finish) == ("a + b", "eos")
        assert len(fake.completions) == 1


def test_an_answer_without_end_is_ended(connect: Connect) -> None:
    def endless(piece: bytes) -> Route:
        def act(exchange: Exchange) -> None:
            exchange.head(200, "text/event-stream")
            for _ in range(1000):
                exchange.chunk(piece)

        return act

    with serving(acting(endless(b"x" * 100_000))) as fake:
        engine = connect(fake.url)
        ids = engine.tokenizer("x")["input_ids"]
        with pytest.raises(EngineError, match="more than an answer can have"):
            engine.generate(ids)
        fake.routes["/v1/completions"] = endless(b'data: {"choices": [{"text": "%s"}]}\n\n' % (b"ab " * 20_000))
        wait_for(lambda: able(engine))
        assert len(engine.generate(ids, SamplingParams(10)).token_ids) == 10 * 24


# --- away and back ------------------------------------------------------------------------


def able(engine: RemoteEngine) -> bool:
    try:
        return bool(engine.tokenizer)
    except EngineError:
        return False


def wait_for(condition: Callable[[], bool], limit_s: float = 20.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_dead_replica_is_asked_once_more_for_the_rest(connect: Connect) -> None:
    deaths = iter([True])

    def act(exchange: Exchange) -> None:
        exchange.head(200, "text/event-stream")
        if next(deaths, False):
            exchange.chunk(f"data: {fakes.json.dumps(texts('a + ')[1])}\n\n".encode())
            exchange.die()
            return
        for event in texts("b\n")[1:3]:
            exchange.chunk(f"data: {fakes.json.dumps(event)}\n\n".encode())

    with serving(acting(act)) as fake:
        engine = connect(fake.url)
        assert said(engine) == "a + b"
        first, second = fake.completions
        assert second.body["prompt"] == first.body["prompt"] + "a + "


def test_a_keystroke_never_costs_two_retries_and_reading_ahead_none(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_RETRY_S", 60.0)
    with serving(acting(lambda exchange: exchange.die())) as fake:
        engine = connect(fake.url)
        ids = engine.tokenizer("x")["input_ids"]
        with pytest.raises(EngineError):
            engine.generate(ids, SamplingParams(1))
        assert len(fake.completions) == 1
        with pytest.raises(EngineError):
            said(engine)
        assert len(fake.completions) == 3
        with pytest.raises(EngineError):
            said(engine)
        assert len(fake.completions) == 4


def test_an_engine_that_is_away_is_found_when_it_is_there_again(connect: Connect) -> None:
    port = fakes.closed_port()
    engine = connect(f"http://127.0.0.1:{port}")
    with pytest.raises(EngineError, match=f"No engine can be reached at http://127.0.0.1:{port}; start it"):
        said(engine)
    with serving(fakes.vllm(), port):
        wait_for(lambda: able(engine))
        assert said(engine) == "a + b"
    with pytest.raises(EngineError):
        said(engine)
    with serving(fakes.llama_cpp(), port):  # another kind by now
        wait_for(lambda: able(engine))
        assert said(engine) == "a + b"


def test_a_busy_engine_is_left_alone_as_long_as_it_says(connect: Connect) -> None:
    def busy(exchange: Exchange) -> None:
        exchange.json({"error": {"message": "queue full"}}, 429, Retry_After="30")

    with serving(acting(busy)) as fake:
        engine = connect(fake.url)
        for _ in range(3):
            with pytest.raises(EngineError, match="too much to do"):
                said(engine)
        assert len(fake.completions) == 1
        at, _ = engine._resting or (0.0, None)
        assert 25 < at - time.monotonic() <= 30
        engine._resting = None
        fake.routes["/v1/completions"] = lambda exchange: exchange.stream(fakes.openai_events())
        assert said(engine) == "a + b"
        assert sum(each.path == "/v1/models" for each in fake.asked) == 1, "it was asked again what it is"


@pytest.mark.parametrize(
    "routes",
    [{}, {"/v1/models": lambda exchange: exchange.head(200, "text/html", 0)}, {"/v1/models": fakes.told(["x"])}],
)
def test_a_web_server_that_is_no_engine_is_called_so(connect: Connect, routes: dict[str, Route]) -> None:
    with serving(routes) as fake, pytest.raises(EngineError, match="not as an engine does"):
        said(connect(fake.url))


def test_an_address_that_points_elsewhere_is_called_so(connect: Connect) -> None:
    def moved(exchange: Exchange) -> None:
        exchange.head(301, "text/html", 0, Location=f"https://host{exchange.path}")

    with serving(dict.fromkeys(("/v1/engine", "/v1/models", "/api/version", "/props"), moved)) as fake:
        with pytest.raises(EngineError, match=r"points elsewhere \(301\); give --engine the address where"):
            said(connect(fake.url))
        fake.routes |= answers(*fakes.openai_events())
        assert said(connect(fake.url)) == "a + b"


def test_whoever_can_start_an_engine_does_so_when_nobody_listens(connect: Connect) -> None:
    calls: list[int] = []

    def revive() -> None:
        calls.append(len(calls))
        raise EngineError("It is being started again; wait.", rest_s=30)

    with serving(fakes.vllm()) as fake:
        engine = connect(fake.url)
        engine._revive = revive
        assert said(engine) == "a + b" and not calls
    for _ in range(3):
        with pytest.raises(EngineError, match="being started again"):
            said(engine)
    assert calls == [0]


def test_an_engine_that_is_forgotten_lets_go_in_whatever_thread_the_collector_finds_it() -> None:
    wishes: Any = None
    engine = RemoteEngine(Address.of("http://127.0.0.1:1"), wishes)
    runner = engine._runner
    runner.get_loop()
    engine.itself = engine  # type: ignore[attr-defined]  # so that only the collector ends it
    del engine

    async def main() -> None:
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(main())
    with pytest.raises(RuntimeError, match="closed"):
        runner.get_loop()
