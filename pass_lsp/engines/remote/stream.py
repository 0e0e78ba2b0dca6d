"""One request to a server and the stream that answers it."""

from __future__ import annotations

import uuid

import httpx2

from pass_lsp.engines.remote.answer import Answer, figures_of, values_of
from pass_lsp.engines.remote.discovery import Peer
from pass_lsp.engines.remote.wire import Address, events, failure, refusal, trouble
from pass_lsp.errors import EngineError

_ERRORS = (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, TimeoutError, OSError)


async def stream(
    client: httpx2.AsyncClient, address: Address, peer: Peer, ids: list[int], answer: Answer, session: str = ""
) -> None:
    """Ask for what comes after `ids`, and commit it to `answer` as it comes in. Raises `EngineError`.

    Returns when the answer is over; being cancelled closes the connection.
    """
    headers = {"x-request-id": uuid.uuid4().hex} | ({"x-session-id": session} if session else {})
    body = peer.adapter.body(values_of(peer, ids, answer))
    try:
        async with client.stream("POST", peer.adapter.path, json=body, headers=headers) as response:
            if response.status_code != 200:
                raise await refusal(response, address)
            async for event in events(response):
                if (error := trouble(event)) is not None:
                    raise error
                text, over = peer.adapter.heard(event)
                ids_given = peer.adapter.ids(event)
                if answer.finish is None:
                    answer.push(peer.tokenizer.answer(text) if ids_given is None else ids_given)
                answer.figures |= figures_of(event)
                answer.finish = answer.finish or over
                if answer.finish is not None:
                    return
    except _ERRORS as error:
        raise failure(error, address) from error
    raise EngineError(f"The engine at {address.shown} ended an answer before it was over; see its log.", lost=True)
