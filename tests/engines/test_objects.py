"""Streams as servers may write them: every line end of the standard, cut anywhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from pass_lsp.engines.remote import wire

ONE, TWO = {"text": "a é→😀"}, {"text": "b", "in": {"n": 1}}
SAID = [json.dumps(each, ensure_ascii=False) for each in (ONE, TWO)]


def read(text: str | bytes, size: int, kind: str = "text/event-stream") -> list[dict[str, Any]]:
    """What `events` finds in `text` that comes in pieces of `size` bytes."""
    data = text if isinstance(text, bytes) else text.encode()

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(data), size):
            yield data[at : at + size]

    async def found() -> list[dict[str, Any]]:
        response = httpx2.Response(200, headers={"content-type": kind}, content=pieces())
        return [event async for event in wire.events(response)]

    return asyncio.run(found())


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "BOM"])
def test_every_line_end_of_the_standard_is_one_wherever_the_stream_is_cut(mark: str, end: str, size: int) -> None:
    lines = [f"data: {SAID[0]}", "", ": keep-alive", "", "event: x", "id: 1", f"data:{SAID[1]}", "", "data: [DONE]", ""]
    assert read(mark + end.join(lines) + end, size) == [ONE, TWO, {}]


@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_an_object_may_be_written_on_several_lines(size: int) -> None:
    long = "".join(f"data: {line}\n" for line in json.dumps(TWO, indent=1).split("\n"))
    broken = f"{long}data: x\n"
    assert read(f"{long}\n{broken}\ndata: {SAID[0]}\n\n", size) == [TWO, ONE]


def test_empty_lines_may_be_missing_between_objects_and_at_the_end() -> None:
    assert read(f"data: {SAID[0]}\ndata: {SAID[1]}", 4) == [ONE, TWO]
    assert read(f"data: {SAID[0]}\ndata: [DONE]", 4) == [ONE, {}]


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/json", "text/event-stream"])
def test_lines_and_events_are_told_by_what_they_are(kind: str) -> None:
    for end in ("\n", "\r\n"):
        assert read(f"{SAID[0]}{end}x{end} {SAID[1]}", 3, kind) == [ONE, TWO]
        assert read(f"data: {SAID[0]}{end}{end}data: [DONE]{end}{end}", 3, kind) == [ONE, {}]


def test_an_error_may_be_a_field_of_its_own() -> None:
    assert read('error: {"code": 500, "message": "boom"}\n\n', 9) == [{"error": {"code": 500, "message": "boom"}}]
