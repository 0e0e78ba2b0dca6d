"""A stock model → an ONNX graph of one forward: tokens and look-ahead rows in, logits and new keys and values out.

The cache is explicit: each layer takes its slots `[1, H, S, D]` as they lie (hidden places are
masked) and gives the new rows `[1, H, R, D]`; nothing is concatenated. The model's own code is
traced, so any family whose attention goes through transformers' attention interface works.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.cache_utils import Cache

from pass_lsp.decoding.lora import Gate
from pass_lsp.decoding.masks import as_argument, mask_kinds
from pass_lsp.decoding.model import cache_name

_EXAMPLE_TOKENS, _EXAMPLE_LOOKAHEAD, _EXAMPLE_SLOTS = 3, 2, 8


def _attend(
    module: nn.Module,
    query: torch.Tensor,
    key: tuple[torch.Tensor, torch.Tensor],
    value: tuple[torch.Tensor, torch.Tensor],
    attention_mask: torch.Tensor,
    scaling: float,
    softcap: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention over (slots, new rows), each `[1, Hk, S or R, D]`; query `[1, H, R, D]`, mask `[1, 1, R, S + R]`."""
    (slot_keys, new_keys), (slot_values, new_values) = key, value
    heads, rows, width = query.shape[1:]
    shared = new_keys.size(1)
    query = (query * scaling).reshape(1, shared, heads // shared * rows, width)
    scores = torch.cat((query @ slot_keys.mT, query @ new_keys.mT), dim=-1)
    scores = scores.reshape(1, shared, heads // shared, rows, -1)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    probs = (scores + attention_mask[:, None]).softmax(-1).reshape(1, shared, heads // shared * rows, -1)
    slots = slot_keys.size(2)
    mixed = probs[..., :slots] @ slot_values + probs[..., slots:] @ new_values
    return mixed.reshape(1, heads, rows, width).transpose(1, 2), None


AttentionInterface.register("pass_lsp_slots", _attend)


class _GivenSlots(Cache):
    """A cache that hands attention its slots and the new rows side by side, and remembers the new rows."""

    def __init__(self, keys: list[torch.Tensor], values: list[torch.Tensor]) -> None:
        super().__init__(layers=[])
        self._slots = keys, values
        self.new_keys: list[torch.Tensor] = []
        self.new_values: list[torch.Tensor] = []

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any, **__: Any) -> Any:
        """`[1, H, R, D]` → ((slots, new), (slots, new))."""
        self.new_keys.append(key_states)
        self.new_values.append(value_states)
        keys, values = self._slots
        return (keys[layer_idx], key_states), (values[layer_idx], value_states)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Positions are given, so nothing is counted here."""
        return 0


class _OneForward(nn.Module):
    """The traced function; see `TracedExecutor.forward` for the shapes."""

    def __init__(self, model: PreTrainedModel, gate: Gate) -> None:
        super().__init__()
        self.model, self._gate, self._cache_name = model, gate, cache_name(model)
        self._kinds = mask_kinds(model.config.get_text_config())

    def forward(
        self,
        ids: torch.Tensor,
        extra: torch.Tensor,
        positions: torch.Tensor,
        keep: torch.Tensor,
        masks: list[torch.Tensor],
        keys: list[torch.Tensor],
        values: list[torch.Tensor],
    ) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
        embeds = torch.cat((self.model.get_input_embeddings()(ids), extra))
        rows = torch.arange(embeds.size(0))
        self._gate.mask = (rows >= ids.size(0)).to(embeds.dtype)[:, None]
        cache = _GivenSlots(keys, values)
        logits = self.model(
            inputs_embeds=embeds[None],
            position_ids=positions[None],
            attention_mask=as_argument(dict(zip(self._kinds, masks, strict=True))),
            use_cache=True,
            logits_to_keep=keep,
            **{self._cache_name: cache},
        ).logits[0]
        return logits, cache.new_keys, cache.new_values


def slot_shapes(model: PreTrainedModel) -> list[tuple[int, int]]:
    """(key-value heads, width) of every layer, found by running one token."""
    output = model(input_ids=torch.zeros(1, 1, dtype=torch.long), use_cache=True)
    return [(layer.keys.size(1), layer.keys.size(3)) for layer in getattr(output, cache_name(model)).layers]


def input_names(kinds: tuple[str, ...], num_layers: int) -> list[str]:
    """The graph's inputs, in order."""
    layers = range(num_layers)
    return ["ids", "extra", "positions", "keep", *kinds, *(f"k{i}" for i in layers), *(f"v{i}" for i in layers)]


@torch.inference_mode()
def export(model: PreTrainedModel, gate: Gate, path: Path) -> None:
    """Write the graph of `model` (float32, on a CPU) to `path`. Raises what torch's exporter raises."""
    shapes = slot_shapes(model)
    kinds = mask_kinds(model.config.get_text_config())
    rows, slots = _EXAMPLE_TOKENS + _EXAMPLE_LOOKAHEAD, _EXAMPLE_SLOTS
    width = model.get_input_embeddings().weight.size(1)  # type: ignore[union-attr]
    example = (
        torch.zeros(_EXAMPLE_TOKENS, dtype=torch.long),
        torch.zeros(_EXAMPLE_LOOKAHEAD, width),
        torch.arange(rows),
        torch.arange(2),
        [torch.zeros(rows, slots + rows) for _ in kinds],
        [torch.zeros(1, heads, slots, size) for heads, size in shapes],
        [torch.zeros(1, heads, slots, size) for heads, size in shapes],
    )
    free = torch.export.Dim.DYNAMIC
    dynamic = (
        {0: free}, {0: free}, {0: free}, {0: free},
        [{0: free, 1: free} for _ in kinds], [{2: free} for _ in shapes], [{2: free} for _ in shapes],
    )  # fmt: skip
    names = input_names(kinds, len(shapes))
    before = model.config._attn_implementation
    model.set_attn_implementation("pass_lsp_slots")
    try:
        with _quiet():
            program = torch.onnx.export(
                _OneForward(model, gate).eval(),
                example,
                dynamo=True,
                dynamic_shapes=dynamic,
                input_names=names,
                output_names=["logits", *(f"new_{name}" for name in names[4 + len(kinds) :])],
                verbose=False,
            )
    finally:
        gate.mask = None
        model.set_attn_implementation(before or "eager")
    assert program is not None
    program.save(str(path), external_data=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter reports its progress to whoever listens; on a language server's stdout nobody may speak."""
    loud = logging.getLogger("torch.onnx")
    level = loud.level
    loud.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        loud.setLevel(level)
