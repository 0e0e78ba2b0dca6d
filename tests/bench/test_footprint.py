"""What a fresh process takes; no figure is judged, only that each is one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pass_lsp.bench import footprint
from pass_lsp.bench.footprint import bench_footprint, peak_megabytes


def test_a_process_is_timed_and_weighed(model_dir: Path) -> None:
    found = bench_footprint(str(model_dir))
    assert found["bench"] == "footprint" and found["first_completion_s"] > 0
    if sys.platform == "linux":
        assert found["libraries_mb"] > 50 and found["memory_mb"] >= 0


def test_the_peak_is_in_megabytes_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    on_linux = peak_megabytes()
    assert on_linux is not None and on_linux > 10
    monkeypatch.setattr(footprint.sys, "platform", "darwin")
    assert peak_megabytes() == pytest.approx(on_linux / 1000, rel=0.5)
