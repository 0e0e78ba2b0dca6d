"""What becomes of suggestions: shown, accepted, partly accepted, and still there after a while.

Each item that leaves has an id, which comes back with the command that editors run after
an accept and with the notifications that some send. Only counts of characters are kept.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from pass_lsp.documents.document import Document
from pass_lsp.metrics.gate import Gate
from pass_lsp.metrics.ledger import Ledger
from pass_lsp.metrics.stats import KEPT_AFTER_S

COMMAND = "pass-lsp.accepted"
DID_SHOW = "textDocument/didShowCompletion"
DID_ACCEPT_PART = "textDocument/didPartiallyAcceptCompletion"
_OFFERS = 256
_SPANS = 64
_SHOWN_AFTER_S = 0.75
"""A suggestion that stood this long was seen, where the client does not say so itself."""


@dataclass(slots=True)
class Offer:
    """One item that left. `text` is held here until it is forgotten, and goes nowhere else."""

    key: str
    start: int
    text: str
    log_prob: float | None = None
    shown: bool = False
    accepted: bool = False
    taken: bool = False
    partly: int = 0


@dataclass(eq=False, slots=True)
class _Span:
    """Where accepted text lies now."""

    key: str
    start: int
    text: str


class Usage:
    """Follows offers; `document_of(key)` gives the latest document, if it is open still."""

    def __init__(self, ledger: Ledger, document_of: Callable[[str], Document | None]) -> None:
        self.ledger = ledger
        self.gate = Gate()
        self._document_of = document_of
        self._offers: OrderedDict[str, Offer] = OrderedDict()
        self._spans: list[_Span] = []
        self._ids = itertools.count(1)
        self._answer: object = None
        self._items: list[str] = []
        self._before: list[Offer] = []
        self._standing = ""
        self._client_tells = False

    def offer(self, key: str, start: int, text: str, log_prob: float | None = None, answer: object = None) -> str:
        """An item leaves, as sure as `log_prob` says, if that is known; the id that it goes by.

        Of the items of one `answer` the first is what the user sees until he asks for another.
        """
        name = f"{next(self._ids)}"
        if answer is None or answer is not self._answer:
            self._before = [self._offers[item] for item in self._items if item in self._offers]
            self._answer, self._items = answer, []
        # What is left of a suggestion that the user types along is no new one.
        same = [it for it in self._before if (it.key, it.accepted) == (key, False) and it.text.endswith(text)]
        shown, taken = any(it.shown for it in same), any(it.taken for it in same)
        self._offers[name] = Offer(key, start, text, log_prob, shown, taken=taken)
        while len(self._offers) > _OFFERS:
            self._offers.popitem(last=False)
        self._items.append(name)
        if name == self._items[0] and self.ledger.path is not None and not self._client_tells:
            self._standing = name
            asyncio.get_running_loop().call_later(_SHOWN_AFTER_S, self._stood, name)
        return name

    def overtaken(self) -> None:
        """A request came in, or the text changed: what stands on the screen does not any more, or is offered anew."""
        self._standing = ""

    def shown(self, item: Any) -> str | None:
        """The client says that it shows `item`; the document's key."""
        self._client_tells = True
        offer = self._named(item)
        if offer is None:
            return None
        self._see(offer)
        return offer.key

    def accepted(self, name: str) -> str | None:
        """The user took the item of that id; the document's key."""
        offer = self._offers.get(name)
        if offer is None or offer.accepted:
            return offer.key if offer else None
        self._see(offer)
        offer.accepted = True
        sure = self._judged(offer, taken=True)
        self.ledger.note("accepted", characters=len(offer.text), lines=offer.text.count("\n") + 1, **sure)
        self._keep_an_eye_on(offer)
        return offer.key

    def accepted_part(self, item: Any, length: object) -> str | None:
        """The user took the first `length` UTF-16 units of `item`, counted from the start of its text."""
        offer = self._named(item)
        if offer is None or not isinstance(length, int) or isinstance(length, bool):
            return None
        self._see(offer)
        units = offer.text.encode("utf-16-le", "surrogatepass")[: max(0, 2 * length)]
        new = max(0, len(units.decode("utf-16-le", "ignore")) - offer.partly)
        offer.partly += new
        if new:
            self.ledger.note("partly", characters=new, **self._judged(offer, taken=True))
        return offer.key

    def edited(self, key: str, start: int, end: int, inserted: int) -> None:
        """`[start, end)` of a document became `inserted` characters: what was accepted behind it moves."""
        self.overtaken()
        for span in self._spans:
            if span.key == key and end <= span.start:
                span.start += inserted - (end - start)

    def closed(self, key: str) -> None:
        """A document is closed; what becomes of its text is not known any more."""
        self._spans = [span for span in self._spans if span.key != key]
        for name in [name for name, offer in self._offers.items() if offer.key == key]:
            del self._offers[name]

    def _named(self, item: Any) -> Offer | None:
        try:
            name = item["command"]["arguments"][0]
        except (TypeError, KeyError, IndexError):
            return None
        return self._offers.get(name) if isinstance(name, str) else None

    def _see(self, offer: Offer) -> None:
        if not offer.shown:
            offer.shown = True
            self.ledger.note("shown", characters=len(offer.text), **self._judged(offer, taken=False))

    def _judged(self, offer: Offer, taken: bool) -> dict[str, Any]:
        """Have the gate learn what became of `offer`, once; what the ledger notes for that."""
        if offer.log_prob is None or (taken and offer.taken):
            return {}
        offer.taken = taken
        log_prob = round(offer.log_prob, 2)
        self.gate.learn(log_prob, taken)
        return {"log_prob": log_prob, "model": self.gate.model}

    def _stood(self, name: str) -> None:
        offer = self._offers.get(name)
        if offer is not None and name == self._standing:
            self._see(offer)

    def _keep_an_eye_on(self, offer: Offer) -> None:
        if self.ledger.path is None or len(self._spans) >= _SPANS:
            return
        span = _Span(offer.key, offer.start, offer.text)
        self._spans.append(span)
        for after in KEPT_AFTER_S:
            asyncio.get_running_loop().call_later(after, self._look_again, span, after)

    def _look_again(self, span: _Span, after_s: int) -> None:
        document = self._document_of(span.key)
        if span in self._spans and document is not None:
            kept = retained(document.text, span.start, span.text)
            self.ledger.note("kept", after_s=after_s, characters=kept, of=len(span.text))
        if after_s == KEPT_AFTER_S[-1] and span in self._spans:
            self._spans.remove(span)


def retained(text: str, start: int, accepted: str) -> int:
    """How many characters of `accepted` still stand, in their order, around `start` of `text`."""
    slack = min(200, len(accepted) + 40)
    near = text[max(0, start - 40) : start + len(accepted) + slack]
    if accepted in near:
        return len(accepted)
    blocks = SequenceMatcher(None, accepted, near, autojunk=False).get_matching_blocks()
    # Single letters match anywhere; only runs say that something was kept.
    return sum(block.size for block in blocks if block.size >= min(3, len(accepted)))
