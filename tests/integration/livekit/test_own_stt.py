"""hearout's turns over an STT that an agent has already: two plugins of LiveKit's, and STTs of one's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from livekit import rtc
from livekit.agents import stt
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, APIConnectOptions, TimedString
from livekit.plugins import deepgram, soniox

from hearout.errors import UsageError
from hearout.integrations.livekit_turns import WithTurns
from hearout.traces.reader import parse_trace
from hearout.traces.records import Trace
from hearout_policies.expect import Digits
from tests.integration.livekit.kit import (
    Call,
    Oracle,
    Speaker,
    answer,
    calling,
    playing,
    run,
    said,
    script,
    speech,
    voice,
    words,
)
from tests.kit.scripted import gates

SAID = "call me back tomorrow"
Event = tuple[float, str, str]  # audio time, kind, text


class Scripted(stt.STT[Any]):
    """Says what it is told to when so much audio was heard."""

    def __init__(self, events: Sequence[Event], *, timed: bool = False, streaming: bool = True, **more: Any) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=streaming, interim_results=True, **more))
        self.events, self.timed, self.flushes = events, timed, 0

    def stream(
        self, *, language: Any = None, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> stt.RecognizeStream:
        return _Stream(stt=self, conn_options=conn_options)

    async def _recognize_impl(self, *_: Any, **__: Any) -> stt.SpeechEvent:
        raise NotImplementedError


class _Stream(stt.RecognizeStream):
    async def _run(self) -> None:
        heard, said_so_far = 0.0, 0
        async for item in self._input_ch:
            if not isinstance(item, rtc.AudioFrame):
                self._stt.flushes += 1
                continue
            heard += item.duration
            for at, kind, text in self._stt.events[said_so_far:]:
                if at > heard:
                    break
                said_so_far += 1
                self._event_ch.send_nowait(self._event(at, kind, text))

    def _event(self, at: float, kind: str, text: str) -> stt.SpeechEvent:
        parts = text.split()
        timed = [TimedString(part, 1.0 + 0.2 * n, 1.15 + 0.2 * n) for n, part in enumerate(parts)]
        data = stt.SpeechData("en", text, words=timed if self._stt.timed else None)
        return stt.SpeechEvent(stt.SpeechEventType(kind), alternatives=[data] if text else [])


VOICE = script(voice("start", 1.0), voice("stop", 1.8))


@asynccontextmanager
async def talk(inner: stt.STT[Any], trace: Trace, seconds: float = 6.0, **options: Any) -> AsyncIterator[Call]:
    policy = options.pop("policy", "balanced")
    turns = WithTurns(inner, policy=policy, vad=gates(trace), flush=options.pop("flush", None))
    async with calling(turns, seconds, **options) as call:
        yield call


def test_deepgrams_plugin() -> None:
    said_words = words(SAID, 1.0, 1.8)
    trace = script(
        voice("start", 1.0), said(1.5, said_words[:2], 0.0), voice("stop", 1.8), answer(said_words, 0.0, 1.9)
    )

    async def main() -> None:
        async with playing(trace) as url, aiohttp.ClientSession() as http:
            inner = deepgram.STT(api_key="any", base_url=url.replace("ws://", "http://"), http_session=http)
            async with talk(inner, trace) as call:
                await call.until(lambda: bool(call.turns))
                assert call.texts == [SAID]
                (turn,) = call.of("turn_completed")
                assert turn.timings.answered is not None, "its stream was flushed"
                assert turn.words[0].start == pytest.approx(1.0, abs=0.15), "its own times"

    run(main)


def test_sonioxs_plugin() -> None:
    def tokens(final: bool) -> list[dict[str, Any]]:
        return [
            {"text": f" {w['word']}", "start_ms": 1000 * w["start"], "end_ms": 1000 * w["end"], "is_final": final}
            | {"confidence": 0.9}
            for w in words(SAID, 1.0, 1.8)
        ]

    lines = [
        '{"hearout_trace": 1, "stt": "soniox", "channels": 1, "vad": true}',
        *(
            json.dumps(line)
            for line in (
                voice("start", 1.0),
                {"t": 1.5, "stt": {"tokens": tokens(False)[:2], "final_audio_proc_ms": 0, "total_audio_proc_ms": 1500}},
                voice("stop", 1.8),
                {
                    "t": 2.5,
                    "stt": {
                        "tokens": [*tokens(True), {"text": "<end>", "is_final": True}],
                        "final_audio_proc_ms": 2400,
                        "total_audio_proc_ms": 2400,
                    },
                },
            )
        ),
    ]
    trace = parse_trace(lines)

    async def main() -> None:
        async with (
            playing(trace) as url,
            aiohttp.ClientSession() as http,
            talk(soniox.STT(api_key="any", base_url=url, http_session=http), trace) as call,
        ):
            await call.until(lambda: bool(call.turns))
            assert call.texts == [SAID]

    run(main)


@pytest.mark.parametrize("timed", [True, False], ids=["with word times", "without"])
@pytest.mark.parametrize("late", [0.1, 0.9])
def test_an_stt_of_ones_own(timed: bool, late: float) -> None:
    async def main() -> None:
        events = [(1.4, "interim_transcript", "call me"), (1.9 + late, "final_transcript", SAID)]
        async with talk(Scripted(events, timed=timed), VOICE) as call:
            await call.until(lambda: bool(call.turns))
            assert call.texts == [SAID]
            (turn,) = call.of("turn_completed")
            assert turn.confirmed
            assert 0.8 < turn.words[0].start < turn.words[-1].end < 2.0

    run(main)


def test_one_that_never_finalises() -> None:
    async def main() -> None:
        async with talk(Scripted([(1.7, "interim_transcript", SAID)]), VOICE) as call:
            await call.until(lambda: bool(call.turns))
            assert call.texts == [SAID]
            (turn,) = call.of("turn_completed")
            assert not turn.confirmed

    run(main)


def test_a_hold_that_its_own_end_of_speech_does_not_end() -> None:
    """A segmented STT, as LiveKit's StreamAdapter makes one: START, END, then the text."""
    trace = script(voice("start", 1.0), voice("stop", 1.4), voice("start", 2.0), voice("stop", 2.4))

    async def main() -> None:
        events = [
            (1.1, "start_of_speech", ""),
            (1.5, "end_of_speech", ""),
            (1.6, "final_transcript", "call me and"),
            (2.1, "start_of_speech", ""),
            (2.5, "end_of_speech", ""),
            (2.6, "final_transcript", "call me back"),
        ]
        async with talk(Scripted(events), trace) as call:
            await call.until(lambda: bool(call.turns))
            assert call.texts == ["call me and call me back"]

    run(main)


def test_it_is_flushed_where_it_knows_that() -> None:
    async def main() -> None:
        for more, flush, times in (({"manual_flush": True}, None, 1), ({}, None, 0), ({}, True, 1)):
            inner = Scripted([(1.7, "interim_transcript", SAID)], **more)
            async with talk(inner, VOICE, flush=flush) as call:
                await call.until(lambda: bool(call.turns))
                flushes = inner.flushes  # the end of the input is one more
            assert min(flushes, 1) == times

    run(main)


def test_words_interrupt_and_a_backchannel_does_not() -> None:
    trace = script(voice("start", 1.0), voice("stop", 1.3), voice("start", 2.5), voice("stop", 3.3))

    async def main() -> None:
        events = [(1.5, "final_transcript", "mhm."), (3.0, "interim_transcript", "stop wait please")]
        events.append((3.5, "final_transcript", "stop wait please"))
        async with talk(Scripted(events), trace, speaker=Speaker(), model=Oracle()) as call:
            handle = call.session.say("x " * 40, audio=speech(8.0))
            await call.at(2.3)
            assert not handle.interrupted
            await call.until(lambda: handle.interrupted)
            await call.until(lambda: bool(call.turns))
            assert call.texts == ["stop wait please"]

    run(main)


def test_what_a_step_asks() -> None:
    async def main() -> None:
        inner = Scripted([(1.9, "final_transcript", "five five one two")])
        turns = WithTurns(inner, vad=gates(VOICE))
        turns.expect(Digits(4))
        turns.update_options(policy="patient")
        async with calling(turns, 6.0) as call:
            await call.until(lambda: bool(call.turns))
            (turn,) = call.of("turn_completed")
            assert turn.answer is not None
            assert turn.answer.value == "5512"

    run(main)


def test_one_that_does_not_stream_says_how_it_can() -> None:
    async def main() -> None:
        with pytest.raises(UsageError, match=r"takes an STT of LiveKit.s, as deepgram.STT\(\), not .deepgram/nova-3."):
            WithTurns("deepgram/nova-3")
        with pytest.raises(UsageError, match=r"does not stream; wrap it: stt.StreamAdapter"):
            WithTurns(Scripted([], streaming=False))
        await asyncio.sleep(0)

    run(main)
