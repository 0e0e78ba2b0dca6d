"""`make bench`: runs the benchmarks here and writes their figures into the README and RESULTS.md.

Every run's JSON document stays in a cache folder, so that one of them can be repeated and the
pages written anew without the others. The table between the two markers of the README is nobody's
to edit by hand; what stands behind the marker of RESULTS.md is written by hand and kept.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pass_lsp.bench.goals import reached
from pass_lsp.bench.outputs import here
from pass_lsp.bench.table import Rows, facts, markdown, tables

ROOT = Path(__file__).resolve().parents[2]
KEPT = Path(".cache") / "bench"
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"
BY_HAND = "<!-- by hand: what follows is kept -->"
RUNS: dict[str, list[str]] = {
    "decode": ["decode", "--holes", "12", "--repeats", "3", "--plot", "docs/bench-decode.png"],
    "decode-int8": ["decode", "--holes", "12", "--repeats", "3", "--dtype", "int8"],
    "study": ["decode", "--study", "--repeats", "3", "--max-new-tokens", "64", "--plot", "docs/bench-study.png"],
    "infill": ["infill", "--holes", "900"],
    "latency": ["latency", "--keystrokes", "60"],
}
EIGHT = KEPT / "lookahead-8"
"""An artifact of eight embeddings, made by `pass-lsp train lookahead --length 8`: with it the study goes to L = 8."""
_FOOTER = re.compile(r"^Embedded model, (.+); made by", re.MULTILINE)
PEERS = "peers"
"""Written by `make peers`, which needs another environment; shown when it is there."""

Document = dict[str, Any]


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"Run this alone; of {', '.join(RUNS)}.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Run nothing; write the pages from what is kept.")] = False,
) -> None:
    """Run the benchmarks, then write both files from all that is kept."""
    unknown = set(only or ()) - RUNS.keys()
    if unknown:
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: choose of {', '.join(RUNS)}.")
    for name in () if write else only or RUNS:
        _run(name, ROOT)
    write_pages(ROOT)


def write_pages(root: Path) -> None:
    """RESULTS.md and the README's table, from the documents kept under `root`; what has none stays as it was."""
    found = {name: json.loads(path.read_text()) for name in (*RUNS, PEERS) if (path := _kept(root, name)).exists()}
    results = root / "pass_lsp" / "bench" / "RESULTS.md"
    old, _, by_hand = (results.read_text("utf-8") if results.exists() else "").partition(BY_HAND)
    whole = found.keys() == {*RUNS, PEERS}  # then nothing is left to keep, nor are lines that have another name now
    readme = root / "README.md"
    head, _, rest = readme.read_text("utf-8").partition(BEGIN)
    table, _, tail = rest.partition(END)
    where = _places(found, table, whole)
    results.write_text(results_page(found, where, by_hand, "" if whole else old), "utf-8")
    lines = [
        *renewed("" if whole else table, summary_rows(found)),
        "",
        f"Embedded model, {where}; made by `make bench`.",
    ]
    summary = "\n".join(lines)
    readme.write_text(f"{head}{BEGIN}\n{summary}\n{END}{tail}", "utf-8")


def _places(found: Mapping[str, Document], table: str, whole: bool) -> str:
    """The machines that the figures are of; `table` names those of what does not say it, or stays as it was."""
    told = [document.get("where", "") for document in found.values()]
    said = _FOOTER.search(table)
    before = said[1].split(" and ") if said and not (whole and all(told)) else []
    return " and ".join(dict.fromkeys([*before, *filter(None, told)])) or here()


def results_page(found: Mapping[str, Document], where: str, by_hand: str, old: str = "") -> str:
    """RESULTS.md: goals, then every run; `by_hand` is what stood behind the marker, `old` what before."""
    parts = [f"# Results\n\nWritten by `make bench` on {where}. Read the ratios; the machine is shared."]
    known = {part.partition("\n")[0]: part.rstrip() for part in re.split(r"^(?=## )", old, flags=re.MULTILINE)}
    device = "cuda" if found.get("decode", {}).get("machine", {}).get("dtype") == "bfloat16" else "cpu"
    if goals := renewed(known.get("## Goals", ""), reached([*found.values()], device)):
        parts.append("\n".join(["## Goals", "", *goals]))
    known |= {_heading(name): section(name, document) for name, document in found.items()}
    parts += [known[heading] for heading in map(_heading, (*RUNS, PEERS)) if heading in known]
    return "\n\n".join(parts) + f"\n\n{BY_HAND}\n" + (by_hand.lstrip("\n") or "\n## What did not work\n")


def renewed(old: str, rows: Rows) -> list[str]:
    """The lines of the table in `old` with `rows` in it, each in the place of the one that begins alike."""
    lines = [line for line in old.splitlines() if line.startswith("|")] + markdown(rows)
    return [*{line.partition(" | ")[0]: line for line in lines}.values()]


def section(name: str, found: Document) -> str:
    """One run: its command, its facts, every table, its picture."""
    lines = [_heading(name), ""]
    if said := facts(found):
        lines += [said, ""]
    several = [(title, rows) for title, rows in tables(found) if title != "goals"]
    for title, rows in several:
        lines += [*([f"{title.replace('_', ' ').capitalize()}:", ""] if len(several) > 1 else []), *markdown(rows), ""]
    arguments = RUNS.get(name, [])
    if "--plot" in arguments:
        lines.append(f"![{name}](../../{arguments[arguments.index('--plot') + 1]})")
    return "\n".join(lines).rstrip()


def _heading(name: str) -> str:
    return f"## `pass-lsp bench {' '.join(RUNS[name])}`" if name in RUNS else f"## `make {name}`"


def summary_rows(found: Mapping[str, Document]) -> Rows:
    """The README's few lines; what was not measured is left out."""
    rows = [*_decode_rows(found), *_infill_rows(found.get("infill", {}))]
    latency = found.get("latency", {})
    if "p50_ms" in latency:
        shown = f"{latency['p50_ms']} / {latency['p90_ms']} ms"
        if overtaken := latency.get("superseded"):  # the slow ones: without them the times look better than they are
            shown += f"; {overtaken / latency['requests']:.0%} were overtaken by the next key and do not count"
        rows.append(("answer to a keystroke, p50 / p90", shown))
    return [{"what": what, "here": here} for what, here in rows]


def _decode_rows(found: Mapping[str, Document]) -> list[tuple[str, Any]]:
    decode = found.get("decode", {})
    rows: list[tuple[str, Any]] = []
    for row in decode.get("true_text", ()):
        if (row["text"], row["temperature"], row["parts"]) == ("fresh", 0.0, "all"):
            shown = f"{row['pass']} / {row['merged']}"
            rows.append(("tokens per forward on unseen code, `pass` / `merged` (plain decoding: 1)", shown))
    greedy = {(row["text"], row["contender"]): row for row in decode.get("rows", ()) if row["temperature"] == 0.0}
    for text in ("fresh", "copy"):
        if (text, "auto") in greedy:
            auto, plain = greedy[text, "auto"], greedy[text, "autoregressive"]
            what = "unseen code" if text == "fresh" else "code with much to copy"
            speeds = f"{plain['tokens_per_second']} / {auto['tokens_per_second']} ({auto['speedup']}×)"
            rows.append((f"tokens/s, one at a time / `auto`, {what}", speeds))
    if ("fresh", "auto") in greedy:
        ratio = greedy["fresh", "auto"]["against_generate"]
        rows.append(("`auto` against transformers `generate`, same weights", f"{ratio}×"))
    for row in found.get(PEERS, {}).get("against", ()):
        if row["text"] == "fresh":
            rows.append((f"`{row['ours']}` against {row['peer']}, same weights", f"{row['ratio']}×"))
    return rows


def _infill_rows(infill: Document) -> list[tuple[str, Any]]:
    fills = {row["contender"]: row for row in infill.get("rows", ())}
    if "model" not in fills:
        return []
    low, high = fills["model"]["interval"]
    floors = [fills[name]["first_line_exact"] for name in ("nothing", "previous line again", "next line")]
    exact = f"{fills['model']['first_line_exact']:.1%} ({low:.1%} to {high:.1%})"
    rows = [
        ("first missing line exact, held-out code", exact),
        ("the same, best floor without a model", f"{max(floors):.1%}"),
    ]
    for row in infill.get("when_unsure_ones_are_left_out", ()):
        if row["left_out"] == 0.5:
            shown = f"{row['first_line_exact']:.1%}, {row['of_the_right_ones']:.0%} of the right ones among them"
            rows.append(("first missing line exact, the half of the answers that the model is surer of", shown))
    if hidden := infill.get("hopeless"):
        right = f"{hidden['of_all']:.0%}, of which {hidden['first_line_exact']:.1%} begin with the right line"
        rows.append(("answers that are not shown unasked, from the first day", right))
    return rows


def _kept(root: Path, name: str) -> Path:
    return root / KEPT / f"{name}.json"


def _run(name: str, root: Path) -> None:
    path = _kept(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    longer = ["--lookahead", str(EIGHT)] if name == "study" and (root / EIGHT).exists() else []
    command: Sequence[str] = [sys.executable, "-m", "pass_lsp", "bench", *RUNS[name], *longer]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=root)
    path.write_text(done.stdout.strip().splitlines()[-1] + "\n")


if __name__ == "__main__":
    typer.run(main)
