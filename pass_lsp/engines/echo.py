"""An engine without a model: it answers at once, with the same line. It shows what the server costs by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pass_lsp.domain import CancelToken, Finish, Generation, OnCommit, SamplingParams, Step, Stop

NAME = "none"
"""The `model` that stands for this engine."""
ANSWER = "value = compute(value)\n"


class EchoEngine:
    """Takes a tokenizer, so that prompts are made as for a model; keeps every promise of `domain.Engine`."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._answer: list[int] = list(tokenizer(ANSWER, add_special_tokens=False)["input_ids"])

    def generate(
        self,
        prompt_ids: Sequence[int],
        params: SamplingParams = SamplingParams(),
        *,
        cancel: CancelToken | None = None,
        on_commit: OnCommit | None = None,
        stop: Stop | None = None,
    ) -> Generation:
        """The answer, a token at a time, up to what ends it."""
        ids: list[int] = []
        finish: Finish = "length"
        for token in self._answer[: params.max_new_tokens]:
            if cancel is not None and cancel.cancelled:
                finish = "cancelled"
                break
            ids.append(token)
            keep = stop(ids) if stop is not None else None
            if on_commit is not None:
                on_commit([token])
            if keep is not None:
                del ids[keep:]
                finish = "stop"
                break
        steps = tuple(Step(1, 0, 0, 1) for _ in ids)
        return Generation(ids, finish, forwards=len(ids), prefilled_tokens=len(prompt_ids), steps=steps)
