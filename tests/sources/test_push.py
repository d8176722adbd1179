"""Audio that is handed over by callbacks: `PushSource`, alone and in a session of trio."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import trio
import trio.testing

from hearout import (
    AudioFormat,
    Deepgram,
    PushSource,
    SpeechGate,
    TurnCompleted,
    UsageError,
    WebRtcDetector,
    open_session,
)
from tests.kit.provider import Provider, audio

Run = Callable[..., Any]

WORDS = [("yes", 0.5, 0.8), ("please.", 0.9, 1.2)]


async def all_of(source: PushSource) -> bytes:
    return b"".join([chunk async for chunk in source])


def test_audio_comes_out_as_it_went_in_and_is_counted_meanwhile(run_virtual: Run) -> None:
    async def main() -> None:
        source = PushSource()
        source.push(audio(0.0, 0.5))
        source.push(b"")
        source.push(bytearray(audio(0.5, 0.52)))
        source.push(memoryview(audio(0.52, 1.0)))
        assert source.waiting == 1.0
        assert not source.closed
        source.close()
        source.push(b"too late")
        assert await all_of(source) == audio(0.0, 1.0)
        assert source.waiting == 0.0
        assert source.closed

    run_virtual(main)


def test_a_consumer_that_waits_gets_it_at_once(run_virtual: Run) -> None:
    async def main() -> None:
        source = PushSource()
        got = []

        async def take() -> None:
            async for chunk in source:
                got.append((trio.current_time() - began, len(chunk)))

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            for _ in range(3):
                await trio.sleep(0.5)
                source.push(bytes(640))
            await trio.sleep(0.5)
            source.close()
        assert got == [(0.5, 640), (1.0, 640), (1.5, 640)]

    run_virtual(main)


def test_frames_that_are_cut_anywhere(run_virtual: Run) -> None:
    async def main() -> None:
        stereo = audio(0.0, 1.0, channels=2)
        source = PushSource(AudioFormat(channels=2))
        for start in range(0, len(stereo), 333):
            source.push(stereo[start : start + 333])
        source.close()
        chunks = [chunk async for chunk in source]
        assert all(chunks)
        assert all(len(chunk) % 4 == 0 for chunk in chunks)
        assert b"".join(chunks) == stereo

    run_virtual(main)


def test_an_odd_byte_at_the_end_is_told_after_the_audio(run_virtual: Run) -> None:
    async def main() -> None:
        source = PushSource()
        source.push(audio(0.0, 0.1) + b"x")
        source.close()
        assert await anext(source) == audio(0.0, 0.1)
        with pytest.raises(UsageError, match="the pushed audio ended inside a sample: 1 odd"):
            await anext(source)
        with pytest.raises(StopAsyncIteration):
            await anext(source)

    run_virtual(main)


@pytest.mark.parametrize(
    ("format", "rate"),
    [(AudioFormat("mulaw", 8000), 8000), (AudioFormat(sample_rate=48_000), 16_000), (AudioFormat(), 16_000)],
    ids=["mulaw", "48k", "as it is"],
)
def test_every_format_becomes_pcm_of_the_same_length(run_virtual: Run, format: AudioFormat, rate: int) -> None:
    if format.sample_rate != rate:
        pytest.importorskip("soxr")

    async def main() -> None:
        source = PushSource(format)
        assert source.sample_rate == rate
        second = bytes([0x80, 0x01][: format.frame_bytes]) * format.sample_rate
        for start in range(0, len(second), 960):
            source.push(second[start : start + 960])
        source.close()
        samples = np.frombuffer(await all_of(source), "<i2")
        assert abs(len(samples) - rate) <= 2
        expected = 32124 if format.encoding == "mulaw" else 0x0180
        assert abs(int(np.median(samples)) - expected) <= 1

    run_virtual(main)


def test_what_nobody_hears_is_limited(run_virtual: Run) -> None:
    async def main() -> None:
        source = PushSource(limit=1.0)
        for start in range(5):
            source.push(audio(start * 0.2, start * 0.2 + 0.2))
        with pytest.raises(UsageError, match=r"1\.0 s of pushed audio wait to be heard already: nobody listens"):
            source.push(bytes(640))
        assert await anext(source) == audio(0.0, 0.2)
        source.push(audio(1.0, 1.2))
        source.close()
        assert await all_of(source) == audio(0.2, 1.2)

    run_virtual(main)


def test_another_thread_is_refused(run_virtual: Run) -> None:
    async def main() -> None:
        source = PushSource()
        aiter(source)
        errors = []

        def push() -> None:
            try:
                source.push(bytes(640))
            except UsageError as error:
                errors.append(str(error))

        thread = threading.Thread(target=push)
        thread.start()
        thread.join()
        assert len(errors) == 1
        assert "call_soon_threadsafe" in errors[0]
        assert source.waiting == 0

    run_virtual(main)


def test_closing_from_another_thread_is_refused_and_changes_nothing(run_virtual: Run) -> None:
    async def main() -> list[str]:
        source = PushSource()
        errors: list[str] = []

        def close() -> None:
            try:
                source.close()
            except UsageError as error:
                errors.append(str(error))

        async with trio.open_nursery() as nursery:
            provider = Provider(nursery, [WORDS])
            async with open_session(source, Deepgram("a-key"), vad=None, connect=provider.connect) as session:
                await trio.testing.wait_all_tasks_blocked()
                source.push(audio(0.0, 1.5))
                thread = threading.Thread(target=close)
                thread.start()
                thread.join()
                assert not source.closed
                source.push(audio(1.5, 1.6))  # it is still heard
                assert session.heard == pytest.approx(1.6)
                source.close()
                texts = [event.text async for event in session if isinstance(event, TurnCompleted)]
        (line,) = errors
        assert line == (
            "the source was closed from another thread than the session's; from there it takes "
            "loop.call_soon_threadsafe(source.close), trio.from_thread.run_sync, or a session of hearout.threads"
        )
        return texts

    assert run_virtual(main) == ["yes please."]


def test_what_is_no_audio_is_the_error_of_who_pushes(run_virtual: Run) -> None:
    async def main() -> None:
        source = PushSource()
        for odd in (None, "text", 640, [1, 2]):
            with pytest.raises(UsageError, match="push takes bytes of audio, not "):
                source.push(odd)  # type: ignore[arg-type]
        source.push(audio(0.0, 0.1))
        source.close()
        assert await all_of(source) == audio(0.0, 0.1)

    run_virtual(main)


def test_a_session_hears_it(run_virtual: Run) -> None:
    async def main() -> list[str]:
        source = PushSource()

        async def speak() -> None:
            for block in range(150):
                await trio.sleep(0.02)
                source.push(audio(block * 0.02, block * 0.02 + 0.02))
            source.close()

        async with trio.open_nursery() as nursery:
            provider = Provider(nursery, [WORDS])
            nursery.start_soon(speak)
            transcriber = Deepgram("a-key", sample_rate=16_000)
            async with open_session(source, transcriber, vad=None, connect=provider.connect) as session:
                return [event.text async for event in session if isinstance(event, TurnCompleted)]

    assert run_virtual(main) == ["yes please."]


def test_an_error_given_to_close_comes_after_the_words(run_virtual: Run) -> None:
    async def main() -> list[Any]:
        source = PushSource()
        got: list[Any] = []
        for block in range(15):
            source.push(audio(block * 0.1, block * 0.1 + 0.1))
        source.close(OSError("the line broke"))
        source.close(OSError("said twice"))
        async with trio.open_nursery() as nursery:
            provider = Provider(nursery, [WORDS])
            transcriber = Deepgram("a-key", sample_rate=16_000)
            async with open_session(source, transcriber, vad=None, connect=provider.connect, realtime=False) as session:
                try:
                    async for event in session:
                        if isinstance(event, TurnCompleted):
                            got.append(event.text)
                except OSError as error:
                    got.append(error.args)
        return got

    assert run_virtual(main) == ["yes please.", ("the line broke",)]


def test_after_the_session_nothing_is_kept(run_virtual: Run) -> None:
    async def main() -> None:
        source = PushSource()
        async with trio.open_nursery() as nursery:
            provider = Provider(nursery, [WORDS])
            async with open_session(source, Deepgram("a-key"), connect=provider.connect):
                source.push(bytes(640))
                await trio.testing.wait_all_tasks_blocked()
                assert not source.closed
            nursery.cancel_scope.cancel()
        assert source.closed
        source.push(bytes(640))
        assert source.waiting == 0
        gc.collect()

    run_virtual(main)


def test_a_session_in_real_time_hears_within_the_push(run_virtual: Run) -> None:
    async def main() -> None:
        source = PushSource()
        source.push(audio(0.0, 0.02))  # before it listens
        async with trio.open_nursery() as nursery:
            provider = Provider(nursery, [WORDS])
            async with open_session(source, Deepgram("a-key"), connect=provider.connect) as session:
                await trio.testing.wait_all_tasks_blocked()
                assert session.heard == pytest.approx(0.02)
                source.push(audio(0.02, 0.04))
                assert session.heard == pytest.approx(0.04)
                assert source.waiting == 0
            nursery.cancel_scope.cancel()

    run_virtual(main)


def test_what_goes_wrong_in_the_session_is_not_the_error_of_who_pushes(run_virtual: Run) -> None:
    class Broken(WebRtcDetector):
        def is_speech(self, frame: bytes) -> bool:
            raise ArithmeticError("the detector is broken")

    async def main() -> None:
        source = PushSource()
        async with trio.open_nursery() as nursery:
            provider = Provider(nursery, [WORDS])
            options: dict[str, Any] = {"vad": lambda rate: SpeechGate(Broken(rate), rate), "connect": provider.connect}
            async with open_session(source, Deepgram("a-key"), **options) as session:
                await trio.testing.wait_all_tasks_blocked()
                source.push(audio(0.0, 0.02))
                assert source.closed
                with pytest.raises(ArithmeticError, match="the detector is broken"):
                    async for _ in session:
                        pass
            nursery.cancel_scope.cancel()

    run_virtual(main)


def test_any_source_that_can_pour_is_heard_without_a_task_in_between(run_virtual: Run) -> None:
    class Line:
        sample_rate, channels, duration = 16_000, 1, None

        def __init__(self) -> None:
            self.pour: Callable[[bytes], None] = lambda pcm: pytest.fail("nobody listens yet")

        def pour_into(self, sink: Callable[[bytes], None]) -> None:
            self.pour = sink

        def __aiter__(self) -> Line:
            return self

        async def __anext__(self) -> bytes:
            await trio.sleep(1.0)
            raise StopAsyncIteration

    async def main() -> None:
        source = Line()
        async with trio.open_nursery() as nursery:
            provider = Provider(nursery, [WORDS])
            transcriber = Deepgram("a-key")
            async with open_session(source, transcriber, vad=None, connect=provider.connect) as session:
                await trio.testing.wait_all_tasks_blocked()
                source.pour(audio(0.0, 1.5))
                assert session.heard == pytest.approx(1.5)
                assert [event.text async for event in session if isinstance(event, TurnCompleted)] == ["yes please."]

    run_virtual(main)
