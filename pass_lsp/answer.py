"""One answer while it is decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from pass_lsp import postprocess, prompt
from pass_lsp.config import Settings
from pass_lsp.domain import Completion, Context, Generation, OnCommit, Prompt, Reason
from pass_lsp.metrics.laps import Laps

OnText = Callable[[str, Callable[[], Completion | None]], None]
"""Called with the answer so far, and a function that makes a completion of its whole lines, if they are closed."""


@dataclass
class Answer:
    """Hears each run of tokens, says when it is enough, and makes a completion of what came.

    `offset` is where it goes, in characters; `errors` counts what a text would spoil there.
    """

    tokenizer: Any
    context: Context
    question: Prompt
    offset: int
    settings: Settings
    errors: Callable[[str, int], int] | None
    laps: Laps = field(default_factory=Laps)
    on_commit: OnCommit | None = None
    on_text: OnText | None = None

    def __post_init__(self) -> None:
        self._begin()
        self.stop = postprocess.Deadline(self._rule, self.settings.deadline_ms, self.settings.manual_deadline_ms)

    def _begin(self) -> None:
        self.ids: list[int] = []
        self._rule = postprocess.Stop(self.context, self.question, self.tokenizer)
        self._commit = self.on_commit and prompt.Unhealed(self.question, self.tokenizer, self.on_commit)

    def __call__(self, run: list[int]) -> None:
        if not self.ids:
            self.laps.lap("prefill")
        self.ids.extend(run)
        if self._commit is not None:
            self._commit(run)
        if self.on_text is not None and self._rule.healed:
            self.on_text(self._rule.text, self.closed_lines)

    def ask_otherwise(self, generation: Generation) -> bool:
        """Whether the model would rather end the word that was begun; it then gets the prompt as it stands."""
        if not self.question.otherwise or self._rule.healed or self.stop.passed or generation.finish == "cancelled":
            return False
        self.question = self.question.otherwise
        self._begin()
        self.stop.stop = self._rule
        return True

    def completion(self, generation: Generation) -> Completion | Reason:
        """What to make of the whole answer; when time was up, of its best closed part."""
        if generation.finish == "cancelled":
            return Reason.CANCELLED
        if self.stop.passed:
            return self._finished(replace(generation, finish="length"), postprocess.closed_part)
        return self._finished(generation, None)

    def closed_lines(self) -> Completion | None:
        """What there is, as far as its lines are complete and closed."""
        part = self._finished(Generation(list(self.ids), "length"), postprocess.closed_lines)
        return part if isinstance(part, Completion) else None

    def _finished(self, generation: Generation, cut: postprocess.Cut | None) -> Completion | Reason:
        parts = (self.context, self.question, self.tokenizer, self.offset, self.errors, cut)
        return postprocess.finish(generation, *parts)
