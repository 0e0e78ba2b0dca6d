"""The parts behind the requests: rhythm, work ahead, usage, notebooks, second tries."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pass_lsp.config import Settings
from pass_lsp.documents.document import Document
from pass_lsp.documents.store import DocumentStore, key_of
from pass_lsp.domain import CancelToken, Completion
from pass_lsp.metrics.ledger import Ledger
from pass_lsp.server import ahead, rhythm, usage
from pass_lsp.server.ahead import Ahead
from pass_lsp.server.app import create_server
from pass_lsp.server.flight import Ask, Flight
from pass_lsp.server.flow import with_a_second_try
from pass_lsp.server.notebooks import Cell, Notebooks
from pass_lsp.server.rhythm import Rhythm
from pass_lsp.server.usage import Usage, retained

# --- rhythm ---------------------------------------------------------------------


def typed(monkeypatch: pytest.MonkeyPatch, *gaps: float) -> tuple[Rhythm, list[float]]:
    now = [100.0]
    monkeypatch.setattr(rhythm.time, "monotonic", lambda: now[0])
    made = Rhythm()
    made.key("a")
    for gap in gaps:
        now[0] += gap
        made.key("a")
    return made, now


def test_a_request_waits_for_a_part_of_the_usual_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    made, now = typed(monkeypatch, *[0.1] * 50)
    assert made.delay_s(75, line_start=False) == pytest.approx(0.04)
    now[0] += 0.03  # the client has waited that long already
    assert made.delay_s(75, line_start=False) == pytest.approx(0.01)
    now[0] += 1
    assert made.delay_s(75, line_start=False) == 0


def test_it_never_waits_longer_than_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = typed(monkeypatch, *[0.9] * 50)
    assert made.delay_s(75, line_start=False) == pytest.approx(0.075)
    assert made.delay_s(0, line_start=False) == 0


def test_line_starts_and_what_follows_an_accept_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = typed(monkeypatch, *[0.2] * 5)
    assert made.delay_s(75, line_start=True) == 0 < made.delay_s(75, line_start=False)
    made.key("return value")
    assert made.delay_s(75, line_start=False) == 0
    made, _ = typed(monkeypatch)
    assert made.delay_s(75, line_start=False) == 0  # one key is no rhythm


# --- ahead of the user ------------------------------------------------------------


def test_what_the_user_may_do_next() -> None:
    document = Document("u", "def f():\n    if x)\n")
    after, cursor = ahead.accepted(document, Completion("(a):", 17, 18))
    assert (after.text[:cursor], after.text[cursor:]) == ("def f():\n    if x(a):", "\n")
    below, cursor = ahead.beginning_of_next_line(after, cursor)
    assert below.text[:cursor] == "def f():\n    if x(a):\n        "
    below, cursor = ahead.beginning_of_next_line(Document("u", "\ta = 1"), 6)
    assert below.text == "\ta = 1\n\t" and cursor == 8
    below, cursor = ahead.beginning_of_next_line(Document("u", "a\r\n  b"), 6)
    assert below.text == "a\r\n  b\r\n  " and cursor == len(below.text)
    assert [ahead.cursor_after(5, text) for text in ("x", "()", "''", "ab", "")] == [6, 6, 6, 7, 5]


def test_of_two_plans_for_a_document_the_newer_one_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_QUIET_S", 0.0)
    monkeypatch.setattr(ahead, "on_battery", lambda: False)
    document = Document("u", "x = ")

    async def main() -> None:
        flown: list[Flight] = []
        plans = Ahead(flown.append, lambda key, document, offset: False)

        def plan_twice() -> None:
            for text in ("1", "1 + 1"):
                plans.prepare("u", document, Completion(text, 4, 4), Settings())

        plan_twice()
        plans.forget("u")
        await passes(5)
        assert flown == []
        plan_twice()
        await passes(5)
        assert [flight.document.text for flight in flown] == ["x = 1 + 1"]

    async def passes(count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    asyncio.run(main())


def test_work_ahead_has_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    document = Document("u", "x", language="python")
    power: dict[str, Any] = {"plugged": True}
    monkeypatch.setattr(ahead, "_LOOK_S", 0.0)
    monkeypatch.setattr(
        ahead.psutil, "sensors_battery", lambda: SimpleNamespace(power_plugged=power["plugged"]), raising=False
    )
    assert ahead.may_work_ahead(document, Settings())
    for off in (Settings(ahead=False), Settings(enabled=False), Settings(disabled_languages=("python",))):
        assert not ahead.may_work_ahead(document, off)
    assert not ahead.may_work_ahead(Document("u", "x" * (ahead.LARGEST + 1)), Settings())
    power["plugged"] = False
    assert not ahead.may_work_ahead(document, Settings())
    assert ahead.may_work_ahead(document, Settings(ahead_on_battery=True))
    monkeypatch.setattr(ahead.psutil, "sensors_battery", lambda: None, raising=False)
    assert ahead.may_work_ahead(document, Settings())


# --- usage --------------------------------------------------------------------------


class Book(Ledger):
    """A ledger in memory."""

    def __init__(self, path: Any = "somewhere") -> None:
        super().__init__(path)
        self.events: list[tuple[Any, ...]] = []

    def note(self, kind: str, **values: Any) -> None:
        self.events.append((kind, *values.values()))


def item(name: str) -> dict[str, Any]:
    return {"command": {"arguments": [name]}}


def test_what_was_shown_is_counted_once_however_it_is_typed_along(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        book = Book()
        made = Usage(book, lambda key: None)
        first = made.offer("u", 0, "return value")
        made.shown(item(first))
        rest = made.offer("u", 3, "urn value")
        made.shown(item(rest))
        made.accepted(rest)
        made.shown(item(made.offer("u", 12, "value")))
        assert book.events == [("shown", 12), ("accepted", 9, 1), ("shown", 5)]

    asyncio.run(main())


def test_a_suggestion_that_stands_was_seen_if_the_client_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "_SHOWN_AFTER_S", 0.0)

    async def main() -> None:
        book = Book()
        made = Usage(book, lambda key: None)
        made.offer("u", 0, "overtaken")
        made.offer("u", 0, "stands")
        await asyncio.sleep(0.01)
        assert book.events == [("shown", 6)]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("textDocument/didChange", {"contentChanges": [{"text": "typed over"}]}),
        ("textDocument/inlineCompletion", {"position": {"line": 0, "character": 0}}),  # by nothing: nothing is loaded
    ],
)
def test_what_was_typed_over_or_answered_anew_did_not_stand(
    monkeypatch: pytest.MonkeyPatch, method: str, more: dict[str, Any]
) -> None:
    monkeypatch.setattr(usage, "_SHOWN_AFTER_S", 0.0)

    async def main() -> None:
        server, book = create_server(lambda settings, report: None), Book()
        server.protocol.receive(b'{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"capabilities": {}}}')
        made = server.session.usage = Usage(book, lambda key: None)
        server.session.open("u", "x", 1, "python")
        made.offer("u", 0, "gone")
        params = {"textDocument": {"uri": "u", "version": 2}, **more}
        numbered = {"id": 2} if method.endswith("Completion") else {}
        message = {"jsonrpc": "2.0", "method": method, "params": params, **numbered}
        server.protocol.receive(json.dumps(message).encode())
        await asyncio.sleep(0.01)
        assert book.events == []
        made.offer("u", 1, "stands")
        await asyncio.sleep(0.01)
        assert book.events == [("shown", 6)]

    asyncio.run(main())


def test_of_several_answers_the_first_is_what_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "_SHOWN_AFTER_S", 0.0)

    async def main() -> None:
        book = Book()
        made = Usage(book, lambda key: None)
        answer = object()
        first, _, third = (
            made.offer("u", 0, text, answer=answer) for text in ("first()", "the second", "the third one")
        )
        await asyncio.sleep(0.01)
        made.accepted(first)
        assert book.events == [("shown", 7), ("accepted", 7, 1)]
        made.shown(item(third))
        rest = made.offer("u", 4, "third one", answer=object())  # he went on to the third, and types it along
        made.accepted(rest)
        assert book.events[2:] == [("shown", 13), ("accepted", 9, 1)]

    asyncio.run(main())


def test_partial_accepts_are_counted_in_utf_16_and_cumulative() -> None:
    async def main() -> None:
        book = Book()
        made = Usage(book, lambda key: None)
        name = made.offer("u", 0, "a\U0001f600b c")
        assert made.accepted_part(item(name), 3) == "u"
        made.accepted_part(item(name), 3)
        made.accepted_part(item(name), 99)
        made.accepted_part(item(name), -1)
        for junk in (None, True, "3"):
            assert made.accepted_part(item(name), junk) is None
        assert [event for event in book.events if event[0] == "partly"] == [("partly", 2), ("partly", 3)]

    asyncio.run(main())


def test_accepted_text_is_followed_through_edits_and_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "KEPT_AFTER_S", (0.0, 0.01))

    async def main() -> None:
        book = Book()
        document = Document("u", "x = " + "value_of_it" + "\n")
        made = Usage(book, lambda key: document)
        made.accepted(made.offer("u", 4, "value_of_it"))
        made.edited("u", 0, 0, 500)
        document = Document("u", "#" * 499 + "\n" + "x = value_of_all" + "\n")
        made.edited("other", 0, 0, 9)
        await asyncio.sleep(0.05)
        assert [event[1:] for event in book.events if event[0] == "kept"] == [(0.0, 9, 11), (0.01, 9, 11)]
        made.accepted(made.offer("u", 4, "value_of_it"))
        made.closed("u")
        await asyncio.sleep(0.05)
        assert len([event for event in book.events if event[0] == "kept"]) == 2

    asyncio.run(main())


def test_accepted_text_is_found_again_in_a_file_with_a_percent_sign_in_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(usage, "KEPT_AFTER_S", (0.0,))

    async def main() -> None:
        session, book = create_server(lambda settings, report: None).session, Book()
        session.usage.ledger = book
        session.open("file:///50%2525.py", "value", 1, "python")
        session.usage.accepted(session.usage.offer(key_of("file:///50%2525.py"), 0, "value"))
        await asyncio.sleep(0.01)
        assert book.events[-1] == ("kept", 0.0, 5, 5)

    asyncio.run(main())


def test_offers_are_bounded_and_a_ledger_that_is_off_watches_nothing() -> None:
    async def main() -> None:
        made = Usage(Book(None), lambda key: None)
        names = [made.offer("u", 0, "text") for _ in range(1000)]
        assert len(made._offers) <= 256
        assert made.accepted(names[0]) is None and made.accepted(names[-1]) == "u"
        assert made._spans == []

    asyncio.run(main())


@pytest.mark.parametrize(
    ("text", "start", "accepted", "kept"),
    [
        ("a = value\n", 4, "value", 5),
        ("a = valve\n", 4, "value", 3),
        ("moved = value\n", 4, "value", 5),
        ("", 0, "value", 0),
        ("a = 1\n", 4, "value", 0),
        ("x" * 5000 + "value", 0, "value", 0),
        ("ab", 0, "ab", 2),
    ],
)
def test_retained_characters(text: str, start: int, accepted: str, kept: int) -> None:
    assert retained(text, start, accepted) == kept


@pytest.mark.parametrize("events", [1, 300], ids=["a few", "more than wait for their time"])
def test_a_ledger_that_cannot_be_written_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, events: int
) -> None:
    async def main() -> None:
        session = create_server(lambda settings, report: None).session
        session.ledger.path = tmp_path / "file" / "ledger"
        for _ in range(3):
            for _ in range(events):
                session.ledger.note("shown")
            session.write_later()
        session.write_later()

    (tmp_path / "file").touch()
    asyncio.run(main())
    assert [record.message for record in caplog.records] == [
        "The ledger cannot be written (File exists); its events are lost."
    ]


# --- flights ----------------------------------------------------------------------


def test_who_joins_while_a_part_is_made_for_another_has_a_time_of_its_own() -> None:
    async def main() -> None:
        def ask(document: Document, offset: int, first_text_ms: int) -> Ask:
            answer = asyncio.get_running_loop().create_future()
            settings = Settings(first_text_ms=first_text_ms, deadline_ms=0)
            return Ask("u", document, offset, settings, False, lambda completions: None, answer, arrived_s=0.0)

        first, second = Document("u", "x = \n"), Document("u", "x = alp\n")
        flight, heard = Flight("u", first, 4, Settings(), ask(first, 4, 1)), list[str]()

        def closed(whole_lines: bool) -> Completion:
            heard.append("a part")
            if len(heard) == 1:  # this takes a moment, and the user types on in it
                flight.let_go()
                assert flight.follow(ask(second, 7, 2))
            return Completion("alpha", 4, 4)

        for text in ("alpha", "alpha = ", "alpha = beta"):
            flight._heard(text, closed, CancelToken())
        assert heard == ["a part"] * 2

    asyncio.run(main())


# --- notebooks ------------------------------------------------------------------------


def test_splices_out_of_range_are_clamped_and_unknown_notebooks_ignored() -> None:
    store = DocumentStore()
    books = Notebooks(store)
    cells = [store.open(f"cell:{number}", f"text {number}", 1, "python") for number in range(3)]
    books.splice("never opened", 0, 1, [])
    books.open("file:///a.ipynb", [Cell(cells[0].uri, 2)])
    books.splice("file:///a.ipynb", 99, 99, [Cell(cells[1].uri, 2), Cell("cell:never-opened", 2)])
    books.splice("file:///a.ipynb", -5, -5, [Cell(cells[2].uri, 2)])
    joined, base = books.around(cells[1])
    assert joined.text == "text 2\n\ntext 0\n\ntext 1" and base == 16
    assert books.around(Document("other", "x")) == (Document("other", "x"), 0)


# --- second tries -----------------------------------------------------------------------


class OutOfMemoryError(RuntimeError):
    """Named as torch names it."""


@pytest.mark.parametrize("error", [MemoryError(), OutOfMemoryError(), RuntimeError("CUDA out of memory"), None])
def test_a_full_memory_gets_one_more_try_with_empty_caches(error: Exception | None) -> None:
    forgot: list[int] = []
    engine: Any = SimpleNamespace(forget=lambda: forgot.append(1))

    def run(engine: Any, token: CancelToken) -> str:
        if error is not None and not forgot:
            raise error
        return "fine"

    assert with_a_second_try(run)(engine, CancelToken()) == "fine"
    assert len(forgot) == (error is not None)


def test_there_is_no_third_try_and_none_for_other_failures() -> None:
    tries: list[Exception] = []

    def run(engine: Any, token: CancelToken) -> None:
        tries.append(MemoryError())
        raise tries[-1]

    with pytest.raises(MemoryError):
        with_a_second_try(run)(object(), CancelToken())  # type: ignore[arg-type]
    assert len(tries) == 2

    def broken(engine: Any, token: CancelToken) -> None:
        tries.append(KeyError())
        raise tries[-1]

    with pytest.raises(KeyError):
        with_a_second_try(broken)(object(), CancelToken())  # type: ignore[arg-type]
    assert len(tries) == 3
