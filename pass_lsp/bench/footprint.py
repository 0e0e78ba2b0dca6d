"""How long a fresh process takes to its first completion, and what memory that takes besides torch.

Run as `python -m pass_lsp.bench.footprint MODEL`; the last line on stdout is JSON.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SOURCE = "import os\n\n\ndef size_of(path):\n    return os.path.\n"


def bench_footprint(model: str) -> dict[str, Any]:
    """Seconds (interpreter's start included) and megabytes (peak) of one process; memory is None where unknown."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "pass_lsp.bench.footprint", model]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    seconds = time.perf_counter() - began
    return {"bench": "footprint", "first_completion_s": round(seconds, 2), **json.loads(done.stdout.splitlines()[-1])}


def main() -> None:
    """One completion in this process; what it took, besides torch."""
    import torch  # noqa: F401

    torch_alone = peak_megabytes()
    import pass_lsp

    engine = pass_lsp.load_engine(sys.argv[1], device="cpu")
    pass_lsp.complete(SOURCE, 4, 19, engine=engine, path="example.py")
    all_of_it = peak_megabytes()
    known = torch_alone is not None and all_of_it is not None
    memory = round(all_of_it - torch_alone) if known else None  # type: ignore[operator]
    sys.stdout.write(json.dumps({"torch_mb": torch_alone and round(torch_alone), "memory_mb": memory}) + "\n")


def peak_megabytes() -> float | None:
    """The most memory that this process has held so far, in MB; None where the platform does not say.

    Linux is asked for that of this program: `getrusage` counts what the parent held before it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        held = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        return int(held[1]) / 1e3 if held else None
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


if __name__ == "__main__":
    main()
