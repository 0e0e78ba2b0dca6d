"""One request to a server and the stream that answers it."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx2

from pass_lsp.domain import Judged
from pass_lsp.engines.remote.answer import Answer, figures_of, values_of
from pass_lsp.engines.remote.discovery import Peer
from pass_lsp.engines.remote.objects import DONE
from pass_lsp.engines.remote.wire import Address, events, failure, refusal, trouble
from pass_lsp.errors import EngineError

TAIL_S = 0.05
"""How long the end of a stream may lag behind that of its answer."""
_ERRORS = (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, TimeoutError, OSError)


async def stream(
    client: httpx2.AsyncClient, address: Address, peer: Peer, ids: list[int], answer: Answer, session: str = ""
) -> None:
    """Ask for what comes after `ids`, and commit it to `answer` as it comes in. Raises `EngineError`.

    Returns when the answer is over. Being cancelled closes the connection, and so does a stop rule, which ends the
    decode; of an answer that ends by itself the rest is read, so that the connection serves the next request.
    """
    headers = {"x-request-id": uuid.uuid4().hex} | ({"x-session-id": session} if session else {})
    body = peer.adapter.body(values_of(peer, ids, answer), isinstance(answer.params, Judged))
    try:
        async with _sent(client, peer.adapter.path, body, headers) as response, asyncio.timeout(None) as rest:
            if response.status_code != 200:
                raise await refusal(response, address)
            async for event in events(response):
                if answer.finish is None:
                    _hear(event, peer, answer)
                answer.figures |= figures_of(event)
                if event is DONE:  # some servers end with no other word
                    answer.finish = answer.finish or "eos"
                if answer.finish == "stop":
                    break
                if answer.finish is not None and rest.when() is None:
                    rest.reschedule(asyncio.get_running_loop().time() + TAIL_S)
    except EngineError:
        if answer.finish is None:
            raise
    except _ERRORS as error:
        if answer.finish is None:
            raise failure(error, address) from error
    if answer.finish is None:
        raise EngineError(f"The engine at {address.shown} ended an answer before it was over; see its log.", lost=True)


@contextlib.asynccontextmanager
async def _sent(
    client: httpx2.AsyncClient, path: str, body: dict[str, Any], headers: dict[str, str]
) -> AsyncIterator[httpx2.Response]:
    """The response to a request. A kept connection that the server has closed meanwhile is dropped for another one."""
    response: httpx2.Response | None = None
    while response is None:
        made: list[str] = []

        async def trace(name: str, _: Any, made: list[str] = made) -> None:
            if ".connect_" in name:  # of the connection, or of a proxy's
                made.append(name)

        request = client.build_request("POST", path, json=body, headers=headers, extensions={"trace": trace})
        try:
            response = await client.send(request, stream=True)
        except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError):
            if made:
                raise
    try:
        yield response
    finally:
        await response.aclose()


def _hear(event: dict[str, Any], peer: Peer, answer: Answer) -> None:
    if (error := trouble(event, bool(answer.ids))) is not None:
        raise error
    text, over = peer.adapter.heard(event)
    ids = peer.adapter.ids(event)
    answer.push(peer.tokenizer.answer(text) if ids is None else ids, peer.adapter.sure(event))
    answer.finish = answer.finish or over
