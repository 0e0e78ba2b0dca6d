"""Options that several commands share, and what they turn into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, get_args

import typer

from pass_lsp.domain import STRATEGIES, Strategy
from pass_lsp.errors import ConfigError

if TYPE_CHECKING:
    from pass_lsp.engines.local import LocalEngine

Model = Annotated[str, typer.Option(help="'embedded', a Hugging Face model directory, or a hub id.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16, int8.")]
Lookahead = Annotated[str, typer.Option(help="auto, none, random, or an artifact's directory.")]
Engine = Annotated[str, typer.Option(metavar="URL", help="A remote engine instead of a model here.")]
LogLevel = Annotated[str, typer.Option(help="debug, info, warning, error.")]
StrategyName = Annotated[str, typer.Option(help=", ".join(STRATEGIES) + ".")]


def strategy_of(name: str) -> Strategy:
    """The strategy of that name. Raises `ConfigError`."""
    if name not in STRATEGIES:
        raise ConfigError(f"Unknown strategy {name!r}; use one of {', '.join(STRATEGIES)}.")
    return next(strategy for strategy in get_args(Strategy) if strategy == name)


def refuse_remote(engine: str) -> None:
    """Remote engines are not in this version; say so before anything is loaded."""
    if engine:
        raise ConfigError("Remote engines (--engine) are not available in this version; name a model with --model.")


def local_engine(
    model: str,
    device: str,
    dtype: str,
    lookahead: str,
    *,
    trust_remote_code: bool = False,
    threads: int | None = None,
) -> LocalEngine:
    """Load the engine that the options describe."""
    from pass_lsp.engines.local import load_engine

    return load_engine(model, device, dtype, lookahead, trust_remote_code, threads)
