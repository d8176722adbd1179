"""Sessions in threads: events, functions, audio from any thread, and errors."""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest
import trio

import hearout
from hearout import (
    AudioFormat,
    LinkSettings,
    PushSource,
    SessionError,
    TurnCompleted,
    TurnStarted,
    UsageError,
    threads,
)
from hearout.nursery import open_background
from hearout.threads.host import in_trio
from hearout.threads.inlet import Inlet
from tests.kit.provider import Plan, Source, audio
from tests.kit.threads_runs import opened, push_all, turns_of

OWN = {"finish", "on", "push", "wait"}


class Recorded:
    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def write(self, record: Mapping[str, Any]) -> None:
        self.lines.append(dict(record))


def public(of: type) -> dict[str, Any]:
    return {name: inspect.getattr_static(of, name) for name in dir(of) if not name.startswith("_")}


def test_the_surface_is_that_of_trio_and_four_more() -> None:
    assert public(threads.Session).keys() == public(hearout.Session).keys() | OWN
    for name, member in public(hearout.Session).items():
        if inspect.isfunction(member):
            assert inspect.signature(member) == inspect.signature(getattr(threads.Session, name)), name
    here, there = (inspect.signature(of).parameters for of in (threads.open_session, hearout.open_session))
    assert list(here) == list(there)
    assert {name: there[name] for name in there if name != "source"} == {
        name: here[name] for name in here if name != "source"
    }


def test_events_of_a_source() -> None:
    with opened() as session:
        assert turns_of(session) == ["yes please."]
        assert list(session) == []


def test_audio_pushed_from_another_thread() -> None:
    with opened(AudioFormat()) as session:
        pusher = threading.Thread(target=push_all, args=[session])
        pusher.start()
        assert turns_of(session) == ["yes please."]
        pusher.join()


def test_functions_are_called_in_order_and_in_a_thread_of_their_own() -> None:
    got: list[Any] = []
    with opened(AudioFormat()) as session:
        session.on(TurnStarted, lambda event: got.append((type(event), threading.current_thread().name)))
        session.on(TurnCompleted, lambda event: got.append((event.text, threading.current_thread().name)))
        push_all(session)
        assert session.wait()
    assert got == [(TurnStarted, "hearout events"), ("yes please.", "hearout events")]


def test_functions_may_command_and_take_their_time() -> None:
    with opened(AudioFormat()) as session:

        def reply(event: TurnCompleted) -> None:
            session.agent_said("Anything else?")
            session.agent_started()
            assert session.now > 1.2

        session.on(TurnCompleted, reply)
        push_all(session)
        assert session.wait()


def test_an_error_of_a_function_comes_out_of_wait() -> None:
    def fail(event: TurnCompleted) -> None:
        raise LookupError("no reply")

    with opened() as session:
        session.on(TurnCompleted, fail)
        with pytest.raises(LookupError, match="no reply"):
            session.wait()


def test_an_error_of_a_function_comes_out_of_the_block() -> None:
    def fail(event: TurnStarted) -> None:
        raise LookupError("no reply")

    def run() -> None:
        with opened(AudioFormat()) as session:
            session.on(TurnStarted, fail)
            with pytest.raises(LookupError, match="no reply"):
                push_all(session, 600)

    with pytest.raises(LookupError, match="no reply"):
        run()


def test_a_session_that_calls_functions_is_not_iterated_over() -> None:
    with opened() as session:
        session.on(TurnCompleted, print)
        with pytest.raises(UsageError, match="calls functions"):
            next(session)
        session.wait()


@pytest.mark.parametrize("given", [("Results", print), (TurnCompleted, None)])
def test_on_takes_a_class_and_a_function(given: Any) -> None:
    with opened() as session, pytest.raises(UsageError, match=r"such as TurnCompleted, and a function; not \("):
        session.on(*given)


def test_a_function_that_nobody_would_await() -> None:
    async def reply(event: TurnCompleted) -> None: ...

    with (
        opened() as session,
        pytest.raises(UsageError, match=r"reply.* is async: hearout\.aio has sessions for those$"),
    ):
        session.on(TurnCompleted, reply)


def test_a_function_that_exits_ends_the_program_as_elsewhere() -> None:
    with opened() as session:
        session.on(TurnStarted, lambda event: sys.exit(7))
        with pytest.raises(SystemExit, match="7"):
            session.wait()


def test_a_function_does_not_wait_for_itself() -> None:
    with opened() as session:
        session.on(TurnCompleted, lambda event: session.wait())
        with pytest.raises(UsageError, match="wait was called by a function of on, and would wait for that itself"):
            session.wait()


def test_a_function_may_end_the_session() -> None:
    with ExitStack() as stack:
        session = stack.enter_context(opened(Source(600.0), realtime=True))
        session.on(TurnCompleted, lambda event: stack.close())
        assert session.wait(10)


def test_the_session_fails_in_whatever_thread_asks() -> None:
    plan = Plan(status=401, body=b'{"err_code":"INVALID_AUTH"}')
    with opened(AudioFormat(), plan) as session:
        with pytest.raises(SessionError, match="401"):
            push_all(session, 600)
        with pytest.raises(SessionError, match="401"):
            turns_of(session)
        assert list(session) == []
        with pytest.raises(UsageError, match="this piece is not heard"):
            session.push(b"")


def test_the_error_does_not_grow_with_what_is_pushed_behind_it() -> None:
    lengths = []
    with opened(AudioFormat(), Plan(status=401)) as session:
        assert session._more.wait_for(lambda: session._closed, 10)
        for _ in range(5):
            with pytest.raises(SessionError, match="401") as caught:
                session.push(b"")
            lengths.append(len(caught.traceback))
        with pytest.raises(SessionError):
            session.wait()
    assert len(set(lengths)) == 1


def test_a_failure_that_nobody_saw_comes_at_the_end_of_the_block() -> None:
    def run() -> None:
        with opened(plan=Plan(status=401)) as session:
            assert session._more.wait_for(lambda: session._closed, 10)

    with pytest.raises(SessionError, match="401"):
        run()


def test_mistakes_come_out_of_their_calls() -> None:
    with pytest.raises(UsageError, match="make them agree"), opened(AudioFormat(sample_rate=8000)):
        pass
    with opened(AudioFormat()) as session:
        with pytest.raises(UsageError, match="no expectation 'nonsense'"):
            session.expect("nonsense")
        with pytest.raises(UsageError, match="channel 3"):
            session.force_end(channel=3)
        with pytest.raises(UsageError, match="no policy named 'eager'"):
            session.use("eager")
        with pytest.raises(UsageError, match="push takes bytes"):
            session.push("audio")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match=r"^push takes bytes of audio, not an array of 32-bit numbers"):
            session.push(memoryview(bytes(8)).cast("f"))  # type: ignore[arg-type]
        with pytest.raises(UsageError, match=r"^send takes a message .*, not b'\\x00'; audio is pushed$"):
            session.send(b"\0")  # type: ignore[arg-type]
    with opened() as session, pytest.raises(UsageError, match="this session hears a Source; to push, open it with"):
        session.push(b"\0\0")


def test_audio_waits_for_room_and_is_never_dropped() -> None:
    limit = LinkSettings(replay_speed=None)
    with opened(PushSource(limit=0.5), link=limit) as session:
        push_all(session, 20.0)  # forty times the limit
        assert turns_of(session) == ["yes please."]
        assert session.heard == pytest.approx(20.0)


@pytest.mark.parametrize("rate", [16_000, 44_100])  # which is resampled, and the resampler keeps some of it for later
def test_who_waited_for_room_has_it(rate: int) -> None:
    # Many threads at once, and somebody who takes little at a time.
    taken, refused, over = 0.0, list[UsageError](), threading.Event()
    source = PushSource(AudioFormat(sample_rate=rate), limit=0.1)

    @asynccontextmanager
    async def taking() -> AsyncIterator[None]:
        async def take() -> None:
            nonlocal taken
            try:
                async for pcm in source:
                    taken += len(pcm) / 32_000
                    await trio.sleep(0.001)
            except UsageError as error:
                refused.append(error)
            over.set()

        async with open_background() as nursery:
            nursery.start_soon(take)
            yield

    def push(_: int) -> bool:
        return all(inlet.push(bytes(rate // 50 * 2), 10.0) for _ in range(50))

    with in_trio(taking()):
        inlet = Inlet(source)
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(push, range(4)))
        inlet.close()
        assert over.wait(10)
    assert not refused
    assert taken == pytest.approx(4.0, abs=0.001)


def test_without_room_one_error_says_so() -> None:
    # Nobody takes the audio: the transcriber does not let the session in.
    with opened(PushSource(limit=0.5), Plan(hang_handshake=True)) as session:
        session.push(audio(0.0, 10.0))  # is taken at once, and heard while the transcriber listens
        session.push(audio(10.0, 20.0))
        with pytest.raises(UsageError, match=r"10\.\d s of pushed audio wait .* in 0\.05 s .* this piece is not heard"):
            session.push(audio(20.0, 30.0), timeout=0.05)


def test_commands_have_happened_when_they_return_and_do_nothing_afterwards() -> None:
    recorder = Recorded()
    with opened(AudioFormat(), recorder=recorder) as session:
        session.hold()
        assert [line["app"] for line in recorder.lines if "app" in line] == ["hold"]
        session.release()
        session.force_end()
        session.clear()
        session.use("patient")
        session.key("5")
        session.send('{"type": "KeepAlive"}')
        assert session.link_stats.losses == 0
    count = len(recorder.lines)
    session.force_end()
    session.use("fast")
    assert len(recorder.lines) == count


def test_one_thread_for_many_sessions_and_some_of_them_fail() -> None:
    def one(number: int) -> Any:
        plan = Plan(status=401) if number % 5 == 3 else Plan()
        try:
            with opened(AudioFormat(), plan) as session:
                push_all(session)
                return turns_of(session)
        except SessionError as error:
            return str(error)

    with opened(AudioFormat()) as first:  # the thread is there
        before = {thread.ident for thread in threading.enumerate()}
        with ThreadPoolExecutor(20) as pool:
            results = list(pool.map(one, range(20)))
            names = [thread.name for thread in threading.enumerate() if thread.ident not in before]
        first.finish()
    assert "hearout" not in names
    assert [result for number, result in enumerate(results) if number % 5 != 3] == [["yes please."]] * 16
    assert all("401" in result for number, result in enumerate(results) if number % 5 == 3)


def test_waits_for_so_long() -> None:
    with opened(AudioFormat()) as session:
        assert not session.wait(0.01)
        session.finish()
        assert session.wait()


def test_leaving_the_block_ends_the_session() -> None:
    source = Source(600.0)
    with opened(source, realtime=True) as session:
        pass
    assert source.closed
    assert list(session) == []


def test_the_blocks_error_comes_out_as_itself() -> None:
    with pytest.raises(ZeroDivisionError), opened(AudioFormat()):
        raise ZeroDivisionError


def test_called_from_the_thread_of_the_sessions_it_does_not_wait_for_itself() -> None:
    class Curious(Recorded):
        def write(self, record: Mapping[str, Any]) -> None:
            if "end" in record:
                heard.append(session.now)

    heard: list[float] = []
    with opened(AudioFormat(), recorder=Curious()) as session:
        push_all(session)
        turns_of(session)
    assert heard == [pytest.approx(2.0, abs=0.5)]


def test_one_source_serves_one_session() -> None:
    source = Source(2.0)
    with opened(source, realtime=True), pytest.raises(UsageError, match="is in use"), opened(source):
        pass
