"""Options that several commands share, and what they turn into."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pass_lsp.config import Settings
from pass_lsp.domain import STRATEGIES
from pass_lsp.errors import EngineError
from pass_lsp.server.logs import LEVELS

if TYPE_CHECKING:
    from pass_lsp.engines.local import LocalEngine
    from pass_lsp.engines.remote import RemoteEngine, Wishes

_MODEL = typer.Option(help="'embedded', a Hugging Face model directory, or a hub id.")
_DEVICE = typer.Option(help="auto, cpu, cuda, cuda:1, mps.")
_DTYPE = typer.Option(help="auto, float32, bfloat16, int8.")
_LOOKAHEAD = typer.Option(help="auto, none, random, or an artifact's directory.")
_TRUST = typer.Option("--trust-remote-code/--no-trust-remote-code", help="Whether a model may bring its own code.")
_ENGINE = typer.Option(metavar="URL", help="An engine elsewhere (http, https, unix), or 'shared': one for all editors.")
_KIND = typer.Option(help="The kind of server that the engine is: auto, pass-lsp, vllm, llamacpp, ollama …")
_TEMPLATE = typer.Option(help="How prompts are written for it: auto, qwen-coder, starcoder2, infill …")
Model = Annotated[str, _MODEL]
Device = Annotated[str, _DEVICE]
Dtype = Annotated[str, _DTYPE]
Lookahead = Annotated[str, _LOOKAHEAD]
TrustRemoteCode = Annotated[bool, _TRUST]
Engine = Annotated[str, _ENGINE]
EngineKind = Annotated[str, _KIND]
EngineTemplate = Annotated[str, _TEMPLATE]
# The same where a file may say it too: None is what was not given.
OwnModel = Annotated[str | None, _MODEL]
OwnDevice = Annotated[str | None, _DEVICE]
OwnDtype = Annotated[str | None, _DTYPE]
OwnLookahead = Annotated[str | None, _LOOKAHEAD]
OwnTrust = Annotated[bool | None, _TRUST]
OwnEngine = Annotated[str | None, _ENGINE]
OwnKind = Annotated[str | None, _KIND]
OwnTemplate = Annotated[str | None, _TEMPLATE]
Unused = Annotated[str, typer.Option(hidden=True)]
"""One that all commands share, where nothing of it is needed: a script may give all of them the same."""


def _one_of(names: Sequence[str]) -> Any:
    """An option that is one of `names`, in letters of any case; anything else is wrong usage."""

    def known(value: str | None) -> str | None:
        if value is not None and value.lower() not in names:
            raise typer.BadParameter(f"{value!r} is unknown; use one of {', '.join(names)}.")
        return value and value.lower()

    return typer.Option(help=", ".join(names) + ".", callback=known)


LogLevel = Annotated[str, _one_of(LEVELS)]
StrategyName = Annotated[str | None, _one_of(STRATEGIES)]


def remote_engine(settings: Settings, report: Callable[[str], None] = lambda _: None) -> RemoteEngine:
    """The engine elsewhere that the settings name; nothing is asked of it yet. Raises `ConfigError`.

    The shared one is started if need be, and `report` told how far that is.
    """
    from pass_lsp.engines.remote import Address, RemoteEngine
    from pass_lsp.engines.shared import NAME, SharedEngine

    wishes = wishes_of(settings)
    if settings.engine != NAME:
        return RemoteEngine(Address.of(settings.engine), wishes)
    shared = SharedEngine(settings)
    # What goes wrong with it is said again with the first request, which also tries again.
    with contextlib.suppress(EngineError):
        shared.ensure(report)
    return RemoteEngine(Address("http://localhost", str(shared.socket)), wishes, shared.revive)


def wishes_of(settings: Settings) -> Wishes:
    """How the settings want an engine elsewhere to be asked. Raises `ConfigError`."""
    from pass_lsp.engines.remote import Wishes
    from pass_lsp.engines.shared import NAME
    from pass_lsp.prompt.text import TextTokenizer, family_named, family_of

    def speller(template: str, model: str) -> TextTokenizer:
        return TextTokenizer(family_named(template) if template else family_of(model))

    # The default and the shared engine's own name the model of one process; a server has its own names.
    model = "" if settings.engine == NAME or settings.model == "embedded" else settings.model
    return Wishes(speller, model, settings.engine_kind, settings.engine_template)


def local_engine(
    model: str,
    device: str,
    dtype: str,
    lookahead: str,
    *,
    trust_remote_code: bool = False,
    threads: int | None = None,
    documents: int = 8,
) -> LocalEngine:
    """Load the engine that the options describe."""
    from pass_lsp.engines.local import load_engine

    return load_engine(model, device, dtype, lookahead, trust_remote_code, threads, documents)


def temperature(value: float | list[float] | None) -> float | list[float] | None:
    """`value` where all of it are temperatures. Raises `typer.BadParameter`."""
    for one in value if isinstance(value, list) else [value or 0.0]:
        if not 0 <= one < math.inf:
            raise typer.BadParameter(f"{one!r} is no temperature; use a number of 0 or more.")
    return value


def given(**named: Any) -> dict[str, Any]:
    """Of the options those that were given: an empty text and False stand over what a file says."""
    return {name: value for name, value in named.items() if value is not None}
