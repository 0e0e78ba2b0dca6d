"""Two hours of typing at speed, in compressed time, against the real server and the embedded model.

In the first the caches fill, each to its bound; what the second adds would be added by every hour after it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pass_lsp.bench.client import Client
from pass_lsp.bench.replay import Typist
from pass_lsp.bench.traces import KEY_MS, made_traces

KEYS_AN_HOUR = int(3_600_000 / (1.4 * KEY_MS))
"""With the pauses at line ends, and the slips, of the made traces."""
BURST = 50
"""Keys between two looks at an answer: as many requests are superseded."""
GIVEN_BACK_S = 0.1
"""Closing a document gives memory back, on the engine thread; what is measured is what stays."""


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_an_hour_of_typing_grows_memory_by_less_than_two_percent(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    sizes: list[int] = []
    asked = 0
    with Client([], tmp_path, {"ledger": True}) as client:
        client.wait_ready()
        server = psutil.Process(client.server.pid)
        traces = list(made_traces(KEYS_AN_HOUR))
        for number, trace in enumerate(traces * 2):
            typist = Typist(client, (tmp_path / f"{number}" / trace.name).as_uri(), trace)
            for key, edit in enumerate(trace.edits):
                typist.edit(edit)
                last = typist.ask(edit.cursor)
                if key % BURST == BURST - 1:
                    typist.wait(last)
            typist.fetch()
            asked += len(typist.asked)
            assert all(each.answered for each in typist.asked)
            turns = [each.turn for each in typist.asked]
            assert turns == sorted(turns)
            typist.close()
            client.answers.clear()
            time.sleep(GIVEN_BACK_S)
            sizes.append(server.memory_info().rss)
    assert asked == 2 * KEYS_AN_HOUR
    fifth = len(traces) // 5
    early, late = (statistics.median(sizes[end - fifth : end]) for end in (len(traces), 2 * len(traces)))
    growth = late / early - 1
    record_property("growth", f"{growth:.2%} of {early / 1e6:.1f} MB")
    assert growth < 0.02, f"{early / 1e6:.1f} MB became {late / 1e6:.1f} MB"
