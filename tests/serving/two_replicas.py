"""Whether two replicas serve twice the typists as one serves them, where a forward waits for a device, not for a core.

    python -m tests.serving.two_replicas

Two cores cannot run two replicas, Ray, its proxy and the typists. So each replica's model is a
stand-in: its forward sleeps as long as a small model's on a GPU takes, costs the core next to
nothing, and every answer is the same line. All else is real: the command, Ray, the proxy, affinity, turns,
streams, and the typists of `pass-lsp bench load`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
import typer
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from pass_lsp.bench.load import Plan, bench_load
from pass_lsp.cli import options
from pass_lsp.config import Settings
from pass_lsp.engines.embedded import embedded_model
from tests.serving.team import deployed, free_port, write_plan

LINE = " value value value value value\n"

WAITING = """\
import time

from transformers import LlamaForCausalLM


class WaitingForCausalLM(LlamaForCausalLM):
    def __init__(self, config):
        super().__init__(config)
        self.model.layers[0].register_forward_pre_hook(lambda *_: time.sleep(SECONDS))
"""


def stand_in(folder: Path, forward_s: float) -> Path:
    """A model directory whose every answer is `LINE`, a token a forward, `forward_s` each."""
    tokenizer = AutoTokenizer.from_pretrained(str(embedded_model()))
    word, end = tokenizer(LINE.strip(), add_special_tokens=False)["input_ids"][-1], tokenizer("\n")["input_ids"][0]
    chain = [word, *(token for token in range(300, 304)), end]
    width = 2 * len(chain)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=width,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=1024,
        eos_token_id=tokenizer.eos_token_id,
    )
    model: Any = LlamaForCausalLM(config)
    with torch.no_grad():
        for weights in model.model.layers[0].parameters():
            weights.zero_()  # so that a row of the table goes through unchanged
        table, output = model.get_input_embeddings().weight, model.lm_head.weight
        table.zero_()
        output.zero_()
        table[:, 0] = 1.0  # whatever came, the first of the chain follows
        for at, token in enumerate(chain):
            output[token, at] = 1.0
            if at + 1 < len(chain):
                table[token] = torch.eye(width)[at + 1]
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    told = json.loads((folder / "config.json").read_text())
    told |= {"auto_map": {"AutoModelForCausalLM": "waiting.WaitingForCausalLM"}}
    (folder / "config.json").write_text(json.dumps(told))
    (folder / "waiting.py").write_text(WAITING.replace("SECONDS", str(forward_s)))
    return folder


def measured(replicas: int, typists: list[int], model: Path, home: Path, given: Any) -> dict[str, Any]:
    port, config = free_port(), home / "team.toml"
    stand_ins = {"model": str(model), "device": "cpu", "lookahead": "random", "trust_remote_code": True}
    write_plan(config, **stand_ins, replicas=replicas, cpus=0.5, port=port)
    with deployed(config, port):
        url = f"http://127.0.0.1:{port}"
        wishes = options.wishes_of(Settings(model="embedded", engine=url))
        return bench_load(url, Plan(typists, given.seconds, given.speed), wishes)


def main() -> None:
    parser = argparse.ArgumentParser(description="Typists that one replica holds, and two.")
    parser.add_argument("--forward-ms", type=float, default=30.0)
    parser.add_argument("--seconds", type=float, default=25.0)
    parser.add_argument("--speed", type=float, default=0.3, help="Of the typists: slow ones, so that answers arrive.")
    parser.add_argument("--typists", type=int, nargs="+", default=[1, 2, 3, 4, 5, 6], help="For each replica.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        model = stand_in(Path(name) / "model", given.forward_ms / 1000)
        one, two = (
            measured(replicas, [replicas * count for count in given.typists], model, Path(name), given)
            for replicas in (1, 2)
        )
    typer.echo(table(one["rows"], two["rows"]))


def table(one: list[dict[str, Any]], two: list[dict[str, Any]]) -> str:
    """A line for each number of typists a replica: what one replica gives, and two with twice as many."""
    lines = [
        "| typists a replica | answers/s, 1 and 2 replicas | answered in time | p99 in ms | failed |",
        "|" + "---|" * 5,
    ]
    for a, b in zip(one, two, strict=True):
        answers = f"{a['answers_per_s']} and {b['answers_per_s']} ({b['answers_per_s'] / a['answers_per_s']:.2f} ×)"
        shares = f"{a['answered_share']:.0%} and {b['answered_share']:.0%}"
        times = f"{a['answer_p99_ms']:.0f} and {b['answer_p99_ms']:.0f}"
        lines.append(f"| {a['typists']} | {answers} | {shares} | {times} | {a['failed'] + b['failed']} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
