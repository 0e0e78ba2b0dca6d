"""Bytes between the editor and the protocol: stdio, and TCP with one client for debugging.

Stdio takes the standard streams away from everybody else first, in native code as well:
whatever prints goes to stderr, and only frames reach the editor.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable

from pass_lsp.errors import ConfigError
from pass_lsp.server.frames import Frames
from pass_lsp.server.protocol import Server
from pass_lsp.server.watch import exit_after

log = logging.getLogger(__name__)

GRACE_S = 3.0
_CHUNK = 64 * 1024
_CHUNKS_AHEAD = 16


async def serve_stdio(server: Server, stdin: int, stdout: int) -> int:
    """Serve on two file descriptors until the end; the exit code."""
    loop = asyncio.get_running_loop()
    room = threading.Semaphore(_CHUNKS_AHEAD)
    frames = Frames()
    server.protocol.connect(_writer(server, stdout))

    def take(data: bytes) -> None:
        room.release()
        _feed(server, frames, data)

    def read() -> None:
        with contextlib.suppress(RuntimeError, OSError):  # the loop is closed, or the pipe is
            while data := os.read(stdin, _CHUNK):
                room.acquire()
                loop.call_soon_threadsafe(take, data)
        _hang_up(server, loop)

    # Raw reads in a thread of our own: a buffered reader holds a lock that the interpreter
    # cannot get when it ends, and a pool would share its threads with other work.
    threading.Thread(target=read, name="stdin", daemon=True).start()
    return await asyncio.wrap_future(server.finished)


async def serve_tcp(server: Server, host: str, port: int) -> int:
    """Serve the first client that connects until it leaves; the exit code."""
    busy = False

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal busy
        if busy:
            log.warning("A second client is turned away; one server serves one editor.")
            writer.close()
            return
        busy = True
        frames = Frames()
        server.protocol.connect(writer.write)
        with contextlib.suppress(OSError, asyncio.CancelledError):  # cancelled: the server has ended before its client
            while data := await reader.read(_CHUNK):
                _feed(server, frames, data)
                await writer.drain()  # a client that does not read is not read from
        writer.close()
        server.finish(server.protocol.exit_code)

    try:
        listener = await asyncio.start_server(client, host, port)
    except (OSError, OverflowError, UnicodeError) as error:
        raise ConfigError(f"Cannot listen on {host}:{port} ({error}); choose another address.") from error
    # Not `async with`: from Python 3.12 on its end waits for a client that may be waiting for ours.
    log.info("Listening on %s:%d.", *listener.sockets[0].getsockname()[:2])
    try:
        return await asyncio.wrap_future(server.finished)
    finally:
        listener.close()


def take_standard_streams() -> tuple[int, int]:
    """Private copies of stdin and stdout; the public ones become the null device and stderr."""
    stdin, stdout = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.stdout.flush()
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return stdin, stdout


def _feed(server: Server, frames: Frames, data: bytes) -> None:
    for body in frames.feed(data):
        server.protocol.receive(body)


def _hang_up(server: Server, loop: asyncio.AbstractEventLoop) -> None:
    code = server.protocol.exit_code
    exit_after(GRACE_S, code)  # the loop may be stuck in a write that nobody reads
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(lambda: server.finish(server.protocol.exit_code))


def _writer(server: Server, stdout: int) -> Callable[[bytes], None]:
    def write(data: bytes) -> None:
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(stdout, left) :]
        except OSError:
            server.finish(server.protocol.exit_code)

    return write
