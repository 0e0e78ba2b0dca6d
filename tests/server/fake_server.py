"""The real server with a scripted engine: `load` and `complete` do what the environment and the text say.

A document may begin with an order, as `# do: slow`; any other is completed with a report
of what the server saw, so that a test can compare it with what it sent. Counters of what
the engine did come back through a document that says `# do: count`.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pass_lsp.config import Settings
from pass_lsp.documents.document import Document
from pass_lsp.documents.workspace import Workspace
from pass_lsp.domain import CancelToken, Completion, Reason
from pass_lsp.errors import ModelError
from pass_lsp.server.app import create_server, serve
from pass_lsp.server.logs import configure

COUNTS: Counter[str] = Counter()


@dataclass(frozen=True)
class Outcome:
    """Looks like `completion.Outcome`, which a bare server must not import."""

    completion: Completion | None = None
    reason: Reason | None = None


def load(settings: Settings, progress: Callable[[str], None]) -> Any:
    """What the environment says: fail, take long, be stuck, print."""
    how = os.environ.get("FAKE_LOAD", "")
    progress(f"loading {settings.model}")
    if how == "model-error":
        raise ModelError("The model is broken; choose another.")
    if how == "exit":
        sys.exit(3)
    if how == "slow":
        for step in range(10_000):
            progress(f"step {step}")
            time.sleep(0.01)
    if how == "stuck":
        threading.Event().wait()
    if how == "noisy":
        print("a stray line")  # noqa: T201  # what must not reach the client
        os.write(1, b"a stray line of native code\n")
        ctypes.CDLL(None).puts(b"a stray line of C")
    return object()


def complete(
    document: Document, offset: int, engine: Any, settings: Settings, *, cancel: CancelToken, workspace: Workspace
) -> Outcome:
    """Follow the order in the document's first line."""
    order = document.text.partition("\n")[0].removeprefix("# do: ").strip()
    COUNTS["started"] += 1
    if order == "workspace":
        return around(workspace, offset)
    return ORDERS.get(order, report)(document, offset, settings, cancel)


def report(document: Document, offset: int, settings: Settings, cancel: CancelToken) -> Outcome:
    """A hash of the text, the place, and the settings in force."""
    digest = hashlib.sha256(document.text.encode("utf-8", "surrogatepass")).hexdigest()
    seen = {"sha": digest, "offset": offset, "version": document.version, "language": document.language}
    seen |= {"path": document.path, "deadline": settings.deadline_ms, "model": settings.model}
    seen |= {"tokens": settings.prompt_tokens, "text": document.text[:200] if len(document.text) < 200 else ""}
    return Outcome(Completion(json.dumps(seen), offset, offset))


def slow(document: Document, offset: int, settings: Settings, cancel: CancelToken) -> Outcome:
    """Decode for up to 20 s, looking at the token as a decode loop does."""
    COUNTS["running"] += 1
    COUNTS["most at once"] = max(COUNTS["most at once"], COUNTS["running"])
    end = time.monotonic() + 20
    while not cancel.cancelled and time.monotonic() < end:
        time.sleep(0.002)
    COUNTS["running"] -= 1
    COUNTS["cancelled" if cancel.cancelled else "finished"] += 1
    return Outcome(reason=Reason.CANCELLED)


def brief(document: Document, offset: int, settings: Settings, cancel: CancelToken) -> Outcome:
    """Take a moment, then report."""
    time.sleep(0.02)
    return report(document, offset, settings, cancel)


def stuck(*_: Any) -> Outcome:
    """Native code that never looks at the token."""
    threading.Event().wait()
    return Outcome()


def count(document: Document, offset: int, settings: Settings, cancel: CancelToken) -> Outcome:
    """The counters so far."""
    return Outcome(Completion(json.dumps(COUNTS), offset, offset))


def around(workspace: Workspace, offset: int) -> Outcome:
    """What else is open, and where it was edited."""
    seen = {
        "documents": [[document.uri, document.version] for document in workspace.documents],
        "edits": [[region.uri, region.first, region.last] for region in workspace.edits],
        "roots": workspace.roots,
    }
    return Outcome(Completion(json.dumps(seen), offset, offset))


def nothing(*_: Any) -> Outcome:
    """An honest no."""
    return Outcome(reason=Reason.IN_COMMENT)


def fail(document: Document, *_: Any) -> Outcome:
    """A failure whose message quotes source text."""
    raise ValueError(f"cannot do this with {document.text}")


def no_memory(*_: Any) -> Outcome:
    """Out of memory."""
    raise MemoryError


def leave(*_: Any) -> Outcome:
    """A library that ends the process."""
    sys.exit(4)


def from_the_left(document: Document, offset: int, *_: Any) -> Outcome:
    """An item whose range begins two characters left of the cursor and ends one right of it."""
    return Outcome(Completion(document.text[offset - 2 : offset] + "xyz", offset - 2, offset + 1))


def off_the_line(document: Document, offset: int, *_: Any) -> Outcome:
    """An item that no editor can draw."""
    return Outcome(Completion("x", 0, offset))


ORDERS: dict[str, Callable[..., Outcome]] = {
    "slow": slow,
    "brief": brief,
    "stuck": stuck,
    "count": count,
    "nothing": nothing,
    "fail": fail,
    "memory": no_memory,
    "leave": leave,
    "left": from_the_left,
    "off": off_the_line,
}


def main() -> None:
    """Serve as `pass-lsp serve` does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--stdio", action="store_true")
    parser.add_argument("--tcp", action="store_true")
    parser.add_argument("--clientProcessId", type=int)
    parser.add_argument("--log-level", default="debug")
    parser.add_argument("--tokens", type=int)
    options = parser.parse_args()
    configure(options.log_level)
    settings = Settings(prompt_tokens=options.tokens) if options.tokens else None
    server = create_server(load, settings, complete=complete)
    raise SystemExit(serve(server, tcp=("127.0.0.1", 0) if options.tcp else None, client_pid=options.clientProcessId))


if __name__ == "__main__":
    main()
