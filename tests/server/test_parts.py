"""The small parts: status, conversion, process watch, log."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types

from pass_lsp.documents.document import Document
from pass_lsp.documents.store import Change
from pass_lsp.domain import Completion
from pass_lsp.errors import ConfigError
from pass_lsp.reasons import Reason
from pass_lsp.server import logs, watch
from pass_lsp.server.convert import change_of, items_of, menu_of, offset_at
from pass_lsp.server.status import Model, StatusBoard
from tests.server.rawlsp import PYTHON


def test_the_status_is_sent_on_change_only_and_the_model_comes_first() -> None:
    sent: list[dict[str, Any]] = []
    board = StatusBoard(lambda method, params: sent.append(params))
    board.publish()
    board.engine_is(Model.LOADING)
    board.answered(Reason.MODEL_LOADING)
    board.engine_is(Model.READY)
    board.answered(Reason.MID_WORD)
    board.answered(Reason.MID_WORD)
    board.answered(Reason.FAILED, "It broke.")
    board.answered(None)
    board.engine_is(Model.FAILED, "No model.")
    board.answered(Reason.MODEL_FAILED)
    assert [(s["kind"], s["busy"], s["reason"]) for s in sent] == [
        ("Inactive", False, "disabled"),
        ("Normal", True, "model-loading"),
        ("Normal", False, ""),
        ("Normal", False, "inside-a-word"),
        ("Warning", False, "internal-error"),
        ("Normal", False, ""),
        ("Error", False, "model-failed"),
    ]
    assert Reason.MID_WORD.meaning in sent[3]["message"]
    assert sent[4]["message"] == "It broke." and sent[-1]["message"] == "No model."


def test_switched_off_is_the_status_until_it_is_on_again() -> None:
    board = StatusBoard(lambda method, params: None)
    board.engine_is(Model.LOADING)
    board.off = True
    board.engine_is(Model.READY)
    for reason in (None, Reason.MID_WORD, Reason.FAILED):
        board.answered(reason)
        assert board.current.reason == "disabled"
    board.off = False
    board.answered(None)
    assert board.current.message == "Ready."


def test_conversion_counts_in_the_client_s_units() -> None:
    document = Document("u", "a\n\U0001f600b\nc")
    assert offset_at(document, types.Position(1, 2), "utf-16") == 3
    assert offset_at(document, types.Position(1, 4), "utf-8") == 3
    item = items_of([Completion("x", 2, 4)], document, 3, "utf-16", lambda shown: "id").items[0]
    assert item.range == types.Range(types.Position(1, 0), types.Position(1, 3))
    assert item.command is not None and item.command.arguments == ["id"]
    for completion in (Completion("x", 0, 3), Completion("x", 3, 6), Completion("x", 4, 4)):
        assert items_of([completion], document, 3, "utf-16", lambda shown: "id").items == []


def test_a_menu_s_entry_begins_with_the_word_at_the_cursor() -> None:
    document = Document("u", "x = os.pa)\n", language="python")
    menu = menu_of([Completion("th.join(\n    a,\n)", 9, 10)], document, 9, "utf-16", lambda shown: "id")
    [entry] = menu.items
    assert menu.is_incomplete
    assert entry.text_edit == types.TextEdit(
        types.Range(types.Position(0, 7), types.Position(0, 10)), "path.join(\n    a,\n)"
    )
    assert (entry.label, entry.filter_text) == ("path.join(", "path.join(")
    assert entry.insert_text_format is types.InsertTextFormat.PlainText
    assert isinstance(entry.documentation, types.MarkupContent) and "```python\npath.join(" in entry.documentation.value
    assert entry.command is not None and entry.command.arguments == ["id"]
    [plain] = menu_of([Completion("y" * 100, 3, 3)], document, 3, "utf-16", lambda shown: "id").items
    assert len(plain.label) == 80 and plain.documentation is None and plain.filter_text == "y" * 100
    document = Document("u", "x = os.pa\r\n")
    [windows] = menu_of([Completion("th(\r\n    a)", 9, 9)], document, 9, "utf-16", lambda shown: "id").items
    assert (windows.label, windows.filter_text) == ("path(", "path(")


def test_changes_are_whole_or_partial() -> None:
    assert change_of(types.TextDocumentContentChangeWholeDocument("x")) == Change("x")
    partial = types.TextDocumentContentChangePartial(types.Range(types.Position(1, 2), types.Position(3, 4)), "x")
    assert change_of(partial) == Change("x", (1, 2), (3, 4))


def test_processes_that_live_died_and_never_were() -> None:
    child = subprocess.Popen([PYTHON, "-c", "input()"], stdin=subprocess.PIPE)
    assert watch.alive(child.pid) and watch.alive(os.getpid())
    assert not watch.alive(0) and not watch.alive(-1) and not watch.alive(2**40)
    gone = threading.Event()
    watch.watch(child.pid, gone.set)
    assert child.stdin is not None
    child.stdin.close()
    assert gone.wait(10)  # a zombie counts as gone: nobody has waited for it yet
    child.wait()
    assert not watch.alive(child.pid)
    never = threading.Event()
    watch.watch(child.pid, never.set)
    assert not never.is_set()


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    found = logging.getLogger("pass_lsp")
    before = found.handlers[:], found.level, found.propagate
    yield found
    for handler in found.handlers:
        handler.close()
    found.handlers[:], found.propagate = before[0], before[2]
    found.setLevel(before[1])


def test_the_log_goes_to_a_file(tmp_path: Path, logger: logging.Logger) -> None:
    logs.configure("warning", tmp_path / "log")
    logger.info("unheard")
    logger.warning("heard")
    assert (tmp_path / "log").read_text().endswith("WARNING pass_lsp: heard\n")


def test_a_log_that_cannot_be_is_said(tmp_path: Path, logger: logging.Logger) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        logs.configure("info", tmp_path / "no" / "log")


@pytest.mark.parametrize("level", ["info", "debug"])
def test_a_log_that_breaks_off_says_so_to_who_wants_to_know(
    level: str, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    logs.configure(level)
    [handler] = logger.handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(Full())
    logger.warning("lost")
    assert ("Traceback" in capsys.readouterr().err) is (level == "debug")
