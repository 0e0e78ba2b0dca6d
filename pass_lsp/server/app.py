"""The language server: how it is made and served, and its lifecycle. The other messages are in `handlers`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Collection
from pathlib import Path
from typing import Any

from lsprotocol import types

import pass_lsp
from pass_lsp.config import Settings
from pass_lsp.documents.store import path_of
from pass_lsp.heap import share_one_arena
from pass_lsp.server.flow import Flow
from pass_lsp.server.handlers import HANDLERS, Handler, PassServer, execute_command
from pass_lsp.server.protocol import Server
from pass_lsp.server.session import Load, Session
from pass_lsp.server.settings import SECTION, Layers, pushed, section
from pass_lsp.server.transport import GRACE_S, serve_stdio, serve_tcp, take_standard_streams
from pass_lsp.server.usage import COMMAND
from pass_lsp.server.watch import exit_after, watch

log = logging.getLogger(__name__)

_PATIENCE_S = 0.5


def create_server(
    load: Load,
    settings: Settings | None = None,
    *,
    pinned: Collection[str] | None = None,
    flow: Flow | None = None,
) -> PassServer:
    """A server that is ready for `serve`.

    `load` runs on the engine thread once a client is there. `settings` are those of the
    command line; `pinned` names the ones that were given there and so win over the
    client's (without it: those that differ from the default). `flow` stands in for that
    of `completion` in tests.
    """
    server = PassServer("pass-lsp", getattr(pass_lsp, "__version__", "0"))
    server.session = Session(server.protocol, load, flow, Layers.of(settings or Settings(), pinned))
    for method, handler in {**LIFECYCLE, **HANDLERS}.items():
        server.feature(method, OPTIONS.get(method))(handler)
    server.command(COMMAND)(execute_command)
    return server


def serve(server: PassServer, *, tcp: tuple[str, int] | None = None, client_pid: int | None = None) -> int:
    """Serve on stdio, or on a TCP address, until the client says exit, hangs up or dies, or SIGTERM; the exit code.

    If the engine is stuck in native code by then, the process ends here and now.
    """
    share_one_arena()
    signal.signal(signal.SIGTERM, lambda number, _: _end(server, 128 + number))
    if client_pid is not None:
        _follow(server, client_pid)
    try:
        code = asyncio.run(serve_tcp(server, *tcp) if tcp else serve_stdio(server, *take_standard_streams()))
    except KeyboardInterrupt:
        code = 130
    server.session.ledger.flush()
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
    session.configure(_folders(params), section(params.initialization_options))
    if params.process_id is not None:
        _follow(ls, params.process_id)


def initialized(ls: PassServer, params: types.InitializedParams) -> None:
    """Begin to load the model."""
    ls.session.start()
    ls.session.write_later()


def did_change_configuration(ls: PassServer, params: types.DidChangeConfigurationParams) -> None:
    """Settings pushed by the client; one that sends none wants to be asked."""
    workspace = ls.protocol.client_capabilities.workspace
    if params.settings is not None or not (workspace and workspace.configuration):
        ls.session.reconfigure(pushed(params.settings))
        return

    def told(settings: Any, ok: bool) -> None:
        if ok and isinstance(settings, list) and settings:
            ls.session.reconfigure(section(settings[0]))

    ls.protocol.ask(types.WORKSPACE_CONFIGURATION, {"items": [{"section": SECTION}]}, told)


def did_change_folders(ls: PassServer, params: types.DidChangeWorkspaceFoldersParams) -> None:
    """The client's workspace has other folders now."""
    added, removed = (
        [_path(folder.uri) for folder in folders] for folders in (params.event.added, params.event.removed)
    )
    ls.session.refolder([path for path in added if path], [path for path in removed if path])


def cancel_progress(ls: PassServer, params: types.WorkDoneProgressCancelParams) -> None:
    """The user does not want to wait for the model."""
    ls.session.cancel_loading(params.token)


def ignore(params: Any) -> None:
    """Clients may send it; there is nothing to do."""


LIFECYCLE: dict[str, Handler] = {
    types.INITIALIZE: initialize,
    types.INITIALIZED: initialized,
    types.WORKSPACE_DID_CHANGE_CONFIGURATION: did_change_configuration,
    types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS: did_change_folders,
    types.WINDOW_WORK_DONE_PROGRESS_CANCEL: cancel_progress,
    types.SET_TRACE: ignore,
}
OPTIONS: dict[str, Any] = {
    # Also a space: what comes behind `=`, `return` and `,` is what suggestions are best at.
    types.TEXT_DOCUMENT_COMPLETION: types.CompletionOptions(trigger_characters=list(".([{,=: ")),
}


# --- helpers -----------------------------------------------------------------------


def _folders(params: types.InitializeParams) -> list[Path]:
    """The workspace folders, else the root as older clients name it."""
    found = [_path(folder.uri) for folder in params.workspace_folders or ()]
    if not found:
        root = path_of(params.root_uri) if params.root_uri else params.root_path
        found = [Path(root) if root else None]
    return [path for path in found if path]


def _path(uri: str) -> Path | None:
    path = path_of(uri)
    return Path(path) if path else None


def _follow(server: Server, pid: int) -> None:
    watch(pid, lambda: _end(server, server.protocol.exit_code))


def _end(server: Server, code: int) -> None:
    """In order, so that the ledger is written; and soon, whatever the loop is doing."""
    exit_after(GRACE_S, code)
    server.finish(code)
