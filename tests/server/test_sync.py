"""The server's text is the client's, whatever is typed and however positions are counted."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import re
import socket
from typing import Any

import pytest

from pass_lsp.errors import ConfigError
from pass_lsp.server.protocol import Server
from pass_lsp.server.transport import serve_tcp
from tests.server.conftest import Start, port_in
from tests.server.rawlsp import URI, RawClient
from tests.server.test_completion import check_burst

PIECES = ["a", "b ", "\n", "\r\n", "\r", "\t", "é", "\U0001f600", "\x0c", "\x0b", "\u2028", "\x85", "中", "x\ny"]


class Buffer:
    """A text as a client holds it, slow and obvious."""

    def __init__(self, encoding: str, text: str) -> None:
        self.encoding, self.text = encoding, text

    def units(self, text: str) -> int:
        if self.encoding == "utf-32":
            return len(text)
        name = "utf-16-le" if self.encoding == "utf-16" else "utf-8"
        return len(text.encode(name)) // (2 if self.encoding == "utf-16" else 1)

    def position(self, offset: int) -> dict[str, int]:
        ends = [match.end() for match in re.finditer(r"\r\n|\r|\n", self.text) if match.end() <= offset]
        start = ends[-1] if ends else 0
        return {"line": len(ends), "character": self.units(self.text[start:offset])}

    def places(self) -> list[int]:
        """Offsets that have a position: not between `\\r` and `\\n`."""
        return [i for i in range(len(self.text) + 1) if self.text[max(i - 1, 0) : i + 1] != "\r\n" or i == 0]

    def edit(self, rng: random.Random) -> dict[str, Any]:
        """Change the text at random; the LSP change that says so."""
        if rng.random() < 0.02:
            self.text = "".join(rng.choices(PIECES, k=20))
            return {"text": self.text}
        places = self.places()
        first = rng.randrange(len(places))
        last = min(first + rng.choice([0, 0, 1, 2, 6]), len(places) - 1)
        start, end = places[first], places[last]
        text = "".join(rng.choices(PIECES, k=rng.choice([0, 1, 1, 3])))
        there = {"start": self.position(start), "end": self.position(end)}
        if rng.random() < 0.1 and end == len(self.text):
            there["end"] = {"line": there["end"]["line"] + rng.randrange(2), "character": 2**31 - 1}
        self.text = self.text[:start] + text + self.text[end:]
        return {"range": there, "text": text}


def check_text(client: RawClient, buffer: Buffer) -> None:
    client.notify("workspace/didChangeConfiguration", {"settings": {}})  # so that nothing is answered from memory
    seen = json.loads(client.complete(0, 0)["items"][0]["insertText"])
    assert seen["sha"] == hashlib.sha256(buffer.text.encode()).hexdigest(), (seen["text"], buffer.text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_ten_thousand_random_edits_keep_both_texts_equal(start: Start, encoding: str) -> None:
    rng = random.Random(5)
    client = start()
    answer = client.initialize("utf-7", encoding, "utf-16")
    assert answer["result"]["capabilities"]["positionEncoding"] == encoding
    client.ready()
    buffer = Buffer(encoding, "def f():\r\n\treturn '\U0001f600'\n")
    client.open(buffer.text)
    for version in range(2, 2250):
        client.change(version, *(buffer.edit(rng) for _ in range(rng.choice([1, 1, 1, 3]))))
        if version % 9 == 0:
            check_text(client, buffer)
    check_text(client, buffer)
    client.close()


def test_tcp_serves_one_client_in_order(start_tcp: Start, log: Any) -> None:
    client = start_tcp()
    client.initialize("utf-16")
    client.ready()
    check_burst(client)
    second = RawClient.connect(port_in(log))
    second.until(lambda: second.ended)
    second.clean_up()
    client.open("still here", URI)
    assert len(client.complete()["items"]) == 1
    client.close()


@pytest.mark.skipif(os.name == "nt", reason="a shell that closes descriptors")
def test_tcp_needs_no_stdin_and_no_stdout(start_tcp: Start) -> None:
    client = start_tcp("sh", "-c", 'exec "$@" <&- >&-', "sh")
    client.initialize()
    client.ready()
    client.close()


def test_an_address_in_use_is_said() -> None:
    async def main(port: int) -> None:
        with pytest.raises(ConfigError, match="Cannot listen on"):
            await serve_tcp(Server("x", "0"), "127.0.0.1", port)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        asyncio.run(main(taken.getsockname()[1]))


def test_an_address_that_is_none_is_said() -> None:
    with pytest.raises(ConfigError, match=r"Cannot listen on a\.\.b:80"):
        asyncio.run(serve_tcp(Server("x", "0"), "a..b", 80))


def test_tcp_ends_although_its_client_stays(start_tcp: Start, log: Any) -> None:
    client = start_tcp()
    client.initialize()
    client.ready()
    client.call("shutdown")
    client.notify("exit")
    assert client.exit_code(5) == 0
    assert "Traceback" not in log.read_text()


def test_tcp_ends_with_its_client(start_tcp: Start) -> None:
    client = start_tcp()
    client.initialize()
    client.ready()
    client.open("# do: slow\n", URI)
    client.send(client.inline())
    client.disconnect()
    assert client.exit_code(5) == 1
