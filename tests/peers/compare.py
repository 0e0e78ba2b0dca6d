"""`make peers`: this engine and llama.cpp on the same weights and prompts, in one run, taking turns.

Runs in the project's environment; llama.cpp lives in its own (`PEERS`), as a process for each
file. Greedy answers must be equal in float32, or the weights are not the same and nothing counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pass_lsp.bench.contenders import Answer, Contender, ours
from pass_lsp.bench.goals import reached
from pass_lsp.bench.hardware import machine
from pass_lsp.bench.holes import held_out_holes
from pass_lsp.bench.measure import Score, measure, rows_of
from pass_lsp.bench.outputs import here
from pass_lsp.bench.prompts import Task, tasks_of
from pass_lsp.bench.table import markdown
from pass_lsp.bench.texts import copy_holes
from pass_lsp.bench.variants import answer_room
from pass_lsp.engines.local import LocalEngine, load_engine
from pass_lsp.prompt import template_for

HERE = Path(__file__).parent
PEERS = HERE.parents[1] / ".cache" / "peers" / "bin" / "python"
PAIRS = (("auto", "llama.cpp f32"), ("auto, int8", "llama.cpp q8_0"))
SAME_AT_LEAST = 0.9
"""Where two tokens are all but equally likely, other orders of adding may choose the other one."""


class Worker:
    """A llama.cpp process as a contender."""

    def __init__(self, path: Path, threads: int, context_length: int, most: int, ends: Sequence[int]) -> None:
        exact = "exact" if path.stem == "f32" else "rounded"
        command = [str(PEERS), str(HERE / "llama_worker.py"), str(path), str(threads), str(context_length), exact]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._asked = {"most": most, "ends": [*ends]}

    def __call__(self, task: Task, seed: int) -> Answer:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps({"ids": task.token_ids, **self._asked}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(
                f"llama.cpp ended with code {self.process.wait()}. It may have been built on another processor: "
                f"remove {PEERS.parents[1]} and run `make peers` again."
            )
        found = json.loads(answer)
        tokens = found["tokens"]
        return Answer(tokens, found["first"], found["rest"], len(tokens) - 1, len(tokens))

    def end(self) -> None:
        """Close its input and wait."""
        self.process.communicate()


def save_weights(engine: LocalEngine, folder: Path) -> None:
    """The engine's model for `gguf_file.py`: its config, and every weight in float32."""
    config = engine.model.config.to_dict()
    if config["model_type"] != "llama":
        raise SystemExit(f"Only Llama models are converted here, this one is {config['model_type']}.")
    (folder / "config.json").write_text(json.dumps(config, default=str))
    weights = {name: tensor.float().cpu().numpy() for name, tensor in engine.model.state_dict().items()}
    np.savez(folder / "weights.npz", **weights)


def converted(engine: LocalEngine, folder: Path) -> dict[str, Path]:
    """GGUF files by kind."""
    save_weights(engine, folder)
    files = {kind: folder / f"{kind}.gguf" for kind in ("f32", "q8_0")}
    for kind, path in files.items():
        subprocess.run([str(PEERS), str(HERE / "gguf_file.py"), str(folder), str(path), kind], check=True)
    return files


def same_greedy(mine: Score, theirs: Score, ends: Sequence[int]) -> float:
    """The share of tasks that both answered alike; theirs include the token that ended them."""
    pairs = zip(mine.answers, theirs.answers, strict=True)
    return statistics.mean(a.token_ids == [t for t in b.token_ids if t not in ends] for a, b in pairs)


def compare(model: str, holes: int, repeats: int, most: int, threads: int | None) -> dict[str, Any]:
    """The document: rows of all contenders on fresh and copy-heavy prompts, and the ratios that are goals."""
    engine, small = (load_engine(model, "cpu", dtype, threads=threads) for dtype in ("float32", "int8"))
    most = answer_room(most)
    ends = sorted({engine.tokenizer.eos_token_id, *template_for(engine.tokenizer).stop_ids})
    tasks = {"fresh": tasks_of(engine, held_out_holes(holes), most), "copy": tasks_of(engine, copy_holes(holes), most)}
    rows, against = [], []
    with tempfile.TemporaryDirectory() as folder:
        files = converted(engine, Path(folder))
        threads = torch.get_num_threads()
        workers = {
            f"llama.cpp {kind}": Worker(path, threads, engine.context_length, most, ends)
            for kind, path in files.items()
        }
        contenders: dict[str, Contender] = {
            "autoregressive": ours(engine, "autoregressive", most, 0.0),
            "auto": ours(engine, "auto", most, 0.0),
            "auto, int8": ours(small, "auto", most, 0.0),
            **workers,
        }
        for text, prompts in tasks.items():
            scores = measure(contenders, prompts, repeats, text)
            rows += [{"text": text, **row} for row in rows_of(scores)]
            for own, peer in PAIRS:
                ratios = [b / a for a, b in zip(scores[own].seconds, scores[peer].seconds, strict=True) if a]
                same = same_greedy(scores[own], scores[peer], ends)
                against.append({"text": text, "ours": own, "peer": peer, "ratio": round(statistics.median(ratios), 2),
                                "same_answers": round(same, 2)})  # fmt: skip
        for worker in workers.values():
            worker.end()
    if min(row["same_answers"] for row in against if row["peer"] == "llama.cpp f32") < SAME_AT_LEAST:
        raise SystemExit("llama.cpp answers otherwise in float32: the converted weights are not the same.")
    found = {"bench": "peers", "machine": machine(engine), "repeats": repeats, "against": against, "rows": rows}
    found["where"] = here()
    return {**found, "goals": reached([found], "cpu")}


def main() -> None:
    """Parse, compare, show; the last line is the JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--holes", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--max-new-tokens", type=int, default=96)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if not PEERS.exists():
        raise SystemExit("llama.cpp is not there; run `make peers`, which builds it (10 minutes and more).")
    found = compare(given.model, given.holes, given.repeats, given.max_new_tokens, given.threads)
    for name in ("against", "rows", "goals"):
        if found[name]:
            sys.stderr.write("\n".join(markdown(found[name])) + "\n\n")
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(found) + "\n")
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
