"""The product, top to bottom: one room a line. Read this first.

    Document → context → Context → prompt → Prompt → engine → Generation → postprocess → Completion

Knows every noun and no framework: `server/` and `cli/` call it, it calls the rooms below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from pass_lsp import postprocess, prompt
from pass_lsp.config import Settings
from pass_lsp.context import build_context
from pass_lsp.documents.document import Document
from pass_lsp.documents.languages import language_of
from pass_lsp.domain import (
    CancelToken,
    Completion,
    Context,
    Engine,
    Generation,
    Mode,
    OnCommit,
    Prompt,
    Reason,
    SamplingParams,
)
from pass_lsp.metrics.laps import Laps

OnText = Callable[[str, Callable[[], Completion | None]], None]
"""Called with the answer so far, and a function that makes a completion of its whole lines, if they are closed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A completion, or the reason why there is none; and what each part of the work took, in ms."""

    completion: Completion | None = None
    reason: Reason | None = None
    generation: Generation | None = field(default=None, compare=False, repr=False)
    taken_ms: Mapping[str, float] = field(default_factory=dict, compare=False, repr=False)


def complete_document(
    document: Document,
    offset: int,
    engine: Engine,
    settings: Settings = Settings(),
    params: SamplingParams | None = None,
    cancel: CancelToken | None = None,
    on_commit: OnCommit | None = None,
    on_text: OnText | None = None,
) -> Outcome:
    """Complete `document` at `offset` (characters); nothing that the text contains makes it fail.

    `params` default to greedy decoding with the lengths and the strategy of `settings`. When the
    deadline of `settings` passes (0: none), the best closed part of what is decoded is the answer;
    where nothing is closed yet, what closes first, until `manual_deadline_ms` at the latest.
    """
    laps = Laps()
    # Into the text, and out of the middle of a line end: the answer's offsets are counted from here.
    offset = document.offset(*document.position(offset, "utf-32"), "utf-32")
    context, question = _question(document, offset, engine, settings)
    laps.lap("context")
    if question is None:
        return Outcome(reason=context.reason, taken_ms=laps.taken)
    wanted = _params(params, settings, context.mode, question.stop_ids)
    rule = postprocess.Stop(context, question, engine.tokenizer)
    stop = postprocess.Deadline(rule, settings.deadline_ms, settings.manual_deadline_ms)

    def finished(generation: Generation, cut: postprocess.Cut | None) -> Completion | Reason:
        return postprocess.finish(generation, context, question, engine.tokenizer, offset, cut)

    said = _Said(rule, finished, laps, on_commit, on_text)
    generation = engine.generate(question.token_ids, wanted, cancel=cancel, on_commit=said, stop=stop)
    laps.lap("decode" if said.ids else "prefill")
    if generation.finish == "cancelled":
        return Outcome(None, Reason.CANCELLED, generation, laps.taken)
    if stop.passed:
        generation = replace(generation, finish="length")
    answer = finished(generation, postprocess.closed_part if stop.passed else None)
    laps.lap("postprocess")
    if isinstance(answer, Completion):
        return Outcome(answer, None, generation, laps.taken)
    return Outcome(None, answer, generation, laps.taken)


def prefill_document(
    document: Document, offset: int, engine: Engine, settings: Settings = Settings(), cancel: CancelToken | None = None
) -> Generation | None:
    """Have the engine read what a request at `offset` would ask, so that the request pays for decoding alone."""
    _, question = _question(document, offset, engine, settings)
    if question is None:
        return None
    one = SamplingParams(max_new_tokens=1, strategy=settings.strategy, stop_ids=question.stop_ids)
    return engine.generate(question.token_ids, one, cancel=cancel)


def alternatives_at(
    document: Document,
    offset: int,
    engine: Engine,
    first: Completion,
    settings: Settings = Settings(),
    cancel: CancelToken | None = None,
) -> list[Completion]:
    """Up to `settings.alternatives` − 1 answers that differ from `first` and from each other, sampled by seed.

    Ends early when `deadline_ms` of `settings` has passed or `cancel` is set.
    """
    found, laps = [first], Laps()
    sampled = SamplingParams(settings.multi_line_tokens, temperature=0.7, top_p=0.95, strategy=settings.strategy)
    for seed in range(1, 2 * settings.alternatives):
        left_ms = int(settings.deadline_ms - laps.total_ms())
        if len(found) >= settings.alternatives or (settings.deadline_ms and left_ms <= 0):
            break
        hurried = replace(settings, deadline_ms=left_ms if settings.deadline_ms else 0)
        outcome = complete_document(document, offset, engine, hurried, replace(sampled, seed=seed), cancel)
        if outcome.reason is Reason.CANCELLED:
            break
        if outcome.completion is not None and outcome.completion not in found:
            found.append(outcome.completion)
    return found[1:]


def complete(
    text: str,
    line: int,
    character: int,
    *,
    engine: Engine,
    path: str = "",
    language: str = "",
) -> Completion | None:
    """Complete `text` at a 0-based LSP position (UTF-16), greedily; None when nothing belongs there.

    Positions past the end of a line or of the text are clamped. The language is
    `language`, else that of `path`. Offsets in the result count characters of `text`.
    """
    document = Document("", text, language=language or language_of(path, ""), path=path)
    return complete_document(document, document.offset(line, character), engine, Settings(deadline_ms=0)).completion


def _question(document: Document, offset: int, engine: Engine, settings: Settings) -> tuple[Context, Prompt | None]:
    """What to ask the model at `offset`; no prompt where nothing belongs."""
    room = prompt.room(engine, settings)
    context = build_context(document, offset, budget=prompt.characters(room))
    if context.mode is Mode.NONE:
        return context, None
    return context, prompt.render(context, prompt.template_for(engine.tokenizer), engine.tokenizer, room)


@dataclass
class _Said:
    """Hears each run of tokens while it is decoded, and tells those who listen what the answer says by then."""

    rule: postprocess.Stop
    finished: Callable[[Generation, postprocess.Cut | None], Completion | Reason]
    laps: Laps
    on_commit: OnCommit | None
    on_text: OnText | None
    ids: list[int] = field(default_factory=list)

    def __call__(self, run: list[int]) -> None:
        if not self.ids:
            self.laps.lap("prefill")
        self.ids.extend(run)
        if self.on_commit is not None:
            self.on_commit(run)
        if self.on_text is not None:
            self.on_text(self.rule.text, self.closed_lines)

    def closed_lines(self) -> Completion | None:
        """What there is, as far as its lines are complete and closed."""
        part = self.finished(Generation(list(self.ids), "length"), postprocess.closed_lines)
        return part if isinstance(part, Completion) else None


def _params(params: SamplingParams | None, settings: Settings, mode: Mode, stop_ids: tuple[int, ...]) -> SamplingParams:
    if params is not None:
        return replace(params, stop_ids=params.stop_ids + stop_ids)
    longest = settings.single_line_tokens if mode is Mode.SINGLE_LINE else settings.multi_line_tokens
    return SamplingParams(max_new_tokens=longest, strategy=settings.strategy, stop_ids=stop_ids)
