"""From the ledger to a user's own figures: shown, accepted, kept, and how fast."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pass_lsp.metrics.gate import Gate
from pass_lsp.metrics.percentiles import percentiles

KEPT_AFTER_S = (30, 120, 300)
"""When accepted text is looked at again, in seconds."""
MODEL, MEMORY = "model", "memory"
"""Where an answer came from."""


@dataclass
class Stats:
    """Sums over the events; characters are counted as the editor inserts them."""

    answers: int = 0
    from_memory: int = 0
    shown: int = 0
    accepted: int = 0
    partly: int = 0
    characters: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    latencies: dict[str, list[float]] = field(default_factory=lambda: {MODEL: [], MEMORY: []})
    kept: dict[int, list[tuple[int, int]]] = field(default_factory=lambda: {after: [] for after in KEPT_AFTER_S})
    tokens: int = 0
    forwards: int = 0
    judged: list[Mapping[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, events: Iterable[Mapping[str, Any]]) -> Stats:
        """The sums over `events`; what is malformed counts for nothing."""
        stats = cls()
        for event in events:
            take = _TAKERS.get(event["kind"])
            if isinstance(event.get("model"), str):
                stats.judged.append(event)
            try:
                if take is not None:
                    take(stats, event)
            except (KeyError, TypeError, ValueError, OverflowError):
                continue
        return stats

    def as_dict(self, hopeless_below: Mapping[str, float] | None = None) -> dict[str, Any]:
        """The figures as JSON has them. `hopeless_below` is what was measured of models, by the ledger's names."""
        model = self.judged[-1]["model"] if self.judged else ""
        gate = Gate.of(model, self.judged, (hopeless_below or {}).get(model, -math.inf))
        return {
            "answers": self.answers,
            "from_memory": self.from_memory,
            "shown": self.shown,
            "accepted": self.accepted,
            "partly_accepted": self.partly,
            "acceptance": _share(self.accepted, self.shown),
            "characters": {name: self.characters[name] for name in ("shown", "accepted", "partly")},
            "retained": {f"after_{after}_s": _retained(pairs) for after, pairs in self.kept.items()},
            "latency_ms": {source: percentiles(values) for source, values in self.latencies.items()},
            "tokens_per_forward": _share(self.tokens, self.forwards),
            "empty_answers": dict(self.reasons.most_common()),
            "gate": {
                "learnt_from": gate.shown,
                "learnt": gate.least_log_prob > gate.hopeless_below,
                "least_probability": round(math.exp(gate.least_log_prob), 5),
            },
        }

    def answer(self, event: Mapping[str, Any]) -> None:
        """A request was answered, with text or with the reason for none."""
        source, latency = str(event["source"]), float(event["ms"])
        self.answers += 1
        self.from_memory += source == MEMORY
        if source in self.latencies:
            self.latencies[source].append(latency)
        self.tokens += int(event.get("tokens", 0))
        self.forwards += int(event.get("forwards", 0))
        if event.get("reason"):
            self.reasons[str(event["reason"])] += 1

    def show(self, event: Mapping[str, Any]) -> None:
        """The user saw a suggestion."""
        self.characters["shown"] += int(event["characters"])
        self.shown += 1

    def accept(self, event: Mapping[str, Any]) -> None:
        """The user took a suggestion."""
        self.characters["accepted"] += int(event["characters"])
        self.accepted += 1

    def take_part(self, event: Mapping[str, Any]) -> None:
        """The user took a word or a line of a suggestion."""
        self.characters["partly"] += int(event["characters"])
        self.partly += 1

    def keep(self, event: Mapping[str, Any]) -> None:
        """How much of an accepted suggestion was still there after a while."""
        self.kept[int(event["after_s"])].append((int(event["characters"]), int(event["of"])))


_TAKERS = {
    "answer": Stats.answer,
    "shown": Stats.show,
    "accepted": Stats.accept,
    "partly": Stats.take_part,
    "kept": Stats.keep,
}


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, 3) if whole else None


def _retained(pairs: list[tuple[int, int]]) -> dict[str, Any]:
    characters, of = sum(kept for kept, _ in pairs), sum(all_of for _, all_of in pairs)
    return {"characters": characters, "of": of, "share": _share(characters, of)}
