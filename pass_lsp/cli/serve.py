"""`pass-lsp serve`: the language server."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pass_lsp.cli import options
from pass_lsp.config import Settings
from pass_lsp.engines.echo import NAME, EchoEngine
from pass_lsp.errors import ConfigError, EngineError

if TYPE_CHECKING:
    from pass_lsp.domain import Engine


def serve(
    stdio: Annotated[bool, typer.Option("--stdio", help="Talk over stdin and stdout (the default).")] = False,
    tcp: Annotated[str, typer.Option(metavar="HOST:PORT", help="Listen there for one client, for debugging.")] = "",
    engine: options.OwnEngine = None,
    engine_kind: options.OwnKind = None,
    engine_template: options.OwnTemplate = None,
    model: options.OwnModel = None,
    device: options.OwnDevice = None,
    dtype: options.OwnDtype = None,
    lookahead: options.OwnLookahead = None,
    trust_remote_code: options.OwnTrust = None,
    log_file: Annotated[Path | None, typer.Option(help="Write the log there instead of stderr.")] = None,
    log_level: options.LogLevel = "info",
    client_process_id: Annotated[
        int | None, typer.Option("--clientProcessId", help="End when this process ends.")
    ] = None,
) -> None:
    """Run the language server (stdio by default).

    What is not given is taken from the editor's settings, then from the settings files; else it is the embedded model,
    and auto. What is given stands over all of them.
    """
    from pass_lsp.server import app, logs

    address = _address(tcp) if tcp else None
    if stdio and tcp:
        raise typer.BadParameter("--stdio and --tcp exclude each other; give one of them.")
    if not tcp and (sys.stdin is None or sys.stdout is None):
        raise ConfigError(
            "The server talks over stdin and stdout, which are closed; start it from an editor, or give --tcp."
        )
    logs.configure(log_level, log_file)
    named = options.given(
        model=model, device=device, dtype=dtype, lookahead=lookahead, trust_remote_code=trust_remote_code,
        engine=engine, engine_kind=engine_kind, engine_template=engine_template,
    )  # fmt: skip
    settings, _ = Settings().updated(named)
    server = app.create_server(load, settings, pinned=set(named))
    raise typer.Exit(app.serve(server, tcp=address, client_pid=client_process_id))


def load(settings: Settings, report: Callable[[str], None]) -> Engine:
    """Load the engine that the settings describe, and warm it up; runs on the engine thread."""
    if settings.engine:
        from pass_lsp.engines.remote import without_secrets

        report(f"Looking for the engine at {without_secrets(settings.engine)}")
        engine: Engine = options.remote_engine(settings, report)
    else:
        report(f"Loading {settings.model}")
        engine = _no_model() if settings.model == NAME else _local(settings)
    report("Warming up")
    # An engine elsewhere that is away may come later; the session says so.
    with contextlib.suppress(EngineError):
        _warm_up(engine)
    return engine


def _local(settings: Settings) -> Engine:
    return options.local_engine(
        settings.model,
        settings.device,
        settings.dtype,
        settings.lookahead,
        trust_remote_code=settings.trust_remote_code,
    )


def _no_model() -> Engine:
    """For `bench latency`: what the server costs by itself."""
    from pass_lsp.decoding.model import load_tokenizer
    from pass_lsp.engines.embedded import embedded_model

    return EchoEngine(load_tokenizer(str(embedded_model()), False))


def _warm_up(engine: Engine) -> None:
    # The first completion imports grammars and fills allocator pools; better now than at the first keystroke.
    from pass_lsp.completion import complete

    complete("def first(a, b):\n    return ", 1, 11, engine=engine, path="warm_up.py")


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 <= int(port) < 65536:
        raise typer.BadParameter(f"--tcp {text!r} is not HOST:PORT; write for example 127.0.0.1:2087.")
    return host, int(port)
