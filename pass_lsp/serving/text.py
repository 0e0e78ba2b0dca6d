"""Ids as text while they come: whole characters only, and nothing that may yet become a stop text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_BROKEN = "\ufffd"


class Words:
    """The text of one answer. Used on two threads, each with an instance of its own."""

    def __init__(self, tokenizer: Any, stops: Sequence[str] = ()) -> None:
        self._tokenizer, self._stops = tokenizer, tuple(stops)
        # Something stands before, because some tokenizers drop a first space.
        self._before: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
        self._begin = len(self._decoded(self._before))
        self._ids: list[int] = []
        self._given = 0

    def stop(self, token_ids: list[int]) -> int | None:
        """The stop rule for `Engine.generate`: ends with the token that completes a stop text."""
        return len(token_ids) if self._cut(self._text(token_ids)) is not None else None

    def push(self, token_ids: list[int], *, last: bool = False) -> str:
        """The text that may be shown now and was not before."""
        self._ids.extend(token_ids)
        text = self._text(self._ids)
        cut = self._cut(text)
        if cut is not None:
            end = cut
        elif last:
            end = len(text)
        else:
            end = self._safe(text)
        new = text[self._given : end]
        self._given = max(self._given, end)
        return new

    def _text(self, token_ids: list[int]) -> str:
        return self._decoded([*self._before, *token_ids])[self._begin :]

    def _decoded(self, token_ids: list[int]) -> str:
        return self._tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _cut(self, text: str) -> int | None:
        return min((at for stop in self._stops if (at := text.find(stop)) >= 0), default=None)

    def _safe(self, text: str) -> int:
        whole = len(text.rstrip(_BROKEN))
        for length in range(min(whole, max(map(len, self._stops), default=1) - 1), 0, -1):
            if any(stop.startswith(text[whole - length : whole]) for stop in self._stops):
                return whole - length
        return whole
