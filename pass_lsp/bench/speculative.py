"""Speculative sampling with two models, the method that PaSS set out to replace; here to be compared with.

A smaller model of the same tokenizer drafts one token a forward, the large one verifies all of
them in one. Source: Leviathan et al. 2023; Chen et al. 2023, algorithm 2.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pass_lsp.decoding.forward import PREFILL_CHUNK, Forward
from pass_lsp.decoding.sampling import DRAFT, draw, target_probs
from pass_lsp.decoding.strategies import Run, verify
from pass_lsp.domain import SamplingParams, Step


def two_models(
    target: Forward,
    draft: Forward,
    prompt_ids: Sequence[int],
    params: SamplingParams,
    length: int,
    limit: int,
    ends: frozenset[int],
) -> Iterator[Run]:
    """A forward of `target` and `length` of `draft` a cycle, 1 to `length` + 1 tokens; `limit` bounds positions."""
    text = list(prompt_ids)
    while True:
        width = max(0, min(length, limit - len(text) - 1))
        drafts, laws = _drafted(draft, text, params, width, ends)
        pending = text[target.length :]
        while len(pending) + len(drafts) > PREFILL_CHUNK:
            chunk = min(PREFILL_CHUNK, len(pending) - 1)
            target(pending[:chunk])
            pending = pending[chunk:]
        logits = target([*pending, *drafts], num_logits=1 + len(drafts)).real  # [1 + len(drafts), V]
        accepted, token = verify(target_probs(logits, params), laws, drafts, params, len(text))
        text += [*drafts[:accepted], token]
        target.crop(len(text) - 1)
        draft.crop(min(draft.length, len(text) - 1))
        yield Run([*drafts[:accepted], token], Step(1, len(drafts), accepted, accepted + 1))


def _drafted(
    draft: Forward, text: Sequence[int], params: SamplingParams, width: int, ends: frozenset[int]
) -> tuple[list[int], list[torch.Tensor]]:
    """Up to `width` ids behind `text`, and the law `[V]` each was drawn from; none behind an end."""
    drafts: list[int] = []
    laws: list[torch.Tensor] = []
    pending = list(text[draft.length :])
    while len(drafts) < width and not (drafts and drafts[-1] in ends):
        laws.append(target_probs(draft.prefill(pending).real, params)[0])
        drafts.append(draw(laws[-1], params, DRAFT, len(text) + len(drafts)))
        pending = drafts[-1:]
    return drafts, laws


def cut_model(model: Any, tokenizer: Any, num_layers: int, folder: Path) -> None:
    """Write a draft model: `model` with its first `num_layers` layers alone, otherwise as it is."""
    small = copy.deepcopy(model)
    config = small.config.get_text_config()
    depth = config.num_hidden_layers
    for parent in list(small.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.ModuleList) and len(child) == depth:
                setattr(parent, name, child[:num_layers])
    config.num_hidden_layers = num_layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:num_layers]
    small.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
