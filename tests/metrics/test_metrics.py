"""Laps, percentiles, the ledger's file and what its events add up to."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from pass_lsp.metrics import ledger as ledgers
from pass_lsp.metrics.laps import Laps
from pass_lsp.metrics.ledger import Ledger, previous, read
from pass_lsp.metrics.percentiles import percentile, percentiles
from pass_lsp.metrics.stats import Stats


def test_laps_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([10.0, 10.5, 10.75, 11.0, 12.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    laps = Laps()
    laps.lap("a")
    laps.lap("b")
    laps.lap("a")  # as the prompt is read a second time for an answer that is asked for otherwise
    assert laps.taken == {"a": 750.0, "b": 250.0}
    assert laps.total_ms() == 2000.0


def test_percentiles_are_values_that_were_there() -> None:
    assert percentiles([5, 1, 2, 3, 4], 0) == {"p50": 3, "p90": 5, "p99": 5}
    assert percentiles([]) == {"p50": 0.0, "p90": 0.0, "p99": 0.0}
    assert percentile(range(1, 1001), 99) == 990


def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed() -> None:
    for count in range(1, 210):
        values = range(count)
        for point in (1, 29, 50, 57, 90, 99, 100):
            least = min(value for value in values if 100 * (value + 1) >= point * count)
            assert percentile(values, point) == least, (count, point)


def test_events_are_lines_and_wait_for_a_flush(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "deep" / "ledger.jsonl")
    ledger.note("shown", characters=3)
    assert not (tmp_path / "deep").exists()
    ledger.flush()
    ledger.flush()
    [event] = read(tmp_path / "deep" / "ledger.jsonl")
    assert (event["kind"], event["characters"]) == ("shown", 3)
    assert (tmp_path / "deep" / "ledger.jsonl").stat().st_mode & 0o077 == 0


def test_a_ledger_without_a_path_is_off(tmp_path: Path) -> None:
    ledger = Ledger(None)
    ledger.note("shown", characters=3)
    ledger.flush()
    ledger.path = tmp_path / "l"
    ledger.flush()
    assert list(read(tmp_path / "l")) == []


def test_it_is_rotated_by_size_and_read_through(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l", largest=500)
    for number in range(60):
        ledger.note("shown", characters=number)
        ledger.flush()
    assert previous(tmp_path / "l").exists()
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 1500
    numbers = [event["characters"] for event in read(tmp_path / "l")]
    assert numbers == list(range(60))[-len(numbers) :] and len(numbers) > 8


def test_many_events_do_not_wait_for_a_flush_and_a_full_disk_costs_only_them(tmp_path: Path) -> None:
    full = Ledger(Path("/dev/full"))
    for _ in range(5 * ledgers._MOST_WAITING):
        full.note("shown", characters=1)
    assert len(full._waiting) < ledgers._MOST_WAITING and full.failure
    folder = Ledger(tmp_path)
    folder.note("shown", characters=1)
    folder.flush()
    assert folder.failure
    folder.path = tmp_path / "fine"
    folder.note("shown", characters=1)
    folder.flush()
    assert not folder.failure and len(list(read(tmp_path / "fine"))) == 1


def test_a_clock_that_jumps_changes_nothing_but_the_stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path / "l")
    for now in (1e9, -5.0, 4e9):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        ledger.note("answer", source="model", ms=1.0)
    ledger.flush()
    assert Stats.of(read(tmp_path / "l")).answers == 3


def test_torn_lines_and_strange_events_count_for_nothing(tmp_path: Path) -> None:
    lines = ['{"kind": "sho', "[1]", "5", '{"kind": 3}', '{"kind": "unknown"}', '{"kind": "shown"}', "\x00", "[" * 9999]
    lines += [json.dumps({"kind": "shown", "characters": "many"}), json.dumps({"kind": "kept", "after_s": 7})]
    lines += ['{"kind":"answer","source":"model","ms":1,"tokens":1e999}', '{"kind":"shown","model":["m"]}']
    lines += [json.dumps({"kind": "shown", "characters": 4, "model": "m", "at": 10**400, "log_prob": -1})]
    (tmp_path / "l").write_text("\n".join(lines))
    stats = Stats.of(read(tmp_path / "l"))
    assert (stats.shown, stats.characters["shown"]) == (1, 4)
    assert stats.as_dict()["gate"]["learnt_from"] == 0


def test_sums() -> None:
    answers = [{"kind": "answer", "source": "model", "ms": ms, "tokens": 4, "forwards": 2} for ms in (10, 20, 30)]
    refused = {"kind": "answer", "source": "none", "ms": 0, "reason": "model-loading"}
    kept = [{"kind": "kept", "after_s": 30, "characters": n, "of": 10} for n in (10, 5)]
    taken = [{"kind": kind, "characters": 10} for kind in ("shown", "shown", "accepted", "partly")]
    found = Stats.of([*answers, refused, *kept, *taken]).as_dict()
    assert (found["answers"], found["shown"], found["accepted"], found["partly_accepted"]) == (4, 2, 1, 1)
    assert found["acceptance"] == 0.5 and found["tokens_per_forward"] == 2.0
    assert found["latency_ms"]["model"]["p50"] == 20
    assert found["empty_answers"] == {"model-loading": 1}
    assert found["retained"]["after_30_s"] == {"characters": 15, "of": 20, "share": 0.75}
    assert found["retained"]["after_300_s"]["share"] is None
