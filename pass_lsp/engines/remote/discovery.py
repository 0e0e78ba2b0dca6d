"""Which server is behind an address, which model it serves, and how that wants to be asked: from its own answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import httpx2

from pass_lsp.engines.remote.adapters import (
    ADAPTERS,
    LLAMA_INFILL,
    LLAMA_RAW,
    LM_STUDIO,
    OLLAMA,
    OLLAMA_INSERT,
    OPENAI,
    OURS,
    SGLANG,
    VLLM,
    Adapter,
)
from pass_lsp.engines.remote.wire import REST_S, Address, body_of, failure, refusal
from pass_lsp.engines.vocabulary import Vocabulary
from pass_lsp.errors import ConfigError, EngineError

DISCOVERY_S = 20.0
_SILENCE_S = 4.0
_OLLAMA_CONTEXT = 4096
"""What Ollama gives a model unless it is told otherwise."""
_INFILL = "infill"
"""The template of a server that spells the prompt itself."""
_TABBY = "tabbyAPI"
_OWNERS = {
    "vllm": VLLM,
    "sglang": SGLANG,
    "llamacpp": LLAMA_INFILL,
    "library": OLLAMA,
    "organization_owner": LM_STUDIO,
    _TABBY: OPENAI,
    "llama-swap": OPENAI,
    "koboldcpp": OPENAI,
}
_READY = (None, "loaded", "sleeping")
"""The states of a model that answers at once, or of which nothing is told."""
_LOOKED_AT = 8
"""Of so many models it is asked whether they complete."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user set: the model's name there, the kind of server, the template; `auto` asks the server.

    `speller` makes a tokenizer's stand-in from a template's name (or "") and a model's.
    """

    speller: Callable[[str, str], Any]
    model: str = ""
    kind: str = "auto"
    template: str = "auto"

    def __post_init__(self) -> None:
        if self.kind != "auto" and self.kind not in ADAPTERS:
            raise ConfigError(f"Unknown engine_kind {self.kind!r}; use auto or one of {', '.join(ADAPTERS)}.")
        if self.template != "auto":
            self.speller(self.template, "")


@dataclass(frozen=True, slots=True)
class Peer:
    """A server as it was found. `context_length` counts tokens, 0 where the server does not say.

    `looks_ahead` is False of our own engine where it says that it has no look-ahead artifact; `fingerprint` is that of
    what it told, and goes with each request: ids for one model are none for another that took its place.
    """

    adapter: Adapter
    model: str
    context_length: int
    tokenizer: Any
    looks_ahead: bool = True
    fingerprint: str = ""


async def discover(client: httpx2.AsyncClient, address: Address, wishes: Wishes) -> Peer:
    """Ask a server what it is. Raises `EngineError`."""
    try:
        async with asyncio.timeout(DISCOVERY_S):
            return await _Asked(client, address, wishes).peer()
    except EngineError:
        raise
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, TimeoutError, OSError, ValueError) as error:
        raise failure(error, address) from error


class _Asked:
    """One round of questions."""

    def __init__(self, client: httpx2.AsyncClient, address: Address, wishes: Wishes) -> None:
        self.client, self.address, self.wishes = client, address, wishes
        self.moved: EngineError | None = None

    async def peer(self) -> Peer:
        kind = self.wishes.kind
        if kind in ("auto", OURS.name):
            ours = await self.get("/v1/engine")
            if isinstance(ours, dict) and "tokenizer" in ours:
                return await self.ours(ours)
            if kind == OURS.name:  # which is sent ids, and no other takes those of characters
                raise EngineError(
                    f"{self.address.shown} is no engine of pass-lsp; set engine_kind to auto.", rest_s=5 * REST_S
                )
        models = _models(await self.get("/v1/models"))
        adapter = ADAPTERS[kind] if kind != "auto" else await self.kind_of(models)
        if adapter is OLLAMA or adapter is OLLAMA_INSERT:
            return await self.ollama(adapter, models)
        if adapter is LM_STUDIO:
            models = _models(await self.get("/api/v0/models")) or models
        if any(each.get("owned_by") == _TABBY for each in models):  # it lists all that it could load
            models = [*_models({"data": [await self.get("/v1/model")]}), *models]
        model = self.chosen(models)
        if adapter is LLAMA_INFILL or adapter is LLAMA_RAW:
            return await self.llama(adapter, models, model)
        if not model:
            raise EngineError(f"{self.address.shown} serves no model; load one there.", rest_s=5 * REST_S)
        facts = next((each for each in models if each.get("id") == model), {})
        root = facts.get("root")
        named = f"{model} {root}" if isinstance(root, str) else model
        lengths = facts | (found if isinstance(found := facts.get("parameters"), dict) else {})
        names = ("max_model_len", "loaded_context_length", "max_context_length", "max_seq_len")
        return self.spelt(adapter, model, named, _number(lengths, *names))

    async def kind_of(self, models: list[dict[str, Any]]) -> Adapter:
        """By who owns the models, else by the routes that only one kind has."""
        for owner in (str(model.get("owned_by", "")) for model in models):
            if owner in _OWNERS:
                return _OWNERS[owner]
        # Some answer 200 to any path, with an error.
        if isinstance(told := await self.get("/api/version"), dict) and "version" in told:
            return OLLAMA
        if isinstance(props := await self.get("/props"), dict) and "default_generation_settings" in props:
            return LLAMA_INFILL
        if models:
            return OPENAI
        raise self.moved or EngineError(
            f"{self.address.shown} answers, but not as an engine does; give --engine the base address of one.",
            rest_s=5 * REST_S,
        )

    def chosen(self, models: list[dict[str, Any]]) -> str:
        """The model that the user named, else the first one served that makes text, and is there if any is."""
        wanted = self.wishes.model
        if not wanted:
            texts = (each for each in models if each.get("type") != "embeddings")
            return next(iter(_names(sorted(texts, key=lambda each: _state(each) not in _READY))), "")
        names = _names(models)
        found = next((name for name in names if name in (wanted, f"{wanted}:latest")), None)
        if names and found is None:
            shown = ", ".join(names[:5])
            raise EngineError(f"{self.address.shown} has no model {wanted!r}; --model can be {shown}.", rest_s=REST_S)
        return found or wanted

    async def ours(self, told: dict[str, Any]) -> Peer:
        """Our own engine gives its tokenizer away."""
        vocabulary = Vocabulary.of(told)
        # One of an earlier version refuses what it does not know.
        adapter = OURS if told.get("log_probs") else replace(OURS, judged={})
        name = str(told.get("model", "embedded"))
        name, length = name if name.isprintable() else "embedded", _number(told, "context_length")
        looks_ahead, fingerprint = told.get("lookahead") is not False, told.get("fingerprint")
        return Peer(adapter, name, length, vocabulary, looks_ahead, fingerprint if isinstance(fingerprint, str) else "")

    async def llama(self, adapter: Adapter, models: list[dict[str, Any]], model: str) -> Peer:
        """llama.cpp fills in by itself, unless it was told how to or its model has no markers for it."""
        routed = any("status" in each for each in models)  # to a process for each model
        props = await self.get(f"/props?model={quote(model, safe='')}" if routed else "/props")
        props = props if isinstance(props, dict) else {}
        settings = props.get("default_generation_settings")
        length = _number(settings, "n_ctx") if isinstance(settings, dict) else 0
        own = self.wishes.template in ("auto", _INFILL)
        if self.wishes.kind == "auto" and not (own and await self.fills_in(model)):
            adapter = LLAMA_RAW
        return self.spelt(adapter, model, f"{model} {props.get('model_path', '')}", length)

    async def fills_in(self, model: str) -> bool:
        empty = {"input_prefix": "", "input_suffix": "", "n_predict": 0} | ({"model": model} if model else {})
        async with self.client.stream("POST", LLAMA_INFILL.path, json=empty) as response:
            return response.status_code not in (404, 501)

    async def ollama(self, adapter: Adapter, models: list[dict[str, Any]]) -> Peer:
        """Ollama: the raw prompt where the template is known, else the model's own way to insert."""
        if not (models or self.wishes.model):
            told = await self.get("/api/tags")
            found = told.get("models") if isinstance(told, dict) else None
            models = [{"id": each.get("name")} for each in found or () if isinstance(each, dict)]
        model, shown = await self.completing([self.chosen(models)] if self.wishes.model else _names(models))
        if not model:
            raise EngineError(f"{self.address.shown} has no model; pull one with: ollama pull MODEL.", rest_s=REST_S)
        info, abilities = shown.get("model_info"), shown.get("capabilities")
        lengths = [v for k, v in info.items() if k.endswith(".context_length")] if isinstance(info, dict) else []
        length = min([_OLLAMA_CONTEXT, *(v for v in lengths if isinstance(v, int) and v > 0)])
        inserts = self.wishes.kind == "auto" and isinstance(abilities, list) and "insert" in abilities
        unknown = self.wishes.template == "auto" and not self.wishes.speller("", model).family.markers
        if inserts and (unknown or self.wishes.template == _INFILL):
            adapter = OLLAMA_INSERT
        return self.spelt(adapter, model, model, length)

    async def completing(self, names: list[str]) -> tuple[str, dict[str, Any]]:
        """The first of Ollama's models that is not known to do something else (embeddings), and what it is."""
        for model in names[:_LOOKED_AT]:
            shown = await self.get("/api/show", {"model": model})
            shown = shown if isinstance(shown, dict) else {}
            abilities = shown.get("capabilities")
            if self.wishes.model or not isinstance(abilities, list) or "completion" in abilities:
                return model, shown
        return "", {}

    def spelt(self, adapter: Adapter, model: str, named: str, length: int) -> Peer:
        """A peer that keeps its tokenizer to itself."""
        template = _INFILL if adapter.infills else self.wishes.template
        if template == _INFILL and not adapter.infills:
            raise EngineError(
                f"{self.address.shown} cannot fill in by itself; set engine_template to auto or to a family.",
                rest_s=REST_S,
            )
        return Peer(adapter, model, length, self.wishes.speller("" if template == "auto" else template, named))

    async def get(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON that a route answers with, None if there is no such route. Raises `EngineError`."""
        async with self.client.stream(
            "GET" if body is None else "POST", path, json=body, timeout=_SILENCE_S
        ) as response:
            if response.status_code in (401, 403, 429, 500, 502, 503, 504):
                raise await refusal(response, self.address)
            if 300 <= response.status_code < 400:
                self.moved = await refusal(response, self.address)
            return await body_of(response) if response.status_code == 200 else None


def _models(told: Any) -> list[dict[str, Any]]:
    data = told.get("data") if isinstance(told, dict) else None
    return [model for model in data if isinstance(model, dict)] if isinstance(data, list) else []


def _names(models: list[dict[str, Any]]) -> list[str]:
    # What cannot be printed can be neither shown nor sent.
    return [name for model in models if isinstance(name := model.get("id"), str) and name and name.isprintable()]


def _state(model: dict[str, Any]) -> Any:
    """As LM Studio tells it, or llama.cpp's router."""
    status = model.get("status")
    return model.get("state") or (status.get("value") if isinstance(status, dict) else None)


def _number(facts: Mapping[str, Any], *names: str) -> int:
    return next((v for name in names if isinstance(v := facts.get(name), int) and 0 < v < 1 << 30), 0)
