"""What one connection knows: settings, documents, status, and the engine behind its thread.

Lives on the event loop; nothing here waits for the model.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from lsprotocol import types

from pass_lsp.config import Settings
from pass_lsp.documents.document import Document
from pass_lsp.documents.store import DocumentStore, key_of
from pass_lsp.domain import CancelToken, Engine, Reason
from pass_lsp.server.convert import items_of
from pass_lsp.server.failures import JobFailed, sentence, where
from pass_lsp.server.progress import Progress
from pass_lsp.server.protocol import Protocol
from pass_lsp.server.settings import Layers, needs_restart
from pass_lsp.server.status import Model, StatusBoard
from pass_lsp.server.worker import Worker, post

log = logging.getLogger(__name__)

_PREPARE = "\0prepare"
"""Stands for a document in the queue of the engine thread; no URI is like it."""

Load = Callable[[Settings, Callable[[str], None]], Engine]
"""Loads the engine that the settings name; told a function that shows how far it is."""

Complete = Callable[..., Any]
"""`pass_lsp.completion.complete_document`, or a scripted one."""


class Session:
    """State and decisions of the server; the handlers in `app` translate between it and LSP."""

    def __init__(self, protocol: Protocol, load: Load, complete: Complete | None, layers: Layers) -> None:
        self.documents = DocumentStore()
        self.status = StatusBoard(protocol.notify)
        self.worker = Worker()
        self.layers = layers
        self.settings = layers.resolved()
        self.shows_progress = False
        self.roots: tuple[str, ...] = ()
        self._protocol = protocol
        self._load = load
        self._complete = complete
        self._scripted = complete is not None
        self._said: set[str] = set()

    # --- settings -------------------------------------------------------------

    def configure(self, root: Path | None, client: Mapping[str, Any]) -> None:
        """Settings as of `initialize`."""
        self.layers.client = client
        self.layers.read_files(root)
        self.settings = self.layers.resolved()

    def reconfigure(self, client: Mapping[str, Any]) -> None:
        """New settings from the client, in force for the next request."""
        old = self.settings
        self.layers.client = {**self.layers.client, **client}
        self.settings = self.layers.resolved()
        if self.status.model is not Model.ABSENT and (changed := needs_restart(old, self.settings)):
            keys = ", ".join(changed)
            self.say(f"Restart the language server to use the new setting of {keys}.", types.MessageType.Info)
        self.status.reason = None if self.settings.enabled else Reason.DISABLED
        self.start()

    def start(self) -> None:
        """Load the engine unless that has begun or suggestions are off; say what the settings lack."""
        for complaint in self.layers.complaints:
            self.say(complaint)
        if self.settings.enabled and self.status.model is Model.ABSENT:
            self._start_loading()
        self.status.publish()

    def say(self, message: str, kind: types.MessageType = types.MessageType.Warning) -> None:
        """Show `message` to the user, the same one never twice."""
        if message not in self._said:
            self._said.add(message)
            self._protocol.notify(types.WINDOW_SHOW_MESSAGE, {"type": kind.value, "message": message})

    # --- engine ---------------------------------------------------------------

    def _start_loading(self) -> None:
        loop, settings = asyncio.get_running_loop(), self.settings
        progress = Progress(self._protocol, "pass-lsp: loading the model", self.shows_progress)

        def report(message: str) -> None:
            post(loop, progress.report, message)

        def load() -> Engine:
            engine = self._load(settings, report)
            self._completer()  # part of getting ready, so that the first suggestion does not wait for imports
            if not self._scripted and (problem := _self_test(engine)):
                post(loop, self.say, problem)
            return engine

        def loaded(failure: BaseException | None) -> None:
            progress.end("ready" if failure is None else "failed")
            self._loaded(failure)

        self.status.engine_is(Model.LOADING)
        self.worker.start(load, loaded)

    def _loaded(self, failure: BaseException | None) -> None:
        if failure is None:
            log.info("The model is ready.")
            self.status.engine_is(Model.READY)
        else:
            log.error("The model could not be loaded (%s): %s", where(failure), sentence(failure))
            self.status.engine_is(Model.FAILED, sentence(failure))

    # --- completion -----------------------------------------------------------

    def obstacle(self, document: Document | None) -> Reason | None:
        """Why nothing can be suggested in `document` now, before anything is computed."""
        if not self.settings.enabled:
            return Reason.DISABLED
        if self.status.model is Model.FAILED:
            return Reason.MODEL_FAILED
        if self.status.model is not Model.READY:
            return Reason.MODEL_LOADING
        if document is None:
            return Reason.NOT_OPEN
        return Reason.DISABLED if document.language in self.settings.disabled_languages else None

    def complete(self, document: Document, offset: int) -> Awaitable[types.InlineCompletionList | None]:
        """What belongs at `offset`; None once a newer request for the document has come in.

        The arguments and the settings are those of this moment; the work begins later.
        """
        settings, workspace = self.settings, self.documents.workspace(self.roots)

        def run(engine: Engine, token: CancelToken) -> Any:
            return self._completer()(document, offset, engine, settings, cancel=token, workspace=workspace)

        return self._answer(document, offset, run)

    def prepare(self) -> None:
        """Have the engine thread read what is open, so that no request waits for it."""
        if self._scripted:
            return
        workspace = self.documents.workspace(self.roots)

        def run(engine: Engine, token: CancelToken) -> None:
            from pass_lsp.context import prepare  # on the engine thread, as in `_completer`

            prepare(workspace, lambda: token.cancelled)

        # Nobody waits for it; what goes wrong is in the log.
        self.worker.submit(_PREPARE, run).add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _answer(
        self, document: Document, offset: int, run: Callable[[Engine, CancelToken], Any]
    ) -> types.InlineCompletionList | None:
        try:
            outcome = await self.worker.submit(key_of(document.uri), run)
        except JobFailed as error:
            self.status.answered(Reason.FAILED, str(error))
            raise
        if outcome is None:
            return None
        items = items_of(outcome.completion, document, offset, self.documents.encoding)
        self.status.answered(outcome.reason or (None if items.items else Reason.EMPTY))
        return items

    def _completer(self) -> Complete:
        if self._complete is None:
            # Imported on the engine thread and no earlier: it brings tree-sitter and more, and the
            # server answers `initialize` before all that is read from the disk.
            from pass_lsp.completion import complete_document

            self._complete = complete_document
        return self._complete


def _self_test(engine: Engine) -> str:
    from pass_lsp.completion import self_test

    return self_test(engine)
