"""`pass-lsp deploy`: the engine as replicas on Ray Serve."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pass_lsp.cli import options
from pass_lsp.cli.engine import TokenFile, need_serving, token_of
from pass_lsp.errors import ConfigError, PassLspError, installing

if TYPE_CHECKING:
    from pass_lsp.serving.cluster import Cluster
    from pass_lsp.serving.plan import Plan

log = logging.getLogger(__name__)


def deploy(
    config: Annotated[Path | None, typer.Option(help="The file that says what to run, where no option does.")] = None,
    write: Annotated[Path | None, typer.Option(help="Write such a file, with all defaults, and exit.")] = None,
    replicas: Annotated[int | None, typer.Option(min=1, help="Replicas at least.")] = None,
    most_replicas: Annotated[int | None, typer.Option(min=1, help="Replicas at most.")] = None,
    gpus: Annotated[float | None, typer.Option(min=0, help="Of a GPU for each replica.")] = None,
    host: Annotated[str | None, typer.Option(help="The address to serve at; any but loopback demands a token.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="The port to serve at.")] = None,
    token_file: TokenFile = None,
    ray_address: Annotated[str | None, typer.Option(help="'auto' or HOST:PORT of a running Ray.")] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Take the replicas off that Ray again.")] = False,
    model: options.OwnModel = None,
    device: options.OwnDevice = None,
    dtype: options.OwnDtype = None,
    lookahead: options.OwnLookahead = None,
    trust_remote_code: options.OwnTrust = None,
    log_level: options.LogLevel = "info",
) -> None:
    """Serve the model from replicas on Ray: several GPUs or machines behind one address."""
    need_serving()
    from pass_lsp.serving import plan

    if write is not None:
        if write.exists():
            raise ConfigError(f"{write} exists already; choose another name or remove it.")
        write.write_text(plan.TEXT, "utf-8")
        typer.echo(f"Wrote {write}; edit it and run: pass-lsp deploy --config {write}")
        return
    given = options.given(
        replicas=replicas, most_replicas=most_replicas, gpus=gpus, host=host, port=port,
        token_file=token_file and str(token_file), ray_address=ray_address,
        model=model, device=device, dtype=dtype, lookahead=lookahead, trust_remote_code=trust_remote_code,
    )  # fmt: skip
    from pass_lsp.server import logs

    logs.configure(log_level)
    wanted = plan.read(config, given)
    if stop and not wanted.ray_address:
        raise ConfigError("A Ray of its own ends with the command that started it; give ray_address to stop another.")
    token = _token(wanted, needed=not stop)
    # Until the replicas run: Ray prints a stack and aborts on a signal that nobody handles.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    cluster = _cluster(wanted)
    try:
        if stop:
            cluster.remove()
            return
        cluster.deploy(wanted, token)
        log.info("Serving at http://%s:%d from %d replicas.", wanted.host, wanted.port, wanted.replicas)

        def renew() -> None:
            again = plan.read(config, given).following(wanted)
            cluster.deploy(again, _token(again))

        if not wanted.ray_address:
            asyncio.run(_hold(cluster, renew))
    finally:
        cluster.close()


def _token(wanted: Plan, *, needed: bool = True) -> str:
    """The token that requests must carry; "" if none. Raises `ConfigError` where there must be one and is none."""
    from pass_lsp.serving.guard import is_local

    token = token_of(Path(wanted.token_file) if wanted.token_file else None)
    if needed and not (token or is_local(wanted.host)):
        raise ConfigError(f"{wanted.host} can be reached from elsewhere; set PASS_LSP_TOKEN or give token_file.")
    return token


def _cluster(wanted: Plan) -> Cluster:
    try:
        from pass_lsp.serving.cluster import Cluster

        return Cluster(wanted)
    except ModuleNotFoundError as error:
        raise ConfigError(f"Deploying needs {error.name}, which is not installed; run: {installing('ray')}.") from error
    except (ConnectionError, RuntimeError) as error:
        raise ConfigError(
            f"Ray cannot be started or joined here ({str(error).splitlines()[0]}); check ray_address and its token."
        ) from error


async def _hold(cluster: Cluster, renew: Callable[[], None]) -> None:
    """Until SIGTERM or SIGINT; SIGHUP, where there is one, reads the file again."""
    loop, again, over = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def renewed() -> None:
        try:
            renew()
            log.info("The new plan runs.")
        except PassLspError as error:
            log.error("The old plan goes on: %s", error)

    # Not by the event loop, which takes none on Windows.
    events = {signal.SIGTERM: over, signal.SIGINT: over}
    if hasattr(signal, "SIGHUP"):
        events[signal.SIGHUP] = again
    before = {
        number: signal.signal(number, lambda *_, event=event: loop.call_soon_threadsafe(event.set))
        for number, event in events.items()
    }
    try:
        await cluster.hold(again, over, renewed)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
