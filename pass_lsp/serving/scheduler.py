"""One model and many who ask: the engine thread, a bounded queue, and turns.

A turn ends after `QUANTUM` tokens if somebody else waits; the next one goes on with the prompt and
what came so far. That changes no token: greedy decoding knows only the text, and sampling's noise belongs to an
absolute position. Few requests take turns at a time, the others wait, so that the keys and values
of those in turn stay in the engine's pool and a turn costs no second prefill.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pass_lsp.domain import CancelToken, Engine, Generation, SamplingParams, Stop
from pass_lsp.serving.wire import Refused

log = logging.getLogger(__name__)

QUANTUM = 16
IN_TURN = 4
"""Far below `DOCUMENTS`."""
DOCUMENTS = 64
"""Of so many, an engine for many keeps the prefixes."""
STUCK_S = 30.0
"""A forward that takes longer counts as one that never ends; the longest reads one chunk of a prompt."""
_PATIENCE_S = 5.0


@dataclass(eq=False)
class Job:
    """One request. `heard` gets runs of ids, `over` the generation or the failure; both on the engine thread.

    `over` may come before that from another one (`Scheduler.give_up`), and then again. `client` is who asks, as far as
    that is known: a session, or "" for all who name none.
    """

    session: str
    prompt_ids: list[int]
    params: SamplingParams
    heard: Callable[[list[int]], None]
    over: Callable[[Generation | Exception], None]
    stop: Stop | None = None
    end_s: float = float("inf")
    token: CancelToken = field(default_factory=CancelToken)
    so_far: Generation | None = None
    client: str = ""

    def cancel(self) -> None:
        """End it before the next forward; from any thread."""
        self.token.cancel()


class Scheduler:
    """Owns the engine. `submit` may be called from any thread."""

    def __init__(self, max_queue: int = 16) -> None:
        self.max_queue = max_queue
        self.engine: Engine | None = None
        self.beat_s = time.monotonic()
        self._wake = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._turns: deque[Job] = deque()
        self._running: Job | None = None
        self._closed = False
        self._thread: threading.Thread | None = None

    def start(self, load: Callable[[], Engine], loaded: Callable[[Exception | None], None]) -> None:
        """Load the engine on its thread, say so (None, or the failure), and serve."""
        self._thread = threading.Thread(target=self._main, args=(load, loaded), name="engine", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a request. Raises `Refused` where the queue is full of others', or the model is not there yet."""
        with self._wake:
            if self._closed or self.engine is None:
                raise Refused(503, "The model is being loaded; ask again shortly.", retry_s=1)
            if self.load > self.max_queue:
                self._make_room(job)
            self._waiting.append(job)
            self._wake.notify()

    def _make_room(self, job: Job) -> None:
        """Refuse the last request of whoever has most in the queue, so that nobody fills it, or else this one."""
        full = Refused(429, "The queue is full; ask again shortly.", retry_s=1)
        has = Counter(each.client for each in self._jobs())
        waiting = [each for each in reversed(self._waiting) if not each.token.cancelled]
        most = max(waiting, key=lambda each: has[each.client], default=job)
        if has[most.client] <= has[job.client] + 1:
            raise full
        self._waiting.remove(most)
        most.over(full)

    @property
    def load(self) -> int:
        """Requests that wait, take turns or run and that nobody has cancelled."""
        with self._wake:
            return len(self._jobs())

    def _jobs(self) -> list[Job]:
        """Those that nobody has cancelled."""
        jobs = (*self._waiting, *self._turns, *([self._running] if self._running else []))
        return [job for job in jobs if not job.token.cancelled]

    @property
    def alive(self) -> bool:
        """Whether the thread is there and has begun a forward lately, if it has anything to do."""
        stuck = self._running is not None and time.monotonic() - self.beat_s > STUCK_S
        return self._thread is not None and self._thread.is_alive() and not stuck

    def give_up(self) -> None:
        """As the process ends: tell everyone whose answer is not over so, whatever the forward that runs takes."""
        for job in self._ended():
            job.over(Refused(503, "The engine ends; ask again shortly.", retry_s=1))

    def close(self) -> bool:
        """Cancel everything and end the thread within one forward, and say whether it has; a load is not waited for."""
        self._ended()
        if self._thread is not None:
            self._thread.join(_PATIENCE_S if self.engine is not None else 0)
        return self._thread is None or not self._thread.is_alive()

    def _ended(self) -> list[Job]:
        """Take no more requests, and cancel those that there are."""
        with self._wake:
            self._closed = True
            jobs = self._jobs()
            for job in jobs:
                job.cancel()
            self._wake.notify()
        return jobs

    # --- the engine thread -----------------------------------------------------------

    def _main(self, load: Callable[[], Engine], loaded: Callable[[Exception | None], None]) -> None:
        try:
            engine = load()
        except Exception as error:
            loaded(error)
            return
        with self._wake:
            self.engine = engine
        loaded(None)
        while (job := self._next()) is not None:
            self._turn(engine, job)

    def _next(self) -> Job | None:
        with self._wake:
            self._running = None
            while not (self._waiting or self._turns):
                if self._closed:
                    return None
                self._wake.wait()
            self._admit()
            self._running = self._turns.popleft()
            self.beat_s = time.monotonic()
            return self._running

    def _admit(self) -> None:
        """Let those who wait into the turns: of each session one at a time; who has fewest there goes first."""
        sessions, has = {job.session for job in self._turns}, Counter(job.client for job in self._turns)
        # Cancelled ones go through as well, so that whoever waits for them hears of it.
        while len(self._turns) < IN_TURN and (may := [it for it in self._waiting if it.session not in sessions]):
            job = min(may, key=lambda each: has[each.client])
            self._waiting.remove(job)
            self._turns.append(job)
            sessions.add(job.session)
            has[job.client] += 1

    def _turn(self, engine: Engine, job: Job) -> None:
        turn = _Turn(job, self)
        before = job.so_far or Generation([], "length")
        if job.token.cancelled:
            job.over(replace(before, finish="cancelled"))
            return
        params = replace(job.params, max_new_tokens=job.params.max_new_tokens - len(before.token_ids))
        try:
            prompt = [*job.prompt_ids, *before.token_ids]
            made = engine.generate(prompt, params, cancel=turn, on_commit=job.heard, stop=turn.stop)
        except Exception as error:
            log.debug("A request failed.", exc_info=True)
            job.over(error)
            return
        job.so_far = _joined(before, made, first=job.so_far is None)
        if turn.ends == "turn" and not job.token.cancelled:
            with self._wake:
                self._turns.append(job)
            return
        if turn.ends == "time" and not job.token.cancelled:
            job.so_far = replace(job.so_far, finish="length")
        job.over(job.so_far)

    def others(self, job: Job) -> bool:
        """Whether somebody could have the next turn."""
        with self._wake:
            room = len(self._turns) + 1 < IN_TURN
            return bool(self._turns) or (room and any(each.session != job.session for each in self._waiting))


class _Turn(CancelToken):
    """One turn of a job, as the engine sees it: a token that it looks at before every forward, and a rule that ends it.

    It ends with the job, with the job's time, or after `QUANTUM` tokens while others wait. Each look is a heartbeat.
    """

    def __init__(self, job: Job, scheduler: Scheduler) -> None:
        super().__init__()
        self._job, self._scheduler = job, scheduler
        self._before = list(job.so_far.token_ids) if job.so_far else []
        self.ends = ""

    @property
    def cancelled(self) -> bool:
        """Whether the job was given up, or its time is over: a long prompt is read in several forwards."""
        return self._job.token.cancelled or self._late()

    def stop(self, token_ids: list[int]) -> int | None:
        """A rule as in `domain.Stop`."""
        if self._job.stop is not None:
            keep = self._job.stop([*self._before, *token_ids])
            if keep is not None:
                return max(keep - len(self._before), 0)
        if not self._late() and self._over(token_ids) and self._scheduler.others(self._job):
            self.ends = "turn"
        return len(token_ids) if self.ends else None

    def _late(self) -> bool:
        self._scheduler.beat_s = now = time.monotonic()
        if now > self._job.end_s:
            self.ends = "time"
        return self.ends == "time"

    def _over(self, token_ids: list[int]) -> bool:
        left = self._job.params.max_new_tokens - len(self._before) - len(token_ids)
        return len(token_ids) >= QUANTUM and left > 0


def _joined(before: Generation, made: Generation, *, first: bool) -> Generation:
    """Two turns as one generation; the prompt's figures are those of the first."""
    return replace(
        made,
        token_ids=[*before.token_ids, *made.token_ids],
        forwards=before.forwards + made.forwards,
        drafted=before.drafted + made.drafted,
        accepted=before.accepted + made.accepted,
        cached_tokens=made.cached_tokens if first else before.cached_tokens,
        prefilled_tokens=made.prefilled_tokens if first else before.prefilled_tokens,
        steps=(*before.steps, *made.steps),
        log_probs=(*before.log_probs, *made.log_probs),
    )
