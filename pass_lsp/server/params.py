"""From JSON to LSP types: strict about what we use, patient with what clients are known to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeGuard

from cattrs import Converter
from lsprotocol import converters, types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidRequest

_LARGEST = 2**31 - 1
_USED_CAPABILITIES = {
    "general": ("positionEncodings",),
    "window": ("workDoneProgress",),
    "workspace": ("configuration",),
}
_NAMED_CAPABILITIES = {"notebookDocument": "synchronization", "textDocument": "inlineCompletion"}
"""Of these only that the client has them is used."""
_USED_BY_INITIALIZE = ("processId", "rootPath", "rootUri", "initializationOptions")


def make_converter() -> Converter:
    """lsprotocol's converter without its leniency: `"5"` is no number here, and null is no text."""
    converter = converters.get_converter()
    for kind in (str, bool):
        converter.register_structure_hook(kind, _exactly(kind))
    converter.register_structure_hook(int, lambda value, _: _integer(value))
    converter.register_structure_hook(types.Position, lambda value, _: _position(value))
    return converter


def is_request(method: str) -> bool | None:
    """Whether LSP says that `method` has an answer; None for a method that LSP does not know."""
    known = types.METHOD_TO_TYPES.get(method)
    return None if known is None else known[1] is not None


def flaw(message: dict[str, Any]) -> JsonRpcException | None:
    """What makes `message` neither a request nor a notification."""
    if message.get("jsonrpc") != "2.0":
        return JsonRpcInvalidRequest('The message lacks "jsonrpc": "2.0".')
    if not isinstance(message.get("method"), str):
        return JsonRpcInvalidRequest("The method of a message is a string.")
    if "id" in message and not is_id(message["id"]):
        return JsonRpcInvalidRequest("The id of a request is a string or an integer.")
    return None


def is_id(value: object) -> TypeGuard[str | int]:
    """Whether `value` can be the id of a request."""
    return isinstance(value, str | int) and not isinstance(value, bool)


def tidied(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """`params` as LSP 3.18 has them, from clients that send other things for good reasons."""
    return _TIDY.get(method, _as_is)(params)


def _as_is(params: dict[str, Any]) -> dict[str, Any]:
    return params


def _initialize(params: dict[str, Any]) -> dict[str, Any]:
    """Only the members that are used: a client may be newer than our types, and that must not shut it out."""
    used = {key: params[key] for key in _USED_BY_INITIALIZE if params.get(key) is not None}
    used |= {"workspaceFolders": _folders(params.get("workspaceFolders"))}
    return {"processId": None, "rootUri": None, **used, "capabilities": _capabilities(params.get("capabilities", {}))}


def _capabilities(given: Any) -> Any:
    if not isinstance(given, dict):
        return given
    rooms = {room: value for room, value in given.items() if isinstance(value, dict)}
    used = {
        room: {key: value for key, value in rooms[room].items() if key in keys}
        for room, keys in _USED_CAPABILITIES.items()
        if room in rooms
    }
    named = {room: key for room, key in _NAMED_CAPABILITIES.items() if room in rooms}
    return used | {room: {key: {}} for room, key in named.items() if rooms[room].get(key) not in (None, False)}


def _did_change_folders(params: dict[str, Any]) -> dict[str, Any]:
    event = params.get("event")
    if isinstance(event, dict):
        event = {key: _folders(event.get(key) or []) for key in ("added", "removed")}
    return {"event": event}


def _folders(folders: Any) -> Any:
    """Their names are for people, and some clients leave them out."""
    if not isinstance(folders, list):
        return folders
    return [{**folder, "name": ""} if isinstance(folder, dict) else folder for folder in folders]


def _inline_completion(params: dict[str, Any]) -> dict[str, Any]:
    """Drafts of LSP 3.18 counted the trigger kinds from 0, and the context may be missing altogether."""
    context = params.get("context", {})
    if not isinstance(context, dict):
        return params
    kind = context.get("triggerKind", 1)
    known = kind if kind in (1, 2) or not isinstance(kind, int) else 1
    chosen = {key: context[key] for key in ("selectedCompletionInfo",) if context.get(key) is not None}
    return {**params, "context": {"triggerKind": known, **chosen}}


def _completion(params: dict[str, Any]) -> dict[str, Any]:
    """How a menu was opened makes no difference here, and kinds come that LSP does not know yet."""
    return {key: params[key] for key in ("textDocument", "position") if key in params}


def _did_change(params: dict[str, Any]) -> dict[str, Any]:
    """LSP before 3.16 allowed a null version, and some clients write a null range for a full text."""
    document, changes = params.get("textDocument"), params.get("contentChanges")
    if isinstance(document, dict) and document.get("version") is None:
        document = {**document, "version": 0}
    if isinstance(changes, list):
        changes = [_change(change) for change in changes]
    return {"textDocument": document, "contentChanges": changes}


def _change(change: Any) -> Any:
    if isinstance(change, dict):
        return {key: change[key] for key in ("range", "text") if change.get(key) is not None}
    return change


_TIDY: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    types.INITIALIZE: _initialize,
    types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS: _did_change_folders,
    types.TEXT_DOCUMENT_INLINE_COMPLETION: _inline_completion,
    types.TEXT_DOCUMENT_COMPLETION: _completion,
    types.TEXT_DOCUMENT_DID_CHANGE: _did_change,
}


def _exactly(kind: type) -> Callable[[Any, Any], Any]:
    def structure(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"not a {kind.__name__}")
        return value

    return structure


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise TypeError("not an integer")
    return int(value)


def _position(value: Any) -> types.Position:
    """A position outside the range of uinteger is clamped like one outside the text, not an error."""
    line, character = _integer(value["line"]), _integer(value["character"])
    if line < 0 or character < 0:
        character = 0
    return types.Position(min(max(line, 0), _LARGEST), min(character, _LARGEST))
