"""Connections that do not say what they want, and too many of them."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("starlette")

from pass_lsp.serving.doorway import Doorway, widen
from tests.serving.conftest import Counting, Here, Serve

resource = pytest.importorskip("resource")

HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
LIMIT_S = 20.0


@pytest.fixture
def here(serve: Serve, tokenizer: Any) -> Iterator[Here]:
    with serve(Counting(tokenizer)) as found:
        yield found


@contextlib.contextmanager
def connected(here: Here, *sent: bytes) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", here.port), timeout=LIMIT_S) as connection:
        for data in sent:
            connection.sendall(data)
        yield connection


def answer(connection: socket.socket, end: bytes = b'{"status":"ok"}') -> bytes:
    """What comes up to the end of one answer, by default that of `/health`."""
    came = b""
    while not came.endswith(end):
        came += (piece := connection.recv(1000))
        assert piece, came
    return came


@pytest.mark.parametrize("sent", [b"", b"GET", HEAD], ids=["nothing", "half a line", "half a head"])
def test_a_head_that_does_not_come_ends_the_connection(
    here: Here, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    with contextlib.ExitStack() as stack, monkeypatch.context() as patch:
        patch.setattr(Doorway, "head_s", 0.05)
        for each in [stack.enter_context(connected(here, sent)) for _ in range(4)]:
            assert each.recv(10) == b""
    assert here.get("/health") == (200, {"status": "ok"})


def test_nor_does_the_second_one_of_a_connection(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    with connected(here, HEAD, b"\r\n") as connection:
        assert answer(connection).startswith(b"HTTP/1.1 200")
        connection.sendall(HEAD + b"\r\n")
        assert answer(connection).startswith(b"HTTP/1.1 200")
        monkeypatch.setattr(Doorway, "head_s", 0.05)
        connection.sendall(HEAD)
        assert connection.recv(10) == b""


@pytest.mark.parametrize("before", [b"", HEAD + b"\r\n"], ids=["first", "second"])
def test_a_head_without_end_fills_no_memory(here: Here, monkeypatch: pytest.MonkeyPatch, before: bytes) -> None:
    monkeypatch.setattr(Doorway, "head_s", 60.0)
    came = b""
    with connected(here, before) as connection, contextlib.suppress(ConnectionError):
        if before:
            answer(connection)
        connection.sendall(HEAD + b"X: ")
        for _ in range(64):
            connection.sendall(b"x" * 2**17)
        came = connection.recv(1000)
    assert came[:12] in (b"", b"HTTP/1.1 431", b"HTTP/1.1 400")
    assert here.get("/health") == (200, {"status": "ok"})


def test_a_body_is_no_head(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pass_lsp.serving.doorway._LONGEST_HEAD", 4096)
    for _ in range(2):
        assert here.post({"prompt": [20], "max_tokens": 1, "user": "x" * 200_000})[0] == 200
    body = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n\r\n"
    with connected(here, body) as connection:
        assert answer(connection, b"}}").startswith(b"HTTP/1.1 413")
        for _ in range(40):
            connection.sendall(b"x" * 100_000)
        connection.sendall(HEAD + b"\r\n")
        assert answer(connection).startswith(b"HTTP/1.1 200")


def test_an_answer_may_take_longer_than_a_head(serve: Serve, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Doorway, "head_s", 2.0)
    with serve(Counting(tokenizer, token_s=0.2)) as here:
        events = [*here.stream({"prompt": [20], "max_tokens": 12})]
    assert len(events) >= 12


def test_too_many_are_told_so_and_the_others_are_served(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Doorway, "most", 2)
    with connected(here, HEAD) as first, connected(here, HEAD) as second:
        with connected(here) as third:
            assert third.recv(1000).startswith(b"HTTP/1.1 503") and third.recv(10) == b""
        for each in (first, second):
            each.sendall(b"\r\n")
            assert answer(each).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("soft", "hard", "allowed", "connections"),
    [(1024, 4096, 4096, 3776), (1024, 1024, 1024, 704), (256, 2**20, 2**16, 4096), (100, 100, 100, 64)],
)
def test_files_are_allowed_as_far_as_the_system_does(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, allowed: int, connections: int
) -> None:
    done: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: done.append(limits))
    assert widen() == connections and done == [(allowed, hard)]


def test_a_system_that_refuses_keeps_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert widen() == 64
