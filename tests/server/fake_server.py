"""The real server with a scripted engine: `load` and `complete` do what the environment and the text say.

A document may begin with an order, as `# do: slow`; any other is completed with a report
of what the server saw, so that a test can compare it with what it sent. Counters of what
the engine did come back through a document that says `# do: count`, and stand in the file
that `FAKE_COUNTS` names. `# do: spell` says `SPELT` letter by letter, as many letters as
the file that `FAKE_GATE` names has, and is done when that ends with an exclamation mark; with
a question mark it is not sure of it. Alternatives wait while that file with `.held` behind its name is there.
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pass_lsp.config import Settings
from pass_lsp.documents.document import Document
from pass_lsp.documents.workspace import Workspace
from pass_lsp.domain import CancelToken, Completion, Generation
from pass_lsp.errors import ModelError
from pass_lsp.reasons import Reason
from pass_lsp.server.app import create_server, serve
from pass_lsp.server.flow import Flow
from pass_lsp.server.logs import configure

LOG_PROB = -6.0
SPELT = "alpha = beta\n    gamma()\n    delta"


class Counts(Counter[str]):
    """Counters that stand in a file as well."""

    def __setitem__(self, key: str, value: int) -> None:
        super().__setitem__(key, value)
        if path := os.environ.get("FAKE_COUNTS"):
            beside = Path(path + ".new")
            beside.write_text(json.dumps(self))
            beside.replace(path)


COUNTS = Counts()


class Engine:
    """Nothing but something to forget, and a look-ahead artifact or none."""

    lookahead = os.environ.get("FAKE_LOOKAHEAD")

    def forget(self) -> None:
        COUNTS["forgot"] += 1


@dataclass(frozen=True)
class Outcome:
    """Looks like `completion.Outcome`, which a bare server must not import."""

    completion: Completion | None = None
    reason: Reason | None = None
    generation: Generation | None = None
    taken_ms: dict[str, float] = field(default_factory=dict)


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
    return Engine()


def complete(
    document: Document,
    offset: int,
    engine: Any,
    settings: Settings,
    *,
    cancel: CancelToken,
    on_text: Any,
    workspace: Workspace,
    least_log_prob: float | None,
) -> Outcome:
    """Follow the order in the document's first line."""
    order = document.text.partition("\n")[0].removeprefix("# do: ").strip()
    COUNTS["started"] += 1
    if order == "workspace":
        return around(workspace, offset)
    if order == "spell":
        return spell(document, offset, cancel, on_text)
    if order == "judge":
        return judge(offset, least_log_prob)
    return ORDERS.get(order, report)(document, offset, settings, cancel)


def spell(document: Document, offset: int, cancel: CancelToken, on_text: Any) -> Outcome:
    """Say as much as the gate allows."""
    gate, said = Path(os.environ["FAKE_GATE"]), 0
    COUNTS["spelling"] += 1

    def closed(whole_lines: bool) -> Completion | None:
        complete = SPELT[: SPELT.rfind("\n", 0, said) + 1].rstrip("\n")
        complete = complete or ("" if whole_lines else SPELT[:said].rpartition(" ")[0])
        return Completion(complete, offset, offset, Generation([1] * said, "length")) if complete else None

    while not cancel.cancelled:
        allowed = gate.read_text()
        while said < min(len(allowed.rstrip("!?")), len(SPELT)) and not cancel.cancelled:
            said += 1
            on_text(SPELT[:said], closed)
            COUNTS["said"] = said
        if allowed.endswith("!"):
            COUNTS["spelt"] += 1
            spelt = SPELT.replace("\n", "\r\n") if "\r\n" in document.text else SPELT
            return Outcome(Completion(spelt, offset, offset), generation=Generation([1] * 9, "eos", forwards=6))
        if allowed.endswith("?"):
            COUNTS["spelt"] += 1
            return Outcome(reason=Reason.UNSURE)
        time.sleep(0.001)
    COUNTS["cancelled"] += 1
    return Outcome(reason=Reason.CANCELLED)


def judge(offset: int, least_log_prob: float | None) -> Outcome:
    """Be as sure as `LOG_PROB`, if anybody wants to know."""
    COUNTS["judged"] += least_log_prob is not None
    if least_log_prob is not None and least_log_prob > LOG_PROB:
        return Outcome(reason=Reason.UNSURE, generation=Generation([1], "stop", log_probs=(LOG_PROB,)))
    return Outcome(Completion("unsure()", offset, offset, log_prob=None if least_log_prob is None else LOG_PROB))


def prefill(*_: Any, cancel: CancelToken, workspace: Workspace) -> None:
    """Read ahead."""
    COUNTS["prefilled"] += 1


def alternatives(
    document: Document,
    offset: int,
    engine: Any,
    first: Completion,
    settings: Settings,
    *,
    cancel: CancelToken,
    workspace: Workspace,
) -> list[Completion]:
    """As many as wanted."""
    COUNTS["alternatives"] += 1
    held = Path(os.environ.get("FAKE_GATE", "") + ".held")
    while held.exists() and not cancel.cancelled:
        time.sleep(0.001)
    return [Completion(f"other_{number}", offset, offset) for number in range(settings.alternatives - 1)]


def report(document: Document, offset: int, settings: Settings, cancel: CancelToken) -> Outcome:
    """A hash of the text, the place, and the settings in force."""
    digest = hashlib.sha256(document.text.encode("utf-8", "surrogatepass")).hexdigest()
    seen = {"sha": digest, "offset": offset, "version": document.version, "language": document.language}
    seen |= {"path": document.path, "lines": settings.multi_line_tokens, "model": settings.model}
    seen |= {"strategy": settings.strategy}
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


def ignored(document: Document, offset: int, *_: Any) -> Outcome:
    """A no the first time: an ignore file that is changed then."""
    COUNTS["looked"] += 1
    return Outcome(Completion("shown()", offset, offset)) if COUNTS["looked"] > 1 else Outcome(reason=Reason.IGNORED)


def fail(document: Document, *_: Any) -> Outcome:
    """A failure whose message quotes source text."""
    raise ValueError(f"cannot do this with {document.text}")


def no_memory(*_: Any) -> Outcome:
    """Out of memory."""
    raise MemoryError


def no_memory_once(document: Document, offset: int, *_: Any) -> Outcome:
    """Out of memory on the device, the way torch says it, until something is forgotten."""
    if not COUNTS["forgot"]:
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")
    return Outcome(Completion("enough now", offset, offset))


def leave(*_: Any) -> Outcome:
    """A library that ends the process."""
    sys.exit(4)


def from_the_left(document: Document, offset: int, *_: Any) -> Outcome:
    """An item whose range begins two characters left of the cursor and ends one right of it."""
    return Outcome(Completion(document.text[offset - 2 : offset] + "xyz", offset - 2, offset + 1))


def as_it_is(document: Document, offset: int, *_: Any) -> Outcome:
    """An item that changes nothing."""
    return Outcome(Completion(document.text[offset : offset + 1], offset, offset + 1))


def off_the_line(document: Document, offset: int, *_: Any) -> Outcome:
    """An item that no editor can draw."""
    return Outcome(Completion("x", 0, offset))


ORDERS: dict[str, Callable[..., Outcome]] = {
    "slow": slow,
    "brief": brief,
    "stuck": stuck,
    "count": count,
    "nothing": nothing,
    "ignored": ignored,
    "fail": fail,
    "memory": no_memory,
    "memory-once": no_memory_once,
    "leave": leave,
    "left": from_the_left,
    "off": off_the_line,
    "same": as_it_is,
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
    server = create_server(load, settings, flow=Flow(complete, prefill, alternatives))
    raise SystemExit(serve(server, tcp=("127.0.0.1", 0) if options.tcp else None, client_pid=options.clientProcessId))


if __name__ == "__main__":
    main()
