"""The product, top to bottom: one room a line. Read this first.

    Document → context → Context → prompt → Prompt → engine → Generation → postprocess → Completion

Knows every noun and no framework: `server/` and `cli/` call it, it calls the rooms below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pass_lsp import postprocess, prompt
from pass_lsp.config import Settings
from pass_lsp.context import build_context, errors_in
from pass_lsp.documents.document import Document
from pass_lsp.documents.languages import language_of
from pass_lsp.documents.workspace import Workspace
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
from pass_lsp.errors import EngineError
from pass_lsp.metrics.laps import Laps

SELF_TEST = "def add(a, b):\n    return \n"

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
    workspace: Workspace = Workspace(),
) -> Outcome:
    """Complete `document` at `offset` (characters); nothing that the text contains makes it fail.

    `params` default to greedy decoding with the lengths and the strategy of `settings`. When the
    deadline of `settings` passes (0: none), the best closed part of what is decoded is the answer;
    where nothing is closed yet, what closes first, until `manual_deadline_ms` at the latest.
    `workspace` is what else may help.
    """
    laps, engine = Laps(), _of_document(engine, document, workspace)
    # Into the text, and out of the middle of a line end: the answer's offsets are counted from here.
    offset = document.offset(*document.position(offset, "utf-32"), "utf-32")
    context, question = _question(document, offset, engine, settings, workspace)
    laps.lap("context")
    if question is None:
        return Outcome(reason=context.reason, taken_ms=laps.taken)
    wanted = _params(params, settings, context.mode, question.stop_ids)
    errors = errors_in(document, offset, context)
    said = _Said(engine.tokenizer, context, question, offset, errors, laps, on_commit, on_text)
    stop = postprocess.Deadline(said.rule, settings.deadline_ms, settings.manual_deadline_ms)
    generation = engine.generate(question.token_ids, wanted, cancel=cancel, on_commit=said, stop=stop)
    if question.otherwise and not (said.rule.healed or stop.passed or generation.finish == "cancelled"):
        # The model would rather end the word that was begun: it gets the prompt as it stands.
        said = replace(said, question=question.otherwise)
        stop.stop = said.rule
        generation = engine.generate(said.question.token_ids, wanted, cancel=cancel, on_commit=said, stop=stop)
    laps.lap("decode" if said.ids else "prefill")
    if generation.finish == "cancelled":
        return Outcome(None, Reason.CANCELLED, generation, laps.taken)
    if stop.passed:
        generation = replace(generation, finish="length")
    answer = said.finished(generation, postprocess.closed_part if stop.passed else None)
    laps.lap("postprocess")
    if isinstance(answer, Completion):
        return Outcome(answer, None, generation, laps.taken)
    return Outcome(None, answer, generation, laps.taken)


def self_test(engine: Engine) -> str:
    """What is wrong with how this model is asked, in one sentence; "" if nothing is. Costs one short answer."""
    template = prompt.template_for(engine.tokenizer)
    document = Document("", SELF_TEST, language="python", path="add.py")
    _, question = _question(document, len(SELF_TEST) - 1, engine, Settings(token_healing=False))
    if question is None:
        return ""
    answer = engine.generate(question.token_ids, SamplingParams(max_new_tokens=8, strategy="autoregressive"))
    if template.special_ids.isdisjoint(answer.token_ids[:2]):
        return ""
    return (
        f"The model answers with markers of its prompt, so the template {template.name!r} does not fit it; "
        "use a base model, or one made for filling in the middle."
    )


def prefill_document(
    document: Document,
    offset: int,
    engine: Engine,
    settings: Settings = Settings(),
    cancel: CancelToken | None = None,
    workspace: Workspace = Workspace(),
) -> Generation | None:
    """Have the engine read what a request at `offset` would ask, so that the request pays for decoding alone."""
    engine = _of_document(engine, document, workspace)
    _, question = _question(document, offset, engine, settings, workspace)
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
    workspace: Workspace = Workspace(),
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
        params = replace(sampled, seed=seed)
        try:
            outcome = complete_document(document, offset, engine, hurried, params, cancel, workspace=workspace)
        except EngineError:  # it went away: what there is by now is good
            break
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


def _of_document(engine: Engine, document: Document, workspace: Workspace) -> Engine:
    """The engine as one document's: one that serves many keeps a document together with its cache."""
    session = getattr(engine, "session", None)
    return session(*workspace.roots, document.uri) if session is not None else engine


def _question(
    document: Document, offset: int, engine: Engine, settings: Settings, workspace: Workspace = Workspace()
) -> tuple[Context, Prompt | None]:
    """What to ask the model at `offset`; no prompt where nothing belongs."""
    room, template = prompt.room(engine, settings), prompt.template_for(engine.tokenizer)
    context = build_context(
        document,
        offset,
        budget=prompt.characters(room, template),
        workspace=workspace,
        sources=settings.sources if template.files else (),
        in_comments=settings.in_comments,
    )
    if context.mode is Mode.NONE:
        return context, None
    shown = context if "path" in settings.sources else replace(context, path="")
    return context, prompt.render(shown, template, engine.tokenizer, room, heal=settings.token_healing)


@dataclass
class _Said:
    """Hears each run of tokens while it is decoded, and tells those who listen what the answer says by then."""

    tokenizer: Any
    context: Context
    question: Prompt
    offset: int
    errors: Callable[[str, int], int] | None
    laps: Laps
    on_commit: OnCommit | None
    on_text: OnText | None

    def __post_init__(self) -> None:
        self.ids: list[int] = []
        self.rule = postprocess.Stop(self.context, self.question, self.tokenizer)
        self._commit = self.on_commit and prompt.Unhealed(self.question, self.tokenizer, self.on_commit)

    def __call__(self, run: list[int]) -> None:
        if not self.ids:
            self.laps.lap("prefill")
        self.ids.extend(run)
        if self._commit is not None:
            self._commit(run)
        if self.on_text is not None and self.rule.healed:
            self.on_text(self.rule.text, self.closed_lines)

    def finished(self, generation: Generation, cut: postprocess.Cut | None) -> Completion | Reason:
        """What to make of the answer, or of what there is of it."""
        parts = (self.context, self.question, self.tokenizer, self.offset, self.errors, cut)
        return postprocess.finish(generation, *parts)

    def closed_lines(self) -> Completion | None:
        """What there is, as far as its lines are complete and closed."""
        part = self.finished(Generation(list(self.ids), "length"), postprocess.closed_lines)
        return part if isinstance(part, Completion) else None


def _params(params: SamplingParams | None, settings: Settings, mode: Mode, stop_ids: tuple[int, ...]) -> SamplingParams:
    if params is not None:
        return replace(params, stop_ids=params.stop_ids + stop_ids)
    longest = settings.single_line_tokens if mode is Mode.SINGLE_LINE else settings.multi_line_tokens
    return SamplingParams(max_new_tokens=longest, strategy=settings.strategy, stop_ids=stop_ids)
