"""Speech over the agent's, as the bot of examples/barge_in_bot.py takes it; and what docs/barge-in.md says of it."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import runpy
import shutil
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import hearout as tw
from hearout.traces.records import VoiceChange
from hearout_policies.signals import AgentSpeech, SpeechStarted, SpeechStopped, Transcript, Word
from tests.kit.callers import heard, transcriber
from tests.kit.paths import ROOT
from tests.kit.real_time import real_time
from tests.kit.scripted import Gate, Silence
from tests.kit.turns import steady

SAMPLE = ROOT / "samples/barge_in.flac"
EXAMPLE = (ROOT / "examples/barge_in_bot.py").read_text()
PAGE = (ROOT / "docs/barge-in.md").read_text()

QUESTION = "what can i order today"  # with which all conversations begin


@pytest.fixture
def bot(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The example, with beeps for a voice: 0.35 s a word, whatever is installed here."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    yield importlib.import_module("barge_in_bot")
    for name in ("barge_in_bot", "speech"):
        del sys.modules[name]


Lines = list[tuple[float, str]]


@pytest.fixture
def talk(bot: ModuleType, capsys: pytest.CaptureFixture[str]) -> Callable[..., Lines]:
    """Hold a conversation in virtual time, and give what the bot printed: moments, and the first words of lines.

    The conversation consists of spans of audio in which the VAD hears speech (it notices the onset 0.1 s late, the end
    0.2 s late), and of what the transcriber says. A Finalize is answered in 50 ms, by nothing new.
    """

    def hold(*spoken: tuple[float, float] | dict[str, Any], **options: Any) -> Lines:
        spans = [(0.5, 1.5), *(item for item in spoken if isinstance(item, tuple))]
        results = [heard(1.7, QUESTION, 0.5, 1.5), *(item for item in spoken if isinstance(item, dict))]
        edges = [
            (VoiceChange(a + 0.1, "start", a, a + 0.1), VoiceChange(b + 0.2, "stop", b, b + 0.2)) for a, b in spans
        ]

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                await bot.converse(
                    Silence(spans[-1][1] + 4.0, live=True),
                    tw.Deepgram("any"),
                    vad=lambda rate: Gate([edge for pair in edges for edge in pair]),
                    connect=transcriber(nursery, *results, *[NOTHING] * 9),
                    **{"policy": steady()} | options,
                )
                nursery.cancel_scope.cancel()

        trio.run(main, clock=MockClock(autojump_threshold=0))
        return printed(capsys)

    return hold


def printed(capsys: pytest.CaptureFixture[str]) -> Lines:
    """What the bot said and did: without the texts of its answers, of which only what is left of them counts."""
    text = capsys.readouterr().out
    return [(float(at), line) for at, line in re.findall(r"^ *([\d.]+) s  (.*?)(?: left: .*)?$", text, re.MULTILINE)]


NOTHING: dict[str, Any] = {"on": "finalize", "after": 0.05, "stt": heard(0.0, "-", 0.0, 0.0)["stt"]}
NOTHING["stt"] |= {"speech_final": False, "from_finalize": True}
NOTHING["stt"]["channel"] = {"alternatives": [{"transcript": "", "words": []}]}

START = [
    (1.7, f"an answer is prepared to: {QUESTION}"),
    (2.1, f"user: {QUESTION}"),
    (2.1, "agent speaks, 13.3 s"),
]


def test_words_make_it_silent_at_once_and_it_answers_them(talk: Callable[..., Lines]) -> None:
    lines = talk(
        (4.0, 5.6),
        heard(4.6, "no wait", 4.0, 4.5, final=False),
        heard(5.8, "no wait i want tea", 4.0, 5.6),
    )
    assert lines == [
        *START,
        (4.6, "agent is silent, 10.8 s"),  # when the second word came
        (5.8, "an answer is prepared to: no wait i want tea"),
        (6.2, "user: no wait i want tea"),
        (6.2, "agent speaks, 2.5 s"),
        (8.65, "agent is silent, 0.0 s"),
    ]


def test_it_speaks_on_over_a_backchannel(talk: Callable[..., Lines]) -> None:
    lines = talk((4.0, 4.4), heard(4.7, "okay", 4.0, 4.4))
    assert lines[len(START) :] == [
        (5.0, "that was nothing: okay"),
        (15.4, "agent is silent, 0.0 s"),  # 13.3 s after it began: it has not stopped once
    ]


def test_after_a_voice_without_words_it_goes_on_where_it_was(talk: Callable[..., Lines]) -> None:
    assert talk((4.0, 5.0)) == [
        *START,
        (4.8, "agent is silent, 10.6 s"),  # a voice for 0.7 s, noticed after 0.1 s
        (5.6, "that was nothing: no words"),
        (5.6, "agent speaks, 10.6 s"),
        (16.2, "agent is silent, 0.0 s"),
    ]


def test_after_a_long_backchannel_it_goes_on_where_it_was(talk: Callable[..., Lines]) -> None:
    assert talk((4.0, 5.0), heard(5.2, "okay yes right", 4.0, 5.0)) == [
        *START,
        (4.8, "agent is silent, 10.6 s"),  # no word of it was known then
        (5.6, "that was nothing: okay yes right"),
        (5.6, "agent speaks, 10.6 s"),
        (16.2, "agent is silent, 0.0 s"),
    ]


def test_a_backchannel_that_is_known_in_time_does_not_stop_it(talk: Callable[..., Lines]) -> None:
    lines = talk((4.0, 5.0), heard(4.6, "okay yes", 4.0, 4.5, final=False), heard(5.2, "okay yes right", 4.0, 5.0))
    assert [line for _, line in lines if line.startswith("agent")] == ["agent speaks, 13.3 s", "agent is silent, 0.0 s"]


def test_a_single_short_word_counts_when_its_turn_is_over(talk: Callable[..., Lines]) -> None:
    assert talk((4.0, 4.4), heard(4.7, "stop", 4.0, 4.4))[len(START) :] == [
        (4.7, "an answer is prepared to: stop"),
        (5.0, "user: stop"),
        (5.0, "agent is silent, 10.4 s"),
        (5.0, "agent speaks, 1.1 s"),  # never both at once
        (6.05, "agent is silent, 0.0 s"),
    ]


def test_with_one_word_as_an_interruption_it_counts_as_it_comes(talk: Callable[..., Lines]) -> None:
    policy = steady().replace({"interrupt_words": 1})
    lines = talk((4.0, 4.4), heard(4.7, "stop", 4.0, 4.4), policy=policy)
    assert (4.7, "agent is silent, 10.7 s") in lines


def test_when_the_user_was_first_the_agent_yields_at_once(talk: Callable[..., Lines]) -> None:
    # They go on at 2.05 s; that is noticed at 2.15, and the agent has spoken since 2.1.
    lines = talk((2.05, 4.0), heard(4.2, "and what does it cost", 2.05, 4.0))
    assert lines[: len(START)] == START
    assert lines[len(START)] == (2.16, "agent is silent, 13.2 s")
    assert (4.6, "user: and what does it cost") in lines


def test_a_prepared_answer_is_dropped_when_the_user_goes_on(talk: Callable[..., Lines]) -> None:
    whole = f"{QUESTION} and how long does it take"
    assert talk((1.75, 3.0), heard(3.2, "and how long does it take", 1.8, 3.0)) == [
        (1.7, f"an answer is prepared to: {QUESTION}"),
        (1.86, "the user goes on, that answer is dropped"),
        (3.2, f"an answer is prepared to: {whole}"),
        (3.6, f"user: {whole}"),
        (3.6, "agent speaks, 13.3 s"),
        (16.9, "agent is silent, 0.0 s"),
    ]


def test_the_agent_s_own_voice_interrupts_it(talk: Callable[..., Lines]) -> None:
    """A limit: without echo cancellation its words are as good as a user's, and it answers itself."""
    lines = talk((3.0, 5.0), heard(3.6, "coffee tea", 3.0, 3.5, final=False), heard(5.2, "coffee tea and", 3.0, 5.0))
    assert (3.6, "agent is silent, 11.8 s") in lines
    assert [line for _, line in lines if line.startswith("user")][1:] == ["user: coffee tea and"]


def test_words_that_the_agent_spoke_over_say_so_however_late_they_come(run_virtual: Callable[..., Any]) -> None:
    """What an application without echo cancellation can go by."""

    async def main() -> list[tw.TurnCompleted]:
        turns = []
        async with trio.open_nursery() as nursery:
            connect = transcriber(nursery, heard(3.0, "coffee tea", 1.0, 1.8), heard(5.0, "how much", 4.0, 4.6))
            source = Silence(8.0, live=True)
            async with tw.open_session(source, tw.Deepgram("any"), vad=None, connect=connect) as session:
                session.agent_started()
                await trio.sleep(2.0)
                session.agent_stopped()
                async for event in session:
                    if isinstance(event, tw.TurnCompleted):
                        turns.append(event)
            nursery.cancel_scope.cancel()
        return turns

    assert [(turn.text, turn.agent_speaking) for turn in run_virtual(main)] == [
        ("coffee tea", True),
        ("how much", False),
    ]


def test_updates_carry_what_is_needed_to_decide() -> None:
    machine = tw.TurnMachine()
    outputs: list[tw.Event | tw.Finalize] = []
    for signal in (
        AgentSpeech(0.1, "started"),
        SpeechStarted(3.1, 3.0, 3.1),
        Transcript(3.4, (Word("okay", 3.0, 3.3),), 0.0, 3.3, is_final=False),
        SpeechStopped(3.6, 3.4, 3.6),
        SpeechStarted(3.8, 3.7, 3.8),
        Transcript(4.4, (Word("okay", 3.0, 3.3), Word("so", 3.7, 4.2)), 0.0, 4.3, is_final=False),
    ):
        outputs += machine.handle(signal)
    updates = [output for output in outputs if isinstance(output, tw.TurnUpdated)]
    assert [(u.text, u.agent_speaking, u.backchannel, u.interrupts) for u in updates] == [
        ("okay", True, True, False),
        ("okay so", True, False, True),
    ]
    # 0.4 s from 3.0 to 3.4; then 0.3 s of pause that do not count, and what was spoken from 3.7 on.
    assert [u.speech for u in updates] == pytest.approx([0.4, 0.4 + 0.7])


def test_without_voice_detection_speech_lasts_from_the_first_word_to_the_newest() -> None:
    machine = tw.TurnMachine()
    words = (Word("no", 3.0, 3.3), Word("wait", 3.5, 3.9))
    (_, update) = machine.handle(Transcript(4.4, words, 0.0, 4.3, is_final=False))
    assert isinstance(update, tw.TurnUpdated)
    assert update.speech == pytest.approx(0.9)
    assert not update.agent_speaking
    assert not update.backchannel


def test_sounds_in_one_turn_do_not_add_up_to_an_interruption(talk: Callable[..., Lines]) -> None:
    lines = talk((4.0, 4.1), (4.3, 4.7), (4.9, 5.2))
    assert [line for _, line in lines if line.startswith("agent")] == ["agent speaks, 13.3 s", "agent is silent, 0.0 s"]


def test_a_loudspeaker_is_stopped_and_gets_the_rest(
    bot: ModuleType, talk: Callable[..., Lines], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[float | str] = []
    speaker = SimpleNamespace(
        play=lambda samples, rate: calls.append(round(len(samples) / rate, 2)), stop=lambda: calls.append("stop")
    )
    monkeypatch.setattr(sys.modules["speech"], "loudspeaker", speaker)
    talk((4.0, 5.0))
    assert calls == [13.3, "stop", 10.6, "stop"]


def test_speech_comes_from_the_engine_that_is_installed(bot: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = """
import io, sys, wave
file = io.BytesIO()
with wave.open(file, "wb") as out:
    out.setparams((1, 2, 16000, 0, "NONE", ""))
    out.writeframes(len(sys.argv[1]) * b"\\1\\0")
sys.stdout.buffer.write(file.getvalue())
"""
    speech = sys.modules["speech"]
    monkeypatch.setattr(speech, "ENGINES", (("missing",), (sys.executable, "-c", engine)))
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "missing" else name)
    samples, rate = trio.run(speech.synthesise, "hello")
    assert (samples.tolist(), rate) == ([1] * 5, 16_000)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [(["nowhere.flac"], "barge_in_bot: nowhere.flac: no such file"), ([], "^A bot that can")],
)
def test_what_cannot_be_heard_is_said_in_a_line(
    bot: ModuleType, arguments: list[str], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["barge_in_bot.py", *arguments])
    with pytest.raises(SystemExit, match=complaint):
        runpy.run_path(str(ROOT / "examples/barge_in_bot.py"), run_name="__main__")


class Late:
    """Begins a second after the session: the recogniser has started its next process then, and has time to listen."""

    sample_rate, channels, duration = 16_000, 1, None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await trio.sleep(1.0)
        async for block in tw.paced(tw.FileSource(SAMPLE)):
            yield block


@real_time()
def test_the_sample_with_the_local_recogniser(bot: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        async with tw.local_server() as url:
            await bot.converse(Late(), tw.Deepgram("any", url))

    trio.run(main, clock=MockClock(rate=1.5))
    lines = printed(capsys)
    # What comes early comes, or not, by how busy the machine is.
    lines = [(at, line) for at, line in lines if "prepared" not in line and "dropped" not in line]
    kinds = [re.sub(r", [\d.]+ s$", "", line) for _, line in lines]
    kinds = [line if line.startswith("agent") else re.sub("[.,?]", "", line).lower() for line in kinds]
    assert kinds == [
        f"user: {QUESTION}",
        "agent speaks",
        "that was nothing: okay",
        "agent is silent",  # something rumbles
        "that was nothing: no words",
        "agent speaks",
        "agent is silent",
        "user: thank you i would like a large coffee",
        "agent speaks",
        "agent is silent",
    ]
    left = [float(line.split()[-2]) for _, line in lines if line.startswith("agent")]
    assert left[0] > left[1] == left[2] > left[3] > 0  # it went on where it was
    truth = json.loads(SAMPLE.with_suffix(".json").read_text())
    (rumble,), order = truth["rumbles"], truth["turns"][-1]
    assert rumble[0] < lines[3][0] < rumble[1]
    assert order["start"] < lines[6][0] < order["end"] < lines[7][0]


def test_the_example_is_short() -> None:
    assert len((ROOT / "examples/barge_in_bot.py").read_text().splitlines()) < 80


def test_the_page_says_what_the_policy_says() -> None:
    numbers = {parameter.key: parameter.value for parameter in tw.Policy().parameters()}
    told = re.findall(r"^\| `(\w+)` \| ([\d.]+)", PAGE, re.MULTILINE)
    assert {key for key, _ in told} >= {"interrupt_words", "interrupt_after", "backchannel_words"}
    assert [float(value) for _, value in told] == [numbers[key] for key, _ in told]
    for event, name in re.findall(r"`(Turn\w+)\.(\w+)`", PAGE):
        assert name in {field.name for field in dataclasses.fields(getattr(tw, event))}, f"{event}.{name}"
    for name in re.findall(r"`session\.(\w+)", PAGE):
        assert hasattr(tw.Session, name), name


def test_the_page_shows_the_example() -> None:
    (shown,) = re.findall(r"```py\n(.*?)```", PAGE, re.DOTALL)
    assert textwrap.indent(shown, " " * 16) in EXAMPLE
