"""`bench load`: many people type at once against one address; what they get, how soon, and what is thrown away.

Each typist replays keystrokes with human timing, asks in the pauses, and drops what was asked
with the next key, as an editor does: the connection closes. Prompts are cut by characters, so
that one process can type for hundreds; what is measured is the server, not the context.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from tqdm import tqdm

from pass_lsp import prompt
from pass_lsp.bench.traces import Edit, Trace, made_traces
from pass_lsp.config import Settings
from pass_lsp.domain import Context, Mode, SamplingParams
from pass_lsp.engines.remote import Address, Wishes
from pass_lsp.engines.remote.answer import Answer
from pass_lsp.engines.remote.discovery import Peer, discover
from pass_lsp.engines.remote.stream import stream
from pass_lsp.engines.remote.wire import client_for
from pass_lsp.errors import ConfigError, EngineError
from pass_lsp.metrics.percentiles import percentiles

_KEYS_A_TYPIST = 120
_NEAR = 4000, 1500
"""Characters before and after the cursor that a prompt may have."""
_AS_MANY = 0.8
_THINK_S = 0.5, 2.0
"""Between two pieces of typing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How hard, and for how long. `wait_ms` is how long a key must stand before the typist's editor asks."""

    typists: Sequence[int] = (1, 4, 16)
    seconds: float = 20.0
    speed: float = 1.0
    wait_ms: float = 75.0
    max_new_tokens: int = 32
    seed: int = 0
    goal_ms: float = 500.0


@dataclass(slots=True)
class Tally:
    """What became of the requests of all typists; times in ms."""

    asked: int = 0
    cancelled: int = 0
    first: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    pieces: int = 0
    thrown_away: int = 0
    failures: Counter[str] = field(default_factory=Counter)


def bench_load(url: str, plan: Plan, wishes: Wishes, traces: Sequence[Trace] = ()) -> dict[str, Any]:
    """A row for each number of typists, and the most that were served well. Raises `EngineError`, `ConfigError`."""
    if not traces and plan.typists:
        traces = made_traces(_KEYS_A_TYPIST * min(max(plan.typists), 32), plan.seed)
    if not any(trace.edits for trace in traces):
        raise ConfigError("There are no keystrokes to type; give a trace that holds some.")
    return asyncio.run(_measured(Address.of(url), plan, wishes, traces))


async def _measured(address: Address, plan: Plan, wishes: Wishes, traces: Sequence[Trace]) -> dict[str, Any]:
    client = client_for(address)
    client.timeout = 10.0
    async with client:
        peer = await discover(client, address, wishes)
        rows = []
        for count in plan.typists:
            desk = _Desk(client, address, peer, plan, Tally())
            with tqdm(total=round(plan.seconds), desc=f"{count} typists", unit="s") as bar:
                took_s = await _typed_by(count, desk, traces, bar.update)
            rows.append(_row(count, desk.tally, took_s))
    facts = {"url": address.shown, "engine": peer.adapter.name, "model": peer.model, "seconds": plan.seconds}
    return {**facts, "goal_ms": plan.goal_ms, "rated_typists": rated(rows, plan.goal_ms), "rows": rows}


def rated(rows: Sequence[dict[str, Any]], goal_ms: float) -> int:
    """The most typists that were served well; 0 if none were.

    No request failed, the 99th percentile is within the goal, and nearly as many requests were answered before the next
    key as in the best row: where all is slow, typing cancels the slow ones, and times of the rest tell nothing.
    """
    enough = _AS_MANY * max((row["answered_share"] for row in rows), default=0.0)
    good = [
        row["typists"]
        for row in rows
        if not row["failed"] and row["answers"] and row["answer_p99_ms"] <= goal_ms and row["answered_share"] >= enough
    ]
    return max(good, default=0)


async def _typed_by(count: int, desk: _Desk, traces: Sequence[Trace], tick: Callable[[], Any]) -> float:
    """Have so many type until the time is up; the seconds that it took."""
    began = time.monotonic()
    typists = [asyncio.create_task(desk.type(number, traces)) for number in range(count)]
    while (left := began + desk.plan.seconds - time.monotonic()) > 0:
        done, _ = await asyncio.wait(typists, timeout=min(1.0, left))
        for typist in done:  # they type for ever, unless there is a fault here
            typist.result()
        tick()
    took_s = time.monotonic() - began
    for typist in typists:
        typist.cancel()
    await asyncio.gather(*typists, return_exceptions=True)
    return took_s


@dataclass(frozen=True, slots=True)
class _Desk:
    """What all typists of one round share."""

    client: Any
    address: Address
    peer: Peer
    plan: Plan
    tally: Tally

    async def type(self, number: int, traces: Sequence[Trace]) -> None:
        """One typist, until cancelled."""
        rng = random.Random(self.plan.seed * 10_007 + number)
        running: asyncio.Task[None] | None = None
        try:
            while True:
                await asyncio.sleep(rng.uniform(*_THINK_S) / self.plan.speed)
                trace = rng.choice(traces)
                for text, edit, gap_s in _keys(trace, self.plan.speed):
                    if running is not None and not running.cancel() and not running.cancelled():
                        running.result()  # a fault here is no answer
                    if gap_s > self.plan.wait_ms / 1000:
                        running = asyncio.create_task(self.ask(text, edit.cursor, f"{number} {trace.name}"))
                    await asyncio.sleep(gap_s)
        finally:
            if running is not None:
                running.cancel()
                await asyncio.wait((running,))

    async def ask(self, text: str, cursor: int, session: str) -> None:
        """One request, cancelled by the next key."""
        await asyncio.sleep(self.plan.wait_ms / 1000)
        ids = self.ids(text, cursor)
        self.tally.asked += 1
        began, heard = time.perf_counter(), list[float]()
        answer = self.answer(heard)
        try:
            await stream(self.client, self.address, self.peer, ids, answer, quote(session, safe=""))
        except asyncio.CancelledError:
            self.tally.cancelled += 1
            self.tally.thrown_away += len(answer.pieces)
            raise
        except EngineError as error:
            self.tally.failures[str(error).partition(";")[0]] += 1
        else:
            # Of the same requests, so that the two can be compared.
            self.tally.first += [(at - began) * 1000 for at in heard[:1]]
            self.tally.answered.append((time.perf_counter() - began) * 1000)
            self.tally.pieces += len(answer.pieces)

    def answer(self, heard: list[float]) -> Answer:
        """One that ends with its first line, and notes in `heard` when its text came."""
        tokenizer = self.peer.tokenizer

        def stop(ids: list[int]) -> int | None:
            heard.append(time.perf_counter())
            return len(ids) if "\n" in tokenizer.decode(ids).lstrip("\n") else None

        params = SamplingParams(self.plan.max_new_tokens)
        limit = self.plan.max_new_tokens * 8 * getattr(tokenizer, "ids_per_token", 1)
        return Answer(params, None, stop, limit)

    def ids(self, text: str, cursor: int) -> list[int]:
        """The prompt, of whole lines near the cursor."""
        start, end = max(cursor - _NEAR[0], 0), cursor + _NEAR[1]
        start = text.rfind("\n", 0, start) + 1
        context = Context(text[start:cursor], text[cursor:end], Mode.SINGLE_LINE, "load.py", "python")
        tokenizer = self.peer.tokenizer
        template = prompt.template_for(tokenizer)
        room = prompt.room(self.peer, Settings())  # type: ignore[arg-type]
        return list(prompt.render(context, template, tokenizer, room).token_ids)


def _keys(trace: Trace, speed: float) -> Iterator[tuple[str, Edit, float]]:
    """The text after each key, the key, and the seconds until the next one."""
    text, edits = trace.text, trace.edits
    for number, edit in enumerate(edits):
        text = text[: edit.position] + edit.inserted + text[edit.position + edit.deleted :]
        following = edits[number + 1].at_ms if number + 1 < len(edits) else edit.at_ms + 1000.0
        yield text, edit, (following - edit.at_ms) / 1000 / speed


def _row(count: int, tally: Tally, took_s: float) -> dict[str, Any]:
    """One row of the table."""
    # Of nothing there is no time: null, and not 0.
    first, whole = (percentiles(times) if times else {} for times in (tally.first, tally.answered))
    failed = sum(tally.failures.values())
    pieces = tally.pieces + tally.thrown_away
    return {
        "typists": count,
        "requests": tally.asked,
        "answers": len(tally.answered),
        "answered_share": round(len(tally.answered) / max(tally.asked, 1), 3),
        "answers_per_s": round(len(tally.answered) / took_s, 2),
        "first_p50_ms": first.get("p50"),
        "first_p99_ms": first.get("p99"),
        "answer_p50_ms": whole.get("p50"),
        "answer_p90_ms": whole.get("p90"),
        "answer_p99_ms": whole.get("p99"),
        "cancelled_share": round(tally.cancelled / max(tally.asked, 1), 3),
        "thrown_away_share": round(tally.thrown_away / max(pieces, 1), 3),
        "failed": failed,
        "why": "; ".join(f"{count}× {why}" for why, count in tally.failures.most_common(3)) or None,
    }
