"""Parts that remember what they have given or read serve one session each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from hearout import Deepgram, Flux, PushSource, Soniox, TurnCompleted, open_session, webrtc_gate
from hearout.errors import UsageError
from tests.kit.provider import Plan, Provider, Source, audio

Run = Callable[..., Any]

WORDS = [("two", 0.5, 0.7), ("coffees", 0.8, 1.2), ("and", 1.3, 1.5), ("tea.", 1.6, 1.9)]
TEXT = "two coffees and tea."


@pytest.mark.parametrize("make", [Soniox, Flux])
def test_a_transcriber_that_remembers_serves_one_session_at_a_time(run_virtual: Run, make: Any) -> None:
    async def main() -> None:
        transcriber = make("a-key")
        async with trio.open_nursery() as nursery:
            provider = Provider(nursery, [WORDS], [Plan()])
            for _ in range(2):  # one after the other will do
                async with open_session(Source(9.0), transcriber, connect=provider.connect):
                    with pytest.raises(UsageError, match=f"^{transcriber.name} is in use by another session") as caught:
                        async with open_session(Source(9.0), transcriber, connect=provider.connect):
                            pytest.fail("opened")
                    assert "\n" not in str(caught.value)
            nursery.cancel_scope.cancel()

    run_virtual(main)


def test_deepgram_remembers_nothing_and_may_be_shared(run_virtual: Run) -> None:
    async def main() -> list[list[str]]:
        transcriber = Deepgram("a-key")
        texts: list[list[str]] = [[], []]

        async def one(number: int) -> None:
            provider = Provider(nursery, [WORDS], [Plan()])
            async with open_session(Source(4.0), transcriber, vad=None, connect=provider.connect) as session:
                texts[number] = [event.text async for event in session if isinstance(event, TurnCompleted)]

        async with trio.open_nursery() as nursery, trio.open_nursery() as sessions:
            sessions.start_soon(one, 0)
            sessions.start_soon(one, 1)
        return texts

    assert run_virtual(main) == [[TEXT], [TEXT]]


@pytest.mark.parametrize("source", [PushSource, lambda: Source(9.0)], ids=["pushed", "other"])
def test_a_source_serves_one_session(run_virtual: Run, source: Callable[[], Any]) -> None:
    async def main() -> None:
        one = source()
        async with trio.open_nursery() as nursery:
            provider = Provider(nursery, [WORDS], [Plan()])
            async with open_session(one, Deepgram("a-key"), connect=provider.connect):
                with pytest.raises(UsageError, match=r"^the source of audio is in use by another session"):
                    async with open_session(one, Deepgram("a-key"), connect=provider.connect):
                        pytest.fail("opened")
            nursery.cancel_scope.cancel()

    run_virtual(main)


def test_a_recorder_and_a_voice_detection_serve_one_session_and_one_channel(run_virtual: Run) -> None:
    class Writer:
        def write(self, record: object) -> None:
            pass

    async def main() -> None:
        gate = webrtc_gate(16_000)
        async with trio.open_nursery() as nursery:
            provider = Provider(nursery, [WORDS], [Plan()])
            shared: dict[str, Any]
            for name, shared in (
                ("the recorder", {"recorder": Writer()}),
                ("the voice detection", {"vad": lambda rate: gate}),
            ):
                async with open_session(Source(9.0), Deepgram("a-key"), connect=provider.connect, **shared):
                    with pytest.raises(UsageError, match=f"^{name} is in use by another session or channel"):
                        async with open_session(Source(9.0), Deepgram("a-key"), connect=provider.connect, **shared):
                            pytest.fail("opened")
            stereo = Deepgram("a-key", channels=2)
            with pytest.raises(UsageError, match=r"^the voice detection is in use by another session or channel"):
                async with open_session(Source(9.0, channels=2), stereo, vad=lambda rate: gate):
                    pytest.fail("opened")
            nursery.cancel_scope.cancel()

    run_virtual(main)


@pytest.mark.parametrize("realtime", [True, False])
def test_a_push_source_that_was_heard_is_not_heard_again(run_virtual: Run, realtime: bool) -> None:
    async def hear(source: PushSource, nursery: trio.Nursery) -> list[str]:
        provider = Provider(nursery, [WORDS], [Plan()])
        options: Any = {"connect": provider.connect, "vad": None, "realtime": realtime}
        async with open_session(source, Deepgram("a-key"), **options) as session:
            return [event.text async for event in session if isinstance(event, TurnCompleted)]

    async def main() -> None:
        source = PushSource()
        source.push(audio(0.0, 1.5))
        source.close()
        async with trio.open_nursery() as nursery:
            assert await hear(source, nursery) == ["two coffees and"]
            with pytest.raises(
                UsageError, match=r"^this PushSource belongs to a session that is over: make one for each"
            ):
                await hear(source, nursery)
            nursery.cancel_scope.cancel()

    run_virtual(main)
