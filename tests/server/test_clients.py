"""What existing clients say and expect: six real ones, menus, notebooks, folders, accepts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pass_lsp.server.app import create_server
from tests.server.conftest import Start
from tests.server.rawlsp import URI, RawClient, span
from tests.server.test_protocol import CAPABILITIES

ITEM = "textDocument/didShowCompletion"
PART = "textDocument/didPartiallyAcceptCompletion"


def seen(result: Any) -> dict[str, Any]:
    return json.loads(result["items"][0]["insertText"])


@pytest.fixture
def client(start: Start) -> Iterator[RawClient]:
    made = start()
    made.initialize("utf-16", capabilities={"textDocument": {"inlineCompletion": {}}})
    made.ready()
    yield made
    made.close()


@pytest.mark.parametrize("path", sorted(CAPABILITIES.glob("*.json")), ids=lambda path: path.stem)
def test_each_client_gets_the_request_that_it_knows_and_gets_an_answer(start: Start, path: Path) -> None:
    params = json.loads(path.read_text())
    offered = params["capabilities"].get("general", {}).get("positionEncodings", ["utf-16"])[0]
    inline = "inlineCompletion" in params["capabilities"]["textDocument"]
    client = start()
    capabilities = client.call("initialize", params)["result"]["capabilities"]
    client.notify("initialized", {})
    assert ("completionProvider" in capabilities) is not inline
    assert capabilities["executeCommandProvider"]["commands"] == ["pass-lsp.accepted"]
    assert capabilities["workspace"]["workspaceFolders"] == {"supported": True, "changeNotifications": True}
    notebooks = capabilities.get("notebookDocumentSync", {}).get("notebookSelector")
    assert notebooks == ([{"notebook": "*"}] if "notebookDocument" in params["capabilities"] else None)
    client.ready()
    client.open("# do: left\né\U0001f600 = ab)")
    column = {"utf-8": 11, "utf-16": 8, "utf-32": 7}[offered]
    if inline:
        [item] = client.complete(1, column)["items"]
        assert (item["insertText"], item["range"]) == ("abxyz", span(1, column - 2, 1, column + 1))
    else:
        place = {"textDocument": {"uri": URI}, "position": {"line": 1, "character": column}}
        result = client.call("textDocument/completion", {**place, "context": {"triggerKind": 1}})["result"]
        [item] = result["items"]
        assert result["isIncomplete"] is True
        assert item["textEdit"] == {"newText": "abxyz", "range": span(1, column - 2, 1, column + 1)}
        assert item["filterText"] == "abxyz" and item["insertTextFormat"] == 1
    client.call("workspace/executeCommand", item["command"])
    client.close()


@pytest.mark.parametrize(
    "params",
    [
        {"clientInfo": {}},
        {"workspaceFolders": [{"uri": "file:///work"}]},
        {"capabilities": {"notebookDocument": {}}},
        {"capabilities": {"notebookDocument": {"synchronization": None}, "textDocument": {"inlineCompletion": None}}},
        {"capabilities": {"textDocument": {"inlineCompletion": True}}},
    ],
)
def test_a_client_that_says_little_is_not_shut_out(params: dict[str, Any]) -> None:
    sent: list[bytes] = []
    server = create_server(lambda settings, report: None)
    server.protocol.connect(sent.append)
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"capabilities": {}, **params}}
    server.protocol.receive(json.dumps(message).encode())
    answer = json.loads(sent[0].partition(b"\r\n\r\n")[2])
    inline = params.get("capabilities", {}).get("textDocument", {}).get("inlineCompletion")
    assert ("completionProvider" in answer["result"]["capabilities"]) is (inline is not True)
    assert [str(folder) for folder in server.session.layers.workspace] == ["/work"] * ("workspaceFolders" in params)


def test_menus_and_inline_requests_of_one_document_supersede_each_other(start: Start) -> None:
    client = start()
    client.initialize("utf-16")
    client.ready()
    client.open("# do: slow\n")
    first = client.inline()
    place = {"textDocument": {"uri": URI}, "position": {"line": 1, "character": 0}}
    client.send(first, client.request("textDocument/completion", place), menu := client.inline(0, 3))
    assert client.wait(first["id"])["result"] is None
    client.notify("textDocument/didClose", {"textDocument": {"uri": URI}})
    assert client.wait(menu["id"])["result"] is None
    assert client.order[-3:] == [first["id"], first["id"] + 1, menu["id"]]
    assert client.call("textDocument/completion", place)["result"] == {"isIncomplete": True, "items": []}
    client.close()


def test_an_entry_selected_in_the_client_s_menu_is_completed(client: RawClient) -> None:
    client.open("x = pa)")
    message = client.inline(0, 6)
    message["params"]["context"]["selectedCompletionInfo"] = {"range": span(0, 4, 0, 6), "text": "path"}
    client.send(message)
    [item] = client.wait(message["id"])["result"]["items"]
    assert item["insertText"].startswith("path{") and item["range"] == span(0, 4, 0, 6)
    assert json.loads(item["insertText"][4:])["text"] == "x = path)"
    message = client.inline(0, 6)
    message["params"]["context"]["selectedCompletionInfo"] = {"range": span(0, 0, 0, 1), "text": "elsewhere"}
    client.send(message)
    assert seen(client.wait(message["id"])["result"])["text"] == "x = pa)"


def test_untitled_buffers_have_the_language_that_the_client_names(client: RawClient) -> None:
    client.open("x = ", "untitled:Untitled-1", "lua")
    report = seen(client.complete(0, 4, "untitled:Untitled-1"))
    assert (report["language"], report["path"], report["text"]) == ("lua", "Untitled-1", "x = ")


# --- notebooks ---------------------------------------------------------------------


def cell(number: int, text: str, language: str = "python") -> dict[str, Any]:
    return {"uri": f"notebook-cell:/a.ipynb#{number}", "languageId": language, "version": 1, "text": text}


def test_cells_of_a_notebook_are_context_for_each_other(client: RawClient) -> None:
    cells = [cell(0, "import os"), cell(1, "# Title", "markdown"), cell(2, "\nx = os."), cell(3, "print(x)")]
    kinds = [2, 1, 2, 2]
    listed = [{"kind": kind, "document": each["uri"]} for kind, each in zip(kinds, cells, strict=True)]
    book = {"uri": "file:///work/a.ipynb", "notebookType": "jupyter-notebook", "version": 1, "cells": listed}
    client.notify("notebookDocument/didOpen", {"notebookDocument": book, "cellTextDocuments": cells})
    result = client.complete(1, 7, cells[2]["uri"])
    report = seen(result)
    assert report["text"] == "import os\n\n\nx = os.\n\nprint(x)"
    assert (report["offset"], report["path"]) == (11 + 8, "/work/a.ipynb")
    assert result["items"][0]["range"] == span(1, 7, 1, 7)

    new, text = cell(4, "import re"), {"range": span(1, 7, 1, 7), "text": "p"}
    change = {
        "structure": {
            "array": {"start": 0, "deleteCount": 2, "cells": [{"kind": 2, "document": new["uri"]}]},
            "didOpen": [new],
            "didClose": [{"uri": cells[0]["uri"]}, {"uri": cells[1]["uri"]}],
        },
        "textContent": [{"document": {"uri": cells[2]["uri"], "version": 2}, "changes": [text]}],
    }
    place = {"uri": "file:///work/a.ipynb", "version": 2}
    client.notify("notebookDocument/didChange", {"notebookDocument": place, "change": {"cells": change}})
    client.notify("notebookDocument/didChange", {"notebookDocument": place, "change": {"metadata": {}}})
    assert seen(client.complete(1, 8, cells[2]["uri"]))["text"] == "import re\n\n\nx = os.p\n\nprint(x)"
    assert client.complete(uri=cells[0]["uri"]) == {"items": []}

    no_code_now = {"cells": {"data": [{"kind": 1, "document": new["uri"]}]}}
    client.notify("notebookDocument/didChange", {"notebookDocument": place, "change": no_code_now})
    assert seen(client.complete(1, 8, cells[2]["uri"]))["text"] == "\nx = os.p\n\nprint(x)"

    client.notify(
        "notebookDocument/didClose",
        {"notebookDocument": {"uri": place["uri"]}, "cellTextDocuments": [{"uri": cells[3]["uri"]}]},
    )
    assert seen(client.complete(1, 8, cells[2]["uri"]))["text"] == "\nx = os.p"
    assert client.complete(uri=cells[3]["uri"]) == {"items": []}


def test_a_cell_that_is_closed_and_opened_in_one_message_has_its_new_language(client: RawClient) -> None:
    old, new = cell(0, "x = "), cell(0, "x <- ", "r")
    place = {"uri": "file:///work/a.ipynb", "version": 2}
    listed = [{"kind": 2, "document": old["uri"]}]
    book = {**place, "notebookType": "jupyter-notebook", "cells": listed}
    client.notify("notebookDocument/didOpen", {"notebookDocument": book, "cellTextDocuments": [old]})
    array = {"start": 0, "deleteCount": 1, "cells": listed}
    change = {"structure": {"array": array, "didOpen": [new], "didClose": [{"uri": old["uri"]}]}}
    client.notify("notebookDocument/didChange", {"notebookDocument": place, "change": {"cells": change}})
    report = seen(client.complete(0, 5, new["uri"]))
    assert (report["text"], report["language"]) == ("x <- ", "r")


# --- settings ------------------------------------------------------------------------


def test_each_workspace_folder_has_its_own_settings(start: Start, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two", tmp_path / "two" / "inner"]
    for number, folder in enumerate(folders):
        folder.mkdir()
        (folder / ".pass-lsp.toml").write_text(f"multi_line_tokens = {number + 1}\nmodel = 'evil'\n")
    named = [{"uri": folder.as_uri()} for folder in folders]
    client = start()
    client.initialize("utf-16", workspaceFolders=named[:2])
    client.ready()

    def lines(path: Path) -> int:
        client.open("x", path.as_uri())
        report = seen(client.complete(0, 1, path.as_uri()))
        assert report["model"] == "embedded"
        return report["lines"]

    files = [folder / "a.py" for folder in folders]
    assert [lines(file) for file in files] == [1, 2, 2]
    client.notify("workspace/didChangeWorkspaceFolders", {"event": {"added": named[2:], "removed": named[:1]}})
    assert [lines(file) for file in files] == [2, 2, 3]
    (folders[1] / ".pass-lsp.toml").write_text("enabled = false")
    saved = (folders[1] / ".pass-lsp.toml").as_uri()
    client.notify("textDocument/didSave", {"textDocument": {"uri": saved}})
    assert client.complete(0, 1, files[1].as_uri()) == {"items": []}
    assert lines(files[2]) == 3
    client.close()


def test_a_client_that_pushes_nothing_is_asked(start: Start) -> None:
    client = start()
    client.initialize("utf-16", capabilities={"workspace": {"configuration": True}})
    client.ready()
    client.notify("workspace/didChangeConfiguration", {"settings": None})
    client.until(lambda: client.requests)
    [asked] = client.requests
    assert (asked["method"], asked["params"]) == ("workspace/configuration", {"items": [{"section": "pass-lsp"}]})
    client.close()


def test_a_client_may_answer_with_its_settings(start: Start) -> None:
    client = start()
    client.results["workspace/configuration"] = [{"multiLineTokens": 5, "enabled": "perhaps"}]
    client.initialize("utf-16", capabilities={"workspace": {"configuration": True}})
    client.ready()
    client.notify("workspace/didChangeConfiguration", {"settings": None})
    client.until(lambda: client.noted("window/showMessage"))
    client.open("x")
    assert seen(client.complete())["lines"] == 5
    client.close()


# --- loading --------------------------------------------------------------------------


def test_loading_can_be_cancelled_and_begun_again_by_hand(start: Start) -> None:
    client = start(FAKE_LOAD="slow")
    client.initialize(capabilities={"window": {"workDoneProgress": True}})
    client.until(lambda: client.noted("$/progress"))
    begin = client.noted("$/progress")[0]
    assert begin["value"]["cancellable"] is True
    client.notify("window/workDoneProgress/cancel", {"token": "another"})
    client.notify("window/workDoneProgress/cancel", {"token": begin["token"]})
    client.until(lambda: client.noted("didChangeStatus")[-1]["reason"] == "load-cancelled")
    assert client.noted("$/progress")[-1]["value"]["kind"] == "end"
    client.open("x = ")
    assert client.complete(0, 4) == {"items": []}
    assert client.call("pass-lsp/status")["result"]["reason"] == "load-cancelled"
    message = client.inline(0, 4)
    message["params"]["context"]["triggerKind"] = 1
    client.send(message)
    assert client.wait(message["id"])["result"] == {"items": []}
    client.until(lambda: client.noted("didChangeStatus")[-1]["reason"] == "model-loading")
    client.notify("window/workDoneProgress/cancel", {"token": begin["token"]})  # that one is over
    client.until(lambda: len(client.requests) == 2 and client.noted("$/progress")[-1]["value"]["kind"] == "report")
    first, second = (request["params"]["token"] for request in client.requests)
    assert first != second == client.noted("$/progress")[-1]["token"]
    client.close()


# --- what becomes of suggestions ------------------------------------------------------


def events(folder: Path) -> list[dict[str, Any]]:
    file = folder / "pass-lsp" / "ledger.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_accepts_are_counted_and_no_text_is_kept(client: RawClient, tmp_path: Path) -> None:
    client.open("secret_name = ")
    [item] = client.complete(0, 14)["items"]
    client.notify(ITEM, {"item": item})
    client.notify(ITEM, {"item": item})
    client.notify(PART, {"item": item, "acceptedLength": 4})
    client.notify(PART, {"item": item, "acceptedLength": 9})
    client.call("workspace/executeCommand", item["command"])
    client.call("workspace/executeCommand", item["command"])
    for junk in (
        {},
        None,
        {"item": {}},
        {"item": {"command": {"arguments": []}}},
        {"item": item, "acceptedLength": "x"},
    ):
        client.notify(ITEM, junk)
        client.notify(PART, junk)
    assert client.call("workspace/executeCommand", {"command": "pass-lsp.accepted"})["result"] is None
    client.until(lambda: len(events(tmp_path)) >= 5)
    found = events(tmp_path)
    assert [each["kind"] for each in found] == ["answer", "shown", "partly", "partly", "accepted"]
    assert [each.get("characters") for each in found[1:]] == [len(item["insertText"]), 4, 5, len(item["insertText"])]
    assert "secret" not in (tmp_path / "pass-lsp" / "ledger.jsonl").read_text()


def test_the_ledger_can_be_switched_off(start: Start, tmp_path: Path) -> None:
    client = start()
    client.initialize("utf-16", initializationOptions={"ledger": False})
    client.ready()
    client.open("x")
    [item] = client.complete(0, 1)["items"]
    client.call("workspace/executeCommand", item["command"])
    client.close()
    assert not (tmp_path / "pass-lsp" / "ledger.jsonl").exists()


def test_a_ledger_that_cannot_be_written_costs_nothing_else(start: Start, tmp_path: Path, log: Path) -> None:
    (tmp_path / "pass-lsp").mkdir()
    (tmp_path / "pass-lsp" / "ledger.jsonl").mkdir()
    client = start()
    client.initialize("utf-16")
    client.ready()
    client.open("x")
    assert len(client.complete(0, 1)["items"]) == 1
    client.until(lambda: "ledger cannot be written" in log.read_text())
    client.close()
