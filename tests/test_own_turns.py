"""The turn machine over a framework's transcriber: each final word is in one turn, however results fall on turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearout.integrations.turns import OwnTurns
from hearout_policies.events import Output, TurnAmended, TurnCompleted
from hearout_policies.policy import preset
from hearout_policies.signals import PolicyChanged, Word
from tests.kit.virtual import run_virtually

Step = tuple[float, Callable[[OwnTurns], object]]


def run(*steps: Step, amended: bool = True) -> dict[int, str]:
    """Each step so many seconds after the one before; the turns' texts as they are in the end, or when they ended."""
    turns: dict[int, str] = {}

    def take(output: Output) -> None:
        if isinstance(output, TurnCompleted) or (amended and isinstance(output, TurnAmended)):
            turns[output.turn] = output.text

    async def conversation() -> None:
        own = OwnTurns(preset("balanced"), take)
        own.start()
        for pause, step in steps:
            await asyncio.sleep(pause)
            step(own)
        await asyncio.sleep(30.0)
        own.stop()

    run_virtually(conversation())
    return turns


def interim(text: str) -> Callable[[OwnTurns], object]:
    return lambda own: own.interim(text)


def final(text: str, *, finalized: bool = True) -> Callable[[OwnTurns], object]:
    return lambda own: own.final(text, finalized=finalized)


def on(ago: float) -> Callable[[OwnTurns], object]:
    return lambda own: own.voice_started(ago)


def off(ago: float) -> Callable[[OwnTurns], object]:
    return lambda own: own.voice_stopped(ago)


def doubtful(ago: float, *, ends: bool) -> Callable[[OwnTurns], object]:
    return lambda own: own.voice_doubtful(ago, ends=ends)


def patience(seconds: float | None) -> Callable[[OwnTurns], object]:
    return lambda own: setattr(own, "patience", seconds)


def provider_turn(kind: Literal["started", "eager_end", "resumed", "ended"]) -> Callable[[OwnTurns], object]:
    return lambda own: own.provider_turn(kind)


def result(words: Sequence[Word], timed: bool, final: bool | None) -> Callable[[OwnTurns], object]:
    """Words on the session clock; ``final`` None: an interim result, else whether it says that this is all."""
    text, times = " ".join(word.text for word in words), tuple(words) if timed else ()
    if final is None:
        return lambda own: own.interim(text, times)
    return lambda own: own.final(text, times, finalized=final)


def timed_interim(*words: tuple[str, float, float]) -> Callable[[OwnTurns], object]:
    """Words with times, counted from when the result comes."""
    return lambda own: result([Word(text, own.now + start, own.now + end) for text, start, end in words], True, None)(
        own
    )


def timed_final(*words: tuple[str, float, float]) -> Callable[[OwnTurns], object]:
    return lambda own: result([Word(text, own.now + start, own.now + end) for text, start, end in words], True, True)(
        own
    )


def test_a_final_covers_two_turns_that_were_over() -> None:
    turns = run((1.0, interim("a")), (6.0, interim("a b c")), (6.0, final("a b c")))
    assert turns == {1: "a", 2: "b c"}


def test_what_it_brings_beyond_them_is_new() -> None:
    turns = run((1.0, interim("a")), (6.0, interim("a b c")), (6.0, final("a b c d")))
    assert turns == {1: "a", 2: "b c", 3: "d"}


def test_a_later_interim_says_nothing_again() -> None:
    steps = (interim("a"), interim("a b c"), interim("a b c d"), final("a b c d e"))
    assert run(*((6.0, step) for step in steps)) == {1: "a", 2: "b c", 3: "d", 4: "e"}


def test_a_segment_may_stay_open_over_many_turns() -> None:
    texts = [" ".join("abcdefgh"[:count]) for count in range(1, 9)]
    turns = run(*((6.0, interim(text)) for text in texts), (6.0, final(texts[-1])))
    assert turns == dict(enumerate("abcdefgh", 1))


def test_an_interim_before_the_end_of_speech_is_known() -> None:
    """It is laid up to now, and the end of speech is dated back: its final ends earlier, and is all of it."""
    steps = (0.7, on(0.2)), (1.3, interim("i am here")), (0.01, off(0.4)), (0.2, final("i am here"))
    assert run(*steps) == {1: "i am here"}


def test_so_do_interims_that_come_late() -> None:
    steps = (0.7, on(0.2)), (0.484, interim("w0")), (0.016, off(0.4)), (0.141, interim("w0")), (6.836, final("w0"))
    assert run(*steps) == {1: "w0"}


def test_only_finals_have_times() -> None:
    """They say that the words were spoken before the place where they were shown."""
    steps = (1.0, interim("a b")), (3.0, timed_final(("a", -3.9, -3.6), ("b", -3.5, -3.2)))
    assert run(*steps) == {1: "a b"}


def test_finals_in_pieces_of_what_two_turns_have() -> None:
    steps = (1.0, interim("a b")), (6.0, interim("a b c")), (6.0, final("a", finalized=False)), (1.0, final("b c"))
    assert run(*steps) == {1: "a b", 2: "c"}


def test_a_final_of_a_part() -> None:
    steps = (1.2, interim("a b c")), (1.2, final("a b", finalized=False)), (1.2, final("c d"))
    assert run(*steps) == {1: "a b c d"}


def test_words_with_times_that_come_seconds_late() -> None:
    late = ("b", -5.6, -5.3), ("c", -5.2, -5.0)
    then = ("b", -6.8, -6.5), ("c", -6.4, -6.2)
    assert run((4.0, timed_final(("a", -3.3, -3.1))), (3.0, timed_interim(*late)), (1.2, timed_final(*then))) == {
        1: "a",
        2: "b c",
    }


def test_words_with_times_that_come_behind_what_was_taken_to_be_all() -> None:
    """A final of a part came when the user was silent already: the turn was over, but the rest of it is not lost."""
    steps: list[Step] = [
        (15.6, on(0.2)),
        (2.2, off(0.2)),
        (0.3, timed_final(("call", -2.7, -2.0), ("back", -1.8, -1.6))),
    ]
    rest = ("tomorrow", -2.1, -1.6), ("morning", -1.5, -1.2)
    assert run(*steps, (0.8, timed_final(*rest))) == {1: "call back", 2: "tomorrow morning"}
    assert run(*steps, (0.3, timed_interim(*rest)), (0.5, timed_final(*rest))) == {
        1: "call back",
        2: "tomorrow morning",
    }


def test_times_tell_which_words_a_turn_had_however_they_are_written_now() -> None:
    steps: list[Step] = [(1.0, on(0.2)), (0.5, timed_interim(("male", -0.5, -0.2))), (0.3, off(0.2)), (4.5, on(0.2))]
    assert run(*steps, (0.5, timed_final(("mail", -5.8, -5.5), ("it", -0.5, -0.2)))) == {1: "mail", 2: "it"}


def test_words_that_come_later_than_they_ever_did_go_on_with_the_turn() -> None:
    """Nobody expected them any more, so the turn may have been over; they are lost in neither case."""
    steps: list[Step] = [(0.0, patience(0.35)), (1.0, on(0.2)), (0.8, final("please", finalized=False))]
    steps += [(0.9, off(0.2)), (0.2, interim("send")), (0.7, final("send it home"))]
    assert run(*steps) == {1: "please send it home"}
    assert run(*steps[:4], (1.5, final("send it home"))) == {1: "please", 2: "send it home"}


@pytest.mark.parametrize(("pause", "turns"), [(0.9, 1), (0.95, 2)])
def test_a_hold_is_longer_by_what_the_voice_detection_needs(pause: float, turns: int) -> None:
    """Behind "and" balanced waits for 0.9 s, and Pipecat's detection tells 0.2 s late that speech has begun."""
    steps: list[Step] = [(0.7, on(0.2)), (1.5, interim("large coffee and")), (0.3, off(0.2))]
    steps += [(0.2, final("large coffee and")), (pause - 0.2, on(0.2)), (0.8, off(0.2)), (0.2, final("water"))]
    assert len(run(*steps)) == turns


def test_voices_are_not_told_apart_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    policy = preset("balanced").replace({"only_speaker": "first"})
    own = OwnTurns(policy, lambda output: None)
    own.tell(PolicyChanged(0.0, preset("fast")))
    own.tell(PolicyChanged(0.0, policy))
    own.stop()
    assert [record.message for record in caplog.records] == [
        "only_speaker has no effect: a framework's transcriber does not tell voices apart"
    ] * 2


UM = [(0.5, on(0.2)), (0.6, interim("i want tea um")), (0.3, off(0.2))]
NO = [(5.0, on(0.2)), (0.4, interim("no")), (0.3, off(0.2)), (0.3, final("no"))]


@pytest.mark.parametrize("finalized", [True, False])
def test_a_final_that_is_shorter_than_what_a_turn_has_leaves_the_next_words_alone(finalized: bool) -> None:
    assert run(*UM, (2.0, final("i want tea", finalized=finalized)), *NO) == {1: "i want tea", 2: "no"}


@pytest.mark.parametrize(("first", "then"), [("yes", "yes"), ("i want tea", "i want coffee now"), ("do that", "no")])
def test_words_that_are_never_made_final_do_not_take_up_the_next_ones(first: str, then: str) -> None:
    """Pipecat's and LiveKit's Deepgram drop final results without words, and a muted user's are dropped, too."""
    steps: list[Step] = [(0.5, on(0.2)), (0.6, interim(first)), (0.3, off(0.2)), (9.0, on(0.2))]
    assert run(*steps, (0.6, interim(then)), (0.3, off(0.2)), (0.3, final(then))) == {1: first, 2: then}


def test_a_final_may_be_three_seconds_late_for_a_turn_that_others_followed() -> None:
    """Behind a new voice the same words within 3 s are the old ones, and later they are new."""
    steps: list[Step] = [(0.5, on(0.2)), (0.6, interim("yes")), (0.3, off(0.2)), (1.4, lambda own: None)]
    assert run(*steps, (1.0, on(0.2)), (0.5, off(0.2)), (0.5, final("yes"))) == {1: "yes"}
    assert run(*steps, (2.5, on(0.2)), (0.5, off(0.2)), (0.5, final("yes"))) == {1: "yes", 2: "yes"}


def test_it_may_be_later_for_a_turn_whose_words_are_shown_all_the_while() -> None:
    """A transcriber that makes nothing final until somebody speaks again: Deepgram's protocol, one result a second."""
    steps: list[Step] = [(1.0, on(0.2)), (1.0, interim("change my flight")), (0.3, off(0.2))]
    steps += [(1.0, interim("change my flight"))] * 6
    steps += [(0.5, on(0.2)), (0.2, final("change my flight")), (0.6, interim("call me"))]
    steps += [(0.8, off(0.2)), (0.2, interim("call me back"))]
    assert run(*steps) == {1: "change my flight", 2: "call me back"}


def test_so_it_is_when_a_noise_keeps_the_voice_detection_going() -> None:
    steps: list[Step] = [(0.2, on(0.2)), (1.7, interim("do that")), (10.0, lambda own: None)]
    assert run(*steps, (1.2, final("never mind now"))) == {1: "do that", 2: "never mind now"}
    assert run(*steps, (1.2, final("do that"))) == {1: "do that"}


def test_words_that_begin_while_the_last_ones_were_still_expected() -> None:
    steps: list[Step] = [(0.0, patience(0.35)), (0.5, on(0.2)), (1.0, off(0.2)), (0.2, interim("not that one"))]
    assert list(run(*steps, (3.5, final("not that one"))).values()) == ["not that one"]


def test_an_interim_result_without_words_takes_none_back() -> None:
    steps: list[Step] = [(0.0, patience(0.35)), (0.3, on(0.2)), (0.9, interim("a b c")), (0.2, interim(""))]
    assert run(*steps, (0.5, off(0.3)), (1.0, final("a b c d"))) == {1: "a b c d"}


def test_what_was_cleared_in_mid_segment_does_not_come_back() -> None:
    steps: list[Step] = [(0.5, on(0.2)), (0.6, interim("my name is")), (0.1, OwnTurns.clear)]
    assert run(*steps, (0.6, final("my name is bob"))) == {2: "bob"}
    assert run(*steps, (0.3, interim("my name is bob")), (0.6, final("my name is bob"))) == {2: "bob"}


@pytest.mark.parametrize("late", [0.25, 0.45, 0.75, 1.5])
def test_first_words_lie_where_the_voice_was_however_late_they_come(late: float) -> None:
    """Also later than they ever do: the report of a shadow counts from the end of speech."""
    ends: list[float] = []

    def take(output: Output) -> None:
        if isinstance(output, TurnCompleted):
            ends.append(output.words[-1].end)

    async def conversation() -> None:
        own = OwnTurns(preset("balanced"), take)
        own.patience = 0.35
        own.start()
        await asyncio.sleep(1.7)
        own.voice_started(0.2)
        await asyncio.sleep(0.8)
        own.voice_stopped(0.2)
        await asyncio.sleep(late - 0.2)
        own.interim("yes please")
        await asyncio.sleep(0.2)
        own.final("yes please", finalized=False)
        await asyncio.sleep(9.0)
        own.stop()

    run_virtually(conversation())
    assert ends == pytest.approx([2.3], abs=0.01)


def test_what_is_told_behind_force_end_belongs_to_that_turn() -> None:
    steps: list[Step] = [
        (0.5, on(0.2)),
        (0.8, OwnTurns.force_end),
        (0.1, final("turn on", finalized=False)),
        (0.4, interim("the light")),
    ]
    assert run(*steps, (1.0, final("the light"))) == {1: "turn on the light"}


def test_nothing_grows_with_the_conversation() -> None:
    sizes: list[int] = []

    def measure(own: OwnTurns) -> None:
        sizes.append(sum(map(len, (own._open, own._handed, own._settled, own._voice))))

    run(*(*UM, (2.0, final("i want tea")), (1.0, measure)) * 60)
    assert len(sizes) == 60
    assert max(sizes[30:]) <= max(sizes[:30])


def test_nothing_is_told_after_the_end() -> None:
    assert run((1.0, interim("a")), (0.1, OwnTurns.stop), (9.0, final("a b"))) == {}


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[Step], int]:
    """Results of a transcriber, perhaps with a voice and turns of its own; and how many words are final in the end.

    With times, words come when they have been spoken; results say more or less of them, early or late.
    """
    timed = draw(st.sampled_from([(False, False), (False, True), (True, True)]))  # interim, final results
    late = draw(st.sampled_from([0.2, 0.5, 1.0, 3.0])) if timed[1] else 0.0
    voice, turns, flags = draw(st.tuples(st.booleans(), st.booleans(), st.booleans()))
    kinds = ["interim"] * 3 + ["final", "last", "part"] + ["voice"] * 4 * voice + ["turn"] * turns
    steps: list[Step] = [(0.0, patience(draw(st.sampled_from([None, 0.35, 1.0]))))]
    words: list[Word] = []
    now, done, speaking, renewed = 0.0, 0, False, False
    for _ in range(draw(st.integers(1, 13))):
        pause, kind = draw(st.sampled_from([0.05, 0.1, 0.2, 0.5, 1.2, 3.0, 7.0])), draw(st.sampled_from(kinds))
        now += pause
        if kind == "voice":
            ago, maybe = min(now, draw(st.sampled_from([0.2, 0.4, 0.8]))), draw(st.booleans())
            steps.append((pause, doubtful(ago, ends=speaking) if maybe else off(ago) if speaking else on(ago)))
            speaking = speaking is maybe
            renewed = renewed or (speaking and not maybe)
            continue
        if kind == "turn":
            steps.append((pause, provider_turn(draw(st.sampled_from(["started", "eager_end", "resumed", "ended"])))))
            continue
        before = len(words)
        for _ in range(draw(st.integers(0, 3))):
            start = words[-1].end if words else 0.0
            if not timed[1] or start + 0.25 <= now - late:
                begin = max(start, now - late - 0.3) if timed[1] else start
                words.append(Word(f"w{len(words)}", begin, begin + 0.25))
        if renewed and len(words) == before:  # the same words again might be new ones
            now -= pause
            continue
        part = kind == "part" and not renewed
        upto = draw(st.integers(min(done + 1, len(words)), len(words))) if part else len(words)
        if said := words[done:upto]:
            step = result(said, timed[kind != "interim"], None if kind == "interim" else flags and kind == "last")
            steps.append((pause, step))
            done, renewed = done if kind == "interim" else upto, False
        now = now if said else now - pause
    if renewed and words[done:]:
        words.append(Word(f"w{len(words)}", max(words[-1].end, now), max(words[-1].end, now) + 0.25))
    if words[done:]:
        steps.append((1.0, result(words[done:], timed[1], flags)))
    return steps, len(words)


@given(conversations())
def test_each_final_word_is_in_one_turn(drawn: tuple[list[Step], int]) -> None:
    steps, count = drawn
    turns = run(*steps, amended=False)  # no framework can be told of words that come to a turn which is over
    words = " ".join(text for _, text in sorted(turns.items())).split()
    assert words == [f"w{number}" for number in range(count)]
