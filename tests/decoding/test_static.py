"""The GPU's executor: the same code without graphs on a CPU, and on a GPU when there is one."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pass_lsp.decoding.cache import KVCache
from pass_lsp.decoding.layout import layout
from pass_lsp.decoding.lookahead import Lookahead
from pass_lsp.decoding.model import limits_of
from pass_lsp.decoding.static_executor import StaticExecutor
from pass_lsp.decoding.strategies import naive
from pass_lsp.domain import SamplingParams, Strategy
from pass_lsp.engines.local import LocalEngine, load_engine
from tests.decoding.families import FAMILIES, artifact, tiny_model

STRATEGIES: tuple[Strategy, ...] = ("autoregressive", "pass", "merged", "auto")


def engine(family: str, device: str = "cpu", lookahead: Lookahead | None = None) -> LocalEngine:
    model = tiny_model(family).to(device)
    lookahead = (lookahead or artifact(family)).to(model.device, torch.float32)
    limits = limits_of(model.config, None)
    executor = StaticExecutor(model, lookahead, limits.context_length)
    return LocalEngine(executor, lambda: None, limits, lambda: tiny_model(family), device=device)


def prompt(seed: int, length: int = 9) -> list[int]:
    return torch.randint(0, 61, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_padded_widths_give_the_naive_twins_tokens(family: str) -> None:
    subject = engine(family)
    for seed in range(2):
        twin = list(islice(naive(subject.model, prompt(seed), SamplingParams()), 20))
        for strategy in STRATEGIES:
            params = SamplingParams(max_new_tokens=20, strategy=strategy)
            assert subject.generate(prompt(seed), params).token_ids == twin


def test_documents_take_turns_in_the_static_buffers() -> None:
    subject = engine("llama")
    params = SamplingParams(max_new_tokens=6, strategy="merged")
    documents = [prompt(seed, 30) for seed in range(3)]
    first = [subject.generate(ids, params).token_ids for ids in documents]
    again = [subject.generate(ids, params) for ids in documents]
    assert [result.token_ids for result in again] == first
    assert [result.cached_tokens for result in again] == [29, 29, 29]


def test_buffers_grow_and_keep_what_they_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pass_lsp.decoding.static_executor.FIRST_CAPACITY", 16)
    subject = engine("llama")
    params = SamplingParams(max_new_tokens=60, strategy="merged")
    assert subject.generate(prompt(1), params).token_ids == list(
        islice(naive(subject.model, prompt(1), SamplingParams()), 60)
    )


class Waits(TorchDispatchMode):
    """Notes every operation for which a GPU would have to be waited for, and which no graph can record."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.name() in ("aten::item", "aten::_local_scalar_dense", "aten::is_nonzero"):
            self.found.append(function.name())
        return function(*args, **kwargs or {})


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_no_number_is_waited_for_inside_a_cycle(temperature: float) -> None:
    subject = engine("llama")
    with Waits() as waits:
        result = subject.generate(prompt(0), SamplingParams(20, temperature, strategy="merged"))
    assert result.drafted > 0
    assert waits.found == []


def test_how_far_positions_turn_is_not_read_from_a_forward() -> None:
    model = tiny_model("llama", rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0})
    limits = limits_of(model.config, None)
    twin = list(islice(naive(model, prompt(0), SamplingParams()), 9))
    subject = LocalEngine(StaticExecutor(model, None, limits.context_length), lambda: None, limits, lambda: model)
    with Waits() as waits:
        result = subject.generate(prompt(0), SamplingParams(9, strategy="autoregressive"))
    assert (result.token_ids, waits.found) == (twin, [])


class Recorder:
    """As much of `torch.cuda` as recording takes, on a machine that has no GPU; notes what is done on which device."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at_hand: list[torch.device] = [torch.device("cuda:0")]
        self.begun: list[tuple[str, torch.device]] = []
        self.given: list[dict[str, Any]] = []
        self.modes: list[str] = []
        self.streams: list[Any] = []
        for name in ("device", "stream", "graph"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(torch.cuda, "Stream", lambda: SimpleNamespace(wait_stream=lambda other: None))
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: self)
        monkeypatch.setattr(torch.cuda, "set_stream", self.streams.append)
        monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", self.modes.append)
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: None))

    def wait_stream(self, other: Any) -> None:
        """The stream at hand is this recorder itself."""

    @contextlib.contextmanager
    def device(self, device: torch.device) -> Iterator[None]:
        self.at_hand.append(device)
        yield
        self.at_hand.pop()

    @contextlib.contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        self.begun.append(("run", self.at_hand[-1]))
        yield

    @contextlib.contextmanager
    def graph(self, graph: Any, **given: Any) -> Iterator[None]:
        self.begun.append(("recorded", self.at_hand[-1]))
        self.given.append(given)
        yield


def recording(family: str = "llama") -> StaticExecutor:
    """An executor that takes its device for one with graphs."""
    executor = engine(family).executor
    assert isinstance(executor, StaticExecutor)
    executor._graphable = True
    return executor


def forward(executor: StaticExecutor, *token_ids: int) -> torch.Tensor:
    return executor.forward(KVCache(executor.new_slots), token_ids, layout(len(token_ids)), 1)


def test_graphs_are_recorded_on_the_models_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream is one of the device at hand, which of several is the first one unless told otherwise."""
    recorder, executor = Recorder(monkeypatch), recording()
    forward(executor, 1)
    assert recorder.begun == [("run", executor.table.device), ("recorded", executor.table.device)]
    assert recorder.at_hand == [torch.device("cuda:0")]
    assert recorder.modes == ["error", "default"]


def test_all_graphs_share_their_memory_until_the_buffers_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pass_lsp.decoding.static_executor.FIRST_CAPACITY", 16)
    recorder, executor = Recorder(monkeypatch), recording()
    for count in (1, 3, 20):
        forward(executor, *range(count))
    first, second, grown = recorder.given
    assert first["pool"] is second["pool"] is not grown["pool"]
    assert first["stream"] is second["stream"] is grown["stream"]
    assert first["capture_error_mode"] == "thread_local"


def test_what_cannot_be_recorded_runs_without_graphs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recorder, executor = Recorder(monkeypatch), recording()
    wanted, compute, tries = forward(engine("llama").executor, 1, 2), executor._compute, []  # type: ignore[arg-type]

    def waits(*given: Any) -> torch.Tensor:
        if recorder.modes[-1:] == ["error"]:
            tries.append(given)
            raise RuntimeError("called a synchronizing CUDA operation")
        return compute(*given)

    monkeypatch.setattr(executor, "_compute", waits)
    assert torch.equal(forward(executor, 1, 2), wanted) and torch.equal(forward(executor, 1, 2), wanted)
    assert len(tries) == 1 and recorder.streams == [recorder] and recorder.modes == ["error", "default"]
    assert "without CUDA graphs" in caplog.text


def test_full_memory_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    Recorder(monkeypatch)
    executor = recording()

    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with monkeypatch.context() as patch:
        patch.setattr(executor, "_captured", full)
        with pytest.raises(torch.OutOfMemoryError):
            forward(executor, 1)
    assert executor._graphable
    forward(executor, 1)
    assert executor._graphs


def test_these_tests_run_where_only_a_gpu_is() -> None:
    absent = ("onnx", "onnxruntime", "tree_sitter", "pygls")
    code = f"import sys, {__name__}; print([name for name in {absent} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
class TestOnAGPU:
    """What only a GPU shows: recorded graphs, bfloat16, no waiting inside a cycle."""

    @pytest.mark.parametrize("family", FAMILIES)
    def test_graphs_give_the_naive_twins_tokens(self, family: str) -> None:
        subject = engine(family, "cuda")
        twin = list(islice(naive(subject.model, prompt(0), SamplingParams()), 20))
        for strategy in STRATEGIES:
            for _ in range(2):  # recorded, then replayed
                params = SamplingParams(max_new_tokens=20, strategy=strategy)
                assert subject.generate(prompt(0), params).token_ids == twin

    def test_one_seed_gives_one_answer_by_every_draft(self) -> None:
        subject = engine("llama", "cuda")
        answers = {
            tuple(subject.generate(prompt(0), SamplingParams(20, 0.9, seed=4, strategy=strategy)).token_ids)
            for strategy in ("autoregressive", "merged", "auto")
        }
        assert len(answers) == 1

    def test_the_shipped_model_runs_in_bfloat16(self) -> None:
        subject = load_engine(device="cuda")
        ids = subject.tokenizer("def add(a, b):\n    return")["input_ids"]
        result = subject.generate(ids, SamplingParams(max_new_tokens=16))
        assert result.finish in ("length", "eos") and result.forwards
