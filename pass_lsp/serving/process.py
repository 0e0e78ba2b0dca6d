"""`pass-lsp engine`: one service on an address or a socket, until a signal, or until nobody asks or can ask."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import uvicorn
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from pass_lsp.domain import Engine
from pass_lsp.errors import ConfigError
from pass_lsp.serving.doorway import Doorway, widen
from pass_lsp.serving.service import Limits, Service

log = logging.getLogger(__name__)

_LOOK_S = 0.2
_GRACE_S = 2
"""How long answers may go on after a signal. A second later uvicorn ends who does not say what he wants."""
_BACKLOG = 128
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""Of connections whose other end is gone without a word, in seconds and probes: such a client's decode ends too."""


def run(
    listener: socket.socket,
    limits: Limits,
    load: Callable[[], Engine],
    *,
    idle_minutes: float = 0,
    where: str = "",
    there: Callable[[], bool] = lambda: True,
) -> bool:
    """Serve on `listener`; returns after a signal, and says whether the engine's thread has ended by then.

    It returns too after `idle_minutes` (0: never) without a request, and when `there` says that nobody finds the
    listener any more. Raises what loading the model raised.
    """
    service = Service(limits)
    failures: list[Exception] = []
    Doorway.most = widen()
    for name in ("uvicorn.error", "asyncio"):
        theirs = logging.getLogger(name)
        theirs.addFilter(_shortly)
        if not theirs.hasHandlers():  # of ours their lines get a time
            theirs.handlers[:] = logging.getLogger("pass_lsp").handlers
    server = _Server(config_of(service), service)

    def loaded(error: Exception | None) -> None:
        if error is not None:
            failures.append(error)
            server.should_exit = True
        else:
            service.used_s = time.monotonic()
            log.info("The model is loaded.")

    log.info("Listening on %s.", where)
    service.start(load, loaded)
    asyncio.run(_served(server, listener, _watch(server, service, idle_minutes * 60, there)))
    ended = service.scheduler.close()
    if failures:
        raise failures[0]
    return ended


def _shortly(record: logging.LogRecord) -> bool:
    """What they say of a client that speaks no HTTP is a line, and no traceback of theirs for each."""
    if not log.isEnabledFor(logging.DEBUG):
        record.exc_info = record.exc_text = None
    return True


def config_of(service: Service) -> uvicorn.Config:
    """How uvicorn serves it."""
    return uvicorn.Config(
        app_of(service),
        http=Doorway,
        backlog=_BACKLOG,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S + 1,
        timeout_keep_alive=75,
    )


def app_of(service: Service) -> ASGIApp:
    """The service for an ASGI server."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # The process ends, and the other end neither says what it wants nor takes what it gets.
        with contextlib.suppress(asyncio.CancelledError):
            response = await service(Request(scope, receive))
            await response(scope, receive, send)

    return app


async def _served(server: uvicorn.Server, listener: socket.socket, watch: Coroutine[None, None, None]) -> None:
    watching = asyncio.ensure_future(watch)
    await server.serve(sockets=[listener])
    watching.cancel()


async def _watch(server: uvicorn.Server, service: Service, idle_s: float, there: Callable[[], bool]) -> None:
    def idle() -> bool:
        return service.ready and not service.scheduler.load and time.monotonic() - service.used_s >= idle_s

    while (found := there()) and not (idle_s and idle()):
        await asyncio.sleep(_LOOK_S)
    why = "Nobody has asked for a while" if found else "The socket is gone, so that nobody can ask"
    log.info("%s; the engine ends.", why)
    server.should_exit = True


class _Server(uvicorn.Server):
    """Ends with a signal, and that is a clean end of code 0: uvicorn's own raises it again.

    Answers that are not over in time end with an error of ours; uvicorn's own way is a traceback for each.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        late = asyncio.get_running_loop().call_later(_GRACE_S, self._service.scheduler.give_up)
        await super().shutdown(sockets)
        late.cancel()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        def end(*_: object) -> None:
            self.should_exit = True

        # Not by the event loop, which takes none on Windows.
        before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


# --- where to listen -------------------------------------------------------------------


def tcp(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `ConfigError`."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        if os.name != "nt":  # where it means that two may listen on one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):  # by the system
                listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        said = getattr(error, "strerror", None) or error
        raise ConfigError(f"Cannot listen on {host}:{port} ({said}); choose another --host or --port.") from error
    return listener


@contextlib.contextmanager
def unix(path: Path) -> Iterator[tuple[socket.socket, Callable[[], bool]]]:
    """A listening socket for this user alone, removed afterwards, and whether it is at `path` still.

    Raises `ConfigError`.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise ConfigError("Python has no Unix sockets on this system; give --host and --port instead of --uds.")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _stale(path):
            path.unlink()
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(_BACKLOG)
        ours = path.stat().st_ino
    except OSError as error:
        said = error.strerror or error
        raise ConfigError(f"Cannot listen on the socket {path} ({said}); choose another --uds.") from error

    def there() -> bool:
        try:
            return path.stat().st_ino == ours
        except OSError:
            return False

    try:
        yield listener, there
    finally:
        with contextlib.suppress(OSError):
            if there():
                path.unlink()


def _stale(path: Path) -> bool:
    """Whether a socket lies there that nobody listens on. Raises `OSError` if anything else does."""
    if not path.exists():
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        if not path.is_socket():
            raise OSError(0, "something that is no socket lies there")
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
    raise OSError(0, "another engine listens there")
