"""Turns in Pipecat pipelines, against the local server with a script. Run by ``run_pipecat.py``."""

from __future__ import annotations

import asyncio
import json
import string
from typing import Any

import pytest
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import (
    AggregatedTextFrame,
    DataFrame,
    Frame,
    InputDTMFFrame,
    STTUpdateSettingsFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.observers.base_observer import FramePushed
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from hearout import (
    Answer,
    Flux,
    Soniox,
    TurnAmended,
    TurnCompleted,
)
from hearout.integrations.pipecat import HearoutSettings, HearoutSTTService
from hearout_policies.expect import OneOf
from tests.integration.pipecat.conversation import converse
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
    spoken,
)
from tests.kit.paths import CASES
from tests.kit.serving import playing

PUNCTUATION = str.maketrans("", "", string.punctuation)


def test_one_turn_is_one_start_one_transcription_and_one_stop() -> None:
    script = Script()
    one_turn(script, LEAD)

    async def main() -> None:
        async with against(script) as call:
            await call.quiet(LEAD)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("asked")
        turn = [event for event in call.events if event[0] not in ("interim", "interruption")]
        assert turn == [
            ("start proposed", ""),
            ("started", ""),
            ("final", "call me back"),
            ("stop proposed", ""),
            ("asked", "call me back"),
            ("stopped", ""),
            ("turn", "call me back"),
        ]
        assert call.texts("interim") == ["call me", "call me back"]
        (frame,) = call.finals
        assert frame.finalized
        assert isinstance(frame.result, TurnCompleted)
        assert call.ttfb == [pytest.approx(frame.result.timings.latency, abs=0.1)]
        assert len(call.usage) == 2, "with the turn, and at the end"
        assert sum(call.usage) == pytest.approx(call.clock, abs=0.05)
        assert not call.errors

    run(main)


def test_two_users_share_a_loop() -> None:
    scripts = Script(), Script()
    one_turn(scripts[0], LEAD)
    one_turn(scripts[1], 2 * LEAD)

    async def user(script: Script, lead: float) -> list[str]:
        async with against(script) as call:
            await call.quiet(lead)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("turn")
        return call.texts("turn")

    async def main() -> None:
        turns = await asyncio.gather(user(scripts[0], LEAD), user(scripts[1], 2 * LEAD))
        assert list(turns) == [["call me back"], ["call me back"]]

    run(main)


def test_a_late_final_does_not_split_the_turn() -> None:
    said = moved(WORDS, LEAD)
    script = Script()
    script.result(said[1][1], said[:1], final=True)
    script.result(said[2][2], said[1:])
    script.answer(said[2][2] + 0.3, said[1:], after=0.8)

    async def main() -> None:
        async with against(script) as call:
            await call.quiet(LEAD)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("asked")
            await call.quiet(0.3)
        assert call.texts("turn") == call.texts("asked") == ["call me back"]

    run(main)


def test_interim_words_must_do_when_finals_do_not_come_and_what_is_corrected_later_is_told() -> None:
    said = moved(WORDS, LEAD)
    script = Script()
    script.result(said[2][2], said[:2])
    corrected = [*said[:2], ("black", *said[2][1:])]
    script.result(3.2, corrected, final=True)
    told: list[Any] = []

    async def main() -> None:
        with playing(*script.lines) as server:
            stt = service(server)

            @stt.event_handler("on_turn_event")
            async def note(_: HearoutSTTService, event: Any) -> None:
                told.append(event)

            async with converse(stt) as call:
                await call.quiet(LEAD)
                await call.say(CALL_ME_BACK)
                await call.quiet_until("asked")
                await call.quiet(3.4 - call.clock)
        assert call.texts("turn") == call.texts("final") == ["call me"]
        assert [event.text for event in told if isinstance(event, TurnAmended)] == ["call me black"]

    run(main)


def test_barge_in_stops_the_bot() -> None:
    start = 0.6
    script = Script()
    one_turn(script, start)

    async def main() -> None:
        async with against(script) as call:
            await call.bot_says(6.0)
            await call.quiet(start - call.clock)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("asked")
        names = [name for name, _ in call.events]
        assert names.index("bot started") < names.index("interruption") < names.index("bot stopped")
        assert names.index("bot stopped") < names.index("final")
        assert call.texts("turn") == ["call me back"]
        assert call.finals[0].result.agent_speaking

    run(main)


def test_a_bot_that_is_not_to_be_interrupted_speaks_on() -> None:
    start = 0.6
    script = Script()
    one_turn(script, start)

    async def main() -> None:
        async with against(script, should_interrupt=False) as call:
            await call.bot_says(2.5)
            await call.quiet(start - call.clock)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("asked")
            assert not call.count("interruption")
            assert not call.count("bot stopped")
        assert call.texts("turn") == ["call me back"]

    run(main)


def test_a_bot_that_spoke_before_there_was_a_session_is_speaking() -> None:
    audio, (word,) = spoken(1, 2)
    script = Script()
    one_turn(script, LEAD, [("uh-huh", *word[1:])])

    async def main() -> None:
        with playing(*script.lines) as server:
            stt = service(server)
            stt._bot_speaking = True  # as after its frame
            async with converse(stt) as call:
                await call.quiet(LEAD)
                await call.say(audio)
                await call.quiet_until("backchannel")

    run(main)


def test_a_backchannel_does_not_stop_the_bot_and_is_not_glued_to_what_comes_next() -> None:
    start, later = 0.6, 3.2
    audio, (word,) = spoken(1, 2)
    script = Script()
    one_turn(script, start, [("uh-huh", *word[1:]), ("yeah", word[2], word[2] + 0.1)])
    one_turn(script, later)

    async def main() -> None:
        async with against(script) as call:
            await call.bot_says(2.0)
            await call.quiet(start - call.clock)
            await call.say(audio)
            await call.quiet_until("bot stopped")
            assert call.texts("backchannel") == ["uh-huh yeah"]
            assert call.clock > 1.9
            assert not call.count("start proposed")
            await call.quiet(later - call.clock)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("asked")
        assert call.texts("turn") == call.texts("final") == ["call me back"]
        assert not call.finals[0].result.agent_speaking

    run(main)


class _Slow(FrameProcessor):
    """Takes its time for text, as one that translates it would."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, DataFrame):
            await asyncio.sleep(0.05)
        await self.push_frame(frame, direction)


def test_the_interruption_that_a_turn_makes_does_not_drop_its_own_text() -> None:
    start = 0.6
    audio, (word,) = spoken(1, 2)
    script = Script()
    one_turn(script, start, [("stop", *word[1:])])

    async def main() -> None:
        with playing(*script.lines) as server:
            async with converse(service(server), between=[_Slow()]) as call:
                await call.bot_says(6.0)
                await call.quiet(start - call.clock)
                await call.say(audio)
                await call.quiet_until("turn")
        assert call.texts("turn") == ["stop"]  # one word is no interruption before it is a turn
        assert call.count("interruption") == call.count("started") == call.count("stopped") == 1

    run(main)


def test_a_noise_takes_no_reply_back() -> None:
    audio, _ = spoken(1, 2)
    script = Script()
    one_turn(script, LEAD)
    script.answer(3.0, [])

    async def main() -> None:
        async with against(script, reply=1.5) as call:
            await call.quiet(LEAD)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("asked")
            await call.say(audio)
            await call.quiet_until("bot stopped")
            await call.quiet(0.5)
        assert call.count("started") == call.count("stopped") == call.count("interruption") == call.count("asked") == 1

    run(main)


def test_a_wordless_interruption_ends_soon() -> None:
    start = 0.6
    audio, _ = spoken(1, 5)  # 1.1 s

    async def main() -> None:
        async with against(Script()) as call:
            await call.bot_says(6.0)
            await call.quiet(start - call.clock)
            await call.say(audio)
            assert call.count("interruption") == 1
            await call.quiet_until("turn", most=3.0)
            await call.quiet(0.1)
        assert call.texts("turn") == [""]
        # Pipecat's own recovery from an empty turn that took the bot's word.
        assert call.texts("asked")[0].startswith("The user may have said something")

    run(main)


def test_the_reply_to_a_predicted_end_is_kept() -> None:
    script = Script()
    one_turn(script, LEAD)

    async def main() -> None:
        async with against(script, enable_eager_end_of_turn=True) as call:
            await call.quiet(LEAD)
            await call.say(CALL_ME_BACK)
            await call.quiet_until("turn")
            await call.quiet(0.1)
        assert call.texts("asked early") == call.texts("predicted") == call.texts("turn") == ["call me back"]
        assert not call.count("asked")
        assert not call.count("resumed")
        names = [name for name, _ in call.events]
        assert names.index("asked early") < names.index("final")

    run(main)


def test_the_reply_to_a_prediction_that_was_wrong_is_taken_back() -> None:
    first, tail = spoken(1, 3), spoken(4, 5)
    said = moved(first[1], LEAD)
    again = said[-1][2] + 0.45
    script = Script()
    script.result(said[-1][2] + 0.1, said, final=True, speech_final=True)
    rest = moved(tail[1], again)
    script.result(rest[-1][2] + 0.3, rest, final=True, speech_final=True)

    async def main() -> None:
        async with against(script, enable_eager_end_of_turn=True) as call:
            await call.quiet(LEAD)
            await call.say(first[0])
            await call.quiet(again - call.clock)
            await call.say(tail[0])
            await call.quiet_until("turn")
        assert call.texts("asked early") == ["call me", "call me tomorrow"]
        assert call.count("resumed") == 1
        assert call.texts("turn") == call.texts("final") == ["call me tomorrow"]

    run(main)


def test_frames_of_another_voice_detection_mean_nothing() -> None:
    script = Script()
    one_turn(script, LEAD)

    async def main() -> None:
        async with against(script) as call:
            await call.quiet(LEAD)
            await call.worker.queue_frame(VADUserStartedSpeakingFrame(start_secs=0.2))
            await call.say(CALL_ME_BACK[: len(CALL_ME_BACK) // 4 * 2])
            await call.worker.queue_frame(VADUserStoppedSpeakingFrame(stop_secs=0.2))
            await call.say(CALL_ME_BACK[len(CALL_ME_BACK) // 4 * 2 :])
            await call.quiet_until("asked")
            await call.quiet(0.3)
        assert call.texts("turn") == ["call me back"]
        assert call.ttfb == [pytest.approx(call.finals[0].result.timings.latency, abs=0.1)]

    run(main)


@pytest.mark.parametrize(
    ("dialect", "path", "case"),
    [(Soniox, "transcribe-websocket", "provider_soniox_end"), (Flux, "v2/listen", "provider_flux_ends_after_and")],
)
def test_other_providers(dialect: type[Soniox | Flux], path: str, case: str) -> None:
    lines = [json.loads(line) for line in (CASES / f"{case}.jsonl").read_text().splitlines()]
    (expected,) = [line["expect"] for line in lines if "expect" in line]
    lines = [line for line in lines if "stt" in line and "t" in line]

    async def main() -> None:
        with playing(*lines, stt=dialect("any-key").name) as server:
            stt = HearoutSTTService(dialect("any-key", f"ws://{server}/{path}"), policy="provider")
            async with converse(stt) as call:
                await call.quiet(lines[-1]["t"] + 0.1)
                await call.quiet_until("turn", len(expected))
        bare = [text.lower().translate(PUNCTUATION) for text in call.texts("turn")]
        assert bare == [turn["text"].lower().translate(PUNCTUATION) for turn in expected]
        assert not call.errors

    run(main)


def test_what_the_bot_asks_is_expected_and_a_step_has_a_policy_of_its_own() -> None:
    script = Script()
    one_turn(script, LEAD + 1.0)
    events: list[Any] = []

    async def main() -> None:
        with playing(*script.lines) as server:
            stt = service(server)
            stt.add_event_handler("on_turn_event", lambda _, event: events.append(event))
            observer = stt.observer
            question = AggregatedTextFrame("Shall I call you back?", "sentence")
            question.will_be_spoken = True
            pushed = FramePushed(stt, stt, question, FrameDirection.DOWNSTREAM, 0)
            await observer.on_push_frame(pushed)
            await observer.on_push_frame(pushed)  # is seen at each step of its way, and told once
            async with converse(stt) as call:
                step = HearoutSettings(policy="fast", expect=[OneOf(["call me back", "no"])])
                await call.worker.queue_frame(STTUpdateSettingsFrame(delta=step))
                await call.worker.queue_frame(STTUpdateSettingsFrame(delta=HearoutSettings(policy="hasty")))
                await call.quiet(LEAD + 1.0)
                await call.say(CALL_ME_BACK)
                await call.quiet_until("asked")
                assert not [text for name, text in call.events if name == "error"]  # it goes on as it was
        (answer,) = [event.answer for event in events if isinstance(event, TurnCompleted)]
        assert answer == Answer("one_of", "call me back", complete=True, final=True)

    run(main)


def test_keys_are_words() -> None:
    events: list[Any] = []

    async def main() -> None:
        with playing() as server:
            stt = service(server)
            stt.add_event_handler("on_turn_event", lambda _, event: events.append(event))
            async with converse(stt) as call:
                await call.quiet(0.5)
                for key in (KeypadEntry.FOUR, KeypadEntry.TWO, KeypadEntry.POUND):
                    await call.worker.queue_frame(InputDTMFFrame(button=key))
                await call.quiet_until("asked")
        turns = [event for event in events if isinstance(event, TurnCompleted)]
        assert [(turn.text, turn.reason) for turn in turns] == [("4 2", "force_end")]

    run(main)
