"""An engine elsewhere: keeps the promises of `domain.Engine` over HTTP.

The caller is a thread that waits, and it must stop waiting within milliseconds of a cancel
while the server says nothing at all. A blocking read cannot be woken for that, so each
request runs on an event loop that the engine owns and the calling thread drives; between
two looks at the cancel flag it sleeps for `_LOOK_S`. No further thread, nothing to hand over.
Cancelling is closing the connection: every server that is known ends its decode then.

One request at a time. A connection that breaks off in mid-answer is asked for the rest once
(another replica may answer), at most once a second; a server that is away or busy is left alone
for as long as it says, and one that was away is found anew at the first request after that.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx2

from pass_lsp.domain import CancelToken, Generation, OnCommit, SamplingParams, Stop
from pass_lsp.engines.remote.answer import Answer, generation_of
from pass_lsp.engines.remote.discovery import Peer, Wishes, discover
from pass_lsp.engines.remote.stream import TAIL_S, stream
from pass_lsp.engines.remote.wire import Address, client_for
from pass_lsp.errors import NO_ARTIFACT, ConfigError, EngineError, PromptError

_LOOK_S = 0.004
_STOP_EVERY_S = 0.02
_RETRY_S = 1.0
_LESS = 0.6
_SESSIONS = 64
"""Of so many it is remembered how much fits."""


class RemoteEngine:
    """Implements `domain.Engine` with a server at `address`.

    `revive` sees to it that somebody listens there again, if that is ours to do; it may say so by an `EngineError`.
    """

    def __init__(self, address: Address, wishes: Wishes, revive: Callable[[], None] | None = None) -> None:
        self.address = address
        self._wishes, self._revive = wishes, revive
        self._peer: Peer | None = None
        self._runner = asyncio.Runner()
        self._client = client_for(address)
        self.close = weakref.finalize(self, _close, self._runner, self._client)
        """Lets the connections go; the engine cannot be used after it."""
        self._lock = threading.RLock()
        self._resting: tuple[float, EngineError] | None = None
        self._retried_s = -_RETRY_S
        self._fits: dict[str, int] = {}
        self.lookahead: bool | None = True
        """As of `LocalEngine`: None where the server, when it was last found, said that it has no artifact."""

    # --- what is served there ---------------------------------------------------

    @property
    def peer(self) -> Peer:
        """The server as it was found. Raises `EngineError` while it is away."""
        with self._lock:
            if self._peer is None:
                with self._rested():
                    self._peer = self._runner.run(discover(self._client, self.address, self._wishes))
                self.lookahead = self._peer.looks_ahead or None
                self._fits.clear()
            return self._peer

    @property
    def tokenizer(self) -> Any:
        """The server's own tokenizer where it gives it away, else one of characters."""
        return self.peer.tokenizer

    @property
    def context_length(self) -> int:
        """In tokens; 0 where the server does not say."""
        return self.peer.context_length

    def context_of(self, session: str) -> int:
        """The same for one session: less where its text has more tokens than it seems."""
        told, fits = self.context_length, self._fits.get(session, 0)
        return min(told or fits, fits or told)

    def session(self, *names: str) -> Session:
        """This engine for one document: the server may keep its cache where the same names come from."""
        return Session(self, hashlib.sha256("\0".join(names).encode("utf-8", "replace")).hexdigest()[:32])

    # --- one request ------------------------------------------------------------

    def generate(
        self,
        prompt_ids: Sequence[int],
        params: SamplingParams = SamplingParams(),
        *,
        cancel: CancelToken | None = None,
        on_commit: OnCommit | None = None,
        stop: Stop | None = None,
        session: str = "",
    ) -> Generation:
        """Have the server decode after `prompt_ids`. Raises `EngineError`, `PromptError`, `ConfigError`."""
        ids = [int(token) for token in prompt_ids]
        if not ids:
            raise PromptError("The prompt is empty; give at least one token id.")
        with self._lock:
            peer = self.peer
            if params.strategy == "pass" and self.lookahead is None:
                raise ConfigError(NO_ARTIFACT)
            per_token = getattr(peer.tokenizer, "ids_per_token", 1)
            # A stand-in's ids are characters, of which a token may hold many; this bounds a server that goes on.
            limit = params.max_new_tokens * (1 if per_token == 1 else 8 * per_token)
            answer = Answer(params, on_commit, stop, limit)
            if params.max_new_tokens:
                with self._rested(), self._fitted(session, len(ids) // per_token):
                    self._runner.run(self._watched(peer, ids, answer, cancel, session))
        return generation_of(answer, len(ids), by_token=per_token == 1)

    @contextlib.contextmanager
    def _rested(self) -> Iterator[None]:
        """Not before the server may be asked again; a failure in here says when that is."""
        if self._resting is not None and time.monotonic() < self._resting[0]:
            raise EngineError(str(self._resting[1]))
        try:
            yield
        except EngineError as error:
            if error.too_long:
                raise
            if not error.busy:  # to find it again costs it questions, and of ours the tokenizer
                self._peer = None
            failed = self._revived(error)
            self._resting = (time.monotonic() + failed.rest_s, failed)
            if failed is error:
                raise
            raise failed from error
        self._resting = None

    @contextlib.contextmanager
    def _fitted(self, session: str, length: int) -> Iterator[None]:
        """After a prompt of about so many tokens that was too long, the session's next ones are shorter."""
        try:
            yield
        except EngineError as error:
            if error.too_long:
                self._fits = dict([*self._fits.items()][-_SESSIONS:]) | {session: max(int(length * _LESS), 1)}
            raise

    def _revived(self, error: EngineError) -> EngineError:
        """What to say of an error, when whoever can has seen to it that somebody listens again."""
        if self._revive is not None and isinstance(error.__cause__, httpx2.ConnectError):
            try:
                self._revive()
            except EngineError as said:
                return said
        return error

    async def _watched(
        self, peer: Peer, ids: list[int], answer: Answer, cancel: CancelToken | None, session: str
    ) -> None:
        """Stream until the answer ends, the flag is set or time is up, whatever the server does meanwhile."""
        work, looked_s = asyncio.ensure_future(self._asked(peer, ids, answer, session)), time.monotonic()
        try:
            while not work.done() and answer.finish is None:
                await asyncio.wait((work,), timeout=_LOOK_S)
                if cancel is not None and cancel.cancelled:
                    answer.finish = "cancelled"
                elif not work.done() and time.monotonic() - looked_s >= _STOP_EVERY_S:
                    looked_s = time.monotonic()
                    answer.look()
        finally:
            if answer.finish in ("eos", "length"):
                await asyncio.wait((work,), timeout=2 * TAIL_S)
            work.cancel()
            await asyncio.wait((work,))
        if not work.cancelled() and answer.finish != "cancelled":
            work.result()

    async def _asked(self, peer: Peer, ids: list[int], answer: Answer, session: str) -> None:
        try:
            await stream(self._client, self.address, peer, ids, answer, session)
        except EngineError as error:
            now = time.monotonic()
            if not error.lost or not answer.awaited or now - self._retried_s < _RETRY_S:
                raise
            self._retried_s = now
            # The rest of the answer, from whoever is there now.
            await stream(self._client, self.address, peer, [*ids, *answer.ids], answer, session)


class Session:
    """A `RemoteEngine` as one document's requests see it: they carry its key, from which no path can be read."""

    def __init__(self, engine: RemoteEngine, key: str) -> None:
        self._engine, self.key = engine, key

    @property
    def tokenizer(self) -> Any:
        """As of the engine."""
        return self._engine.tokenizer

    @property
    def context_length(self) -> int:
        """As of the engine, or less."""
        return self._engine.context_of(self.key)

    def generate(
        self,
        prompt_ids: Sequence[int],
        params: SamplingParams = SamplingParams(),
        *,
        cancel: CancelToken | None = None,
        on_commit: OnCommit | None = None,
        stop: Stop | None = None,
    ) -> Generation:
        """As of the engine."""
        given = {"cancel": cancel, "on_commit": on_commit, "stop": stop}
        return self._engine.generate(prompt_ids, params, session=self.key, **given)  # type: ignore[arg-type]


def _close(runner: asyncio.Runner, client: httpx2.AsyncClient) -> None:
    def close() -> None:
        with contextlib.suppress(RuntimeError):  # closed already
            # In the middle of a request it is the process that ends, and with it everything.
            if not runner.get_loop().is_running():
                runner.run(client.aclose())
                runner.close()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        close()
    else:  # garbage is collected anywhere, on another loop's thread too, where none but that one can run
        thread = threading.Thread(target=close)
        thread.start()
        thread.join()
