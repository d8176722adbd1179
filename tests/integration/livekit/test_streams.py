"""The streams themselves: events, flushes, errors, ends, rates. Run by ``tests/integration/run_livekit.py``."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
import trio
from livekit import rtc
from livekit.agents import APIConnectionError, APIStatusError, stt
from livekit.agents.types import APIConnectOptions

from hearout import Deepgram, LinkSettings, Recorder, Soniox, UsageError, read_trace, silero_gate
from hearout.integrations.livekit import HearoutSTT, session_options
from hearout.traces.records import Header, Trace
from tests.integration.livekit.kit import (
    Call,
    answer,
    calling,
    playing,
    run,
    said,
    script,
    serving,
    transcribing,
    voice,
    words,
)

Type = stt.SpeechEventType
YES = words("yes please", 0.5, 1.1)
NO = words("no thanks", 0.5, 1.1)
KEY = "0123456789abcdef-secret"


def one_turn(spoken: list[dict[str, Any]] = YES) -> Trace:
    return script(
        voice("start", 0.5),
        said(1.0, spoken[:1], 0.0),
        voice("stop", 1.1, 0.25),
        said(1.45, spoken, 0.0, is_final=True, speech_final=True),
    )


async def push(stream: stt.RecognizeStream, seconds: float, rate: int = 16_000) -> None:
    """Silence in real time."""
    for _ in range(round(seconds * 50)):
        stream.push_frame(rtc.AudioFrame(bytes(rate // 25), rate, 1, rate // 50))
        await asyncio.sleep(0.0199)


async def collect(stream: stt.RecognizeStream) -> list[stt.SpeechEvent]:
    return [event async for event in stream]


async def heard(stream: stt.RecognizeStream, seconds: float, rate: int = 16_000) -> list[stt.SpeechEvent]:
    """What a stream of that length gives, to its end."""
    async with stream, asyncio.TaskGroup() as group:
        events = group.create_task(collect(stream))
        await push(stream, seconds, rate)
        stream.end_input()
    return events.result()


def test_the_events_of_a_turn() -> None:
    async def main() -> list[stt.SpeechEvent]:
        async with transcribing(one_turn()) as recogniser:
            return await heard(recogniser.stream(), 6.2)

    events = run(main)
    order = [event.type for event in events if event.type != Type.RECOGNITION_USAGE]
    assert order[0] == Type.START_OF_SPEECH
    assert set(order[1:-3]) == {Type.INTERIM_TRANSCRIPT}
    assert order[-3:] == [Type.PREFLIGHT_TRANSCRIPT, Type.FINAL_TRANSCRIPT, Type.END_OF_SPEECH]
    assert len({event.request_id for event in events if event.type != Type.RECOGNITION_USAGE}) == 1
    final, end = (event for event in events if event.type in (Type.FINAL_TRANSCRIPT, Type.END_OF_SPEECH))
    (best,) = final.alternatives
    assert best.text == "yes please"
    assert (best.start_time, best.end_time) == pytest.approx((0.5, 1.1), abs=0.01)  # the stream began at once
    assert best.words is not None
    assert [str(word) for word in best.words] == ["yes", "please"]
    assert [word.start_time for word in best.words] == pytest.approx([0.5, 0.8], abs=0.01)
    assert [word.end_time for word in best.words] == pytest.approx([0.77, 1.07], abs=0.01)
    assert best.metadata == {"turn": 1, "reason": "endpointing", "confirmed": True}
    assert events[0].speech_start_time is not None
    assert end.speech_end_time == final.speech_end_time is not None
    assert end.speech_end_time - events[0].speech_start_time == pytest.approx(0.6, abs=0.1)
    used = [event.recognition_usage for event in events if event.recognition_usage]
    assert len(used) == 2
    assert sum(usage.audio_duration for usage in used) == pytest.approx(6.2)


def test_times_count_from_where_livekit_says_that_the_stream_began() -> None:
    async def main() -> list[stt.SpeechEvent]:
        async with transcribing(one_turn()) as recogniser:
            stream = recogniser.stream()
            stream.start_time_offset = 100.0
            return await heard(stream, 2.0)

    (final,) = [event.alternatives[0] for event in run(main) if event.type == Type.FINAL_TRANSCRIPT]
    assert (final.start_time, final.end_time) == pytest.approx((100.5, 101.1), abs=0.05)


def test_the_end_of_the_input_ends_the_turn_with_its_last_words() -> None:
    trace = script(voice("start", 0.5), said(0.9, YES[:1], 0.0), answer(YES, 0.0, 1.2, after=0.3))

    async def main() -> list[stt.SpeechEvent]:
        async with transcribing(trace) as recogniser:
            return await heard(recogniser.stream(), 1.2)

    events = run(main)
    assert [e.alternatives[0].text for e in events if e.type == Type.FINAL_TRANSCRIPT] == ["yes please"]


@pytest.mark.parametrize("at", [0.0, 0.3, 1.2])
def test_a_stream_can_be_closed_at_any_time(at: float) -> None:
    async def main() -> None:
        async with transcribing(one_turn()) as recogniser:
            async with recogniser.stream() as stream:
                await push(stream, at)
            with pytest.raises(RuntimeError, match="input ended"):
                stream.push_frame(rtc.AudioFrame(bytes(640), 16_000, 1, 320))
            stream = recogniser.stream()
            await push(stream, at)
            await recogniser.aclose()
            assert stream._task.done()

    run(main)


def test_a_stream_can_be_closed_while_it_connects() -> None:
    async def silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async def main() -> None:
        async with serving(silent) as url, asyncio.timeout(2), HearoutSTT(Deepgram("any", url)).stream() as stream:
            await push(stream, 0.2)

    run(main)


def test_two_streams_of_one_stt_and_two_stts_at_once() -> None:
    async def main() -> list[list[str]]:
        async with playing(one_turn()) as yes, playing(one_turn(NO)) as no:
            first, second = HearoutSTT(Deepgram("any", yes), vad=None), HearoutSTT(Deepgram("any", no), vad=None)
            streams = [first.stream(), first.stream(), second.stream()]
            events = await asyncio.gather(*(heard(stream, 2.5) for stream in streams))
        finals = [[e for e in stream if e.type == Type.FINAL_TRANSCRIPT] for stream in events]
        assert len({final.request_id for stream in finals for final in stream}) == 3
        return [[final.alternatives[0].text for final in stream] for stream in finals]

    assert run(main) == [["yes please"], ["yes please"], ["no thanks"]]


@pytest.mark.parametrize(("rate", "ours"), [(48_000, 16_000), (24_000, 8_000), (8_000, 16_000)])
def test_audio_is_brought_to_the_rate_of_the_transcriber(rate: int, ours: int) -> None:
    async def main() -> Call:
        async with playing(one_turn()) as url:
            recogniser = HearoutSTT(Deepgram("any", url, sample_rate=ours), vad=None)
            async with calling(recogniser, 2.5, rate=rate) as call:
                await call.line.over.wait()
            return call

    call = run(main)
    assert call.texts == ["yes please"]
    assert call.of("turn_completed")[0].audio_end == pytest.approx(1.1, abs=0.05)


def test_a_voice_detection_that_cannot_be_used_is_one_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEAROUT_MODELS", str(tmp_path))

    async def main() -> Call:
        async with playing(one_turn()) as url:
            async with calling(HearoutSTT(Deepgram("any", url), vad=silero_gate), 1.0) as call:
                await call.until(lambda: bool(call.of("error")))
            return call

    (error, *_) = run(main).of("error")
    # Which of the two is missing here depends on what else is installed.
    assert re.search(r"hearout models get silero-vad|hearout\[silero\]", str(error.error))
    assert not error.recoverable


def test_stereo_is_refused_in_a_line() -> None:
    async def main() -> Call:
        async with transcribing(one_turn()) as recogniser, calling(recogniser, 1.0, channels=2) as call:
            await call.until(lambda: bool(call.of("error")))
        return call

    (error, *_) = run(main).of("error")
    assert str(error.error) == "the audio has 2 channels; give AgentSession mono"
    assert not error.recoverable


# -- errors ------------------------------------------------------------------------------------------------------


def test_a_lost_connection_is_told_and_loses_no_word() -> None:
    more = words("with milk", 1.3, 1.9)
    trace = script(
        voice("start", 0.5),
        said(1.0, YES[:1], 0.0),
        {"t": 1.2, "link": "lost"},
        {"t": 1.5, "link": "restored", "audio": 0.0},
        voice("stop", 1.9, 0.25),
        said(2.4, [*YES, *more], 0.0, is_final=True, speech_final=True),
    )

    async def main() -> Call:
        async with transcribing(trace) as recogniser, calling(recogniser, 4.5) as call:
            await call.line.over.wait()
        return call

    call = run(main)
    assert call.texts == ["yes please with milk"]
    (error,) = call.of("error")
    assert error.recoverable
    assert isinstance(error.error, APIConnectionError)
    assert not call.of("close")[0].error


def test_a_busy_transcriber_is_tried_again_by_the_session() -> None:
    async def main() -> Call:
        async with transcribing(one_turn(), refuse=[503], link=LinkSettings(backoff=0.05)) as recogniser:
            async with calling(recogniser, 2.5) as call:
                await call.line.over.wait()
            return call

    call = run(main)
    assert call.texts == ["yes please"]
    assert [error.recoverable for error in call.of("error")] == [True]


def test_when_the_session_gives_up_livekit_tries_again() -> None:
    async def main() -> Call:
        link = LinkSettings(first_budget=0.05)
        async with transcribing(one_turn(), refuse=[503], link=link) as recogniser:
            async with calling(recogniser, 2.5) as call:
                await call.line.over.wait()
            return call

    call = run(main)
    assert call.texts == ["yes please"]
    (given_up,) = [e.error for e in call.of("error") if isinstance(e.error, APIStatusError)]
    assert given_up.status_code == 503
    assert given_up.retryable


def test_a_refused_key_is_not_tried_again_and_never_shown() -> None:
    async def main() -> Call:
        async with playing(one_turn(), refuse=[401] * 20) as url:
            recogniser = HearoutSTT(Deepgram(KEY, url))
            async with calling(recogniser, 1.0) as call:
                await call.until(lambda: bool(call.of("close")), 15.0)
            return call

    call = run(main)
    errors = call.of("error")
    permanent = [e for e in errors if not e.recoverable]
    assert len(permanent) == 4  # LiveKit opens a stream three times more, then it closes the session
    for error in permanent:
        assert isinstance(error.error, APIStatusError)
        assert error.error.status_code == 401
    assert KEY not in repr(errors) + str([str(e.error) for e in errors])
    assert call.of("close")[0].error is not None


def test_nobody_there_is_a_connection_error() -> None:
    async def main() -> None:
        async with serving(trio.aclose_forcefully) as url:
            pass
        recogniser = HearoutSTT(Deepgram("any", url), link=LinkSettings(first_budget=0.05))
        async with recogniser.stream(conn_options=APIConnectOptions(max_retry=0)) as stream:
            with pytest.raises(APIConnectionError, match=r"cannot connect to 127\.0\.0\.1:\d+: Connection refused"):
                await collect(stream)

    run(main)


def test_words_before_the_transcriber_is_gone_for_good_are_a_turn() -> None:
    trace = script(voice("start", 0.5), said(1.0, YES, 0.0), {"t": 1.2, "link": "lost"})

    async def main() -> Call:
        async with transcribing(trace, link=LinkSettings(budget=0.2, backoff=0.1)) as recogniser:
            async with calling(recogniser, 2.5) as call:
                await call.until(lambda: bool(call.turns))
            return call

    assert run(main).texts == ["yes please"]


# -- what is refused at once -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: HearoutSTT(Deepgram("any", channels=2)), "a LiveKit user has one channel, but deepgram is set to 2"),
        (lambda: HearoutSTT(Deepgram("any", sample_rate=44_100)), "deepgram is set to 44100 Hz; set its sample_rate"),
        (lambda: HearoutSTT(Deepgram("any"), policy="hasty"), "hasty"),
        (lambda: HearoutSTT(Soniox("any")).stream(language="de"), "soniox has no option language"),
    ],
)
def test_what_cannot_work_is_one_line(make: Any, line: str) -> None:
    with pytest.raises(UsageError, match=line) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_options_of_livekit_can_be_added() -> None:
    options = session_options(interruption={"min_words": 2}, preemptive_generation={"preemptive_tts": True})
    handling = options["turn_handling"]
    assert options["vad"] is None
    assert handling["turn_detection"] == "stt"
    assert handling["interruption"] == {"mode": "vad", "min_words": 2}
    assert handling["preemptive_generation"] == {"preemptive_tts": True}


def test_a_language_is_told_to_the_transcriber_of_that_stream_only() -> None:
    async def main() -> tuple[str, Any]:
        asked: asyncio.Queue[str] = asyncio.Queue()

        async def refuse(stream: trio.SocketStream) -> None:
            asked.put_nowait((await stream.receive_some()).decode().split()[1])
            await stream.aclose()

        async with serving(refuse) as url:
            recogniser = HearoutSTT(Deepgram("any", url))
            async with recogniser.stream(language="de"):
                return await asked.get(), recogniser._transcriber

    path, template = run(main)
    assert "language=de" in path
    assert template.language is None


def test_each_stream_can_be_recorded(tmp_path: Path) -> None:
    traces: list[Path] = []

    def recorder() -> Recorder:
        traces.append(tmp_path / f"{len(traces)}.jsonl")
        return Recorder(traces[-1], Header("deepgram"))

    async def main() -> None:
        async with transcribing(one_turn(), recorder=recorder) as recogniser:
            await heard(recogniser.stream(), 2.0)

    run(main)
    (path,) = traces
    assert any("stt" in json.loads(line) for line in path.read_text().splitlines())
    assert read_trace(path).records


def test_it_says_what_it_is() -> None:
    recogniser = HearoutSTT(Deepgram("any", model="nova-2"))
    assert (recogniser.provider, recogniser.model) == ("deepgram", "nova-2")
    assert recogniser.capabilities.streaming
    assert not recogniser.capabilities.offline_recognize
