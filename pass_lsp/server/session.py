"""What one connection knows: settings, documents, status, and the engine behind its thread.

Lives on the event loop; nothing here waits for the model.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lsprotocol import types

from pass_lsp.config import Settings
from pass_lsp.documents.document import Document
from pass_lsp.documents.store import Change, DocumentStore, key_of
from pass_lsp.documents.workspace import Workspace
from pass_lsp.domain import CancelToken, Engine
from pass_lsp.engines.embedded import measured_hopeless
from pass_lsp.errors import EngineError, PassLspError
from pass_lsp.heap import for_good, give_back
from pass_lsp.metrics.gate import Gate, ledger_name
from pass_lsp.metrics.ledger import Ledger, read
from pass_lsp.reasons import Reason
from pass_lsp.server.ahead import cursor_after
from pass_lsp.server.answers import Answers
from pass_lsp.server.completer import Completer
from pass_lsp.server.failures import NO_LOOKAHEAD, sentence, where
from pass_lsp.server.flow import Flow
from pass_lsp.server.folders import ledger_file
from pass_lsp.server.notebooks import Notebooks
from pass_lsp.server.progress import Progress
from pass_lsp.server.protocol import Protocol
from pass_lsp.server.settings import Layers, needs_restart
from pass_lsp.server.status import Model, StatusBoard
from pass_lsp.server.usage import Usage
from pass_lsp.server.worker import Worker, post

log = logging.getLogger(__name__)

Load = Callable[[Settings, Callable[[str], None]], Engine]
"""Loads the engine that the settings name; told a function that shows how far it is."""

_WRITE_EVERY_S = 2.0
_PREPARE = "\0prepare"
"""Stands for a document in the queue of the engine thread; no URI is like it."""


class LoadCancelled(PassLspError):
    """The user did not want to wait for the model."""


class Session:
    """State and decisions of the server; the handlers translate between it and LSP."""

    def __init__(self, protocol: Protocol, load: Load, flow: Flow | None, layers: Layers) -> None:
        self.documents = DocumentStore()
        self.notebooks = Notebooks(self.documents)
        self.status = StatusBoard(protocol.notify)
        self.worker = Worker()
        self.ledger = Ledger(None)
        self.answers = Answers(self.ledger)
        self.usage = Usage(self.ledger, self.documents.of_key)
        self.completer = Completer(self.worker, self.status, self.answers, self._the_flow)
        self.completer.workspace, self.completer.least_log_prob = self._around, self._least_log_prob
        self.layers = layers
        self.settings = layers.resolved()
        self.shows_progress = False
        self._protocol = protocol
        self._load, self._flow = load, flow
        self._in_folder: dict[Path | None, Settings] = {}
        self._said: set[str] = set()
        self._ledger_failure = ""
        self._cancel_load, self._token = False, ""
        self._looks_ahead: Callable[[], bool] = lambda: True

    # --- settings -------------------------------------------------------------

    def configure(self, folders: Iterable[Path], client: Mapping[str, Any] | None = None) -> None:
        """Settings as of `initialize`, and again when the workspace's folders or files change."""
        if client is not None:
            self.layers.client = client
        self.layers.read_files(folders)
        self._resolve()

    def reconfigure(self, client: Mapping[str, Any]) -> None:
        """New settings from the client, in force for the next request."""
        self.layers.client = {**self.layers.client, **client}
        self._resolve()
        self.start()

    def refolder(self, added: Sequence[Path], removed: Sequence[Path]) -> None:
        """The client's workspace has other folders now, or their settings files have changed."""
        folders = [folder for folder in self.layers.workspace if folder not in removed]
        self.configure([*folders, *(folder for folder in added if folder not in folders)])
        self.start()

    def settings_for(self, document: Document) -> Settings:
        """The settings in force for a document: those of the workspace folder that holds it."""
        folder = self.layers.folder_of(document.path)
        if folder not in self._in_folder:
            self._in_folder[folder] = self.layers.resolved(folder)
        return self._feasible(self._in_folder[folder])

    def _feasible(self, settings: Settings) -> Settings:
        """`settings` as far as this engine can follow them; says where it cannot."""
        if settings.strategy != "pass" or self._looks_ahead():
            return settings
        self.say(NO_LOOKAHEAD)
        return replace(settings, strategy="auto")

    def _knows(self, engine: Engine) -> None:
        """What the engine cannot do is known once it is loaded; elsewhere that changes with what is found there."""
        self._looks_ahead = lambda: getattr(engine, "lookahead", True) is not None

    def start(self) -> None:
        """Load the engine unless that has begun or suggestions are off; say what the settings lack."""
        for complaint in self.layers.complaints:
            self.say(complaint)
        if not self.status.off and self.status.model is Model.ABSENT and not self._cancel_load:
            self._start_loading()
        self.status.publish()

    def say(self, message: str, kind: types.MessageType = types.MessageType.Warning) -> None:
        """Show `message` to the user, the same one never twice."""
        if message not in self._said:
            self._said.add(message)
            self._protocol.notify(types.WINDOW_SHOW_MESSAGE, {"type": kind.value, "message": message})

    def _resolve(self) -> None:
        old, self.settings = self.settings, self.layers.resolved()
        self._in_folder.clear()
        self.status.off, self.status.reason = not self._wanted(), None
        self.completer.renew(self.settings_for)
        if self.status.model is not Model.ABSENT and (changed := needs_restart(old, self.settings)):
            keys = ", ".join(changed)
            self.say(f"Restart the language server to use the new setting of {keys}.", types.MessageType.Info)
        self.ledger.flush()
        self.ledger.path = ledger_file() if self.settings.ledger else None

    def _wanted(self) -> bool:
        """Whether suggestions are on anywhere."""
        return any(self.layers.resolved(folder).enabled for folder in self.layers.workspace or (None,))

    # --- engine ---------------------------------------------------------------

    def _start_loading(self) -> None:
        loop, settings, ledger = asyncio.get_running_loop(), self.settings, self.ledger.path
        progress = Progress(self._protocol, "pass-lsp: loading the model", self.shows_progress)
        self._cancel_load, self._token = False, progress.token

        def report(message: str) -> None:
            if self._cancel_load:
                raise LoadCancelled("Loading the model was cancelled; ask for a suggestion by hand to load it.")
            post(loop, progress.report, message)

        @for_good()
        def load() -> Engine:
            engine = self._load(settings, report)
            # Part of getting ready, so that the first suggestion does not wait for imports.
            try:
                if problem := self._the_flow().test(engine):
                    post(loop, self.say, problem)
            except EngineError as error:
                # An engine elsewhere may come later; until then each request says so.
                away.append(error)
            post(loop, setattr, self.usage, "gate", _learnt(settings, ledger))
            post(loop, self._knows, engine)
            return engine

        def loaded(failure: BaseException | None) -> None:
            progress.end("ready" if failure is None else "failed")
            self._loaded(failure)
            if away and failure is None:
                self.status.answered(Reason.ENGINE_AWAY, str(away[0]))

        away: list[EngineError] = []
        self.status.engine_is(Model.LOADING)
        self.worker.start(load, loaded)

    def cancel_loading(self, token: str | int) -> None:
        """The user ends the loading that goes by this token of a progress; it stops at its next step."""
        if token == self._token:
            self._cancel_load = self.status.model is Model.LOADING

    def _loaded(self, failure: BaseException | None) -> None:
        if failure is None:
            log.info("The model is ready.")
            self._cancel_load = False
            self.status.engine_is(Model.READY)
        elif isinstance(failure, LoadCancelled):
            log.info("Loading was cancelled.")
            self.status.engine_is(Model.ABSENT, str(failure))
        else:
            log.error("The model could not be loaded (%s): %s", where(failure), sentence(failure))
            self.status.engine_is(Model.FAILED, sentence(failure))

    def _the_flow(self) -> Flow:
        if self._flow is None:
            self._flow = Flow.of_the_product()
        return self._flow

    def _least_log_prob(self, settings: Settings) -> float | None:
        """How sure the model must be of what is shown unasked; None where nobody wants to know."""
        least = self.usage.gate.least_log_prob
        wanted = settings.hide_unsure and (self.ledger.path is not None or least > -math.inf)
        return least if wanted else None

    # --- documents --------------------------------------------------------------

    def open(self, uri: str, text: str, version: int, language: str) -> None:
        """Follow a document."""
        document = self.documents.open(uri, text, version, language)
        self.completer.close(key_of(uri))  # one that was open already is another document now
        workspace, settings = self._around(), self.settings_for(document)

        def run(engine: Engine, token: CancelToken) -> None:
            self._the_flow().prepare(workspace, engine, settings, token)

        # Nobody waits for it; what goes wrong is in the log.
        self.worker.submit(_PREPARE, run, ahead=True).add_done_callback(lambda it: it.cancelled() or it.exception())

    def _around(self) -> Workspace:
        """What is open beside a document, as of now."""
        return self.documents.workspace(tuple(folder.as_posix() for folder in self.layers.workspace))

    def change(self, uri: str, changes: Sequence[Change], version: int) -> None:
        """Apply edits, in order, and have the engine read what the user is about to ask for."""
        key, cursor, typed = key_of(uri), None, ""
        for change in changes:
            before = self.documents.get(uri)
            if before is None or self.documents.change(uri, [change], version) is None:
                log.warning("A change of a document that is not open is ignored.")
                return
            if change.start is None:
                start, end = 0, len(before.text)
            else:
                start, end = (before.offset(*place, self.documents.encoding) for place in (change.start, change.end))
                cursor = cursor_after(start, change.text) if cursor is None else None
            self.usage.edited(key, start, end, len(change.text))
            typed = change.text
        document = self.documents.get(uri)
        if document is not None:
            ready = self.status.model is Model.READY and len(changes) == 1
            whole, base = self.notebooks.around(document)
            at = base + min(cursor, len(document.text)) if ready and cursor is not None else None
            self.completer.changed(key, whole, at, typed, self.settings_for(document))

    def close(self, uri: str) -> None:
        """Forget a document, what is being computed for it, and the memory that it took."""
        self.documents.close(uri)
        self.usage.closed(key_of(uri))
        self.completer.close(key_of(uri))
        if self.status.model is Model.READY:
            # Of no document, so that it is done once where many are closed together.
            self.worker.submit("", lambda engine, token: give_back(), ahead=True)

    # --- completion -----------------------------------------------------------

    def obstacle(self, document: Document | None, manual: bool = False) -> Reason | None:
        """Why nothing can be suggested in `document` now, before anything is computed."""
        settings = self.settings_for(document) if document else self.settings
        if settings.off_for(document.language if document else ""):
            return Reason.DISABLED
        if self.status.model is Model.FAILED:
            return Reason.MODEL_FAILED
        if self.status.model is Model.ABSENT and manual:
            self._start_loading()
        if self.status.model is not Model.READY:
            return Reason.LOAD_CANCELLED if self.status.model is Model.ABSENT else Reason.MODEL_LOADING
        return Reason.NOT_OPEN if document is None else None

    def write_later(self) -> None:
        """Write the ledger every now and then, as long as the server lives."""
        self.ledger.flush()
        if self.ledger.failure not in ("", self._ledger_failure):
            log.warning("The ledger cannot be written (%s); its events are lost.", self.ledger.failure)
        self._ledger_failure = self.ledger.failure
        with contextlib.suppress(RuntimeError):  # the loop has ended
            asyncio.get_running_loop().call_later(_WRITE_EVERY_S, self.write_later)


def _learnt(settings: Settings, ledger: Path | None) -> Gate:
    """What is known of the model: its own measurement, and what became of its suggestions here."""
    key = ledger_name(settings.model, settings.engine)
    hopeless_below = -math.inf if "://" in settings.engine else measured_hopeless(settings.model)
    with contextlib.suppress(OSError):
        return Gate.of(key, read(ledger, key) if ledger is not None else (), hopeless_below)
    return Gate(key, hopeless_below)
