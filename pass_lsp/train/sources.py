"""`THIRD_PARTY.md`: every source that a model was trained on, with its licence, from the manifests of its corpora."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pass_lsp.errors import TrainError
from pass_lsp.train import manifest
from pass_lsp.train.corpus import TEST_SHARE, package_list

_WIDTH = 120


def write_sources(corpus: Path, model: str, out: Path) -> dict[str, int]:
    """Write `out` from the manifest of `corpus` (its folder, or a folder that a run came home to).

    Sources that `out` lists already stay: a model that goes on from earlier weights has learned from those too.
    """
    facts = manifest.read(corpus / "manifest.json")
    if facts is None:
        raise TrainError(f"{corpus} holds no manifest.json; give the folder that `pass-lsp train corpus` wrote.")
    packages = {str(package["name"]): package for package in package_list()}
    rows = [*facts["sources"], *facts.get("installed", {}).get("sources", ())]
    apart = sorted(name for name, package in packages.items() if package["held_out"])
    made = [_row(row, packages, facts["python"]) for row in rows if row["source"] not in apart]
    by_name = {row.partition(" | ")[0]: row for row in (*_listed(out), *made)}
    listed = sorted(by_name.values(), key=str.lower)
    out.write_text(_page(model, facts, apart, listed), "utf-8")
    return {"sources": len(listed), "held_out_packages": len(apart)}


def _listed(page: Path) -> list[str]:
    """The rows of a page that is there."""
    lines = page.read_text("utf-8").splitlines() if page.exists() else []
    return [line for line in lines if line.startswith("| ")][1:]


def _row(row: dict[str, Any], packages: dict[str, dict[str, object]], python: str) -> str:
    name = row["source"]
    if name == "python":
        name = f"Python {python} standard library"
    elif name in packages:
        name = f"{name}=={packages[name]['version']}"
    return f"| {name} | {row['license']} | {row['files']} | {row['bytes']:,} |"


def _page(model: str, facts: dict[str, Any], apart: list[str], listed: list[str]) -> str:
    most = facts.get("source_cap", 0) / 1e6
    cap = f" At most {most:g} MB of each was used, {most * TEST_SHARE:g} MB of tests." if most else ""
    dropped = ", ".join(f"{why} {count:,}" for why, count in sorted(facts["dropped"].items()))
    modules, packages = (", ".join(f"`{name}`" for name in names) for names in (facts["held_out_modules"], apart))
    paragraphs = (
        f"The embedded model `{model}` was trained on Python source of these packages and of the standard library, all "
        f"permissively licensed. No file of theirs is in this repository or in the wheel.{cap} Vendored, generated "
        "and data files were left out, and files that resemble public benchmarks or the held-out files were dropped.",
        f"Held out by name, never trained on: the standard library's {modules}; the packages {packages}.",
        "\n".join(("| source | licence | files | characters |", "|---|---|---|---|", *listed)),
        f"Dropped from the last corpus: {dropped}.",
        "`pass_lsp/train/benchmark-10grams.u64.gz` holds hashes of ten-token sequences of HumanEval, MBPP and SAFIM, "
        "used to keep those benchmarks out of the corpus; no text can be read back from it.",
        "Written by `pass-lsp train sources` from the manifests of the corpora.",
    )
    return "# Third-party sources\n\n" + "\n\n".join(map(_wrapped, paragraphs)) + "\n"


def _wrapped(paragraph: str) -> str:
    if paragraph.startswith("|"):
        return paragraph
    lines = [""]
    for word in paragraph.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > _WIDTH:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
