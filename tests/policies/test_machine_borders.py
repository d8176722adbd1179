"""The turn machine at the borders of turns: literal signals in, literal outputs out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hearout_policies import (
    Finalize,
    TurnAbandoned,
    TurnAmended,
    TurnCompleted,
    TurnMachine,
    TurnPredicted,
    TurnResumed,
    TurnStarted,
    TurnUpdated,
    preset,
)
from hearout_policies.signals import (
    AppCommand,
    LinkLost,
    ProviderTurn,
    Signal,
    SpeechStarted,
    SpeechStopped,
    Tick,
    Transcript,
    UtteranceEnd,
    Word,
)
from tests.kit.turns import final, interim, of, one, run, starts, steady, stops

# A forced end


def forced_in_mid_speech() -> list[Signal]:
    """The turn ends at 2.25, and is about the audio before 2.0."""
    return [
        starts(0.6),
        interim(1.5, "can you", 0.5, 1.4),
        AppCommand(2.0, "force_end"),
        final(2.25, "can you", 0.5, 1.4, upto=2.0, ff=True),
    ]


@pytest.mark.parametrize(("stop", "turns"), [(2.4, [0.5]), (2.6, [0.5, 2.0])])
def test_who_speaks_on_after_a_forced_end_begins_a_turn(stop: float, turns: list[float]) -> None:
    """When it lasts for more than 0.5 s: whoever pressed the key may have spoken the last word out."""
    outputs = run(*forced_in_mid_speech(), SpeechStopped(stop + 0.2, stop, stop + 0.2))
    assert [o.audio_start for o in of(TurnStarted, outputs)] == turns


def test_the_seconds_of_speech_begin_with_the_turn() -> None:
    outputs = run(*forced_in_mid_speech(), SpeechStopped(3.2, 3.0, 3.2), interim(3.3, "check that", 2.1, 2.9))
    assert of(TurnUpdated, outputs)[-1].speech == pytest.approx(1.0)


def test_words_after_a_forced_end_belong_to_what_follows() -> None:
    outputs = run(*forced_in_mid_speech(), final(3.0, "check that", 2.1, 2.8, sf=True), stops(3.3))
    assert [c.text for c in of(TurnCompleted, outputs)] == ["can you", "check that"]
    assert not of(TurnAmended, outputs)


def test_words_before_a_forced_end_belong_to_it() -> None:
    outputs = run(*forced_in_mid_speech(), final(3.0, "now", 1.6, 1.9))
    assert [o.text for o in of(TurnAmended, outputs)] == ["can you now"]


@pytest.mark.parametrize(("wait", "at", "reason"), [(1.2, 2.15, True), (1.2, 2.25, False), (3.0, 3.9, True)])
def test_a_forced_end_with_nothing_heard_is_for_words_that_come_in_time(wait: float, at: float, reason: bool) -> None:
    policy = steady().replace({"finalize_timeout": wait})
    turn = one(run(AppCommand(1.0, "force_end"), final(at, "yes", 0.4, 0.8, upto=1.0, ff=True), policy=policy))
    assert (turn.reason == "force_end") is reason


def test_a_forced_end_waits_as_long_as_the_policy_says() -> None:
    for wait in (0.5, 2.0):
        policy = replace(steady(), rules=()).replace({"finalize_timeout": wait})
        turn = one(run(starts(0.6), interim(1.5, "can", 0.5, 1.4), AppCommand(2.0, "force_end"), policy=policy))
        assert (turn.at, turn.confirmed, turn.reason) == (2.0 + wait, False, "force_end")


def test_a_forced_end_asks_once() -> None:
    signals = [starts(0.6), interim(1.5, "can you", 0.5, 1.4), stops(1.6)]
    outputs = run(*signals, Tick(1.7), AppCommand(1.8, "force_end"))
    assert [o.at for o in of(Finalize, outputs)] == [pytest.approx(1.6)]
    settled = final(1.8, "can you", 0.5, 1.4, upto=1.7, sf=True)
    assert one(run(*signals, settled, AppCommand(1.85, "force_end"))).at == 1.85


def test_a_forced_end_asks_for_no_more_than_an_answer_brought() -> None:
    answered = [final(1.5, "call me", 0.5, 1.2), Tick(2.8), final(2.9, "", 1.2, 2.7, ff=True)]
    outputs = run(*answered, AppCommand(2.95, "force_end"), policy=steady(3))
    assert len(of(Finalize, outputs)) == 1
    assert (one(outputs).at, one(outputs).reason) == (2.95, "force_end")


def test_a_forced_end_asks_nobody_who_is_not_there() -> None:
    outputs = run(starts(0.6), interim(1.5, "can you", 0.5, 1.4), LinkLost(1.6), AppCommand(1.8, "force_end"))
    assert not of(Finalize, outputs)
    assert run(LinkLost(1.0), AppCommand(1.1, "force_end")) == []


def test_clear_forgets_a_forced_end() -> None:
    outputs = run(AppCommand(0.1, "force_end"), AppCommand(0.2, "clear"), starts(0.6), interim(1.0, "yes", 0.5, 0.9))
    assert one(outputs).reason != "force_end"


def test_clear_abandons_the_turn() -> None:
    machine = TurnMachine(channel=1)
    machine.handle(starts(0.6))
    assert machine.handle(AppCommand(1.6, "clear")) == [TurnAbandoned(1, 1, 1.6, "cleared")]
    assert machine.handle(AppCommand(1.7, "clear")) == []


@pytest.mark.parametrize(("end", "texts"), [(2.1, []), (2.3, ["wait"])])
def test_the_middle_of_a_word_says_whether_it_was_cleared(end: float, texts: list[str]) -> None:
    cleared = [starts(0.6), AppCommand(1.6, "clear")]
    outputs = run(*cleared, Transcript(2.4, (Word("wait", 1.0, end),), 0.0, 2.4, is_final=True))
    assert [c.text for c in of(TurnCompleted, outputs)] == texts


def test_clear_drops_the_words_of_what_was_said_before_it_and_no_others() -> None:
    outputs = run(
        starts(0.6),
        AppCommand(1.6, "clear"),
        final(2.0, "never mind", 0.5, 1.5),
        stops(2.1),
        final(3.0, "but this", 2.2, 2.8, sf=True),
    )
    assert [c.text for c in of(TurnCompleted, outputs)] == ["but this"]


# Turns that follow each other


@pytest.mark.parametrize(("onset", "continues"), [(3.55, 1), (3.65, None)])
def test_a_turn_that_starts_within_a_second_continues_the_last_one(onset: float, continues: int | None) -> None:
    first = [starts(0.6), stops(2.2), final(2.45, "book a table", 0.5, 2.0, upto=2.3, ff=True), Tick(2.7)]
    outputs = run(*first, SpeechStarted(onset + 0.1, onset, onset + 0.1))
    assert [o.continues for o in of(TurnStarted, outputs)] == [None, continues]


def test_words_for_speech_that_the_vad_heard_before_take_it_along() -> None:
    """The turn was abandoned before its words came."""
    outputs = run(starts(0.6), stops(1.2), Tick(3.0), final(3.5, "yes", 0.6, 0.9))
    assert one(outputs).timings.speech_end == 1.0
    assert one(outputs).timings.noticed == 3.5
    outputs = run(starts(0.6), stops(1.2), Tick(3.0), final(3.5, "yes", 1.1, 1.4))
    assert one(outputs).timings.speech_end == pytest.approx(2.0), "behind it they are words alone"


def test_speech_that_goes_on_is_not_started_again() -> None:
    outputs = run(starts(0.6), starts(1.0), interim(1.5, "yes", 0.5, 1.4))
    assert of(TurnUpdated, outputs)[0].speech == pytest.approx(1.0)


def test_a_stop_before_its_start_stops_there() -> None:
    outputs = run(starts(0.6), interim(0.7, "yes", 0.5, 0.65), SpeechStopped(0.9, 0.3, 0.9))
    assert one(outputs).audio_end == 0.5


def test_no_onset_lies_behind_what_was_heard() -> None:
    assert of(TurnStarted, run(SpeechStarted(0.6, 9.0, 0.6)))[0].audio_start == 0.6
    assert one(run(starts(0.6), interim(1.5, "yes", 0.5, 1.4), SpeechStopped(1.8, 9.0, 1.8))).audio_end == 1.8


def test_pauses_do_not_count_as_speech() -> None:
    outputs = run(starts(0.6), stops(1.2), starts(1.6), stops(2.0), interim(2.1, "yes and", 0.5, 1.75))
    assert of(TurnUpdated, outputs)[0].speech == pytest.approx((1.0 - 0.5) + (1.8 - 1.5))


def test_sounds_that_are_heard_after_the_first_words_count_from_there() -> None:
    outputs = run(interim(1.2, "yes", 0.5, 1.0), starts(1.6), interim(2.0, "yes and", 0.5, 1.9))
    assert of(TurnUpdated, outputs)[-1].speech == pytest.approx(0.5)


@pytest.mark.parametrize(("upto", "reason"), [(0.7, "no_words"), (0.6, "unheard")])
def test_why_a_turn_without_words_is_abandoned(upto: float, reason: str) -> None:
    """The voice ended at 1.0; who has listened up to 0.35 s before it has heard it out."""
    outputs = run(starts(0.6), stops(1.2), interim(1.3, "", 0.0, upto))
    assert [o.reason for o in of(TurnAbandoned, outputs)] == [reason]


@pytest.mark.parametrize(("upto", "at"), [(1.7, 2.6), (1.6, 3.05)])
def test_an_answer_that_stops_before_the_speech_is_not_the_last_word(upto: float, at: float) -> None:
    """The voice ended at 2.0, the Finalize went out at 2.2; the rest is waited for, 0.6 s from the answer on."""
    outputs = run(
        starts(0.6),
        interim(1.5, "book a", 0.5, 1.4),
        stops(2.2),
        final(2.45, "book a table", 0.5, upto, ff=True),
    )
    assert one(outputs).at == pytest.approx(at)


def test_a_late_caller_gets_all_that_was_due() -> None:
    machine = TurnMachine(steady(ask=0.2))
    for signal in (starts(0.6), interim(1.5, "book a", 0.5, 1.4), SpeechStopped(2.1, 2.0, 2.1)):
        machine.handle(signal)
    assert machine.deadline == pytest.approx(2.2)
    assert [type(o) for o in machine.handle(starts(2.5))] == [Finalize]


def test_all_that_is_told_names_the_channel() -> None:
    machine = TurnMachine(channel=3)
    told = [
        output
        for signal in (
            starts(0.6),
            interim(1.5, "book a", 0.5, 1.4),
            stops(2.2),
            final(2.3, "book a table", 0.5, 2.0, upto=2.2, ff=True),
            starts(2.5),
            stops(3.2),
            final(3.3, "soon", 2.4, 3.0, upto=3.2, ff=True),
            Tick(5.0),
            final(5.1, "please", 3.05, 3.1),
            starts(7.0),
            stops(7.5),
            Tick(20.0),
        )
        for output in machine.handle(signal)
    ]
    kinds = {Finalize, TurnStarted, TurnUpdated, TurnPredicted, TurnResumed, TurnCompleted, TurnAmended, TurnAbandoned}
    assert {type(output) for output in told} == kinds
    assert {output.channel for output in told} == {3}


# Stale news


def test_an_endpoint_before_newer_words_does_not_end_the_turn() -> None:
    """The words were known as interim when it came, and become final later, as they are."""
    outputs = run(
        starts(0.6),
        interim(2.0, "my card is four two", 0.5, 1.9),
        final(2.1, "my card is", 0.5, 1.2, sf=True),
        final(2.2, "four two", 1.25, 1.9),
        stops(2.5),
        policy=steady(0.1),
    )
    turn = one(outputs)
    assert turn.reason == "finalize_on_silence"
    assert turn.at == pytest.approx(2.5 + 0.9)


def test_an_utterance_end_before_newer_words_does_not_end_the_turn() -> None:
    outputs = run(
        final(1.5, "call me", 0.5, 1.3),
        UtteranceEnd(2.4, 1.3),
        policy=preset("patient"),
    )
    assert one(outputs).reason == "utterance_end"
    outputs = run(
        final(1.5, "call me", 0.5, 1.3),
        UtteranceEnd(2.2, 1.3),
        interim(2.25, "back", 1.8, 2.1),
        policy=preset("patient").replace({"silence.price": 8, "silence.patience": 3.5}),
    )
    assert one(outputs).reason == "finalize_on_silence"


def test_a_provider_s_own_end_is_overtaken_by_words() -> None:
    policy = preset("provider")
    words = [starts(0.6), final(1.5, "hello", 0.5, 1.4)]
    assert one(run(*words, ProviderTurn(1.6, "ended", 1.5), policy=policy)).at == 1.6
    turn = one(run(*words, ProviderTurn(1.6, "ended", 0.3), policy=policy))
    assert (turn.at, turn.reason) == (1.6, "provider_end"), "it means the words that it has sent"


def test_a_provider_s_own_turns_without_words_are_nothing() -> None:
    kinds = ("started", "eager_end", "resumed", "ended")
    signals = [ProviderTurn(1.0 + n, kind, 0.9) for n, kind in enumerate(kinds)]  # type: ignore[arg-type]
    assert run(*signals) == []
    outputs = run(starts(0.6), *signals)
    assert not of(TurnPredicted, outputs)
    assert of(TurnAbandoned, outputs)


def test_a_provider_s_prediction_is_taken_back_with_its_endpoint() -> None:
    outputs = run(
        interim(1.2, "hello", 0.5, 1.0),
        final(1.4, "hello", 0.5, 1.0, sf=True),
        ProviderTurn(1.4, "eager_end", 1.0),
        ProviderTurn(1.45, "resumed", 1.1),
    )
    assert [o.at for o in of(TurnPredicted, outputs)][:1] == [1.4]
    assert [o.at for o in of(TurnResumed, outputs)][:1] == [1.45]
    assert one(outputs).reason != "endpointing"
