"""Who may ask, and how much: a token, and no web page.

A page in a browser can send requests to a loopback address. It cannot leave out `Origin` where it
matters, and after rebinding its own name to 127.0.0.1 it sends that name as `Host`.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import re

from starlette.requests import Request

from pass_lsp.serving.wire import Refused

_ADDRESS = re.compile(r"\A(?:\[(.*)\](?::\d*)?|([^:]*):\d*)\Z")
"""An address in brackets, which nothing but a port may follow, or a name and its port."""


def check(request: Request, token: str, local: bool) -> None:
    """Raises `Refused` for a request from a web page or without the token; `/health` needs none."""
    if "origin" in request.headers:
        raise Refused(403, "Web pages are not served; send no Origin header.")
    if local and not is_local(request.headers.get("host", "")):
        raise Refused(403, "The Host header names another machine; address this one as localhost.")
    if token and request.url.path != "/health":
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
            raise Refused(401, "The token is missing or wrong; send it as 'Authorization: Bearer TOKEN'.")


async def body_of(request: Request, limit: int, seconds: float) -> bytes:
    """The body, at most `limit` bytes, that comes within `seconds`. Raises `Refused`."""
    try:
        async with asyncio.timeout(seconds):
            return await _whole(request, limit)
    except TimeoutError:
        raise Refused(408, f"The body did not come within {seconds:g} s; send it again.") from None


async def _whole(request: Request, limit: int) -> bytes:
    too_large = Refused(413, f"The body is larger than {limit} bytes; send less of the file.")
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length[:20]) > limit:
        raise too_large
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > limit:
            raise too_large
    return bytes(body)


def is_local(host: str) -> bool:
    """Whether a host, with or without a port, means this machine by itself."""
    name = _ADDRESS.sub(r"\1\2", host)
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"
