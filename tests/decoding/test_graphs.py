"""Converted graphs against the stock forward; one small model of each kind of attention, converted once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pytest
import torch

from pass_lsp.decoding.cache import BLOCK, KVCache
from pass_lsp.decoding.graphs import conversion as converting
from pass_lsp.decoding.graphs.conversion import Conversion, conversion, convert, executor_of
from pass_lsp.decoding.graphs.executor import OnnxExecutor
from pass_lsp.decoding.layout import layout
from pass_lsp.decoding.lookahead import Head, Lookahead, random_lookahead
from pass_lsp.decoding.lora import targets
from pass_lsp.decoding.model import limits_of
from pass_lsp.decoding.strategies import naive
from pass_lsp.decoding.torch_executor import TorchExecutor
from pass_lsp.domain import SamplingParams, Strategy
from pass_lsp.engines.local import LocalEngine
from tests.decoding.families import tiny_model

KINDS = ("llama-tied", "gemma2")
STRATEGIES: tuple[Strategy, ...] = ("autoregressive", "pass", "merged", "auto")


def artifact(family: str) -> Lookahead:
    """Look-ahead rows with all their parts, at random."""
    model = tiny_model(family)
    generator = torch.Generator().manual_seed(2)
    start = random_lookahead(model.get_input_embeddings().weight, 3)
    width = model.config.hidden_size
    head = Head(torch.randn(16, width, generator=generator), torch.randn(width, 16, generator=generator))
    lora = {
        path: (
            torch.randn(2, layer.in_features, generator=generator),
            torch.randn(layer.out_features, 2, generator=generator),
        )
        for path, layer in targets(model).items()
    }
    return Lookahead(start.embeddings, (), head, lora)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs")


def converted(family: str, folder: Path, dtype: str = "float32") -> OnnxExecutor:
    """The converted executor of a tiny family; made once in `folder`."""
    lookahead, model = artifact(family), tiny_model(family)
    wanted = Conversion(folder, dtype, folder / f"{family}-{dtype}")
    assert convert(wanted, model, lookahead)
    return executor_of(wanted, model.config.get_text_config(), lookahead, 1)


def engine(executor: OnnxExecutor, family: str) -> LocalEngine:
    model = tiny_model(family)
    return LocalEngine(executor, None, limits_of(model.config, None), lambda: model)


def logits(executor: OnnxExecutor | TorchExecutor, pieces: Sequence[tuple[list[int], tuple[tuple[int, int], ...]]]):
    cache = KVCache(executor.new_slots)
    for ids, groups in pieces:
        length = cache.length
        found = executor.forward(cache, ids, layout(len(ids), groups), len(ids))
        cache.extend(ids)
        cache.crop(length + len(ids))
        yield found


@pytest.mark.parametrize("family", KINDS)
def test_every_row_is_the_stock_models_row(family: str, folder: Path) -> None:
    pieces = [
        ([1, 2, 3, 4, 5, 6, 7], ()),
        ([8, 9, 10], ((0, 3), (1, 1), (2, 2))),
        ([11], ()),
        ([12, 13], ((1, 3),)),
        ([i % 61 for i in range(30)], ()),
    ]
    stock = TorchExecutor(tiny_model(family), artifact(family))
    for ours, theirs in zip(logits(converted(family, folder), pieces), logits(stock, pieces), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("family", KINDS)
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


def test_int8_strategies_agree_where_nothing_is_a_near_tie(folder: Path) -> None:
    family = "llama-tied"
    subject = engine(converted(family, folder, "int8"), family)
    for seed in range(3):
        prompt = torch.randint(0, 61, (9,), generator=torch.Generator().manual_seed(seed)).tolist()
        answers = {
            tuple(subject.generate(prompt, SamplingParams(max_new_tokens=30, strategy=strategy)).token_ids)
            for strategy in STRATEGIES
        }
        assert len(answers) == 1


def test_slots_grow_and_keep_what_they_hold(folder: Path) -> None:
    executor = converted("llama-tied", folder)
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


def test_what_cannot_be_converted_stays_with_the_stock_forward(tmp_path: Path, monkeypatch) -> None:
    wanted = Conversion(tmp_path, "float32", tmp_path / "graph")

    def broken(*given: object) -> None:
        raise RuntimeError("unsupported operator")

    with monkeypatch.context() as patch:
        patch.setattr(converting, "export", broken)
        assert not convert(wanted, tiny_model("llama"), None)
    assert not wanted.done
    monkeypatch.setattr(converting, "_agrees", lambda *given: False)
    assert not convert(wanted, tiny_model("llama"), None)
    assert not wanted.done


def test_the_cache_of_graphs_is_bounded(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(converting, "CACHE_BYTES", 25)
    for number in range(4):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "file").write_bytes(b"x" * 10)
    converting._remove_oldest(keep=tmp_path / "0")
    left = {path.name for path in tmp_path.iterdir()}
    assert "0" in left and len(left) == 2
