"""`bench latency`: keystrokes into the real server over stdio, and how long each answer takes."""

from __future__ import annotations

import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pass_lsp.bench.client import Client

MODULE, ANCHOR = "argparse.py", "        if prefix is None:\n"


def bench_latency(options: list[str], keystrokes: int, pause_ms: float) -> dict[str, Any]:
    """Type the beginning of a real line again and again, asking after each key; percentiles in ms."""
    text = (Path(sysconfig.get_paths()["stdlib"]) / MODULE).read_text("utf-8")
    at = text.find(ANCHOR)
    at = text.find("\n", len(text) // 2) + 1 if at < 0 else at
    typed = text[at : at + keystrokes].replace("\n", " ")
    before, after = text[:at], text[at + keystrokes :].partition("\n")[2]
    line = before.count("\n")
    taken: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MODULE
        began = time.perf_counter()
        with Client(options, Path(folder)) as client:
            client.wait_ready()
            ready_ms = (time.perf_counter() - began) * 1000
            client.open(path.as_uri(), before + "\n" + after)
            cold_ms = _asked(client, path, line, 0)
            for column, key in enumerate(tqdm(typed, desc="latency", unit="key")):
                client.insert(path.as_uri(), column + 2, line, column, key)
                taken.append(_asked(client, path, line, column + 1))
                time.sleep(pause_ms / 1000)
    taken.sort()
    share = {f"p{p}_ms": round(taken[min(len(taken) - 1, len(taken) * p // 100)], 1) for p in (50, 90, 99)}
    return {"keystrokes": len(taken), "ready_ms": round(ready_ms), "cold_ms": round(cold_ms, 1), **share}


def _asked(client: Client, path: Path, line: int, column: int) -> float:
    began = time.perf_counter()
    client.inline_completion(path.as_uri(), line, column)
    return (time.perf_counter() - began) * 1000
