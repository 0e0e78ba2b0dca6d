"""One short function per message about documents and completion."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcMethodNotFound

from pass_lsp.documents.document import Document
from pass_lsp.documents.store import key_of
from pass_lsp.domain import Completion
from pass_lsp.reasons import Reason
from pass_lsp.server import answers, status, usage
from pass_lsp.server.convert import change_of, items_of, menu_of, offset_at
from pass_lsp.server.flight import Ask
from pass_lsp.server.notebooks import Cell
from pass_lsp.server.protocol import Server
from pass_lsp.server.session import Session
from pass_lsp.server.settings import WORKSPACE_FILE

Handler = Callable[..., Any]
Make = Callable[..., Any]
"""`items_of` or `menu_of`."""


class PassServer(Server):
    """pygls's server, mended, with the session that the handlers work on."""

    session: Session


# --- documents -------------------------------------------------------------------


def did_open(ls: PassServer, params: types.DidOpenTextDocumentParams) -> None:
    """Follow a document."""
    item = params.text_document
    ls.session.open(item.uri, item.text, item.version, item.language_id)


def did_change(ls: PassServer, params: types.DidChangeTextDocumentParams) -> None:
    """Apply edits, in order."""
    target = params.text_document
    ls.session.change(target.uri, [change_of(event) for event in params.content_changes], target.version)


def did_save(ls: PassServer, params: types.DidSaveTextDocumentParams) -> None:
    """A workspace's settings file may have changed."""
    if params.text_document.uri.endswith(f"/{WORKSPACE_FILE}"):
        ls.session.refolder([], [])


def did_close(ls: PassServer, params: types.DidCloseTextDocumentParams) -> None:
    """Forget a document and what is being computed for it."""
    ls.session.close(params.text_document.uri)


# --- notebooks -------------------------------------------------------------------


def notebook_did_open(ls: PassServer, params: types.DidOpenNotebookDocumentParams) -> None:
    """Follow a notebook and its cells."""
    for item in params.cell_text_documents:
        ls.session.open(item.uri, item.text, item.version, item.language_id)
    ls.session.notebooks.open(params.notebook_document.uri, _cells(params.notebook_document.cells))


def notebook_did_change(ls: PassServer, params: types.DidChangeNotebookDocumentParams) -> None:
    """Cells came, went, or changed their text."""
    session, cells = ls.session, params.change.cells
    if cells is None:
        return
    if (structure := cells.structure) is not None:
        array = structure.array
        for closed in structure.did_close or ():  # first: one that is in both has another language now
            session.close(closed.uri)
        for item in structure.did_open or ():
            session.open(item.uri, item.text, item.version, item.language_id)
        session.notebooks.splice(
            params.notebook_document.uri, array.start, array.delete_count, _cells(array.cells or ())
        )
    session.notebooks.renew(params.notebook_document.uri, _cells(cells.data or ()))
    for content in cells.text_content or ():
        changes = [change_of(event) for event in content.changes]
        session.change(content.document.uri, changes, content.document.version)


def notebook_did_close(ls: PassServer, params: types.DidCloseNotebookDocumentParams) -> None:
    """Forget a notebook and its cells."""
    ls.session.notebooks.close(params.notebook_document.uri)
    for cell in params.cell_text_documents:
        ls.session.close(cell.uri)


def _cells(cells: Sequence[types.NotebookCell]) -> list[Cell]:
    return [Cell(cell.document, int(cell.kind)) for cell in cells]


# --- completion ------------------------------------------------------------------


def inline_completion(ls: PassServer, params: types.InlineCompletionParams) -> asyncio.Future[Any]:
    """What belongs at the cursor, in the text as it is now, before any later edit is read."""
    manual = params.context.trigger_kind == types.InlineCompletionTriggerKind.Invoked
    chosen = params.context.selected_completion_info
    return _ask(ls.session, params, items_of, types.InlineCompletionList(items=[]), manual, chosen)


def completion(ls: PassServer, params: types.CompletionParams) -> asyncio.Future[Any]:
    """The same for clients that have menus only."""
    return _ask(ls.session, params, menu_of, types.CompletionList(is_incomplete=True, items=[]), False, None)


def _ask(
    session: Session,
    params: types.InlineCompletionParams | types.CompletionParams,
    make: Make,
    nothing: Any,
    manual: bool,
    chosen: types.SelectedCompletionInfo | None,
) -> asyncio.Future[Any]:
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    session.usage.overtaken()
    document = session.documents.get(params.text_document.uri)
    obstacle = session.obstacle(document, manual)
    if document is None or obstacle is not None:
        reason = obstacle or Reason.NOT_OPEN
        session.completer.supersede(key_of(params.text_document.uri))
        session.answers.refused(reason)
        session.status.answered(reason)
        answer.set_result(nothing)
        return answer
    encoding, key = session.documents.encoding, key_of(document.uri)
    offset = offset_at(document, params.position, encoding)
    seen, at, start = _as_chosen(session, document, offset, chosen)
    whole, base = session.notebooks.around(seen)

    def name(shown: Completion) -> str:
        return session.usage.offer(key, shown.start, shown.text, shown.log_prob, answer)

    def shape(completions: Sequence[Completion]) -> tuple[Any, bool]:
        own = [replace(each, start=each.start - base, end=each.end - base) for each in completions]
        if seen is not document:
            typed, grown = seen.text[start:at], len(seen.text) - len(document.text)
            own = [
                replace(each, text=typed + each.text, start=start, end=each.end - grown)
                for each in own
                if each.start == at
            ]
        made = make(own, document, offset, encoding, name)
        return made, bool(made.items)

    return session.completer.ask(Ask(key, whole, base + at, session.settings_for(document), manual, shape, answer))


def _as_chosen(
    session: Session, document: Document, offset: int, chosen: types.SelectedCompletionInfo | None
) -> tuple[Document, int, int]:
    """The document as if what the client's own menu has selected were accepted; the cursor then; where it begins."""
    if chosen is None:
        return document, offset, offset
    start, end = (offset_at(document, place, session.documents.encoding) for place in _ends(chosen.range))
    if not start <= offset <= end or "\n" in document.text[start:end]:
        return document, offset, offset
    return document.edited(start, end, chosen.text), start + len(chosen.text), start


def _ends(place: types.Range) -> tuple[types.Position, types.Position]:
    return place.start, place.end


# --- what became of it -------------------------------------------------------------


def execute_command(ls: PassServer, params: types.ExecuteCommandParams) -> None:
    """The command of an item: the user accepted it."""
    if params.command != usage.COMMAND:
        raise JsonRpcMethodNotFound(f"There is no command {params.command[:80]!r}.")
    name = (params.arguments or [None])[0]
    if isinstance(name, str) and (key := ls.session.usage.accepted(name)) is not None:
        ls.session.completer.accepted(key)


def did_show(ls: PassServer, params: Any) -> None:
    """`textDocument/didShowCompletion`: the client shows an item."""
    if isinstance(params, dict):
        ls.session.usage.shown(params.get("item"))


def did_accept_part(ls: PassServer, params: Any) -> None:
    """`textDocument/didPartiallyAcceptCompletion`: the user took a word or a line."""
    if isinstance(params, dict):
        key = ls.session.usage.accepted_part(params.get("item"), params.get("acceptedLength"))
        if key is not None:
            ls.session.completer.accepted(key)


def current_status(ls: PassServer, params: Any) -> dict[str, Any]:
    """`pass-lsp/status`: what `didChangeStatus` said last."""
    return ls.session.status.as_dict()


def recent_answers(ls: PassServer, params: Any) -> dict[str, Any]:
    """`pass-lsp/answers`: figures of the last answers, and how soon the engine was idle after a cancel."""
    session = ls.session
    return {
        "answers": list(session.answers.recent),
        "idle_after_ms": list(session.worker.idle_after_ms),
        "read_ahead_tokens": session.answers.read_ahead,
    }


HANDLERS: dict[str, Handler] = {
    types.TEXT_DOCUMENT_DID_OPEN: did_open,
    types.TEXT_DOCUMENT_DID_CHANGE: did_change,
    types.TEXT_DOCUMENT_DID_SAVE: did_save,
    types.TEXT_DOCUMENT_DID_CLOSE: did_close,
    types.NOTEBOOK_DOCUMENT_DID_OPEN: notebook_did_open,
    types.NOTEBOOK_DOCUMENT_DID_CHANGE: notebook_did_change,
    types.NOTEBOOK_DOCUMENT_DID_CLOSE: notebook_did_close,
    types.TEXT_DOCUMENT_INLINE_COMPLETION: inline_completion,
    types.TEXT_DOCUMENT_COMPLETION: completion,
    types.WORKSPACE_EXECUTE_COMMAND: execute_command,
    usage.DID_SHOW: did_show,
    usage.DID_ACCEPT_PART: did_accept_part,
    status.REQUEST: current_status,
    answers.REQUEST: recent_answers,
}
