"""Models whose every logit is known, so that expected ids can be written down."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from pass_lsp.decoding.cache import KVCache
from pass_lsp.decoding.generate import Parts
from pass_lsp.decoding.lookahead import Lookahead

Rows = Callable[[int], torch.Tensor]


class ScriptedModel(nn.Module):
    """Row laws by table: `after(token)` for ordinary rows, `drafts(j, token)` for look-ahead row j behind `token`."""

    def __init__(self, vocab: int, after: Rows, drafts: Callable[[int, int], torch.Tensor], num_lookahead: int) -> None:
        super().__init__()
        self._table = nn.Embedding.from_pretrained(torch.eye(vocab, vocab + num_lookahead))
        self._vocab, self._after, self._drafts = vocab, after, drafts
        self.fed: list[list[int]] = []

    def get_input_embeddings(self) -> nn.Embedding:
        return self._table

    def forward(self, inputs_embeds: torch.Tensor, logits_to_keep: int, **_: Any) -> SimpleNamespace:
        ids = inputs_embeds[0].argmax(-1).tolist()
        self.fed.append(ids)
        rows = []
        for at, token in enumerate(ids):
            if token < self._vocab:
                rows.append(self._after(token))
            else:
                last = next(t for t in reversed(ids[:at]) if t < self._vocab)
                rows.append(self._drafts(token - self._vocab, last))
        return SimpleNamespace(logits=torch.stack(rows)[None, -logits_to_keep:])


def parts_of(
    model: ScriptedModel, vocab: int, num_lookahead: int, eos: int | None = None, context: int = 1000
) -> Parts:
    """What `generate` needs, around a scripted model."""
    vectors = torch.eye(vocab + num_lookahead)[vocab:]
    return Parts(model, Lookahead(vectors), KVCache(), context, frozenset() if eos is None else frozenset({eos}))  # type: ignore[arg-type]


def one_hot(vocab: int, token: int) -> torch.Tensor:
    """Logits that leave no doubt."""
    return torch.full((vocab,), -30.0).index_fill_(0, torch.tensor(token % vocab), 30.0)


def counting(vocab: int, num_lookahead: int, right: Callable[[int, int], bool]) -> ScriptedModel:
    """Counts upward; look-ahead row j behind `last` is right where `right(j, last)` says so."""

    def drafts(j: int, last: int) -> torch.Tensor:
        return one_hot(vocab, last + 2 + j if right(j, last) else last + 7 + j)

    return ScriptedModel(vocab, lambda token: one_hot(vocab, token + 1), drafts, num_lookahead)
