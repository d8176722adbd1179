"""Sessions in asyncio: events, errors, sources, and any number of them at once."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing

import hearout
from hearout import (
    Deepgram,
    LinkSettings,
    SessionError,
    TurnCompleted,
    TurnStarted,
    TurnUpdated,
    UsageError,
    aio,
)
from hearout.aio import guest
from tests.kit.asyncio_runs import (
    WORDS,
    fast_collections,
    open_on,
    provider,
    run_asyncio,
    turns_of,
    until,
    virtual_time,
)
from tests.kit.provider import Plan, Provider, Source, audio

__all__ = ["fast_collections"]  # a fixture for all of these tests

KINDS = ["asyncio", "uvloop"]


@pytest.fixture
def virtual(monkeypatch: pytest.MonkeyPatch) -> None:
    virtual_time(monkeypatch)


def public(of: type) -> dict[str, Any]:
    return {name: inspect.getattr_static(of, name) for name in dir(of) if not name.startswith("_")}


def test_the_surface_is_that_of_trio() -> None:
    assert public(aio.Session).keys() == public(hearout.Session).keys()
    assert {"force_end", "send", "agent_started", "gates", "now", "link_stats"} <= public(aio.Session).keys()
    for name, member in public(hearout.Session).items():
        if inspect.isfunction(member):
            assert inspect.signature(member) == inspect.signature(getattr(aio.Session, name)), name
    here, there = inspect.signature(aio.open_session), inspect.signature(hearout.open_session)
    assert here.parameters == there.parameters
    assert inspect.signature(aio.local_server) == inspect.signature(hearout.local_server)


@pytest.mark.usefixtures("virtual")
@pytest.mark.parametrize("kind", KINDS)
def test_one_session_gives_its_turns(kind: str) -> None:
    async def main() -> list[str]:
        async with provider() as p, open_on(p) as session:
            return await turns_of(session)

    assert run_asyncio(main, kind, debug=True) == ["yes please."]


@pytest.mark.usefixtures("virtual")
def test_the_events_are_those_of_trio() -> None:
    async def main() -> list[Any]:
        async with provider() as p, open_on(p, realtime=False) as session:
            return [event async for event in session if not isinstance(event, TurnUpdated)]

    async def native() -> list[Any]:
        async with trio.open_nursery() as nursery:
            p = Provider(nursery, [WORDS])
            transcriber = Deepgram("a-key", sample_rate=16_000)
            async with hearout.open_session(
                Source(2.0), transcriber, vad=None, connect=p.connect, realtime=False
            ) as session:
                return [event async for event in session if not isinstance(event, TurnUpdated)]

    assert run_asyncio(main) == trio.run(native, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.usefixtures("virtual")
@pytest.mark.parametrize(("kind", "count"), [("asyncio", 100), ("uvloop", 20)])
def test_many_sessions_and_some_of_them_fail(kind: str, count: int) -> None:
    async def one(number: int) -> Any:
        plan = Plan(status=401, body=b'{"err_code":"INVALID_AUTH"}') if number % 10 == 3 else Plan()
        error = (1.0, LookupError(f"source {number}")) if number % 10 == 7 else None
        try:
            async with provider(plan) as p, open_on(p, Source(2.0, error=error)) as session:
                return await turns_of(session)
        except (SessionError, LookupError) as failure:
            return failure

    async def main() -> list[Any]:
        return await asyncio.gather(*(one(number) for number in range(count)))

    for number, result in enumerate(run_asyncio(main, kind)):
        if number % 10 == 3:
            assert isinstance(result, SessionError)
            assert "401" in str(result)
        elif number % 10 == 7:
            assert isinstance(result, LookupError)
            assert str(result) == f"source {number}"
        else:
            assert result == ["yes please."]


@pytest.mark.usefixtures("virtual")
def test_an_error_of_the_source_comes_as_itself_and_after_the_words() -> None:
    cause = ValueError("the cause")
    error = LookupError("microphone unplugged")
    error.__cause__ = cause

    async def main() -> list[Any]:
        got: list[Any] = []
        async with provider() as p, open_on(p, Source(3.0, error=(1.8, error))) as session:
            try:
                async for event in session:
                    if isinstance(event, TurnCompleted):
                        got.append(event.text)
            except LookupError as caught:
                got.append(caught)
            assert [event async for event in session] == []
        return got

    text, caught = run_asyncio(main)
    assert text == "yes please."
    assert caught is error
    assert caught.__cause__ is cause


@pytest.mark.usefixtures("virtual")
def test_a_failure_that_nobody_saw_comes_at_the_end_of_the_block() -> None:
    async def main() -> None:
        async with provider(Plan(status=401)) as p, open_on(p) as session:
            await until(lambda: session._closed)

    with pytest.raises(SessionError, match="401"):
        run_asyncio(main)


@pytest.mark.usefixtures("virtual")
def test_the_error_of_the_block_goes_first() -> None:
    async def main() -> None:
        async with provider(Plan(status=401)) as p, open_on(p) as session:
            await until(lambda: session._closed)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_asyncio(main)


def test_parts_that_do_not_fit_are_refused_at_once() -> None:
    async def main() -> None:
        with pytest.raises(UsageError, match="make them agree"):
            async with aio.open_session(Source(1.0), Deepgram("a-key", sample_rate=8000)):
                raise AssertionError
        with pytest.raises(UsageError, match="no_such_policy"):
            async with aio.open_session(Source(1.0), Deepgram("a-key"), policy="no_such_policy"):
                raise AssertionError

    run_asyncio(main)


@pytest.mark.usefixtures("virtual")
def test_an_exit_of_the_source_ends_its_block_only() -> None:
    # What is no Exception is not the session's to tell: it goes through, as it does in trio.
    source = Source(2.0, error=(1.0, SystemExit(3)))  # type: ignore[arg-type]

    async def leave() -> None:
        async with provider() as p, open_on(p, source) as session:
            assert await turns_of(session) == []

    async def main() -> list[str]:
        async with provider() as p, open_on(p) as other:
            with pytest.raises(SystemExit) as caught:
                await leave()
            assert caught.value.code == 3
            return await turns_of(other)

    assert run_asyncio(main) == ["yes please."]


@pytest.mark.parametrize("kind", KINDS)
def test_audio_pushed_by_callbacks(kind: str) -> None:
    async def main() -> list[str]:
        source = aio.PushSource()
        loop = asyncio.get_running_loop()
        blocks = iter(range(75))

        def callback() -> None:
            if (block := next(blocks, None)) is None:
                source.close()
            else:
                source.push(audio(block * 0.02, block * 0.02 + 0.02))
                loop.call_later(0.002, callback)

        async with provider() as p, open_on(p, source, realtime=False) as session:
            callback()
            return await turns_of(session)

    assert run_asyncio(main, kind, debug=True) == ["yes please."]


def test_commands_work_at_once() -> None:
    at_once = LinkSettings(replay_speed=None)

    async def main() -> None:
        source = aio.PushSource()
        async with provider() as p, open_on(p, source, policy="push_to_talk", link=at_once) as session:
            session.agent_started()
            source.push(audio(0.0, 1.3))
            await until(lambda: p.of("audio"))
            assert session.heard == pytest.approx(1.3)
            assert session.link_stats.connections == 1
            assert session.gates == []
            session.hold()
            session.release()
            session.force_end()
            events = []
            async for event in session:
                events.append(event)
                if isinstance(event, TurnCompleted):
                    break
            (started,) = [event for event in events if isinstance(event, TurnStarted)]
            assert started.agent_speaking
            assert isinstance(events[-1], TurnCompleted)
            assert events[-1].text == "yes please."
            session.agent_stopped()
            session.clear()
            session.send('{"type":"KeepAlive"}')
            assert session.now > 0
        # The last callbacks of an application may come when all is over.
        session.agent_started()
        session.force_end()
        source.push(bytes(640))
        assert session.heard == pytest.approx(1.3)

    run_asyncio(main)


@pytest.mark.usefixtures("virtual")
def test_a_slow_consumer_gets_the_newest_text_only() -> None:
    async def main() -> list[Any]:
        async with provider() as p, open_on(p) as session:
            await until(lambda: session._closed)
            return [event async for event in session]

    events = run_asyncio(main)
    kinds = [type(event).__name__ for event in events]
    assert "TurnUpdated" in kinds
    assert all((a, b) != ("TurnUpdated", "TurnUpdated") for a, b in pairwise(kinds))
    assert events[-1].text == "yes please."


def test_several_may_iterate() -> None:
    async def main() -> int:
        source = aio.PushSource()
        async with provider() as p, open_on(p, source, realtime=False) as session, asyncio.TaskGroup() as group:
            tasks = [group.create_task(turns_of(session)) for _ in range(3)]
            source.push(audio(0.0, 2.0))
            source.close()
        return sum(len(task.result()) for task in tasks)

    assert run_asyncio(main) == 1


async def chunks_of(seconds: float, given: list[float]) -> AsyncIterator[bytes]:
    for block in range(round(seconds * 10)):
        given.append(block / 10)
        yield audio(block * 0.1, block * 0.1 + 0.1)


def test_an_iterator_of_asyncio_is_fed_with_back_pressure() -> None:
    async def main() -> list[str]:
        source = aio.PushSource(limit=1.0)
        given: list[float] = []
        async with asyncio.TaskGroup() as group, provider() as p:
            group.create_task(aio.feed(source, chunks_of(3.0, given)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert source.waiting <= 0.7  # nobody listens yet
            assert len(given) <= 8
            async with open_on(p, source, realtime=False) as session:
                turns = await turns_of(session)
        assert len(given) == 30
        return turns

    assert run_asyncio(main) == ["yes please."]


def test_the_session_raises_what_the_fed_iterator_raised() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield audio(0.0, 1.5)
        raise ConnectionResetError("the caller's socket")

    async def main() -> list[str]:
        source, got = aio.PushSource(), []
        async with asyncio.TaskGroup() as group, provider() as p:
            group.create_task(aio.feed(source, broken()))
            async with open_on(p, source, realtime=False) as session:
                try:
                    async for event in session:
                        if isinstance(event, TurnCompleted):
                            got.append(event.text)
                except ConnectionResetError as error:
                    got.append(str(error))
        return got

    assert run_asyncio(main) == ["yes please.", "the caller's socket"]


def test_feeding_ends_with_the_session() -> None:
    given: list[float] = []

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(3200)
                await asyncio.sleep(0)
        finally:
            given.append(0.0)

    async def main() -> None:
        source = aio.PushSource(limit=1.0)
        chunks = endless()
        async with asyncio.TaskGroup() as group, provider() as p:
            feeding = group.create_task(aio.feed(source, chunks))
            async with open_on(p, source):
                pass
            await feeding
        await chunks.aclose()  # type: ignore[attr-defined]

    run_asyncio(main)
    assert given == [0.0]


@pytest.mark.usefixtures("virtual")
def test_sessions_that_come_and_go_share_what_runs_or_begin_anew() -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)

    async def one(delay: int) -> list[str]:
        for _ in range(delay):
            await asyncio.sleep(0)
        async with provider() as p, open_on(p, realtime=False) as session:
            return await turns_of(session)

    async def main() -> list[list[str]]:
        first = [await one(0) for _ in range(3)]
        return first + await asyncio.gather(*(one(rng.randrange(300)) for _ in range(15)))

    assert run_asyncio(main) == [["yes please."]] * 18


def test_one_that_begins_while_the_last_ends_waits_for_that() -> None:
    async def again(host: guest._Host) -> None:
        await until(lambda: host.stopping)
        assert not host.over.done()
        async with provider():
            assert host.over.done()
            assert guest._here.host is not host

    async def main() -> None:
        async with provider():
            host = guest._here.host
            assert host
            task = asyncio.create_task(again(host))
            await asyncio.sleep(0)
        await task

    run_asyncio(main)


def test_nothing_is_left_in_the_loop() -> None:
    async def main() -> None:
        async with provider():
            host = guest._here.host
            assert host
            timer = host._watch()
            assert timer
            assert not timer.cancelled()
        assert timer.cancelled()

    run_asyncio(main)
