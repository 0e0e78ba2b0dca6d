"""Converted graphs against the stock forward; one small model of each kind of attention, converted once."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from pass_lsp.decoding.cache import BLOCK, KVCache
from pass_lsp.decoding.costs import measured
from pass_lsp.decoding.graphs import conversion as converting
from pass_lsp.decoding.graphs import export as exporting
from pass_lsp.decoding.graphs.conversion import Conversion, GraphExecutor, conversion, convert, executor_of
from pass_lsp.decoding.graphs.executor import FusedExecutor
from pass_lsp.decoding.graphs.fused import MAX_TURNS, buildable
from pass_lsp.decoding.layout import layout
from pass_lsp.decoding.lookahead import Lookahead, random_lookahead
from pass_lsp.decoding.masks import window_of
from pass_lsp.decoding.model import Limits, limits_of
from pass_lsp.decoding.strategies import naive
from pass_lsp.decoding.torch_executor import TorchExecutor
from pass_lsp.domain import SamplingParams, Strategy
from pass_lsp.engines.local import LocalEngine
from pass_lsp.errors import LookaheadError
from tests.decoding.families import artifact, model_of, tiny_model

TRACED = ("llama-tied", "gemma2")  # heads of 8 numbers are too narrow for the fused attention
FUSED = ("llama-tied-wide", "qwen2-sliding-wide", "qwen3-wide", "mistral-wide")
STRATEGIES: tuple[Strategy, ...] = ("autoregressive", "pass", "merged", "auto")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs")


def converted(family: str, folder: Path, dtype: str = "float32") -> GraphExecutor:
    """The converted executor of a tiny family; made once in `folder`."""
    lookahead, model = artifact(family), model_of(family)
    wanted = Conversion(folder, dtype, folder / f"{family}-{dtype}")
    assert convert(wanted, model, lookahead)
    return executor_of(wanted, window_of(model.config.get_text_config()), lookahead, 1)


def engine(executor: GraphExecutor, family: str) -> LocalEngine:
    model = model_of(family)
    return LocalEngine(executor, lambda: None, limits_of(model.config, None), lambda: model)


def logits(executor: GraphExecutor | TorchExecutor, pieces: Sequence[tuple[list[int], tuple[tuple[int, int], ...]]]):
    cache = KVCache(executor.new_slots)
    for ids, groups in pieces:
        length = cache.length
        found = executor.forward(cache, ids, layout(len(ids), groups), len(ids))
        cache.extend(ids)
        cache.crop(length + len(ids))
        yield found


@pytest.mark.parametrize("family", TRACED + FUSED)
def test_every_row_is_the_stock_models_row(family: str, folder: Path) -> None:
    pieces = [
        ([1, 2, 3, 4, 5, 6, 7], ()),
        ([8, 9, 10], ((0, 3), (1, 1), (2, 2))),
        ([11], ()),
        ([12, 13], ((1, 3),)),
        ([i % 61 for i in range(30)], ()),
    ]
    stock = TorchExecutor(model_of(family), artifact(family))
    for ours, theirs in zip(logits(converted(family, folder), pieces), logits(stock, pieces), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("family", ("gemma2", "llama-tied-wide", "qwen2-sliding-wide"))
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_every_strategy_gives_the_naive_twins_tokens(family: str, temperature: float, folder: Path) -> None:
    subject = engine(converted(family, folder), family)
    for seed in range(3):
        prompt = torch.randint(0, 61, (5 + 4 * seed,), generator=torch.Generator().manual_seed(seed)).tolist()
        params = SamplingParams(max_new_tokens=20, temperature=temperature, seed=seed)
        twin = list(islice(naive(subject.model, prompt, params), 20))
        for strategy in STRATEGIES:
            if temperature and strategy == "pass":
                continue  # keeps the law, by other draws
            wanted = SamplingParams(20, temperature, seed=seed, strategy=strategy)
            assert subject.generate(prompt, wanted).token_ids == twin


@pytest.mark.parametrize("family", FUSED)
def test_known_families_are_built_of_large_operators(family: str, folder: Path) -> None:
    assert isinstance(converted(family, folder), FusedExecutor)


@pytest.mark.parametrize("family", ("llama-tied", "gemma2", "starcoder2"))
def test_others_are_traced(family: str) -> None:
    assert not buildable(model_of(family), None)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama-wide", {"max_position_embeddings": MAX_TURNS}),
        ("llama-wide", {"hidden_act": "gelu"}),
        ("llama-wide", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}),
    ],
)
def test_what_the_fused_graph_cannot_say_is_traced(family: str, changes: dict[str, Any]) -> None:
    assert buildable(model_of(family), None)
    assert not buildable(tiny_model(family.removesuffix("-wide"), head_dim=16, **changes), None)


def test_a_lora_on_other_layers_is_traced() -> None:
    change = (torch.zeros(2, 32), torch.zeros(64, 2))
    assert not buildable(model_of("llama-wide"), {"model.layers.0.self_attn.q_proj": change})


def test_a_conversion_keeps_what_the_configuration_says(folder: Path) -> None:
    model = tiny_model("qwen2-sliding", head_dim=16, eos_token_id=[3, 5])
    wanted = Conversion(folder, "float32", folder / "limits")
    assert wanted.limits() is None
    assert convert(wanted, model, None)
    assert wanted.limits() == limits_of(model.config, model.generation_config)
    assert wanted.limits() == Limits(32, 3, 8, frozenset((3, 5)), 128)
    (wanted.folder / "limits.json").write_text("{}")
    assert wanted.limits() is None  # read from the model again


def test_scaled_turns_and_biases_are_the_models(folder: Path) -> None:
    rope = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 32}
    model = tiny_model("llama", head_dim=16, rope_parameters=rope, attention_bias=True)
    for bias in (parameter for name, parameter in model.named_parameters() if name.endswith("bias")):
        torch.nn.init.normal_(bias)
    wanted = Conversion(folder, "float32", folder / "yarn")
    assert convert(wanted, model, None)
    executor = executor_of(wanted, None, None, 1)
    assert isinstance(executor, FusedExecutor)
    pieces = [([i % 61 for i in range(40)], ()), ([3, 4], ())]
    for ours, theirs in zip(logits(executor, pieces), logits(TorchExecutor(model, None), pieces), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


def test_int8_strategies_agree_where_nothing_is_a_near_tie(folder: Path) -> None:
    family = "llama-tied-wide"
    subject = engine(converted(family, folder, "int8"), family)
    for seed in range(3):
        prompt = torch.randint(0, 61, (9,), generator=torch.Generator().manual_seed(seed)).tolist()
        answers = {
            tuple(subject.generate(prompt, SamplingParams(max_new_tokens=30, strategy=strategy)).token_ids)
            for strategy in STRATEGIES
        }
        assert len(answers) == 1


def test_an_artifact_that_says_it_is_always_right_finds_slots_at_the_end_of_the_context(folder: Path) -> None:
    model = model_of("llama-tied-wide")
    rows = random_lookahead(model.get_input_embeddings().weight, 600).embeddings
    lookahead, wanted = Lookahead(rows, (1.0,) * 600), Conversion(folder, "float32", folder / "sure")
    assert convert(wanted, model, lookahead)
    executor = executor_of(wanted, None, lookahead, 1)
    subject = engine(executor, "llama-tied-wide")
    prompt = [i * 7 % 61 for i in range(75)]
    twin = list(islice(naive(model, prompt, SamplingParams()), 54))
    for strategy in STRATEGIES:
        assert subject.generate(prompt, SamplingParams(60, strategy=strategy)).token_ids == twin
    executor.lookahead = random_lookahead(lookahead.embeddings, 1000)
    assert measured(executor, 128).chain >= 0


@pytest.mark.parametrize("family", ("llama-tied", "llama-tied-wide"))
def test_slots_grow_and_keep_what_they_hold(family: str, folder: Path) -> None:
    executor = converted(family, folder)
    ids = [i * 7 % 61 for i in range(BLOCK + 40)]
    whole, *_ = logits(executor, [(ids, ())])
    *_, last = logits(executor, [(ids[:100], ()), (ids[100:200], ()), (ids[200:], ())])
    torch.testing.assert_close(last[-1], whole[-1], atol=1e-3, rtol=1e-3)


def test_a_model_is_converted_once_and_again_when_it_changes(model_dir: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(converting, "MIN_BYTES", 0)
    cpu = torch.device("cpu")
    first = conversion(str(model_dir), "float32", cpu, None, tmp_path)
    assert first is not None and not first.done
    assert conversion(str(model_dir), "float32", cpu, None, tmp_path) == first
    others = [
        conversion(str(model_dir), "int8", cpu, None, tmp_path),
        conversion(str(model_dir), "bfloat16", cpu, None, tmp_path),
        conversion(str(model_dir), "float32", torch.device("meta"), None, tmp_path),
        conversion("some/hub-id", "float32", cpu, None, tmp_path),
    ]
    assert others[0] is not None and others[0].folder != first.folder
    assert others[1:] == [None, None, None]
    with pytest.raises(LookaheadError, match="nope cannot be read"):
        conversion(str(model_dir), "float32", cpu, tmp_path / "nope", tmp_path)


def test_a_model_whose_own_code_changes_is_converted_again(model_dir: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(converting, "MIN_BYTES", 0)
    model = shutil.copytree(model_dir, tmp_path / "model")
    folders = set()
    for code in ("", "SCALE = 1", "SCALE = 2"):
        (model / "modeling.py").write_text(code)
        found = conversion(str(model), "float32", torch.device("cpu"), None, tmp_path)
        assert found is not None
        folders.add(found.folder)
    assert len(folders) == 3


def test_what_cannot_be_converted_stays_with_the_stock_forward(tmp_path: Path, monkeypatch, caplog) -> None:
    wanted = Conversion(tmp_path, "float32", tmp_path / "graph")

    def broken(*given: object) -> None:
        raise RuntimeError("unsupported operator")

    with monkeypatch.context() as patch:
        patch.setattr(exporting, "export", broken)
        assert not convert(wanted, tiny_model("llama"), None)
    assert not wanted.done
    assert caplog.messages == ["No traced graph can be made of this model (RuntimeError: unsupported operator)."]
    began = list(wanted.folder.iterdir())
    assert not convert(wanted, tiny_model("llama"), None)  # not tried again
    assert list(wanted.folder.iterdir()) == began
    other = Conversion(tmp_path, "float32", tmp_path / "other")
    monkeypatch.setattr(converting, "_agrees", lambda *given: False)
    assert not convert(other, model_of("llama-wide"), None)
    assert not other.done


def test_the_cache_of_graphs_is_bounded(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(converting, "CACHE_BYTES", 25)
    for number in range(4):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "file").write_bytes(b"x" * 10)
    converting._remove_oldest(keep=tmp_path / "0")
    left = {path.name for path in tmp_path.iterdir()}
    assert "0" in left and len(left) == 2
