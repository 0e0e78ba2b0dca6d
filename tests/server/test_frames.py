from __future__ import annotations

import random

from pass_lsp.server.frames import Frames, frame


def bodies(*chunks: bytes) -> list[bytes]:
    frames = Frames()
    return [body for chunk in chunks for body in frames.feed(chunk)]


def test_frames_survive_any_cutting() -> None:
    rng = random.Random(3)
    wanted = [bytes(rng.randrange(256) for _ in range(rng.randrange(200))) + b"." for _ in range(200)]
    stream = b"".join(frame(body) for body in wanted)
    cuts = sorted(rng.randrange(len(stream)) for _ in range(300))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert bodies(*chunks) == wanted
    assert bodies(stream) == wanted
    assert bodies(*(stream[i : i + 1] for i in range(len(stream)))) == wanted


def test_header_names_are_read_in_any_case_and_order() -> None:
    assert bodies(b"content-length:2\r\n\r\nab") == [b"ab"]
    assert bodies(b"CONTENT-LENGTH: 2\r\nContent-Type: x; charset=utf-8\r\n\r\nab") == [b"ab"]
    assert bodies(b"X-Y: z\nContent-Length: 2\n\nab") == [b"ab"]


def test_junk_before_a_header_costs_the_junk_only() -> None:
    assert bodies(b"hello\r\nContent-Length: 2\r\n\r\nab" + frame(b"cd")) == [b"ab", b"cd"]
    assert bodies(b"Length: 2\r\n\r\n" + frame(b"cd")) == [b"", b"cd"]
    assert bodies(b"Content-Length: x\r\n\r\n" + frame(b"cd")) == [b"", b"cd"]


def test_endless_junk_does_not_fill_the_memory() -> None:
    frames = Frames()
    for _ in range(100):
        assert list(frames.feed(b"x" * 10_000)) == []
    assert len(frames._buffer) <= 64 * 1024
    assert list(frames.feed(b"\r\n" + frame(b"ab"))) == [b"ab"]
