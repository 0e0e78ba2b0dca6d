"""The nouns that travel between the rooms, and the `Engine` they all lead to.

Standard library only. Every noun is immutable; a room takes one and hands on the next
(`Document`, which can apply edits, lives in `documents/`):

    Document → Context → Prompt → Generation → Completion → LSP item
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from numbers import Integral, Real
from typing import Any, Literal, Protocol

from pass_lsp.errors import ConfigError
from pass_lsp.reasons import Reason

Strategy = Literal["autoregressive", "pass", "merged", "auto"]
STRATEGIES: tuple[Strategy, ...] = ("autoregressive", "pass", "merged", "auto")
Finish = Literal["eos", "stop", "length", "cancelled"]

OnCommit = Callable[[list[int]], None]
"""Called with each run of committed token ids, in order."""

OnLogProbs = Callable[[list[float]], None]
"""Called with the log-probabilities of committed tokens, in nats and in order."""

Stop = Callable[[list[int]], "int | None"]
"""Given all committed ids, the number to keep if generation should end here, else None."""


class Mode(StrEnum):
    """How much to suggest, decided from the syntax before anything is decoded."""

    NONE = "none"
    SINGLE_LINE = "single-line"
    MULTI_LINE = "multi-line"


@dataclass(frozen=True, slots=True)
class Snippet:
    """A piece of another file that may help. `rank` 0 is the most useful; `source` says who found it."""

    path: str
    text: str
    rank: int = 0
    source: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """What the model may see of one document, trimmed to a budget and still plain text.

    `prefix` ends and `suffix` begins at the cursor. `line_suffix` is the rest of the cursor's line in the document,
    without its line end, and `mid_line` says that it is more than closers, and stays as it is; `indent` the width of
    the block that the completion belongs to (columns; a line indented less ends it). `brackets`, `surplus`, `string`,
    `comment` and `heredoc` say what is open at the cursor, as in `documents.scan.Scan`. `snippets` of other files come
    in the order in which the prompt shows them; `root` is the open folder that the document lies in.
    """

    prefix: str
    suffix: str
    mode: Mode
    path: str = ""
    language: str = ""
    line_prefix: str = ""
    line_suffix: str = ""
    mid_line: bool = False
    indent: int = 0
    tab_size: int = 4
    brackets: str = ""
    surplus: str = ""
    string: str = ""
    comment: bool = False
    heredoc: str = ""
    snippets: tuple[Snippet, ...] = ()
    root: str = ""
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids for the model, the ids that end its answer besides EOS; `fill`: ids wanted ÷ room for them."""

    token_ids: tuple[int, ...]
    stop_ids: tuple[int, ...] = ()
    healed: str = ""
    """Text cut from the end of the prefix (token healing); the answer must begin with it."""
    otherwise: Prompt | None = field(default=None, repr=False)
    """The prompt with nothing cut, to ask where the answer does not."""
    fill: float = field(default=0.0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to decode. Temperature 0 is greedy; `top_k` 0 and `top_p` 1 switch those filters off."""

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    stop_ids: tuple[int, ...] = ()
    strategy: Strategy = "auto"

    def __post_init__(self) -> None:
        def number(value: Any, kind: type = Real) -> float:
            return float(value) if isinstance(value, kind) else math.nan  # of which no comparison holds

        ids = self.stop_ids if isinstance(self.stop_ids, Collection) else (None,)
        for name, fits, wanted in (
            ("strategy", self.strategy in STRATEGIES, f"one of {', '.join(STRATEGIES)}"),
            ("max_new_tokens", number(self.max_new_tokens, Integral) >= 0, "an integer of 0 or more"),
            ("temperature", 0 <= number(self.temperature) < math.inf, "a number of 0 or more"),
            ("top_k", number(self.top_k, Integral) >= 0, "an integer of 0 or more (0: off)"),
            ("top_p", 0 < number(self.top_p) <= 1, "a number above 0 and at most 1 (1: off)"),
            ("seed", isinstance(self.seed, Integral), "an integer"),
            ("stop_ids", all(isinstance(each, Integral) for each in ids), "a tuple of token ids"),
        ):
            if not fits:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; use {wanted}.")
        object.__setattr__(self, "stop_ids", tuple(ids))  # others are added to it


@dataclass(frozen=True, slots=True)
class Judged(SamplingParams):
    """The same, and `Generation.log_probs` is to tell of the first `log_probs` tokens; more hardly tell more.

    The answer ends (`stop`) once those together have less than `least_log_prob`, in nats. Of an engine
    elsewhere it depends on the server; one that does not tell ends nothing. `on_log_probs` hears those of a
    run just before `on_commit` hears the run.
    """

    least_log_prob: float = float("-inf")
    log_probs: int = 12
    on_log_probs: OnLogProbs | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, params: SamplingParams, least_log_prob: float = float("-inf"), **how: Any) -> Judged:
        """`params`, judged."""
        plain = {each.name: getattr(params, each.name) for each in fields(SamplingParams)}
        return cls(**plain, least_log_prob=least_log_prob, **how)


@dataclass(frozen=True, slots=True)
class Step:
    """One cycle of a decode loop: what it cost and what it brought."""

    forwards: int
    drafted: int
    accepted: int
    committed: int


@dataclass(frozen=True, slots=True)
class Generation:
    """What the engine produced, and the figures of how.

    `token_ids` excludes the EOS or stop id that ended it. `forwards` counts model calls from the last prefill chunk on.
    `drafted` and `accepted` exclude free and bonus tokens. `cached_tokens + prefilled_tokens` is the prompt's length.
    """

    token_ids: list[int]
    finish: Finish
    forwards: int = 0
    drafted: int = 0
    accepted: int = 0
    cached_tokens: int = 0
    prefilled_tokens: int = 0
    strategy: Strategy = "autoregressive"
    steps: tuple[Step, ...] = ()
    log_probs: tuple[float, ...] = ()
    """In nats, by the model's own law at temperature 1, of as many of the first tokens as were asked for;
    those that `stop` took back count."""

    @property
    def log_prob(self) -> float | None:
        """Of those tokens together; None where none was measured."""
        return sum(self.log_probs) if self.log_probs else None

    @property
    def tokens_per_forward(self) -> float:
        """Committed tokens ÷ forwards, the figure to compare strategies with (0 without forwards)."""
        return sum(step.committed for step in self.steps) / self.forwards if self.forwards else 0.0

    def followed_by(self, between: Sequence[int], rest: Generation) -> Generation:
        """One answer made of two: `rest` was asked for behind this one and the ids `between`."""
        return replace(
            self,
            token_ids=[*self.token_ids, *between, *rest.token_ids],
            finish=rest.finish,
            forwards=self.forwards + rest.forwards,
            drafted=self.drafted + rest.drafted,
            accepted=self.accepted + rest.accepted,
            steps=self.steps + rest.steps,
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """Text to put in place of `[start, end)` of the document; offsets count characters."""

    text: str
    start: int
    end: int
    generation: Generation | None = field(default=None, compare=False, repr=False)
    log_prob: float | None = field(default=None, compare=False, repr=False)
    """`Generation.log_prob`, which is remembered with the text when the rest of the figures is not."""


class CancelToken:
    """One flag, set from any thread, checked by the decode loop before every forward."""

    __slots__ = ("_cancelled",)

    def __init__(self) -> None:
        self._cancelled = False

    def cancel(self) -> None:
        """Ask the work to end; setting it twice is harmless."""
        self._cancelled = True

    @property
    def cancelled(self) -> bool:
        """Whether someone asked."""
        return self._cancelled


@dataclass(frozen=True, slots=True)
class Branch:
    """One of several answers to one prompt: its noise, and who ends and hears it."""

    seed: int
    stop: Stop | None = None
    on_commit: OnCommit | None = None


class Engine(Protocol):
    """Turns prompt ids into new ids; the only way to a model. `engines/` holds the real ones."""

    @property
    def tokenizer(self) -> Any:
        """The model's own transformers tokenizer."""
        ...

    def generate(
        self,
        prompt_ids: Sequence[int],
        params: SamplingParams = ...,
        *,
        cancel: CancelToken | None = None,
        on_commit: OnCommit | None = None,
        stop: Stop | None = None,
    ) -> Generation:
        """Decode after `prompt_ids`. Raises `PromptError` for an unusable prompt."""
        ...
