"""The figures of one engine, for Prometheus. Rates and ratios are the reader's: tokens per forward is one counter
over another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.registry import Collector

from pass_lsp.domain import Generation

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Gauges:
    """A registry of its own, so that two engines of one process do not meet. `load` says how many are queued."""

    def __init__(self, load: Callable[[], int]) -> None:
        self._registry = own = CollectorRegistry()
        self._requests = Counter("pass_lsp_requests", "Completion requests by status", ["status"], registry=own)
        self._cancels = Counter("pass_lsp_cancels", "Answers given up because the client went away", registry=own)
        self._cancelled = Gauge(
            "pass_lsp_last_cancel_timestamp_seconds", "When a decode was last given up", registry=own
        )
        Gauge("pass_lsp_queue", "Requests that wait or are decoded", registry=own).set_function(load)
        self._first = Histogram("pass_lsp_first_token_seconds", "To the first token", buckets=_SECONDS, registry=own)
        self._whole = Histogram("pass_lsp_request_seconds", "To the last token", buckets=_SECONDS, registry=own)
        names = ("tokens", "forwards", "drafted", "accepted", "cached_tokens", "prefilled_tokens")
        self._counts = {
            name: Counter(f"pass_lsp_{name}", f"Sum of {name} of all answers", registry=own) for name in names
        }

    def refused(self, status: int) -> None:
        """A request that was not served."""
        self._requests.labels(str(status)).inc()

    def first(self, seconds: float) -> None:
        """The first token of an answer came."""
        self._first.observe(seconds)

    def done(self, made: Generation, seconds: float) -> None:
        """An answer is over. One that was given up has no last token, and counts as 499, as nginx calls it."""
        if made.finish == "cancelled":
            self._requests.labels("499").inc()
            self._cancels.inc()
            self._cancelled.set_to_current_time()
        else:
            self._requests.labels("200").inc()
            self._whole.observe(seconds)
        for name, counter in self._counts.items():
            counter.inc(len(made.token_ids) if name == "tokens" else getattr(made, name))

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)

    def families(self) -> list[Metric]:
        """All of it, for `joined`."""
        return list(self._registry.collect())


def joined(engines: Mapping[str, Iterable[Metric]]) -> bytes:
    """The figures of several engines as one text; the label `replica` says whose they are."""
    whole: dict[str, Metric] = {}
    for replica, families in engines.items():
        for family in families:
            into = whole.setdefault(family.name, Metric(family.name, family.documentation, family.type, family.unit))
            into.samples += [each._replace(labels={**each.labels, "replica": replica}) for each in family.samples]
    registry = CollectorRegistry()
    registry.register(_Kept(whole.values()))
    return generate_latest(registry)


class _Kept(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
