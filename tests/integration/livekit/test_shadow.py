"""A shadow of an agent that keeps its own STT, voice detection and turn detection."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import random
import shutil
import time
import wave
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from livekit.agents import Agent, AgentSession, UserStateChangedEvent, llm
from livekit.agents.voice import io

from hearout import read_trace, replay
from hearout.shadow.livekit import LiveKitShadow
from hearout.traces.records import AgentChange, AgentText, BotInterrupted, BotTurn, Received, Trace, VoiceChange
from hearout_policies.events import TurnCompleted
from tests.integration.livekit.kit import BLOCK, Line, Oracle, Speaker, run, speech
from tests.integration.livekit.test_own_stt import Event, Scripted
from tests.kit.paths import ROOT
from tests.kit.slow_loop import blocked

SAID = "call me back"
START = 0.6  # seconds before the first word


def recorded() -> bytes:
    """Silence, then somebody says "call me back", 0.75 s."""
    words = json.loads((ROOT / "samples" / "phone_number.json").read_text())["turns"][1]["words"][1:4]
    with wave.open(str(ROOT / "samples" / "phone_number.wav")) as file:
        rate = file.getframerate()
        assert rate == 16000
        file.setpos(round(words[0]["start"] * rate))
        audio: bytes = file.readframes(round((words[-1]["end"] - words[0]["start"]) * rate))
    return bytes(2 * round(START * rate)) + audio


SOUND = recorded()
END = len(SOUND) / 32000


def turn_at(start: float) -> list[Event]:
    """What an STT says of it, when it begins so many seconds into the audio."""
    end = start + END
    return [(end - 0.2, "interim_transcript", "call me"), (end + 0.3, "final_transcript", SAID)]


class Talk:
    """One session, and when it began to reply."""

    def __init__(self, session: AgentSession[Any], line: Line, model: Oracle) -> None:
        self.session, self.line, self.model = session, line, model

    async def until(self, condition: Any, seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 (of LiveKit's state, which tells nobody)
                await asyncio.sleep(BLOCK)


@asynccontextmanager
async def talk(
    events: Sequence[Event],
    shadow: LiveKitShadow | None,
    *,
    sound: bytes = SOUND,
    seconds: float = 12.0,
    speaker: io.AudioOutput | None = None,
    agent: Agent | None = None,
    **options: Any,
) -> AsyncIterator[Talk]:
    """A session with LiveKit's own turns: its defaults, unless ``options`` say otherwise."""
    line, model = Line(seconds, sound=sound), Oracle()
    session: AgentSession[Any] = AgentSession(
        stt=Scripted(events), llm=model, aec_warmup_duration=None, session_close_transcript_timeout=0.2, **options
    )
    if shadow is not None:
        shadow.attach(session)
    session.input.audio = line
    if speaker is not None:
        session.output.audio = speaker
    await session.start(agent or Agent(instructions="Say nothing."))
    try:
        yield Talk(session, line, model)
    finally:
        await session.aclose()


def written(folder: Path) -> Trace:
    (path,) = folder.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    return read_trace(path)


def of(trace: Trace, kind: type) -> list[Any]:
    return [record for record in trace.records if isinstance(record, kind)]


def test_a_turn_and_the_reply_to_it(tmp_path: Path) -> None:
    shadow = LiveKitShadow(tmp_path)

    async def main() -> None:
        async with talk(turn_at(0.0), shadow) as call:
            await call.until(lambda: call.model.asked)
            await asyncio.sleep(0.5)
        shadow.settle()

    run(main)
    trace = written(tmp_path)
    (turn,) = of(trace, BotTurn)
    assert turn.text == SAID
    assert [change.kind for change in of(trace, VoiceChange)] == ["start", "stop"]
    assert [record.message["type"] for record in of(trace, Received)][:2] == ["interim", "final"]
    ended = of(trace, VoiceChange)[1].audio
    assert 0.0 < turn.t - ended < 4.0
    (decided,) = [event for event in replay(trace).outputs if isinstance(event, TurnCompleted)]
    assert decided.text == SAID


class _Librarian(Agent):
    """Looks something up before it answers; notes when the user fell silent, and when it was asked to."""

    def __init__(self, seconds: float) -> None:
        super().__init__(instructions="Say nothing.")
        self.silent: list[float] = []
        self.turns: list[float] = []
        self._seconds = seconds

    async def on_enter(self) -> None:
        self.session.on("user_state_changed", self._changed)

    def _changed(self, event: UserStateChangedEvent) -> None:
        if event.new_state == "listening":
            self.silent.append(time.monotonic())

    async def on_user_turn_completed(self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage) -> None:
        self.turns.append(time.monotonic())
        await asyncio.sleep(self._seconds)


def test_a_user_who_goes_on_while_the_agent_looks_something_up(tmp_path: Path) -> None:
    """LiveKit tells of a turn when the hook is through with it: then the user has gone on, behind the turn's end."""
    shadow, agent = LiveKitShadow(tmp_path), _Librarian(3.0)
    pause = 1.5

    async def main() -> None:
        sound = SOUND + bytes(2 * round(16000 * pause)) + SOUND
        events = [*turn_at(0.0), *turn_at(END + pause)]
        turns: dict[str, Any] = {"turn_detection": "vad", "endpointing": {"min_delay": 0.3, "max_delay": 0.3}}
        async with talk(events, shadow, sound=sound, agent=agent, turn_handling=turns) as call:
            await call.until(lambda: any(item.type == "message" for item in call.session.history.items))
        shadow.settle()

    run(main)
    trace = written(tmp_path)
    turn, (_, stopped, again, *_) = of(trace, BotTurn)[0], of(trace, VoiceChange)
    assert turn.text == SAID
    assert turn.t - stopped.t == pytest.approx(agent.turns[0] - agent.silent[0], abs=0.1)
    assert turn.t < again.audio


def test_an_interruption(tmp_path: Path) -> None:
    shadow = LiveKitShadow(tmp_path)

    async def main() -> None:
        async with talk(turn_at(0.0), shadow, speaker=Speaker()) as call:
            handle = call.session.say("I will tell you all about our offers", audio=speech(8.0))
            await call.until(lambda: handle.interrupted)
            await call.until(lambda: call.model.asked)
        shadow.settle()

    run(main)
    trace = written(tmp_path)
    started, stopped, *_ = of(trace, AgentChange)
    assert (started.kind, stopped.kind) == ("started", "stopped")
    (interrupted,) = of(trace, BotInterrupted)
    assert interrupted.t <= stopped.t < 3.0
    assert [turn.text for turn in of(trace, BotTurn)] == [SAID]


def test_speech_that_comes_to_its_end_is_not_interrupted(tmp_path: Path) -> None:
    shadow = LiveKitShadow(tmp_path)

    async def main() -> None:
        async with talk([], shadow, sound=b"", speaker=Speaker()) as call:
            await call.session.say("Good morning", audio=speech(0.5))
            await asyncio.sleep(0.1)
        shadow.settle()

    run(main)
    trace = written(tmp_path)
    assert [change.kind for change in of(trace, AgentChange)] == ["started", "stopped"]
    assert [said.text for said in of(trace, AgentText)] == ["Good morning"]
    assert not of(trace, BotInterrupted)


def test_speech_without_a_text_that_comes_to_its_end_is_not_interrupted(tmp_path: Path) -> None:
    shadow = LiveKitShadow(tmp_path)

    async def main() -> None:
        async with talk([], shadow, sound=b"", speaker=Speaker()) as call:
            await call.session.say("Hold the line", audio=speech(0.3), add_to_chat_ctx=False)
            await call.session.say("", audio=speech(0.3))
            await asyncio.sleep(0.1)
        shadow.settle()

    run(main)
    trace = written(tmp_path)
    assert [change.kind for change in of(trace, AgentChange)] == ["started", "stopped"] * 2
    assert not of(trace, BotInterrupted)


def test_speech_that_cannot_be_interrupted_is_not(tmp_path: Path) -> None:
    """The user speaks when it comes to its end."""
    shadow = LiveKitShadow(tmp_path)

    async def main() -> None:
        async with talk([], shadow, speaker=Speaker()) as call:
            options: dict[str, Any] = {"allow_interruptions": False, "add_to_chat_ctx": False}
            await call.session.say("This call is recorded", audio=speech(1.1), **options)
            assert call.session.user_state == "speaking"
        shadow.settle()

    run(main)
    assert not of(written(tmp_path), BotInterrupted)


def test_what_is_typed_is_no_turn(tmp_path: Path) -> None:
    shadow = LiveKitShadow(tmp_path)

    async def main() -> None:
        async with talk([], shadow, sound=b"") as call:
            await call.session.generate_reply(user_input="call me back")
            assert call.model.asked[0][1] == SAID
        shadow.settle()

    run(main)
    assert not of(written(tmp_path), BotTurn)


def test_a_session_that_is_started_again_has_another_trace(tmp_path: Path) -> None:
    shadow = LiveKitShadow(tmp_path)

    async def main() -> None:
        model = Oracle()
        session: AgentSession[Any] = AgentSession(
            stt=Scripted(turn_at(0.0)), llm=model, aec_warmup_duration=None, session_close_transcript_timeout=0.2
        )
        shadow.attach(session, caller="Ann")
        for number in (1, 2):
            session.input.audio = Line(8.0, sound=SOUND)
            await session.start(Agent(instructions="Say nothing."))
            async with asyncio.timeout(10.0):
                while len(model.asked) < number:  # noqa: ASYNC110 (it tells nobody)
                    await asyncio.sleep(BLOCK)
            await session.aclose()
        shadow.settle()

    run(main)
    traces = [read_trace(path) for path in tmp_path.iterdir()]
    assert [[turn.text for turn in of(trace, BotTurn)] for trace in traces] == [[SAID]] * 2
    assert [trace.header.caller for trace in traces] == ["Ann"] * 2


@pytest.mark.parametrize("vad", [True, False])
def test_the_application_ends_the_turns(tmp_path: Path, vad: bool) -> None:
    """Push to talk."""
    shadow = LiveKitShadow(tmp_path)
    options: dict[str, Any] = {} if vad else {"vad": None}
    agent = _Librarian(1.0)

    async def main() -> None:
        manual = {"turn_detection": "manual"}
        async with talk(turn_at(0.0), shadow, agent=agent, turn_handling=manual, **options) as call:
            await call.until(lambda: call.line.began is not None)
            await asyncio.sleep(END + 0.5)
            call.session.commit_user_turn(transcript_timeout=1.0)
            await call.until(lambda: any(item.type == "message" for item in call.session.history.items))
        shadow.settle()

    run(main)
    trace = written(tmp_path)
    (turn,) = of(trace, BotTurn)
    assert turn.text == SAID
    assert turn.t - of(trace, Received)[-1].t < 0.9, "when it was ended, not when the agent had looked something up"
    assert len(of(trace, VoiceChange)) == (2 if vad else 0)


def test_turns_of_the_stt(tmp_path: Path) -> None:
    """No voice detection but the STT's."""
    shadow = LiveKitShadow(tmp_path)

    async def main() -> None:
        events = [(0.6, "start_of_speech", ""), *turn_at(0.0), (END + 0.6, "end_of_speech", "")]
        async with talk(events, shadow, turn_handling={"turn_detection": "stt"}, vad=None) as call:
            await call.until(lambda: call.model.asked)
            await asyncio.sleep(0.5)
        shadow.settle()

    run(main)
    trace = written(tmp_path)
    assert [turn.text for turn in of(trace, BotTurn)] == [SAID]
    assert [event.text for event in replay(trace).outputs if isinstance(event, TurnCompleted)] == [SAID]


def warned(main: Callable[[], Awaitable[None]], caplog: pytest.LogCaptureFixture) -> str:
    """The one thing that is said of the shadow."""
    with caplog.at_level(logging.WARNING, "hearout"):
        run(main)
    (told,) = [record.message for record in caplog.records if "shadow" in record.message]
    return told


def test_a_shadow_that_fails_is_told_of_once_and_the_agent_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "calls").write_text("not a folder")
    shadow = LiveKitShadow(tmp_path / "calls")

    async def main() -> None:
        async with talk(turn_at(0.0), shadow) as call:
            await call.until(lambda: call.model.asked)
            assert call.model.asked[0][1] == SAID
        shadow.settle()

    assert warned(main, caplog).startswith("the shadow has stopped, the bot goes on: FileExistsError")


def test_a_folder_that_vanishes_in_mid_call_is_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And no file stays open: pytest takes one that does for an error."""
    folder = tmp_path / "calls"
    shadow = LiveKitShadow(folder)

    async def main() -> None:
        async with talk(turn_at(0.0), shadow) as call:
            await call.until(lambda: call.line.began is not None)
            shadow.settle()
            shutil.rmtree(folder)
            await call.until(lambda: call.model.asked)
            assert call.model.asked[0][1] == SAID
        shadow.settle()

    assert warned(main, caplog).startswith("the shadow has stopped, the bot goes on: FileNotFoundError")
    gc.collect()


@pytest.mark.parametrize("seconds", [0.0, 0.02])
def test_the_agent_is_as_fast_as_without(tmp_path: Path, seconds: float) -> None:
    """Groups of sessions one after the other, each second one with a shadow, on a loop that is blocked now and then.

    Not beside each other: a shadow that held up the loop would hold up all.
    """
    groups, calls, seed = 6, 4, 19
    begins = random.Random(seed)
    shadow = LiveKitShadow(tmp_path)
    delays: dict[bool, list[float]] = {True: [], False: []}

    async def one(begin: float, own: LiveKitShadow | None) -> None:
        await asyncio.sleep(begin)
        async with talk(turn_at(0.0), own) as call:
            await call.until(lambda: call.model.asked, 14.0)
            assert call.line.began is not None
            delays[own is not None].append(call.model.asked[0][0] - call.line.began - END)
            await asyncio.sleep(0.3)

    async def main() -> None:
        async with blocked(seconds):
            for number in range(groups):
                async with asyncio.TaskGroup() as group:
                    for _ in range(calls):
                        group.create_task(one(begins.uniform(0.0, 3.0), shadow if number % 2 else None))
        shadow.settle()

    run(main)
    with_, without = (median(delays[way]) for way in (True, False))
    print(f"loop blocked {seconds} s in 0.06 s, load {os.getloadavg()[0]:.1f}: the model is asked {with_:.3f} s after")
    print(f"  speech with a shadow, {without:.3f} s without; worst {max(delays[True]):.3f}, {max(delays[False]):.3f} s")
    assert len(delays[True]) == len(delays[False]) == groups * calls // 2
    assert with_ < without + 0.2
    paths = list(tmp_path.iterdir())
    assert len(paths) == groups * calls // 2
    for path in paths:
        assert [turn.text for turn in of(read_trace(path), BotTurn)] == [SAID]
