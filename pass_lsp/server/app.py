"""The language server: one short function per message, and the table that registers them."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Any

from lsprotocol import types

import pass_lsp
from pass_lsp.config import Settings
from pass_lsp.documents.store import key_of, path_of
from pass_lsp.server import status
from pass_lsp.server.convert import change_of, offset_at
from pass_lsp.server.protocol import Server
from pass_lsp.server.session import Complete, Load, Session
from pass_lsp.server.settings import Layers, section
from pass_lsp.server.transport import GRACE_S, serve_stdio, serve_tcp, take_standard_streams
from pass_lsp.server.watch import exit_after, watch

log = logging.getLogger(__name__)

_PATIENCE_S = 0.5


class PassServer(Server):
    """pygls's server, mended, with the session that the handlers work on."""

    session: Session


def create_server(
    load: Load,
    settings: Settings | None = None,
    *,
    pinned: Collection[str] | None = None,
    complete: Complete | None = None,
) -> PassServer:
    """A server that is ready for `serve`.

    `load` runs on the engine thread once a client is there. `settings` are those of the
    command line; `pinned` names the ones that were given there and so win over the
    client's (without it: those that differ from the default). `complete` stands in for
    `completion.complete_document` in tests.
    """
    server = PassServer("pass-lsp", getattr(pass_lsp, "__version__", "0"))
    server.session = Session(server.protocol, load, complete, Layers.of(settings or Settings(), pinned))
    for method, handler in HANDLERS.items():
        server.feature(method)(handler)
    return server


def serve(server: PassServer, *, tcp: tuple[str, int] | None = None, client_pid: int | None = None) -> int:
    """Serve on stdio, or on a TCP address, until the client says exit, hangs up or dies; the exit code.

    If the engine is stuck in native code by then, the process ends here and now.
    """
    streams = take_standard_streams()
    if client_pid is not None:
        _follow(server, client_pid)
    try:
        code = asyncio.run(serve_tcp(server, *tcp) if tcp else serve_stdio(server, *streams))
    except KeyboardInterrupt:
        code = 130
    if not server.session.worker.close(_PATIENCE_S):
        log.info("The engine is still busy; the process ends without it.")
        logging.shutdown()
        os._exit(code)
    return code


# --- lifecycle -----------------------------------------------------------------


def initialize(ls: PassServer, params: types.InitializeParams) -> None:
    """Take what the client says about itself."""
    session = ls.session
    session.documents.encoding = ls.protocol.encoding
    window = params.capabilities.window
    session.shows_progress = bool(window and window.work_done_progress)
    session.configure(_root(params), section(params.initialization_options))
    session.roots = _roots(params)
    if params.process_id is not None:
        _follow(ls, params.process_id)


def initialized(ls: PassServer, params: types.InitializedParams) -> None:
    """Begin to load the model."""
    ls.session.start()


def did_change_configuration(ls: PassServer, params: types.DidChangeConfigurationParams) -> None:
    """Settings pushed by the client."""
    ls.session.reconfigure(section(params.settings))


def current_status(ls: PassServer, params: Any) -> dict[str, Any]:
    """`pass-lsp/status`: what `didChangeStatus` said last."""
    return ls.session.status.as_dict()


def ignore(params: Any) -> None:
    """Clients may send it; there is nothing to do."""


# --- documents -------------------------------------------------------------------


def did_open(ls: PassServer, params: types.DidOpenTextDocumentParams) -> None:
    """Follow a document."""
    item = params.text_document
    ls.session.documents.open(item.uri, item.text, item.version, item.language_id)
    ls.session.prepare()


def did_change(ls: PassServer, params: types.DidChangeTextDocumentParams) -> None:
    """Apply edits, in order."""
    target = params.text_document
    changes = [change_of(event) for event in params.content_changes]
    if ls.session.documents.change(target.uri, changes, target.version) is None:
        log.warning("A change of a document that is not open is ignored.")


def did_close(ls: PassServer, params: types.DidCloseTextDocumentParams) -> None:
    """Forget a document and what is being computed for it."""
    ls.session.documents.close(params.text_document.uri)
    ls.session.worker.drop(key_of(params.text_document.uri))


# --- completion ------------------------------------------------------------------


def inline_completion(
    ls: PassServer, params: types.InlineCompletionParams
) -> types.InlineCompletionList | Awaitable[types.InlineCompletionList | None]:
    """What belongs at the cursor, in the text as it is now, before any later edit is read."""
    session = ls.session
    document = session.documents.get(params.text_document.uri)
    obstacle = session.obstacle(document)
    if document is None or obstacle is not None:
        session.status.answered(obstacle)
        return types.InlineCompletionList(items=[])
    return session.complete(document, offset_at(document, params.position, session.documents.encoding))


HANDLERS: dict[str, Callable[..., Any]] = {
    types.INITIALIZE: initialize,
    types.INITIALIZED: initialized,
    types.WORKSPACE_DID_CHANGE_CONFIGURATION: did_change_configuration,
    types.TEXT_DOCUMENT_DID_OPEN: did_open,
    types.TEXT_DOCUMENT_DID_CHANGE: did_change,
    types.TEXT_DOCUMENT_DID_CLOSE: did_close,
    types.TEXT_DOCUMENT_DID_SAVE: ignore,
    types.TEXT_DOCUMENT_INLINE_COMPLETION: inline_completion,
    types.SET_TRACE: ignore,
    types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS: ignore,
    types.WINDOW_WORK_DONE_PROGRESS_CANCEL: ignore,
    status.REQUEST: current_status,
}


# --- helpers -----------------------------------------------------------------------


def _root(params: types.InitializeParams) -> Path | None:
    """The first workspace folder, else the root as older clients name it."""
    folders = params.workspace_folders or []
    uri = folders[0].uri if folders else params.root_uri
    path = path_of(uri) if uri else params.root_path
    return Path(path) if path else None


def _roots(params: types.InitializeParams) -> tuple[str, ...]:
    """All open folders, with forward slashes."""
    folders = [path_of(folder.uri) for folder in params.workspace_folders or []]
    root = _root(params)
    named = folders or ([str(root)] if root else [])
    return tuple(path.replace("\\", "/").rstrip("/") for path in named if path)


def _follow(server: Server, pid: int) -> None:
    def gone() -> None:
        code = server.protocol.exit_code
        exit_after(GRACE_S, code)
        server.finish(code)

    watch(pid, gone)
