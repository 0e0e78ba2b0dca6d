"""A record of every answer: the last few hundred for whoever asks, and figures of each for the ledger."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from pass_lsp.metrics.ledger import Ledger
from pass_lsp.reasons import Reason
from pass_lsp.server.flight import Ask, Flight, Landing

REQUEST = "pass-lsp/answers"
_KEPT = 512


class Answers:
    """Numbers and reason codes of answers; never what they said."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.recent: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self.read_ahead = 0
        """Tokens that the engine read before it was asked."""

    def answered(self, ask: Ask, landing: Landing, source: str, reason: Reason | None, flight: Flight | None) -> None:
        """`ask` is answered now."""
        total = (time.monotonic() - ask.arrived_s) * 1000
        figures: dict[str, Any] = {"source": source, "ms": round(total, 2)}
        if reason is not None:
            figures["reason"] = reason.value
        if flight is not None:
            figures |= _figures(ask, landing, flight)
        self.recent.append({"version": ask.document.version, "offset": ask.offset, **figures})
        self.ledger.note("answer", language=ask.document.language, **figures)

    def refused(self, reason: Reason) -> None:
        """A request was answered empty before anything was looked at."""
        self.recent.append({"source": "none", "reason": reason.value, "ms": 0.0})
        self.ledger.note("answer", source="none", reason=reason.value, ms=0.0)

    def superseded(self, ask: Ask) -> None:
        """`ask` was answered null, because a newer request took its place."""
        self.recent.append(
            {"version": ask.document.version, "offset": ask.offset, "source": "none", "reason": Reason.SUPERSEDED.value}
        )


def _figures(ask: Ask, landing: Landing, flight: Flight) -> dict[str, Any]:
    """What the decode took. A request that joined one has waited for a part of it only."""
    found: dict[str, Any] = {"queue_ms": round(max(0.0, flight.began_s - ask.arrived_s) * 1000, 2)}
    found |= {f"{part}_ms": round(taken, 2) for part, taken in landing.taken_ms.items()}
    found["joined"] = not flight.is_at(ask) or flight.began_s < ask.arrived_s
    if landing.generation is not None:
        generation = landing.generation
        found |= {
            "tokens": len(generation.token_ids),
            "forwards": generation.forwards,
            "cached_tokens": generation.cached_tokens,
            "prefilled_tokens": generation.prefilled_tokens,
        }
        if generation.log_prob is not None:
            found["log_prob"] = round(generation.log_prob, 2)
    return found
