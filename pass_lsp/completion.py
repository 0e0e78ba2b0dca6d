"""The product, top to bottom: one room a line. Read this first.

    Document → context → Context → prompt → Prompt → engine → Generation → postprocess → Completion

Knows every noun and no framework: `server/` and `cli/` call it, it calls the rooms below.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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

SELF_TEST = "def add(a, b):\n    return \n"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A completion, or the reason why there is none."""

    completion: Completion | None = None
    reason: Reason | None = None


def complete_document(
    document: Document,
    offset: int,
    engine: Engine,
    settings: Settings = Settings(),
    params: SamplingParams | None = None,
    cancel: CancelToken | None = None,
    on_commit: OnCommit | None = None,
    workspace: Workspace = Workspace(),
) -> Outcome:
    """Complete `document` at `offset` (characters); nothing that the text contains makes it fail.

    `params` default to greedy decoding with the lengths and the strategy of `settings`. When
    the deadline of `settings` passes (0: none), what is decoded by then is finished as usual.
    `workspace` is what else may help.
    """
    # Into the text, and out of the middle of a line end: the answer's offsets are counted from here.
    offset = document.offset(*document.position(offset, "utf-32"), "utf-32")
    room = prompt.room(engine, settings)
    template = prompt.template_for(engine.tokenizer)
    sources = settings.sources if template.files else ()
    context = build_context(
        document,
        offset,
        budget=prompt.characters(room, template),
        workspace=workspace,
        sources=sources,
        in_comments=settings.in_comments,
    )
    if context.mode is Mode.NONE:
        return Outcome(reason=context.reason)
    if "path" not in settings.sources:
        context = replace(context, path="")
    question = prompt.render(context, template, engine.tokenizer, room, heal=settings.token_healing)
    wanted = _params(params, settings, context.mode, question.stop_ids)
    generation, question, late = _generated(engine, context, question, wanted, settings.deadline_ms, cancel, on_commit)
    if generation.finish == "cancelled":
        return Outcome(reason=Reason.CANCELLED)
    errors = errors_in(document, offset, context)
    answer = postprocess.finish(generation, context, question, engine.tokenizer, offset, errors)
    if isinstance(answer, Completion):
        return Outcome(answer)
    return Outcome(reason=Reason.DEADLINE if late and answer is Reason.EMPTY else answer)


def _generated(
    engine: Engine,
    context: Context,
    question: Prompt,
    params: SamplingParams,
    deadline_ms: int,
    cancel: CancelToken | None,
    on_commit: OnCommit | None,
) -> tuple[Generation, Prompt, bool]:
    """What the engine says, the prompt that it says it to, and whether the deadline cut it short.

    A prompt that ends in half a token may be asked twice.
    """
    rule = postprocess.Stop(context, question, engine.tokenizer)
    stop = postprocess.Deadline(rule, deadline_ms)
    shown = on_commit and prompt.Unhealed(question, engine.tokenizer, on_commit)
    generation = engine.generate(question.token_ids, params, cancel=cancel, on_commit=shown, stop=stop)
    whole = question.otherwise
    if whole and not rule.healed and not stop.passed and generation.finish != "cancelled":
        # The model would rather end the word that was begun.
        stop.stop = postprocess.Stop(context, whole, engine.tokenizer)
        generation = engine.generate(whole.token_ids, params, cancel=cancel, on_commit=on_commit, stop=stop)
        question = whole
    return (replace(generation, finish="length") if stop.passed else generation), question, stop.passed


def self_test(engine: Engine) -> str:
    """What is wrong with how this model is asked, in one sentence; "" if nothing is. Costs one short answer."""
    template, tokenizer = prompt.template_for(engine.tokenizer), engine.tokenizer
    context = build_context(Document("", SELF_TEST, language="python", path="add.py"), len(SELF_TEST) - 1, budget=1000)
    question = prompt.render(context, template, tokenizer, prompt.room(engine, Settings()))
    answer = engine.generate(question.token_ids, SamplingParams(max_new_tokens=8, strategy="autoregressive"))
    if template.special_ids.isdisjoint(answer.token_ids[:2]):
        return ""
    return (
        f"The model answers with markers of its prompt, so the template {template.name!r} does not fit it; "
        "use a base model, or one made for filling in the middle."
    )


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


def _params(params: SamplingParams | None, settings: Settings, mode: Mode, stop_ids: tuple[int, ...]) -> SamplingParams:
    if params is not None:
        return replace(params, stop_ids=params.stop_ids + stop_ids)
    longest = settings.single_line_tokens if mode is Mode.SINGLE_LINE else settings.multi_line_tokens
    return SamplingParams(max_new_tokens=longest, strategy=settings.strategy, stop_ids=stop_ids)
