from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pass_lsp.server.progress import Progress


class Wire:
    """Stands in for the protocol."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.answer: Callable[[Any, bool], None] | None = None
        self.token = ""

    def ask(self, method: str, params: Any, answered: Callable[[Any, bool], None]) -> None:
        assert method == "window/workDoneProgress/create"
        self.answer, self.token = answered, params["token"]

    def notify(self, method: str, params: Any) -> None:
        assert method == "$/progress" and params["token"] == self.token
        self.sent.append(params["value"])


def started(supported: bool = True) -> tuple[Wire, Progress]:
    wire = Wire()
    return wire, Progress(wire, "loading", supported)  # type: ignore[arg-type]


def test_nothing_is_sent_to_a_client_that_shows_no_progress() -> None:
    wire, progress = started(supported=False)
    progress.report("half")
    progress.end("done")
    assert wire.answer is None and wire.sent == []


def test_begin_waits_for_the_client_and_the_work_does_not() -> None:
    wire, progress = started()
    progress.report("too early")
    assert wire.sent == [] and wire.answer is not None
    wire.answer(None, True)
    for step in range(1000):
        progress.report(f"{step}")
    progress.end("done")
    progress.end("twice")
    progress.report("too late")
    kinds = [value["kind"] for value in wire.sent]
    assert kinds[0] == "begin" and kinds[-1] == "end" and kinds.count("end") == 1
    assert 1 <= kinds.count("report") < 100


def test_consent_that_comes_too_late_or_never() -> None:
    for ok in (True, False):
        wire, progress = started()
        if ok:
            progress.end("done")
        assert wire.answer is not None
        wire.answer(None, ok)
        progress.report("x")
        progress.end("done")
        assert wire.sent == []
