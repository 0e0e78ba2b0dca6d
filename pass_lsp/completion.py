"""The product, top to bottom: one room a line. Read this first.

    Document → context → Context → prompt → Prompt → engine → Generation → postprocess → Completion

Knows every noun and no framework: `server/` and `cli/` call it, it calls the rooms below.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pass_lsp import postprocess, prompt
from pass_lsp.config import Settings
from pass_lsp.context import build_context
from pass_lsp.documents.document import Document
from pass_lsp.documents.languages import language_of
from pass_lsp.domain import CancelToken, Completion, Engine, Mode, OnCommit, Reason, SamplingParams


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
) -> Outcome:
    """Complete `document` at `offset` (characters); nothing that the text contains makes it fail.

    `params` default to greedy decoding with the lengths and the strategy of `settings`. When
    the deadline of `settings` passes (0: none), what is decoded by then is finished as usual.
    """
    # Into the text, and out of the middle of a line end: the answer's offsets are counted from here.
    offset = document.offset(*document.position(offset, "utf-32"), "utf-32")
    room = prompt.room(engine, settings)
    template = prompt.template_for(engine.tokenizer)
    context = build_context(document, offset, budget=prompt.characters(room, template))
    if context.mode is Mode.NONE:
        return Outcome(reason=context.reason)
    question = prompt.render(context, template, engine.tokenizer, room)
    wanted = _params(params, settings, context.mode, question.stop_ids)
    stop = postprocess.Deadline(postprocess.Stop(context, question, engine.tokenizer), settings.deadline_ms)
    generation = engine.generate(question.token_ids, wanted, cancel=cancel, on_commit=on_commit, stop=stop)
    if generation.finish == "cancelled":
        return Outcome(reason=Reason.CANCELLED)
    if stop.passed:
        generation = replace(generation, finish="length")
    answer = postprocess.finish(generation, context, question, engine.tokenizer, offset)
    return Outcome(answer) if isinstance(answer, Completion) else Outcome(reason=answer)


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
