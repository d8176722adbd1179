"""How sessions in asyncio end: cancelled in every state, with their loop, with the program."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import trio

from hearout import Deepgram, SessionError, UsageError, aio
from hearout.aio import guest
from hearout.aio.guest import in_trio
from tests.kit.asyncio_runs import (
    assert_no_trio,
    fast_collections,
    in_thread,
    loop_factory,
    open_on,
    provider,
    run_asyncio,
    turns_of,
    until,
    virtual_time,
)
from tests.kit.provider import Plan, Source, audio

__all__ = ["fast_collections"]  # a fixture for all of these tests

KINDS = ["asyncio", "uvloop"]

#: What a test started and left to the loop to end.
_left: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_is_complained_of(recwarn: pytest.WarningsRecorder) -> Iterator[None]:
    unraisable: list[Any] = []
    before, sys.unraisablehook = sys.unraisablehook, unraisable.append
    warnings.simplefilter("always")
    yield
    _left.clear()
    gc.collect()
    sys.unraisablehook = before
    assert unraisable == []
    assert [str(warning.message) for warning in recwarn] == []


async def connecting(go: Callable[[], Awaitable[None]], source: Source) -> None:
    async with provider(Plan(hang_handshake=True)) as p, open_on(p, source) as session:
        await until(lambda: p.connections)
        await go()
        await turns_of(session)


async def opening(go: Callable[[], Awaitable[None]], source: Source) -> None:
    async with provider() as p:
        await go()
        async with open_on(p, source):
            raise AssertionError


async def in_the_block(go: Callable[[], Awaitable[None]], source: Source) -> None:
    async with provider() as p, open_on(p, source):
        await until(lambda: p.of("audio"))
        await go()
        await asyncio.sleep(60)


async def iterating(go: Callable[[], Awaitable[None]], source: Source) -> None:
    async with provider() as p, open_on(p, source) as session:
        await until(lambda: p.of("audio"))
        await go()
        await turns_of(session)


async def waiting_for_the_last_words(go: Callable[[], Awaitable[None]], source: Source) -> None:
    async with provider(Plan(never_end=True)) as p, open_on(p, source, realtime=False) as session:
        await until(lambda: p.of("CloseStream"))
        await go()
        await turns_of(session)
        await asyncio.sleep(60)


async def retrying(go: Callable[[], Awaitable[None]], source: Source) -> None:
    async with provider(Plan(error=OSError("no route"))) as p, open_on(p, source) as session:
        await until(lambda: p.connections)
        await go()
        await turns_of(session)


def source_for(state: Callable[..., Awaitable[None]]) -> Source:
    return Source(60.0) if state is not waiting_for_the_last_words else Source(2.0, live=False)


STATES = [opening, connecting, retrying, in_the_block, iterating, waiting_for_the_last_words]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", STATES)
def test_cancelled(state: Callable[..., Coroutine[Any, Any, None]], kind: str) -> None:
    source = source_for(state)

    async def main() -> list[str]:
        async def go() -> None:
            task.cancel()

        async with provider() as other_provider, open_on(other_provider, realtime=False) as other:
            task = asyncio.create_task(state(go, source))
            await asyncio.wait([task])
            assert task.cancelled()
            return await turns_of(other)

    assert run_asyncio(main, kind) == ["yes please."]
    assert source.closed or state is opening


@pytest.mark.parametrize("state", STATES)
def test_cancelled_by_a_timeout(state: Callable[..., Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(None) as limit:

            async def go() -> None:
                limit.reschedule(asyncio.get_running_loop().time())

            await state(go, source_for(state))

    with pytest.raises(TimeoutError):
        run_asyncio(main)
    assert_no_trio()


@asynccontextmanager
async def slow(begin: float, end: float, told: list[str]) -> AsyncIterator[None]:
    """In trio."""
    try:
        await trio.sleep(begin)
        yield
        await trio.sleep(end)
        told.append("in good order")
    except trio.Cancelled:
        await trio.lowlevel.cancel_shielded_checkpoint()
        told.append("forced")
        raise


@pytest.mark.parametrize(("begin", "end", "cancels"), [(60, 0, 1), (0, 60, 2), (0, 0.01, 1)])
def test_cancelled_while_it_begins_and_while_it_ends(begin: float, end: float, cancels: int) -> None:
    # A block that is left lets the manager leave in good order; who cannot wait for that cancels again.
    told: list[str] = []

    async def use() -> None:
        async with in_trio(slow(begin, end, told)):
            await asyncio.sleep(60)

    async def main() -> None:
        async with provider():
            task = asyncio.create_task(use())
            for _ in range(cancels):
                await asyncio.sleep(0.01)
                task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            assert told == ["in good order" if end == 0.01 else "forced"]

    run_asyncio(main)


def test_cancelled_at_any_moment() -> None:
    """After so many turns of the loop, wherever that is."""

    async def one(turns: int) -> None:
        async with provider() as p, open_on(p, realtime=False) as session:
            await turns_of(session)

    async def main() -> None:
        finished = 0
        for turns in range(0, 260, 4):
            task = asyncio.create_task(one(turns))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            finished += not task.cancelled()
            assert not trio.lowlevel.in_trio_run()
            assert guest._here.host is None
        print("finished before they were cancelled:", finished)

    run_asyncio(main)


# -- the loop ends ---------------------------------------------------------------------------------------------


async def leave_open(source: Source) -> aio.Session:
    """As an object does that opens a session in its ``start`` and closes it in a ``stop`` that is never called."""
    stack = AsyncExitStack()
    _left.append(stack)
    p = await stack.enter_async_context(provider())
    session = await stack.enter_async_context(open_on(p, source))
    await until(lambda: p.of("audio"))
    return session


@pytest.mark.parametrize("kind", KINDS)
def test_asyncio_run_ends_with_a_session_open(kind: str) -> None:
    source = Source(60.0)
    with asyncio.Runner(loop_factory=loop_factory(kind)) as runner:
        runner.run(leave_open(source))
        assert not source.closed
    assert source.closed
    assert_no_trio()


@pytest.mark.parametrize("kind", KINDS)
def test_asyncio_run_ends_with_tasks_of_sessions(kind: str) -> None:
    source = Source(60.0)

    async def main() -> None:
        async def go() -> None:
            streaming.set()

        streaming = asyncio.Event()
        _left.append(asyncio.create_task(iterating(go, source)))
        await streaming.wait()

    with asyncio.Runner(loop_factory=loop_factory(kind)) as runner:
        runner.run(main())
    assert source.closed
    assert_no_trio()


@pytest.mark.parametrize("kind", KINDS)
def test_the_loop_is_closed(kind: str) -> None:
    source = Source(60.0)
    loop = loop_factory(kind)()
    session = loop.run_until_complete(leave_open(source))
    loop.close()
    assert source.closed
    assert_no_trio()
    session.force_end()  # nobody hears it
    run_asyncio(session_runs, kind)


async def session_runs() -> None:
    async with provider() as p, open_on(p, realtime=False) as session:
        assert await turns_of(session) == ["yes please."]


def test_what_waits_in_a_closed_loop_is_not_woken() -> None:
    source = Source(60.0)
    loop = asyncio.new_event_loop()

    async def main() -> None:
        session = await leave_open(source)
        waiting = asyncio.ensure_future(anext(aiter(session)))
        waiting._log_destroy_pending = False  # type: ignore[attr-defined]
        _left.append(waiting)
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    loop.close()
    assert source.closed
    assert_no_trio()


def run_program(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)


def test_the_program_ends_and_the_loop_was_never_closed() -> None:
    done = run_program("""
import asyncio
from tests.kit.provider import Source
from tests.aio.test_ends import leave_open
loop = asyncio.new_event_loop()
loop.run_until_complete(leave_open(Source(60.0)))
print("done", flush=True)
""")
    assert (done.stdout, done.stderr, done.returncode) == ("done\n", "", 0)


def test_sessions_fail_when_trio_itself_breaks_down() -> None:
    # In a process of its own, because of what trio leaves behind then.
    done = run_program("""
import asyncio, time, trio
from functools import partial
from tests.kit.provider import Source
from tests.kit.asyncio_runs import assert_no_trio
from tests.aio.test_ends import iterating
from hearout import SessionError
from hearout.aio import guest

class Clock(trio.abc.Clock):
    broken = False

    def start_clock(self):
        pass

    def current_time(self):
        return time.perf_counter()

    def deadline_to_sleep_time(self, deadline):
        if self.broken:
            raise ZeroDivisionError
        return deadline - self.current_time()

async def break_it():
    clock.broken = True

clock = Clock()
guest.start_guest_run = partial(trio.lowlevel.start_guest_run, clock=clock)
try:
    asyncio.run(iterating(break_it, Source(60.0)))
except SessionError as error:
    print(error, repr(error.__cause__.__cause__), flush=True)
assert_no_trio()
print("done", flush=True)
""")
    said, end = done.stdout.splitlines()
    assert said.startswith("trio broke down: ")
    assert said.endswith("ZeroDivisionError()")
    assert end == "done"


# -- Ctrl-C ------------------------------------------------------------------------------------------------------


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("kind", KINDS)
def test_control_c_in_asyncio_run(kind: str) -> None:
    source = Source(60.0)

    async def main() -> None:
        async def go() -> None:
            asyncio.get_running_loop().call_later(0.01, interrupt)

        await iterating(go, source)

    with pytest.raises(KeyboardInterrupt), asyncio.Runner(loop_factory=loop_factory(kind)) as runner:
        runner.run(main())
    assert source.closed
    assert_no_trio()


def test_control_c_in_a_bare_loop() -> None:
    # trio has put its own handler of the signal in place of the default one.
    source = Source(60.0)
    loop = asyncio.new_event_loop()

    async def go() -> None:
        loop.call_later(0.01, interrupt)

    task = loop.create_task(iterating(go, source))
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(task)
    if not source.closed:
        task.cancel()
    with pytest.raises((SessionError, asyncio.CancelledError)):
        loop.run_until_complete(task)
    loop.close()
    assert source.closed
    assert_no_trio()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# -- more than one loop, more than one trio ----------------------------------------------------------------------


def test_loops_in_other_threads_have_runs_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    virtual_time(monkeypatch)

    async def main() -> list[str]:
        async with provider() as p, open_on(p) as session:
            return await turns_of(session)

    def run() -> Any:
        with asyncio.Runner() as runner:
            return [runner.run(main()) for _ in range(3)]

    joins = [in_thread(run) for _ in range(3)]
    assert run_asyncio(main) == ["yes please."]
    assert [join() for join in joins] == [[["yes please."]] * 3] * 3


def test_audio_pushed_from_a_thread_is_refused_with_the_remedy() -> None:
    async def main() -> None:
        source = aio.PushSource()
        loop = asyncio.get_running_loop()
        async with provider() as p, open_on(p, source):
            await until(lambda: source._thread)
            with pytest.raises(UsageError, match=r"loop\.call_soon_threadsafe\(source\.push, pcm\)"):
                await asyncio.to_thread(source.push, audio(0.0, 1.0))
            await asyncio.to_thread(loop.call_soon_threadsafe, source.push, audio(0.0, 1.0))
            await until(lambda: p.of("audio"))

    run_asyncio(main)


def test_a_second_loop_in_the_thread_is_refused() -> None:
    source = Source(60.0)
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    first.run_until_complete(leave_open(source))
    with pytest.raises(UsageError, match="another event loop of this thread has sessions open"):
        second.run_until_complete(session_runs())
    assert not source.closed
    first.close()
    assert source.closed
    second.run_until_complete(session_runs())
    second.close()


def test_a_trio_run_of_the_applications_own_is_in_the_way() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        scope = trio.CancelScope()

        async def own() -> None:
            with scope:
                await trio.sleep_forever()

        trio.lowlevel.start_guest_run(
            own, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=lambda _: over.set_result(None)
        )
        with pytest.raises(UsageError, match=r"another trio run in this thread.*use hearout\.open_session"):
            async with aio.open_session(Source(1.0), Deepgram("a-key", sample_rate=16_000)):
                raise AssertionError
        scope.cancel()
        await over

    run_asyncio(main)
