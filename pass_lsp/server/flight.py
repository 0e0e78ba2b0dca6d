"""What a client asked, and the decode that may answer it.

An `Ask` is one request: it is answered once. A `Flight` is one decode: it may outlive
the request that began it, and answer a later one that types along what it says.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pass_lsp.config import Settings
from pass_lsp.documents.document import Document
from pass_lsp.documents.workspace import Workspace
from pass_lsp.domain import CancelToken, Completion, Engine, Generation
from pass_lsp.reasons import Reason
from pass_lsp.server.failures import JobFailed
from pass_lsp.server.flow import Flow
from pass_lsp.server.worker import post
from pass_lsp.suggestions import Recalled, agree, suggestion_at

Closed = Callable[[bool], Completion | None]
"""Makes a completion of what is decoded so far and closed; told whether of whole lines alone."""
Shape = Callable[[Sequence[Completion]], Any]
"""Makes the client's answer of completions."""
_NEVER = (math.inf, math.inf)
"""When whole lines are due, and when any closed part is."""


@dataclass(eq=False, slots=True)
class Ask:
    """One request, as of its dispatch. `arrived_s` is on the clock of `time.monotonic`."""

    key: str
    document: Document
    offset: int
    settings: Settings
    manual: bool
    shape: Shape
    answer: asyncio.Future[Any]
    arrived_s: float = field(default_factory=time.monotonic)
    timers: list[asyncio.TimerHandle] = field(default_factory=list)

    def within(self) -> Settings:
        """Its settings, with what is left of the deadlines now."""
        waited_ms = int((time.monotonic() - self.arrived_s) * 1000)
        total = self.settings.manual_deadline_ms if self.manual else self.settings.deadline_ms
        latest = self.settings.manual_deadline_ms
        left = [max(limit - waited_ms, 1) if limit else 0 for limit in (total, latest)]
        return replace(self.settings, deadline_ms=left[0], manual_deadline_ms=left[1])

    def first_text_s(self) -> float:
        """When whole lines become the answer although more may follow."""
        limit = 0 if self.manual else self.settings.first_text_ms
        return self.arrived_s + limit / 1000 if limit else math.inf

    def deadline_s(self) -> float:
        """When the best closed part becomes the answer of a decode that has no deadline for it."""
        limit = self.settings.deadline_ms
        return self.arrived_s + limit / 1000 if limit else math.inf

    def wants_more_than(self, recalled: Recalled) -> bool:
        """Whether the model is asked although memory answers: by hand, for alternatives, for what was hidden, or for
        the rest of what was cut off.
        """
        more = self.settings.alternatives > 1 or not recalled.whole
        return self.manual and ((len(recalled.completions) == 1 and more) or recalled.reason is Reason.UNSURE)

    def refuse(self, failed: JobFailed) -> None:
        """Answer with an error, or with nothing where an engine elsewhere is away and nothing is wrong here."""
        if failed.reason is Reason.ENGINE_AWAY:
            self.answer.set_result(self.shape(())[0])
        else:
            self.answer.set_exception(failed)

    def no_more_timers(self) -> None:
        """Whatever was to happen later does not."""
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()


@dataclass(frozen=True, slots=True)
class Landing:
    """What a flight brought: completions, the best first, or the reason for none; and figures of how."""

    completions: tuple[Completion, ...] = ()
    reason: Reason | None = None
    generation: Generation | None = None
    taken_ms: Mapping[str, float] = field(default_factory=dict)

    def moved(self, by: int) -> Landing:
        """The same for a place that lies `by` characters further on by now: the text above it was edited."""
        return replace(
            self, completions=tuple(replace(it, start=it.start + by, end=it.end + by) for it in self.completions)
        )


class Flight:
    """One decode for a place. `ask` waits for it, if anybody does; `first` is an answer that is known already.

    `after_accept` counts the steps that it is ahead of the user, `diverged` says that the user types something else.
    `least_log_prob` is how sure its answer must be to be shown (None: asked for by hand, or nobody wants to know).
    `early` hears on the event loop what can be shown before it lands. `follow` belongs there too; the engine
    thread runs `run` and `_heard`. Across go only the text so far, the text typed since, times, and the cancel flag.
    """

    def __init__(self, key: str, document: Document, offset: int, settings: Settings, ask: Ask | None = None) -> None:
        self.key, self.document, self.offset, self.settings = key, document, offset, settings
        self.ask, self.by_hand = ask, ask is not None and ask.manual
        self.first: Completion | None = None
        self.least_log_prob: float | None = None
        self.workspace = Workspace()
        self.early: Callable[[Flight, Landing], None] = _nobody
        self.answer: asyncio.Future[Any] | None = None
        self.began_s = 0.0
        self.after_accept = 0
        self.diverged = False
        self._place = suggestion_at(document, offset)
        self._text, self._typed = "", ""
        self._part: Completion | None = None
        self._due = (ask.first_text_s() if ask else math.inf, math.inf)
        self._loop = asyncio.get_running_loop()

    def is_at(self, ask: Ask) -> bool:
        """Whether it decodes exactly what `ask` asks."""
        return self._place.is_at(ask.document, ask.offset)

    def follow(self, ask: Ask) -> bool:
        """Let `ask` wait for this flight, if what was typed since agrees with what it says so far."""
        typed = self._agreeing(ask.document, ask.offset)
        if typed is None:
            return False
        self.ask, self._typed = ask, typed
        self._due = ask.first_text_s(), ask.deadline_s()
        return True

    def leads_to(self, document: Document, offset: int) -> bool:
        """Whether what it says so far agrees with the text up to `offset`."""
        return self._agreeing(document, offset) is not None

    def is_for(self, document: Document, offset: int, typed: str) -> bool:
        """Whether it may answer a request that comes now: `typed`, which went in before `offset`, is what it says, or
        what the client's menu had selected before the place of it.
        """
        before = document.text[:offset]
        selected = bool(typed) and offset <= self.offset and self.document.text.startswith(before)
        return selected or self.leads_to(document, offset)

    def let_go(self) -> None:
        """Nobody waits any more."""
        self.ask, self._due = None, _NEVER

    def _agreeing(self, document: Document, offset: int) -> str | None:
        # The model's lines end as in `_text`, whatever those of the document do.
        ways = (typed.replace("\r\n", "\n") for typed in self._place.typed(document, offset))
        return next((typed for typed in ways if agree(self._text, typed)), None)

    def cancel(self) -> None:
        """End it before the next forward."""
        if self.answer is not None:
            self.answer.cancel()

    # --- on the engine thread -----------------------------------------------

    def run(self, flow: Flow, engine: Engine, token: CancelToken) -> Landing:
        """Decode, and for a manual request sample alternatives."""
        self.began_s = time.monotonic()
        ask = self.ask
        settings = ask.within() if ask else replace(self.settings, deadline_ms=self.settings.manual_deadline_ms)
        landing = self._complete(flow, engine, token, settings)
        if ask is None or not ask.manual or not landing.completions or token.cancelled:
            return landing
        post(self._loop, self.early, self, landing)
        quick = replace(settings, deadline_ms=self.settings.deadline_ms)
        first = landing.completions[0]
        place = (self.document, self.offset, engine, first, quick)
        others = flow.alternatives(*place, cancel=token, workspace=self.workspace)
        return replace(landing, completions=(first, *others))

    def _complete(self, flow: Flow, engine: Engine, token: CancelToken, settings: Settings) -> Landing:
        if self.first is not None:
            return Landing((self.first,))

        def heard(text: str, closed: Closed) -> None:
            self._heard(text, closed, token)

        outcome = flow.complete(
            self.document,
            self.offset,
            engine,
            settings,
            cancel=token,
            on_text=heard,
            workspace=self.workspace,
            least_log_prob=self.least_log_prob,
        )
        # Lines that are on screen already stay there.
        best = self._part if outcome.reason is Reason.UNSURE else outcome.completion
        found, reason = ((best,), None) if best is not None else ((), outcome.reason)
        return Landing(found, reason, outcome.generation, outcome.taken_ms)

    def _heard(self, text: str, closed: Closed, token: CancelToken) -> None:
        self._text, now, due = text, time.monotonic(), self._due
        if not agree(text, self._typed):
            self.diverged = True
            token.cancel()
        elif now >= min(due) and (part := closed(now < due[1])) is not None and self._is_more(part):
            self._part = part
            if self._due is due:  # else another request waits by now, and its time is still to come
                self._due = _NEVER
            post(self._loop, self.early, self, Landing((part,)))

    def _is_more(self, part: Completion) -> bool:
        """Whether it says more than was typed since."""
        return len(part.text.replace("\r\n", "\n")) > len(self._typed)


def _nobody(flight: Flight, landing: Landing) -> None:
    """Nobody listens."""
