"""The product, top to bottom: one room a line. Read this first.

    Document → context → Context → prompt → Prompt → engine → Generation → postprocess → Completion

Knows every noun and no framework: `server/` and `cli/` call it, it calls the rooms below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from os import PathLike, fspath

from pass_lsp import prompt
from pass_lsp.answer import Answer, OnText
from pass_lsp.config import Settings
from pass_lsp.context import build_context, errors_in, prepare
from pass_lsp.documents.document import Document
from pass_lsp.documents.languages import language_of
from pass_lsp.documents.workspace import Workspace
from pass_lsp.domain import (
    Branch,
    CancelToken,
    Completion,
    Context,
    Engine,
    Generation,
    Judged,
    Mode,
    OnCommit,
    Prompt,
    SamplingParams,
)
from pass_lsp.errors import EngineError, PromptError
from pass_lsp.metrics.laps import Laps
from pass_lsp.reasons import Reason

SELF_TEST = "def add(a, b):\n    return \n"
_DENSITIES = prompt.Densities()


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
    least_log_prob: float | None = None,
) -> Outcome:
    """Complete `document` at `offset` (characters); nothing that the text contains makes it fail.

    `params` default to greedy decoding with the lengths and the strategy of `settings`. When the
    deadline of `settings` passes (0: none), the best closed part of what is decoded is the answer;
    where nothing is closed yet, what closes first, until `manual_deadline_ms` at the latest.
    `workspace` is what else may help. An answer whose first tokens together have less than
    `least_log_prob` ends there and is not shown (None: how sure the model is is not looked at).
    """
    laps, engine = Laps(), _of_document(engine, document, workspace)
    offset = _in_text(document, offset)
    # Lengths that are given bound a single line, too.
    settings = settings if params is None else replace(settings, single_line_tokens=params.max_new_tokens)
    context, question = _question(document, offset, engine, settings, workspace)
    laps.lap("context")
    if question is None:
        return Outcome(reason=context.reason, taken_ms=laps.taken)
    wanted = _params(params, settings, context.mode, question.stop_ids)
    judged = wanted if least_log_prob is None else Judged.of(wanted, least_log_prob)
    errors = errors_in(document, offset, context)
    parts = (prompt.tokenizer_of(engine), context, question, offset, settings, errors, laps)
    answer = Answer(*parts, on_commit, on_text, least_log_prob)
    generation = _decoded(engine, answer, judged, cancel)
    if answer.ask_otherwise(generation):
        generation = _decoded(engine, answer, judged, cancel)
    generation = _with_block(engine, answer, generation, wanted, cancel)
    laps.lap("decode" if answer.ids else "prefill")
    made = answer.completion(generation)
    laps.lap("postprocess")
    if isinstance(made, Completion):
        return Outcome(made, None, generation, laps.taken)
    return Outcome(None, made, generation, laps.taken)


def self_test(engine: Engine) -> str:
    """What is wrong with how this model is asked, in one sentence; "" if nothing is. Costs one short answer."""
    template = prompt.template_of(engine)
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


def prepare_workspace(
    workspace: Workspace, engine: Engine, settings: Settings = Settings(), cancel: CancelToken | None = None
) -> None:
    """Read ahead of all requests what is open beside a document, if the model is shown other files at all."""
    if _sources(engine, settings):
        prepare(workspace, lambda: cancel is not None and cancel.cancelled)


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
    laps, engine, found = Laps(), _of_document(engine, document, workspace), [first]
    offset = _in_text(document, offset)
    context, question = _question(document, offset, engine, settings, workspace)
    if question is None:
        return []
    params = replace(_params(None, settings, Mode.MULTI_LINE, question.stop_ids), temperature=0.7, top_p=0.95)
    errors, seeds = errors_in(document, offset, context), iter(range(1, 2 * settings.alternatives))
    while (missing := settings.alternatives - len(found)) > 0:
        left_ms = settings.deadline_ms and int(settings.deadline_ms - laps.total_ms())
        batch = list(islice(seeds, missing if hasattr(engine, "sample") else 1))
        if not batch or (settings.deadline_ms and left_ms <= 0):
            break
        parts = (prompt.tokenizer_of(engine), context, question, offset, replace(settings, deadline_ms=left_ms), errors)
        try:
            made = _sampled(engine, {seed: Answer(*parts) for seed in batch}, params, cancel)
        except EngineError:  # it went away: what there is by now is good
            break
        if Reason.CANCELLED in made:
            break
        found += [each for each in dict.fromkeys(made) if isinstance(each, Completion) and each not in found]
    return found[1:]


def complete(
    text: str, line: int, character: int, *, engine: Engine, path: str | PathLike[str] = "", language: str = ""
) -> Completion | None:
    """Complete `text` at a 0-based LSP position (UTF-16), greedily; None when nothing belongs there.

    Positions past the end of a line or of the text are clamped. The language is
    `language`, else that of `path`. Offsets in the result count characters of `text`.
    """
    path, settings = fspath(path), Settings(deadline_ms=0)
    document = Document("", text, language=language or language_of(path, ""), path=path)
    offset = document.offset(line, character)
    try:
        return complete_document(document, offset, engine, settings).completion
    except PromptError as error:
        if not error.longest:
            raise
        # What somebody put around an engine need not tell how long a prompt may be; the engine does.
        shorter = replace(settings, prompt_tokens=prompt.beside_answer(error.longest, settings))
        return complete_document(document, offset, engine, shorter).completion


def _of_document(engine: Engine, document: Document, workspace: Workspace) -> Engine:
    """The engine as one document's: one that serves many keeps a document together with its cache."""
    session = getattr(engine, "session", None)
    return session(*workspace.roots, document.uri) if session is not None else engine


def _in_text(document: Document, offset: int) -> int:
    """Into the text, and out of the middle of a line end: the answer's offsets are counted from here."""
    return document.offset(*document.position(offset, "utf-32"), "utf-32")


def _sources(engine: Engine, settings: Settings) -> tuple[str, ...]:
    """The ways to find what helps in other files; none for a model that was trained on one file at a time."""
    return settings.sources if prompt.template_of(engine).files else ()


def _question(
    document: Document, offset: int, engine: Engine, settings: Settings, workspace: Workspace = Workspace()
) -> tuple[Context, Prompt | None]:
    """What to ask the model at `offset`; no prompt where nothing belongs."""
    room, template = prompt.room(engine, settings), prompt.template_of(engine)

    def ask(budget: int) -> tuple[Context, Prompt | None]:
        context = build_context(
            document,
            offset,
            budget=budget,
            workspace=workspace,
            sources=_sources(engine, settings),
            in_comments=settings.in_comments,
        )
        if context.mode is Mode.NONE:
            return context, None
        shown = context if "path" in settings.sources else replace(context, path="")
        return context, prompt.render(shown, template, prompt.tokenizer_of(engine), room, heal=settings.token_healing)

    return _DENSITIES.fitting(document.uri, prompt.characters(room, template), ask)


def _decoded(
    engine: Engine, answer: Answer, params: SamplingParams, cancel: CancelToken | None, behind: Sequence[int] = ()
) -> Generation:
    """What the engine says to the answer's question, with the ids `behind` at its end; `answer` hears it."""
    prompt_ids = (*answer.question.token_ids, *behind)
    return engine.generate(prompt_ids, params, cancel=cancel, on_commit=answer, stop=answer.stop)


def _with_block(
    engine: Engine, answer: Answer, generation: Generation, params: SamplingParams, cancel: CancelToken | None
) -> Generation:
    """`generation`, and the block of a header that it ends behind; once more where that ends behind another."""
    while begun := answer.ask_for_block(generation):
        said = (*generation.token_ids, *begun)
        spent = len(said) // getattr(prompt.tokenizer_of(engine), "ids_per_token", 1)
        left = replace(params, max_new_tokens=max(0, params.max_new_tokens - spent))
        generation = generation.followed_by(begun, _decoded(engine, answer, left, cancel, said))
    return generation


def _sampled(
    engine: Engine, asked: Mapping[int, Answer], params: SamplingParams, cancel: CancelToken | None
) -> list[Completion | Reason]:
    """The answer for each seed; all of them are decoded together where the engine can."""
    made: dict[int, Completion | Reason] = {}
    while asked:
        prompt_ids = next(iter(asked.values())).question.token_ids
        branches = [Branch(seed, answer.stop, answer) for seed, answer in asked.items()]
        generations = dict(zip(asked, _generations(engine, prompt_ids, params, branches, cancel), strict=True))
        otherwise = {seed: answer for seed, answer in asked.items() if answer.ask_otherwise(generations[seed])}
        for seed, answer in asked.items():
            if seed not in otherwise:
                own = replace(params, seed=seed)
                made[seed] = answer.completion(_with_block(engine, answer, generations[seed], own, cancel))
        asked = otherwise
    return [made[seed] for seed in sorted(made)]


def _generations(
    engine: Engine,
    prompt_ids: tuple[int, ...],
    params: SamplingParams,
    branches: list[Branch],
    cancel: CancelToken | None,
) -> list[Generation]:
    sample = getattr(engine, "sample", None)
    if sample is not None:
        return sample(prompt_ids, params, branches, cancel=cancel)
    return [
        engine.generate(prompt_ids, replace(params, seed=b.seed), cancel=cancel, on_commit=b.on_commit, stop=b.stop)
        for b in branches
    ]


def _params(params: SamplingParams | None, settings: Settings, mode: Mode, stop_ids: tuple[int, ...]) -> SamplingParams:
    if params is not None:
        return replace(params, stop_ids=params.stop_ids + stop_ids)
    longest = settings.multi_line_tokens
    if mode is Mode.SINGLE_LINE:  # a line that begins a block goes on; any other ends by the stop rule, which wants one
        longest = max(longest, settings.single_line_tokens) if settings.single_line_tokens else 0
    return SamplingParams(max_new_tokens=longest, strategy=settings.strategy, stop_ids=stop_ids)
