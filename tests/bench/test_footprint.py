"""What a fresh process takes; no figure is judged, only that each is one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pass_lsp.bench.footprint import bench_footprint, peak_megabytes


def test_a_process_is_timed_and_weighed(model_dir: Path) -> None:
    found = bench_footprint(str(model_dir))
    assert found["bench"] == "footprint" and found["first_completion_s"] > 0
    if sys.platform == "linux":
        assert found["torch_mb"] > 50 and found["memory_mb"] >= 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a program's own")
def test_what_the_parent_held_does_not_count() -> None:
    ballast = b"x" * 400_000_000
    code = "from pass_lsp.bench.footprint import peak_megabytes; print(peak_megabytes())"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    here = peak_megabytes()
    assert here is not None and here > len(ballast) / 1e6 > 2 * float(done.stdout)
