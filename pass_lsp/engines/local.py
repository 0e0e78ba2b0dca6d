"""The engine of this process: a model, its look-ahead vectors and one KV cache.

One request at a time; a lock makes callers from several threads take turns.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from pass_lsp.decoding.cache import KVCache
from pass_lsp.decoding.forward import Forward
from pass_lsp.decoding.generate import Parts, generate
from pass_lsp.decoding.lookahead import Lookahead, load_lookahead, random_lookahead
from pass_lsp.decoding.model import (
    choose_device,
    choose_dtype,
    context_length,
    eos_ids,
    load_model,
    load_tokenizer,
    table_of,
)
from pass_lsp.domain import CancelToken, Generation, OnCommit, SamplingParams, Stop, Strategy
from pass_lsp.engines.embedded import embedded_model, lookahead_folder
from pass_lsp.errors import ConfigError, PromptError

AUTO_MARGIN = 1.05
MEASURE_SECONDS = 0.5
ONE_THREAD_PARAMETERS = 50_000_000


def load_engine(
    model: str = "embedded",
    device: str = "auto",
    dtype: str = "auto",
    lookahead: str | None = "auto",
    trust_remote_code: bool = False,
) -> LocalEngine:
    """Load a model for completion.

    `model`: `embedded`, a Hugging Face directory or a hub id. `dtype`: `auto`, `float32`,
    `bfloat16`, `int8`. `lookahead`: a directory, `auto` (beside the model, else the
    user's data folder), `random` (untrained) or None. Raises `ModelError`, `ConfigError`.
    """
    path = str(embedded_model()) if model == "embedded" else str(model)
    place = choose_device(device)
    chosen = choose_dtype(dtype, place)
    tokenizer = load_tokenizer(path, trust_remote_code)
    loaded = load_model(path, place, chosen, trust_remote_code)
    if place.type == "cpu" and loaded.num_parameters() < ONE_THREAD_PARAMETERS:
        # A small model's forward is too short to share: on a busy machine two threads wait for each other.
        torch.set_num_threads(1)
    return LocalEngine(loaded, tokenizer, path, chosen, _lookahead(loaded, path, lookahead), trust_remote_code)


def _lookahead(model: PreTrainedModel, path: str, wanted: str | None) -> Lookahead | None:
    table = table_of(model)
    if wanted is None or wanted in ("none", ""):
        return None
    if wanted == "random":
        found = random_lookahead(table)
    else:
        folder = lookahead_folder(path) if wanted == "auto" else Path(wanted)
        if folder is None:
            return None
        found = load_lookahead(folder, table.size(1))
    return found.to(table.device, table.dtype)


class LocalEngine:
    """Implements `domain.Engine` with a transformers model."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Any,
        path: str,
        dtype: str,
        lookahead: Lookahead | None,
        trust_remote_code: bool = False,
    ) -> None:
        self.tokenizer = tokenizer
        self.path, self.dtype, self.lookahead = path, dtype, lookahead
        self.context_length = context_length(model)
        self._model, self._trust = model, trust_remote_code
        self._vocabulary = table_of(model).size(0)
        self._parts = Parts(model, lookahead, KVCache(), self.context_length, eos_ids(model))
        self._lock = threading.Lock()
        self.auto_strategy: Strategy = self._faster()

    @property
    def device(self) -> str:
        """Where the model runs."""
        return str(self._model.device)

    @cached_property
    def model(self) -> PreTrainedModel:
        """The float32 transformers model of the same weights, for comparison."""
        if self.dtype == "float32":
            return self._model
        return load_model(self.path, self._model.device, "float32", self._trust)

    def generate(
        self,
        prompt_ids: Sequence[int],
        params: SamplingParams = SamplingParams(),
        *,
        cancel: CancelToken | None = None,
        on_commit: OnCommit | None = None,
        stop: Stop | None = None,
    ) -> Generation:
        """Decode after `prompt_ids`; see `domain.Generation` for what comes back. Raises `PromptError`."""
        ids = self._checked(prompt_ids)
        strategy = self._strategy(params.strategy)
        with self._lock:
            return generate(self._parts, ids, params, strategy, cancel, on_commit, stop)

    def forget(self) -> None:
        """Drop the cached keys and values, so that the next request prefills its whole prompt."""
        with self._lock:
            self._parts.cache.clear()

    def _checked(self, prompt_ids: Sequence[int]) -> list[int]:
        ids = [int(token) for token in prompt_ids]
        if not ids:
            raise PromptError("The prompt is empty; give at least one token id.")
        if len(ids) > self.context_length:
            raise PromptError(
                f"The prompt has {len(ids)} tokens and the model's context {self.context_length}; shorten the prompt."
            )
        if not 0 <= min(ids) <= max(ids) < self._vocabulary:
            raise PromptError(
                f"The prompt holds ids outside 0 to {self._vocabulary - 1}; use this model's own tokenizer."
            )
        return ids

    def _strategy(self, wanted: Strategy) -> Strategy:
        if wanted == "merged":
            raise ConfigError("The strategy 'merged' is not available yet; use 'pass', 'autoregressive' or 'auto'.")
        if wanted == "pass" and self.lookahead is None:
            raise ConfigError(
                "The strategy 'pass' needs a look-ahead artifact; train one with `pass-lsp train lookahead`, "
                "or use 'autoregressive'."
            )
        return self.auto_strategy if wanted == "auto" else wanted

    def _faster(self) -> Strategy:
        """`pass` when its tokens per second, by measured forwards and known acceptance, beat one token a forward."""
        if self.lookahead is None or not self.lookahead.acceptance:
            return "autoregressive"
        length = min(self.lookahead.length, self.context_length // 4)
        accepted = sum(self.lookahead.acceptance[:length])
        one, many = self._forward_seconds(0), self._forward_seconds(length)
        return "pass" if (2 + accepted) / (2 * many) > AUTO_MARGIN / one else "autoregressive"

    def _forward_seconds(self, num_lookahead: int) -> float:
        """Median seconds of a forward of 1 + `num_lookahead` rows behind a short prompt."""
        cache = KVCache()
        forward = Forward(self._model, cache, self.lookahead, None)
        forward([0] * min(64, self.context_length // 4))
        taken: list[float] = []
        began = time.perf_counter()
        while len(taken) < 3 or (len(taken) < 9 and time.perf_counter() - began < MEASURE_SECONDS):
            start = time.perf_counter()
            forward([0], num_lookahead)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - start)
        return statistics.median(taken)
