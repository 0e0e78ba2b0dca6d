"""The model card, written from what was measured: nothing in its tables is anyone's to edit by hand.

Reads the model directory (`config.json`, `training.json`, the look-ahead manifest) and the JSON
documents of `pass-lsp bench …`, which it keeps as `measured.json` beside the card, so that a later
call with one new document renews that part alone. What was not measured is said to be so.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from pass_lsp.errors import TrainError
from pass_lsp.train import manifest
from pass_lsp.train.sizes import all_sizes, parameters

_APART = {
    "inside_brackets": "inside brackets that are closed already",
    "begun": "of statements that are begun",
    "mid_line": "in the middle of a line",
}
"""Holes that are counted apart, in words."""
NOT_MEASURED = "Not measured yet; `pass-lsp train card --help` says how."

Rows = Sequence[Sequence[object]]


def write_card(model: Path, measured: Sequence[Path]) -> dict[str, Any]:
    """Write `model/README.md` and `model/measured.json`; returns the figures. Raises `TrainError`."""
    config, training = (manifest.read(model / name) for name in ("config.json", "training.json"))
    if config is None or training is None:
        raise TrainError(f"{model} holds no config.json and training.json; give a folder that `train export` wrote.")
    figures = manifest.read(model / "measured.json") or {}
    for path in measured:
        found = _document(path)
        figures[_name(found)] = found
    manifest.write(model / "measured.json", figures)
    template = Template(resources.files("pass_lsp.train").joinpath("card.md").read_text("utf-8"))
    fields = _facts(model, config, training) | {
        "history": _history(training),
        "infill": _infill(figures),
        "speed": _speed(figures),
        "sizes": "\n".join(_line(row) for row in _sizes()),
    }
    (model / "README.md").write_text(template.substitute(fields), "utf-8")
    return figures


def _document(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
        _name(found)
        return found
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainError(
            f"{path} is no result of a benchmark; make one with `pass-lsp bench infill --json {path.name}`."
        ) from error


def _name(found: dict[str, Any]) -> str:
    """What a document is kept as: its benchmark, holes with tests apart from holes without."""
    tested = found["bench"] == "infill" and "passed" in found["rows"][0]
    return "infill with tests" if tested else str(found["bench"])


def _facts(model: Path, config: dict[str, Any], training: dict[str, Any]) -> dict[str, Any]:
    density = training.get("characters_per_token")
    loss, middle = training["heldout_loss"], training["heldout_middle_loss"]
    weights = (model / "model.safetensors").stat().st_size
    run = training.get("run", {})
    length = run.get("plan", {}).get("million_tokens")
    return {
        "name": model.name,
        "parameters": f"{training['parameters'] / 1e6:.1f}",
        "architecture": _architecture(config),
        "vocabulary": f"{config['vocab_size']:,}",
        "density": "–" if density is None else f"{density:.1f}",
        "context": f"{config['max_position_embeddings']:,}",
        "tokens": f"{training['tokens'] / 1e6:.2f}",
        "effort": _effort(training),
        "data": _data(training),
        "loss": "–" if loss is None else f"{loss:.2f}",
        "middle_loss": "–" if middle is None else f"{middle:.2f}",
        "lookahead": _lookahead(model / "lookahead"),
        "size": f"{weights / 1e6:.1f} MB in bfloat16",
        "source_cap": f"{training.get('corpus', {}).get('source_cap', 8e6) / 1e6:g}",
        "run_options": f"--size {run.get('size', 'cpu')} "
        + (f"--million-tokens {length}" if length else f"--minutes {run.get('seconds', 7200) / 60:.0f}"),
    }


def _architecture(config: dict[str, Any]) -> str:
    heads, shared = config["num_attention_heads"], config["num_key_value_heads"]
    family = config["architectures"][0].removesuffix("ForCausalLM")
    return (
        f"{family} (stock transformers class): {config['num_hidden_layers']} layers, width {config['hidden_size']}, "
        f"{heads} heads, {shared} key-value head{'s' * (shared != 1)}, tied embeddings"
    )


def _effort(training: dict[str, Any]) -> str:
    run = training.get("run", {})
    # Earlier runs, whose weights this one went on from, are not known.
    time = f", the last run {run['seconds'] / 60:.0f} minutes" if "seconds" in run else ""
    if "plan" not in run:
        return time
    threads = run["plan"]["threads"]
    cpu = f"{threads} CPU thread{'s' * (threads != 1)}"
    return f"{time} on {cpu if run['plan']['device'] == 'cpu' else run['plan']['device']}"


def _data(training: dict[str, Any]) -> str:
    corpus = training.get("corpus")
    if corpus is None:
        return "Python source, listed with licences in `THIRD_PARTY.md`"
    leaks, copies = (corpus["dropped"].get(why, 0) for why in ("benchmark", "near-duplicate"))
    told = (
        f"{corpus['characters'] / 1e6:.0f} M characters of Python in {corpus['files']:,} files of {corpus['sources']} "
        f"sources, listed with licences in `THIRD_PARTY.md`; {leaks:,} files dropped for benchmark overlap, {copies:,} "
        "as near-duplicates"
    )
    overlap = corpus.get("overlap")
    return told + (f"; {overlap['heldout_in_train']:.2%} of held-out five-line windows occur in it" if overlap else "")


def _lookahead(folder: Path) -> str:
    found = manifest.read(folder / "manifest.json")
    if found is None:
        return "none yet"
    shares = ", ".join(f"{share:.0%}".replace("%", " %") for share in found.get("acceptance", ()))
    return f"{found['length']} embeddings; drafts 1 to j all accepted on held-out code: {shares or 'not measured'}"


def _history(training: dict[str, Any]) -> str:
    rows = [[f"{at / 1e6:.2f} M", loss, middle] for at, loss, middle in training.get("history", ())]
    return _table(["tokens", "held-out loss", "of the middles"], rows) if rows else NOT_MEASURED


def _infill(figures: dict[str, Any]) -> str:
    pieces: list[str] = []
    if found := figures.get("infill"):
        kinds = found.get("by_kind") or [{"kind": "all", "holes": found["holes"], **row} for row in found["rows"]]
        rows = [
            [r["kind"], r["contender"], *_exact(r, "exact"), r["edit_similarity"], _percent(r["parses"])] for r in kinds
        ]
        apart = [(found[kind], words) for kind, words in _APART.items() if kind in found]
        more = "".join(f", {counted['holes']} {words}" for counted, words in apart) + "," * bool(apart)
        pieces += [
            f"{found['holes']} holes{more} in held-out code ({found['data']}), greedy, 95 % intervals (Wilson). Random "
            "spans are asked for of the model alone, all else through the whole completion flow.",
            _table(["holes", "contender", "exact", "interval", "edit similarity", "parses"], rows),
        ]
        if hopeless := found.get("hopeless"):
            pieces.append(
                f"Answers whose first twelve tokens together have a log-probability below {hopeless['below']} "
                f"({_percent(hopeless['of_all'])} of them) begin with the right line in "
                f"{_percent(hopeless['first_line_exact'])} ({_range(hopeless['interval'])}); an editor shows them only "
                "when asked by hand."
            )
        if "better" in found:
            less = "".join(f"; {words}, {counted['better']} and {counted['worse']}" for counted, words in apart)
            pieces.append(
                f"Against the other model: {found['better']} holes exact here only, {found['worse']} there only{less}."
            )
    if found := figures.get("infill with tests"):
        rows = [
            [r["contender"], *_exact(r, "passed"), *_exact(r, "exact"), _percent(r["parses"])] for r in found["rows"]
        ]
        pieces += [
            f"{found['holes']} holes of `{found['data']}`, their tests run:",
            _table(["contender", "passed", "interval", "exact", "interval", "parses"], rows),
        ]
    return "\n\n".join(pieces) or NOT_MEASURED


def _speed(figures: dict[str, Any]) -> str:
    rows: list[Sequence[object]] = []
    if found := figures.get("decode"):
        rows += [
            [
                f"`{row['contender']}`, {row['text']} prompts",
                f"{row['tokens_per_second']} tokens/s, {row['tokens_per_forward']} tokens a forward",
            ]
            for row in found["rows"]
            if not row["temperature"]
        ]
    if found := figures.get("latency"):
        rows.append(["answer to a keystroke, p50 / p90", f"{found['p50_ms']} / {found['p90_ms']} ms"])
    if found := figures.get("footprint"):
        rows.append(["from nothing to the first completion", f"{found['first_completion_s']} s"])
        rows.append(["memory besides torch", f"{found['memory_mb']} MB"])
    return _table(["what", "here"], rows) if rows else NOT_MEASURED


def _sizes() -> Rows:
    return [
        [
            f"`{name}`",
            f"{parameters(size) / 1e6:.1f} M",
            f"{size['vocab_size']:,}",
            size["num_hidden_layers"],
            size["hidden_size"],
            f"{size['long_sequence']:,}",
            f"{parameters(size) * 2 / 1e6:.1f} MB",
        ]
        for name, size in all_sizes().items()
    ]


def _exact(row: dict[str, Any], key: str) -> tuple[str, str]:
    return _percent(row[key]), _range(row[f"{key}_interval"])


def _range(interval: Sequence[float]) -> str:
    low, high = interval
    return f"{low * 100:.1f} to {high * 100:.1f} %"


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


def _table(heading: Sequence[str], rows: Rows) -> str:
    return "\n".join([_line(heading), _line(["---"] * len(heading)), *map(_line, rows)])


def _line(cells: Sequence[object]) -> str:
    return f"| {' | '.join('–' if cell is None else str(cell) for cell in cells)} |"
