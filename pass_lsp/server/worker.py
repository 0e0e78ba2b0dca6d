"""The engine thread: the only one that touches model, KV cache and syntax trees.

The event loop submits jobs and gets asyncio futures; what crosses is immutable, or the
flag of a `CancelToken`. Work ahead of the user runs only while nobody waits, and is
dropped the moment that somebody does. Knows nothing of LSP.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pass_lsp.domain import CancelToken, Engine
from pass_lsp.errors import EngineError
from pass_lsp.heap import give_back
from pass_lsp.server.failures import job_failed, sentence, where
from pass_lsp.server.pause import Pause

log = logging.getLogger(__name__)

Run = Callable[[Engine, CancelToken], Any]

QUIET_S = 10.0
"""Nobody types: time for what no key should wait for."""


@dataclass(eq=False, slots=True)
class _Job:
    key: str
    run: Run
    answer: asyncio.Future[Any]
    ahead: bool
    token: Pause = field(default_factory=Pause)
    cancelled_s: float = 0.0

    def cancel(self) -> None:
        self.cancelled_s = self.cancelled_s or time.perf_counter()
        self.token.cancel()

    def stopped_after_s(self) -> float:
        """Seconds from the first word that it was to stop until it did; 0 without one."""
        return self.token.stopped_after_s or (time.perf_counter() - self.cancelled_s if self.cancelled_s else 0.0)


class Worker:
    """Runs jobs one at a time: those that somebody waits for in order, then work ahead; of one document the newest.

    All methods are called on the event loop, except those that say otherwise. `idle_after_ms`
    are the times from a cancel to the end of what it cancelled, or to its pause, the last few hundred.
    `when_quiet` runs on the engine thread once nobody has wanted anything for `quiet_s` seconds.
    """

    def __init__(self, quiet_s: float = QUIET_S, when_quiet: Callable[[], None] = give_back) -> None:
        self._quiet_s, self._when_quiet = quiet_s, when_quiet
        self.idle_after_ms: deque[float] = deque(maxlen=512)
        self._wake = threading.Condition()
        self._waiting: dict[str, _Job] = {}
        self._ahead: dict[str, _Job] = {}
        self._running: _Job | None = None
        self._closed = False
        self._thread: threading.Thread | None = None

    def start(self, load: Callable[[], Engine], loaded: Callable[[BaseException | None], None]) -> None:
        """Load the engine on its thread; `loaded(None or the failure)` is called on the event loop."""
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._main, args=(load, loaded, loop), name="engine", daemon=True)
        self._thread.start()

    def submit(self, key: str, run: Run, *, ahead: bool = False) -> asyncio.Future[Any]:
        """Queue `run` for document `key`; an older job of it is cancelled and its answer is None.

        Work `ahead` gives way to any job that is not, and cancels only its like. The future
        raises `JobFailed` if the job raises. Cancelling the future cancels the job.
        """
        job = _Job(key, run, asyncio.get_running_loop().create_future(), ahead)
        job.answer.add_done_callback(lambda answer: job.cancel() if answer.cancelled() else None)
        with self._wake:
            self._end(job for job in self._jobs() if job.key == key and (job.ahead or not ahead))
            if not ahead and self._running is not None and self._running.ahead:
                self._end([self._running])
            (self._ahead if ahead else self._waiting)[key] = job
            self._wake.notify()
        return job.answer

    def drop(self, key: str) -> None:
        """Supersede whatever waits or runs for document `key`."""
        with self._wake:
            self._end(job for job in self._jobs() if job.key == key)

    def set_ahead(self, answer: asyncio.Future[Any], ahead: bool) -> None:
        """From now on somebody waits for the job of this `answer`, or nobody does: then it gives way to who waits.

        A pause of it ends.
        """
        here, there = (self._waiting, self._ahead) if ahead else (self._ahead, self._waiting)
        with self._wake:
            for job in (job for job in self._jobs() if job.answer is answer):
                job.ahead = ahead
                job.token.resume()
                if here.get(job.key) is job:
                    self._end(other for other in (there.get(job.key),) if other is not None)
                    there[job.key] = here.pop(job.key)
                elif ahead and self._waiting and job is self._running:
                    self._end([job])

    def pause(self, answer: asyncio.Future[Any], limit_s: float) -> None:
        """Nobody waits for the job of this `answer` any more. It stops before its next forward and ends `limit_s`
        seconds later, unless `set_ahead` makes it go on.
        """
        self.set_ahead(answer, True)
        with self._wake:
            if self._running is not None and self._running.answer is answer:
                self._running.token.pause(limit_s)

    def close(self, patience_s: float) -> bool:
        """Cancel everything and wait for the thread; whether it ended. Any thread may call this."""
        with self._wake:
            self._closed = True
            for job in self._jobs():
                job.cancel()
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(patience_s)
        return self._thread is None or not self._thread.is_alive()

    def _jobs(self) -> list[_Job]:
        running = [self._running] if self._running else []
        return [*running, *self._waiting.values(), *self._ahead.values()]

    def _end(self, jobs: Iterable[_Job]) -> None:
        for job in list(jobs):
            for queue in (self._waiting, self._ahead):
                if queue.get(job.key) is job:
                    del queue[job.key]
            job.cancel()
            _answer(job, None, None)

    # --- on the engine thread -----------------------------------------------

    def _main(self, load: Callable[[], Engine], loaded: Callable[[Any], None], loop: asyncio.AbstractEventLoop) -> None:
        engine, failure = _caught(load)
        post(loop, loaded, failure)
        while failure is None and (job := self._next()) is not None:
            result, error = _caught(job.run, engine, job.token)
            if isinstance(error, EngineError):
                log.info("%s", error)
            elif error is not None:
                log.error("A suggestion failed (%s).", where(error))
                log.debug("%s", sentence(error))
            with self._wake:
                self._running = None
                if stopped_after_s := job.stopped_after_s():
                    self.idle_after_ms.append(stopped_after_s * 1000)
            post(loop, _answer, job, result, job_failed(error) if error else None)
            del job, result, error  # an error holds its frames, and they hold tensors

    def _next(self) -> _Job | None:
        """The next job, or None when the worker is closed."""
        with self._wake:
            quiet = not self._wake.wait_for(self._take, self._quiet_s)
        if quiet:
            self._when_quiet()
            with self._wake:
                self._wake.wait_for(self._take)
        return self._running

    def _take(self) -> bool:
        """Make the first job that is still wanted the running one; whether there is nothing to wait for."""
        self._running = None
        while not self._closed and (queue := self._waiting or self._ahead):
            job = queue.pop(next(iter(queue)))
            if not job.token.cancelled:
                self._running = job
                return True
        return self._closed


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
