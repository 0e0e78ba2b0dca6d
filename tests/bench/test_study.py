"""`bench decode --study` on tiny models: two models are exact together, and the check of the law can fail."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest
from scipy.stats import chi2

from pass_lsp import cli
from pass_lsp.bench.law import chi_square, first_tokens, joint_law, same_law, same_samples
from pass_lsp.bench.prompts import Task
from pass_lsp.bench.speculative import cut_model, two_models
from pass_lsp.bench.study import FixedDepth, Models, bench_study, best
from pass_lsp.bench.variants import study_models, untrained_vector
from pass_lsp.decoding.cache import KVCache
from pass_lsp.decoding.costs import Costs
from pass_lsp.decoding.forward import Forward
from pass_lsp.decoding.strategies import Run
from pass_lsp.domain import SamplingParams, Step
from pass_lsp.engines.local import LocalEngine, load_engine
from pass_lsp.errors import ConfigError
from pass_lsp.prompt import template_for
from tests.decoding.families import tiny_engine

NEVER: frozenset[int] = frozenset()


def fresh(engine: LocalEngine) -> Forward:
    return Forward(engine.executor, KVCache(engine.executor.new_slots), None)


def two(target: LocalEngine, draft: LocalEngine, length: int = 3):
    def method(ids, params, limit, ends):
        return two_models(fresh(target), fresh(draft), ids, params, length, limit, ends)

    return method


@pytest.mark.parametrize("seed", [0, 1], ids=["perfect draft", "other draft"])
@pytest.mark.parametrize("prompt", [[3], [5, 1, 9, 4, 4], [i * 7 % 61 for i in range(40)]])
def test_two_models_write_what_the_large_one_would(seed: int, prompt: list[int]) -> None:
    target, draft = tiny_engine("llama"), tiny_engine("llama", seed)
    plain = target.generate(prompt, SamplingParams(20, strategy="autoregressive")).token_ids
    method = two(target, draft)
    assert first_tokens(method, prompt, SamplingParams(), NEVER, 20) == plain
    runs = method(prompt, SamplingParams(), len(prompt) + 12, NEVER)
    steps = [next(runs).step for _ in range(3)]
    assert all(step.forwards == 1 and step.committed == step.accepted + 1 for step in steps)
    if seed == 0:
        assert [step.committed for step in steps] == [4, 4, 4]


def test_two_models_stay_within_their_positions_and_stop_drafting_at_an_end() -> None:
    target = tiny_engine("llama")
    runs = two(target, target, 6)([1, 2, 3], SamplingParams(), 5, NEVER)
    assert len(next(runs).token_ids) == 2
    end = first_tokens(two(target, target), [1, 2, 3], SamplingParams(), NEVER, 2)[1]
    runs = two(target, target, 6)([1, 2, 3], SamplingParams(), 100, frozenset({end}))
    run = next(runs)
    assert run.step.drafted <= 2


def test_a_long_prompt_is_read_in_chunks() -> None:
    target = tiny_engine("llama", max_position_embeddings=1000)
    prompt = [i * 7 % 61 for i in range(600)]
    plain = target.generate(prompt, SamplingParams(6, strategy="autoregressive")).token_ids
    assert first_tokens(two(target, target), prompt, SamplingParams(), NEVER, 6) == plain


def test_sampled_two_models_keep_the_law_and_a_wrong_method_is_found_out() -> None:
    target, draft = tiny_engine("llama", vocab_size=4), tiny_engine("llama", 1, vocab_size=4)

    unchecked = two(draft, draft)
    methods = {("two", 3): two(target, draft), ("wrong", 3): unchecked}
    rows = {row["method"]: row for row in same_law(target.executor, methods, [1, 2], 300)}
    assert rows["two"]["holds"] and not rows["wrong"]["holds"]


def test_the_joint_law_sums_to_one_and_is_the_models() -> None:
    engine = tiny_engine("llama", vocab_size=4)
    law = joint_law(engine.executor, [1, 2], SamplingParams(temperature=1.0, top_k=3), 3)
    assert sum(law.values()) == pytest.approx(1)
    assert len(law) == 27
    greedy = engine.generate([1, 2], SamplingParams(3)).token_ids
    assert joint_law(engine.executor, [1, 2], SamplingParams(), 3) == {tuple(greedy): 1.0}


def test_chi_square_agrees_with_scipy_and_refutes_the_impossible() -> None:
    law = {(0,): 0.5, (1,): 0.3, (2,): 0.2}
    counts = Counter({(0,): 60, (1,): 25, (2,): 15})
    statistic = 100 / 50 + 25 / 30 + 25 / 20
    assert chi_square(counts, law) == pytest.approx(chi2.sf(statistic, 2))
    assert chi_square(Counter({(3,): 1}), law) == 0.0
    assert chi_square(Counter({(0,): 3}), law) == 1.0  # too few to tell
    rare = {(0,): 0.5, (1,): 0.499, (2,): 0.001}
    assert chi_square(counts, {**rare, (3,): 0.0}) > 0  # the rare ones are taken together


def test_same_samples_sees_a_difference() -> None:
    engine = tiny_engine("llama")

    def constant(ids, params, limit, ends):
        while True:
            yield Run([1], Step(1, 0, 0, 1))

    methods = {("autoregressive", 0): two(engine, engine), ("merged", 2): constant, ("pass", 2): constant}
    sampling = {"greedy": SamplingParams(), "sampled": SamplingParams(temperature=1.0)}
    rows = same_samples(methods, [[1, 2], [3, 4]], sampling, NEVER, 8)
    assert [(row["method"], row["check"]) for row in rows] == [
        ("merged", "same tokens, greedy"),
        ("merged", "same tokens, sampled"),
        ("pass", "same tokens, greedy"),
    ]
    assert not any(row["holds"] for row in rows)


def test_a_cut_model_has_the_first_layers(model_dir: Path, tmp_path: Path) -> None:
    engine = load_engine(str(model_dir), device="cpu", lookahead=None)
    cut_model(engine.model, engine.tokenizer, 1, tmp_path / "small")
    small = load_engine(str(tmp_path / "small"), device="cpu", lookahead=None)
    assert small.model.config.num_hidden_layers == 1
    assert engine.model.config.num_hidden_layers == 2
    mine, theirs = small.model.state_dict(), engine.model.state_dict()
    assert mine.keys() < theirs.keys()
    assert all(bool((mine[name] == theirs[name]).all()) for name in mine)


def test_what_is_compared(model_dir: Path, tmp_path: Path) -> None:
    engine = load_engine(str(model_dir), device="cpu", lookahead="random")
    models = study_models(engine, None, tmp_path, None)
    assert [*models.lengths] == [1, 2, 3, 4]
    assert models.ends == {engine.tokenizer.eos_token_id} | set(template_for(engine.tokenizer).stop_ids)
    untrained = models.untrained.lookahead
    assert untrained is not None
    assert bool((untrained.embeddings == untrained_vector(engine)).all())
    assert len(models.methods()) == 1 + 4 * 5
    with pytest.raises(ConfigError, match="look-ahead artifact"):
        study_models(load_engine(str(model_dir), device="cpu", lookahead=None), None, tmp_path, None)


def test_depth_is_fixed() -> None:
    planner = FixedDepth(5)
    for _ in range(50):
        planner.learn(5, 0)
    assert planner.depth == 5 and not planner.copying


def test_best_length_and_what_explains_it() -> None:
    row = {"text": "code", "sampling": "greedy", "tokens_per_forward": 1.5}
    rows = [
        {**row, "method": "autoregressive", "L": 0, "speedup": 1.0, "predicted": None},
        {**row, "method": "pass", "L": 1, "speedup": 1.2, "predicted": 1.1},
        {**row, "method": "pass", "L": 2, "speedup": 1.1, "predicted": 1.3},
        {**row, "method": "two models", "L": 2, "speedup": 0.4, "predicted": None},
    ]
    found = {row["method"]: row for row in best(rows)}
    assert (found["pass"]["best_L"], found["pass"]["predicted_L"]) == (1, 2)
    assert (found["two models"]["best_L"], found["two models"]["predicted_L"]) == (2, None)


def test_rows_of_a_model_that_drafts_perfectly() -> None:
    engine = tiny_engine("llama", num_lookahead=2)
    models = Models(engine.executor, engine.executor, engine.executor, range(1, 3), NEVER)
    tasks = {"code": [Task((1, 2, 3), (4, 5)), Task((9,), (7,))]}
    found = bench_study(models, tasks, Costs((1, 9), (1.0, 1.0)), 1, 8, 20)
    rows = {(row["sampling"], row["method"], row["L"]): row for row in found["rows"]}
    assert len(rows) == 2 * (1 + 2 * 5)
    assert rows["greedy", "autoregressive", 0]["tokens_per_forward"] == 1.0
    assert rows["greedy", "autoregressive", 0]["speedup"] == 1.0
    assert rows["greedy", "two models", 2]["tokens_per_forward"] > 2.5
    trained = rows["greedy", "merged, trained", 2]
    assert trained["predicted"] == trained["true_text"] >= 1.0  # all forwards cost the same here
    assert all(row["holds"] for row in found["law"])


def test_the_command(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        sys, "argv",
        ["pass-lsp", "bench", "decode", "--study", "--holes", "1", "--repeats", "1", "--max-new-tokens", "4",
         "--samples", "5", "--model", str(model_dir), "--lookahead", "random", "--plot", str(tmp_path / "p.png")],
    )  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["bench"] == "study" and {row["text"] for row in found["rows"]} == {"code", "prose"}
    assert (tmp_path / "p.png").stat().st_size > 1000
