"""What goes over the wire, the same from one process and from a cluster.

    GET  /health          200 when the model is loaded, 503 with Retry-After until then; no token
    GET  /metrics         Prometheus text
    GET  /v1/models       OpenAI's list with one model, id `embedded`
    GET  /v1/engine       what a client needs to make prompts itself: `model`, `context_length`,
                          `template` (the FIM family's name), `markers` (its ids), `stop_token_ids`,
                          `tokenizer` (tokenizer.json as an object), `log_probs` (true: it can tell them),
                          `lookahead` (false: it has no artifact and refuses the strategy `pass`),
                          `fingerprint` (of all that)
    POST /v1/completions  OpenAI's, as below

Body: `prompt` is a text or a list of token ids, or a list of one such; with `suffix` (a text) the prompt is a text and
both are spelled in the model's own fill-in-the-middle template. `max_tokens` 16, `temperature` 0 (greedy), `top_p` 1,
`top_k` 0, `seed` 0, `stop` (up to 16 texts), `stop_token_ids`, `strategy`, `stream`. With the `fingerprint` of
`/v1/engine` ids are refused that were made for another model, served before. Members that change nothing here
are ignored; `n`, `best_of`, `echo` and `logprobs` are refused where they ask for what there is not (`logprobs` 0 is of
the tokens alone, without others that might have been). The ends of the template always end an answer.

Header `x-session-id` names a document: its requests take their turn as one, and on a cluster go to the replica that
holds its keys and values. All requests without it count as those of one who asks: in a full queue the last request of
whoever has most there gives way (429). Closing the connection ends the decode within one forward.

Answer: OpenAI's `text_completion`, or with `stream` server-sent events of it and `data: [DONE]`. In both
`choices[0]` carries `token_ids` beside `text`: the ids committed, without the one that ended the answer. `text` is
behind the ids where a character or a stop text is not complete. With `logprobs` 0, `logprobs.token_logprobs` has one
number for each of the ids, by the model's own law at temperature 1. The last event has `finish_reason` (`stop`,
`length`) and `pass_lsp`: `finish`, `forwards`, `drafted`, `accepted`, `cached_tokens`, `prefilled_tokens`.

Errors are `{"error": {"message", "type", "param", "code"}}`: 400 malformed, 401 token, 403 Origin or Host, 404, 405,
408 a body that does not come, 409 another fingerprint, 413 too large, 429 queue full, 500, 503 loading or stuck (this
and 429 with Retry-After). A failure in mid-stream is such an event.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from pass_lsp.domain import Generation, Judged, SamplingParams, Strategy
from pass_lsp.errors import PassLspError

MODEL_ID = "embedded"
SESSION_HEADER = "x-session-id"
_WORD = 2**63


class Refused(PassLspError):
    """A request that is not served: the status, why, and in how many seconds to ask again (0: never)."""

    def __init__(self, status: int, message: str, *, param: str | None = None, retry_s: int = 0) -> None:
        super().__init__(message)
        self.status, self.param, self.retry_s = status, param, retry_s


# Of a long list that holds no ids the first is enough: an error for each takes a second.
_Ids = Annotated[list[int], Field(fail_fast=True)]
_StopText = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class Ask(BaseModel):
    """The body of a completion request, checked; a description is what an error names as the remedy."""

    model_config = ConfigDict(strict=True, extra="ignore")

    prompt: Annotated[str | _Ids, Field(description="one text or one list of token ids")]
    suffix: str | None = None
    max_tokens: Annotated[int, Field(ge=0)] = 16
    temperature: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=-1, lt=_WORD)] = 0
    seed: Annotated[int, Field(ge=-_WORD, lt=_WORD)] = 0
    stop: Annotated[list[_StopText], Field(max_length=16, description="up to 16 texts of 1 to 256 characters")] = []
    stop_token_ids: Annotated[_Ids, Field(max_length=64, description="up to 64 token ids")] = []
    strategy: Strategy = "auto"
    stream: bool = False
    fingerprint: str = ""
    n: Annotated[int, Field(ge=1, le=1, description="1: there is one answer")] = 1
    best_of: Annotated[int, Field(ge=1, le=1, description="1: there is one answer")] = 1
    echo: Annotated[bool, Field(le=False, description="false: the prompt is not said again")] = False
    logprobs: Annotated[int | None, Field(ge=0, le=0, description="0: of the tokens alone")] = None

    @field_validator("*", mode="before")
    @classmethod
    def _given(cls, value: Any, info: Any) -> Any:
        """OpenAI's clients write null for what they leave open, one stop as a text, and one prompt in a list."""
        if info.field_name == "prompt":
            alone = isinstance(value, list) and len(value) == 1 and isinstance(value[0], (str, list))
            return value[0] if alone else value
        if value is None:
            return cls.model_fields[info.field_name].get_default()
        return [value] if info.field_name == "stop" and isinstance(value, str) else value

    def params(self, limit: int, stop_ids: tuple[int, ...]) -> SamplingParams:
        """How to decode, at most `limit` tokens; `stop_ids` end the answer too."""
        params = SamplingParams(
            max_new_tokens=min(self.max_tokens, limit),
            temperature=float(self.temperature),
            top_k=max(self.top_k, 0),
            top_p=float(self.top_p),
            seed=self.seed,
            stop_ids=(*stop_ids, *self.stop_token_ids),
            strategy=self.strategy,
        )
        return params if self.logprobs is None else Judged.of(params, log_probs=params.max_new_tokens)


def asked(body: bytes) -> Ask:
    """The request in `body`. Raises `Refused`."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "The body is not JSON; send an object with at least a prompt.") from None
    if not isinstance(found, dict):
        raise Refused(400, "The body is not a JSON object; send one with at least a prompt.")
    try:
        return Ask.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "body"
        wanted = getattr(Ask.model_fields.get(name), "description", None)
        how = f"; give {wanted}" if wanted else f": {first['msg']}"
        raise Refused(400, f"The member {name!r} cannot be used{how}.", param=name) from None


def error_body(error: Refused) -> dict[str, Any]:
    """OpenAI's shape of an error."""
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    kind = kinds.get(error.status, "invalid_request_error" if error.status < 500 else "server_error")
    return {"error": {"message": str(error), "type": kind, "param": error.param, "code": error.status}}


def chunk(
    number: str,
    created: int,
    text: str,
    token_ids: list[int],
    log_probs: list[float] | None = None,
    end: Generation | None = None,
    prompt_tokens: int = 0,
) -> dict[str, Any]:
    """One event of a stream, or with `end` the last one or the whole answer."""
    reason = None if end is None else "length" if end.finish == "length" else "stop"
    sure = None if log_probs is None else {"token_logprobs": [round(each, 4) for each in log_probs]}
    choice = {"index": 0, "text": text, "token_ids": token_ids, "logprobs": sure, "finish_reason": reason}
    event: dict[str, Any] = {
        "id": number,
        "object": "text_completion",
        "created": created,
        "model": MODEL_ID,
        "choices": [choice],
    }
    if end is not None:
        made = len(end.token_ids)
        event["usage"] = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": made,
            "total_tokens": prompt_tokens + made,
        }
        names = ("finish", "forwards", "drafted", "accepted", "cached_tokens", "prefilled_tokens")
        event["pass_lsp"] = {name: getattr(end, name) for name in names}
    return event
