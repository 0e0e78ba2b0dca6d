"""HTTP to an engine: where it is, how its streams are read within bounds, and what its failures mean.

Knows no adapter. Whatever a server sends, garbage without end included, becomes events or an
`EngineError` with one sentence.
"""

from __future__ import annotations

import email.utils
import ipaddress
import json
import os
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2

from pass_lsp.engines.remote.objects import DONE, Objects
from pass_lsp.errors import ConfigError, EngineError

TOKEN = "PASS_LSP_TOKEN"
CONNECT_S = 2.0
SILENCE_S = 20.0
"""How long a server may say nothing in the middle of an answer."""
REST_S = 1.0
LONGEST_REST_S = 60.0
_MANY = httpx2.Limits(keepalive_expiry=55.0)
"""As many as there are: `bench load` has one for each typist, and none may wait for another's here. Who thinks for a
moment finds his again: servers and load balancers close after 60 seconds and more, and then another one is made."""
_MAX_LINE = 1 << 20
_MAX_BYTES = 8 << 20
_MAX_FACTS = 64 << 20
"""A large vocabulary is 10 MB."""
_MAX_ERROR = 1 << 16
_TOO_LONG = re.compile(r"context|too (long|many tokens)|longer than", re.IGNORECASE)
"""In how servers say that a prompt does not fit: each in words of its own."""
_LONGER_THAN_FITS = "The prompt is longer than the engine's context"


@dataclass(frozen=True, slots=True)
class Address:
    """Where an engine listens: a base URL without `/v1`, or a Unix socket."""

    base: str
    socket: str = ""

    @classmethod
    def of(cls, url: str) -> Address:
        """Read `http:`, `https:` or `unix:` from what a user wrote. Raises `ConfigError`."""
        shown = without_secrets(url)
        try:
            parts = urlsplit(url.strip())
            port = parts.port
            httpx2.URL(url.strip())
        except httpx2.InvalidURL:
            raise ConfigError(f"The engine's address {shown!r} names no host that there can be; {_EXAMPLE}.") from None
        except ValueError:
            raise ConfigError(f"The engine's address {shown!r} has no usable port; {_EXAMPLE}.") from None
        if "@" in parts.netloc:
            raise ConfigError(f"The engine's address holds a password; put the token into {TOKEN} instead.")
        if parts.scheme == "unix" and not hasattr(socket, "AF_UNIX"):
            raise ConfigError("Python has no Unix sockets on this system; give the engine an http:// address.")
        if parts.scheme == "unix" and parts.path.startswith("/") and not parts.netloc:
            # A file's name may hold what ends the path of a URL.
            return cls("http://localhost", url.strip().partition(":")[2].removeprefix("//"))
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or parts.query or parts.fragment:
            raise ConfigError(f"The engine's address {shown!r} cannot be used; {_EXAMPLE}.")
        path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
        return cls(f"{parts.scheme}://{parts.netloc}{path}")

    @property
    def shown(self) -> str:
        """For sentences."""
        return f"unix://{self.socket}" if self.socket else self.base

    @property
    def local(self) -> bool:
        """Whether it never leaves this machine."""
        host = urlsplit(self.base).hostname or ""
        try:
            return bool(self.socket) or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


def without_secrets(url: str) -> str:
    """An address as it was written, to show: without what may be a password or a token."""
    return _SECRETS.sub("…", url)


_SECRETS = re.compile(r"(?:(?<=://)|^(?!\w+://)).*@|(?<=[?#]).+", re.DOTALL)
_EXAMPLE = "write for example http://127.0.0.1:8080, https://host/base or unix:///path/to.sock"


def client_for(address: Address) -> httpx2.AsyncClient:
    """A client with a warm pool. The token of the environment goes into a header and nowhere else."""
    token = os.environ.get(TOKEN, "").strip()
    if not token.isascii() or not token.isprintable():
        raise ConfigError(f"{TOKEN} holds characters that no token has; set it to the engine's token.")
    headers = {"Accept-Encoding": "identity", "User-Agent": "pass-lsp"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    verify = _certificates(address)
    try:
        return httpx2.AsyncClient(
            base_url=address.base,
            headers=headers,
            timeout=httpx2.Timeout(SILENCE_S, connect=CONNECT_S),
            verify=verify,
            limits=_MANY,
            transport=httpx2.AsyncHTTPTransport(verify, uds=address.socket, limits=_MANY) if address.socket else None,
            # A proxy of the environment is for hosts elsewhere.
            trust_env=not address.local,
        )
    except (ImportError, ValueError, httpx2.InvalidURL):  # whose words hold the proxy's address, a password included
        raise ConfigError(
            f"The proxy that the environment names for {address.shown} is of a kind that cannot be used; "
            "name an http one in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, or add the host to NO_PROXY."
        ) from None


def _certificates(address: Address) -> ssl.SSLContext | bool:
    """Those to trust. Reading them takes a tenth of a second, and without TLS nobody looks at them."""
    if address.local and not address.base.startswith("https:"):
        return False
    try:
        return httpx2.create_ssl_context()
    except OSError as error:
        raise ConfigError(
            f"The certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be read ({error.strerror}); "
            "correct or unset it."
        ) from error


async def events(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    """The JSON objects of a stream, as server-sent events or one a line; the last is `DONE`. Raises `EngineError`.

    Goes on until the server ends it, since only a connection whose stream was read to its end can be used again.
    """
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not (kind == "text/event-stream" or "json" in kind):
        raise EngineError(
            f"The server answers a completion with {kind or 'bytes of no kind'}, so it is no engine; "
            "give --engine the base address of one.",
            rest_s=REST_S,
        )
    found, total, done = Objects(), 0, False
    async for chunk in response.aiter_bytes():
        if done:
            continue
        total += len(chunk)
        for event in found.read(chunk):
            yield event
            if done := event is DONE:
                break
        if total > _MAX_BYTES or found.held > _MAX_LINE:
            raise EngineError("The engine sends more than an answer can have; restart it.", rest_s=REST_S)
    if not done:
        for event in found.rest():
            yield event


async def body_of(response: httpx2.Response) -> Any:
    """The JSON of a short answer, None if it is none."""
    read = bytearray()  # of bytes all would be copied with each chunk: seconds for the tokenizer of a large model
    async for chunk in response.aiter_bytes():
        read += chunk
        if len(read) > _MAX_FACTS:
            return None
    try:
        return json.loads(read)
    except (ValueError, RecursionError):
        return None


async def refusal(response: httpx2.Response, address: Address) -> EngineError:
    """What an error status means, in one sentence with the remedy."""
    code, rest = response.status_code, _retry_after(response.headers.get("retry-after", ""))
    said = await _said(response)
    if code == 413 or (code == 400 and _TOO_LONG.search(said)):
        return EngineError(f"{_LONGER_THAN_FITS} ({code}{said}); the next one is shorter.", too_long=True)
    if code == 409:
        return EngineError(f"{address.shown} serves another model by now; it is asked which with the next request.")
    if code == 401:
        sentence = f"The engine refuses access ({code}); set {TOKEN} to its token."
    elif code == 403:
        sentence = f"The engine refuses access ({code}{said}); check --engine, and whether {TOKEN} is its token."
    elif code == 429:
        sentence = "The engine has too much to do; it is asked again shortly, and more replicas would help."
    elif code in (502, 503, 504):
        sentence = f"The engine is not ready ({code}{said}); it is asked again shortly."
    elif code in (404, 405):
        sentence = (
            f"{address.shown} knows no completions ({code}{said}); check --engine (the base, without /v1) and --model."
        )
    elif 300 <= code < 400:
        sentence = f"{address.shown} points elsewhere ({code}); give --engine the address where the engine itself is."
    elif code >= 500:
        sentence = f"The engine failed ({code}{said}); see its log."
    else:
        sentence = f"The engine refuses the request ({code}{said}); check --model and the setting engine_kind."
    return EngineError(sentence, rest_s=rest or REST_S, busy=code == 429)


def failure(error: Exception, address: Address) -> EngineError:
    """What an error of the connection means."""
    where = address.shown
    if isinstance(error, httpx2.ProxyError):
        return EngineError(
            f"The proxy of the environment does not let through to {where}; correct it, or add the host to NO_PROXY.",
            rest_s=5 * REST_S,
        )
    if broken := _in_tls(error):
        return EngineError(f"{where} {broken}.", rest_s=5 * REST_S)
    if isinstance(error, httpx2.ConnectTimeout | httpx2.ConnectError):
        return EngineError(f"No engine can be reached at {where}; start it there or correct --engine.", rest_s=REST_S)
    if isinstance(error, httpx2.TimeoutException | TimeoutError):
        return EngineError(f"The engine at {where} does not answer; restart it.", rest_s=5 * REST_S)
    if isinstance(error, httpx2.TransportError):
        return EngineError(f"The connection to the engine at {where} broke off; see its log.", lost=True)
    return EngineError(f"What {where} sends is no HTTP ({type(error).__name__}); check --engine.", rest_s=REST_S)


def _in_tls(error: BaseException | None) -> str:
    """What failed of TLS, and the remedy; "" if nothing did."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    if isinstance(error, ssl.SSLCertVerificationError):
        said = error.verify_message.rstrip(".")
        return f"has a certificate that is not trusted here ({said}); name a file with its authority in SSL_CERT_FILE"
    return "does not answer in TLS; write http:// if it has none" if error is not None else ""


def trouble(event: dict[str, Any], begun: bool) -> EngineError | None:
    """The failure that an event in the middle of a stream reports, if it does; `begun` says that text came before."""
    if event.get("error") is None and event.get("object") != "error":
        return None
    said = _quoted(event)
    if not begun and _TOO_LONG.search(said):  # LM Studio and llama.cpp before 2026 begin the stream before they look
        return EngineError(f"{_LONGER_THAN_FITS} ({said.lstrip(': ')}); the next one is shorter.", too_long=True)
    return EngineError(f"The engine gave up on an answer{said}; see its log.", rest_s=REST_S)


async def _said(response: httpx2.Response) -> str:
    """What the server says of it. Not of 422: validators quote what they were sent."""
    read = b""
    async for chunk in response.aiter_bytes():
        read += chunk
        if len(read) > _MAX_ERROR:
            return ""
    try:
        return "" if response.status_code == 422 else _quoted(json.loads(read))
    except (ValueError, RecursionError):
        return ""


def _quoted(body: Any) -> str:
    found = body.get("error", body) if isinstance(body, dict) else None
    if isinstance(found, dict):
        found = found.get("message") or found.get("detail")
    if not isinstance(found, str) or not found.strip():
        return ""
    line = " ".join("".join(c if c.isprintable() else " " for c in found[:300]).split())
    return f": {line[:120].rstrip('.')}"


def _retry_after(value: str) -> float:
    """Seconds, from a number or a date; 0 if it is neither."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError):
            return 0.0
    return min(max(seconds, 0.0), LONGEST_REST_S) if seconds == seconds else 0.0
