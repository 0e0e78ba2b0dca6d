"""What each kind of server is sent and what it sends, as data: a server gets only members that it knows.

`sends` maps the members of the body (dots nest) to names of `values_of`; a value of None is left out.
`judged` are members besides, for an answer that is to be judged. `text`, `finish` and `log_probs` are the ways to
them in an event, `log_prob` that to the number in each of the last. Sources: the servers' own documentation
and request types.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pass_lsp.domain import Finish

Way = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Adapter:
    """One kind of server; `infills` says that it spells the prompt itself."""

    name: str
    path: str
    sends: Mapping[str, str]
    fixed: Mapping[str, Any] = field(default_factory=lambda: {"stream": True})
    text: Way = ("choices", 0, "text")
    finish: Way = ("choices", 0, "finish_reason")
    tokens: Way = ()
    judged: Mapping[str, Any] = field(default_factory=dict)
    log_probs: Way = ()
    log_prob: Way = ()
    infills: bool = False

    def body(self, values: Mapping[str, Any], judged: bool = False) -> dict[str, Any]:
        """The request."""
        body: dict[str, Any] = {**self.fixed, **(self.judged if judged else {})}
        for member, name in self.sends.items():
            value = values[name]
            if value is not None:
                *way, last = member.split(".")
                inner = body
                for step in way:
                    inner = inner.setdefault(step, {})
                inner[last] = value
        return body

    def heard(self, event: Mapping[str, Any]) -> tuple[str, Finish | None]:
        """The piece of text in an event, and whether the answer is over with it."""
        text, finish = _at(event, self.text), _at(event, self.finish)
        over: Finish | None = None
        if finish is True:
            finish = event.get("stop_type") or event.get("done_reason") or "stop"
        if isinstance(finish, str) and finish:
            over = "length" if finish in ("length", "limit") else "eos"
        return text if isinstance(text, str) else "", over

    def ids(self, event: Mapping[str, Any]) -> list[int] | None:
        """The ids in an event, None of a server that gives text alone."""
        found = _at(event, self.tokens) if self.tokens else None
        return [i for i in found if isinstance(i, int) and 0 <= i < _IDS] if isinstance(found, list) else None

    def sure(self, event: Mapping[str, Any]) -> list[float]:
        """How probable the tokens of an event were, in nats; nothing where the server does not tell."""
        found = _at(event, self.log_probs) if self.log_probs else None
        told = [_at(each, self.log_prob) for each in found] if isinstance(found, list) else []
        return [float(each) for each in told if isinstance(each, (int, float)) and _LEAST <= each <= 0]


_IDS = 1 << 31
"""No vocabulary has so many; tokenizers take no larger numbers."""
_LEAST = -1e9
"""What is less is no log-probability, and may be more than a float holds."""


def _at(value: Any, way: Way) -> Any:
    for step in way:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


_OPENAI = {
    "model": "model",
    "prompt": "prompt",
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "stop": "stop",
}
_LLAMA = {
    "model": "model",
    "n_predict": "max_tokens",
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "seed": "seed",
    "stop": "stop",
}
_OLLAMA = {
    "model": "model",
    "options.num_predict": "max_tokens",
    "options.temperature": "temperature",
    "options.top_k": "top_k",
    "options.top_p": "top_p",
    "options.seed": "seed",
    "options.stop": "stop",
}
_OPENAI_LOG_PROBS: Way = ("choices", 0, "logprobs", "token_logprobs")
_LLAMA_FIXED = {"stream": True, "cache_prompt": True, "min_p": 0.0}

OURS = Adapter(
    "pass-lsp",
    "/v1/completions",
    {key: name for key, name in _OPENAI.items() if key != "stop"}
    | {"prompt": "ids", "top_k": "top_k", "stop_token_ids": "stop_ids", "strategy": "strategy"}
    | {"fingerprint": "fingerprint"},
    tokens=("choices", 0, "token_ids"),
    judged={"logprobs": 0},
    log_probs=_OPENAI_LOG_PROBS,
)
# 0 would do for these two as well, but is no number for some of their versions.
VLLM = Adapter(
    "vllm",
    "/v1/completions",
    _OPENAI | {"top_k": "top_k_if_any"},
    judged={"logprobs": 1},
    log_probs=_OPENAI_LOG_PROBS,
)
SGLANG = replace(VLLM, name="sglang")
LM_STUDIO = Adapter("lmstudio", "/v1/completions", _OPENAI | {"top_k": "top_k_if_any"})
OPENAI = Adapter("openai", "/v1/completions", _OPENAI | {"stop": "few_stops", "top_p": "top_p_if_less"})
# Servers of unknown make, and LM Studio, may refuse to tell how probable tokens are, and then there would be no answer.
LLAMA_INFILL = Adapter(
    "llamacpp",
    "/infill",
    _LLAMA | {"input_prefix": "prefix", "input_suffix": "suffix", "input_extra": "files"},
    _LLAMA_FIXED,
    ("content",),
    ("stop",),
    judged={"n_probs": 1},
    log_probs=("completion_probabilities",),
    log_prob=("logprob",),
    infills=True,
)
LLAMA_RAW = replace(
    LLAMA_INFILL, name="llamacpp-raw", path="/completion", sends=_LLAMA | {"prompt": "prompt"}, infills=False
)
OLLAMA = Adapter(
    "ollama",
    "/api/generate",
    _OLLAMA | {"prompt": "prompt"},
    {"stream": True, "raw": True},
    ("response",),
    ("done",),
    judged={"logprobs": True},
    log_probs=("logprobs",),
    log_prob=("logprob",),
)
OLLAMA_INSERT = replace(
    OLLAMA,
    name="ollama-insert",
    sends=_OLLAMA | {"prompt": "prefix", "suffix": "suffix_or_line"},
    fixed={"stream": True},
    infills=True,
)
ADAPTERS = {
    adapter.name: adapter
    for adapter in (OURS, VLLM, SGLANG, LM_STUDIO, LLAMA_INFILL, LLAMA_RAW, OLLAMA, OLLAMA_INSERT, OPENAI)
}
