"""`pass-lsp engine` as a process: where it listens, whom it lets in, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from pass_lsp import cli
from pass_lsp.cli import options
from pass_lsp.cli.options import remote_engine
from pass_lsp.config import Settings
from pass_lsp.domain import SamplingParams
from pass_lsp.engines.embedded import embedded_model
from pass_lsp.engines.remote import Address
from pass_lsp.errors import ConfigError, EngineError
from pass_lsp.server import logs
from pass_lsp.serving import process
from pass_lsp.serving.process import _watch
from pass_lsp.serving.scheduler import DOCUMENTS, Job
from pass_lsp.serving.service import Limits, Service
from tests.serving.conftest import Counting, wait_for
from tests.test_cli import explained, real

LIMIT_S = 60.0

# httpcore leaves a socket whose connection is refused to the garbage collector, which closes it.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Running:
    """The real command; `health` is what it answered so far."""

    def __init__(self, log: Path, arguments: list[str], env: dict[str, str]) -> None:
        self.log, self.health = log, list[int]()
        clean = {key: value for key, value in os.environ.items() if not key.startswith("PASS_LSP_")}
        with log.open("wb") as out:
            command = [sys.executable, "-m", "pass_lsp", "engine", *arguments]
            self.process = subprocess.Popen(command, stdout=out, stderr=out, env=clean | env)

    @property
    def where(self) -> str:
        """Its address, as soon as it says so."""
        wait_for(lambda: "Listening on " in self.log.read_text(), LIMIT_S)
        return re.findall(r"Listening on (\S+)\.$", self.log.read_text(), re.MULTILINE)[0]

    def client(self) -> httpx2.Client:
        if (path := self.where.removeprefix("unix://")) != self.where:
            return httpx2.Client(transport=httpx2.HTTPTransport(uds=path), base_url="http://localhost", timeout=30)
        # No proxy of the environment knows this machine.
        return httpx2.Client(base_url=self.where.replace("0.0.0.0", "127.0.0.1"), timeout=30, trust_env=False)

    def watch(self, client: httpx2.Client) -> bool:
        """Ask how it is; whether it is ready, or gone."""
        with contextlib.suppress(httpx2.HTTPError):
            self.health.append(client.get("/health").status_code)
        return 200 in self.health or self.process.poll() is not None

    def ready(self, client: httpx2.Client) -> None:
        wait_for(lambda: self.watch(client), LIMIT_S)
        assert self.health[-1:] == [200], self.log.read_text()

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LIMIT_S)


Start = Callable[..., Running]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first of them converts and measures, the others find."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def start(model_dir: Path, cache: Path, tmp_path: Path) -> Iterator[Start]:
    running: list[Running] = []

    def spawn(*arguments: str, model: Path = model_dir, **env: str) -> Running:
        private = {"XDG_CACHE_HOME": str(cache)}
        given = ["--model", str(model), "--lookahead", "none", *arguments]
        running.append(Running(tmp_path / f"log{len(running)}", given, private | env))
        return running[-1]

    yield spawn
    for each in running:
        each.process.kill()
        each.process.wait()


def test_a_socket_is_served_guarded_and_left_tidy(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))  # as a killed engine leaves it
    engine = start("--uds", str(path), PASS_LSP_TOKEN="s3cret")
    with engine.client() as client:
        engine.ready(client)
        assert engine.health[0] == 503 and path.stat().st_mode & 0o777 == 0o600
        assert client.get("/v1/models").status_code == 401

    there = remote_engine(Settings(engine=f"unix://{path}"))
    with pytest.raises(EngineError, match="set PASS_LSP_TOKEN"):
        there.generate([20, 21])
    there.close()
    monkeypatch.setenv("PASS_LSP_TOKEN", "s3cret")
    there = remote_engine(Settings(engine=f"unix://{path}"))
    prompt = there.tokenizer("def f(x):\n    return ")["input_ids"]
    assert there.generate(prompt, SamplingParams(8)).finish in ("eos", "length")
    there.close()

    assert "another engine listens there" in explained(real("engine", "--uds", str(path), cwd=tmp_path))
    assert engine.process.poll() is None and path.is_socket(), "the second one took the socket of the first"
    assert engine.end() == 0 and not path.exists()
    assert "s3cret" not in engine.log.read_text()


def test_other_machines_need_the_token_of_the_file(start: Start, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n", "utf-8-sig")  # as Windows' editors write it
    engine = start("--host", "0.0.0.0", "--port", "0", "--token-file", str(tmp_path / "token"), PASS_LSP_TOKEN="other")
    body = {"prompt": "x = ", "max_tokens": 3}
    with engine.client() as client:
        engine.ready(client)
        assert client.post("/v1/completions", json=body).status_code == 401
        assert client.post("/v1/completions", json=body, headers={"Authorization": "Bearer other"}).status_code == 401
        # From elsewhere the Host is that of the machine, so it is not looked at.
        headers = {"Authorization": "Bearer s3cret", "Host": "gpu.example.org"}
        assert client.post("/v1/completions", json=body, headers=headers).status_code == 200
        with socket.create_connection(("127.0.0.1", client.base_url.port), timeout=30) as tls:
            tls.sendall(b"\x16\x03\x01\x02\x00\x01\r\n\r\n")
            assert tls.recv(2**16).startswith(b"HTTP/1.1 400 ")
    assert engine.end() == 0
    odd = next(line for line in engine.log.read_text().splitlines() if "Invalid HTTP request" in line)
    assert re.match(r"\d{4}-\d\d-\d\d [\d:,]+ WARNING uvicorn\.error: ", odd)


def test_it_ends_when_nobody_asks(start: Start, tmp_path: Path) -> None:
    engine = start("--uds", str(tmp_path / "s"), "--idle-minutes", "0.005")
    assert engine.process.wait(LIMIT_S) == 0 and not (tmp_path / "s").exists()
    said = engine.log.read_text()
    assert said.index("The model is loaded.") < said.index("Nobody has asked for a while")


def test_it_ends_when_nobody_finds_it(start: Start, tmp_path: Path) -> None:
    engine = start("--uds", str(tmp_path / "s"))
    with engine.client() as client:
        engine.ready(client)
    (tmp_path / "s").unlink()
    (tmp_path / "s").write_text("of somebody else")
    assert engine.process.wait(LIMIT_S) == 0
    assert "The socket is gone, so that nobody can ask; the engine ends." in engine.log.read_text()
    assert (tmp_path / "s").read_text() == "of somebody else"


def test_it_does_not_end_in_the_middle_of_an_answer(tokenizer: Any) -> None:
    server, service = SimpleNamespace(should_exit=False), Service(Limits())

    async def look() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await _watch(server, service, 0.001, lambda: True)  # type: ignore[arg-type]

    asyncio.run(look())
    assert not server.should_exit, "a model that is being loaded is no idle engine"
    service.start(lambda: Counting(tokenizer, 0.01), lambda _: None)
    wait_for(lambda: service.ready)
    job = Job("s", [20], SamplingParams(10**6), lambda _: None, lambda _: None)
    service.scheduler.submit(job)
    asyncio.run(look())
    assert not server.should_exit
    job.cancel()
    asyncio.run(look())
    service.scheduler.close()
    assert server.should_exit


def test_a_signal_ends_it_where_event_loops_take_none(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows."""

    def none(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(asyncio.SelectorEventLoop, "add_signal_handler", none)
    before = signal.getsignal(signal.SIGTERM)
    listener = process.tcp("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def end() -> None:
        wait_for(lambda: is_healthy(url))
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=end)
    thread.start()
    process.run(listener, Limits(), lambda: Counting(tokenizer))
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before


def test_answers_that_are_not_over_when_the_engine_ends_say_so(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process, "_GRACE_S", 0.3)
    listener, engine, heard = process.tcp("127.0.0.1", 0), Counting(tokenizer, 0.05), list[str]()
    address = listener.getsockname()
    url, answers = f"http://127.0.0.1:{address[1]}", list[httpx2.Response]()

    def whole() -> None:
        body = {"prompt": [20], "max_tokens": 500}
        answers.append(httpx2.post(f"{url}/v1/completions", json=body, trust_env=False, timeout=30))

    def stream() -> None:
        body = {"prompt": [20], "max_tokens": 500, "stream": True}
        with httpx2.stream("POST", f"{url}/v1/completions", json=body, trust_env=False, timeout=30) as response:
            heard.extend(filter(None, response.iter_lines()))

    def end() -> None:
        wait_for(lambda: is_healthy(url))
        half.connect(address)
        half.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        asking = [threading.Thread(target=ask) for ask in (whole, stream)]
        for each in asking:
            each.start()
        wait_for(lambda: len(engine.calls) >= 2 and bool(heard))
        os.kill(os.getpid(), signal.SIGTERM)
        for each in asking:
            each.join()

    ending = threading.Thread(target=end)
    with socket.socket() as half:
        ending.start()
        assert process.run(listener, Limits(), lambda: engine)
        ending.join()
    assert (answers[0].status_code, answers[0].headers["retry-after"]) == (503, "1")
    *_, last, done = heard
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == 503 and done == "data: [DONE]"
    assert not [record.message for record in caplog.records if record.exc_info or "Exception" in record.message]


def test_who_speaks_no_http_is_no_traceback_in_the_log(tokenizer: Any, caplog: pytest.LogCaptureFixture) -> None:
    listener = process.tcp("127.0.0.1", 0)
    address = listener.getsockname()

    def speak() -> None:
        wait_for(lambda: is_healthy(f"http://127.0.0.1:{address[1]}"))
        with socket.create_connection(address, timeout=30) as broken, contextlib.suppress(ConnectionError):
            broken.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
            while broken.recv(2**16):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    speaking = threading.Thread(target=speak)
    speaking.start()
    process.run(listener, Limits(), lambda: Counting(tokenizer))
    speaking.join()
    said = [record for record in caplog.records if record.name in ("uvicorn.error", "asyncio")]
    assert said and not any(record.exc_info for record in said)


def is_healthy(url: str) -> bool:
    with contextlib.suppress(httpx2.HTTPError):
        return httpx2.get(f"{url}/health", trust_env=False).status_code == 200
    return False


def test_it_ends_at_once_while_the_model_is_loaded(start: Start, tmp_path: Path) -> None:
    path, cache = tmp_path / "s", tmp_path / "empty"
    # It is converted and measured, by threads that abort a process which ends under them.
    engine = start("--uds", str(path), model=embedded_model(), XDG_CACHE_HOME=str(cache))
    wait_for(lambda: any(cache.rglob("*.lock")), LIMIT_S)
    assert engine.end() == 0 and not path.exists()
    assert "terminate called" not in engine.log.read_text()


def test_of_two_engines_on_one_port_the_second_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with process.tcp("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError, match=f"Cannot listen on 127.0.0.1:{port} .*; choose another"):
            process.tcp("127.0.0.1", port)
    monkeypatch.setattr(process.os, "name", "nt")  # where SO_REUSEADDR would let both in
    with process.tcp("127.0.0.1", 0) as alone:
        assert alone.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 0


def test_where_there_are_no_unix_sockets_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(ConfigError, match="no Unix sockets on this system; give --host"), process.unix(tmp_path / "s"):
        pass
    with pytest.raises(ConfigError, match="no Unix sockets on this system; give the engine an http"):
        Address.of("unix:///s")


def test_a_model_that_cannot_be_loaded_is_one_sentence_and_a_failure(
    start: Start, model_dir: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(model_dir, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"no weights")
    engine = start("--port", "0", model=broken)
    with engine.client() as client:
        wait_for(lambda: engine.watch(client), LIMIT_S)
    assert engine.process.wait(LIMIT_S) == 1 and set(engine.health) == {503}
    *_, last = engine.log.read_text().splitlines()
    assert re.fullmatch(r"pass-lsp: .*broken.*; .*\.", last) and "Traceback" not in engine.log.read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--host", "0.0.0.0"], "can be reached from elsewhere"),
        (["--host", "::"], "can be reached from elsewhere"),
        (["--host", "no.such.host.invalid", "--token-file", "token"], "Cannot listen on no.such.host.invalid"),
        (["--token-file", "absent"], "cannot be read"),
        (["--token-file", "empty"], "is empty"),
        (["--token-file", "odd"], "characters that no header carries"),
        (["--uds", "token"], "something that is no socket lies there"),
        (["--uds", "no/such/folder"], "No such file"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_where_it_cannot_listen_is_explained(
    arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PASS_LSP_TOKEN", raising=False)
    for name, text in (("token", "s3cret"), ("empty", "\n"), ("odd", "s3 cret")):
        (tmp_path / name).write_text(text)
    said = explained(real("engine", *arguments, cwd=tmp_path))
    assert sentence in said and "s3" not in said
    assert (tmp_path / "token").read_text() == "s3cret"


def test_a_model_brings_its_own_code_only_if_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(process, "run", lambda listener, limits, load, **_: (listener.close(), load()))
    monkeypatch.setattr(logs, "configure", lambda _: None)
    monkeypatch.setattr(options, "local_engine", lambda *given, **how: asked.append((given, how)))
    for more in ([], ["--trust-remote-code"]):
        monkeypatch.setattr(sys, "argv", ["pass-lsp", "engine", "--port", "0", "--model", "mine", *more])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
    given, kept = ("mine", "auto", "auto", "auto"), {"documents": DOCUMENTS}
    assert asked == [(given, kept | {"trust_remote_code": trusted}) for trusted in (False, True)]


def test_the_address_of_a_socket_is_one_that_an_editor_takes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[str] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(process, "run", lambda *_, where, **__: said.append(where) or True)
    monkeypatch.setattr(logs, "configure", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["pass-lsp", "engine", "--uds", "s"])
    with pytest.raises(SystemExit):
        cli.main()
    assert Address.of(said[0]).socket == str(tmp_path / "s")
