"""Training look-ahead embeddings and their head, and the artifact that comes of it."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM

from pass_lsp.decoding.lookahead import Head, Lookahead, load_lookahead, random_lookahead, save_lookahead
from pass_lsp.decoding.lora import targets
from pass_lsp.decoding.model import load_limits, load_tokenizer
from pass_lsp.domain import SamplingParams
from pass_lsp.engines.local import engine_of, load_engine
from pass_lsp.errors import LookaheadError, TrainError
from pass_lsp.train import lookahead as trainer
from pass_lsp.train.lookahead import Plan, Student, acceptance, group_loss, train_lookahead
from pass_lsp.train.manifest import file_hash
from pass_lsp.train.sizes import deepened, saved_model
from tests.decoding.families import tiny_model


def with_head(model: LlamaForCausalLM, length: int = 3) -> Lookahead:
    """Random vectors and a random head, so that drafts depend on the token before."""
    width = model.config.hidden_size
    generator = torch.Generator().manual_seed(4)
    start = random_lookahead(model.get_input_embeddings().weight, length)
    up, down = torch.randn(16, width, generator=generator), torch.randn(width, 16, generator=generator)
    return Lookahead(start.embeddings, (), Head(up, down))


def with_lora(model: LlamaForCausalLM, length: int = 3) -> Lookahead:
    """Random vectors and a random LoRA on every linear layer."""
    generator = torch.Generator().manual_seed(5)
    start = random_lookahead(model.get_input_embeddings().weight, length)
    lora = {
        path: (
            torch.randn(4, layer.in_features, generator=generator),
            torch.randn(layer.out_features, 4, generator=generator),
        )
        for path, layer in targets(model).items()
    }
    return Lookahead(start.embeddings, (), None, lora)


@pytest.mark.parametrize("family", ["llama", "gemma2", "starcoder2", "qwen2-sliding"])
def test_packed_rows_are_the_rows_of_decoding(family: str) -> None:
    """What a group sees in training is what look-ahead rows see when decoding: the same logits."""
    model = tiny_model(family)
    lookahead = random_lookahead(model.get_input_embeddings().weight, 3)
    ids = torch.arange(3, 27)[None] % 61
    places = torch.tensor([4, 9, 15])
    with torch.inference_mode():
        real, drafted = trainer._packed_logits(Student.of(model, lookahead), ids, places)
        torch.testing.assert_close(real[0], model(input_ids=ids).logits[0], atol=1e-3, rtol=1e-3)
        for group, place in enumerate(places.tolist()):
            embeds = torch.cat((model.get_input_embeddings()(ids[:, : place + 1]), lookahead.embeddings[None]), dim=1)
            alone = model(inputs_embeds=embeds).logits[0, -3:]
            torch.testing.assert_close(drafted[0, group], alone, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("part", [with_head, with_lora])
@pytest.mark.parametrize("strategy", ["pass", "merged"])
def test_a_part_changes_the_drafts_and_never_the_answer(part: Any, strategy: Any) -> None:
    model = tiny_model("llama")
    plain = engine_of(tiny_model("llama"))
    engine = engine_of(model, lookahead=part(model))
    for seed in range(4):
        prompt = torch.randint(0, 61, (9,), generator=torch.Generator().manual_seed(seed)).tolist()
        fast = engine.generate(prompt, SamplingParams(max_new_tokens=30, strategy=strategy))
        slow = plain.generate(prompt, SamplingParams(max_new_tokens=30, strategy="autoregressive"))
        assert fast.token_ids == slow.token_ids


def test_a_few_steps_lower_the_loss() -> None:
    model = tiny_model("llama")
    start = random_lookahead(model.get_input_embeddings().weight, 2)
    lookahead = Lookahead(start.embeddings, (), with_head(model).head, with_lora(model).lora)
    student = Student.of(model, lookahead.map(lambda tensor: tensor.clone().requires_grad_(True)))
    optimizer = torch.optim.AdamW(trainer._groups(student.lookahead, Plan("", Path(), Path())))
    ids = torch.randint(0, 61, (4, 48), generator=torch.Generator().manual_seed(0))
    losses = []
    for _ in range(25):
        loss = group_loss(student, ids, 20, 0)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.02


def test_acceptance_of_an_oracle_is_one() -> None:
    """A model that always says the same thing is easy to foresee."""
    model = tiny_model("llama-tied")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    lookahead = Lookahead(torch.zeros(2, model.config.hidden_size))
    ids = torch.zeros(2, 40, dtype=torch.long)
    assert acceptance(Student.of(model, lookahead), ids) == (1.0, 1.0)


def test_training_writes_an_artifact_that_loads_and_goes_on(model_dir: Path, sources: Path, tmp_path: Path) -> None:
    out = tmp_path / "lookahead"
    plan = Plan(str(model_dir), sources, out, length=2, minutes=0.03, sequence=64, anchors=8, batch=2, evaluate_every=2)
    train_lookahead(plan)
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["length"], len(manifest["acceptance"])) == (2, 2)
    assert train_lookahead(plan)["steps"] > manifest["steps"] > 0, "what was read already is not read again"
    engine = load_engine(str(model_dir), lookahead=str(out))
    assert engine.lookahead is not None
    assert engine.lookahead.head is not None
    params = SamplingParams(max_new_tokens=8)
    assert len({tuple(engine.generate([5, 6, 7], params).token_ids) for _ in range(2)}) == 1


@pytest.mark.parametrize("bad", [range(2, 4), range(2, 10**6)])
def test_steps_that_are_no_numbers_are_left_out(
    bad: range, model_dir: Path, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, taken = trainer.group_loss, itertools.count()

    def sometimes_none(*given: Any) -> torch.Tensor:
        return loss(*given) * (float("nan") if next(taken) in bad else 1)

    monkeypatch.setattr(trainer, "group_loss", sometimes_none)
    plan = Plan(str(model_dir), sources, tmp_path, 2, 1, sequence=64, anchors=8, batch=1, evaluate_every=2)
    if len(bad) > 2:
        with pytest.raises(TrainError, match="not finite"):
            train_lookahead(plan)
        assert next(taken) < 30
    else:
        train_lookahead(replace(plan, minutes=0.02))
    assert load_lookahead(tmp_path, load_limits(str(model_dir), False).hidden_size).embeddings.isfinite().all()
    assert "NaN" not in (tmp_path / "log.jsonl").read_text()


def test_an_artifact_states_what_it_was_made_from(model_dir: Path, corpus: Path, tmp_path: Path) -> None:
    plan = Plan(str(model_dir), corpus, tmp_path / "out", 2, 0.001, sequence=64, batch=1, seed=3, device="cpu")
    train_lookahead(plan)
    stated = json.loads((plan.out / "manifest.json").read_text())
    assert stated["inputs"] == {
        "model_sha256": file_hash(model_dir / "model.safetensors"),
        "corpus_sha256": "abc",
        "minutes": 0.001,
        "rate": 1.0,
        "seed": 3,
    }
    assert stated["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]


@pytest.mark.parametrize("kept", ["tensors", "manifest"])
def test_a_kill_while_saving_leaves_an_artifact(kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = random_lookahead(torch.randn(9, 8), 2)
    save_lookahead(tmp_path, good, {"steps": 1})

    def torn(path: Path, *_: Any) -> None:
        with path.open("wb") as file:
            file.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes" if kept == "tensors" else "write_text", torn)
        with pytest.raises(KeyboardInterrupt):
            save_lookahead(tmp_path, good, {"steps": 2})
    assert torch.equal(load_lookahead(tmp_path, 8).embeddings, good.embeddings)
    save_lookahead(tmp_path, good, {"steps": 3})
    assert {path.name for path in tmp_path.iterdir()} == {"manifest.json", "lookahead.safetensors"}
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1, "others may read all of it or nothing"


def test_the_last_step_is_judged_wherever_it_falls(
    model_dir: Path, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[torch.Tensor] = []

    def better_and_better(student: Student, _: torch.Tensor) -> tuple[float, ...]:
        judged.append(student.lookahead.embeddings.detach().clone())
        return (float(len(judged)),)

    monkeypatch.setattr(trainer, "acceptance", better_and_better)
    plan = Plan(str(model_dir), sources, tmp_path, length=2, minutes=0.03, sequence=64, anchors=8, batch=2)
    assert train_lookahead(replace(plan, evaluate_every=10**6))["steps"] > 0
    start, end = judged
    assert not torch.equal(start, end)
    torch.testing.assert_close(load_lookahead(tmp_path, end.size(1)).embeddings, end)


def test_the_rate_multiplies_what_every_part_learns_with() -> None:
    lookahead = replace(with_head(tiny_model("llama")), lora=with_lora(tiny_model("llama")).lora)
    usual, slow = (trainer._groups(lookahead, Plan("", Path(), Path(), rate=rate)) for rate in (1.0, 0.25))
    assert [group["peak_lr"] / 4 for group in usual] == [group["peak_lr"] for group in slow]
    assert len(slow) == 3


def test_every_step_reads_other_lines_also_of_a_run_that_goes_on(model_dir: Path, sources: Path) -> None:
    plan = Plan(str(model_dir), sources, Path(), sequence=64, batch=2)
    tokenizer = load_tokenizer(str(model_dir), trust_remote_code=False)
    whole, later = (list(islice(trainer._sequences(plan, tokenizer, first)[0], 6)) for first in (0, 4))
    assert torch.equal(torch.stack(whole[4:]), torch.stack(later[:2]))
    rows = {tuple(row.tolist()) for batch in whole for row in batch}
    assert len(rows) > 8


def test_what_an_artifact_says_of_another_model_is_measured_anew(
    model_dir: Path, sources: Path, tmp_path: Path
) -> None:
    out = tmp_path / "lookahead"
    plan = Plan(str(model_dir), sources, out, length=2, minutes=0, sequence=64, rank=0, head=False)
    measured = train_lookahead(plan)["acceptance"]
    width = json.loads((model_dir / "config.json").read_text())["hidden_size"]
    save_lookahead(out, replace(load_lookahead(out, width), acceptance=(0.9, 0.8)), {})
    assert train_lookahead(plan)["acceptance"] == measured != (0.9, 0.8)
    assert load_lookahead(out, width).acceptance == pytest.approx(measured, abs=1e-4)


def test_an_artifact_goes_on_with_a_model_that_has_more_layers(model_dir: Path, sources: Path, tmp_path: Path) -> None:
    shallow = saved_model(model_dir, torch.device("cpu"))
    save_lookahead(tmp_path / "lookahead", with_lora(shallow), {})
    plan = Plan(str(model_dir), sources, tmp_path / "lookahead", minutes=0, sequence=64, rank=4, head=False)
    measured = train_lookahead(plan)["acceptance"]
    deep = tmp_path / "deep"
    shutil.copytree(model_dir, deep)
    deepened(shallow, shallow.config.num_hidden_layers + 2).save_pretrained(deep)
    assert train_lookahead(replace(plan, model=str(deep)))["acceptance"] == measured
    assert len(load_lookahead(tmp_path / "lookahead", shallow.config.hidden_size).lora) == len(targets(shallow)) + 4


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"length": 4}, "has length 3, not 4"),
        ({"rank": 16}, "has rank 4, not 16"),
        ({"rank": 0}, "has rank 4, not 0"),
        ({"head": False}, "has head True, not False"),
    ],
)
def test_an_artifact_that_is_not_what_is_asked_for_is_refused(
    model_dir: Path, sources: Path, tmp_path: Path, wanted: dict[str, Any], says: str
) -> None:
    model = saved_model(model_dir, torch.device("cpu"))
    save_lookahead(tmp_path, replace(with_lora(model), head=with_head(model).head), {})
    plan = Plan(str(model_dir), sources, tmp_path, minutes=0, sequence=64)
    with pytest.raises(TrainError, match=f"{says}; give another --out"):
        train_lookahead(replace(plan, **wanted))
    train_lookahead(replace(plan, length=3, rank=4, head=True))
    train_lookahead(plan)
    assert load_lookahead(tmp_path, model.config.hidden_size).length == 3


def test_text_that_is_not_there_is_missed_before_the_model_is_read(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=r"no corpus .*nowhere; run `pass-lsp train corpus` first, or correct"):
        train_lookahead(Plan("no model either", tmp_path / "nowhere", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_artifacts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    save_lookahead(tmp_path, Lookahead(torch.randn(3, 8)), {})
    assert load_lookahead(tmp_path, 8).length == 3
    with pytest.raises(LookaheadError, match="another model"):
        load_lookahead(tmp_path, 16)
    with pytest.raises(LookaheadError, match="another model"):
        engine_of(tiny_model("llama"), lookahead=with_lora(tiny_model("llama", hidden_size=16)))
    (tmp_path / "lookahead.safetensors").write_bytes(b"junk")
    with pytest.raises(LookaheadError, match="cannot be read"):
        load_lookahead(tmp_path, 8)
    with pytest.raises(LookaheadError, match="cannot be read"):
        load_lookahead(tmp_path / "missing", 8)
