"""The engine thread, driven on an event loop without any wire."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pass_lsp.domain import CancelToken, Engine
from pass_lsp.errors import PromptError
from pass_lsp.server.failures import JobFailed
from pass_lsp.server.worker import Run, Worker


def until_cancelled(_: Engine, token: CancelToken) -> str:
    while not token.cancelled:
        threading.Event().wait(0.001)
    return "late"


def gives(value: object) -> Run:
    return lambda engine, token: value


def raises(error: BaseException) -> Run:
    def run(engine: Engine, token: CancelToken) -> None:
        raise error

    return run


def on_loop(test: Callable[[Worker], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        worker = Worker()
        ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        worker.start(lambda: "the engine", ready.set_result)  # type: ignore[arg-type,return-value]
        assert await ready is None
        await asyncio.wait_for(test(worker), 20)
        assert worker.close(10)

    asyncio.run(main())


def test_jobs_run_in_order_with_the_engine() -> None:
    async def check(worker: Worker) -> None:
        futures = [worker.submit(f"{n}", lambda engine, token, n=n: (engine, n)) for n in range(20)]
        assert await asyncio.gather(*futures) == [("the engine", n) for n in range(20)]

    on_loop(check)


def test_the_newest_of_one_document_wins() -> None:
    async def check(worker: Worker) -> None:
        older = [worker.submit("a", until_cancelled) for _ in range(5)]
        newest = worker.submit("a", gives("new"))
        assert await asyncio.gather(*older, newest) == [None] * 5 + ["new"]

    on_loop(check)


def test_cancelling_the_future_cancels_the_job() -> None:
    async def check(worker: Worker) -> None:
        running, waiting = worker.submit("a", until_cancelled), worker.submit("b", until_cancelled)
        other = worker.submit("c", gives(3))
        await asyncio.sleep(0)
        running.cancel()
        waiting.cancel()
        assert await other == 3

    on_loop(check)


def test_a_paused_job_does_nothing_until_it_goes_on_gives_way_or_its_time_is_up() -> None:
    async def check(worker: Worker) -> None:
        looked, go, waiting = threading.Semaphore(0), threading.Semaphore(0), list[asyncio.Future[Any]]()

        def work(engine: Engine, token: CancelToken) -> str:
            for _ in range(2):
                looked.release()
                go.acquire()
                if token.cancelled:
                    return "cancelled"
            return "done"

        async def paused(limit_s: float, *others: Run) -> asyncio.Future[Any]:
            job = worker.submit("a", work)
            await asyncio.to_thread(looked.acquire)
            waiting.extend(worker.submit("b", other) for other in others)
            worker.pause(job, limit_s)
            go.release()
            return job

        going_on = await paused(60)
        assert not await asyncio.to_thread(looked.acquire, timeout=0.05)
        worker.set_ahead(going_on, True)
        await asyncio.to_thread(looked.acquire)
        go.release()
        assert await going_on == "done"
        assert await (await paused(0.001)) == "cancelled"
        giving_way = await paused(60)
        assert await worker.submit("b", gives(2)) == 2
        assert await giving_way is None
        assert len(worker.idle_after_ms) == 3
        assert await (await paused(60, gives(3))) is None and await waiting[0] == 3

    on_loop(check)


@pytest.mark.parametrize("ahead", [False, True])
def test_what_nobody_waits_for_comes_after_who_waits_and_so_for_who_waits_again(ahead: bool) -> None:
    async def check(worker: Worker) -> None:
        order, begun = list[str](), threading.Event()

        def run(engine: Engine, token: CancelToken) -> None:
            begun.set()
            until_cancelled(engine, token)

        running = worker.submit("a", run)
        first, second = (
            worker.submit(key, lambda engine, token, key=key: order.append(key), ahead=ahead) for key in "bc"
        )
        await asyncio.to_thread(begun.wait, 10)
        worker.set_ahead(second if ahead else first, not ahead)
        worker.set_ahead(running, True)
        assert await asyncio.gather(running, first, second) == [None] * 3
        assert order == ["c", "b"]

    on_loop(check)


def test_dropping_a_document_ends_its_jobs() -> None:
    async def check(worker: Worker) -> None:
        first, other = worker.submit("a", until_cancelled), worker.submit("b", gives(1))
        worker.drop("a")
        worker.drop("never seen")
        assert await asyncio.gather(first, other) == [None, 1]

    on_loop(check)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PromptError("The prompt is empty."), "The prompt is empty."),
        (MemoryError(), "There is not enough memory"),
        (StopIteration(), "StopIteration"),
        (SystemExit(2), "SystemExit"),
        (KeyError("source text"), "KeyError at tests.server.test_worker"),
    ],
)
def test_a_job_that_raises_fails_alone(error: BaseException, said: str) -> None:
    async def check(worker: Worker) -> None:
        failing, fine = worker.submit("a", raises(error)), worker.submit("b", gives(1))
        with pytest.raises(JobFailed) as caught:
            await failing
        assert said in str(caught.value) and "source text" not in str(caught.value)
        assert await fine == 1

    on_loop(check)


@pytest.mark.parametrize("error", [MemoryError(), SystemExit(1), PromptError("no")])
def test_a_failed_load_is_told_and_ends_the_thread(error: BaseException) -> None:
    async def main() -> None:
        worker = Worker()
        told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def load() -> Engine:
            raise error

        worker.start(load, told.set_result)
        assert await told is error
        assert worker.close(10)

    asyncio.run(main())


def test_close_cancels_and_gives_up_on_a_stuck_engine() -> None:
    async def main() -> None:
        worker, release, running = Worker(), threading.Event(), threading.Event()
        ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        worker.start(lambda: None, ready.set_result)  # type: ignore[arg-type,return-value]
        await ready

        def stuck(engine: Engine, token: CancelToken) -> None:
            running.set()
            release.wait()

        worker.submit("a", stuck)
        assert running.wait(10)
        assert not worker.close(0.01)
        release.set()
        assert worker.close(10)

    asyncio.run(main())


def test_close_without_start() -> None:
    assert Worker().close(0)


def test_once_nobody_wants_anything_for_a_while_there_is_time_for_more() -> None:
    quiet: list[str] = []

    async def main() -> None:
        loop, came = asyncio.get_running_loop(), asyncio.Queue[None]()

        def when_quiet() -> None:
            quiet.append(threading.current_thread().name)
            loop.call_soon_threadsafe(came.put_nowait, None)

        worker = Worker(quiet_s=0.05, when_quiet=when_quiet)
        worker.start(lambda: "the engine", lambda failure: None)  # type: ignore[arg-type,return-value]
        await asyncio.wait_for(came.get(), 20)
        await asyncio.sleep(0.2)
        assert quiet == ["engine"], "quiet that lasts is used once"
        assert await worker.submit("a", gives("after it")) == "after it"
        await asyncio.wait_for(came.get(), 20)
        assert worker.close(10)

    asyncio.run(main())
    assert quiet == ["engine"] * 2
