"""One answer while it is decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from pass_lsp import postprocess, prompt
from pass_lsp.config import Settings
from pass_lsp.domain import Completion, Context, Generation, OnCommit, Prompt
from pass_lsp.metrics.laps import Laps
from pass_lsp.reasons import Reason

OnText = Callable[[str, Callable[[bool], Completion | None]], None]
"""Called with the answer so far, and a function that makes a completion of what is closed of it, `Answer.closed`."""


@dataclass
class Answer:
    """Hears each run of tokens, says when it is enough, and makes a completion of what came.

    `offset` is where it goes, in characters; `errors` counts what a text would spoil there. With less
    than `least_log_prob` for its first tokens there is none.
    """

    tokenizer: Any
    context: Context
    question: Prompt
    offset: int
    settings: Settings
    errors: Callable[[str | None, int], int] | None
    laps: Laps = field(default_factory=Laps)
    on_commit: OnCommit | None = None
    on_text: OnText | None = None
    least_log_prob: float | None = None

    def __post_init__(self) -> None:
        self._begin()
        self.deadline = postprocess.Deadline(self._rule, self.settings.deadline_ms, self.settings.manual_deadline_ms)

    def _begin(self) -> None:
        self.ids: list[int] = []
        self._said: list[int] = []
        line = self.settings.single_line_tokens * getattr(self.tokenizer, "ids_per_token", 1)
        self._rule = postprocess.Stop(self.context, self.question, self.tokenizer, line)
        self._commit = self.on_commit and prompt.Unhealed(self.question, self.tokenizer, self.on_commit)

    def __call__(self, run: list[int]) -> None:
        if not self.ids:
            self.laps.lap("prefill")
        self.ids.extend(run)
        if self._commit is not None:
            self._commit(run)
        if self.on_text is not None and self._rule.healed:
            self.on_text(self._rule.text, self.closed)

    def stop(self, token_ids: list[int]) -> int | None:
        """How many of the ids that are decoded now to keep when that is enough, else None."""
        keep = self.deadline([*self._said, *token_ids])
        return None if keep is None else max(0, keep - len(self._said))

    def ask_otherwise(self, generation: Generation) -> bool:
        """Whether the model would rather end the word that was begun; it then gets the prompt as it stands."""
        if not self.question.otherwise or self._rule.healed or self.deadline.passed or generation.finish == "cancelled":
            return False
        self.question = self.question.otherwise
        self._begin()
        self.deadline.stop = self._rule
        return True

    def ask_for_block(self, generation: Generation) -> list[int]:
        """The ids that begin the block of the header that the model ended behind; [] where nothing is missing.

        A small model likes to end there, and its answer would not parse.
        """
        whole = generation.finish in ("eos", "stop") and not self.deadline.over and not self._unsure(generation)
        if not whole or not (lead := self._rule.block):
            return []
        begun = prompt.encode(self.tokenizer, prompt.template_for(self.tokenizer), "\n" + lead, glue=True)
        self._said = [*generation.token_ids, *begun]
        if self._rule(self._said) is not None:  # with its line end the header shows that the answer ended before it
            return []
        self(begun)
        return begun

    def completion(self, generation: Generation) -> Completion | Reason:
        """What to make of the whole answer; when time was up, of its best closed part."""
        if generation.finish == "cancelled":
            return Reason.CANCELLED
        if self._unsure(generation):
            return Reason.UNSURE
        cut = None
        if self.deadline.passed or self._rule.cut_off:
            cut = postprocess.closed_part if self.deadline.passed else postprocess.whole_words
            generation = replace(generation, finish="length")
        return self._finished(generation, cut)

    def _unsure(self, generation: Generation) -> bool:
        least, log_prob = self.least_log_prob, generation.log_prob
        return least is not None and log_prob is not None and log_prob < least

    def closed(self, whole_lines: bool) -> Completion | None:
        """What there is, as far as it is closed; of complete lines alone, or of the first line's words too."""
        cut = postprocess.closed_lines if whole_lines else postprocess.closed_part
        part = self._finished(Generation(list(self.ids), "length"), cut)
        return part if isinstance(part, Completion) else None

    def _finished(self, generation: Generation, cut: postprocess.Cut | None) -> Completion | Reason:
        parts = (self.context, self.question, self.tokenizer, self.offset, self.errors, cut)
        return postprocess.finish(generation, *parts)
