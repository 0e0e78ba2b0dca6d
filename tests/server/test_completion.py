"""`textDocument/inlineCompletion`: what is answered, when, and how often."""

from __future__ import annotations

import json
from typing import Any

from tests.server.conftest import Start
from tests.server.rawlsp import URI, RawClient, span


def report(result: Any) -> dict[str, Any]:
    """What the scripted engine saw."""
    return json.loads(result["items"][0]["insertText"])


def counts(client: RawClient) -> dict[str, int]:
    client.open("# do: count\n", "file:///count")
    return json.loads(client.complete(uri="file:///count")["items"][0]["insertText"])


def status(client: RawClient) -> dict[str, Any]:
    return client.call("pass-lsp/status")["result"]


def test_an_item_has_text_and_range(shared: RawClient) -> None:
    shared.open("x = \U0001f600", "file:///work/a%20b.py")
    result = shared.complete(0, 6, "file:///work/a%20b.py")
    assert set(result) == {"items"} and len(result["items"]) == 1
    assert result["items"][0]["range"] == span(0, 6, 0, 6)
    seen = report(result)
    assert (seen["offset"], seen["language"], seen["path"], seen["version"]) == (5, "python", "/work/a b.py", 1)
    assert status(shared)["reason"] == ""


def test_a_range_may_begin_left_of_the_cursor(shared: RawClient) -> None:
    shared.open("# do: left\n  \U0001f600 self.)")
    result = shared.complete(1, 10)
    [item] = result["items"]
    assert (item["insertText"], item["range"]) == ("f.xyz", span(1, 8, 1, 11))


def test_a_range_that_no_editor_can_draw_is_no_item(shared: RawClient) -> None:
    shared.open("# do: off\nabc")
    assert shared.complete(1, 1) == {"items": []}


def test_empty_answers_have_a_reason(shared: RawClient) -> None:
    shared.open("# do: nothing\n")
    assert shared.complete() == {"items": []}
    shown = status(shared)
    assert (shown["kind"], shown["reason"]) == ("Normal", "inside-comment-or-string")
    assert shared.noted("didChangeStatus")[-1] == shown
    assert shared.complete(uri="file:///never-opened") == {"items": []}
    assert status(shared)["reason"] == "document-not-open"
    shared.notify("textDocument/didClose", {"textDocument": {"uri": URI}})
    assert shared.complete() == {"items": []}
    sent = len(shared.noted("didChangeStatus"))
    assert shared.complete() == {"items": []}
    assert len(shared.noted("didChangeStatus")) == sent  # only changes are sent


def test_an_ignore_file_that_has_changed_counts_without_a_key(shared: RawClient) -> None:
    shared.open("# do: ignored\n")
    assert shared.complete() == {"items": []} and status(shared)["reason"] == "ignored-file"
    assert [item["insertText"] for item in shared.complete()["items"]] == ["shown()"]


def test_positions_outside_the_text_are_clamped(shared: RawClient) -> None:
    shared.open("ab\ncd\n")
    for place, offset in {(0, 99): 2, (99, 0): 6, (-1, 3): 0, (0, -7): 0, (1, 2**40): 5}.items():
        assert report(shared.complete(*place))["offset"] == offset


def test_failures_answer_their_request_and_no_other(shared: RawClient) -> None:
    for order, said in {"fail": "ValueError", "memory": "not enough memory", "leave": "SystemExit"}.items():
        shared.open(f"# do: {order}\nsecret_source = 1", f"file:///{order}")
        message = shared.inline(uri=f"file:///{order}")
        shared.send(message)
        error = shared.wait(message["id"])["error"]
        assert error["code"] == -32603 and set(error) == {"code", "message"}
        assert said in error["message"] and "secret_source" not in error["message"]
        assert status(shared)["kind"] == "Warning"
    shared.open("x")
    assert report(shared.complete())["text"] == "x"
    assert status(shared) == {"busy": False, "kind": "Normal", "message": "Ready.", "reason": ""}


def test_cancel_is_answered_at_once_and_frees_the_engine(shared: RawClient) -> None:
    shared.open("# do: slow\n")
    message = shared.inline()
    shared.send(message)
    shared.notify("$/cancelRequest", {"id": message["id"]})
    assert shared.wait(message["id"])["error"]["code"] == -32800
    assert counts(shared).get("running", 0) == 0  # answered at all: the slow job has made room
    shared.notify("$/cancelRequest", {"id": message["id"]})
    shared.notify("$/cancelRequest", {"id": "never"})
    shared.notify("$/cancelRequest", {"id": [1]})
    shared.notify("$/cancelRequest", None)


def test_request_and_cancel_in_one_packet(shared: RawClient) -> None:
    shared.open("# do: slow\n")
    message = shared.inline()
    shared.send(message, shared.message("$/cancelRequest", {"id": message["id"]}))
    assert shared.wait(message["id"])["error"]["code"] == -32800
    assert counts(shared).get("running", 0) == 0


def test_a_newer_request_supersedes_the_older_one(shared: RawClient) -> None:
    """As Neovim types: no cancels, every key asks."""
    shared.open("# do: slow\n", "file:///slow")
    keys = [shared.inline(0, key, "file:///slow") for key in range(10)]
    for key in keys:
        shared.send(key)
    for key in keys[:-1]:
        assert shared.wait(key["id"])["result"] is None
    assert keys[-1]["id"] not in shared.answers
    assert [i for i in shared.order if i in {key["id"] for key in keys}] == [key["id"] for key in keys[:-1]]
    shared.notify("textDocument/didClose", {"textDocument": {"uri": "file:///slow"}})
    assert shared.wait(keys[-1]["id"])["result"] is None
    now = counts(shared)
    assert now["most at once"] == 1 and now["running"] == 0


def test_other_documents_wait_their_turn(shared: RawClient) -> None:
    names = [f"file:///brief{number}" for number in range(8)]
    for name in names:
        shared.open(f"# do: brief\n# {name}", name)
    messages = [shared.inline(uri=name) for name in names]
    shared.send(*messages)
    for name, message in zip(names, messages, strict=True):
        assert name in report(shared.wait(message["id"])["result"])["text"]
    ids = [message["id"] for message in messages]
    assert [i for i in shared.order if i in ids] == ids


def test_a_burst_sees_the_text_as_of_each_request(shared: RawClient) -> None:
    check_burst(shared)


def check_burst(client: RawClient) -> None:
    """Request and following change in one packet: the request must not see the change.

    Superseding would hide most answers, so each request is of a document of its own.
    """
    names = [f"file:///burst{number}.py" for number in range(40)]
    for name in names:
        client.open("old", name)
    packet, wanted = [], {}
    for number, name in enumerate(names):
        request = client.inline(0, 1, name)
        change = client.change_message(2, {"range": span(0, 0, 0, 3), "text": f"new{number}"}, uri=name)
        later = client.inline(0, 1, f"{name}") if number % 2 else None
        packet += [request, change] if later is None else [change, later]
        wanted[(later or request)["id"]] = "old" if later is None else f"new{number}"
    client.send(*packet)
    for msg_id, text in wanted.items():
        assert report(client.wait(msg_id)["result"])["text"] == text
    assert [i for i in client.order if i in wanted] == list(wanted)


def test_old_trigger_kinds_and_missing_context_are_accepted(shared: RawClient) -> None:
    shared.open("x")
    for context in ({"triggerKind": 0}, {"triggerKind": 1}, {"triggerKind": 77}, {}, None, "absent"):
        message = shared.inline()
        message["params"]["context"] = context
        if context == "absent":
            del message["params"]["context"]
        shared.send(message)
        answer = shared.wait(message["id"])
        if context is not None:
            assert report(answer["result"])["text"] == "x"
        else:
            assert answer["error"]["code"] == -32602


def test_no_source_text_in_the_log(start: Start, log: Any) -> None:
    client = start("--log-level", "debug")
    client.initialize()
    client.ready()
    client.open("# do: fail\nvery_secret = 1")
    failing = client.inline()
    client.send(failing)
    client.wait(failing["id"])
    client.change(2, {"text": "also_secret"})
    client.notify("textDocument/didChange", {"contentChanges": ["broken_secret"], "textDocument": {"uri": "u"}})
    client.notify("textDocument/didOpen", {"textDocument": {"text": "half_secret"}})
    client.call("textDocument/inlineCompletion", {"textDocument": "asked_secret"})
    client.write(b'Content-Length: 12\r\n\r\n{"secret": 1')
    client.close()
    written = log.read_text()
    assert "failed" in written and "ignored" in written
    assert "secret" not in written


def test_a_file_of_50_000_lines(shared: RawClient) -> None:
    text = "    value = compute(other)  # é\n" * 50_000
    shared.open(text)
    for key in range(20):
        shared.change(2 + key, {"range": span(25_000, 4 + key, 25_000, 4 + key), "text": "x"})
    assert report(shared.complete(25_000, 24))["offset"] == 25_000 * 32 + 24


def test_requests_see_what_else_is_open_and_where_it_was_edited(start: Start) -> None:
    client = start()
    folders = [{"uri": "file:///work/one", "name": "one"}, {"uri": "file:///work/two", "name": "two"}]
    client.initialize(workspaceFolders=folders)
    client.ready()
    names = [f"file:///work/one/{name}.py" for name in "ab"]
    for name in names:
        client.open("# do: workspace\n" + "x = 1\n" * 50, name)
    client.change(2, {"range": span(30, 0, 30, 0), "text": "y\nz\n"}, uri=names[0])
    client.change(3, {"range": span(10, 0, 11, 0), "text": ""}, uri=names[0])
    seen = json.loads(client.complete(0, 0, names[1])["items"][0]["insertText"])
    assert seen["documents"] == [[names[0], 3], [names[1], 1]]
    assert seen["edits"] == [[names[0], 10, 10], [names[0], 29, 31]]
    assert seen["roots"] == ["/work/one", "/work/two"]
    client.close()
