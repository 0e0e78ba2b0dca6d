"""Hostile sizes, silent clients, many documents: bounded memory, no hang, every id answered."""

from __future__ import annotations

import shutil
import sys
import threading
from pathlib import Path

import psutil
import pytest

from pass_lsp.cli.serve import load
from pass_lsp.config import Settings
from pass_lsp.errors import ModelError
from pass_lsp.server.failures import sentence
from tests.server.conftest import Start, private
from tests.server.rawlsp import RawClient, framed, span
from tests.server.test_completion import report

MIB = 1 << 20


def memory(client: RawClient) -> int:
    assert client.process is not None
    return psutil.Process(client.process.pid).memory_info().rss


def test_a_hundred_open_documents_share_one_engine_and_bounded_memories(shared: RawClient) -> None:
    names = [f"file:///many{number}.py" for number in range(100)]
    for name in names:
        shared.open("value = compute(other)\n" * 500, name)
    for turn in range(3):
        asked = []
        for number, name in enumerate(names):
            shared.change(turn + 2, {"range": span(number, 0, number, 0), "text": "x"}, uri=name)
            asked.append(shared.inline(number, 1, name))
            shared.send(asked[-1])
        for message in asked:
            assert len(shared.wait(message["id"])["result"]["items"]) == 1
    for name in names:
        shared.notify("textDocument/didClose", {"textDocument": {"uri": name}})


def test_a_file_of_50_megabytes_is_followed_and_let_go(start: Start) -> None:
    client = start()
    client.initialize("utf-16")
    client.ready()
    client.open("x")
    client.complete()
    before = memory(client)
    client.open("value = compute(other)\n" * (50 * MIB // 23), "file:///huge.py")
    for key in range(5):
        client.change(2 + key, {"range": span(1_000_000, key, 1_000_000, key), "text": "x"}, uri="file:///huge.py")
        asked = client.inline(1_000_000, key + 1, "file:///huge.py")
        client.send(asked)
        assert client.wait(asked["id"], 60)["result"] is not None
    assert memory(client) - before < 1500 * MIB
    client.notify("textDocument/didClose", {"textDocument": {"uri": "file:///huge.py"}})
    assert report(client.complete(0, 1))["text"] == "x"
    assert memory(client) - before < 400 * MIB
    client.close()


def test_a_client_that_does_not_read_is_waited_for_in_bounded_memory(start: Start) -> None:
    """It sends without end, reads nothing, and then changes its mind."""
    client = start()
    client.initialize("utf-16")
    client.ready()
    client.open("x = 1\n" * 50)
    client.complete()
    before, sent = memory(client), threading.Event()
    client.hold.clear()
    requests = [client.inline(number % 50, 1) for number in range(20_000)]

    def send() -> None:
        for request in requests:
            client.send(request)
        sent.set()

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    sender.join(3)
    assert memory(client) - before < 100 * MIB
    client.hold.set()
    assert sent.wait(60)
    client.until(lambda: requests[-1]["id"] in client.answers, 60)
    ids = {request["id"] for request in requests}
    assert [each for each in client.order if each in ids] == [request["id"] for request in requests]
    assert memory(client) - before < 100 * MIB
    client.close()


def test_a_client_that_never_reads_and_goes_does_not_leave_the_server_behind(start: Start) -> None:
    client = start()
    client.initialize("utf-16")
    client.ready()
    client.open("x = 1\n")
    client.hold.clear()
    for _ in range(1500):
        client.write(framed(client.inline(0, 1)))
    client.hang_up()
    assert client.exit_code() == 1


@pytest.mark.timeout(600)
def test_the_model_s_files_may_go_once_it_is_loaded(tmp_path: Path, model_dir: Path, log: Path) -> None:
    """And where they are gone before, the server says so and lives."""
    folder = tmp_path / "model"
    shutil.copytree(model_dir, folder)
    command = [sys.executable, "-m", "pass_lsp", "serve", "--stdio", "--model", str(folder), "--device", "cpu"]
    for gone_before in (False, True):
        client = RawClient.spawn(command, log, private(tmp_path))
        client.initialize("utf-16", initializationOptions={"deadlineMs": 0, "manualDeadlineMs": 0})
        client.until(client.settled, 180)
        status = client.noted("didChangeStatus")[-1]
        client.open("def f(x):\n    return \n\n\nprint(f(1))\n")
        if not gone_before:
            shutil.rmtree(folder)
        answer = client.complete(1, 11)
        assert ("items" in answer) and (status["kind"] == ("Error" if gone_before else "Normal"))
        client.close()


@pytest.mark.parametrize("missing", ["tokenizer.json", "model.safetensors", "config.json"])
def test_a_model_with_a_file_missing_is_a_sentence(tmp_path: Path, model_dir: Path, missing: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_dir, folder)
    (folder / missing).unlink()
    with pytest.raises(ModelError) as caught:
        load(Settings(model=str(folder), device="cpu"), lambda message: None)
    assert sentence(caught.value).endswith(".") and "\n" not in sentence(caught.value)
