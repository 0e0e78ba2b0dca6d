"""How much of a document fills the room of a prompt: fewer characters, where its text takes more tokens than code does.

What is over the room would be cut from the far end, imports and headers first, and elsewhere with
every few keys. So a text that dense is trimmed by syntax to fewer characters, and to as many again
when much room is left. What was found stays with the document, so that its windows do.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from pass_lsp.domain import Context, Prompt

_STEP, _LEAST = 0.8, 0.2
_LOOSE = 0.45
"""Of the room; windows that have just moved fill half of it and more."""
_CAPACITY = 64

Ask = Callable[[int], tuple[Context, Prompt | None]]
"""Given a budget of characters, what the model may see and how it is asked."""


class Densities(threading.local):
    """The share of the usual budget that the last few documents get. Those without a name are not remembered."""

    def __init__(self) -> None:
        self._shares: OrderedDict[str, float] = OrderedDict()

    def fitting(self, uri: str, budget: int, ask: Ask) -> tuple[Context, Prompt | None]:
        """What `ask` gives for `budget` characters, or for as many fewer as fit the room."""
        share = self._shares.pop(uri, 1.0)
        context, question = ask(int(budget * share))
        if question and share < 1 and question.fill < _LOOSE:
            share = 1.0
            context, question = ask(budget)
        while question and question.fill > 1 and share > _LEAST:
            share *= _STEP
            context, question = ask(int(budget * share))
        if uri:
            self._shares[uri] = share
            while len(self._shares) > _CAPACITY:
                self._shares.popitem(last=False)
        return context, question
