"""The one place that knows how pygls 2.1.1 works inside, and mends what it gets wrong.

pygls gives the table of handlers, the LSP types and their converter, and the
capabilities. What happens between a body and a handler is here, because there pygls

1. leaves out `inlineCompletionProvider` where no options are registered;
2. runs work in the pool that also reads stdin;
3. reports errors of a dead pipe to the dead pipe, and every error as a pop-up;
4. never answers a request whose params do not fit their type;
5. ends lines at form feeds and U+2028 (its workspace is not used; see `documents/`);
6. clamps positions to one before the end of the line (likewise);
7. runs `async` handlers later, when a following `didChange` may have been applied;
8. swallows the exit code, and answers lifecycle errors late, wrongly or with a traceback.

The rules for a handler: it is a plain function and runs at dispatch, before any later
message is read, so what it takes from the session is what the client saw. It may return
an awaitable for its answer, which `$/cancelRequest` cancels.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import logging
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from functools import partial
from typing import Any

from lsprotocol import types
from pygls.capabilities import ServerCapabilitiesBuilder
from pygls.exceptions import (
    FeatureNotificationError,
    JsonRpcException,
    JsonRpcInternalError,
    JsonRpcInvalidParams,
    JsonRpcInvalidRequest,
    JsonRpcMethodNotFound,
    JsonRpcParseError,
    JsonRpcRequestCancelled,
    JsonRpcServerNotInitialized,
)
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol, lsp_method

from pass_lsp.documents.document import Encoding
from pass_lsp.server.failures import JobFailed, sentence, where
from pass_lsp.server.frames import frame
from pass_lsp.server.params import flaw, is_id, is_request, make_converter, tidied

log = logging.getLogger(__name__)

_BUILT_IN = (types.INITIALIZE, types.SHUTDOWN, types.EXIT)
_JSON = "2.0"
_ENCODINGS: dict[str, Encoding] = {"utf-8": "utf-8", "utf-16": "utf-16", "utf-32": "utf-32"}


class Protocol(LanguageServerProtocol):
    """JSON-RPC and lifecycle of one connection; lives on the event loop."""

    def __init__(self, server: Server, converter: Any) -> None:
        super().__init__(server, converter)
        self.encoding: Encoding = "utf-16"
        self._ready = False
        self._asked_so_far = 0
        self._asked: dict[str, Callable[[Any, bool], None]] = {}
        self._write: Callable[[bytes], None] | None = None
        for method in set(self.fm.builtin_features) - set(_BUILT_IN):
            del self.fm.builtin_features[method]

    # --- in -----------------------------------------------------------------

    def connect(self, write: Callable[[bytes], None]) -> None:
        """Send frames through `write` from now on."""
        self._write = write

    def receive(self, body: bytes) -> None:
        """Handle one message; whatever is in it, nothing is raised and every id is answered."""
        try:
            message = json.loads(body)
        except (ValueError, RecursionError):
            log.warning("A message of %d bytes is not JSON.", len(body))
            self._refuse(None, JsonRpcParseError("The message is not JSON."))
            return
        if not isinstance(message, dict):
            self._refuse(None, JsonRpcInvalidRequest("A message is one JSON object; batches are not part of LSP."))
        elif "method" not in message and ("result" in message or "error" in message):
            self._take_answer(message)
        elif (wrong := flaw(message)) is not None:
            msg_id = message.get("id")
            self._refuse(msg_id if is_id(msg_id) else None, wrong)
        elif "id" in message:
            self._take_request(message["id"], message["method"], message.get("params"))
        else:
            self._take_notification(message["method"], message.get("params"))

    def _take_request(self, msg_id: str | int, method: str, params: Any) -> None:
        try:
            self._check_state(method)
            self._check_request(msg_id, method)
            structured = self._structured(method, params)
        except JsonRpcException as error:
            log.warning("Request %r is refused: %s", method[:80], error.message)
            self._refuse(msg_id, error)
            return
        self._handle_request(msg_id, method, structured)

    def _take_notification(self, method: str, params: Any) -> None:
        if method == types.CANCEL_REQUEST:
            self._cancel(params)
            return
        try:
            if method != types.EXIT:
                self._check_state(method)
            if is_request(method):
                raise JsonRpcInvalidRequest("It needs an id.")
            handler = self._get_handler(method)
            handler(self._structured(method, params))
        except JsonRpcMethodNotFound:
            log.debug("Notification %r is not for us.", method[:80])
        except JsonRpcException as error:
            log.warning("Notification %r is ignored: %s", method[:80], error.message)
        except Exception as error:
            self._server.report_server_error(error, FeatureNotificationError)

    def _check_state(self, method: str) -> None:
        if self._shutdown:
            raise JsonRpcInvalidRequest("The server is shut down; all it waits for is exit.")
        if method == types.INITIALIZE:
            if self._ready:
                raise JsonRpcInvalidRequest("The server is initialized already.")
        elif not self._ready:
            raise JsonRpcServerNotInitialized("The server waits for initialize first.")

    def _check_request(self, msg_id: str | int, method: str) -> None:
        if msg_id in self._request_futures:
            raise JsonRpcInvalidRequest("A request with this id is still open.")
        self._get_handler(method)
        if is_request(method) is False:
            raise JsonRpcInvalidRequest("This method is a notification; it takes no id.")

    def _structured(self, method: str, params: Any) -> Any:
        wanted = types.METHOD_TO_TYPES.get(method, (None, None, None, None))[2]
        if wanted is None:
            return params
        if not isinstance(params, dict | None):
            raise JsonRpcInvalidParams("The params of this method are an object.")
        try:
            return self._converter.structure(tidied(method, params or {}), wanted)
        except Exception as error:  # cattrs raises groups, and plain errors of any kind from union hooks
            raise JsonRpcInvalidParams("The params do not have the members and types that LSP 3.18 says.") from error

    # --- handlers -------------------------------------------------------------

    def _handle_request(self, msg_id: str | int, method_name: str, params: Any) -> None:
        answered = partial(self._send_handler_result, msg_id=msg_id)
        try:
            result = self._get_handler(method_name)(params)
        except Exception as error:
            self._refuse(msg_id, _as_reply(error))
            return
        if not inspect.isawaitable(result):
            self._send_response(msg_id, result)
            return
        future = asyncio.ensure_future(result)
        self._request_futures[msg_id] = future  # type: ignore[assignment]  # pygls knows asyncio's futures too
        future.add_done_callback(answered)

    def _send_handler_result(self, future: Any, *, msg_id: str | int) -> None:
        self._request_futures.pop(msg_id, None)
        if future.cancelled():
            self._refuse(msg_id, JsonRpcRequestCancelled("The client cancelled the request."))
        elif (error := future.exception()) is not None:
            self._refuse(msg_id, _as_reply(error))
        else:
            self._send_response(msg_id, future.result())

    def _cancel(self, params: Any) -> None:
        wanted = params.get("id") if isinstance(params, dict) else None
        future = self._request_futures.get(wanted) if is_id(wanted) else None  # to a dict, true is 1
        if future is not None:
            future.cancel()

    @lsp_method(types.INITIALIZE)
    def lsp_initialize(self, params: types.InitializeParams) -> types.InitializeResult:  # type: ignore[override]
        """Settle the position encoding and say what the server can do."""
        self.client_capabilities = params.capabilities
        chosen = ServerCapabilitiesBuilder.choose_position_encoding(params.capabilities)
        self.encoding = _ENCODINGS[str(getattr(chosen, "value", chosen))]
        self.server_capabilities = self._capabilities()
        if (handler := self.fm.features.get(types.INITIALIZE)) is not None:
            handler(params)
        self._ready = True
        return types.InitializeResult(capabilities=self.server_capabilities, server_info=self.server_info)

    @lsp_method(types.SHUTDOWN)
    def lsp_shutdown(self, *_: Any) -> None:  # type: ignore[override]
        """Answer what is open with -32800 and wait for exit."""
        for future in list(self._request_futures.values()):
            future.cancel()
        self._shutdown = True

    @lsp_method(types.EXIT)
    def lsp_exit(self, *_: Any) -> None:  # type: ignore[override]
        """End the process; the code is 1 where shutdown did not come first."""
        self._server.finish(self.exit_code)  # type: ignore[attr-defined]

    @property
    def exit_code(self) -> int:
        """What the process ends with if it ends now."""
        return 0 if self._shutdown else 1

    def _capabilities(self) -> types.ServerCapabilities:
        built = ServerCapabilitiesBuilder(
            self.client_capabilities,
            set(self.fm.features),
            self.fm.feature_options,
            list(self.fm.commands),
            types.TextDocumentSyncKind.Incremental,
            types.NotebookDocumentSyncOptions([types.NotebookDocumentFilterWithNotebook(notebook="*")]),
            self.encoding,
        ).build()
        built.execute_command_provider = built.execute_command_provider if self.fm.commands else None
        built.inline_completion_provider = built.inline_completion_provider or types.InlineCompletionOptions()
        inline = self.client_capabilities.text_document
        if inline is not None and inline.inline_completion is not None:
            built.completion_provider = None  # one of both is enough: menus would show everything twice
        return built

    # --- out ------------------------------------------------------------------

    def ask(self, method: str, params: Any, answered: Callable[[Any, bool], None]) -> None:
        """Send a request; `answered(result, ok)` hears of the answer, if one ever comes."""
        self._asked_so_far += 1
        msg_id = f"pass-lsp/{self._asked_so_far}"
        self._asked[msg_id] = answered
        self._send_data({"jsonrpc": _JSON, "id": msg_id, "method": method, "params": params})

    def notify(self, method: str, params: Any | None = None) -> None:
        """Send a notification."""
        self._send_data({"jsonrpc": _JSON, "method": method, "params": params})

    def _take_answer(self, message: dict[str, Any]) -> None:
        msg_id = message.get("id")
        answered = self._asked.pop(msg_id, None) if isinstance(msg_id, str) else None
        if answered is not None:
            answered(message.get("result"), "error" not in message)

    def _refuse(self, msg_id: str | int | None, error: JsonRpcException) -> None:
        reply = {"code": error.code, "message": error.message}  # no `data`: pygls would put a traceback there
        self._send_data({"jsonrpc": _JSON, "id": msg_id, "error": reply})

    def _send_response(self, msg_id: Any, result: Any = None, error: Any = None) -> None:
        self._send_data({"jsonrpc": _JSON, "id": msg_id, "result": result})

    def _send_data(self, data: Any) -> None:
        if self._write is not None:
            plain = self._converter.unstructure(data)
            self._write(frame(json.dumps(plain, separators=(",", ":")).encode("ascii")))


class Server(LanguageServer):
    """pygls's server with our protocol, and an end that has an exit code."""

    protocol: Protocol  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, name: str, version: str) -> None:
        # pygls logs whole messages, source text included, at INFO and in its error reports
        logging.getLogger("pygls").setLevel(logging.CRITICAL)
        super().__init__(name, version, protocol_cls=Protocol, converter_factory=make_converter)
        self.finished: Future[int] = Future()

    def finish(self, code: int) -> None:
        """Let `serve` return `code`; the first call counts."""
        with contextlib.suppress(InvalidStateError):  # the loop, stdin's end and a dead editor may all call it
            self.finished.set_result(code)

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Log a failure outside any request: never a pop-up, never a reply to a pipe that is gone."""
        log.error("A message could not be handled (%s).", where(error))


def _as_reply(error: BaseException) -> JsonRpcException:
    if isinstance(error, JsonRpcException):
        return error
    if not isinstance(error, JobFailed):
        log.error("A request failed (%s).", where(error))
    return JsonRpcInternalError(sentence(error))
