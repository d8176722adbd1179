"""What goes wrong, and how things end, in Pipecat pipelines. Run by ``run_pipecat.py``."""

from __future__ import annotations

import asyncio
import runpy
import sys
import wave
from pathlib import Path

import pytest
from pipecat.frames.frames import (
    Frame,
    STTMuteFrame,
)
from pipecat.processors.aggregators.llm_response_universal import LLMUserAggregatorParams
from pipecat.turns.user_mute import BaseUserMuteStrategy

from hearout import (
    Deepgram,
    LinkSettings,
    SpeechEdge,
    SpeechGate,
    UsageError,
    WebRtcDetector,
    preset,
    silero_gate,
)
from hearout.integrations import pipecat as service_module
from hearout.integrations.pipecat import HearoutSTTService
from tests.integration.pipecat.conversation import RATE, converse
from tests.integration.pipecat.kit import (
    CALL_ME_BACK,
    LEAD,
    WORDS,
    Script,
    against,
    moved,
    one_turn,
    run,
    service,
)
from tests.kit.paths import ROOT
from tests.kit.serving import playing


def test_a_broken_connection_loses_nothing() -> None:
    said = moved(WORDS, LEAD)
    script = Script()
    script.result(said[1][2], said[:1])
    script.lines += [{"t": 0.8, "link": "lost"}, {"t": 0.9, "link": "restored", "audio": 0.0}]
    script.result(said[2][2] + 0.3, said, final=True, speech_final=True)
    heard: list[str] = []

    async def main() -> None:
        with playing(*script.lines) as server:
            stt = service(server)
            for name in ("on_disconnected", "on_connected"):
                stt.add_event_handler(name, lambda _, name=name: heard.append(name))
            async with converse(stt) as call:
                await call.quiet(LEAD)
                await call.say(CALL_ME_BACK)
                await call.quiet_until("asked")
        assert call.texts("turn") == ["call me back"]
        assert heard == ["on_disconnected", "on_connected"]

    run(main)


def test_a_refused_key_is_one_error() -> None:
    async def main() -> None:
        with playing(refuse=401) as server:
            stt = service(server)
            async with converse(stt) as call:
                await call.quiet(1.0)
        (error,) = call.errors
        assert "\n" not in error
        assert "check the key in DEEPGRAM_API_KEY" in error
        assert not stt.is_usable

    run(main)


def test_a_transcriber_that_goes_away_for_good_leaves_no_turn_open() -> None:
    said = moved(WORDS, LEAD)
    script = Script()
    script.result(said[2][2], said)
    script.lines.append({"t": said[2][2] + 0.1, "link": "lost"})

    async def main() -> None:
        async with against(script, link=LinkSettings(budget=0.3)) as call:
            await call.quiet(LEAD)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("turn")
            await call.quiet(0.5)
        assert call.texts("turn") == ["call me back"]
        assert call.count("stopped") == 1
        assert len(call.errors) == 1

    run(main)


def test_a_voice_detection_that_cannot_be_used_is_one_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEAROUT_MODELS", str(tmp_path))

    async def main() -> None:
        async with against(Script(), vad=silero_gate) as call:
            await call.quiet(0.5)
        (error,) = call.errors
        assert "hearout models get silero-vad" in error
        assert "\n" not in error

    run(main)


def test_a_failure_of_a_part_is_an_error_too() -> None:
    class Gate(SpeechGate):
        def feed(self, pcm: bytes) -> list[SpeechEdge]:
            if self.heard > 0.5:
                raise RuntimeError("out of order")
            return super().feed(pcm)

    async def main() -> None:
        async with against(Script(), vad=lambda rate: Gate(WebRtcDetector(rate), rate)) as call:
            await call.quiet(1.0)
        assert call.errors == ["RuntimeError('out of order')"]

    run(main)


def test_the_end_waits_for_the_last_words() -> None:
    said = moved(WORDS, LEAD)
    script = Script()
    script.result(said[2][2] - 0.1, said[:2])
    script.answer(said[2][2], said, after=0.3)

    async def main() -> None:
        async with against(script) as call:
            await call.quiet(LEAD)
            await call.say(CALL_ME_BACK)
        assert call.texts("turn") == ["call me back"]

    run(main)


def test_the_end_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "_LAST_WORDS", 1.0)
    said = moved(WORDS, LEAD)
    script = Script()
    script.result(said[2][2] - 0.1, said[:2])
    script.lines.append({"t": said[2][2], "link": "lost"})

    async def main() -> None:
        policy = preset("balanced").replace({"silence.link_patience": 0.3})
        async with against(script, policy=policy) as call:
            await call.quiet(LEAD)
            await call.say(CALL_ME_BACK)
            await call.quiet(0.1)
        (error,) = call.errors
        assert error.startswith("the last words did not come")
        assert call.texts("turn") == ["call me"]

    run(main)


def test_cancelling_in_the_middle_of_a_turn_is_quick() -> None:
    script = Script()
    one_turn(script, LEAD)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with against(script) as call:
            await call.quiet(LEAD)
            await call.say(CALL_ME_BACK[: len(CALL_ME_BACK) // 4 * 2])
            began = loop.time()
            await call.worker.cancel()
        assert loop.time() - began < 3
        assert not call.finals
        assert not call.errors

    run(main)


def test_cancelling_while_there_is_no_connection_yet_is_quick() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with converse(service("127.0.0.1:1")) as call:
            await call.say(CALL_ME_BACK)
            began = loop.time()
            await call.worker.cancel()
        assert loop.time() - began < 3
        assert not call.errors

    run(main)


def test_muting_the_service_ends_the_turn() -> None:
    said = moved(WORDS, LEAD)
    script = Script()
    script.result(said[1][2], said[:2])
    script.answer(said[2][2], said)

    async def main() -> None:
        async with against(script) as call:
            await call.quiet(LEAD)
            await call.say(CALL_ME_BACK)
            await call.worker.queue_frame(STTMuteFrame(mute=True))
            await call.quiet_until("asked")
        assert call.texts("turn") == ["call me back"]

    run(main)


def test_no_more_audio_ends_the_turn() -> None:
    said = moved(WORDS, LEAD)
    script = Script()
    script.result(said[1][2], said[:2])
    script.answer(said[2][2], said)

    async def main() -> None:
        async with against(script) as call:
            await call.quiet(LEAD)
            await call.say(CALL_ME_BACK)
            await call.no_audio(2.0)
            assert call.texts("turn") == ["call me back"]

    run(main)


class _Muted(BaseUserMuteStrategy):
    muted = True

    async def process_frame(self, frame: Frame) -> bool:
        await super().process_frame(frame)
        return self.muted


def test_a_turn_whose_start_was_swallowed_by_a_muted_aggregator_is_delivered() -> None:
    script = Script()
    one_turn(script, LEAD)
    mute = _Muted()

    async def main() -> None:
        with playing(*script.lines) as server:
            stt = service(server)
            params = LLMUserAggregatorParams(
                user_turn_strategies=stt.user_turn_strategies(), user_mute_strategies=[mute]
            )
            async with converse(stt, user=params) as call:
                await call.quiet(LEAD)
                await call.say(CALL_ME_BACK)
                await call.quiet_until("interim", 2)
                assert call.count("start proposed") == 1
                mute.muted = False
                await call.quiet_until("asked")
        assert call.texts("turn") == ["call me back"]

    run(main)


def test_the_service_recommends_its_strategies() -> None:
    script = Script()
    one_turn(script, LEAD)

    async def main() -> None:
        async with against(script, user=LLMUserAggregatorParams()) as call:
            await call.quiet(LEAD)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("asked")
        assert call.texts("turn") == ["call me back"]
        assert call.count("start proposed") == 1

    run(main)


@pytest.mark.parametrize(("pipeline", "transcriber"), [(8000, 8000), (48_000, 16_000)])
def test_the_transcriber_is_told_the_rate_of_the_pipeline(pipeline: int, transcriber: int) -> None:
    async def main() -> None:
        with playing() as server:
            stt = service(server, sample_rate=pipeline)
            async with converse(stt) as call:
                await call.say(bytes(pipeline // 5), rate=pipeline)
            assert f"sample_rate={transcriber}" in stt._transcriber.address()
            assert not call.errors

    run(main)


def test_audio_of_another_rate_than_the_pipeline_s_is_one_error() -> None:
    async def main() -> None:
        with playing() as server:
            stt = service(server)
            async with converse(stt) as call:
                await call.say(bytes(96_000), rate=48_000)
        (error,) = call.errors
        assert error.startswith("the audio has 1 channel(s) at 48000 Hz, but the pipeline said 1 at 16000 Hz; ")
        assert not stt.is_usable

    run(main)


def test_what_cannot_work_is_told_before_there_is_a_pipeline() -> None:
    with pytest.raises(UsageError, match=r"^Deepgram: the key is empty .*; set DEEPGRAM_API_KEY$"):
        HearoutSTTService(Deepgram(""))
    with pytest.raises(UsageError, match="one channel, but deepgram is set to 2"):
        HearoutSTTService(Deepgram("any-key", channels=2))
    with pytest.raises(UsageError, match="hasty"):
        HearoutSTTService(Deepgram("any-key"), policy="hasty")


@pytest.mark.filterwarnings("ignore:.*websockets.*:DeprecationWarning")  # of Deepgram's SDK
@pytest.mark.parametrize("own", [[], ["--own"]])
def test_the_example_runs(
    own: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "user.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(bytes(round(LEAD * RATE) * 2) + CALL_ME_BACK + bytes(2 * RATE))
    script = Script()
    one_turn(script, LEAD)
    with playing(*script.lines) as server:
        monkeypatch.setattr(sys, "argv", ["pipecat_bot.py", str(path), "--url", f"ws://{server}/v1/listen", *own])
        runpy.run_path(str(ROOT / "examples" / "pipecat_bot.py"), run_name="__main__")
    assert capfd.readouterr().out == "user: call me back\n"
    if own:
        return
    with playing(refuse=401) as server:
        monkeypatch.setattr(sys, "argv", ["pipecat_bot.py", str(path), "--url", f"ws://{server}/v1/listen"])
        with pytest.raises(SystemExit, match=r"^pipecat_bot: .*check the key in DEEPGRAM_API_KEY"):
            runpy.run_path(str(ROOT / "examples" / "pipecat_bot.py"), run_name="__main__")
