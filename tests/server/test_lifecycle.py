"""From the first byte to the exit code."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.server.conftest import COMMAND, Start
from tests.server.rawlsp import LIMIT_S, PYTHON, RawClient, framed


def error_of(answer: dict) -> int:
    assert "data" not in answer["error"]
    return answer["error"]["code"]


def seconds_to_end(client: RawClient, limit_s: float = 5.0) -> float:
    """Also the test that it does end, within the limit."""
    begin = time.monotonic()
    client.exit_code(limit_s)
    return time.monotonic() - begin


def test_requests_are_answered_in_every_state(start: Start) -> None:
    client = start("--stdio")
    assert error_of(client.call("textDocument/inlineCompletion", {})) == -32002
    assert error_of(client.call("shutdown")) == -32002
    client.notify("textDocument/didOpen", {"textDocument": 1})
    assert error_of(client.call("initialize", [])) == -32602
    assert error_of(client.call("initialize", {"capabilities": {"general": 5, "window": []}, "rootUri": 5})) == -32602
    assert "result" in client.initialize()
    assert error_of(client.call("initialize", {"capabilities": {}})) == -32600
    client.ready()
    assert client.call("shutdown")["result"] is None
    assert error_of(client.call("shutdown")) == -32600
    assert error_of(client.call("textDocument/inlineCompletion", {})) == -32600
    client.notify("exit")
    assert client.exit_code() == 0
    assert client.faults == []


def alive(client: RawClient) -> None:
    """Wait for Python to have started, which may take longer than an end may; nothing is initialized by that."""
    assert error_of(client.call("shutdown")) == -32002


def test_exit_without_shutdown_is_code_1(start: Start) -> None:
    client = start()
    alive(client)
    client.notify("exit")
    assert client.exit_code(5) == 1
    client = start()
    client.initialize()
    client.notify("exit")
    assert client.exit_code(5) == 1


@pytest.mark.parametrize("how", ["slow", "stuck"])
def test_shutdown_during_load_is_quick(start: Start, how: str) -> None:
    client = start(FAKE_LOAD=how)
    client.initialize()
    client.until(lambda: client.noted("didChangeStatus"))
    client.call("shutdown")
    client.notify("exit")
    assert client.exit_code(4) == 0


@pytest.mark.parametrize("when", ["before initialize", "loading", "slow", "stuck"])
def test_the_end_of_input_ends_the_server(start: Start, when: str) -> None:
    client = start(FAKE_LOAD="stuck" if when == "loading" else "")
    if when == "before initialize":
        alive(client)
    else:
        client.initialize()
        client.until(lambda: client.noted("didChangeStatus"))
    if when in ("slow", "stuck"):
        client.ready()
        client.open(f"# do: {when}\n")
        client.send(client.inline())
        client.complete(uri="file:///not-open")
    client.hang_up()
    assert seconds_to_end(client) < 5


@pytest.mark.skipif(sys.platform == "win32", reason="there a signal ends a process at once")
@pytest.mark.parametrize("order", ["x = ", "# do: stuck\n"])
def test_sigterm_writes_the_ledger_first(start: Start, tmp_path: Path, order: str) -> None:
    client = start()
    client.initialize()
    client.ready()
    client.open("x = ", uri="file:///other.py")
    client.complete(0, 4, uri="file:///other.py")
    client.open(order)
    client.send(client.inline())
    assert client.process is not None
    client.process.terminate()
    assert client.exit_code(5) == 143
    assert '"kind":"answer"' in (tmp_path / "pass-lsp" / "ledger.jsonl").read_text()


@pytest.mark.parametrize("by", ["option", "initialize"])
def test_a_dead_editor_ends_the_server_even_in_native_code(start: Start, by: str) -> None:
    editor = subprocess.Popen([PYTHON, "-c", "input()"], stdin=subprocess.PIPE)
    client = start("--clientProcessId", str(editor.pid)) if by == "option" else start()
    client.initialize(processId=editor.pid if by == "initialize" else None)
    client.ready()
    client.open("# do: stuck\n")
    client.send(client.inline())
    client.complete(uri="file:///not-open")
    assert editor.stdin is not None
    editor.stdin.close()
    editor.wait()
    assert seconds_to_end(client) < 5


def test_an_editor_that_cannot_be_seen_is_not_taken_for_dead(start: Start) -> None:
    editor = subprocess.Popen([PYTHON, "-c", ""])
    editor.wait()
    client = start("--clientProcessId", str(editor.pid))
    client.initialize(processId=editor.pid)
    client.ready()
    client.close()


@pytest.mark.parametrize(
    ("how", "said"),
    [("model-error", "The model is broken; choose another."), ("exit", "SystemExit")],
)
def test_the_server_outlives_a_model_that_does_not_load(start: Start, how: str, said: str) -> None:
    client = start(FAKE_LOAD=how)
    client.initialize()
    client.ready()
    status = client.noted("didChangeStatus")[-1]
    assert (status["kind"], status["reason"], status["busy"]) == ("Error", "model-failed", False)
    assert said in status["message"]
    client.open("x = ")
    assert client.complete(0, 4) == {"items": []}
    assert client.call("pass-lsp/status")["result"] == status
    client.close()


def test_progress_is_shown_to_clients_that_show_it(start: Start) -> None:
    client = start(FAKE_LOAD="slow")
    client.initialize(capabilities={"window": {"workDoneProgress": True}})
    client.until(lambda: len(client.noted("$/progress")) >= 3)
    assert [request["method"] for request in client.requests] == ["window/workDoneProgress/create"]
    kinds = [params["value"]["kind"] for params in client.noted("$/progress")]
    assert kinds[0] == "begin" and set(kinds[1:]) == {"report"}
    client.open("x = ")
    assert client.complete(0, 4) == {"items": []}
    status = client.call("pass-lsp/status")["result"]
    assert (status["busy"], status["reason"]) == (True, "model-loading")
    client.close()


def test_nothing_but_frames_on_stdout(start: Start, log: Path) -> None:
    client = start(FAKE_LOAD="noisy")
    client.initialize()
    client.ready()
    client.close()
    assert "a stray line\n" in log.read_text()
    assert "a stray line of native code\n" in log.read_text()


def test_importing_the_server_brings_no_heavy_modules() -> None:
    heavy = ["torch", "transformers", "tree_sitter", "numpy", "pass_lsp.completion"]
    code = f"import sys, pass_lsp.server.app; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_only_the_server_imports_pygls() -> None:
    package = Path(__file__).parents[2] / "pass_lsp"
    users = {
        path.parent.name
        for path in package.rglob("*.py")
        if re.search(r"^\s*(import|from) (pygls|lsprotocol)", path.read_text(), re.MULTILINE)
    }
    assert users == {"server"}


def test_an_editor_that_closed_its_reading_end_is_gone(start: Start, log: Path) -> None:
    with log.open("ab") as errors:
        server = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
    assert server.stdin is not None and server.stdout is not None
    server.stdout.close()
    server.stdin.write(framed({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"capabilities": {}}}))
    server.stdin.flush()
    assert server.wait(LIMIT_S) == 1  # with starting, of which nobody can hear
    server.stdin.close()
