"""From committed tokens to a `Completion`: when to stop decoding, and what to make of the answer.

`Stop` cuts inside the decode loop, at whole tokens, as soon as a committed line shows
that the block has ended. `finish` cuts to the character and applies the filters. Texts
in here end their lines with `\\n`; `finish` restores the document's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pass_lsp.domain import Completion, Context, Generation, Prompt
from pass_lsp.postprocess.broken import breaks
from pass_lsp.postprocess.cycle import cycle_in
from pass_lsp.postprocess.deadline import Deadline, closed_lines, closed_part, whole_words
from pass_lsp.postprocess.filters import FILTERS
from pass_lsp.postprocess.frame import Decoded, Frame, special_tokens
from pass_lsp.postprocess.overlap import overlap
from pass_lsp.postprocess.stop import Stop
from pass_lsp.reasons import Reason

__all__ = ["Cut", "Deadline", "Stop", "closed_lines", "closed_part", "finish", "whole_words"]

Cut = Callable[[str, Frame], str]
"""What to keep of a text that was cut off: `closed_part` or `closed_lines` by time, `whole_words` by length."""


def finish(
    generation: Generation,
    context: Context,
    prompt: Prompt,
    tokenizer: Any,
    offset: int,
    errors: Callable[[str | None, int], int] | None = None,
    cut: Cut | None = None,
) -> Completion | Reason:
    """The completion to show at `offset`, or the reason why none is left; see `Frame` for `errors`."""
    text = _before_markers(_text(generation, prompt, tokenizer), tokenizer)
    if generation.finish in ("eos", "stop") and text.strip():
        # Its last line is complete: nothing more was coming.
        text += "\n"
    frame = Frame.of(context, errors).begun(text)
    if cut is not None and not (text := cut(text, frame)) and cut is not whole_words:
        return Reason.DEADLINE
    for apply, reason in FILTERS:
        if not text.strip():
            return Reason.EMPTY
        text = apply(text, frame)
        if not text.strip():
            return reason
    replaced = overlap(text, frame)
    if text == context.line_suffix[:replaced]:
        return Reason.EMPTY
    if generation.finish in ("eos", "stop") and breaks(text, replaced, frame):
        return Reason.BROKEN
    crlf = "\r\n" in context.prefix or "\r\n" in context.suffix
    text = text.replace("\n", "\r\n") if crlf else text
    return Completion(text, offset, offset + replaced, generation, generation.log_prob)


def _text(generation: Generation, prompt: Prompt, tokenizer: Any) -> str:
    """The answer up to a special token, a cycle, or bytes that are no text."""
    special = frozenset((*special_tokens(tokenizer), *prompt.stop_ids))
    decoded = Decoded(tokenizer, prompt)
    for token in generation.token_ids:
        if token in special:
            break
        decoded.push(token)
    keep = cycle_in(decoded, getattr(tokenizer, "ids_per_token", 1), generation.finish == "length")
    text = decoded.text if keep is None else decoded.text[: decoded.ends[keep - 1]]
    return text.replace("\r\n", "\n").partition("\ufffd")[0]


def _before_markers(text: str, tokenizer: Any) -> str:
    """The text before anything that spells a special token or a FIM marker."""
    marks = [mark for mark in special_tokens(tokenizer).values() if len(mark) > 2]
    found = re.search("|".join([*map(re.escape, marks), r"<[|｜]?fim[-_▁]\w+[|｜]?>"]), text)
    return text[: found.start()] if found else text
