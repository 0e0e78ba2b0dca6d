"""What the gate learns, when it does not dare to, and that it lets go again."""

from __future__ import annotations

import json
import math
import random
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pass_lsp.engines import embedded
from pass_lsp.engines.embedded import measured_hopeless
from pass_lsp.errors import ModelError
from pass_lsp.metrics import gate as gates
from pass_lsp.metrics.gate import Gate, hopeless, isotonic
from pass_lsp.metrics.ledger import Ledger, read


def user(count: int, seed: int = 0, taken_above: float = -4.0, at: float | None = None) -> list[dict[str, Any]]:
    """The events of one who takes three in ten of what the model is sure of, and one in a hundred of the rest."""
    rng, events = random.Random(seed), list[dict[str, Any]]()
    for _ in range(count):
        seen = {"at": at or time.time(), "log_prob": round(rng.uniform(-8, 0), 2), "model": "m", "characters": 9}
        events.append({"kind": "shown", **seen})
        if rng.random() < (0.3 if seen["log_prob"] >= taken_above else 0.01):
            events.append({"kind": rng.choice(("accepted", "partly")), **seen})
    return events


@pytest.mark.parametrize("seed", range(8))
def test_it_learns_where_suggestions_are_rarely_taken(seed: int) -> None:
    gate = Gate.of("m", user(600, seed))
    assert -6.5 < gate.least_log_prob < -3.5
    assert gate.shown == 600


def test_what_it_hides_is_rarely_taken_by_the_same_user_later() -> None:
    hidden = taken = kept = missed = 0
    for seed in range(20):
        gate = Gate.of("m", user(400, seed))
        for event in user(400, seed + 100):
            below = event["log_prob"] < gate.least_log_prob
            hidden += below and event["kind"] == "shown"
            missed += below and event["kind"] != "shown"
            kept += not below and event["kind"] != "shown"
            taken += event["kind"] != "shown"
    assert hidden > 0.35 * 20 * 400
    assert missed / hidden < gates.RARELY
    assert kept / taken > 0.9


@pytest.mark.parametrize(
    "events",
    [
        [],
        user(gates.LEAST_SHOWN - 1),
        [event for event in user(2000) if event["kind"] == "shown"],  # a client that tells of no accepts
        user(2000, taken_above=-8),  # all of it is worth a look
        user(600, at=time.time() - gates.REMEMBERED_S - 60),
        [{**event, "model": "another"} for event in user(600)],
        [{**event, "log_prob": bad} for event in user(90) for bad in ("x", None, math.nan, -math.inf, [1])],
        [{**event, "at": at} for event in user(300) for at in ("yesterday", 10**400)],
        [{key: value for key, value in event.items() if key != "log_prob"} for event in user(600)],
    ],
    ids=["nothing", "little", "no accepts", "all good", "old", "another model", "no numbers", "no times", "before it"],
)
def test_it_hides_nothing_as_long_as_it_does_not_know(events: list[dict[str, Any]]) -> None:
    assert Gate.of("m", events).least_log_prob == -math.inf


def test_nothing_is_hidden_of_a_model_of_which_nothing_is_worth_a_look() -> None:
    """Else there would be no suggestions at all, and nobody would know why."""
    assert Gate.of("m", user(3000, taken_above=1.0)).least_log_prob == -math.inf


@pytest.mark.parametrize("below", [-7.5, -1.0])
def test_what_was_measured_as_hopeless_stays_hidden(below: float) -> None:
    learnt = Gate.of("m", user(600)).least_log_prob
    assert -7.5 < learnt < -1.0
    assert Gate("m", below).least_log_prob == Gate.of("m", user(50), below).least_log_prob == below
    assert Gate.of("m", user(600), below).least_log_prob == max(learnt, below)


def test_hopeless_is_what_hardly_ever_begins_right() -> None:
    rng = random.Random(5)
    answers = [
        (sure, rng.random() < (0.005 if sure < -5 else 0.2)) for sure in (rng.uniform(-9, 0) for _ in range(2000))
    ]
    found = hopeless(answers)
    assert found is not None and -5.5 < found.least < -4.5
    below = [right for sure, right in answers if sure < found.least]
    assert (found.shown, found.taken) == (len(below), sum(below)) and sum(below) < gates.HOPELESS * len(below)


@pytest.mark.parametrize(
    "answers",
    [
        [],
        [(-1.0, True)] * 99,
        [(-1.0, False)] * 999,  # else nothing would be shown
        [*[(-9.0, False)] * (gates.LEAST_HIDDEN - 1), *[(-1.0, True)] * 99],
    ],
)
def test_of_what_is_not_known_to_be_hopeless_nothing_is_hidden(answers: list[tuple[float, bool]]) -> None:
    assert hopeless(answers) is None


def test_a_models_measurement_lies_beside_its_card(tmp_path: Path) -> None:
    def kept(text: str) -> float:
        (tmp_path / "measured.json").write_text(text)
        return measured_hopeless(str(tmp_path))

    assert measured_hopeless(str(tmp_path)) == measured_hopeless("someone/model") == -math.inf
    assert kept('{"infill": {"hopeless": {"below": -5.25}}}') == -5.25
    for odd in ("", "[]", "{}", '{"infill": {"hopeless": null}}', "\0"):
        assert kept(odd) == -math.inf
    for odd in ('"x"', "NaN", "1", "[]"):
        assert kept(f'{{"infill": {{"hopeless": {{"below": {odd}}}}}}}') == -math.inf


def test_where_no_model_is_installed_nothing_is_hopeless(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Path:
        raise ModelError("The embedded model is missing.")

    monkeypatch.setattr(embedded, "embedded_model", missing)
    assert measured_hopeless("embedded") == -math.inf


def test_it_learns_as_it_goes_what_the_ledger_would_have_told_it() -> None:
    events, gate = user(640), Gate("m")
    for event in events:
        gate.learn(event["log_prob"], event["kind"] != "shown")
    gate._fit()
    assert gate.least_log_prob == Gate.of("m", events).least_log_prob > -math.inf


def test_what_it_learnt_is_forgotten_after_a_month(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate.of("m", user(600))
    assert gate.least_log_prob > -math.inf
    later = time.time() + gates.REMEMBERED_S + 60
    monkeypatch.setattr(time, "time", lambda: later)
    for _ in range(gates._REFIT_EVERY):
        gate.learn(-1.0, taken=False)
    assert (gate.least_log_prob, gate.shown) == (-math.inf, gates._REFIT_EVERY)


def test_it_reads_what_the_ledger_wrote(tmp_path: Path) -> None:
    ledger, events = Ledger(tmp_path / "l"), user(600)
    for event in events:
        ledger.note(event["kind"], **{key: event[key] for key in ("log_prob", "model", "characters")})
    ledger.flush()
    with (tmp_path / "l").open("a") as lines:
        lines.write(json.dumps({"kind": "shown", "log_prob": -1, "model": 5}) + "\n")
    expected = Gate.of("m", events).least_log_prob
    assert Gate.of("m", read(tmp_path / "l")).least_log_prob == expected > -math.inf
    ledger.note("answer", source="model", ms=1.0)
    ledger.flush()
    assert len(list(read(tmp_path / "l", '"m"'))) == len(events)


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5)), max_size=30))
def test_blocks_rise_and_lose_nobody(pairs: list[tuple[int, int]]) -> None:
    samples = [(float(place), shown, min(shown, taken)) for place, (shown, taken) in enumerate(pairs)]
    blocks = isotonic(samples)
    assert all(a.least < b.least and a.taken * b.shown < b.taken * a.shown for a, b in pairwise(blocks))
    assert sum(block.shown for block in blocks) == sum(shown for _, shown, _ in samples)
    assert sum(block.taken for block in blocks) == sum(taken for _, _, taken in samples)
