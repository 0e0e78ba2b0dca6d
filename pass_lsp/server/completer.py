"""From a request to its answer: memory first, then a decode that is under way, then a new one.

One request a document waits, the newest; the one before it is answered null. Whatever
happens, each is answered once, and answers leave in the order of their requests. While
nobody waits, what the user may want next is read and decoded ahead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from pass_lsp.config import Settings
from pass_lsp.documents.document import Document
from pass_lsp.documents.workspace import Workspace
from pass_lsp.domain import CancelToken, Completion, Engine
from pass_lsp.metrics.stats import MEMORY, MODEL
from pass_lsp.reasons import Reason
from pass_lsp.server.ahead import Ahead, may_work_ahead
from pass_lsp.server.answers import Answers
from pass_lsp.server.failures import JobFailed
from pass_lsp.server.flight import Ask, Flight, Landing
from pass_lsp.server.flow import Flow, with_a_second_try
from pass_lsp.server.rhythm import Rhythms
from pass_lsp.server.status import StatusBoard
from pass_lsp.server.worker import Worker
from pass_lsp.suggestions import Suggestions

log = logging.getLogger(__name__)

_KEY_S = 0.05
"""How long after a cancel the key that made the client cancel may still be told; VS Code takes less than 1 ms, but
where everything is busy more than 20 were seen. Nothing is decoded meanwhile."""
_OF_THE_MOMENT = (Reason.CANCELLED, Reason.DEADLINE, Reason.IGNORED)
"""Reasons that the text and the place do not decide: with the next request they may be gone."""


class Completer:
    """Decides who is answered, when and from what. Lives on the event loop; nothing here waits."""

    def __init__(self, worker: Worker, status: StatusBoard, answers: Answers, flow: Callable[[], Flow]) -> None:
        self.suggestions = Suggestions()
        self.workspace: Callable[[], Workspace] = Workspace
        self.least_log_prob: Callable[[Settings], float | None] = lambda _: None
        self._worker, self._status, self._answers, self._flow = worker, status, answers, flow
        self._asks: dict[str, Ask] = {}
        self._flights: dict[str, Flight] = {}
        self._rhythms = Rhythms()
        self._ahead = Ahead(self._fly, self._is_needless)

    # --- what the client does ---------------------------------------------------

    def ask(self, ask: Ask) -> asyncio.Future[Any]:
        """Take in a request; what it returns becomes the answer, None if a newer request takes its place."""
        self.supersede(ask.key)
        self._asks[ask.key] = ask
        ask.answer.add_done_callback(partial(self._done, ask))
        self._stop_unless_it_leads_to(ask)
        recalled = self.suggestions.recall(ask.key, ask.document, ask.offset)
        if recalled and not ask.wants_more_than(recalled):
            self._reply(ask, Landing(recalled.completions, recalled.reason), MEMORY)
        elif recalled:
            self._take_off(ask, next(iter(recalled.completions), None) if recalled.whole else None)
        elif not self._join(ask):
            self._later(ask, self._rhythms.delay_s(ask), self._take_off)
        if (flight := self._flights.get(ask.key)) is not None and flight.ask is not ask:
            self._release(flight)
        if ask.settings.manual_deadline_ms and not ask.answer.done():
            self._later(ask, ask.settings.manual_deadline_ms / 1000, self._give_up)
        return ask.answer

    def changed(self, key: str, document: Document, offset: int | None, typed: str, settings: Settings) -> None:
        """`typed` went in before `offset`: have the engine read the text while the client makes up its mind to ask."""
        self._rhythms.key(key, typed)
        self._ahead.forget(key)
        if (asked := self._asks.get(key)) is not None and asked.answer.cancelled():
            self._done(asked, asked.answer)  # told in the same packet: the loop has not come to it yet
        if offset is None or not may_work_ahead(document, settings):
            return
        flight = self._flights.get(key)
        if flight is not None and flight.answer is not None and flight.is_for(document, offset, typed):
            self._worker.set_ahead(flight.answer, flight.ask is None)
            return
        if self.suggestions.recall(key, document, offset):
            return
        workspace = self.workspace()

        def run(engine: Engine, token: CancelToken) -> Any:
            return self._flow().prefill(document, offset, engine, settings, cancel=token, workspace=workspace)

        self._worker.submit(key, run, ahead=True).add_done_callback(self._has_read)

    def accepted(self, key: str) -> None:
        """The user took a suggestion, or a part of it: what comes next is wanted at once."""
        self._rhythms.accepted(key)

    def close(self, key: str) -> None:
        """Forget a document and whatever is under way for it."""
        self.supersede(key)
        self._flights.pop(key, None)
        self._rhythms.forget(key)
        self.suggestions.forget(key)
        self._worker.drop(key)

    def renew(self, settings_for: Callable[[Document], Settings]) -> None:
        """Other settings are in force: what was said, begun or planned under the old ones is no answer any more."""
        self.suggestions.forget()
        self._ahead.forget_all()
        flights, self._flights = self._flights, {}
        for flight in flights.values():
            flight.cancel()
        for ask in list(self._asks.values()):
            ask.settings = settings_for(ask.document)
            if ask.settings.off_for(ask.document.language):
                self._reply(ask, Landing(reason=Reason.DISABLED), MODEL)
            elif ask.key in flights and flights[ask.key].ask is ask:
                self._take_off(ask)

    def _has_read(self, answer: asyncio.Future[Any]) -> None:
        """A failure of work that nobody asked for is in the log already."""
        if not answer.cancelled() and answer.exception() is None and answer.result() is not None:
            self._answers.read_ahead += answer.result().prefilled_tokens

    # --- one request ------------------------------------------------------------

    def supersede(self, key: str) -> None:
        """Answer the request that waits for a document with null: a newer one is there."""
        self._ahead.forget(key)
        older = self._asks.pop(key, None)
        if older is not None and not older.answer.done():
            older.no_more_timers()
            self._answers.superseded(older)
            older.answer.set_result(None)

    def _stop_unless_it_leads_to(self, ask: Ask) -> None:
        flight = self._flights.get(ask.key)
        if flight is not None and not flight.leads_to(ask.document, ask.offset):
            del self._flights[ask.key]
            flight.cancel()

    def _release(self, flight: Flight) -> None:
        """Nobody waits for it now; it goes on until something else is wanted."""
        flight.let_go()
        if flight.answer is not None:
            self._worker.set_ahead(flight.answer, True)

    def _done(self, ask: Ask, answer: asyncio.Future[Any]) -> None:
        """Answered, or cancelled by the client: then the decode for it ends as well, before its next forward.

        VS Code cancels at every key, and only then tells of it: a decode that says what was typed goes on.
        """
        ask.no_more_timers()
        if self._asks.get(ask.key) is ask:
            del self._asks[ask.key]
        flight = self._flights.get(ask.key)
        if not answer.cancelled() or flight is None or flight.ask is not ask:
            return
        if flight.began_s and flight.answer is not None and may_work_ahead(ask.document, ask.settings):
            flight.let_go()
            self._worker.pause(flight.answer, _KEY_S)
        else:
            del self._flights[ask.key]
            flight.cancel()

    def _later(self, ask: Ask, delay_s: float, call: Callable[[Ask], None]) -> None:
        if delay_s <= 0:
            call(ask)
        else:
            ask.timers.append(asyncio.get_running_loop().call_later(delay_s, call, ask))

    def _give_up(self, ask: Ask) -> None:
        """Not even the last deadline brought anything: what is known by now is the answer."""
        flight = self._flights.get(ask.key)
        if flight is not None and flight.ask is ask:
            self._release(flight)
        recalled = self.suggestions.recall(ask.key, ask.document, ask.offset)
        completions = recalled.completions if recalled else ()
        self._reply(ask, Landing(completions, None if completions else Reason.DEADLINE), MODEL)

    def _reply(self, ask: Ask, landing: Landing, source: str, flight: Flight | None = None) -> None:
        if ask.answer.done():
            return
        answer, drawn = ask.shape(landing.completions)
        reason = landing.reason or (None if drawn else Reason.EMPTY)
        self._answers.answered(ask, landing, source, reason, flight)
        self._status.answered(reason)
        ask.answer.set_result(answer)
        if landing.completions and (flight is None or flight.answer is None or flight.answer.done()):
            self._ahead.prepare(ask.key, ask.document, landing.completions[0], ask.settings)

    # --- decodes ------------------------------------------------------------------

    def _join(self, ask: Ask) -> bool:
        flight = self._flights.get(ask.key)
        if flight is None or not flight.began_s or flight.answer is None or ask.manual:
            return False
        if not flight.follow(ask):
            return False
        self._worker.set_ahead(flight.answer, False)
        return True

    def _take_off(self, ask: Ask, first: Completion | None = None) -> None:
        if ask.answer.done():
            return
        flight = Flight(ask.key, ask.document, ask.offset, ask.settings, ask)
        flight.first = first
        self._fly(flight)

    def _fly(self, flight: Flight) -> None:
        flight.workspace, flight.early = self.workspace(), self._early
        flight.least_log_prob = None if flight.by_hand else self.least_log_prob(flight.settings)
        self._flights[flight.key] = flight

        def run(engine: Engine, token: CancelToken) -> Landing:
            return flight.run(self._flow(), engine, token)

        flight.answer = self._worker.submit(flight.key, with_a_second_try(run), ahead=flight.ask is None)
        flight.answer.add_done_callback(partial(self._landed, flight))

    def _early(self, flight: Flight, landing: Landing) -> None:
        """Time is up for what is closed so far, or only alternatives are missing: the answer, and decoding goes on."""
        if self._flights.get(flight.key) is not flight:
            return
        self._remember(flight, landing)
        ask = flight.ask
        if ask is None or ask.manual or flight.answer is None or flight.answer.done():
            return
        recalled = self.suggestions.recall(ask.key, ask.document, ask.offset)
        if recalled is not None and recalled.completions:
            self._release(flight)
            self._reply(ask, Landing(recalled.completions), MODEL, flight)

    def _remember(self, flight: Flight, landing: Landing) -> None:
        if landing.reason not in _OF_THE_MOMENT:
            key, document, offset = flight.key, flight.document, flight.offset
            self.suggestions.remember(key, document, offset, landing.completions, landing.reason)

    def _landed(self, flight: Flight, answer: asyncio.Future[Any]) -> None:
        current = self._flights.get(flight.key) is flight
        if current:
            del self._flights[flight.key]
        if answer.cancelled() or not current:
            if not answer.cancelled():
                answer.exception()
            return
        ask, error = flight.ask, answer.exception()
        if error is not None:
            self._failed(ask, error)
        elif (landing := answer.result()) is None:
            if ask is not None:
                self._take_off(ask)
        else:
            self._remember(flight, landing)
            self._hand_over(flight, landing)

    def _hand_over(self, flight: Flight, landing: Landing) -> None:
        ask = flight.ask
        if ask is None or ask.answer.done():
            self._ahead.go_on(flight, landing)
        elif flight.is_at(ask) and not flight.diverged and landing.reason is not Reason.CANCELLED:
            self._reply(ask, landing.moved(ask.offset - flight.offset), MODEL, flight)
        else:
            recalled = self.suggestions.recall(ask.key, ask.document, ask.offset)
            if recalled is not None and recalled.completions:
                found = Landing(recalled.completions, None, landing.generation, landing.taken_ms)
                self._reply(ask, found, MODEL, flight)
            else:
                self._take_off(ask)

    def _is_needless(self, key: str, document: Document, offset: int) -> bool:
        return key in self._flights or self.suggestions.recall(key, document, offset) is not None

    def _failed(self, ask: Ask | None, error: BaseException) -> None:
        if ask is None or ask.answer.done():
            return
        failed = error if isinstance(error, JobFailed) else JobFailed(str(error))
        self._status.answered(failed.reason, str(failed))
        self._answers.answered(ask, Landing(), MODEL, failed.reason, None)
        ask.refuse(failed)
