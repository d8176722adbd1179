"""Whole sessions in virtual time: audio, voice detection, link, machine, events."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing

from hearout.errors import SessionError, UsageError
from hearout.link.settings import LinkSettings
from hearout.session.session import Session, open_session
from hearout.traces.reader import parse_trace
from hearout.traces.replayer import replay
from hearout.transcribers.deepgram import Deepgram
from hearout.vad import SpeechEdge, SpeechGate
from hearout_policies.events import Answer, Finalize, TurnCompleted, TurnStarted, as_dict
from hearout_policies.expect import OneOf
from hearout_policies.policy import Policy, preset
from hearout_policies.rules import FinalizeOnSilence
from tests.kit.provider import Plan, Provider, Source
from tests.kit.turns import Steady

KEY = "dg-secret-key"
ORDER = [
    ("i", 1.0, 1.1),
    ("would", 1.15, 1.3),
    ("like", 1.35, 1.6),
    ("a", 1.65, 1.7),
    ("pizza.", 1.75, 2.1),
    ("yes", 5.0, 5.4),
    ("please.", 5.5, 6.0),
]
TURNS = ["i would like a pizza.", "yes please."]


class Gate:
    """Voice detection that hears the words of a script, 60 ms late at the onset and 200 ms at the end."""

    spans = ((1.0, 2.1), (5.0, 6.0))

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.samples = 0
        self.speaking = False
        self.due = sorted(
            edge for start, end in self.spans for edge in ((start + 0.06, "start", start), (end + 0.2, "stop", end))
        )

    def feed(self, pcm: bytes) -> list[SpeechEdge]:
        self.samples += len(pcm) // 2
        out = []
        while self.due and self.due[0][0] <= self.samples / self.sample_rate + 1e-9:
            _, kind, audio = self.due.pop(0)
            if self.speaking != (kind == "start"):
                self.speaking = kind == "start"
                out.append(SpeechEdge(kind, audio))  # type: ignore[arg-type]
        return out

    def flush(self) -> list[SpeechEdge]:
        edges = [SpeechEdge("stop", self.samples / self.sample_rate)] if self.speaking else []
        self.speaking = False
        return edges


class Detector:
    """Hears speech where the audio, which says what time it is, is within ``spans``."""

    frame_ms = 20
    tail = 0.0

    def __init__(self, spans: Sequence[tuple[float, float]]) -> None:
        self.spans = spans

    def is_speech(self, frame: bytes) -> bool:
        at = int.from_bytes(frame[-2:], "little") / 100
        return any(start <= at < end for start, end in self.spans)


def scripted_gate(*spans: tuple[float, float], onset: float = 0.1) -> Callable[[int], SpeechGate]:
    return lambda sample_rate: SpeechGate(Detector(spans), sample_rate, onset=onset)


class Trace:
    def __init__(self) -> None:
        self.records: list[Mapping[str, Any]] = []

    def write(self, record: Mapping[str, Any]) -> None:
        json.dumps(record, allow_nan=False)
        self.records.append(record)


class Result:
    """What a session gave."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.error: BaseException | None = None
        self.trace = Trace()
        self.provider: Any = None
        self.channels = 1

    @property
    def turns(self) -> list[TurnCompleted]:
        return [event for event in self.events if isinstance(event, TurnCompleted)]

    @property
    def texts(self) -> list[str]:
        return [turn.text for turn in self.turns]

    def of(self, kind: str) -> list[Any]:
        return [event for event in self.events if event.type == kind]


Hear = Callable[..., Result]


@pytest.fixture
def hear(run_virtual: Callable[..., Any]) -> Hear:
    """Run a session to its end and collect what it gives; ``meddle(session, event)`` sees every event."""

    def run(
        *plans: Plan,
        words: Any = (ORDER,),
        source: Source | None = None,
        meddle: Callable[[Session, Any], Any] | None = None,
        **options: Any,
    ) -> Result:
        async def main() -> Result:
            result = Result()
            result.channels = len(words)
            async with trio.open_nursery() as nursery:
                result.provider = provider = Provider(nursery, words, plans or (Plan(),))
                options.setdefault("vad", Gate)
                try:
                    async with open_session(
                        source or Source(9.0, channels=len(words)),
                        Deepgram(KEY, channels=len(words)),
                        connect=provider.connect,
                        recorder=result.trace,
                        **options,
                    ) as session:
                        async for event in session:
                            result.events.append(event)
                            if meddle:
                                meddle(session, event)
                except Exception as error:
                    result.error = error
                await trio.testing.wait_all_tasks_blocked()
                assert all("hang" in task.name for task in nursery.child_tasks)  # no orphans
                nursery.cancel_scope.cancel()
            return result

        return run_virtual(main)  # type: ignore[no-any-return]

    return run


def test_two_turns(hear: Hear) -> None:
    result = hear()
    assert result.error is None
    assert result.texts == TURNS
    assert all(turn.confirmed for turn in result.turns)
    first = result.turns[0]
    assert first.audio_start == 1.0
    assert first.audio_end == 2.1
    assert 2.3 <= first.at <= 3.0
    assert first.timings.speech_end == pytest.approx(2.1)


def test_without_voice_detection(hear: Hear) -> None:
    assert hear(vad=None).texts == TURNS


def test_two_channels_are_two_speakers(hear: Hear) -> None:
    result = hear(words=(ORDER, [("hello?", 3.0, 3.4)]), vad=None)
    assert [(turn.channel, turn.text) for turn in result.turns] == [(0, TURNS[0]), (1, "hello?"), (0, TURNS[1])]


def test_finalize_follows_the_audio_it_flushes(hear: Hear) -> None:
    result = hear()
    for command in (event for event in result.events if isinstance(event, Finalize)):
        (sent,) = [at for t, _, what, at in result.provider.log if what == "Finalize" and abs(t - command.at) < 0.1]
        assert sent == pytest.approx(command.at, abs=0.021)


@pytest.mark.parametrize("drop", [0.5, 1.4, 1.9, 2.2, 3.0, 5.3, 8.9])
def test_a_drop_neither_loses_nor_doubles(hear: Hear, drop: float) -> None:
    result = hear(Plan(drop_at=drop), Plan())
    assert result.error is None
    assert result.texts == TURNS
    assert len(result.of("link_down")) == len(result.of("link_up")) == 1
    assert result.of("link_up")[0].audio <= drop


@pytest.mark.parametrize("seed", range(8))
def test_random_faults_conserve_the_words(hear: Hear, seed: int) -> None:
    rng = random.Random(seed)
    plans = []
    at = 0.0
    for _ in range(rng.randint(1, 5)):
        at += rng.uniform(0.2, 3.0)
        plans.append(
            rng.choice(
                [
                    Plan(drop_at=at),
                    Plan(drop_after_messages=rng.randint(1, 4), delay=rng.uniform(0, 0.3)),
                    Plan(status=503),
                    Plan(close=(1011, "NET-0000"), close_at=at),
                    Plan(freeze_at=at),
                    Plan(hang_up_handshake=True),
                ]
            )
        )
    result = hear(*plans, Plan(delay=rng.uniform(0, 0.3)), source=Source(15.0))
    assert result.error is None
    text = {turn.turn: turn.text for turn in result.turns} | {e.turn: e.text for e in result.of("turn_amended")}
    assert " ".join(text[turn] for turn in sorted(text)) == " ".join(TURNS)


def test_turns_end_while_the_link_is_down_and_are_amended_later(hear: Hear) -> None:
    down = [Plan(error=OSError(111, "Connection refused"))] * 6
    result = hear(Plan(drop_at=2.05), *down, Plan(), source=Source(20.0))
    assert result.turns[0].confirmed is False
    assert result.turns[0].at < result.of("link_up")[0].at
    assert result.turns[0].text == "i would like a"
    assert [event.text for event in result.of("turn_amended")] == [TURNS[0]]
    assert result.texts[1:] == TURNS[1:]


def test_not_in_real_time_gives_the_same_turns(hear: Hear) -> None:
    live = hear()
    quick = hear(source=Source(9.0, live=False, block=1.0), realtime=False)
    assert quick.texts == live.texts
    for one, other in zip(live.turns, quick.turns, strict=True):
        assert other.at == pytest.approx(one.at, abs=0.11)
        assert other.reason == one.reason
    assert quick.events[-1].at < 9.0


def test_not_in_real_time_a_drop_costs_nothing(hear: Hear) -> None:
    result = hear(Plan(drop_at=1.9), Plan(drop_at=5.3), Plan(), source=Source(9.0, live=False), realtime=False)
    assert result.texts == TURNS


def test_a_machine_is_told_how_fast_the_new_connection_is_fed(hear: Hear) -> None:
    """The trace says so where it is not the usual speed, so that its replay is exact."""

    def restored(**options: Any) -> list[Mapping[str, Any]]:
        result = hear(Plan(drop_at=1.9), Plan(), **options)
        assert result.error is None
        assert result.texts == TURNS
        assert replayed(result) == lived(result)
        return [
            {key: record[key] for key in ("link", "speed") if key in record}
            for record in result.trace.records
            if record.get("link") == "restored"
        ]

    assert restored() == [{"link": "restored"}]
    assert restored(link=LinkSettings(replay_speed=2.0)) == [{"link": "restored", "speed": 2.0}]
    quick = {"source": Source(9.0, live=False), "realtime": False}
    assert restored(**quick) == [{"link": "restored", "speed": None}]


def test_muted_audio_counts_as_silence(hear: Hear) -> None:
    # The microphone is muted at 2.0 s, in the middle of "pizza.", and comes back 30 s later.
    result = hear(source=Source(9.0, pauses={2.0: 30.0, 5.4: 3.0}))
    assert result.texts[0].startswith("i would like a")
    assert result.turns[0].at < 6.0
    stalled = [record for record in result.trace.records if record.get("audio") == "stalled"]
    assert [record["t"] for record in stalled] == pytest.approx([2.5, 35.9])
    assert [record["heard"] for record in stalled] == [2.0, 5.4]
    assert [r["vad"] for r in result.trace.records if "vad" in r] == ["start", "start"]  # not stopped again
    assert " ".join(result.texts) == " ".join(TURNS)


def test_speech_goes_on_after_a_mute(hear: Hear) -> None:
    # Muted for 3 s between "like" and "a", while the voice detection hears speech.
    result = hear(source=Source(9.0, pauses={1.62: 3.0}), vad=scripted_gate((1.0, 2.1), (5.0, 6.0)))
    assert result.texts == ["i would like", "a pizza.", TURNS[1]]
    before, after, _ = result.turns
    assert before.at < 1.62 + 3.0
    assert (before.audio_start, before.audio_end) == pytest.approx((1.0, 1.62), abs=0.021)
    assert (after.audio_start, after.audio_end) == pytest.approx((1.62, 2.1), abs=0.021)
    assert after.at == pytest.approx(2.1 + 3.0 + 0.5, abs=0.2)
    edges = [(r["vad"], r["t"]) for r in result.trace.records if r.get("vad") in ("start", "stop")]
    assert edges[1] == ("start", pytest.approx(1.62 + 3.0 + 0.1, abs=0.021))
    assert not result.of("turn_amended")


def test_a_mute_within_a_word(hear: Hear) -> None:
    result = hear(source=Source(9.0, pauses={1.9: 3.0}), vad=scripted_gate((1.0, 2.1), (5.0, 6.0)))
    text = {turn.turn: turn.text for turn in result.turns} | {e.turn: e.text for e in result.of("turn_amended")}
    assert " ".join(text.values()) == " ".join(TURNS)


def test_mute_between_turns_is_nothing(hear: Hear) -> None:
    result = hear(source=Source(9.0, pauses={4.0: 30.0}))
    assert result.texts == TURNS
    assert not [record for record in result.trace.records if record.get("audio") == "stalled"]
    assert len(result.provider.of("KeepAlive")) >= 6


def test_the_end_of_the_audio_ends_the_turn(hear: Hear) -> None:
    result = hear(source=Source(5.96))
    assert result.texts == TURNS
    assert result.trace.records[-1]["t"] < 12
    assert [record["end"] for record in result.trace.records if "end" in record] == [True]


def test_words_that_come_only_with_the_tail(hear: Hear) -> None:
    # No interims yet, no answers to Finalize: everything is said after CloseStream.
    result = hear(Plan(finalize_answers=False), words=([("hello.", 0.3, 0.7)],), source=Source(0.8), vad=None)
    assert result.texts == ["hello."]


def test_no_audio_at_all(hear: Hear) -> None:
    result = hear(source=Source(0.0))
    assert (result.events, result.error) == ([], None)


@pytest.mark.parametrize("live", [True, False])
def test_an_error_of_the_source_loses_nothing(hear: Hear, live: bool) -> None:
    error = OSError("the microphone was unplugged")
    result = hear(source=Source(9.0, live=live, error=(5.9, error)), realtime=live)
    assert result.texts == TURNS  # the last word comes with the tail
    assert result.error is error
    assert result.provider.of("CloseStream")
    kinds = [record.get("vad") or record.get("end") for record in result.trace.records]
    assert [kind for kind in kinds if kind][-2:] == ["stop", True]


def test_asking_for_one_speaker_warns_where_nobody_tells_them_apart(hear: Hear) -> None:
    def ask(session: Session, event: Any) -> None:
        if isinstance(event, TurnStarted):
            session.use(one)

    one = preset("balanced").replace({"only_speaker": "first"})
    says = "only_speaker has no effect: deepgram is not told to tell voices apart, diarize=True"
    assert [warning.detail for warning in hear(policy=one).of("warning")] == [says]
    assert {warning.detail for warning in hear(meddle=ask).of("warning")} == {says}
    assert not hear().of("warning")


def test_an_error_before_any_audio_comes_at_once(hear: Hear) -> None:
    error = UsageError("not a sound")
    result = hear(Plan(hang_handshake=True), source=Source(9.0, error=(0.0, error)))
    assert result.error is error
    assert not result.provider.log


def test_a_refusal_is_one_line(hear: Hear) -> None:
    result = hear(Plan(status=401, body=KEY.encode()))
    assert isinstance(result.error, SessionError)
    assert str(result.error) == (
        "api.deepgram.com refused the connection: HTTP 401 (***); check the key in DEEPGRAM_API_KEY"
    )


def test_a_transcriber_gone_for_good_comes_after_the_events(hear: Hear) -> None:
    result = hear(Plan(drop_at=4.0), Plan(status=403), source=Source(60.0))
    assert result.texts == TURNS[:1]
    assert isinstance(result.error, SessionError)
    assert result.of("link_down")


def test_the_key_is_nowhere(hear: Hear) -> None:
    result = hear(Plan(status=503, body=KEY.encode()), Plan(extra=[f'{{"type":"Error","description":"{KEY}"}}']))
    assert KEY not in repr(result.events) + repr(Deepgram(KEY))
    assert KEY not in json.dumps(result.trace.records[:-1]).replace(f'"description": "{KEY}"', "")


def test_a_slow_consumer_does_not_stop_the_turns(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            provider = Provider(nursery, (ORDER,))
            async with open_session(Source(9.0), Deepgram(KEY), vad=Gate, connect=provider.connect) as session:  # type: ignore[arg-type]
                await trio.sleep(60)
                events = [event async for event in session]
            turns = [event for event in events if isinstance(event, TurnCompleted)]
            assert [turn.text for turn in turns] == TURNS
            assert turns[-1].at < 7
            kinds = [event.type for event in events]
            assert ("turn_updated", "turn_updated") not in pairwise(kinds)
            nursery.cancel_scope.cancel()

    run_virtual(main)


def test_leaving_early_and_errors_of_the_application(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        for leave in (None, KeyError("mine")):
            source = Source(9.0)
            async with trio.open_nursery() as nursery:
                provider = Provider(nursery, (ORDER,))
                expected = pytest.raises(KeyError) if leave else nullcontext()
                with expected as info:
                    async with open_session(source, Deepgram(KEY), vad=Gate, connect=provider.connect) as session:  # type: ignore[arg-type]
                        async for event in session:
                            if isinstance(event, TurnStarted):
                                if leave is not None:
                                    raise leave
                                break
                assert info is None or info.value is leave
                await trio.testing.wait_all_tasks_blocked()
                assert not nursery.child_tasks
                nursery.cancel_scope.cancel()
            assert source.closed

    run_virtual(main)


def test_cancellation_passes_through(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            provider = Provider(nursery, (ORDER,))
            with trio.move_on_after(3.0) as scope:
                async with open_session(Source(9.0), Deepgram(KEY), vad=Gate, connect=provider.connect) as session:  # type: ignore[arg-type]
                    async for _ in session:
                        pass
            assert scope.cancelled_caught
            await trio.testing.wait_all_tasks_blocked()
            assert not nursery.child_tasks
            nursery.cancel_scope.cancel()

    run_virtual(main)


def test_an_error_that_nobody_reads_is_raised_at_the_end(run_virtual: Callable[..., Any]) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            provider = Provider(nursery, (ORDER,), [Plan(status=401)])
            with pytest.raises(SessionError, match="401"):
                async with open_session(Source(9.0), Deepgram(KEY), vad=Gate, connect=provider.connect):  # type: ignore[arg-type]
                    await trio.sleep(5)
            nursery.cancel_scope.cancel()

    run_virtual(main)


def test_the_application_takes_a_hand(hear: Hear) -> None:
    def hold(session: Session, event: Any) -> None:
        if event.type == "turn_started" and event.turn == 1:
            session.agent_started()
            session.hold()
        if event.type == "turn_updated" and event.at > 5:
            session.release()
            session.agent_stopped()

    result = hear(meddle=hold)
    assert result.texts == [" ".join(TURNS)]
    kinds = [record.get("app") or record.get("agent") for record in result.trace.records]
    assert [kind for kind in kinds if kind][:2] == ["started", "hold"]

    def force(session: Session, event: Any) -> None:
        if event.type == "turn_updated" and event.turn == 1 and "like" in event.text:
            session.force_end(0)

    result = hear(meddle=force)
    assert result.turns[0].reason == "force_end"
    assert " ".join(result.texts) == " ".join(TURNS)


def replayed(result: Result, policy: Policy | None = None) -> list[dict[str, Any]]:
    """The events of a replay of the session's trace, without updates: of these a reader may miss some."""
    header = {"hearout_trace": 1, "stt": "deepgram", "channels": result.channels, "vad": True, "source": "test"}
    lines = [json.dumps(record) for record in (header, *result.trace.records)]
    outputs = [as_dict(output) for output in replay(parse_trace(lines), policy).outputs]
    return [output for output in outputs if output["type"] != "turn_updated"]


def lived(result: Result) -> list[dict[str, Any]]:
    """Likewise, those of the session itself."""
    events = [as_dict(event) for event in result.events if not event.type.startswith("link_")]
    return [event for event in events if event["type"] != "turn_updated"]


def test_the_trace_replays_to_the_same_events(hear: Hear) -> None:
    result = hear(Plan(drop_at=1.9), Plan(delay=0.07), source=Source(9.0, pauses={5.2: 4.0}))
    assert replayed(result) == lived(result)


def test_what_the_application_says_is_replayed(hear: Hear) -> None:
    def say(session: Session, event: Any) -> None:
        match event.type, getattr(event, "turn", 0):
            case "turn_started", 1:
                session.expect("phone", OneOf(["a pizza", "a salad"]))
                session.key("7")
                session.use("patient")
            case "turn_completed", 1:
                session.agent_started()
                session.agent_said("Would you like anything else?")
                session.agent_stopped()
                session.use(Policy().replace({"idle_after": 1.0}), 0)
            case "turn_started", 2:
                session.key("#")

    result = hear(meddle=say)
    first, second = result.turns
    assert first.text == "i 7 would like a pizza."
    assert first.answer == Answer("one_of", "a pizza", complete=True)
    assert second.answer == Answer("yes_no", "yes", complete=True, final=True)
    assert [event.type for event in result.events].count("user_idle") == 1
    kinds = ("expected", "key", "policy", "agent")
    told = [kind for record in result.trace.records for kind in kinds if kind in record]
    assert told == ["expected", "key", "policy", "agent", "agent", "agent", "policy", "key"]
    assert replayed(result) == lived(result)
    # Under another policy the changes that were made to the recorded one do not count.
    others = [event for event in replayed(result, preset("fast")) if event["type"] == "turn_completed"]
    assert others[0]["answer"] == as_dict(first)["answer"]
    assert "user_idle" not in {event["type"] for event in replayed(result, preset("fast"))}


@pytest.mark.parametrize("drop", [1.7, 2.4, 5.3])
def test_what_was_heard_twice_is_so_in_a_replay(hear: Hear, drop: float) -> None:
    # The channel that was ahead is fed again from where the other one is.
    other = [(f"w{i}", 0.2 + i * 0.4, 0.55 + i * 0.4) for i in range(7)]
    result = hear(Plan(drop_at=drop), Plan(delay=0.03), words=(ORDER, other), vad=None)
    assert {turn.channel for turn in result.turns} == {0, 1}
    assert replayed(result) == lived(result)


# Audio that is late

SPLIT = [("my", 1.0, 1.2), ("number", 1.3, 1.6), ("is", 2.05, 2.2), ("five.", 2.3, 2.6)]
AT_HALF = Policy(rules=(FinalizeOnSilence(), Steady(patience=1.2, seconds=0.5)))


def jitter(seed: int) -> Callable[[float], float]:
    """Every now and then the line hangs for 0.1 to 0.4 s; what was said meanwhile comes at once."""
    rng = random.Random(seed)
    hangs, at = [], 0.0
    while at < 10.0:
        at += rng.uniform(0.05, 0.6)
        hangs.append((at, at := at + rng.uniform(0.1, 0.4)))

    def late(audio: float) -> float:
        return next((end - audio for start, end in hangs if start <= audio < end), 0.0)

    return late


@pytest.mark.parametrize("block", [0.02, 0.1])
@pytest.mark.parametrize("seed", range(12))
def test_late_audio_is_no_silence(hear: Hear, seed: int, block: float) -> None:
    # A pause of 0.45 s, and a policy that waits for 0.5 s.
    gate = scripted_gate((1.0, 1.6), (2.05, 2.6), onset=0.02)
    source = Source(5.0, late=jitter(seed), block=block)
    result = hear(words=(SPLIT,), source=source, vad=gate, policy=AT_HALF)
    assert result.texts == ["my number is five."]
    assert result.turns[0].at - result.turns[0].audio_end == pytest.approx(0.5, abs=0.15)
    assert replayed(result, AT_HALF) == lived(result)


def test_the_clock_goes_on_without_audio(hear: Hear) -> None:
    # The line hangs for good in the pause: after 0.5 s that is silence.
    gate = scripted_gate((1.0, 1.6), (2.05, 2.6), onset=0.02)
    source = Source(5.0, late=lambda audio: 20.0 if audio > 1.9 else 0.0)
    told: list[float] = []

    def meddle(session: Session, event: Any) -> None:
        if event.type == "turn_completed":
            told.append(session.now)

    result = hear(words=(SPLIT,), source=source, vad=gate, policy=AT_HALF, meddle=meddle)
    assert result.texts == ["my number", "is five."]
    assert told[0] == pytest.approx(1.9 + 0.5, abs=0.05)
    assert replayed(result, AT_HALF) == lived(result)


@pytest.mark.parametrize("rate", [+0.0072, -0.0072])
def test_drift_leaves_latency_as_it_is(hear: Hear, rate: float) -> None:
    # In 100 s as much as 200 ppm make in an hour: 0.72 s.
    spans = [(float(at), at + 0.5) for at in range(1, 99, 4)]
    words = [(f"w{start:g}.", start, end) for start, end in spans]
    gaps: list[float] = []

    def meddle(session: Session, event: Any) -> None:
        if event.type == "turn_completed":
            gaps.append(session.heard - event.audio_end)

    source = Source(100.0, late=lambda audio: audio * rate)
    result = hear(words=(words,), source=source, vad=scripted_gate(*spans), policy=AT_HALF, meddle=meddle)
    assert len(gaps) == len(spans)
    # The machine's own idea of the offset may lag behind by 0.1 s (`hearout_policies.clock`).
    assert gaps == pytest.approx([0.5] * len(spans), abs=0.125)
    assert replayed(result, AT_HALF) == lived(result)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"policy": "hasty"}, "no policy named 'hasty'"),
        ({"source": Source(1.0, channels=2)}, "the audio has 2 channel(s) at 16000 Hz, but deepgram is set to 1"),
    ],
)
def test_what_does_not_fit(hear: Hear, options: dict[str, Any], says: str) -> None:
    error = hear(**options).error
    assert isinstance(error, UsageError)
    assert says in str(error)


def test_options_change_on_an_open_connection_and_stay_changed_on_the_next(hear: Hear) -> None:
    transcriber = Deepgram(KEY)

    def meddle(session: Session, event: Any) -> None:
        if isinstance(event, TurnStarted) and event.turn == 1:
            session.send(transcriber.configure(keyterm=["pizza", "Margherita"], numerals=True))

    result = hear(meddle=meddle)
    assert result.error is None
    assert result.texts == TURNS
    ((*_, audio),) = result.provider.of("Configure")
    assert 1.0 < audio < 1.5
    (sent,) = [record["sent"] for record in result.trace.records if record.get("sent", {}).get("type") == "Configure"]
    assert sent == {"type": "Configure", "keyterms": ["pizza", "Margherita"], "features": {"numerals": True}}
    assert "keyterm=pizza&keyterm=Margherita" in transcriber.address()
    assert "numerals=true" in transcriber.address()
