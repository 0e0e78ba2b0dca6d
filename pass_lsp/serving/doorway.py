"""How long a connection may take to say what it wants, in how many bytes, and how many there may be at once.

uvicorn bounds none of it: connections that never end the head of a request use up the process's files,
and then nobody gets in, health checks included; with httptools (which Ray brings) its memory too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any, ClassVar

from uvicorn.protocols.http.auto import AutoHTTPProtocol

log = logging.getLogger(__name__)

_MOST = 4096
_FILES = 2**16
_SPARE = 320
"""Files that are no connections of ours: the model, the log, two rounds of callers that are being turned away."""
_LEAST = 64
_LONGEST_HEAD = 2**16
"""Bytes, but for what came at once."""
_SAY_EVERY_S = 60.0
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Doorway(AutoHTTPProtocol):  # type: ignore[reportGeneralTypeIssues]  # of two classes the one that is installed
    """uvicorn's protocol with these bounds. A body's time is the service's matter, an answer's the scheduler's."""

    head_s: ClassVar[float] = 10.0
    most: ClassVar[int] = _MOST
    said_s: ClassVar[float] = -_SAY_EVERY_S

    cycle: Any
    loop: asyncio.AbstractEventLoop
    connections: set[Any]
    transport: asyncio.Transport
    _head: asyncio.TimerHandle | None = None
    _bytes: int = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in, or say that there are too many."""
        super().connection_made(transport)
        if len(self.connections) <= self.most:
            self._await_head()
            return
        if time.monotonic() - Doorway.said_s >= _SAY_EVERY_S:
            Doorway.said_s = time.monotonic()
            log.warning("There are %d connections; further ones are refused.", self.most)
        self.transport.write(_FULL)
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._no_longer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; the next head's time begins with its first byte, and further bytes do not prolong it."""
        before = self.cycle
        rest = before is not None and before.more_body  # of a request that was answered before it was read
        super().data_received(data)
        if self.cycle is not before:
            self._no_longer()
            self._bytes = 0
        elif self._idle:
            self._bytes += 0 if rest else len(data)
            if self._bytes > _LONGEST_HEAD and not self.transport.is_closing():
                self.transport.write(_TOO_LONG)
                self.transport.close()
            elif self._head is None:
                self._await_head()

    @property
    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _await_head(self) -> None:
        self._head = self.loop.call_later(self.head_s, self._late)

    def _no_longer(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _late(self) -> None:
        self._head = None
        if self._idle:
            self.transport.close()


def widen() -> int:
    """Allow the process as many files as it may have; how many connections that is."""
    try:
        import resource
    except ImportError:  # Windows has no such bound
        return _MOST
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    with contextlib.suppress(OSError, ValueError):  # macOS has a bound below the one that it tells
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
        soft = max(soft, wanted)
    return max(_LEAST, min(_MOST, soft - _SPARE))
