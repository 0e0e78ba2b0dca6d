"""The engine thread: the only one that touches model, KV cache and syntax trees.

The event loop submits jobs and gets asyncio futures; what crosses is immutable, or the
flag of a `CancelToken`. Knows nothing of LSP.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pass_lsp.domain import CancelToken, Engine
from pass_lsp.server.failures import JobFailed, sentence, where

log = logging.getLogger(__name__)

Run = Callable[[Engine, CancelToken], Any]


@dataclass(eq=False, slots=True)
class _Job:
    key: str
    run: Run
    answer: asyncio.Future[Any]
    token: CancelToken = field(default_factory=CancelToken)


class Worker:
    """Runs jobs one at a time, in order, and of one document only the newest.

    All methods are called on the event loop, except those that say otherwise.
    """

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._waiting: dict[str, _Job] = {}
        self._running: _Job | None = None
        self._closed = False
        self._thread: threading.Thread | None = None

    def start(self, load: Callable[[], Engine], loaded: Callable[[BaseException | None], None]) -> None:
        """Load the engine on its thread; `loaded(None or the failure)` is called on the event loop."""
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._main, args=(load, loaded, loop), name="engine", daemon=True)
        self._thread.start()

    def submit(self, key: str, run: Run) -> asyncio.Future[Any]:
        """Queue `run` for document `key`; an older job of it is cancelled and its answer is None.

        The future raises `JobFailed` if the job raises. Cancelling the future cancels the job.
        """
        job = _Job(key, run, asyncio.get_running_loop().create_future())
        job.answer.add_done_callback(lambda answer: job.token.cancel() if answer.cancelled() else None)
        with self._wake:
            self._supersede(key)
            self._waiting[key] = job
            self._wake.notify()
        return job.answer

    def drop(self, key: str) -> None:
        """Supersede whatever waits or runs for document `key`."""
        with self._wake:
            self._supersede(key)

    def close(self, patience_s: float) -> bool:
        """Cancel everything and wait for the thread; whether it ended. Any thread may call this."""
        with self._wake:
            self._closed = True
            for job in (self._running, *self._waiting.values()):
                if job is not None:
                    job.token.cancel()
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(patience_s)
        return self._thread is None or not self._thread.is_alive()

    def _supersede(self, key: str) -> None:
        running = self._running if self._running and self._running.key == key else None
        for job in (self._waiting.pop(key, None), running):
            if job is not None:
                job.token.cancel()
                _answer(job, None, None)

    # --- on the engine thread -----------------------------------------------

    def _main(self, load: Callable[[], Engine], loaded: Callable[[Any], None], loop: asyncio.AbstractEventLoop) -> None:
        engine, failure = _caught(load)
        post(loop, loaded, failure)
        while failure is None and (job := self._next()) is not None:
            result, error = _caught(job.run, engine, job.token)
            if error is not None:
                log.error("A suggestion failed (%s).", where(error))
                log.debug("%s", sentence(error))
            with self._wake:
                self._running = None
            post(loop, _answer, job, result, JobFailed(sentence(error)) if error else None)
            del job, result, error  # an error holds its frames, and they hold tensors

    def _next(self) -> _Job | None:
        with self._wake:
            while not self._closed:
                while self._waiting:
                    self._running = self._waiting.pop(next(iter(self._waiting)))
                    if not self._running.token.cancelled:
                        return self._running
                self._running = None
                self._wake.wait()
        return None


def _answer(job: _Job, result: Any, error: Exception | None) -> None:
    if job.answer.done():
        return
    if error is not None:
        job.answer.set_exception(error)
    else:
        job.answer.set_result(result)


def _caught(call: Callable[..., Any], *arguments: Any) -> tuple[Any, BaseException | None]:
    try:
        return call(*arguments), None
    except BaseException as error:  # even SystemExit from a library must not end the engine thread unheard
        return None, error


def post(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *arguments: Any) -> None:
    """Have `call` run on the event loop, from any thread; lost if the loop has ended."""
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for this any more
        loop.call_soon_threadsafe(call, *arguments)
