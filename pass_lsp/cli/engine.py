"""`pass-lsp engine`: the engine over HTTP, one process."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from pass_lsp.cli import options
from pass_lsp.errors import ConfigError, installing
from pass_lsp.heap import for_good

log = logging.getLogger(__name__)

TokenFile = Annotated[Path | None, typer.Option(help="A file with the token; else PASS_LSP_TOKEN.")]
MaxQueue = Annotated[int, typer.Option(min=0, help="Requests that may wait; beyond it they get 429.")]
MaxTokens = Annotated[int, typer.Option(min=1, help="The longest answer, in tokens.")]
MaxSeconds = Annotated[float, typer.Option(min=0.1, help="The longest time for an answer, in seconds.")]


def engine(
    host: Annotated[
        str, typer.Option(help="The address to listen on; any but loopback demands a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8765,
    uds: Annotated[Path | None, typer.Option(help="A Unix socket to listen on, instead of an address.")] = None,
    token_file: TokenFile = None,
    max_queue: MaxQueue = 16,
    max_tokens: MaxTokens = 512,
    max_seconds: MaxSeconds = 30.0,
    idle_minutes: Annotated[float, typer.Option(min=0, help="End when unused for so long; 0: never.")] = 0,
    model: options.Model = "embedded",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    lookahead: options.Lookahead = "auto",
    trust_remote_code: options.TrustRemoteCode = False,
    log_level: options.LogLevel = "info",
) -> None:
    """Serve the model over HTTP: OpenAI's completions, for several editors at once."""
    need_serving()
    from pass_lsp.server import logs
    from pass_lsp.serving import process, service
    from pass_lsp.serving.guard import is_local
    from pass_lsp.serving.scheduler import DOCUMENTS

    logs.configure(log_level)
    token = token_of(token_file)
    local = uds is not None or is_local(host)
    if not (local or token):
        raise ConfigError(f"{host} can be reached from elsewhere; set PASS_LSP_TOKEN or give --token-file.")
    limits = service.Limits(max_queue, max_tokens, 2**20, max_seconds, token, local)
    own: dict[str, Any] = {"trust_remote_code": trust_remote_code, "documents": DOCUMENTS}
    with contextlib.ExitStack() as stack:
        if uds is not None:
            listener, there = stack.enter_context(process.unix(uds))
            where = f"unix://{uds.absolute()}"
        else:
            listener, there = process.tcp(host, port), lambda: True
            shown = f"[{host}]" if ":" in host else host
            where = f"http://{shown}:{listener.getsockname()[1]}"
        ended = process.run(
            listener,
            limits,
            for_good()(lambda: options.local_engine(model, device, dtype, lookahead, **own)),
            idle_minutes=idle_minutes,
            where=where,
            there=there,
        )
    if not ended:
        # In native code, mostly: threads that end with the interpreter under them abort the process.
        log.info("The engine is still busy; the process ends without it.")
        logging.shutdown()
        os._exit(0)


def token_of(file: Path | None) -> str:
    """The token of `file`, else of the environment; "" if there is none. Raises `ConfigError`."""
    if file is None:
        token = os.environ.get("PASS_LSP_TOKEN", "").strip()
    else:
        try:
            token = file.read_text("utf-8-sig").strip()
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"The token file {file} cannot be read; check its path and permissions.") from error
        if not token:
            raise ConfigError(f"The token file {file} is empty; write a token into it.")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ConfigError("The token holds characters that no header carries; use letters, digits and - _ .")
    return token


def need_serving() -> None:
    """Say what to install if the web stack is not there. Raises `ConfigError`."""
    try:
        import pass_lsp.serving.process  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"The engine needs {error.name}, which is not installed; run: {installing('serve')}."
        ) from error
