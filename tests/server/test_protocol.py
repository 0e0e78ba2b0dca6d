"""What arrives may be anything; each id is answered once and the server lives on."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.server.conftest import Start
from tests.server.rawlsp import RawClient, framed

CAPABILITIES = Path(__file__).parent / "capabilities"
NOTEBOOK = {
    "uri": "file:///n.ipynb",
    "notebookType": "x",
    "version": 1,
    "cells": [{"kind": 2, "document": "file:///work/sample.py"}],
}
METHODS = [
    "textDocument/inlineCompletion",
    "textDocument/didOpen",
    "textDocument/didChange",
    "textDocument/didClose",
    "textDocument/didSave",
    "textDocument/completion",
    "textDocument/didShowCompletion",
    "textDocument/didPartiallyAcceptCompletion",
    "notebookDocument/didOpen",
    "notebookDocument/didChange",
    "notebookDocument/didClose",
    "pass-lsp/answers",
    "workspace/didChangeConfiguration",
    "workspace/didChangeWorkspaceFolders",
    "workspace/executeCommand",
    "window/workDoneProgress/cancel",
    "window/showMessage",
    "pass-lsp/status",
    "initialize",
    "initialized",
    "$/cancelRequest",
    "$/setTrace",
    "no/such/method",
    "",
]


@pytest.mark.parametrize("path", sorted(CAPABILITIES.glob("*.json")), ids=lambda path: path.stem)
def test_real_clients_are_understood(start: Start, path: Path) -> None:
    params = json.loads(path.read_text())
    offered = params["capabilities"].get("general", {}).get("positionEncodings", ["utf-16"])
    client = start()
    answer = client.call("initialize", params)
    client.notify("initialized", {})
    capabilities = answer["result"]["capabilities"]
    assert capabilities["inlineCompletionProvider"] == {}
    assert capabilities["positionEncoding"] == offered[0]
    assert capabilities["textDocumentSync"]["change"] == 2 and capabilities["textDocumentSync"]["openClose"]
    client.ready()
    client.open("é\U0001f600x")
    column = {"utf-8": 6, "utf-16": 3, "utf-32": 2}[offered[0]]
    item = client.complete(0, column)["items"][0]
    assert json.loads(item["insertText"])["offset"] == 2
    assert item["range"]["start"] == {"line": 0, "character": column}
    shows = params["capabilities"].get("window", {}).get("workDoneProgress", False)
    assert [request["method"] for request in client.requests] == ["window/workDoneProgress/create"] * bool(shows)
    client.close()


@pytest.mark.parametrize(
    "params",
    [
        None,
        [],
        5,
        "x",
        {},
        {"textDocument": {"uri": "u"}},
        {"textDocument": {"uri": 5}, "position": {"line": 0, "character": 0}},
        {"textDocument": {"uri": "u"}, "position": {"line": "0", "character": 0}},
        {"textDocument": {"uri": "u"}, "position": {"line": 0.5, "character": 0}},
        {"textDocument": {"uri": "u"}, "position": {"line": True, "character": 0}},
        {"textDocument": {"uri": "u"}, "position": {"line": 0, "character": 0}, "context": 5},
        {"textDocument": {"uri": "u"}, "position": {"line": 0, "character": 0}, "context": {"triggerKind": "x"}},
    ],
)
def test_malformed_params_are_answered(shared: RawClient, params: Any) -> None:
    error = shared.call("textDocument/inlineCompletion", params)["error"]
    assert error["code"] == -32602 and set(error) == {"code", "message"}
    assert shared.noted("window/showMessage") == []


def test_unknown_things_are_answered_or_ignored(shared: RawClient) -> None:
    assert shared.call("no/such/request", {"type_name": 5})["error"]["code"] == -32601
    assert shared.call("workspace/executeCommand", {"command": "x"})["error"]["code"] == -32601
    assert shared.call("textDocument/didOpen", {})["error"]["code"] in (-32600, -32602)
    for method in ("no/such/notification", "$/whatever", "textDocument/inlineCompletion", "shutdown"):
        shared.notify(method, {"a": 1})
    shared.change(5, {"text": "x"}, uri="file:///unopened")
    assert "result" in shared.call("pass-lsp/status")


def test_what_is_no_message_is_answered_without_an_id(shared: RawClient) -> None:
    for body, code in {
        b"{": -32700,
        b"\xff\xfe": -32700,
        b"[" * 50_000: -32700,
        b"": -32700,
        b"[]": -32600,
        b"5": -32600,
        b'{"jsonrpc": "2.0"}': -32600,
        b'{"jsonrpc": "2.0", "id": null, "method": "shutdown"}': -32600,
        b'{"jsonrpc": "2.0", "id": [1], "method": "shutdown"}': -32600,
        b'{"jsonrpc": "2.0", "id": true, "method": 5}': -32600,
    }.items():
        before = len(shared.nameless)
        shared.write(framed(body))
        shared.until(lambda before=before: len(shared.nameless) > before)
        assert shared.nameless[-1]["error"]["code"] == code
    shared.send({"id": 10_001, "method": "pass-lsp/status"})
    assert shared.wait(10_001)["error"]["code"] == -32600


def test_headers_in_lower_case_and_junk_between_messages(shared: RawClient) -> None:
    message = shared.request("pass-lsp/status")
    body = json.dumps(message).encode()
    shared.write(b"content-length: %d\r\ncontent-type: x\r\n\r\n%b" % (len(body), body))
    assert "result" in shared.wait(message["id"])
    shared.write(b"junk\r\nmore junk ")
    shared.write(b"\r\n")
    assert "result" in shared.call("pass-lsp/status")


def test_ids_may_be_strings_and_are_not_taken_twice(shared: RawClient) -> None:
    shared.send({**shared.inline(), "id": "first"})
    assert shared.wait("first")["result"] == {"items": []}
    shared.open("# do: slow\n", "file:///slow")
    message = shared.inline(uri="file:///slow")
    shared.send(message, {"jsonrpc": "2.0", "id": message["id"], "result": "not yours to answer"})
    shared.notify("$/cancelRequest", {"id": message["id"]})
    assert shared.wait(message["id"])["error"]["code"] == -32800


def test_a_cancel_whose_id_is_none_cancels_nothing(shared: RawClient) -> None:
    shared.open("# do: slow\n", "file:///slow")
    shared.send({**shared.inline(uri="file:///slow"), "id": 0})
    for wrong in (False, None, 0.0, [0], "0"):
        shared.notify("$/cancelRequest", {"id": wrong})
        assert "result" in shared.call("pass-lsp/status")
    assert "result" in shared.call("pass-lsp/status") and 0 not in shared.answers
    shared.notify("$/cancelRequest", {"id": 0})
    assert shared.wait(0)["error"]["code"] == -32800


def junk(rng: random.Random, depth: int = 0) -> Any:
    """Any JSON value, with a liking for the words and numbers that LSP uses."""
    kind = rng.randrange(9 if depth < 4 else 6)
    if kind == 0:
        return None
    if kind == 1:
        return rng.choice([True, False])
    if kind == 2:
        return rng.choice([0, 1, -1, 2**31, -(2**63), 10**40, 7])
    if kind == 3:
        return rng.choice([0.5, 1e308, -0.0, 3.0])
    if kind in (4, 5):
        return rng.choice(["", "x", "file:///a.py", "\ud800", "\x00", "utf-16", "z" * 1000, "http://["])
    if kind == 6:
        return [junk(rng, depth + 1) for _ in range(rng.randrange(3))]
    keys = ["textDocument", "uri", "position", "line", "character", "context", "triggerKind", "text", "version"]
    keys += ["contentChanges", "range", "start", "end", "id", "jsonrpc", "method", "settings", "pass-lsp", "enabled"]
    return {rng.choice(keys): junk(rng, depth + 1) for _ in range(rng.randrange(5))}


def spoilt(rng: random.Random, value: Any) -> Any:
    """A good message with one thing in it replaced."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        return {**value, key: spoilt(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.9:
        return [spoilt(rng, value[0]), *value[1:]]
    return junk(rng)


def hostile(rng: random.Random, client: RawClient) -> dict[str, Any]:
    good = [
        client.inline(rng.randrange(3), rng.randrange(5)),
        client.change_message(
            3, {"range": {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 1}}, "text": "y"}
        ),
        client.message(
            "textDocument/didOpen",
            {"textDocument": {"uri": "file:///work/sample.py", "languageId": "x", "version": 1, "text": "abc\n"}},
        ),
        client.message("workspace/didChangeConfiguration", {"settings": {"pass-lsp": {"promptTokens": 5}}}),
        client.request("textDocument/completion", client.inline(0, 2)["params"]),
        client.request("workspace/executeCommand", {"command": "pass-lsp.accepted", "arguments": ["1"]}),
        client.message("textDocument/didShowCompletion", {"item": {"command": {"arguments": ["1"]}}}),
        client.message("notebookDocument/didOpen", {"notebookDocument": NOTEBOOK, "cellTextDocuments": []}),
        client.message(
            "notebookDocument/didChange",
            {
                "notebookDocument": {"uri": "file:///n.ipynb", "version": 2},
                "change": {"cells": {"structure": {"array": {"start": 0, "deleteCount": 1, "cells": []}}}},
            },
        ),
    ]
    if rng.random() < 0.6:
        message = rng.choice(good)
        message["params"] = spoilt(rng, message["params"])
        return message
    message = client.message(rng.choice(METHODS), junk(rng))
    if rng.random() < 0.7:
        message["id"] = rng.choice([client.request("x")["id"], f"s{rng.random()}"])
    return message


def test_ten_thousand_hostile_messages_are_answered_and_survived(shared: RawClient) -> None:
    rng = random.Random(4)
    shared.open("abc\n")
    asked = set()
    for _ in range(200):
        packet = [hostile(rng, shared) for _ in range(50)]
        asked |= {message["id"] for message in packet if "id" in message}
        shared.send(*packet)
    shared.until(lambda: asked <= set(shared.answers), 60)
    assert len(asked) > 3000
    assert "result" in shared.call("pass-lsp/status")
    shared.notify("workspace/didChangeConfiguration", {"settings": {"pass-lsp": {"enabled": True}}})
    shared.open("fine")
    assert json.loads(shared.complete()["items"][0]["insertText"])["text"] == "fine"
    texts = [note["message"] for note in shared.noted("window/showMessage")]
    assert len(texts) == len(set(texts))  # complaints about settings, each once
