"""Suggestions that the model is unsure of: hidden when this user rarely takes them, and only then."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pass_lsp.documents.document import Document
from pass_lsp.metrics.gate import Gate, ledger_name
from pass_lsp.metrics.ledger import read
from pass_lsp.server.usage import Usage
from tests.server.conftest import Start
from tests.server.fake_server import LOG_PROB
from tests.server.rawlsp import RawClient, span
from tests.server.test_desk import Book, item
from tests.server.test_reuse import Typist

MODEL = ledger_name("fake")
JUDGE = "# do: judge\n"


def learnt(folder: Path, model: str = MODEL) -> Path:
    """A ledger of one who never takes what the model is less sure of than exp(-5)."""
    rng, lines = random.Random(7), list[str]()
    for number in range(400):
        sure = number % 2 == 0
        event = {"at": round(time.time()), "log_prob": round(rng.uniform(-4, 0) if sure else rng.uniform(-9, -5), 2)}
        event |= {"model": model, "characters": 9}
        lines.append(json.dumps({"kind": "shown", **event}))
        if sure and number % 3 == 0:
            lines.append(json.dumps({"kind": "accepted", "lines": 1, **event}))
    (folder / "pass-lsp").mkdir(exist_ok=True)
    file = folder / "pass-lsp" / "ledger.jsonl"
    file.write_text("\n".join(lines) + "\n")
    assert Gate.of(model, read(file)).least_log_prob > LOG_PROB
    return file


def by_hand(client: RawClient, line: int, character: int) -> list[Any]:
    message = client.inline(line, character)
    message["params"]["context"]["triggerKind"] = 1
    client.send(message)
    return client.wait(message["id"])["result"]["items"]


def reason(client: RawClient) -> str:
    return client.call("pass-lsp/status")["result"]["reason"]


@pytest.fixture
def judging(start: Start) -> Callable[..., RawClient]:
    """Starts a server, which has read the ledger when it is ready, and opens a document that is judged."""

    def started(**settings: Any) -> RawClient:
        client = start()
        client.initialize("utf-16", initializationOptions={"ahead": False, "model": "fake", **settings})
        client.ready()
        client.open(JUDGE)
        return client

    return started


def test_what_is_rarely_taken_is_hidden_and_says_so(judging: Callable[..., RawClient], tmp_path: Path) -> None:
    learnt(tmp_path)
    client = judging()
    assert client.complete(1, 0) == {"items": []}
    assert reason(client) == "low-confidence"
    assert client.complete(1, 0) == {"items": []}  # memory knows that too
    answers = client.call("pass-lsp/answers")["result"]["answers"]
    assert [(each["source"], each["reason"]) for each in answers[-2:]] == [
        ("model", "low-confidence"),
        ("memory", "low-confidence"),
    ]
    client.close()


def test_by_hand_it_is_shown_and_then_it_stays_on_screen(judging: Callable[..., RawClient], tmp_path: Path) -> None:
    learnt(tmp_path)
    client = judging()
    assert client.complete(1, 0) == {"items": []}
    assert by_hand(client, 1, 0)[0]["insertText"] == "unsure()"
    assert client.complete(1, 0)["items"][0]["insertText"] == "unsure()"
    client.change(2, {"range": span(1, 0, 1, 0), "text": "uns"})
    assert client.complete(1, 3)["items"][0]["insertText"] == "ure()"
    assert reason(client) == ""
    client.close()


@pytest.mark.parametrize("settings", [{"hide_unsure": False}, {"ledger": False}])
def test_nobody_has_to_have_it(judging: Callable[..., RawClient], tmp_path: Path, settings: dict[str, Any]) -> None:
    learnt(tmp_path)
    client = judging(**settings)
    assert client.complete(1, 0)["items"][0]["insertText"] == "unsure()"
    client.open("# do: count\n", "file:///count.py")
    counts = json.loads(client.complete(1, 0, "file:///count.py")["items"][0]["insertText"])
    assert not counts.get("judged")
    client.close()


def test_what_was_learnt_of_another_model_says_nothing_of_this_one(
    judging: Callable[..., RawClient], tmp_path: Path
) -> None:
    learnt(tmp_path, "another")
    client = judging()
    assert len(client.complete(1, 0)["items"]) == 1
    client.close()


@pytest.mark.parametrize("ledger", [True, False])
def test_what_a_models_measurement_found_hopeless_is_hidden_from_the_first_day(
    judging: Callable[..., RawClient], tmp_path: Path, ledger: bool
) -> None:
    (tmp_path / "measured.json").write_text(json.dumps({"infill": {"hopeless": {"below": LOG_PROB + 0.5}}}))
    client = judging(model=str(tmp_path), ledger=ledger)
    assert client.complete(1, 0) == {"items": []}
    assert reason(client) == "low-confidence"
    assert by_hand(client, 1, 0)[0]["insertText"] == "unsure()"
    client.close()


def test_a_broken_ledger_hides_nothing(judging: Callable[..., RawClient], tmp_path: Path) -> None:
    file = learnt(tmp_path)
    file.unlink()
    file.mkdir()
    client = judging()
    assert len(client.complete(1, 0)["items"]) == 1
    client.close()


def test_lines_that_are_on_screen_are_not_taken_away(start: Start, tmp_path: Path) -> None:
    typist = Typist(start, tmp_path, firstTextMs=1)
    asked = typist.ask()
    typist.say(1)
    typist.overdue()
    typist.say(len("alpha = beta\n  "))
    assert typist.texts(asked) == ["alpha = beta"]
    typist.doubt()
    assert typist.texts(typist.ask()) == ["alpha = beta"]
    typist.type("al")
    assert typist.texts(typist.ask()) == ["pha = beta"]
    typist.client.close()


def test_without_such_lines_it_is_hidden(start: Start, tmp_path: Path) -> None:
    typist = Typist(start, tmp_path)
    asked = typist.ask()
    typist.say(5)
    typist.doubt()
    assert typist.texts(asked) == []
    typist.client.close()


def test_the_ledger_notes_how_sure_the_model_was_and_of_which_model(
    judging: Callable[..., RawClient], tmp_path: Path
) -> None:
    client = judging()
    [offered] = client.complete(1, 0)["items"]
    client.notify("textDocument/didShowCompletion", {"item": offered})
    client.call("workspace/executeCommand", offered["command"])
    client.close()
    lines = (tmp_path / "pass-lsp" / "ledger.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    noted = [(each["kind"], each["log_prob"], each["model"]) for each in found if "log_prob" in each]
    assert noted == [("shown", LOG_PROB, MODEL), ("accepted", LOG_PROB, MODEL)]


def test_a_suggestion_is_learnt_from_once_however_it_is_taken() -> None:
    book = Book()
    usage = Usage(book, lambda key: Document(key, ""))
    usage._client_tells = True
    name = usage.offer("u", 0, "one two three", -2.0)
    usage.shown(item(name))
    usage.accepted_part(item(name), 4)
    usage.accepted_part(item(name), 8)
    rest = usage.offer("u", 8, "three", -2.0)
    usage.shown(item(rest))
    usage._keep_an_eye_on = lambda offer: None  # type: ignore[method-assign]
    usage.accepted(rest)
    assert [sample[1:] for sample in usage.gate._samples] == [(-2.0, False), (-2.0, True)]
    usage.shown(item(usage.offer("u", 20, "by hand")))
    assert len(usage.gate._samples) == 2
