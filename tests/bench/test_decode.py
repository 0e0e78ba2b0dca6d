"""`bench decode` on tiny models: what it compares, what it counts, and that its document says so."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from pass_lsp import cli
from pass_lsp.bench.contenders import contenders, ours
from pass_lsp.bench.decode import Settings, bench_decode, without_parts
from pass_lsp.bench.forced import Forced, Shortened, forced
from pass_lsp.bench.hardware import copy_bandwidth, curve, one_forward, weight_bytes
from pass_lsp.bench.holes import held_out_holes
from pass_lsp.bench.measure import Score, measure, rows_of
from pass_lsp.bench.prompts import Task, tasks_of
from pass_lsp.bench.texts import copy_holes
from pass_lsp.decoding.costs import Costs
from pass_lsp.decoding.lookahead import Head, Lookahead
from pass_lsp.decoding.lora import targets
from pass_lsp.domain import SamplingParams
from pass_lsp.engines.local import LocalEngine, load_engine
from tests.decoding.families import tiny_engine
from tests.decoding.scripted import counting


@pytest.fixture(scope="module")
def engine(model_dir: Path) -> LocalEngine:
    return load_engine(str(model_dir), device="cpu", lookahead="random")


def test_everyone_decodes_the_same_greedy_tokens(engine: LocalEngine) -> None:
    tasks = tasks_of(engine, held_out_holes(2), 8)
    scores = measure(contenders(engine, 8, 0.0), tasks, 2, "test")
    assert list(scores) == [
        "autoregressive", "pass", "merged", "auto", "transformers generate", "transformers prompt lookup",
    ]  # fmt: skip
    for number in range(len(tasks)):
        answers = {tuple(_without_end(engine, score.answers[number].token_ids)) for score in scores.values()}
        assert len(answers) == 1
    rows = {row["contender"]: row for row in rows_of(scores)}
    assert rows["autoregressive"]["speedup"] == rows["transformers generate"]["against_generate"] == 1.0
    assert rows["autoregressive"]["tokens_per_forward"] == rows["transformers generate"]["tokens_per_forward"] == 1.0
    assert rows["autoregressive"]["acceptance"] is None
    assert rows["pass"]["acceptance"] and rows["pass"]["tokens_per_forward"] >= 1.0
    assert {rows[name]["same_as_reference"] for name in ("pass", "merged", "auto")} == {1.0}
    assert rows["transformers generate"]["same_as_reference"] is None


def _without_end(engine: LocalEngine, ids: list[int]) -> list[int]:
    end = engine.tokenizer.eos_token_id
    return ids[: ids.index(end)] if end in ids else ids


def test_sampled_answers_of_merged_are_those_of_the_reference(engine: LocalEngine) -> None:
    tasks = tasks_of(engine, held_out_holes(3), 8)
    runs = [ours(engine, name, 8, 0.8) for name in ("autoregressive", "merged")]
    for seed, task in enumerate(tasks):
        first, second = (run(task, seed) for run in runs)
        assert first.token_ids == second.token_ids
        assert first.forwards == first.tokens == len(first.steps)
        assert first.late == first.tokens - 1
        assert first.first > 0 and first.rest >= 0


def test_figures_are_medians_over_rounds_and_contenders_take_turns() -> None:
    from pass_lsp.bench.contenders import Answer

    order: list[str] = []

    def contender(name: str, taken: list[float]):
        times = iter([0.0, *taken])

        def run(task: Task, seed: int) -> Answer:
            order.append(name)
            return Answer([1, 2, 3], 0.5, next(times), 2, 3)

        return run

    tasks = [Task((1,), ()), Task((2,), ())]
    scores = measure(
        {
            "autoregressive": contender("a", [2, 2, 2, 2, 20, 20]),
            "transformers generate": contender("b", [4, 4, 6, 6, 8, 8]),
        },
        tasks, 3, "test",
    )  # fmt: skip
    assert "".join(order) == "ab" + "abba" + "baab" + "abba"
    assert scores["autoregressive"].seconds == [1, 1, 10]
    row = rows_of(scores)[1]
    assert row["tokens_per_second"] == round(1 / 3, 1)
    assert row["speedup"] == 0.5  # of 1/2, 1/3 and 10/4
    assert row["first_token_ms"] == 500


def test_acceptance_by_position_counts_only_drafts_that_were_made() -> None:
    from pass_lsp.bench.contenders import Answer
    from pass_lsp.domain import Step

    steps = (Step(1, 0, 0, 1), Step(1, 2, 2, 3), Step(1, 2, 1, 2), Step(1, 1, 0, 1))
    score = Score([[Answer([], 0, 0, 0, 4, steps)]])
    assert score.acceptance == [round(2 / 3, 3), 0.5]


# --- on the true text ---------------------------------------------------------


@pytest.mark.parametrize(("right", "expected"), [(0, (0, 0, 0)), (2, (1, 1, 0)), (3, (1, 1, 1))])
def test_forced_counts_the_drafts_that_the_model_would_have_written(right: int, expected: tuple[int, ...]) -> None:
    executor = counting(50, 3, lambda j, last: j < right)
    found = forced(executor, [Task((1, 2, 3), (9, 20, 4, 4)), Task((7,), ())])
    assert found == Forced(4, expected)
    assert found.merged() == 1 + right and found.two_forwards() == (2 + right) / 2
    assert found.merged(1) == 1 + min(right, 1)


def test_forced_reads_the_true_text_alone() -> None:
    """Every position is behind the prompt and the truth up to there, whatever was drafted before."""
    executor = counting(50, 2, lambda j, last: last % 2 == 0)
    found = forced(executor, [Task((1, 2), (8, 5, 11))])
    firsts = [ids for ids in executor.fed if len(ids) <= 2][:]
    assert [ids[0] for ids in firsts if len(ids) == 1] == [8, 5, 11]
    assert [ids for ids in executor.fed if len(ids) == 3] == [[3, 4, 5], [9, 10, 11], [6, 12, 13]]
    assert found.acceptance == (2 / 3, 2 / 3)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_forced_is_the_first_cycle_of_merged(temperature: float) -> None:
    engine = tiny_engine("llama", num_lookahead=3)
    task = Task((5, 9, 33, 2), (7,))
    params = SamplingParams(6, temperature, strategy="merged")
    accepted = engine.generate(task.token_ids, params).steps[1].accepted
    assert sum(forced(engine.executor, [task], params).acceptance) == accepted


def test_a_shortened_artifact_drafts_less_and_decodes_the_same() -> None:
    engine = tiny_engine("llama", num_lookahead=4)
    short = Shortened(engine.executor, 2)
    assert short.lookahead is not None and short.lookahead.length == 2
    assert engine.executor.lookahead is not None and engine.executor.lookahead.length == 4
    tasks = [Task((5, 9, 33, 2), (7, 1, 1, 8))]
    assert len(forced(short, tasks).acceptance) == 2
    assert forced(engine.executor, tasks).acceptance[:2] == forced(short, tasks).acceptance


def test_parts_are_taken_away_one_by_one(engine: LocalEngine) -> None:
    assert engine.lookahead is not None
    vectors = engine.lookahead.embeddings
    width = vectors.size(1)
    head = Head(torch.randn(8, width), torch.randn(width, 8))
    path, layer = next(iter(targets(engine.model).items()))
    factors = (torch.randn(2, layer.in_features), torch.randn(layer.out_features, 2))
    full = Lookahead(vectors, (), head, {path: factors})
    assert without_parts(engine, Lookahead(vectors)) == {}
    parts = without_parts(engine, full)
    assert list(parts) == ["without head", "without LoRA", "embeddings alone"]
    bare = [parts[name].lookahead for name in ("without LoRA", "embeddings alone")]
    assert all(found is not None and not found.lora for found in bare)
    assert [found.head is None for found in bare if found] == [False, True]
    alone = forced(parts["embeddings alone"], [Task((5, 9, 33, 2), (7, 1, 1, 8))])
    assert alone == forced(engine.executor, [Task((5, 9, 33, 2), (7, 1, 1, 8))])


# --- the machine --------------------------------------------------------------


def test_weights_that_a_forward_reads() -> None:
    tied, plain = tiny_engine("llama-tied"), tiny_engine("llama")
    numel = sum(p.numel() for p in tied.model.parameters())
    assert weight_bytes(tied) == 4 * numel
    assert weight_bytes(plain) == 4 * numel  # an output layer more, an embedding table less
    tied.dtype = "int8"
    assert weight_bytes(tied) == int(1.0625 * numel)


def test_one_forward_beside_reading_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    from pass_lsp.bench import hardware

    engine = tiny_engine("llama")
    monkeypatch.setattr(hardware, "copy_bandwidth", lambda device: 1e9)
    found = one_forward(engine, Costs((1, 2), (0.004, 0.005)))
    assert found["forward_ms"] == 4.0 and found["bandwidth_gb_s"] == 1.0
    assert found["forward_to_reading"] == round(0.004 / (weight_bytes(engine) / 1e9), 2)


def test_bandwidth_and_curve_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    from pass_lsp.bench import hardware

    monkeypatch.setattr(hardware, "COPIED_BYTES", 2**20)
    assert copy_bandwidth("cpu") > 0
    engine = tiny_engine("llama")
    costs = curve(engine.executor, engine.context_length, 2)
    assert costs.rows[0] == 1 and costs.rows[-1] + 64 <= 128
    assert min(costs.taken) > 0


# --- the document -------------------------------------------------------------


def test_the_document_has_every_table(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    from pass_lsp.bench import hardware

    monkeypatch.setattr(hardware, "COPIED_BYTES", 2**20)
    texts = {"fresh": held_out_holes(1), "copy": copy_holes(1)}
    found = bench_decode(engine, texts, Settings(6, 1, (0.0, 0.8)))
    kinds = {(row["text"], row["temperature"]) for row in found["rows"]}
    assert kinds == {("fresh", 0.0), ("fresh", 0.8), ("copy", 0.0), ("copy", 0.8)}
    assert len(found["rows"]) == 4 * 6 and len(found["true_text"]) == 4
    assert found["prompts"] == {"fresh": 1, "copy": 1}
    for row in found["true_text"]:
        assert len(row["acceptance"]) == 4
        assert row["merged"] == pytest.approx(1 + sum(row["acceptance"]), abs=2e-3)
    assert found["costs"][0]["rows"] == 1 and found["costs"][0]["ratio"] == 1.0
    goals = {row["goal"]: row for row in found["goals"]}
    assert len(goals) == 7  # those of other runs are not judged here
    for row in goals.values():
        assert row["reached"] == (row["share_of_goal"] >= 1)
    json.dumps(found)


def test_the_command_draws_and_writes(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pass_lsp.bench import hardware

    monkeypatch.setattr(hardware, "COPIED_BYTES", 2**20)
    plot, out = tmp_path / "plot.png", tmp_path / "out.json"
    monkeypatch.setattr(
        sys, "argv",
        ["pass-lsp", "bench", "decode", "--holes", "1", "--repeats", "1", "--max-new-tokens", "4", "--threads", "1",
         "--temperature", "0", "--model", str(model_dir), "--lookahead", "random", "--device", "cpu",
         "--plot", str(plot), "--json", str(out)],
    )  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    shown = capsys.readouterr()
    assert json.loads(shown.out.splitlines()[-1]) == json.loads(out.read_text())
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "true text" in shown.err and "goals" in shown.err
