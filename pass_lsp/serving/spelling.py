"""A request's prompt as ids of the model, and what a client needs to make such ids itself."""

from __future__ import annotations

import json
from typing import Any

from pass_lsp.domain import Context, Engine, Mode
from pass_lsp.errors import PromptError
from pass_lsp.prompt import render, template_of, tokenizer_of
from pass_lsp.prompt.families import SUFFIX
from pass_lsp.prompt.template import encode
from pass_lsp.serving.wire import MODEL_ID, Ask, Refused

_A_TOKEN = 32
"""Characters that no token of code holds on average."""


def context_length(engine: Engine) -> int:
    """Of the model, in tokens; 0 where it has none."""
    return getattr(engine, "context_length", 0)


def spelled(engine: Engine, ask: Ask, longest: int) -> list[int]:
    """Ids for the request's prompt; its answer has at most `longest` tokens. Raises `Refused`."""
    length = context_length(engine)
    if isinstance(ask.prompt, list):
        ids = ask.prompt
        if ask.suffix:
            raise Refused(400, "A suffix goes with a text; give the prompt as one, or both as ids.", param="suffix")
    else:
        template, tokenizer = template_of(engine), tokenizer_of(engine)
        fills_in = SUFFIX in template.family.layout
        if ask.suffix and not fills_in:
            raise Refused(400, "This model cannot fill in; leave the suffix out.", param="suffix")
        if ask.suffix is not None and fills_in:
            room = max(length - min(ask.max_tokens, longest), length // 2) if length else 2**20
            near = room * _A_TOKEN  # what is further away is cut anyway, and a MiB takes seconds to cut
            context = Context(ask.prompt[-near:], ask.suffix[:near], Mode.MULTI_LINE)
            ids = list(render(context, template, tokenizer, room).token_ids)
        elif length and len(ask.prompt) > length * _A_TOKEN:
            raise Refused(400, f"The prompt is longer than the model's context {length}; shorten it.", param="prompt")
        else:
            ids = [*template.bos, *encode(tokenizer, template, ask.prompt)]
    if not ids:
        raise Refused(400, "The prompt is empty; give at least one token.", param="prompt")
    if length and len(ids) > length:
        raise Refused(
            400, f"The prompt has {len(ids)} tokens and the model's context {length}; shorten it.", param="prompt"
        )
    if not 0 <= min(ids) <= max(ids) < len(tokenizer_of(engine)):
        raise Refused(400, "The prompt holds ids that the model does not know; see /v1/engine.", param="prompt")
    return ids


def described(engine: Engine) -> dict[str, Any]:
    """What `/v1/engine` tells."""
    template, backend = template_of(engine), getattr(tokenizer_of(engine), "backend_tokenizer", None)
    if backend is None:
        raise PromptError("The model's tokenizer is not a fast one, so it cannot be served; choose another model.")
    return {
        "model": MODEL_ID,
        "context_length": context_length(engine),
        "template": template.name,
        "markers": template.ids,
        "stop_token_ids": list(template.stop_ids),
        "tokenizer": json.loads(backend.to_str()),
        "log_probs": True,
        "lookahead": getattr(engine, "lookahead", True) is not None,
    }
