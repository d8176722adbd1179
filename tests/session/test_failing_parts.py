"""Parts that the application brings fail: what was heard is told first, and the error says whose part it was."""

from __future__ import annotations

import errno
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from hearout import (
    Deepgram,
    Header,
    Recorder,
    SpeechGate,
    WebRtcDetector,
    open_session,
    replay,
)
from hearout.errors import SessionError, UsageError
from hearout.traces.reader import parse_trace, read_trace
from hearout_policies import Policy
from hearout_policies.rules import Silence, Verdict
from hearout_policies.view import TurnView
from tests.kit.provider import RATE, Plan, Provider, Source, audio

Run = Callable[..., Any]

WORDS = [("two", 0.5, 0.7), ("coffees", 0.8, 1.2), ("and", 1.3, 1.5), ("tea.", 1.6, 1.9)]
TEXT = "two coffees and tea."


@dataclass
class Heard:
    events: list[Any] = field(default_factory=list)
    error: Exception | None = None

    @property
    def texts(self) -> list[str]:
        return [event.text for event in self.events if event.type == "turn_completed"]

    @property
    def warnings(self) -> list[str]:
        return [event.detail for event in self.events if event.type == "warning"]

    @property
    def open(self) -> set[int]:
        ended = {e.turn for e in self.events if e.type in ("turn_completed", "turn_abandoned")}
        return {e.turn for e in self.events if e.type == "turn_started"} - ended

    @property
    def said(self) -> str:
        """What is known of whose fault it is: the line, and the notes under the traceback."""
        return "\n".join([str(self.error), *getattr(self.error, "__notes__", ())])


Hear = Callable[..., Heard]


@pytest.fixture
def hear(run_virtual: Run) -> Hear:
    def run(source: Any = None, meddle: Callable[[Any, Any], object] = lambda *_: None, **options: Any) -> Heard:
        async def main() -> Heard:
            heard = Heard()
            async with trio.open_nursery() as nursery:
                provider = Provider(nursery, [WORDS], [Plan()])
                options.setdefault("vad", None)
                try:
                    async with open_session(
                        source or Source(4.0), Deepgram("a-key"), connect=provider.connect, **options
                    ) as session:
                        async for event in session:
                            heard.events.append(event)
                            meddle(session, event)
                except Exception as error:
                    heard.error = error
                nursery.cancel_scope.cancel()
            return heard

        return run_virtual(main)  # type: ignore[no-any-return]

    return run


# -- recorders -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(12))
@pytest.mark.parametrize("realtime", [True, False])
def test_a_recorder_that_fails_is_a_warning_once_and_the_call_goes_on(hear: Hear, count: int, realtime: bool) -> None:
    class Full:
        written = 0

        def write(self, record: Mapping[str, Any]) -> None:
            self.written += 1
            if self.written > count:
                raise SessionError("call.jsonl: cannot write the trace: No space left on device")

    heard = hear(Source(4.0, live=realtime), recorder=Full(), realtime=realtime)
    assert (heard.error, heard.texts, heard.open) == (None, [TEXT], set())
    assert heard.warnings in (
        ["call.jsonl: cannot write the trace: No space left on device; the session goes on without"],
        [],  # it never had so much to write
    )
    assert heard.warnings or count > 5


def test_a_recorder_that_breaks_is_named(hear: Hear) -> None:
    class Broken:
        def write(self, record: Mapping[str, Any]) -> None:
            raise ZeroDivisionError("division by zero")

    heard = hear(recorder=Broken())
    assert (heard.error, heard.texts) == (None, [TEXT])
    assert heard.warnings == ["the recorder failed: ZeroDivisionError: division by zero; the session goes on without"]


def test_a_trace_that_broke_off_has_no_hole() -> None:
    class Disk:
        text, full = "", False

        def write(self, text: str) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.text += text

    disk = Disk()
    recorder = Recorder(disk, Header("deepgram"))  # type: ignore[arg-type]
    recorder.write({"t": 1.0, "agent": "started"})
    assert not recorder.failed
    disk.full = True
    for _ in range(2):
        with pytest.raises(SessionError, match="cannot write the trace: No space left on device"):
            recorder.write({"t": 2.0, "agent": "stopped"})
        disk.full = False  # somebody has made room
    assert recorder.failed
    assert len(disk.text.splitlines()) == 2


def test_a_trace_that_a_full_disk_broke_off_ends_with_a_whole_line(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="a limit of the size of files stands in for a disk")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Recorder(tmp_path / "call.jsonl", Header("deepgram")) as recorder, ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_FSIZE, before)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        stack.enter_context(pytest.raises(SessionError, match=r"call\.jsonl: cannot write the trace: File too large"))
        for _ in range(100):
            recorder.write({"t": 1.0, "agent": "said", "text": "Grüß Gott, was möchten Sie?"})
    assert 900 < (tmp_path / "call.jsonl").stat().st_size <= 1000
    assert len(read_trace(tmp_path / "call.jsonl").records) > 10


# -- rules ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Odd:
    """A rule of the application's; ``says`` is what it does once it has seen ``words`` words."""

    says: Callable[[TurnView], Any]
    words: int = 2
    name: str = "odd"

    def judge(self, turn: TurnView) -> Any:
        return self.says(turn) if len(turn.text.split()) >= self.words else Verdict()


def broken(turn: TurnView) -> Any:
    raise ZeroDivisionError("division by zero")


NONSENSE = {
    "nothing": (lambda turn: None, "the rule 'odd' must return a Verdict, not None"),
    "text": (lambda turn: "soon", "the rule 'odd' must return a Verdict, not 'soon'"),
    "text in it": (lambda turn: Verdict(deadline="soon"), "the rule 'odd': deadline must be a time, not 'soon'"),  # type: ignore[arg-type]
    "no number": (lambda turn: Verdict(hold=float("nan")), "the rule 'odd': hold must be a time, not nan"),
    "a flag": (lambda turn: Verdict(finalize=True), "the rule 'odd': finalize must be a time, not True"),
}


@pytest.mark.parametrize("words", [0, 1, 2, 4])
@pytest.mark.parametrize("realtime", [True, False])
def test_before_a_rule_that_raises_ends_the_session_its_turns_are_told(hear: Hear, words: int, realtime: bool) -> None:
    policy = Policy(rules=(Silence(), Odd(broken, words)))
    heard = hear(Source(4.0, live=realtime), policy=policy, realtime=realtime)
    assert isinstance(heard.error, ZeroDivisionError)
    assert "raised by the rule 'odd' of the policy" in heard.said
    assert heard.open == set()
    if words:
        assert TEXT.startswith(heard.texts[0])
        assert len(heard.texts[0].split()) >= words


@pytest.mark.parametrize("case", NONSENSE)
def test_a_rule_that_returns_nonsense_is_named(hear: Hear, case: str) -> None:
    says, line = NONSENSE[case]
    heard = hear(policy=Policy(rules=(Silence(), Odd(says))))
    assert isinstance(heard.error, SessionError)
    assert str(heard.error) == line
    assert heard.open == set()
    assert len(heard.texts) == 1


def test_a_rule_that_fails_in_a_call_of_the_application_ends_the_session_and_not_the_call(hear: Hear) -> None:
    on: list[bool] = []
    policy = Policy(rules=(Silence(), Odd(lambda turn: broken(turn) if on else Verdict(), 1)))

    def meddle(session: Any, event: Any) -> None:
        if event.type == "turn_updated" and not on:
            on.append(True)
            session.agent_started()

    heard = hear(policy=policy, meddle=meddle)
    assert isinstance(heard.error, ZeroDivisionError)
    assert (heard.open, len(heard.texts)) == (set(), 1)


@pytest.mark.parametrize("field", ["deadline", "hold", "finalize"])
@pytest.mark.parametrize("realtime", [True, False])
def test_a_rule_that_never_rests_is_named_and_does_not_block_the_loop(hear: Hear, field: str, realtime: bool) -> None:
    asked = []

    def soon(turn: TurnView) -> Verdict:
        asked.append(turn.now)
        at: dict[str, Any] = {field: turn.now + 1e-6}
        return Verdict(**at)

    policy = Policy(rules=(Odd(soon), Silence()))
    heard = hear(Source(4.0, live=realtime), policy=policy, realtime=realtime)
    assert isinstance(heard.error, SessionError)
    assert str(heard.error) == "the rule 'odd' asks to be woken again and again: more than 1000 times within a second"
    assert len(asked) < 3000
    assert (heard.open, len(heard.texts)) == (set(), 1)


def test_a_rule_that_looks_again_every_ten_milliseconds_is_allowed(hear: Hear) -> None:
    policy = Policy(rules=(Odd(lambda turn: Verdict(hold=turn.now + 0.01 if turn.now < 3.0 else None)), Silence()))
    heard = hear(policy=policy)
    assert (heard.error, heard.texts) == (None, [TEXT])


def test_a_replay_names_the_rule_too() -> None:
    words = [{"word": w, "start": s, "end": e} for w, s, e in WORDS]
    message = {
        "type": "Results",
        "channel_index": [0, 1],
        "start": 0.0,
        "duration": 2.0,
        "is_final": True,
        "channel": {"alternatives": [{"transcript": TEXT, "words": words}]},
    }
    lines = ['{"hearout_trace": 1, "stt": "deepgram"}', json.dumps({"t": 2.0, "stt": message})]
    trace = parse_trace(lines)
    with pytest.raises(ZeroDivisionError) as caught:
        replay(trace, Policy(rules=(Odd(broken),)))
    assert caught.value.__notes__ == ["raised by the rule 'odd' of the policy"]
    with pytest.raises(SessionError, match="asks to be woken again and again"):
        replay(trace, Policy(rules=(Odd(lambda turn: Verdict(deadline=turn.now + 1e-6)),)))


# -- voice detection -----------------------------------------------------------------------------------------------


class Failing(WebRtcDetector):
    """Hears speech from the first frame on, until it breaks at 1.6 s."""

    frames = 0

    def is_speech(self, frame: bytes) -> bool:
        self.frames += 1
        if self.frames > 80:
            raise ArithmeticError("the detector is broken")
        return True


@pytest.mark.parametrize("realtime", [True, False])
def test_before_a_voice_detection_that_fails_ends_the_session_its_turns_are_told(hear: Hear, realtime: bool) -> None:
    heard = hear(Source(4.0, live=realtime), vad=lambda rate: SpeechGate(Failing(rate), rate), realtime=realtime)
    assert isinstance(heard.error, ArithmeticError)
    assert "raised by the voice detection of channel 0" in heard.said
    assert heard.open == set()
    assert len(heard.texts) == 1
    assert TEXT.startswith(heard.texts[0])


@pytest.mark.parametrize("realtime", [True, False])
def test_a_voice_detection_that_fails_at_the_end_of_the_audio_loses_nothing(hear: Hear, realtime: bool) -> None:
    class Last(SpeechGate):
        def flush(self) -> Any:
            raise ArithmeticError("nothing left to flush")

    heard = hear(Source(1.95, live=realtime), vad=lambda rate: Last(WebRtcDetector(rate), rate), realtime=realtime)
    assert isinstance(heard.error, ArithmeticError)
    assert (heard.open, heard.texts) == (set(), [TEXT])
    assert heard.events[-1].at < 4.0  # as at any end of the audio, and not when the safety net says so


# -- sources -------------------------------------------------------------------------------------------------------


class Chunks:
    """1.5 s of good audio, then something else."""

    sample_rate, channels, duration = RATE, 1, None

    def __init__(self, last: Any, live: bool) -> None:
        self._last, self._live = last, live

    async def __aiter__(self) -> AsyncIterator[Any]:
        for block in range(75):
            if self._live:
                await trio.sleep(0.02)
            yield audio(block * 0.02, block * 0.02 + 0.02)
        yield self._last


@pytest.mark.parametrize("realtime", [True, False])
@pytest.mark.parametrize(
    ("last", "what"),
    [(b"odd", "3 bytes"), (None, "None"), ("text", "a str"), ([1, 2], "a list"), (640, "an int")],
    ids=["odd", "None", "text", "list", "int"],
)
def test_a_source_that_gives_no_audio_is_named_and_the_words_are_told(
    hear: Hear, last: Any, what: str, realtime: bool
) -> None:
    heard = hear(Chunks(last, realtime), realtime=realtime)
    assert isinstance(heard.error, UsageError)
    assert str(heard.error) == f"the source of audio gave {what}: a chunk is bytes, whole frames of 2 bytes each"
    assert heard.texts == ["two coffees and"]
    assert heard.open == set()


def test_a_source_that_raises_is_named(hear: Hear) -> None:
    heard = hear(Source(4.0, error=(1.5, ZeroDivisionError("division by zero"))))
    assert isinstance(heard.error, ZeroDivisionError)
    assert heard.said.splitlines() == ["division by zero", "raised by the source of audio"]
    assert heard.texts == ["two coffees and"]


def test_a_source_that_cannot_be_closed_loses_no_words(hear: Hear) -> None:
    class Stuck(Source):
        def __aiter__(self) -> Any:
            self._chunks = super().__aiter__()
            return self

        async def __anext__(self) -> bytes:
            return await anext(self._chunks)

        async def aclose(self) -> None:
            raise OSError("the device does not answer")

    heard = hear(Stuck(1.95))
    assert isinstance(heard.error, OSError)
    assert heard.texts == [TEXT]


@pytest.mark.parametrize("realtime", [True, False])
@pytest.mark.parametrize("after", [1, 2, 5])
def test_a_transcriber_of_the_application_that_raises_is_named_and_the_words_are_told(
    run_virtual: Run, after: int, realtime: bool
) -> None:
    class Own(Deepgram):
        read = 0

        def decode(self, *message: Any) -> Any:
            self.read += 1
            if self.read > after:
                raise KeyError("words")
            return super().decode(*message)

    async def main() -> Heard:
        heard = Heard()
        async with trio.open_nursery() as nursery:
            provider = Provider(nursery, [WORDS], [Plan()])
            options: Any = {"vad": None, "connect": provider.connect, "realtime": realtime}
            try:
                async with open_session(Source(4.0, live=realtime), Own("a-key"), **options) as session:
                    async for event in session:
                        heard.events.append(event)
            except Exception as error:
                heard.error = error
            nursery.cancel_scope.cancel()
        return heard

    heard = run_virtual(main)
    assert isinstance(heard.error, KeyError)
    assert heard.said.splitlines()[1:] == ["raised by the transcriber, deepgram"]
    assert heard.open == set()
    assert all(TEXT.startswith(text) for text in heard.texts)


@pytest.mark.parametrize("chunk", [bytearray, memoryview])
def test_other_kinds_of_bytes_will_do(hear: Hear, chunk: Callable[[bytes], Any]) -> None:
    class Other(Source):
        async def __aiter__(self):  # type: ignore[no-untyped-def]
            async for pcm in super().__aiter__():
                yield chunk(pcm)

    assert hear(Other(4.0)).texts == [TEXT]
