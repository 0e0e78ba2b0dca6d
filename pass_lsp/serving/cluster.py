"""The service as replicas of Ray Serve: affinity, bounded queues, health, autoscaling, updates without a gap.

Ray's proxy speaks HTTP; the replica is `Service` as in one process, with its own queue and its own refusals. Ray's
limits lie beyond those, so that a question after health or figures never waits behind completions.
"""

# Ray is an extra that most environments lack; types are checked without it too.
# pyright: reportMissingImports=false

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere; read when ray is imported

from prometheus_client import Metric
from starlette.requests import Request
from starlette.responses import Response

from pass_lsp.errors import ConfigError, ModelError
from pass_lsp.heap import for_good
from pass_lsp.serving.gauges import CONTENT_TYPE, joined
from pass_lsp.serving.guard import is_local
from pass_lsp.serving.plan import Plan
from pass_lsp.serving.scheduler import DOCUMENTS
from pass_lsp.serving.service import Limits, Service

NAME = "pass-lsp"
_DEPLOYMENT = "engine"
_ROUTER = "pass_lsp.serving.affinity.Affinity"
_SPARE = 16
"""Requests beyond a replica's queue that reach it all the same: to be refused, or to ask how it is."""
_AT_THE_PROXY = 256
"""Requests that may be on their way to a replica; in a burst each is for a moment."""
_FIGURES_S = 2.0
_LOOK_BACK_S = 10.0
"""How long there must be too much to do before a replica is added. Ray takes as long to see it, and has ten minutes'
patience before it takes one away."""
_OBJECT_STORE = 2**27
"""Bytes; only requests and runs of text travel."""


class Replica:
    """One engine. Ray makes it, asks it how it is, and gives it requests."""

    def __init__(self, plan: dict[str, Any], token: str) -> None:
        from pass_lsp.engines.local import load_engine

        settings = Plan(**plan)
        limits = Limits(
            max_queue=settings.max_queue,
            max_tokens=settings.max_tokens,
            max_seconds=settings.max_seconds,
            token=token,
            local=is_local(settings.host),
        )
        self.service = Service(limits)
        failures: list[Exception] = []
        done = threading.Event()

        def loaded(error: Exception | None) -> None:
            failures.extend([error] if error else [])
            done.set()

        chosen = settings.model, settings.device, settings.dtype, settings.lookahead, settings.trust_remote_code
        self.service.start(for_good()(lambda: load_engine(*chosen, documents=DOCUMENTS)), loaded)
        done.wait()
        if failures:
            raise failures[0]

    async def __call__(self, request: Request) -> Response:
        """Answer a request; which replica did is in a header."""
        response = await self.service(request)
        if request.url.path == "/metrics" and response.status_code == 200:
            response = Response(await _all_figures(), media_type=CONTENT_TYPE)
        response.headers["x-replica"] = str(os.getpid())
        return response

    async def figures(self) -> tuple[str, list[Metric]]:
        """Its machine and process, for containers number theirs alike, and what it counted."""
        return f"{socket.gethostname()}:{os.getpid()}", self.service.gauges.families()

    async def check_health(self) -> None:
        """Raises where the engine's thread is dead or stuck; Ray then replaces the replica."""
        if not self.service.ready:
            raise RuntimeError("The engine's thread does not answer.")


async def _all_figures() -> bytes:
    """Of every replica that says them in time; whoever reads them asks one address and cannot know which it gets."""
    from ray import serve

    everyone = serve.get_deployment_handle(_DEPLOYMENT, NAME).broadcast("figures")
    told = await everyone.results_async(timeout_s=_FIGURES_S, return_exceptions=True)
    return joined(dict(each for each in told if not isinstance(each, BaseException)))


def application(plan: Plan, token: str) -> Any:
    """The plan as an application of Ray Serve."""
    from ray import serve

    scaling: dict[str, Any] = {"num_replicas": plan.replicas}
    if plan.most > plan.replicas:
        scaling = {
            "autoscaling_config": {
                "min_replicas": plan.replicas,
                "max_replicas": plan.most,
                "target_ongoing_requests": plan.requests_per_replica,
                "look_back_period_s": _LOOK_BACK_S,
                "upscale_delay_s": _LOOK_BACK_S,
            }
        }
    deployed = serve.deployment(
        Replica,
        name=_DEPLOYMENT,
        ray_actor_options={"num_cpus": plan.cpus, "num_gpus": plan.gpus},
        max_ongoing_requests=plan.max_queue + 1 + _SPARE,
        max_queued_requests=_AT_THE_PROXY,
        backpressure_config={"status_code": 429, "retry_after_s": 1},
        health_check_period_s=2,
        health_check_timeout_s=10,
        graceful_shutdown_timeout_s=plan.max_seconds,
        graceful_shutdown_wait_loop_s=0.2,
        max_constructor_retry_count=2,
        request_router_config={"request_router_class": _ROUTER},
        **scaling,
    )
    return deployed.bind(asdict(plan), token)  # type: ignore[attr-defined]


class Cluster:
    """A connection to Ray, and the application on it. `close` ends what was started here.

    Raises `ConfigError` without the token of a cluster to join, `ConnectionError` where Ray says no.
    """

    def __init__(self, plan: Plan, *, cpus: int | None = None) -> None:
        _authenticate(plan)
        import ray
        from ray import serve
        from ray.exceptions import RayError

        self._serve: Any = serve
        self._own = not plan.ray_address
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if self._own:
            quiet |= {"include_dashboard": False, "object_store_memory": _OBJECT_STORE, "num_cpus": cpus}
            ray.init(address="local", _node_ip_address="127.0.0.1" if is_local(plan.host) else None, **quiet)
        else:
            try:
                ray.init(address=plan.ray_address, **quiet)
            except RayError as error:
                raise ConnectionError(str(error)) from error
        logging.getLogger("ray.serve").setLevel(logging.ERROR)

    def deploy(self, plan: Plan, token: str) -> None:
        """Run the plan, or change what runs to it, a replica at a time. Raises `ModelError`."""
        self._serve.start(http_options={"host": plan.host, "port": plan.port})  # once: later plans find it running
        try:
            self._serve.run(application(plan, token), name=NAME, route_prefix="/")
        except (RuntimeError, ValueError) as error:  # the second of options that Ray itself refuses
            raise ModelError(
                "The replicas did not start; `ray logs` and `pass-lsp doctor` on their machine say why."
            ) from error

    def remove(self) -> None:
        """End what `deploy` runs, once each replica has answered what it was asked. Raises `ConfigError`."""
        if NAME not in self._serve.status().applications:
            raise ConfigError("No replicas of pass-lsp run on that Ray; there is nothing to stop.")
        self._serve.delete(NAME)

    def close(self) -> None:
        """End the application and the Ray that was started here; leave another's as it is."""
        import ray

        if self._own:
            self._serve.shutdown()
        ray.shutdown()

    async def hold(self, again: asyncio.Event, over: asyncio.Event, renew: Callable[[], None]) -> None:
        """Until `over`: call `renew` whenever `again` is set."""
        while not over.is_set():
            waits = [asyncio.ensure_future(event.wait()) for event in (again, over)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            if again.is_set() and not over.is_set():
                again.clear()
                await asyncio.to_thread(renew)


def _authenticate(plan: Plan) -> None:
    """Before ray is imported: its ports are open to all who can reach them unless it asks for a token."""
    if not plan.ray_token_authentication:
        return
    os.environ["RAY_AUTH_MODE"] = "token"
    places = (os.environ.get("RAY_AUTH_TOKEN"), os.environ.get("RAY_AUTH_TOKEN_PATH"))
    if any(places) or (Path.home() / ".ray" / "auth_token").exists():
        return
    if plan.ray_address:
        raise ConfigError(
            f"Joining the Ray at {plan.ray_address} takes its token; set RAY_AUTH_TOKEN, "
            "or ray_token_authentication = false if it asks for none."
        )
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
