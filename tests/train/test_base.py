"""Short training runs of the toy size: they learn, they survive a kill, and what they export loads.

The clock is scripted, one second a step, so that a run of so many seconds has so many steps.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

import pass_lsp
from pass_lsp.errors import TrainError
from pass_lsp.train import base, checkpoint, export, feed, forward
from pass_lsp.train.average import MeanWeights
from pass_lsp.train.base import DECAY_SHARE, LONG_SHARE, MEAN_SHARE, WARMUP_STEPS, Plan, train_base
from pass_lsp.train.checkpoint import Progress, State
from pass_lsp.train.corpus import write_files
from pass_lsp.train.export import export_model
from pass_lsp.train.feed import Feed
from pass_lsp.train.sizes import size_named
from pass_lsp.train.tokenizer import characters_per_token, read_tokenizer, train_tokenizer


@pytest.fixture(autouse=True)
def one_second_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()
    monkeypatch.setattr(base, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))


@pytest.fixture
def plan(corpus: Path, tokenizer_dir: Path, tmp_path: Path) -> Callable[..., Plan]:
    """A plan of so many steps."""

    def make(steps: float, out: str = "run", **given: Any) -> Plan:
        return Plan(corpus, tokenizer_dir, tmp_path / out, "toy", minutes=steps / 60, **given)

    return make


def logged(plan: Plan) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (plan.out / "log.jsonl").read_text().splitlines()]


def saved(plan: Plan) -> Progress:
    return Progress(**json.loads((plan.out / "checkpoint" / "progress.json").read_text()))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def killed_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Makes the run die in the step after so many."""
    left, step = count(steps, -1), base._step

    def mortal(*given: Any) -> bool:
        if next(left) <= 0:
            raise KeyboardInterrupt
        return step(*given)

    monkeypatch.setattr(base, "_step", mortal)


def test_the_loss_falls_and_every_evaluation_is_logged(plan: Callable[..., Plan]) -> None:
    run = plan(40, checkpoint_every=30)
    last = train_base(run)
    rows = logged(run)
    assert len(rows) >= 2 and rows[-1] == last
    assert last["step"] == 40 and last["tokens"] == saved(run).tokens > 40 * 4 * 200
    untrained = train_base(plan(0, "untrained"))["loss"]
    assert last["loss"] < rows[0]["loss"] < untrained
    assert last["loss"] < 0.9 * untrained
    assert last["middle_loss"] > 0
    assert [row["train_loss"] is None for row in rows] == [False] * (len(rows) - 1) + [True]


def test_the_same_seed_gives_the_same_run(plan: Callable[..., Plan]) -> None:
    first, again, other = (train_base(plan(3, out, seed=seed)) for out, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert first == again
    assert first["loss"] != other["loss"]


def test_a_killed_run_goes_on_from_its_checkpoint(plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    run = plan(14, checkpoint_every=10)
    with monkeypatch.context() as patch:
        killed_after(patch, 12)
        with pytest.raises(KeyboardInterrupt):
            train_base(run)
    kept = saved(run)
    assert 0 < kept.step <= 12 and kept.seconds == kept.step
    assert kept.tokens > 0 and kept.next_example > 0

    begun: list[Progress] = []
    restore = base.restore

    def spy(folder: Path, state: State) -> None:
        begun.append(replace(state.progress))
        restore(folder, state)
        assert all(optimizer.state for optimizer in (*state.optimizers, state.mean)), (
            "the momenta and the mean came back"
        )

    monkeypatch.setattr(base, "restore", spy)
    train_base(run)
    assert begun == [kept]
    assert saved(run).step == 14 and saved(run).tokens > kept.tokens
    steps = [row["step"] for row in logged(run)]
    assert steps == sorted(steps)


def test_a_finished_run_stays_as_it_is(plan: Callable[..., Plan]) -> None:
    run = plan(2)
    first = train_base(run)
    before = weights(run.out / "checkpoint"), load_file(run.out / "checkpoint" / "optimizer.safetensors")
    assert train_base(run) == first
    after = weights(run.out / "checkpoint"), load_file(run.out / "checkpoint" / "optimizer.safetensors")
    for old, new in zip(before, after, strict=True):
        assert old.keys() == new.keys()
        assert all(torch.equal(old[name], new[name]) for name in old)


@pytest.mark.parametrize("nth", [1, 2])
def test_a_kill_while_saving_loses_no_checkpoint(
    plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    run = plan(2)
    train_base(run)
    moves, replace_ = count(1), checkpoint.os.replace

    def interrupted(*given: Any) -> None:
        if next(moves) == nth:
            raise KeyboardInterrupt
        replace_(*given)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_base(plan(3))
    train_base(plan(4))
    assert saved(run).step == 4
    assert [path.name for path in run.out.glob("checkpoint*")] == ["checkpoint"]
    assert [row["step"] for row in logged(run)] == [2, 4]


def test_leftovers_of_an_old_checkpoint_do_no_harm(plan: Callable[..., Plan]) -> None:
    run = plan(1)
    train_base(run)
    (run.out / "checkpoint.old").mkdir()
    (run.out / "checkpoint.old" / "config.json").write_text("{}")
    train_base(plan(2))
    assert saved(run).step == 2


def test_what_is_exported_loads_and_can_be_trained_on(
    plan: Callable[..., Plan], corpus: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    first = plan(2)
    last = train_base(first)
    out = tmp_path / "models" / "toy"
    facts = export_model(first.out, corpus, tokenizer_dir, out)
    assert facts == json.loads((out / "training.json").read_text())
    assert facts["tokens"] == last["tokens"] and facts["heldout_loss"] == last["loss"]
    assert facts["history"] == [[last["tokens"], last["loss"], last["middle_loss"]]]
    assert facts["run"]["size"] == "toy" and facts["run"]["seconds"] == 2 and 1 < facts["characters_per_token"] < 6
    assert {path.name for path in out.iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert len({path.stat().st_mode for path in out.iterdir()}) == 1, "others may read all of it or nothing"
    assert all(tensor.dtype == torch.bfloat16 for tensor in weights(out).values())

    engine = pass_lsp.load_engine(str(out), device="cpu")
    ids = engine.tokenizer("def f(x):\n    return")["input_ids"]
    result = engine.generate(ids, pass_lsp.SamplingParams(max_new_tokens=4))
    assert len(result.token_ids) == 4 or result.finish == "eos"
    assert sum(parameter.numel() for parameter in engine.model.parameters()) == facts["parameters"]

    second = plan(0, "second", start_from=out)
    assert train_base(second)["tokens"] == facts["tokens"]
    for name, tensor in weights(second.out / "checkpoint").items():
        assert torch.equal(tensor, weights(out)[name].float())
    third = plan(1, "third", start_from=out)
    train_base(third)
    progress = saved(third)
    assert (progress.step, progress.earlier_tokens) == (1, facts["tokens"])
    assert progress.next_example > facts["next_example"]
    assert logged(third)[-1]["tokens"] == facts["tokens"] + progress.tokens


@pytest.mark.parametrize("apart", [0.05, 0.0])
@pytest.mark.parametrize("of", ["its start and its end", "its last part"])
def test_a_run_ends_with_a_mean_where_that_is_better(
    plan: Callable[..., Plan], corpus: Path, tokenizer_dir: Path, tmp_path: Path, of: str, apart: float
) -> None:
    good = plan(40, "good")
    train_base(good)
    start = tmp_path / "start"
    export_model(good.out, corpus, tokenizer_dir, start)
    learned = load_file(start / "model.safetensors")
    noise = {name: apart * torch.randn(each.shape) for name, each in learned.items()}
    checkpoint = good.out / "checkpoint"
    # As if the run had gone from one side of what is learned to the other.
    save_file({name: each.float() - noise[name] for name, each in learned.items()}, checkpoint / "model.safetensors")
    given: dict[str, Any] = {}
    optimizer = load_file(checkpoint / "optimizer.safetensors")
    if of == "its last part":
        means = {name: each for name, each in optimizer.items() if name.endswith("mean")}
        assert len(means) == len(learned)
        for key, name in zip(sorted(means, key=lambda key: int(key.split(".")[1])), parameter_names(good), strict=True):
            optimizer[key] = learned[name].float()
    else:
        optimizer = {name: each for name, each in optimizer.items() if not name.endswith(MeanWeights.STATE)}
        save_file({name: each.float() + noise[name] for name, each in learned.items()}, start / "model.safetensors")
        given = {"start_from": start}
    save_file(optimizer, checkpoint / "optimizer.safetensors")
    progress = json.loads((checkpoint / "progress.json").read_text())
    (checkpoint / "progress.json").write_text(json.dumps(progress | {"averaged": False}))
    (good.out / "log.jsonl").unlink()

    end = replace(good, **given)
    last = train_base(end)
    rows = logged(end)
    assert [row["averaged"] for row in rows] == ([False, True] if apart else [False])
    assert last == rows[-1] and last["loss"] <= rows[0]["loss"]
    for name, tensor in weights(checkpoint).items():
        assert torch.allclose(tensor, learned[name].float(), atol=1e-6)
    assert train_base(end)["loss"] == last["loss"], "what is over stays as it is"
    told = len(logged(end))
    train_base(replace(end, minutes=end.minutes * 1.1))
    assert not logged(end)[told]["averaged"], "what is learnt after that is looked at again"


def parameter_names(plan: Plan) -> list[str]:
    model = LlamaForCausalLM.from_pretrained(str(plan.out / "checkpoint"))
    return [name for name, _ in model.named_parameters()]


def test_the_mean_is_of_the_last_part(plan: Callable[..., Plan]) -> None:
    run = plan(20)
    train_base(run)
    kept = load_file(run.out / "checkpoint" / "optimizer.safetensors")
    assert {each.item() for name, each in kept.items() if name.endswith("count")} == {20 * MEAN_SHARE}


def test_a_run_goes_on_with_more_layers(
    plan: Callable[..., Plan],
    corpus: Path,
    tokenizer_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = plan(30, "first")
    shallow = train_base(first)
    start = tmp_path / "start"
    export_model(first.out, corpus, tokenizer_dir, start)
    deeper = size_named("toy") | {"num_hidden_layers": 3}
    monkeypatch.setattr(base, "size_named", lambda _: deeper)
    begun = train_base(plan(0, "begun", start_from=start))
    assert begun["loss"] == pytest.approx(shallow["loss"], abs=0.01)  # rounded to bfloat16 in between
    run = plan(30, "deep", start_from=start)
    last = train_base(run)
    assert last["loss"] < begun["loss"]
    assert sum("input_layernorm" in name for name in weights(run.out / "checkpoint")) == 3
    assert json.loads((run.out / "run.json").read_text())["parameters"] > sum(map(torch.numel, weights(start).values()))


def test_without_held_out_text_the_loss_is_unknown(plan: Callable[..., Plan], sources: Path) -> None:
    row = train_base(replace(plan(1), corpus=sources))
    assert row["loss"] is None and row["middle_loss"] is None
    json.dumps(row, allow_nan=False)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_corpus_without_text_is_explained(
    plan: Callable[..., Plan], tokenizer_dir: Path, tmp_path: Path, workers: int
) -> None:
    for name in ("train", "heldout"):
        write_files(tmp_path / f"{name}.jsonl.gz", [])
    (tmp_path / "manifest.json").write_text(json.dumps({"train": {"sha256": "abc"}}))
    with pytest.raises(TrainError, match="no text to learn from"):
        train_base(replace(plan(1), corpus=tmp_path, workers=workers))
    assert characters_per_token(read_tokenizer(tokenizer_dir), tmp_path) is None


def test_the_rate_warms_up_stays_and_falls_to_nothing() -> None:
    assert base._rate(0, 0.0) == pytest.approx(1 / WARMUP_STEPS)
    assert base._rate(WARMUP_STEPS, 0.1) == 1
    assert base._rate(500, 1 - DECAY_SHARE / 2) == pytest.approx(0.5)
    assert base._rate(500, 1.0) == 0


def test_the_examples_of_the_end_are_longer(plan: Callable[..., Plan]) -> None:
    run, progress = plan(1), Progress()
    made = Feed(run.corpus, run.tokenizer, seed=1)
    size = size_named("toy") | {"sequence": 64, "long_sequence": 128, "rows": 4}
    seen: list[tuple[int, ...]] = []
    for seconds in (0, 1, 30, 47, 49, 59):
        progress.seconds = seconds * run.minutes
        seen.append(tuple(next(base._batches(run, size, progress, made)).input_ids.shape))
    assert seen == [(4, 64)] * 4 + [(2, 128)] * 2
    progress = Progress()
    batches = base._batches(run, size, progress, made)
    assert next(batches).input_ids.shape == (4, 64)
    progress.seconds = 60 * run.minutes * (1 - LONG_SHARE / 2)
    assert next(batches).input_ids.shape == (2, 128), "one run goes on with longer ones"


def test_a_run_may_learn_slower(plan: Callable[..., Plan]) -> None:
    def after_a_step(rate: float) -> dict[str, torch.Tensor]:
        run = plan(1, str(rate), rate=rate)
        train_base(run)
        return weights(run.out / "checkpoint")

    start, slow, fast = map(after_a_step, (0.0, 0.1, 1.0))
    slowly, fast_by = (sum((end[name] - start[name]).abs().sum().item() for name in start) for end in (slow, fast))
    assert slowly == pytest.approx(0.1 * fast_by, rel=0.01)


def test_a_run_may_last_a_number_of_tokens(plan: Callable[..., Plan]) -> None:
    run = plan(1, million_tokens=0.005)
    row = train_base(run)
    assert 5000 <= row["tokens"] < 5000 + 4 * 256 + 1 and row["step"] > 1
    assert train_base(run)["step"] == row["step"]
    assert plan(1, million_tokens=0.01).share(Progress(tokens=5000, seconds=9)) == 0.5


def test_slices_end_early_and_go_on(plan: Callable[..., Plan]) -> None:
    whole, sliced = plan(12, "whole"), plan(12, "sliced", slice_minutes=4 / 60)
    train_base(whole)
    steps = [train_base(sliced)["step"] for _ in range(5)]
    assert 0 < steps[0] < steps[1] < steps[2] < 12 and steps == sorted(steps)
    while steps[-1] < 12:
        steps.append(train_base(sliced)["step"])
    assert saved(sliced).seconds == saved(whole).seconds == 12
    assert abs(logged(sliced)[-1]["loss"] - logged(whole)[-1]["loss"]) < 0.5


def test_what_comes_before_the_first_step_is_no_training(
    plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, lengths = feed.Text.read, []

    def slow(*given: Any) -> Any:
        assert [base.time.monotonic() for _ in range(50)]
        return read(*given)

    def compiler(hidden_states: Any) -> Any:
        def call(model: LlamaForCausalLM, dtype: torch.dtype, ids: torch.Tensor, *shape: Any) -> torch.Tensor:
            if ids.size(1) not in lengths:
                lengths.append(ids.size(1))
                slow(*given)
            return hidden_states(model, dtype, ids, *shape)

        return call

    run = plan(6, compiled=True)
    given = run.corpus, run.tokenizer, 1
    longer = size_named("toy") | {"long_sequence": 512}
    monkeypatch.setattr(base, "size_named", lambda _: longer)
    monkeypatch.setattr(feed.Text, "read", slow)
    monkeypatch.setattr(base, "compiled", compiler)
    assert train_base(run)["step"] == 6
    assert saved(run).seconds == 6 and lengths == [256, 512]


def test_the_last_slice_ends_the_run(plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    run, rates = plan(1000, slice_minutes=20 / 60), []
    first = train_base(run)
    assert 0 < first["done"] < 0.1
    step = base._step

    def watched(state: State, plan: Plan) -> bool:
        done = step(state, plan)
        rates.append(state.optimizers[0].param_groups[0]["lr"] / state.optimizers[0].param_groups[0]["peak_lr"])
        return done

    monkeypatch.setattr(base, "_step", watched)
    last = train_base(replace(run, last=True))
    assert last["done"] == 1 and first["step"] < last["step"] < 40
    assert max(rates) > 0.5 > 0.2 > rates[-1] and rates[-5:] == sorted(rates[-5:], reverse=True)
    assert train_base(replace(run, minutes=saved(run).seconds / 60))["step"] == last["step"], "it is over"


def test_a_slice_that_is_over_before_it_begins_ends_nothing(plan: Callable[..., Plan]) -> None:
    run = plan(1000, slice_minutes=0.0, last=True)
    assert train_base(run)["step"] == 0 == train_base(run)["done"]
    assert train_base(replace(run, slice_minutes=20 / 60))["done"] == 1


def test_a_run_states_its_inputs_and_refuses_others(plan: Callable[..., Plan], corpus: Path, tmp_path: Path) -> None:
    run = plan(1)
    train_base(run)
    stated = json.loads((run.out / "run.json").read_text())
    assert (stated["size"], stated["corpora"]) == ("toy", ["abc"])
    assert stated["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert len(stated["tokenizer_sha256"]) == 64
    assert stated["parameters"] == sum(tensor.numel() for tensor in weights(run.out / "checkpoint").values())
    other = tmp_path / "corpus"
    shutil.copytree(corpus, other)
    (other / "manifest.json").write_text(json.dumps({"train": {"sha256": "xyz"}}))
    with pytest.raises(TrainError, match="same inputs"):
        train_base(replace(run, size="cpu"))
    train_base(replace(run, corpus=other))  # one shard after another
    assert json.loads((run.out / "run.json").read_text())["corpora"] == ["abc", "xyz"]
    (run.out / "run.json").unlink()  # as an earlier version left it
    assert train_base(plan(2))["step"] == 2


@pytest.mark.parametrize(
    "change", [{"size": "vast"}, {"tokenizer": Path("nowhere")}, {"corpus": Path("nowhere")}, {"start_from": Path(".")}]
)
def test_missing_input_is_explained(plan: Callable[..., Plan], change: dict[str, Any]) -> None:
    run = replace(plan(1), **change)
    with pytest.raises(TrainError):
        train_base(run)
    assert not (run.out / "run.json").exists()


@pytest.mark.parametrize("wrong", [{"size": "cpu", "corpus": Path("nowhere")}, {"size": "cpu", "rate": 0.5}])
def test_what_has_no_checkpoint_may_be_put_right(
    plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any]
) -> None:
    run = plan(1)
    with monkeypatch.context() as patched:
        killed_after(patched, 0)
        with pytest.raises((TrainError, KeyboardInterrupt)):
            train_base(replace(run, **wrong))
    assert train_base(run)["step"] == 1
    assert json.loads((run.out / "run.json").read_text())["size"] == "toy"


def test_what_a_run_began_with_is_missed_before_it_goes_on(plan: Callable[..., Plan], tmp_path: Path) -> None:
    run = plan(1)
    train_base(run)
    with pytest.raises(TrainError, match="train export"):
        train_base(replace(run, minutes=9.0, start_from=tmp_path / "gone"))
    assert saved(run).step == 1


@pytest.mark.parametrize("count", [1, 2, 12, 13, 40, 100])
def test_the_history_is_thinned_and_ends_with_the_last(count: int) -> None:
    rows = [{"tokens": n, "loss": 9 - n / 100, "middle_loss": None} for n in range(count)]
    history = export._history(rows)
    assert history[-1] == [count - 1, 9 - (count - 1) / 100, None]
    assert min(count, export.MAX_HISTORY // 2) <= len(history) <= export.MAX_HISTORY
    assert history == sorted(history, key=lambda row: row[0])


def test_what_is_said_twice_is_history_once() -> None:
    rows = [{"tokens": n, "loss": loss, "middle_loss": None} for n, loss in ((1, 5.0), (2, 4.0), (2, 4.0), (2, 3.9))]
    assert export._history(rows) == [[1, 5.0, None], [2, 4.0, None], [2, 3.9, None]]


def test_export_reads_past_half_a_line_of_the_log(
    plan: Callable[..., Plan], corpus: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    run = plan(1)
    loss = train_base(run)["loss"]
    with (run.out / "log.jsonl").open("a") as log:
        log.write('{"step": 2, "tok')
    assert export_model(run.out, corpus, tokenizer_dir, tmp_path / "out")["heldout_loss"] == loss
    (run.out / "log.jsonl").write_text('{"step": 2, "tok')
    with pytest.raises(TrainError, match="no evaluation"):
        export_model(run.out, corpus, tokenizer_dir, tmp_path / "out")


def test_export_refuses_another_tokenizer(plan: Callable[..., Plan], corpus: Path, tmp_path: Path) -> None:
    run, other = plan(0), tmp_path / "other"
    train_base(run)
    train_tokenizer(corpus, other, 700)
    with pytest.raises(TrainError, match="was made with tokenizer_sha256"):
        export_model(run.out, corpus, other, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_export_needs_a_checkpoint_and_a_manifest(
    plan: Callable[..., Plan], sources: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainError, match="train base"):
        export_model(tmp_path / "none", sources, tokenizer_dir, tmp_path / "out")
    run = plan(1)
    train_base(run)
    with pytest.raises(TrainError, match="train corpus"):
        export_model(run.out, sources, tokenizer_dir, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_step_without_finite_gradients_is_left_out(
    plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = plan(6, "good"), plan(6, "bad")
    calls, backward = count(), forward.backward

    def broken(model: torch.nn.Module, *given: Any) -> torch.Tensor:
        loss = backward(model, *given)  # type: ignore[arg-type]
        if next(calls) in (2, 4):
            model.lm_head.weight.grad[0, 0] = torch.nan  # type: ignore[index, union-attr]
        return loss

    train_base(good)
    monkeypatch.setattr(forward, "backward", broken)
    assert train_base(bad)["loss"] is not None
    assert saved(bad).step == 6
    assert 0 < saved(bad).tokens < saved(good).tokens  # what was left out was not learned
    assert all(tensor.isfinite().all() for tensor in weights(bad.out / "checkpoint").values())


def test_a_run_that_is_lost_ends_and_keeps_its_checkpoint(
    plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = plan(5)
    train_base(run)
    before, longer = weights(run.out / "checkpoint"), replace(run, minutes=60)
    backward = forward.backward

    def lost(model: torch.nn.Module, *given: Any) -> torch.Tensor:
        loss = backward(model, *given)  # type: ignore[arg-type]
        model.lm_head.weight.grad.fill_(torch.inf)  # type: ignore[union-attr, operator]
        return loss

    monkeypatch.setattr(forward, "backward", lost)
    with pytest.raises(TrainError, match="not finite"):
        train_base(longer)
    after = weights(run.out / "checkpoint")
    assert all(torch.equal(after[name], before[name]) for name in before)
