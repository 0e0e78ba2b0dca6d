"""One request to a server: what it is sent, what came so far, and what to make of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pass_lsp.domain import Finish, Generation, Judged, OnCommit, SamplingParams, Step, Stop, Strategy
from pass_lsp.engines.remote.discovery import Peer

_FEW = 4
"""So many stops OpenAI's interface knows, and servers that keep to it refuse more; the ends of an answer come first."""
_HALF = 2**63
_FIGURES = ("forwards", "drafted", "accepted", "cached_tokens", "prefilled_tokens")


@dataclass
class Answer:
    """What came so far."""

    params: SamplingParams
    on_commit: OnCommit | None
    stop: Stop | None
    limit: int
    ids: list[int] = field(default_factory=list)
    finish: Finish | None = None
    pieces: list[int] = field(default_factory=list)
    figures: dict[str, int] = field(default_factory=dict)
    log_probs: list[float] = field(default_factory=list)
    untold: bool = False

    @property
    def awaited(self) -> bool:
        """Whether somebody listens; if not, the server is only to read the prompt."""
        return self.on_commit is not None or self.stop is not None

    def push(self, run: list[int], log_probs: Sequence[float] = ()) -> None:
        """Commit ids, as far as nothing ends the answer inside them; `log_probs` are what the server told with them."""
        run, before = run[: self.limit - len(self.ids)], len(self.ids)
        # An event without a piece is often that of the token which ends the answer, and that does not count.
        if not run:
            return
        self.pieces.append(len(run))
        judged = self.params if isinstance(self.params, Judged) else None
        # With a figure for each id, the end inside a run is found where one token at a time would have found it.
        parts: list[tuple[list[int], Sequence[float]]] = [(run, log_probs)]
        if len(log_probs) == len(run):
            parts = [([token], [sure]) for token, sure in zip(run, log_probs, strict=True)]
        told: list[float] = []
        for ids, sure in parts:
            self.ids.extend(ids)
            told += self._measured(sure, judged.log_probs) if judged else []
            self.look()
            if judged and self.finish is None and sum(self.log_probs) < judged.least_log_prob:
                self.finish = "stop"
            if self.finish is not None:
                break
        if judged and judged.on_log_probs and told:
            judged.on_log_probs(told)
        if self.on_commit is not None and len(self.ids) > before:
            self.on_commit(self.ids[before:])
        if self.finish is None and len(self.ids) >= self.limit:
            self.finish = "length"

    def _measured(self, told: Sequence[float], most: int) -> list[float]:
        """Those of the first `most` that are new. Where a piece comes without, nothing is known of the whole."""
        room = most - len(self.log_probs)
        self.untold = self.untold or (room > 0 and not told)
        new = [] if self.untold else [*told[:room]]
        self.log_probs = [] if self.untold else [*self.log_probs, *new]
        return new

    def look(self) -> None:
        """End where the stop rule says so; also called while nothing comes, because time passes."""
        keep = self.stop(self.ids) if self.stop is not None and self.finish is None else None
        if keep is not None:
            del self.ids[keep:]
            self.finish = "stop"


def values_of(peer: Peer, ids: list[int], answer: Answer) -> dict[str, Any]:
    """What there is to send; the adapter takes what its server knows."""
    params, tokenizer = answer.params, peer.tokenizer
    done = len(answer.pieces) if hasattr(tokenizer, "sections") else len(answer.ids)
    values: dict[str, Any] = {
        "model": peer.model or None,
        "ids": ids,
        "max_tokens": max(params.max_new_tokens - done, 1),
        "temperature": params.temperature,
        "top_p": params.top_p,
        "top_p_if_less": params.top_p if params.top_p < 1 else None,
        "top_k": params.top_k,
        "top_k_if_any": params.top_k or None,
        # Servers read 64 bits with a sign; of a longer one ours looks at no more, in one process neither.
        "seed": (params.seed + _HALF) % (2 * _HALF) - _HALF,
        "strategy": params.strategy,
        "fingerprint": peer.fingerprint or None,
        "stop_ids": list(params.stop_ids) or None,
    }
    if hasattr(tokenizer, "sections"):
        values |= _texts(tokenizer, ids, params.stop_ids)
    return values


def _texts(tokenizer: Any, ids: list[int], stop_ids: Sequence[int]) -> dict[str, Any]:
    sections = list(tokenizer.sections(ids))
    parts, files = dict(sections), []
    for marker, text in sections:
        if marker == "\0path\0":
            files.append({"filename": text, "text": ""})
        elif marker == "\0text\0" and files:
            files[-1]["text"] = text
    stops = [tokenizer.written(tokenizer.decode([i])).strip() for i in stop_ids]
    stops = [stop for stop in stops if "\0" not in stop]
    suffix = parts.get("\0suffix\0", "")
    return {
        "prompt": tokenizer.text(ids),
        "prefix": parts.get("\0prefix\0", ""),
        "suffix": suffix,
        "suffix_or_line": suffix or "\n",
        "files": files or None,
        "stop": stops or None,
        "few_stops": stops[:_FEW] or None,
    }


def figures_of(event: Mapping[str, Any]) -> dict[str, int]:
    """What our own engine says of its work, with the last event."""
    told = event.get("pass_lsp")
    told = told if isinstance(told, dict) else {}
    return {key: value for key in _FIGURES if isinstance(value := told.get(key), int)}


def generation_of(answer: Answer, prompt_length: int, by_token: bool) -> Generation:
    """What is known of how: the engine's own figures if it gave them, else a forward for each piece that came."""
    figures: dict[str, Any] = {"forwards": len(answer.pieces), "prefilled_tokens": prompt_length, **answer.figures}
    if answer.figures:
        forwards, drafted, accepted = (figures.get(key, 0) for key in ("forwards", "drafted", "accepted"))
        # The token that ended it was decoded as well, and is not sent.
        steps = (Step(forwards, drafted, accepted, sum(answer.pieces) + (answer.finish == "eos")),)
    else:
        steps = tuple(Step(1, 0, 0, piece if by_token else 1) for piece in answer.pieces)
    strategy: Strategy = answer.params.strategy if by_token else "autoregressive"
    return Generation(
        answer.ids,
        answer.finish or "length",
        strategy=strategy,
        steps=steps,
        log_probs=tuple(answer.log_probs),
        **figures,
    )
