"""The engine of this process: an executor, its look-ahead artifact and the caches of a few documents.

One request at a time; a lock makes callers from several threads take turns.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy  # noqa: F401 - before torch, whose own import of it swallows a Ctrl-C and leaves half of it
import torch

from pass_lsp.cores import cores
from pass_lsp.decoding.cache import CachePool
from pass_lsp.decoding.costs import kept, measured
from pass_lsp.decoding.executor import Executor
from pass_lsp.decoding.generate import Parts, generate, sample
from pass_lsp.decoding.lookahead import Lookahead, load_lookahead, random_lookahead
from pass_lsp.decoding.model import (
    Limits,
    choose_device,
    choose_dtype,
    limits_of,
    load_limits,
    load_model,
    load_tokenizer,
    table_of,
)
from pass_lsp.decoding.planner import Planner, Seconds, flat
from pass_lsp.decoding.trial import require_agreement
from pass_lsp.domain import Branch, CancelToken, Generation, OnCommit, SamplingParams, Stop, Strategy
from pass_lsp.engines.embedded import embedded_model, lookahead_folder, user_cache
from pass_lsp.engines.turn import Turn
from pass_lsp.engines.vocabulary import Vocabulary
from pass_lsp.errors import NO_ARTIFACT, ConfigError, ModelError, PromptError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

SMALL_MODEL = 2**22
CACHE_BYTES = 2**29


def load_engine(
    model: str = "embedded",
    device: str = "auto",
    dtype: str = "auto",
    lookahead: str | None = "auto",
    trust_remote_code: bool = False,
    threads: int | None = None,
    documents: int = 8,
) -> LocalEngine:
    """Load a model for completion.

    `model`: `embedded`, a Hugging Face directory or a hub id. `dtype`: `auto`, `float32`,
    `bfloat16`, `int8`. `lookahead`: a directory, `auto` (beside the model, else the
    user's data folder), `random` (untrained) or None. On a CPU the first load converts the
    model for this machine, which takes some seconds. `threads` on a CPU: chosen for the model's
    size when None. `documents` is of how many the prefixes are kept, as far as memory goes. Raises `ModelError`,
    `ConfigError`.
    """
    path = str(embedded_model()) if model == "embedded" else str(model)
    place = choose_device(device)
    chosen = choose_dtype(dtype, place)
    tokenizer = cache(lambda: load_tokenizer(path, trust_remote_code))
    vocabulary = _vocabulary(Path(path))
    if vocabulary is None:
        tokenizer()  # what is wrong with it is to be said now
    folder = _artifact(path, lookahead)
    fast = None
    if place.type == "cpu" and lookahead != "random":  # elsewhere ONNX Runtime would be read for nothing
        from pass_lsp.decoding.graphs.conversion import conversion

        fast = conversion(path, chosen, place, folder, user_cache() / "graphs")
    limits = (fast and fast.limits()) or load_limits(path, trust_remote_code)
    artifact = load_lookahead(folder, limits.hidden_size) if folder is not None else None

    def stock(dtype: str = "float32") -> PreTrainedModel:
        return load_model(path, place, dtype, trust_remote_code)

    threads = threads or _threads(limits)
    if place.type == "cpu":
        torch.set_num_threads(threads)
    executor: Executor | None = fast.executor(limits, artifact, stock, threads) if fast is not None else None
    if executor is None:
        loaded = stock(chosen)
        if lookahead == "random":
            artifact = random_lookahead(table_of(loaded))
        if artifact is not None:
            artifact = artifact.to(place, table_of(loaded).dtype)
        executor = _stock_executor(loaded, artifact, limits, place)
        require_agreement(path, loaded, executor)
    what = fast.folder.name if fast else _stock_name(path, artifact)
    costs = _costs(executor, limits, f"{type(executor).__name__} {what} {chosen} {_device_name(place)} {threads}")
    return LocalEngine(executor, tokenizer, limits, stock, costs, path, chosen, str(place), documents, vocabulary)


def engine_of(model: PreTrainedModel, lookahead: Lookahead | None = None) -> LocalEngine:
    """An engine around a float32 model in memory, run by its own stock forward; without a tokenizer."""
    from pass_lsp.decoding.torch_executor import TorchExecutor

    limits = limits_of(model.config, model.generation_config)
    return LocalEngine(TorchExecutor(model, lookahead), lambda: None, limits, lambda: model)


def _stock_executor(
    model: PreTrainedModel, artifact: Lookahead | None, limits: Limits, place: torch.device
) -> Executor:
    """One that runs the model's own forward."""
    # Imported only here, because transformers takes long.
    from pass_lsp.decoding.static_executor import StaticExecutor
    from pass_lsp.decoding.torch_executor import TorchExecutor

    if place.type == "cuda":
        return StaticExecutor(model, artifact, limits.context_length)
    return TorchExecutor(model, artifact)


def _costs(executor: Executor, limits: Limits, key: str) -> tuple[Seconds, Seconds]:
    """What cycles cost here, of greedy and of sampled answers."""
    path = user_cache() / "costs.json"
    greedy, sampled = (
        kept(path, f"{key} {params.temperature}", lambda p=params: measured(executor, limits.context_length, p))
        for params in (SamplingParams(), SamplingParams(temperature=0.8))
    )
    return greedy, sampled


def _stock_name(path: str, artifact: Lookahead | None) -> str:
    """What costs of a stock forward depend on: a model, from wherever it is named, and what its look-ahead rows do."""
    parts = (artifact.length, artifact.head is not None, len(artifact.lora)) if artifact is not None else ()
    return f"{Path(path).resolve() if os.path.isdir(path) else path} {parts}"


def _device_name(place: torch.device) -> str:
    """Which GPU it is: users exchange them, and a home folder may be that of several machines."""
    return torch.cuda.get_device_name(place) if place.type == "cuda" else str(place)


def _threads(limits: Limits) -> int:
    """A small model's forward is too short to share: on a busy machine two threads wait for each other."""
    size = limits.hidden_size**2 * limits.num_layers
    return 1 if size < SMALL_MODEL else max(1, cores() // 2)


def _vocabulary(folder: Path) -> Vocabulary | None:
    """Of the model that ships: it is known to be read alike without transformers, which takes long to import."""
    with contextlib.suppress(ModelError):
        if os.path.isdir(folder) and folder.samefile(embedded_model()):  # False also for a name that no folder can have
            return Vocabulary((folder / "tokenizer.json").read_text("utf-8"))
    return None


def _artifact(path: str, wanted: str | None) -> Path | None:
    if wanted in (None, "none", "", "random"):
        return None
    return lookahead_folder(path) if wanted == "auto" else Path(str(wanted))


class LocalEngine:
    """Implements `domain.Engine` with an executor of this process."""

    def __init__(
        self,
        executor: Executor,
        tokenizer: Callable[[], Any],
        limits: Limits,
        reference: Callable[[], PreTrainedModel],
        costs: tuple[Seconds, Seconds] = (flat, flat),
        path: str = "",
        dtype: str = "float32",
        device: str = "cpu",
        documents: int = 8,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        self._tokenizer, self.vocabulary = tokenizer, vocabulary
        self.path, self.dtype, self.device = path, dtype, device
        self.executor, self.lookahead, self.costs = executor, executor.lookahead, costs[0]
        self.context_length = limits.context_length
        known = self.lookahead.acceptance if self.lookahead is not None else ()
        planners = Planner(known, costs[0]), Planner(known, costs[1])
        self.planner = planners[0]
        self._reference = reference
        self._vocabulary = executor.table.size(0)
        caches = CachePool(executor.new_slots, CACHE_BYTES, documents)
        self._parts = Parts(executor, caches, planners, limits.context_length, limits.eos_ids)
        self._turn = Turn()

    @property
    def tokenizer(self) -> Any:
        """The model's own, of transformers. Where there is a `vocabulary`, nothing here needs it."""
        return self._tokenizer()

    @cached_property
    def model(self) -> PreTrainedModel:
        """The float32 transformers model of the same weights, for comparison."""
        return self._reference()

    @property
    def auto_strategy(self) -> Strategy:
        """What `auto` decodes with at this moment when there is nothing to copy."""
        return "merged" if self.planner.depth else "autoregressive"

    def generate(
        self,
        prompt_ids: Sequence[int],
        params: SamplingParams = SamplingParams(),
        *,
        cancel: CancelToken | None = None,
        on_commit: OnCommit | None = None,
        stop: Stop | None = None,
    ) -> Generation:
        """Decode after `prompt_ids`; see `domain.Generation` for what comes back.

        Raises `PromptError`, and `RuntimeError` where one of its own callbacks asks.
        """
        ids = self._checked(prompt_ids)
        if params.strategy == "pass" and self.lookahead is None:
            raise ConfigError(NO_ARTIFACT)
        with self._turn:
            return generate(self._parts, ids, params, params.strategy, cancel, on_commit, stop)

    def sample(
        self,
        prompt_ids: Sequence[int],
        params: SamplingParams,
        branches: Sequence[Branch],
        *,
        cancel: CancelToken | None = None,
    ) -> list[Generation]:
        """Answer the same prompt once for each of `branches`, all of them together. Raises `PromptError`."""
        ids = self._checked(prompt_ids)
        with self._turn:
            return sample(self._parts, ids, params, branches, cancel)

    def forget(self) -> None:
        """Drop the cached keys and values, so that the next request prefills its whole prompt."""
        with self._turn:
            self._parts.caches.clear()

    def _checked(self, prompt_ids: Sequence[int]) -> list[int]:
        try:
            ids = [index(token) for token in prompt_ids]
        except TypeError as error:
            raise PromptError("The prompt is no list of token ids; give what this model's tokenizer makes.") from error
        if not ids:
            raise PromptError("The prompt is empty; give at least one token id.")
        if len(ids) > self.context_length:
            raise PromptError(
                f"The prompt has {len(ids)} tokens and the model's context {self.context_length}; shorten the prompt.",
                self.context_length,
            )
        if not 0 <= min(ids) <= max(ids) < self._vocabulary:
            raise PromptError(
                f"The prompt holds ids outside 0 to {self._vocabulary - 1}; use this model's own tokenizer."
            )
        return ids
