"""One engine behind the routes of `wire`; knows HTTP's nouns (starlette's), and no server or cluster."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from pass_lsp.domain import Engine, Generation, Judged, SamplingParams
from pass_lsp.errors import PassLspError
from pass_lsp.prompt import template_of, tokenizer_of
from pass_lsp.serving import guard
from pass_lsp.serving.gauges import CONTENT_TYPE, Gauges
from pass_lsp.serving.scheduler import Job, Scheduler
from pass_lsp.serving.spelling import described, spelled
from pass_lsp.serving.text import Words
from pass_lsp.serving.wire import MODEL_ID, SESSION_HEADER, Ask, Refused, asked, chunk, error_body

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may cost, and who may ask. `token` "" asks for none; `local` demands a local Host."""

    max_queue: int = 16
    max_tokens: int = 512
    max_bytes: int = 2**20
    max_seconds: float = 30.0
    token: str = field(default="", repr=False)
    local: bool = True


class Service:
    """The routes. `failed` is called if the model cannot be loaded, on the engine thread."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.scheduler = Scheduler(limits.max_queue)
        self.gauges = Gauges(lambda: self.scheduler.load)
        self.used_s = time.monotonic()
        self._told, self._fingerprint = b"", ""

    def start(self, load: Callable[[], Engine], loaded: Callable[[Exception | None], None]) -> None:
        """Load in the background."""

        def prepared() -> Engine:
            engine = load()
            facts = described(engine)
            self._fingerprint = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
            self._told = json.dumps(facts | {"fingerprint": self._fingerprint}).encode()
            return engine

        self.scheduler.start(prepared, loaded)

    @property
    def ready(self) -> bool:
        """Whether the model is loaded and its thread is well."""
        return self.scheduler.engine is not None and self.scheduler.alive

    async def __call__(self, request: Request) -> Response:
        """Answer any request; no failure leaves it."""
        path, completes = request.url.path, request.url.path == "/v1/completions"
        try:
            guard.check(request, self.limits.token, self.limits.local)
            routes = {"/health": self._health, "/metrics": self._metrics, "/v1/models": self._models}
            route = {**routes, "/v1/engine": self._engine, "/v1/completions": self._completions}.get(path)
            if route is None:
                raise Refused(404, "There is no such path; see /v1/models and /v1/completions.")
            if request.method not in (("POST",) if completes else ("GET", "HEAD")):
                raise Refused(405, f"Use {'POST' if completes else 'GET'} here.")
            return await route(request)
        except Refused as error:
            return self._refusal(error, completes)
        except PassLspError as error:
            return self._refusal(Refused(400, str(error)), completes)
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception:
            log.exception("A request failed.")
            return self._refusal(Refused(500, "The engine failed at this request; see its log."), completes)

    def _refusal(self, error: Refused, counted: bool) -> Response:
        if counted:
            self.gauges.refused(error.status)
        headers = {"Retry-After": str(error.retry_s)} if error.retry_s else {}
        if error.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if error.status == 405:
            headers["Allow"] = "POST" if counted else "GET, HEAD"
        return JSONResponse(error_body(error), error.status, headers)

    # --- what the engine is ------------------------------------------------------------

    def _loaded(self) -> Engine:
        if self.scheduler.engine is None:
            raise Refused(503, "The model is being loaded; ask again shortly.", retry_s=1)
        return self.scheduler.engine

    async def _health(self, request: Request) -> Response:
        self._loaded()
        if not self.ready:
            raise Refused(503, "The engine is stuck; restart it.", retry_s=5)
        return JSONResponse({"status": "ok"})

    async def _metrics(self, request: Request) -> Response:
        return Response(self.gauges.text(), media_type=CONTENT_TYPE)

    async def _models(self, request: Request) -> Response:
        self._loaded()
        model = {"id": MODEL_ID, "object": "model", "created": 0, "owned_by": "pass-lsp"}
        return JSONResponse({"object": "list", "data": [model]})

    async def _engine(self, request: Request) -> Response:
        self._loaded()
        return Response(self._told, media_type="application/json")

    # --- completions ---------------------------------------------------------------------

    async def _completions(self, request: Request) -> Response:
        self.used_s = time.monotonic()
        ask = asked(await guard.body_of(request, self.limits.max_bytes, self.limits.max_seconds))
        engine = self._loaded()
        if ask.fingerprint not in ("", self._fingerprint):
            raise Refused(409, "Another model is served by now; see /v1/engine.", param="fingerprint")
        # A long text takes a while; other requests' streams go on meanwhile.
        answer = await run_in_threadpool(self._answer, engine, ask, request.headers.get(SESSION_HEADER, ""))
        answer.loop = asyncio.get_running_loop()
        self.scheduler.submit(answer.job)
        if not ask.stream:
            return JSONResponse(await answer.whole(request))
        # The first event is waited for here, so that a prompt which cannot be used is a 400.
        return Stream(answer, await answer.first(request))

    def _answer(self, engine: Engine, ask: Ask, session: str) -> Answer:
        prompt_ids = spelled(engine, ask, self.limits.max_tokens)
        params = ask.params(self.limits.max_tokens, template_of(engine).stop_ids)
        return Answer(self, engine, ask, prompt_ids, session, params)


@dataclass(frozen=True, slots=True)
class _Run:
    """Ids, and how probable each was, if that is asked for."""

    token_ids: list[int]
    log_probs: list[float] | None


class Answer:
    """One answer on its way: the engine thread puts runs in, the event loop takes them out."""

    def __init__(
        self, service: Service, engine: Engine, ask: Ask, prompt_ids: list[int], session: str, params: SamplingParams
    ) -> None:
        self._service, self._start_s = service, time.monotonic()
        self._id, self._created = f"cmpl-{uuid.uuid4().hex}", int(time.time())
        tokenizer = tokenizer_of(engine)
        self._words = Words(tokenizer, ask.stop)
        self._prompt = len(prompt_ids)
        self._runs: asyncio.Queue[_Run | Generation | Exception] = asyncio.Queue()
        self._log_probs: list[float] | None = None
        if isinstance(params, Judged):
            self._log_probs, params = [], replace(params, on_log_probs=self._measured)
        self.loop: asyncio.AbstractEventLoop | None = None
        stop = Words(tokenizer, ask.stop).stop if ask.stop else None
        end_s = self._start_s + service.limits.max_seconds
        turn = session or uuid.uuid4().hex
        self.job = Job(turn, prompt_ids, params, self._heard, self._over, stop, end_s, client=session)

    # On the engine thread.

    def _measured(self, log_probs: list[float]) -> None:
        self._log_probs = log_probs

    def _heard(self, run: list[int]) -> None:
        self._put(_Run(run, self._log_probs))
        self._log_probs = None if self._log_probs is None else []

    def _put(self, run: _Run | Generation | Exception) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            assert self.loop is not None
            self.loop.call_soon_threadsafe(self._runs.put_nowait, run)

    def _over(self, made: Generation | Exception) -> None:
        if isinstance(made, Generation):
            self._service.gauges.done(made, time.monotonic() - self._start_s)
        self._put(made)

    # On the event loop.

    async def whole(self, request: Request) -> dict[str, Any]:
        """The whole answer as one object."""
        text, run = "", await self.first(request)
        while isinstance(run, _Run):
            text += self._words.push(run.token_ids)
            run = await self._next(request)
        end, text = self._ended(run), text + self._words.push([], last=True)
        log_probs = None if self._log_probs is None else [*end.log_probs[: len(end.token_ids)]]
        return chunk(self._id, self._created, text, end.token_ids, log_probs, end, self._prompt)

    async def first(self, request: Request) -> _Run | Generation:
        """What comes first; the job ends if the client leaves before. Raises what the engine raised."""
        run = await self._next(request)
        if isinstance(run, Exception):
            raise run
        self._service.gauges.first(time.monotonic() - self._start_s)
        return run

    async def events(self, run: _Run | Generation | Exception) -> AsyncIterator[str]:
        """The answer as server-sent events; being closed ends the decode."""
        try:
            while isinstance(run, _Run):
                text = self._words.push(run.token_ids)
                yield _event(chunk(self._id, self._created, text, run.token_ids, run.log_probs))
                run = await self._runs.get()
            if isinstance(run, Exception):
                if not isinstance(run, Refused):
                    log.error("An answer broke off.", exc_info=run)
                    run = Refused(500, "The engine failed at this request; see its log.")
                self._service.gauges.refused(run.status)
                yield _event(error_body(run))
            else:
                text = self._words.push([], last=True)
                yield _event(chunk(self._id, self._created, text, [], None, run, self._prompt))
            yield "data: [DONE]\n\n"
        finally:
            self.job.cancel()
            self._service.used_s = time.monotonic()

    def _ended(self, run: Generation | Exception) -> Generation:
        if isinstance(run, Exception):
            raise run
        return run

    async def _next(self, request: Request) -> _Run | Generation | Exception:
        """The next run, unless the client goes away. Raises `ClientDisconnect`."""
        run, gone = asyncio.ensure_future(self._runs.get()), asyncio.ensure_future(_gone(request))
        try:
            await asyncio.wait((run, gone), return_when=asyncio.FIRST_COMPLETED)
            if not run.done():
                raise ClientDisconnect
            return run.result()
        except BaseException:
            self.job.cancel()
            raise
        finally:
            run.cancel()
            gone.cancel()


class Stream(StreamingResponse):
    """An answer as it comes; whatever ends the response ends the decode, even before the first event is sent."""

    def __init__(self, answer: Answer, run: _Run | Generation) -> None:
        # The second is for nginx, which otherwise collects what is to be seen as it comes.
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(answer.events(run), media_type="text/event-stream", headers=headers)
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answer.job.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
