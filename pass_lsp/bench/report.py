"""`make bench`: runs the benchmarks here and writes their figures into the README and RESULTS.md.

The table between the two markers of the README is nobody's to edit by hand.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"
RUNS = (
    ["decode", "--holes", "20"],
    ["decode", "--holes", "10", "--temperature", "0.8"],
    ["infill", "--holes", "150"],
    ["latency", "--keystrokes", "60"],
)


def main() -> None:
    """Run everything, then write both files."""
    sections = [(arguments, _run(arguments)) for arguments in RUNS]
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    body = "\n\n".join(_section(arguments, found) for arguments, found in sections)
    results = ROOT / "pass_lsp" / "bench" / "RESULTS.md"
    results.write_text(
        f"# Results\n\nWritten by `make bench` on {machine}. Read the ratios; the machine is shared.\n\n{body}\n"
    )
    readme = ROOT / "README.md"
    head, _, rest = readme.read_text("utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    readme.write_text(f"{head}{BEGIN}\n{_summary(dict(_named(sections)), machine)}\n{END}{tail}", "utf-8")


def _run(arguments: list[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "pass_lsp", "bench", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def _named(sections: list[tuple[list[str], dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    # The greedy run stands for decoding; it comes first, so the later one must not replace it.
    return [(found["bench"], found) for _, found in reversed(sections)]


def _section(arguments: list[str], found: dict[str, Any]) -> str:
    rows = found.get("rows") or [{key: value for key, value in found.items() if key != "bench"}]
    facts = ", ".join(
        f"{key} {value}" for key, value in found.items() if key not in ("rows", "by_kind", "bench", *rows[0])
    )
    lines = [f"## `pass-lsp bench {' '.join(arguments)}`", "", *([facts, ""] if facts else []), *_table(rows)]
    if found.get("by_kind"):
        lines += ["", *_table(found["by_kind"])]
    return "\n".join(lines)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    cells = [["–" if value is None else str(value) for value in row.values()] for row in rows]
    heading = list(rows[0])
    return [f"| {' | '.join(line)} |" for line in (heading, ["---"] * len(heading), *cells)]


def _summary(found: dict[str, dict[str, Any]], machine: str) -> str:
    decode = {row["strategy"]: row for row in found["decode"]["rows"]}
    fills = {row["contender"]: row for row in found["infill"]["rows"]}
    low, high = fills["model"]["interval"]
    floor = max(fills[name]["first_line_exact"] for name in ("nothing", "previous line again", "next line"))
    latency = found["latency"]
    theirs = decode["transformers generate"]["tokens_per_second"]
    exact = f"{fills['model']['first_line_exact']:.1%} ({low:.1%} to {high:.1%})"
    rows = [
        {"what": "tokens per forward, `pass` (plain decoding: 1)", "here": decode["pass"]["tokens_per_forward"]},
        {"what": "tokens/s, `autoregressive`", "here": decode["autoregressive"]["tokens_per_second"]},
        {"what": "tokens/s, `pass`", "here": decode["pass"]["tokens_per_second"]},
        {"what": "tokens/s, transformers `generate`, same weights", "here": theirs},
        {"what": "first missing line exact, held-out code", "here": exact},
        {"what": "the same, best floor without a model", "here": f"{floor:.1%}"},
        {"what": "answer to a keystroke, p50 / p90", "here": f"{latency['p50_ms']} / {latency['p90_ms']} ms"},
    ]
    return "\n".join([*_table(rows), "", f"Embedded model, {machine}; made by `make bench`."])


if __name__ == "__main__":
    main()
