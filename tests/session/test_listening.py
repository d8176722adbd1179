"""An ear in a session: asked once a silence, in a thread; its answer is recorded, and so replayed without audio."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import trio

from hearout import Deepgram, Header, open_session, replay
from hearout.errors import UsageError
from hearout.session import listening
from hearout.traces.reader import parse_trace
from hearout.traces.records import VoiceChange
from hearout_policies.events import TurnCompleted
from tests.kit.provider import RATE, Plan, Provider, Source, audio
from tests.kit.scripted import Gate

WORDS = [("two", 0.5, 0.7), ("coffees", 0.8, 1.2)]
TOOK = 0.1  # seconds


class Ear:
    seconds = 0.5

    def __init__(self, *answers: float) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[bytes, int, float]] = []
        self.threads: set[int] = set()

    def listen(self, pcm: bytes, sample_rate: int, silence: float) -> float:
        self.asked.append((pcm, sample_rate, round(silence, 3)))
        self.threads.add(threading.get_ident())
        return self.answers.pop(0)


@pytest.fixture
def hear(run_virtual: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A session with two stretches of speech: its events, and the trace."""

    async def in_virtual_time(ask: Callable[[], float], **_: object) -> float:
        await trio.sleep(TOOK)
        return ask()

    def run(ear: Any, *, realtime: bool = True) -> tuple[list[Any], list[str]]:
        if realtime:
            monkeypatch.setattr(trio.to_thread, "run_sync", in_virtual_time)
        records: list[str] = [json.dumps(Header("deepgram", policy={"base": "patient"}).as_dict())]

        class Records:
            def write(self, record: Mapping[str, Any]) -> None:
                records.append(json.dumps(record))

        async def main() -> list[Any]:
            async with trio.open_nursery() as nursery:
                provider = Provider(nursery, [WORDS], [Plan()])
                edges = [VoiceChange(0.6, "start", 0.5, 0.6), VoiceChange(1.4, "stop", 1.2, 1.4)]
                async with open_session(
                    Source(5.0, live=realtime),
                    Deepgram("a-key"),
                    policy="patient",
                    vad=lambda rate: Gate(edges),  # type: ignore[arg-type,return-value]
                    ear=ear,
                    recorder=Records(),
                    realtime=realtime,
                    connect=provider.connect,
                ) as session:
                    events = [event async for event in session]
                nursery.cancel_scope.cancel()
            return events

        return run_virtual(main), records

    return run


def completed(events: list[Any]) -> TurnCompleted:
    (turn,) = [event for event in events if isinstance(event, TurnCompleted)]
    return turn


@pytest.mark.parametrize("realtime", [True, False])
def test_it_is_asked_once_in_a_silence(hear: Callable[..., Any], realtime: bool) -> None:
    ear = Ear(0.9)
    events, records = hear(ear, realtime=realtime)
    assert ear.asked == [(audio(0.9, 1.4), RATE, 0.2)]
    assert threading.get_ident() not in ear.threads or realtime
    (answer,) = [json.loads(record) for record in records if "ear" in json.loads(record)]
    assert answer == {"t": 1.4 + TOOK * realtime, "ear": 0.9, "audio": 1.4, "channel": 0}
    turn = completed(events)
    assert turn.evidence == (("plain", 0.46), ("ear", 0.9))
    assert turn.odds > 0.8


def test_a_replay_needs_no_audio(hear: Callable[..., Any]) -> None:
    events, records = hear(Ear(0.9))
    (turn,) = replay(parse_trace(records)).of_type("turn_completed")
    assert turn == completed(events)
    without = [record for record in records if "ear" not in json.loads(record)]
    (later,) = replay(parse_trace(without)).of_type("turn_completed")
    assert later.at > turn.at


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (1.5, "ValueError: 1.5 is no probability"),
        (float("nan"), "ValueError: nan is no probability"),
        (None, "TypeError"),
    ],
)
def test_one_that_fails_is_a_warning_once(hear: Callable[..., Any], answer: Any, detail: str) -> None:
    class Broken(Ear):
        def listen(self, pcm: bytes, sample_rate: int, silence: float) -> float:
            if isinstance(answer, Exception):
                raise answer
            return answer  # type: ignore[no-any-return]

    events, records = hear(Broken())
    (warning,) = [event.detail for event in events if event.type == "warning"]
    assert warning.startswith(f"the ear failed: {detail}")
    assert warning.endswith("; the session goes on without")
    assert completed(events).evidence == (("plain", 0.46),)
    assert not any("ear" in json.loads(record) for record in records)


def test_without_voice_detection_there_is_nothing_to_listen_to(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        async with open_session(Source(1.0), Deepgram("a-key"), vad=None, ear=Ear()):
            pass

    with pytest.raises(UsageError, match="an ear listens in the silences that the voice detection finds: it needs vad"):
        run_virtual(main)


def test_a_session_that_ends_waits_for_no_ear(run_virtual: Callable[..., Any]) -> None:
    """It is cancelled with a question in a thread, which the thread may finish."""
    asked, release = threading.Event(), threading.Event()

    def slow(pcm: bytes, sample_rate: int, silence: float) -> float:
        asked.set()
        release.wait(30)
        return 0.5

    ear = Ear()
    ear.listen = slow  # type: ignore[method-assign]

    async def main() -> None:
        told: list[Any] = []
        heard = listening.Listening(ear, RATE, 1, lambda *answer: told.append(answer), told.append)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(heard.run)
            heard.hear(audio(0.0, 1.0))
            heard.ask(0, 0.8, 1.0)
            while not asked.is_set():
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        release.set()
        assert told == []

    trio.run(main)


def test_each_channel_is_heard_for_itself() -> None:
    ear = Ear(0.2, 0.8)

    async def main() -> list[Any]:
        told: list[Any] = []
        heard = listening.Listening(ear, RATE, 2, lambda *answer: told.append(answer), told.append)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(heard.run)
            for number in range(300):  # 3 s: more than is kept
                heard.hear(audio(number / 100, (number + 1) / 100, channels=2))
            heard.ask(0, 2.8, 3.0)
            heard.ask(1, 2.9, 3.0)
            await heard.settle()
            nursery.cancel_scope.cancel()
        return told

    told = trio.run(main)
    assert sorted(channel for channel, *_ in told) == [0, 1]
    assert {pcm for pcm, *_ in ear.asked} == {audio(2.5, 3.0)}
    assert sorted(silence for *_, silence in ear.asked) == [0.1, 0.2]
