"""Answers without a model: from memory, from a decode that is under way, from work done ahead."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.conftest import Start
from tests.server.fake_server import SPELT
from tests.server.rawlsp import URI, span

TEXT = "# do: spell\nx = "


class Typist:
    """Types into a document that the scripted engine spells an answer for, as far as the gate is open."""

    def __init__(self, start: Start, folder: Path, text: str = TEXT, **settings: Any) -> None:
        self.gate, self._counts = folder / "gate", folder / "counts"
        self.gate.write_text("")
        self.client = start(FAKE_GATE=str(self.gate), FAKE_COUNTS=str(self._counts))
        plain = {"firstTextMs": 0, "deadlineMs": 0, "manualDeadlineMs": 0, "debounceMs": 0}
        plain |= {"ahead": False, "aheadOnBattery": True}
        self.client.initialize("utf-16", initializationOptions={**plain, **settings})
        self.client.ready()
        self.version, self.text, self.typed = 1, text, ""
        self.client.open(text)

    @property
    def cursor(self) -> tuple[int, int]:
        *lines, last = (self.text + self.typed).split("\n")
        return len(lines), len(last)

    def type(self, text: str, *before: Any) -> None:
        """`before` are messages that come in the same packet."""
        here = self.cursor
        self.version += 1
        self.typed += text
        change = self.client.change_message(self.version, {"range": span(*here, *here), "text": text})
        self.client.send(*before, change)

    def type_as_vs_code(self, text: str, asked: int) -> None:
        """The request is cancelled, and then the key is told that made it so."""
        self.type(text, self.client.message("$/cancelRequest", {"id": asked}))
        assert self.client.wait(asked)["error"]["code"] == -32800

    def insert_above(self, line: str) -> None:
        """Below the document's first line."""
        self.version += 1
        self.text = self.text.replace("\n", f"\n{line}\n", 1)
        self.client.change(self.version, {"range": span(1, 0, 1, 0), "text": f"{line}\n"})

    def back(self) -> None:
        here = self.cursor
        self.version += 1
        self.typed = self.typed[:-1]
        self.client.change(self.version, {"range": span(*self.cursor, *here), "text": ""})

    def ask(self, trigger: int = 2) -> int:
        message = self.client.inline(*self.cursor)
        message["params"]["context"]["triggerKind"] = trigger
        self.client.send(message)
        return message["id"]

    def join_by_hand(self) -> int:
        """A request by hand is under way, and the user types on along it: the request that joins it."""
        first = self.ask(1)
        self.say(3)
        self.type("al")
        second = self.ask()
        assert self.texts(first) is None
        return second

    def texts(self, msg_id: int) -> list[str] | None:
        result = self.client.wait(msg_id)["result"]
        return None if result is None else [item["insertText"] for item in result["items"]]

    def say(self, letters: int) -> None:
        """Let the engine say that many letters, and wait until it has."""
        self.gate.write_text("." * letters)
        self.client.until(lambda: self.count("said") >= letters)

    def overdue(self) -> None:
        """Until what is due a millisecond after a request that has arrived is due."""
        now = time.monotonic()
        self.client.until(lambda: time.monotonic() > now + 0.002)

    def finish(self) -> None:
        self.gate.write_text("." * len(SPELT) + "!")

    def doubt(self) -> None:
        """Let the engine end there, because it is not sure."""
        self.gate.write_text(self.gate.read_text() + "?")
        self.until("spelt")

    def land(self) -> None:
        """Until what was decoded ahead has landed, once the engine has spelt it.

        A request elsewhere would drop it; work ahead elsewhere comes behind it. The call lets the loop go round once.
        """
        read = self.count("prefilled")
        self.client.open("x", "file:///other")
        self.client.change(2, {"range": span(0, 1, 0, 1), "text": "y"}, uri="file:///other")
        self.until("prefilled", read + 1)
        self.client.call("pass-lsp/status")

    def count(self, name: str) -> int:
        return json.loads(self._counts.read_text()).get(name, 0) if self._counts.exists() else 0

    def until(self, name: str, value: int = 1) -> None:
        self.client.until(lambda: self.count(name) >= value)

    def sources(self) -> list[str]:
        return [each["source"] for each in self.client.call("pass-lsp/answers")["result"]["answers"]]


@pytest.fixture
def typist(start: Start, tmp_path: Path) -> Iterator[Typist]:
    made = Typist(start, tmp_path)
    yield made
    made.finish()
    made.client.close()


def test_typing_along_going_back_and_accepting_parts_ask_no_model(typist: Typist) -> None:
    typist.finish()
    assert typist.texts(typist.ask()) == [SPELT]
    for step in (*"alpha", " = beta\n    ", "gamma()\n    "):
        typist.type(step)
        assert typist.texts(typist.ask()) == [SPELT[len(typist.typed) :]]
    for _ in range(6):
        typist.back()
        assert typist.texts(typist.ask()) == [SPELT[len(typist.typed) :]]
    assert typist.count("spelling") == 1
    assert typist.sources() == ["model"] + ["memory"] * 13


def test_a_decode_is_joined_by_who_types_what_it_says(typist: Typist) -> None:
    first = typist.ask()
    typist.say(3)
    typist.type("a")
    second = typist.ask()
    assert typist.texts(first) is None
    typist.type("lpha")
    third = typist.ask()
    assert typist.texts(second) is None
    typist.finish()
    assert typist.texts(third) == [SPELT[5:]]
    assert (typist.count("spelling"), typist.count("cancelled")) == (1, 0)


def test_a_decode_that_says_something_else_ends_at_once(typist: Typist) -> None:
    first = typist.ask()
    typist.say(3)
    typist.type("z")
    second = typist.ask()
    assert typist.texts(first) is None
    typist.until("cancelled")
    typist.finish()
    assert typist.texts(second) == [SPELT]
    assert typist.count("spelling") == 2


def test_a_decode_that_comes_to_say_something_else_makes_way(typist: Typist) -> None:
    first = typist.ask()
    typist.until("spelling")
    typist.type("z")
    second = typist.ask()
    assert typist.texts(first) is None and typist.count("cancelled") == 0
    typist.say(1)
    typist.until("cancelled")
    typist.finish()
    assert typist.texts(second) == [SPELT]
    assert typist.count("spelling") == 2


def test_the_client_s_cancel_ends_the_decode(typist: Typist) -> None:
    asked = typist.ask()
    typist.say(3)
    typist.client.notify("$/cancelRequest", {"id": asked})
    assert typist.client.wait(asked)["error"]["code"] == -32800
    typist.until("cancelled")
    typist.client.until(lambda: typist.client.call("pass-lsp/answers")["result"]["idle_after_ms"])


def test_a_cancelled_decode_that_says_what_was_typed_goes_on(start: Start, tmp_path: Path) -> None:
    typist = Typist(start, tmp_path, ahead=True)
    first = typist.ask()
    typist.say(3)
    typist.type_as_vs_code("a", first)
    typist.say(5)
    second = typist.ask()
    typist.type_as_vs_code("lph", second)
    typist.finish()
    typist.until("spelt")
    assert typist.texts(typist.ask()) == [SPELT[4:]]
    assert typist.count("cancelled") == 0
    typist.client.close()


def test_a_cancelled_decode_goes_on_while_what_the_menu_has_selected_is_typed(start: Start, tmp_path: Path) -> None:
    typist = Typist(start, tmp_path, "# do: spell\npr", ahead=True)

    def ask(word: str) -> int:
        message = typist.client.inline(*typist.cursor)
        there = span(1, 0, *typist.cursor)
        message["params"]["context"]["selectedCompletionInfo"] = {"range": there, "text": word}
        typist.client.send(message)
        return message["id"]

    first = ask("print")
    typist.say(3)
    typist.type_as_vs_code("i", first)
    typist.say(5)
    second = ask("print")
    typist.type_as_vs_code("n", second)
    typist.finish()
    typist.until("spelt")
    assert typist.texts(ask("print")) == ["print" + SPELT]
    assert (typist.count("spelling"), typist.count("cancelled")) == (1, 0)
    typist.client.close()


def test_a_cancelled_decode_that_says_something_else_ends(start: Start, tmp_path: Path) -> None:
    typist = Typist(start, tmp_path, ahead=True)
    first = typist.ask()
    typist.say(3)
    typist.type_as_vs_code("z", first)
    typist.until("cancelled")
    typist.finish()
    assert typist.texts(typist.ask()) == [SPELT]
    typist.client.close()


def test_a_cancelled_decode_says_nothing_more_and_ends_when_no_key_is_told(start: Start, tmp_path: Path) -> None:
    typist = Typist(start, tmp_path, ahead=True)
    asked = typist.ask()
    typist.say(3)
    typist.client.notify("$/cancelRequest", {"id": asked})
    assert typist.client.wait(asked)["error"]["code"] == -32800
    typist.finish()
    typist.until("cancelled")
    assert (typist.count("said"), typist.count("spelt")) == (3, 0)
    typist.client.until(lambda: typist.client.call("pass-lsp/answers")["result"]["idle_after_ms"])
    assert typist.texts(typist.ask()) == [SPELT]
    typist.client.close()


def test_the_same_question_again_waits_for_the_same_decode(typist: Typist) -> None:
    first, second = typist.ask(), typist.ask()
    assert typist.texts(first) is None
    typist.until("spelling")
    third = typist.ask()
    assert typist.texts(second) is None
    typist.finish()
    assert typist.texts(third) == [SPELT]
    assert typist.count("cancelled") == typist.count("spelling") - 1


def test_whole_lines_are_the_answer_when_the_first_text_is_due(start: Start, tmp_path: Path) -> None:
    typist = Typist(start, tmp_path, firstTextMs=1)
    asked = typist.ask()
    typist.say(1)
    typist.overdue()
    typist.say(len("alpha = beta\n  "))
    assert typist.texts(asked) == ["alpha = beta"]
    typist.type("alpha = beta")
    later = typist.ask()
    typist.overdue()
    typist.say(len("alpha = beta\n    gamma()\n  "))
    assert typist.texts(later) == ["\n    gamma()"]  # not before there is more than what was typed
    typist.type("\n    gamma()")
    last = typist.ask()
    typist.finish()
    assert typist.texts(last) == [SPELT[len("alpha = beta\n    gamma()") :]]
    assert typist.count("spelling") == 1  # it went on, and was joined
    typist.client.close()


def test_whoever_waits_comes_before_what_more_there_is_for_who_has_lines_already(start: Start, tmp_path: Path) -> None:
    typist = Typist(start, tmp_path, firstTextMs=1)
    asked = typist.ask()
    typist.say(1)
    typist.client.open("# do: brief", "file:///other")
    typist.client.send(other := typist.client.inline(0, 0, "file:///other"))
    typist.overdue()
    typist.say(len("alpha = beta\n"))
    assert typist.texts(asked) == ["alpha = beta"]
    assert typist.texts(other["id"])
    assert (typist.count("spelt"), typist.count("cancelled")) == (0, 1)
    typist.client.close()


def test_an_edit_far_above_moves_the_decode_that_is_under_way(start: Start, tmp_path: Path) -> None:
    far = "# do: spell\n" + "".join(f"line_{number} = {number}\n" for number in range(60)) + "x = "
    typist = Typist(start, tmp_path, far)
    first = typist.ask()
    typist.say(3)
    typist.insert_above("import numpy")
    second = typist.ask()
    assert typist.texts(first) is None
    typist.finish()
    [item] = typist.client.wait(second)["result"]["items"]
    assert (item["insertText"], item["range"]) == (SPELT, span(*typist.cursor, *typist.cursor))
    assert typist.count("spelling") == 1
    typist.client.close()


def test_line_ends_of_windows_are_typed_along_and_prepared(start: Start, tmp_path: Path) -> None:
    typist = Typist(start, tmp_path, TEXT.replace("\n", "\r\n"))
    first = typist.ask()
    typist.say(20)
    typist.type("alpha = beta\r\n    ")
    second = typist.ask()
    assert typist.texts(first) is None
    typist.finish()
    assert typist.texts(second) == ["gamma()\r\n    delta"]
    assert (typist.count("spelling"), typist.count("cancelled")) == (1, 0)
    typist.client.close()


def test_who_joins_a_request_by_hand_has_a_deadline_still(start: Start, tmp_path: Path) -> None:
    typist = Typist(start, tmp_path, deadlineMs=1)
    joined = typist.join_by_hand()
    typist.overdue()
    typist.say(9)
    assert typist.texts(joined) == ["pha"]
    typist.finish()
    typist.until("spelt")
    assert typist.count("spelling") == 1
    typist.client.close()


def test_who_joins_a_request_by_hand_does_not_wait_for_alternatives(typist: Typist) -> None:
    held = Path(f"{typist.gate}.held")
    held.touch()
    joined = typist.join_by_hand()
    typist.finish()
    assert typist.texts(joined) == [SPELT[2:]]
    typist.until("alternatives")
    held.unlink()


def test_other_settings_are_in_force_for_who_waits(typist: Typist) -> None:
    asked = typist.ask()
    typist.say(3)
    typist.client.notify("workspace/didChangeConfiguration", {"settings": {"pass-lsp": {"multiLineTokens": 7}}})
    typist.until("cancelled")
    typist.until("spelling", 2)
    typist.finish()
    assert typist.texts(asked) == [SPELT]


def test_who_switches_suggestions_off_sees_none_of_those_under_way(typist: Typist) -> None:
    asked = typist.ask()
    typist.say(3)
    typist.client.notify("workspace/didChangeConfiguration", {"settings": {"pass-lsp": {"enabled": False}}})
    assert typist.texts(asked) == []
    typist.until("cancelled")
    assert typist.client.call("pass-lsp/status")["result"]["reason"] == "disabled"


def test_what_changes_nothing_is_not_shown(typist: Typist) -> None:
    typist.client.open("# do: same\nf()\n", "file:///same")
    assert typist.client.complete(1, 2, "file:///same") == {"items": []}
    assert typist.client.call("pass-lsp/status")["result"]["reason"] == "model-had-nothing-to-add"


def test_the_last_deadline_answers_in_any_case(start: Start, tmp_path: Path) -> None:
    typist = Typist(start, tmp_path, manualDeadlineMs=30)
    assert typist.texts(typist.ask()) == []
    assert typist.client.call("pass-lsp/status")["result"]["reason"] == "deadline"
    typist.finish()
    typist.until("spelt")
    typist.client.until(lambda: typist.texts(typist.ask()) == [SPELT])  # what came too late is not lost
    typist.client.close()


def test_a_manual_request_has_alternatives_and_the_greedy_answer_first(typist: Typist) -> None:
    typist.finish()
    assert typist.texts(typist.ask(1)) == [SPELT, "other_0", "other_1"]
    assert typist.texts(typist.ask(1)) == [SPELT, "other_0", "other_1"]
    assert typist.texts(typist.ask(2)) == [SPELT, "other_0", "other_1"]
    assert (typist.count("spelling"), typist.count("alternatives")) == (1, 1)
    typist.type("al")
    assert typist.texts(typist.ask(2)) == [SPELT[2:]]
    assert typist.texts(typist.ask(1)) == [SPELT[2:], "other_0", "other_1"]
    assert (typist.count("spelling"), typist.count("alternatives")) == (1, 2)


def test_by_hand_all_is_said_of_what_was_cut_off(start: Start, tmp_path: Path) -> None:
    typist = Typist(start, tmp_path, firstTextMs=1)
    asked = typist.ask()
    typist.say(1)
    typist.overdue()
    typist.say(len("alpha = beta\n"))
    assert typist.texts(asked) == ["alpha = beta"]
    by_hand = typist.ask(1)
    typist.finish()
    assert typist.texts(by_hand) == [SPELT, "other_0", "other_1"]
    assert typist.texts(typist.ask(1)) == [SPELT, "other_0", "other_1"]
    assert (typist.count("spelling"), typist.count("alternatives")) == (2, 1)
    typist.client.close()


def test_the_engine_reads_before_it_is_asked(start: Start, tmp_path: Path) -> None:
    typist = Typist(start, tmp_path, ahead=True)
    typist.type("a")
    typist.until("prefilled")
    typist.finish()
    assert typist.texts(typist.ask()) == [SPELT]
    before = typist.count("prefilled")
    typist.type("alpha")
    assert typist.texts(typist.ask()) == [SPELT[5:]]
    assert typist.count("prefilled") == before  # memory knows: there is nothing to read
    typist.client.close()


def test_what_follows_is_there_when_the_suggestion_is_accepted(start: Start, tmp_path: Path) -> None:
    typist = Typist(start, tmp_path, ahead=True)
    typist.finish()
    assert typist.texts(typist.ask()) == [SPELT]
    typist.until("spelt", 2)
    typist.land()
    typist.type(SPELT)
    assert typist.texts(typist.ask()) == [SPELT]
    assert typist.sources()[-1] == "memory"
    typist.client.close()


def test_work_ahead_is_dropped_the_moment_somebody_waits(start: Start, tmp_path: Path) -> None:
    typist = Typist(start, tmp_path, ahead=True)
    typist.finish()
    typist.texts(typist.ask())
    typist.until("spelt", 2)
    typist.gate.write_text("")
    typist.type(SPELT)
    typist.texts(typist.ask())  # from memory; what follows that is being decoded now, and does not end
    typist.until("spelling", 3)
    typist.client.open("x", "file:///other")
    assert "items" in typist.client.complete(0, 1, "file:///other")
    assert typist.count("cancelled") == 1
    typist.client.close()


def test_a_closed_document_is_forgotten(typist: Typist) -> None:
    typist.finish()
    typist.texts(typist.ask())
    typist.client.notify("textDocument/didClose", {"textDocument": {"uri": URI}})
    typist.client.open(TEXT)
    assert typist.texts(typist.ask()) == [SPELT]
    assert typist.count("spelling") == 2


def test_a_document_that_is_opened_anew_is_another(typist: Typist) -> None:
    first = typist.ask()
    typist.say(3)
    typist.client.open(TEXT, language="ruby")
    assert typist.texts(first) is None
    typist.until("cancelled")
    typist.finish()
    assert typist.texts(typist.ask()) == [SPELT]
    assert typist.count("spelling") == 2


def test_answers_leave_in_the_order_of_their_requests(typist: Typist) -> None:
    typist.finish()
    typist.texts(typist.ask())
    asked = []
    for number in range(200):
        if number % 3:
            typist.type(SPELT[len(typist.typed)] if number % 5 and len(typist.typed) < len(SPELT) else "z")
        else:
            typist.back() if typist.typed else None
        asked.append(typist.ask())
    typist.texts(asked[-1])
    assert [each for each in typist.client.order if each in set(asked)] == asked


def test_memory_full_on_the_device_is_tried_again_with_empty_caches(typist: Typist) -> None:
    typist.client.open("# do: memory-once\n", "file:///full")
    assert typist.client.complete(uri="file:///full")["items"][0]["insertText"] == "enough now"
    assert typist.count("forgot") == 1


def test_figures_of_an_answer(typist: Typist) -> None:
    typist.finish()
    typist.texts(typist.ask())
    [figures] = typist.client.call("pass-lsp/answers")["result"]["answers"]
    assert {"version": 1, "source": "model", "tokens": 9, "forwards": 6, "joined": False}.items() <= figures.items()
    assert figures["ms"] >= figures["queue_ms"] >= 0
