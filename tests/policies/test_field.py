"""The machine on what users of other systems have reported lately: literal signals in, literal outputs out."""

from __future__ import annotations

import pytest

from hearout_policies import (
    Output,
    Policy,
    TurnAbandoned,
    TurnAmended,
    TurnCompleted,
    TurnPredicted,
    TurnResumed,
    TurnStarted,
    TurnUpdated,
    preset,
)
from hearout_policies.signals import (
    AgentSpeech,
    AppCommand,
    AudioStalled,
    ProviderTurn,
    Signal,
    SpeechStarted,
    SpeechStopped,
    Transcript,
    Word,
)
from hearout_policies.words import Words
from tests.kit.turns import final, interim, of, one, run, said, starts, steady, stops


def empty(at: float, start: float, end: float, *, sf: bool = False, ff: bool = False) -> Transcript:
    return Transcript(at, (), start, end, True, endpoint=sf, finalized=ff)


# -- an answer to the agent's last words is no backchannel ---------------------------------------------------------


def over_the_agent(
    *more: Signal, agent_ends: float | None, begins: float = 5.0, ends: float = 5.3, policy: Policy | None = None
) -> list[Output]:
    """The agent speaks from 1.0 on, the caller says "yes"; ``more`` comes as well."""
    signals: list[Signal] = [
        AgentSpeech(1.0, "started"),
        SpeechStarted(begins + 0.1, begins, begins + 0.1),
        SpeechStopped(ends + 0.2, ends, ends + 0.2),
        final(ends + 0.3, "Yes.", begins, ends, upto=ends + 0.2, sf=True),
        *more,
    ]
    if agent_ends is not None:
        signals.append(AgentSpeech(agent_ends, "stopped"))
    return run(*sorted(signals, key=lambda signal: signal.at), policy=policy)


@pytest.mark.parametrize("after", [0.05, 0.2, 0.35, 0.5])
def test_what_begins_just_before_the_agent_ends_is_an_answer(after: float) -> None:
    turn = one(over_the_agent(agent_ends=5.0 + after))
    assert (turn.agent_speaking, turn.backchannel) == (True, False)


@pytest.mark.parametrize("after", [0.6, 1.0, 9.0])
def test_what_begins_and_ends_well_before_that_is_a_backchannel(after: float) -> None:
    assert one(over_the_agent(agent_ends=5.0 + after)).backchannel


def test_a_backchannel_is_one_over_the_agent_only() -> None:
    yes = [starts(0.6), stops(1.1), final(1.2, "uh-huh", 0.5, 0.9, upto=1.1, sf=True)]
    assert not one(run(*yes)).backchannel
    assert not one(run(AgentSpeech(0.1, "started"), AgentSpeech(0.3, "stopped"), *yes)).backchannel
    assert one(run(AgentSpeech(0.1, "started"), *yes)).backchannel


def test_what_outlasts_the_agent_is_an_answer_however_early_it_began() -> None:
    assert not one(over_the_agent(begins=4.0, ends=5.3, agent_ends=5.2, policy=Policy(interrupt_after=2.0))).backchannel
    assert one(over_the_agent(begins=4.0, ends=5.3, agent_ends=5.6, policy=Policy(interrupt_after=2.0))).backchannel


def test_what_the_agent_was_halted_for_may_be_a_backchannel() -> None:
    outputs = over_the_agent(begins=4.0, ends=5.3, agent_ends=4.85)
    assert next(u.at for u in of(TurnUpdated, outputs) if u.interrupts) == pytest.approx(4.8)
    assert one(outputs).backchannel


def test_whether_it_was_an_answer_is_waited_for() -> None:
    at_once = preset("provider")
    assert one(over_the_agent(agent_ends=None, policy=at_once)).at == pytest.approx(5.6)  # ended at 5.6 anyway
    early = [AgentSpeech(1.0, "started"), SpeechStarted(5.1, 5.0, 5.1), SpeechStopped(5.25, 5.1, 5.25)]
    yes = final(5.3, "Yes.", 5.0, 5.1, upto=5.2, sf=True)
    assert one(run(*early, yes, policy=at_once)).at == pytest.approx(5.55)
    turn = one(run(*early, yes, AgentSpeech(5.45, "stopped"), policy=at_once))
    assert (turn.at, turn.backchannel) == (5.45, False)
    forced = one(run(*early, yes, AppCommand(5.3, "force_end")))
    assert (forced.at, forced.backchannel) == (5.3, True)


def test_words_that_come_after_the_agents_end_may_be_an_answer_to_it() -> None:
    agent = AgentSpeech(1.0, "started"), AgentSpeech(5.2, "stopped")
    assert not one(run(*agent, final(5.9, "Yes.", 5.0, 5.3, upto=5.8, sf=True))).backchannel
    assert one(run(*agent, final(5.9, "Yes.", 4.2, 4.5, upto=5.8, sf=True))).backchannel


# -- interim words, and a final result without them ----------------------------------------------------------------


def test_an_empty_final_takes_back_no_words_that_a_finalize_is_out_for() -> None:
    turn = one(run(starts(0.6), interim(1.4, "yes please", 0.5, 1.3), stops(1.6), empty(1.9, 0.0, 1.8)))
    assert (turn.text, turn.confirmed) == ("yes please", False)


def test_an_empty_snapshot_does_not_either() -> None:
    nothing = Transcript(1.9, (), 0.0, 1.8, is_final=False)
    turn = one(run(starts(0.6), interim(1.4, "yes please", 0.5, 1.3), stops(1.6), nothing, empty(1.9, 0.0, 1.8)))
    assert (turn.text, turn.confirmed) == ("yes please", False)


def test_the_answer_may_still_bring_them() -> None:
    answer = final(2.2, "Yes, please.", 0.5, 1.3, upto=1.9, ff=True)
    outputs = run(starts(0.6), interim(1.4, "yes please", 0.5, 1.3), stops(1.6), empty(1.9, 0.0, 1.8), answer)
    assert (one(outputs).text, one(outputs).confirmed) == ("Yes, please.", True)


def test_words_without_a_voice_may_be_taken_back() -> None:
    outputs = run(interim(1.4, "thank you", 0.5, 1.3), empty(1.9, 0.0, 1.8))
    assert of(TurnCompleted, outputs) == []
    assert len(of(TurnAbandoned, outputs)) == 1


def test_so_may_words_in_noise_that_nobody_has_asked_for() -> None:
    outputs = run(starts(0.6), interim(1.4, "thank you", 0.5, 1.3), empty(1.9, 0.0, 1.8), stops(3.0))
    assert of(TurnCompleted, outputs) == []


def test_an_empty_final_takes_back_no_words_that_the_voice_detection_has_heard_out() -> None:
    turn = [starts(0.6), interim(1.4, "yes please", 0.5, 1.3), stops(1.6)]
    assert one(run(*turn, empty(1.9, 0.0, 1.8), policy=preset("provider"))).text == "yes please"
    ghost = [final(1.7, "Yes.", 0.5, 1.3, upto=1.6), interim(2.6, "you", 2.2, 2.4), empty(2.8, 1.6, 2.7)]
    assert one(run(*turn, *ghost, policy=preset("provider"))).text == "Yes."  # no voice was heard to say "you"


def test_flux_may_take_back_a_turn() -> None:
    started = interim(1.0, "okay", 0.5, 0.9), ProviderTurn(1.0, "started", 0.9)
    ended = Transcript(1.9, (), 0.0, 1.8, True, endpoint=True), ProviderTurn(1.9, "ended", 1.8)
    outputs = run(starts(0.6), *started, stops(1.1), *ended)
    assert of(TurnCompleted, outputs) == []


def test_an_empty_answer_keeps_the_words_when_the_user_goes_on() -> None:
    later = [starts(1.8), interim(2.6, "tomorrow", 1.7, 2.5), stops(2.8), final(2.9, "tomorrow", 1.7, 2.5, upto=2.8)]
    outputs = run(starts(0.6), interim(1.4, "call me", 0.5, 1.3), stops(1.5), empty(1.75, 0.0, 1.5, ff=True), *later)
    assert (one(outputs).text, one(outputs).confirmed) == ("call me tomorrow", False)


# -- a prediction stands while the same words are said -------------------------------------------------------------


def predicted(then: str) -> list[Output]:
    """A turn predicted as "it costs $1550", and completed as ``then``."""
    return run(
        starts(0.6),
        interim(1.5, "it costs $1550", 0.5, 1.4),
        ProviderTurn(1.55, "eager_end", 1.5),
        stops(1.6),
        final(1.9, then, 0.5, 1.4, upto=1.8, sf=True),
    )


@pytest.mark.parametrize("then", ["It costs $1550.", "it costs $1,550", "It costs… $1550!"])
def test_other_marks_leave_a_prediction_standing(then: str) -> None:
    outputs = predicted(then)
    assert of(TurnResumed, outputs) == []
    assert [p.text for p in of(TurnPredicted, outputs)] == ["it costs $1550"]
    assert one(outputs).text == then


@pytest.mark.parametrize("then", ["It costs $15.50.", "it costs 1550", "it costs $1550 now"])
def test_other_words_take_it_back(then: str) -> None:
    outputs = predicted(then)
    assert len(of(TurnResumed, outputs)) == 1
    assert one(outputs).text == then


# -- what continues a turn -----------------------------------------------------------------------------------------


def goes_on(at: float, *between: Signal, heard: float | None = None) -> int | None:
    """Number of the turn that one at ``at`` continues, after one that was completed at 2.0."""
    heard = at if heard is None else heard
    first = [starts(0.6), stops(1.6), final(1.7, "Book it.", 0.5, 1.3, upto=1.6)]
    outputs = run(*first, *between, SpeechStarted(at, heard - 0.1, heard), policy=steady(0.5))
    assert of(TurnCompleted, outputs)[0].at == pytest.approx(1.9)
    return of(TurnStarted, outputs)[1].continues


def test_a_turn_continues_the_last_one_within_a_second_as_the_caller_counts() -> None:
    assert goes_on(2.9) == 1
    assert goes_on(3.2) is None
    assert goes_on(9.0, AudioStalled(2.5, 2.5), heard=2.6) is None
    assert goes_on(2.9, AudioStalled(2.5, 2.5), heard=2.6) == 1


def test_no_turn_continues_one_that_the_agent_has_answered() -> None:
    assert goes_on(2.8, AgentSpeech(2.2, "started"), AgentSpeech(2.5, "stopped")) is None
    assert goes_on(2.8, AgentSpeech(2.2, "started")) is None
    assert goes_on(2.8, AgentSpeech(2.75, "started")) == 1  # it began after the caller did


# -- a late final that changes a value -----------------------------------------------------------------------------


@pytest.mark.parametrize(("told", "late"), [("pay $1550", "Pay $15.50."), ("चाय दो", "चाय दे"), ("at 5", "at -5")])
def test_a_sign_a_point_or_a_vowel_amends(told: str, late: str) -> None:
    outputs = run(starts(0.6), interim(1.4, told, 0.5, 1.3), stops(1.6), final(5.0, late, 0.5, 1.3))
    assert [a.text for a in of(TurnAmended, outputs)] == [late]


def test_a_full_stop_does_not() -> None:
    outputs = run(starts(0.6), interim(1.4, "pay $15.50", 0.5, 1.3), stops(1.6), final(5.0, "Pay $15.50.", 0.5, 1.3))
    assert of(TurnAmended, outputs) == []


# -- a final result that says the same audio again -----------------------------------------------------------------


def collected(*results: Transcript) -> str:
    words = Words()
    for result in results:
        words.add(result)
    return words.text


def test_a_final_for_the_same_audio_takes_the_place_of_the_first() -> None:
    first = final(2.0, "where is my parcel", 0.5, 1.9)
    assert collected(first, final(2.1, "Where is my parcel?", 0.5, 1.9)) == "Where is my parcel?"
    assert collected(first, final(2.1, "Where is my parcel?", 0.58, 1.86, upto=1.9)) == "Where is my parcel?"
    assert collected(first, final(2.1, "Where's my parcel?", 0.5, 1.9)) == "Where's my parcel?"


def test_it_may_say_the_audio_of_several_again_or_of_the_last() -> None:
    parts = final(1.0, "so where", 0.0, 0.8), final(2.0, "is it", 1.0, 1.8)
    assert collected(*parts, final(2.1, "So, where is it?", 0.0, 1.8)) == "So, where is it?"
    assert collected(*parts, final(2.1, "Is it?", 1.0, 1.8)) == "so where Is it?"


def test_equal_sentences_at_other_times_are_two() -> None:
    assert collected(final(1.0, "no thanks", 0.0, 0.8), final(2.0, "No thanks.", 0.9, 1.8)) == "no thanks No thanks."


def test_neighbours_whose_times_overlap_stay_both() -> None:
    short = Transcript(1.0, (Word("my", 0.9, 1.02),), 0.0, 1.0, is_final=True)
    assert collected(short, Transcript(1.5, (Word("name", 0.95, 1.3),), 1.0, 1.4, is_final=True)) == "my name"


def test_a_tail_whose_span_reaches_back_adds_to_what_was_said() -> None:
    tail = Transcript(2.1, said("parcel", 1.5, 1.9), 0.0, 1.9, is_final=True)
    assert collected(final(2.0, "where is my", 0.5, 1.4), tail) == "where is my parcel"


def shifted(by: float) -> str:
    """Two words of half a second each, and two others behind them by so much."""
    other = Transcript(2.1, said("c d", by, 1.0 + by), 0.0, 1.5, is_final=True)
    return collected(final(2.0, "a b", 0.0, 1.0), other)


def test_the_same_audio_is_more_than_half_of_it() -> None:
    assert shifted(0.2) == "c d"
    assert shifted(0.3) == "a c b d"


def overlapped(count: int) -> list[str]:
    """A result of three words, and one that has the audio of the first ``count``."""
    words = tuple(Word(f"x{i}", i * 0.5, (i + 1) * 0.5) for i in range(count))
    return collected(final(2.0, "a b c", 0.0, 1.5), Transcript(2.1, words, 0.0, 1.5, is_final=True)).split()


def test_a_result_says_another_again_that_has_most_of_its_audio() -> None:
    assert overlapped(2) == ["x0", "x1"]
    assert sorted(overlapped(1)) == ["a", "b", "c", "x0"]


def test_marks_say_nothing_again() -> None:
    mark = Transcript(2.1, (Word(".", 0.5, 0.9, spaced=False),), 0.5, 0.9, is_final=True)
    assert collected(final(2.0, "fine", 0.5, 0.9), mark) == "fine."
    marks = Transcript(2.2, (Word("!", 0.0, 0.4), Word("?", 0.5, 0.9)), 0.0, 0.9, is_final=True)
    other = Transcript(2.4, (Word("no", 0.0, 0.4), Word("yes", 0.55, 0.9)), 0.0, 0.9, is_final=True)
    assert "late" in collected(marks, final(2.3, "late", 0.35, 0.6), other)  # marks have no audio of their own


def test_said_again_after_the_end_it_amends_by_what_is_new() -> None:
    turn = [starts(0.6), stops(1.6), final(1.7, "i paid ten", 0.5, 1.3, upto=1.6)]
    assert of(TurnAmended, run(*turn, final(4.0, "I paid ten.", 0.5, 1.3))) == []
    assert [a.text for a in of(TurnAmended, run(*turn, final(4.0, "I paid $10.", 0.5, 1.3)))] == ["I paid $10."]


# -- marks are no words --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [".", "...", "。", "—", "?", "♪"])
def test_a_mark_alone_opens_and_completes_nothing(mark: str) -> None:
    assert run(interim(1.0, mark, 0.5, 0.8), final(1.4, mark, 0.5, 0.8, sf=True)) == []
    outputs = run(starts(0.6), interim(1.0, mark, 0.5, 0.8), stops(1.05), final(1.4, mark, 0.5, 0.8, upto=1.2, ff=True))
    assert [type(o).__name__ for o in outputs] == ["TurnStarted", "Finalize", "TurnAbandoned"]
    assert of(TurnAbandoned, outputs)[0].reason == "no_words"


def test_a_mark_over_the_agent_tells_nothing() -> None:
    outputs = run(AgentSpeech(0.1, "started"), starts(0.6), interim(1.0, "? ! .", 0.5, 0.8), stops(1.05))
    assert of(TurnUpdated, outputs) == []


def test_a_mark_is_neither_new_speech_nor_the_newest_word() -> None:
    words = Words()
    words.add(final(1.0, "all done", 0.0, 0.8))
    words.add(Transcript(3.0, (Word(".", 2.6, 2.9, spaced=False),), 1.0, 3.0, is_final=True))
    assert (words.text, words.newest_end, len(words), words.grown_at) == ("all done.", 0.8, 2, 1.0)


def test_a_mark_kept_over_a_lost_connection_is_no_text() -> None:
    words = Words()
    words.add(interim(1.0, ".", 0.0, 0.8))
    words.keep(2.0)
    assert (words.text, len(words)) == ("", 0)


def test_a_mark_in_place_of_the_words_leaves_none() -> None:
    words = Words()
    words.add(interim(1.0, "thanks.", 0.0, 0.8))
    words.add(final(1.2, ".", 0.0, 0.8))
    assert (words.text, len(words), words.newest_end) == ("", 0, None)


# -- the provider's border -----------------------------------------------------------------------------------------


def next_turn_is_heard(policy: Policy, *, knows_turns: bool = True) -> list[Output]:
    """The end of "tea please" comes at 2.0, when the voice of the next turn has begun at 1.6."""
    return run(
        starts(0.6),
        interim(1.2, "tea please", 0.5, 1.1),
        stops(1.4),
        SpeechStarted(1.7, 1.6, 1.7),
        *([ProviderTurn(2.0, "ended", 1.5)] if knows_turns else []),
        final(2.0, "tea please", 0.5, 1.1, upto=1.5, sf=True),
        interim(2.0, "with", 1.62, 1.9),
        interim(2.6, "with milk", 1.62, 2.4),
        stops(2.7),
        final(3.0, "with milk", 1.62, 2.4, upto=2.8, sf=True),
        policy=policy,
    )


def test_where_the_provider_leads_its_border_parts_two_turns() -> None:
    outputs = next_turn_is_heard(preset("provider"))
    assert [(c.text, c.at, c.reason) for c in of(TurnCompleted, outputs)] == [
        ("tea please", 2.0, "provider_end"),
        ("with milk", 3.0, "provider_end"),
    ]
    assert [s.audio_start for s in of(TurnStarted, outputs)] == [0.5, 1.6]
    assert of(TurnAmended, outputs) == []
    assert of(TurnCompleted, outputs)[0].audio_end == pytest.approx(1.5)


def test_elsewhere_who_goes_on_before_the_end_is_known_makes_one_turn() -> None:
    assert one(next_turn_is_heard(preset("balanced"))).text == "tea please with milk"


def test_an_endpoint_that_is_a_pause_only_makes_no_border() -> None:
    """Deepgram's speech_final comes of 0.3 s without a voice. Who has gone on by then makes one turn."""
    assert one(next_turn_is_heard(preset("provider"), knows_turns=False)).text == "tea please with milk"


def test_no_border_is_known_while_words_behind_it_wait() -> None:
    outputs = run(
        starts(0.6),
        interim(1.4, "tea please with", 0.5, 1.4),
        ProviderTurn(1.5, "ended", 0.9),
        final(1.5, "tea", 0.5, 0.8, upto=0.9, sf=True),
        policy=preset("provider"),
    )
    assert of(TurnCompleted, outputs)[0].at > 4.0
