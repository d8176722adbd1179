"""Runs of asyncio with sessions in them, and the transcriber of the tests on the trio side."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from hearout import Deepgram, TurnCompleted, aio
from hearout.aio import guest
from hearout.aio.guest import in_trio
from hearout.nursery import open_background
from tests.kit.provider import Plan, Provider, Source

WORDS = [("yes", 0.5, 0.8), ("please.", 0.9, 1.2)]


@pytest.fixture(autouse=True, scope="module")
def fast_collections() -> Iterator[None]:
    """What is there already need not be looked at in every test."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def loop_factory(kind: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if kind == "uvloop":
        factory: Callable[[], asyncio.AbstractEventLoop] = pytest.importorskip("uvloop").new_event_loop
        return factory
    return asyncio.new_event_loop


def virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """trio's clock jumps; asyncio's does not, so only what runs in trio sleeps for nothing."""

    def start(*args: Any, **options: Any) -> None:
        trio.lowlevel.start_guest_run(*args, **options, clock=MockClock(autojump_threshold=0))

    monkeypatch.setattr(guest, "start_guest_run", start)


def run_asyncio(main: Callable[[], Awaitable[Any]], kind: str = "asyncio", *, debug: bool = False) -> Any:
    """Run it, and see that nothing of it is left: neither tasks nor callbacks that failed, nor a run of trio."""
    complaints: list[Any] = []

    async def watched() -> Any:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        before = asyncio.all_tasks()
        async with asyncio.timeout(20):
            result = await main()
        assert asyncio.all_tasks() == before
        return result

    with asyncio.Runner(debug=debug, loop_factory=loop_factory(kind)) as runner:
        result = runner.run(watched())
        assert_no_trio()
    gc.collect()
    assert complaints == []
    return result


def assert_no_trio() -> None:
    assert not trio.lowlevel.in_trio_run()
    assert trio.run(trio.lowlevel.checkpoint) is None


@asynccontextmanager
async def _provider(words: Sequence[Any], plans: Sequence[Plan]) -> AsyncIterator[Provider]:
    async with open_background() as nursery:
        yield Provider(nursery, words, plans)


def provider(*plans: Plan) -> AbstractAsyncContextManager[Provider]:
    """Says `WORDS`; in asyncio."""
    return in_trio(_provider([WORDS], plans or (Plan(),)))


def open_on(provider: Provider, source: Any = None, **options: Any) -> AbstractAsyncContextManager[aio.Session]:
    source = source or Source(2.0, live=options.get("realtime", True))
    return aio.open_session(
        source, Deepgram("a-key", sample_rate=16_000), vad=None, connect=provider.connect, **options
    )


async def turns_of(session: aio.Session) -> list[str]:
    return [event.text async for event in session if isinstance(event, TurnCompleted)]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nobody tells, and it takes no time
            await asyncio.sleep(0)


def in_thread(function: Callable[[], Any]) -> Callable[[], Any]:
    """Start it in a thread; what is returned waits for its result."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def join() -> Any:
        thread.join()
        if isinstance(results[0], BaseException):
            raise results[0]
        return results[0]

    return join
