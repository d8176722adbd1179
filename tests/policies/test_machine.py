"""The turn machine, told what happens: literal signals in, literal outputs out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hearout_policies import (
    Finalize,
    Opinion,
    Policy,
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
    AgentSpeech,
    AppCommand,
    AudioStalled,
    EndOfAudio,
    LinkLost,
    LinkRestored,
    ProviderSpeechStarted,
    ProviderTurn,
    Signal,
    SpeechStarted,
    SpeechStopped,
    SpeechSuspected,
    Tick,
    Transcript,
    UtteranceEnd,
)
from tests.kit.turns import final, interim, of, one, run, said, starts, steady, stops


def test_a_turn_from_beginning_to_end() -> None:
    machine = TurnMachine(steady())
    assert machine.deadline is None
    assert machine.handle(starts(0.6)) == [TurnStarted(1, 0, 0.6, 0.5)]
    machine.handle(interim(1.5, "book a", 0.5, 1.4))
    machine.handle(stops(2.2))
    assert machine.handle(final(2.45, "book a table", 0.5, 2.0, upto=2.3, ff=True))[-1] == TurnPredicted(
        1, 0, 2.45, "book a table"
    )
    assert machine.deadline == pytest.approx(2.6)  # 0.6 s after the end of speech at 2.0
    (completed,) = machine.handle(Tick(2.7))
    assert isinstance(completed, TurnCompleted)
    assert (completed.text, completed.reason, completed.confirmed) == ("book a table", "finalize_on_silence", True)
    assert completed.timings.latency == pytest.approx(0.6)
    assert machine.deadline is None


def test_time_runs_forward_only() -> None:
    machine = TurnMachine(steady())
    machine.handle(Tick(1.0))
    with pytest.raises(ValueError, match=r"^Tick at 0.9 after a signal at 1.0: time runs forward$"):
        machine.handle(Tick(0.9))
    with pytest.raises(ValueError, match="time runs forward"):
        machine.handle(Tick(float("nan")))


def test_finalize_goes_out_early_in_the_silence_and_once() -> None:
    outputs = run(starts(0.6), interim(1.5, "yes please", 0.5, 1.4), stops(2.2))
    assert [f.at for f in of(Finalize, outputs)] == [pytest.approx(2.2)]


def test_an_unanswered_finalize_completes_with_the_interim_words() -> None:
    turn = one(run(starts(0.6), interim(1.5, "billing", 0.5, 1.4), stops(1.6)))
    assert (turn.text, turn.confirmed, turn.reason) == ("billing", False, "finalize_on_silence")
    assert turn.at < 1.4 + 1.6


def test_an_empty_answer_completes_at_once_when_the_hold_is_over() -> None:
    turn = one(run(starts(0.6), final(1.9, "yes please", 0.5, 1.6), stops(2.0), final(2.6, "", 1.6, 2.0, ff=True)))
    assert turn.at == pytest.approx(2.6)
    assert turn.confirmed


def test_an_endpoint_closes_the_turn() -> None:
    turn = one(run(starts(0.6), stops(1.6), final(1.75, "stop it.", 0.5, 1.4, upto=1.7, sf=True), policy=steady(0.5)))
    assert turn.reason == "endpointing"
    assert turn.at == pytest.approx(1.4 + 0.5)


def test_an_empty_endpoint_closes_the_finals_before_it() -> None:
    turn = one(run(final(1.5, "call me", 0.5, 1.3), final(1.9, "", 1.3, 1.8, sf=True)))
    assert (turn.text, turn.reason) == ("call me", "endpointing")


def test_an_endpoint_is_a_candidate_while_the_voice_goes_on() -> None:
    turn = one(
        run(
            starts(0.6),
            final(2.0, "my card is", 0.5, 1.6, upto=1.9, sf=True),
            interim(3.0, "four two", 2.1, 2.9),
            stops(3.3),
            final(3.6, "four two seven", 2.1, 3.1, ff=True),
        )
    )
    assert turn.text == "my card is four two seven"


def test_an_endpoint_stands_when_noise_holds_the_vad_open() -> None:
    turn = one(run(starts(0.6), final(2.0, "good morning.", 0.5, 1.6, upto=1.9, sf=True), Tick(9.0)))
    assert turn.reason == "endpointing"
    assert turn.at == pytest.approx(4.5)


def test_an_utterance_end_overrides_a_vad_held_open_by_noise() -> None:
    turn = one(run(starts(0.6), final(2.0, "good morning", 0.5, 1.6), UtteranceEnd(2.9, 1.6), Tick(9.0)))
    assert turn.reason == "utterance_end"


def test_an_utterance_end_in_a_word_gap_does_not_cut() -> None:
    turn = one(
        run(
            starts(0.6),
            final(2.0, "I wonder", 0.5, 1.6),
            UtteranceEnd(2.7, 1.6),
            interim(3.3, "whether", 2.8, 3.2),
            stops(3.6),
            final(3.9, "whether it rains", 2.8, 3.4, ff=True),
        )
    )
    assert turn.text == "I wonder whether it rains"


def test_an_utterance_end_before_the_newest_word_is_stale() -> None:
    outputs = run(starts(0.6), interim(2.0, "one moment please", 0.5, 1.9), UtteranceEnd(2.1, 1.0), Tick(2.2))
    assert one(outputs).reason != "utterance_end"


def test_minus_one_closes_pending_finals_and_nothing_else() -> None:
    turn = one(run(final(1.5, "call me", 0.5, 1.3), UtteranceEnd(2.4, None)))
    assert (turn.text, turn.reason) == ("call me", "utterance_end")
    assert turn.at == pytest.approx(2.4)
    assert run(UtteranceEnd(1.0, None)) == []


def test_both_endings_for_the_same_words_give_one_turn() -> None:
    run_twice = run(starts(0.6), stops(1.6), final(1.75, "stop.", 0.5, 1.4, sf=True), UtteranceEnd(2.5, 1.4))
    assert one(run_twice).text == "stop."


def test_noise_before_an_end_is_not_taken_for_the_users_end() -> None:
    """Empty endpoints in silence, provider speech starts and late utterance ends open nothing."""
    assert (
        run(
            final(4.0, "", 0.0, 3.9, sf=True),
            ProviderSpeechStarted(5.0, 4.8),
            UtteranceEnd(6.0, 2.0),
            final(8.0, "", 3.9, 7.9, sf=True),
            final(9.0, "", 7.9, 8.9, ff=True),
        )
        == []
    )


def test_speech_without_words_is_abandoned_soon_after_the_empty_answer() -> None:
    outputs = run(starts(0.6), stops(1.2), final(1.5, "", 0.0, 1.3, ff=True), policy=Policy())
    (abandoned,) = of(TurnAbandoned, outputs)
    assert abandoned.at == pytest.approx(1.5)
    assert not of(TurnCompleted, outputs)


def test_a_tail_that_was_interim_holds_the_turn_until_its_final() -> None:
    turn = one(
        run(
            starts(0.6),
            final(2.0, "book a flight", 0.5, 1.7),
            interim(2.5, "to Rome", 1.8, 2.4),
            stops(2.7),
            final(3.3, "to Rome", 1.8, 2.4, upto=2.5),
        )
    )
    assert (turn.text, turn.confirmed) == ("book a flight to Rome", True)


def test_an_answer_covers_only_the_audio_before_its_finalize() -> None:
    turn = one(
        run(
            starts(0.6),
            interim(1.5, "turn on", 0.5, 1.4),
            stops(1.7),
            Tick(1.75),
            starts(1.85),
            final(1.95, "turn on", 0.5, 1.5, upto=1.7, ff=True),
            stops(3.0),
            final(3.3, "the light", 1.8, 2.8, upto=3.0, ff=True),
        )
    )
    assert turn.text == "turn on the light"


def test_a_late_final_amends_the_turn_it_was_spoken_in() -> None:
    outputs = run(
        starts(0.6),
        interim(1.5, "cancel", 0.5, 1.4),
        stops(1.6),
        Tick(4.0),
        starts(5.0),
        final(5.1, "cancel it", 0.5, 1.4),
        stops(6.0),
        final(6.3, "please", 4.9, 5.8, upto=6.0, ff=True),
    )
    assert [c.text for c in of(TurnCompleted, outputs)] == ["cancel", "please"]
    (amended,) = of(TurnAmended, outputs)
    assert (amended.turn, amended.text, amended.confirmed) == (1, "cancel it", True)


def test_a_late_final_that_only_confirms_is_no_news() -> None:
    outputs = run(starts(0.6), interim(1.5, "cancel", 0.5, 1.4), stops(1.6), Tick(4.0), final(4.2, "Cancel.", 0.5, 1.4))
    assert not of(TurnAmended, outputs)
    assert len(of(TurnStarted, outputs)) == 1


def test_words_for_an_abandoned_turn_make_a_turn() -> None:
    outputs = run(starts(0.6), stops(1.2), Tick(3.0), final(3.5, "yes", 0.6, 1.0))
    assert [type(o).__name__ for o in outputs if not isinstance(o, Finalize)][:2] == ["TurnStarted", "TurnAbandoned"]
    assert one(outputs).text == "yes"


def test_two_equal_sentences_are_two_turns() -> None:
    outputs = run(
        starts(0.6),
        stops(1.6),
        final(1.7, "the red boat.", 0.5, 1.4, upto=1.6, sf=True),
        Tick(3.0),
        starts(3.6),
        stops(4.6),
        final(4.7, "the red boat.", 3.5, 4.4, upto=4.6, sf=True),
    )
    assert [c.text for c in of(TurnCompleted, outputs)] == ["the red boat.", "the red boat."]


def test_a_final_shorter_than_its_interim_loses_and_doubles_nothing() -> None:
    turn = one(
        run(
            starts(0.6),
            interim(4.3, "one two three four", 0.5, 4.3),
            final(4.4, "one two three", 0.5, 3.3),
            interim(4.6, "four", 3.3, 4.5),
            stops(4.7),
            final(5.0, "four", 3.3, 4.5, ff=True),
        )
    )
    assert turn.text == "one two three four"


@pytest.mark.parametrize(
    ("text", "earliest"),
    [
        ("how much is it?", 0.259),
        ("that is all.", 0.569),
        ("a small coffee and", 0.904),
        ("it is four seven", 1.279),
    ],
)
def test_the_hold_depends_on_how_the_text_ends(text: str, earliest: float) -> None:
    turn = one(run(starts(0.6), stops(2.2), final(2.25, text, 0.5, 2.0, upto=2.2, sf=True), policy=Policy()))
    assert turn.at == pytest.approx(2.0 + earliest, abs=0.001)


def test_going_on_takes_a_prediction_back() -> None:
    outputs = run(
        starts(0.6),
        stops(2.2),
        final(2.3, "I want tea.", 0.5, 2.0, upto=2.2, sf=True),
        starts(2.45),
        stops(3.4),
        final(3.6, "or coffee.", 2.4, 3.2, upto=3.4, sf=True),
    )
    kinds = [type(o).__name__ for o in outputs if not isinstance(o, Finalize)]
    assert kinds.count("TurnPredicted") == 2
    assert kinds.index("TurnResumed") < kinds.index("TurnCompleted")
    assert one(outputs).text == "I want tea. or coffee."
    assert of(TurnResumed, outputs)[0].at == pytest.approx(2.45)


def test_going_on_after_the_end_continues_the_last_turn() -> None:
    outputs = run(
        starts(0.6), stops(2.2), final(2.3, "I want tea.", 0.5, 2.0, upto=2.2, sf=True), Tick(2.6), starts(3.0)
    )
    assert [s.continues for s in of(TurnStarted, outputs)] == [None, 1]


def test_stalled_audio_is_silence() -> None:
    turn = one(run(starts(0.6), interim(1.2, "yeah.", 0.5, 1.0), AudioStalled(1.6, heard=1.1)))
    assert turn.text == "yeah."
    assert turn.timings.speech_end == pytest.approx(1.1)


def test_after_a_stall_audio_time_lags_behind() -> None:
    outputs = run(
        starts(0.6),
        interim(1.2, "yeah.", 0.5, 1.0),
        AudioStalled(1.6, heard=1.1),
        Tick(9.0),
        SpeechStarted(11.3, 1.2, heard=1.3),
        SpeechStopped(12.3, 2.1, heard=2.3),
        Transcript(12.5, said("me again", 1.2, 2.0), 1.1, 2.2, True, endpoint=True),
    )
    assert [c.text for c in of(TurnCompleted, outputs)] == ["yeah.", "me again"]
    assert of(TurnCompleted, outputs)[1].timings.latency == pytest.approx(0.6)


def test_without_a_vad_words_open_the_turn_and_their_silence_ends_it() -> None:
    turn = one(run(interim(1.5, "hello", 0.5, 1.2), final(2.5, "hello there", 0.5, 1.6, upto=2.4)))
    assert turn.text == "hello there"
    assert 2.5 < turn.at < 5.0


def test_hold_music_ends_at_the_longest_turn() -> None:
    policy = preset("balanced").replace({"max_turn": 30})
    outputs = run(starts(0.6), *(Tick(t) for t in range(1, 200)), policy=policy)
    assert [a.reason for a in of(TurnAbandoned, outputs)] == ["unheard"]
    assert len(of(TurnStarted, outputs)) == 1


def test_force_end_waits_for_the_final_words_and_outranks_the_vad() -> None:
    outputs = run(
        starts(0.6),
        interim(1.5, "can you", 0.5, 1.4),
        AppCommand(2.0, "force_end"),
        final(2.25, "can you check", 0.5, 1.9, upto=2.0, ff=True),
    )
    turn = of(TurnCompleted, outputs)[0]
    assert (turn.text, turn.reason, turn.at) == ("can you check", "force_end", 2.25)


def test_force_end_before_anything_was_heard_takes_the_words_that_come() -> None:
    turn = one(run(AppCommand(1.0, "force_end"), final(1.3, "yes", 0.4, 0.8, upto=1.0, ff=True)))
    assert (turn.text, turn.reason) == ("yes", "force_end")


def test_hold_keeps_the_turn_open_until_release() -> None:
    turn = one(
        run(
            starts(0.6),
            AppCommand(1.0, "hold"),
            stops(1.6),
            final(1.8, "stop.", 0.5, 1.4, upto=1.7, sf=True),
            Tick(20.0),
            AppCommand(21.0, "release"),
        )
    )
    assert turn.at == pytest.approx(21.0)


def test_clear_drops_what_was_said_and_what_comes_late_for_it() -> None:
    outputs = run(
        starts(0.6), interim(1.5, "never mind", 0.5, 1.4), AppCommand(1.6, "clear"), final(2.0, "never mind", 0.5, 1.4)
    )
    assert [a.reason for a in of(TurnAbandoned, outputs)] == ["cleared"]
    assert not of(TurnCompleted, outputs)


def test_a_backchannel_over_the_agent_is_marked() -> None:
    outputs = run(
        AgentSpeech(0.1, "started"), starts(0.6), stops(1.2), final(1.4, "uh-huh", 0.5, 1.0, upto=1.3, sf=True)
    )
    assert of(TurnStarted, outputs)[0].agent_speaking
    assert one(outputs).backchannel


def test_while_the_link_is_down_turns_end_from_silence_unconfirmed() -> None:
    outputs = run(starts(0.6), interim(1.5, "help me", 0.5, 1.4), LinkLost(1.6), stops(1.8), Tick(5.0))
    turn = one(outputs)
    assert (turn.text, turn.confirmed, turn.reason) == ("help me", False, "silence")
    assert not of(Finalize, outputs)


def test_a_turn_goes_on_over_a_reconnect() -> None:
    outputs = run(
        starts(0.6),
        interim(1.5, "I would like", 0.5, 1.4),
        LinkLost(1.8),
        stops(2.6),
        LinkRestored(3.0, audio=0.0),
        interim(3.3, "I would", 0.5, 1.1),
        final(4.4, "I would like a room", 0.5, 2.4, upto=2.6, ff=True),
    )
    assert one(outputs).text == "I would like a room"
    assert len(of(Finalize, outputs)) == 1


def test_the_end_of_audio_ends_the_turn_without_a_hold() -> None:
    turn = one(run(starts(0.6), interim(1.5, "and", 0.5, 1.4), EndOfAudio(1.6), final(1.8, "and", 0.5, 1.5, ff=True)))
    assert turn.at == pytest.approx(1.8)


def test_a_providers_own_turn_detection_is_evidence() -> None:
    outputs = run(
        interim(1.2, "hello", 0.5, 1.0),
        ProviderTurn(1.5, "eager_end", 1.0),
        ProviderTurn(1.8, "resumed", 1.4),
        interim(2.2, "hello world", 0.5, 1.9),
        Transcript(2.6, said("hello world", 0.5, 1.9), 0.0, 2.2, True, endpoint=True),
        ProviderTurn(2.6, "ended", 2.2),
    )
    kinds = [type(o).__name__ for o in outputs]
    assert kinds.index("TurnPredicted") < kinds.index("TurnResumed") < kinds.index("TurnCompleted")
    assert one(outputs).text == "hello world"


def test_words_over_the_agent_are_an_interruption_once_they_are_more_than_a_backchannel() -> None:
    outputs = run(
        AgentSpeech(0.1, "started"),
        starts(0.6),
        interim(1.0, "yeah", 0.5, 0.9),
        interim(1.1, "yeah but wait", 0.5, 1.1),
    )
    updates = of(TurnUpdated, outputs)
    assert [(u.text, u.interrupts) for u in updates[:2]] == [("yeah", False), ("yeah but wait", True)]


def test_a_voice_over_the_agent_is_an_interruption_when_it_lasts() -> None:
    machine = TurnMachine(steady())
    machine.handle(AgentSpeech(0.1, "started"))
    machine.handle(starts(0.6))
    assert machine.deadline == pytest.approx(1.3)
    (update,) = machine.handle(Tick(1.31))
    assert isinstance(update, TurnUpdated)
    assert (update.text, update.interrupts) == ("", True)


def test_a_completed_turn_tells_what_every_rule_said() -> None:
    turn = one(run(starts(0.6), stops(1.6), final(1.75, "stop it.", 0.5, 1.4, upto=1.7, sf=True), policy=steady(0.5)))
    assert [o.rule for o in turn.opinions] == ["endpointing", "utterance_end", "finalize_on_silence", "silence"]
    said = {o.rule: o for o in turn.opinions}
    assert said["endpointing"].deadline == pytest.approx(1.75)
    assert said["utterance_end"].deadline is None
    assert said["silence"].hold == pytest.approx(1.9)


def due_at_2_6() -> list[Signal]:
    """A turn that is over 0.6 s after the end of speech at 2.0."""
    return [starts(0.6), stops(2.2), final(2.45, "book a table", 0.5, 2.0, upto=2.3, ff=True)]


def suspects(at: float) -> SpeechSuspected:
    return SpeechSuspected(at, at - 0.04, at)


def test_a_suspicion_puts_an_end_off_until_the_start_that_follows_it() -> None:
    machine = TurnMachine(steady())
    for signal in due_at_2_6():
        machine.handle(signal)
    assert machine.handle(suspects(2.58)) == []
    assert machine.deadline == pytest.approx(2.69)
    assert [type(o) for o in machine.handle(starts(2.64))] == [TurnResumed]
    assert machine.deadline is not None
    assert machine.deadline > 5


def test_a_suspicion_that_comes_with_the_deadline_is_in_time() -> None:
    machine = TurnMachine(steady())
    for signal in due_at_2_6():
        machine.handle(signal)
    assert machine.deadline is not None
    assert machine.handle(suspects(machine.deadline)) == []


def test_a_wrong_suspicion_costs_a_moment_and_nothing_else() -> None:
    turn = one(run(*due_at_2_6(), suspects(2.58)))
    assert turn.at == pytest.approx(2.69)
    assert (turn.reason, turn.confirmed, turn.audio_end) == ("finalize_on_silence", True, 2.0)
    assert turn.opinions[-1] == Opinion("suspicion", None, turn.at)
    assert one(run(*due_at_2_6(), suspects(2.46))).at == pytest.approx(2.6)  # settled before
    for settings in ({"suspicion_hold": 0}, {"suspicion_hold": 0.01}):
        turn = one(run(*due_at_2_6(), suspects(2.58), policy=steady().replace(settings)))
        assert turn.at == pytest.approx(2.6)
        assert len(turn.opinions) == len(steady().rules)


def test_a_chattering_line_does_not_hold_a_turn() -> None:
    turn = one(run(*due_at_2_6(), *(suspects(2.5 + i * 0.08) for i in range(30))))
    assert turn.at == pytest.approx(2.6 + 0.3)


def test_a_suspicion_does_not_outwait_the_safety_net() -> None:
    policy = steady().replace({"max_silence": 0.65})
    words = interim(1.5, "book a table", 0.5, 1.4)  # later, they would count as a sign of speech
    start, *rest = due_at_2_6()
    turn = one(run(start, words, *rest, suspects(2.58), policy=policy))
    assert turn.reason == "safety_net"
    assert turn.at == pytest.approx(2.65)


def test_a_suspicion_opens_no_turn_and_is_nothing_while_speech_is_heard() -> None:
    assert run(suspects(1.0)) == []
    signals: list[Signal] = [starts(0.6), interim(1.5, "yes", 0.5, 1.4), stops(1.8)]
    assert run(*signals[:2], suspects(1.7), *signals[2:]) == run(*signals)


def test_a_forced_end_waits_for_no_suspicion() -> None:
    outputs = run(*due_at_2_6(), suspects(2.5), AppCommand(2.52, "force_end"))
    assert one(outputs).at == pytest.approx(2.52)


def test_after_the_audio_nobody_is_suspected() -> None:
    signals: list[Signal] = [starts(0.6), interim(1.5, "book a table", 0.5, 1.4), stops(2.2)]
    answer = final(2.45, "book a table", 0.5, 2.0, upto=2.3, ff=True)
    expected = run(*signals, EndOfAudio(2.3), answer)
    assert run(*signals, suspects(2.28), EndOfAudio(2.3), suspects(2.44), answer) == expected


def test_no_end_is_predicted_while_speech_is_suspected() -> None:
    signals = due_at_2_6()
    outputs = run(*signals[:2], suspects(2.4), *signals[2:])
    assert [o.at for o in of(TurnPredicted, outputs)] == [pytest.approx(2.51)]
    assert of(TurnPredicted, run(*signals[:2], suspects(2.4), signals[2], starts(2.46))) == []


def test_a_turn_whose_last_finalize_is_unanswered_is_not_confirmed() -> None:
    """All known words are final, but there was voice behind them."""
    turn = one(run(starts(0.6), final(1.7, "book a table", 0.5, 1.6), stops(2.2)))
    assert turn.confirmed is False
    assert turn.at == pytest.approx(2.2 + 0.9)
    # No voice behind them: nothing is owed.
    assert one(run(starts(0.6), final(1.7, "book a table", 0.5, 1.6), stops(1.85))).confirmed is True


def test_a_voice_over_the_agent_is_an_interruption_at_the_moment_the_machine_named() -> None:
    """Whatever the rounding: the sum and the difference of the same times need not agree."""
    for hundredths in range(200):
        at = 182 + hundredths / 100
        machine = TurnMachine(steady())
        machine.handle(AgentSpeech(0.1, "started"))
        machine.handle(starts(at))
        assert machine.deadline is not None
        assert [type(o) for o in machine.handle(Tick(machine.deadline))] == [TurnUpdated], at


def test_words_that_went_down_with_a_connection_are_told_in_audio_order() -> None:
    outputs = run(
        interim(5.0, "two", 4.6, 4.9),
        LinkLost(5.1),
        Transcript(5.2, said("one", 3.6, 3.9), 3.6, 4.0, is_final=False),
        LinkRestored(5.3, audio=4.0),
    )
    turn = one(outputs)
    assert (turn.text, turn.confirmed) == ("one two", False)


def test_words_that_went_down_with_a_connection_are_words() -> None:
    """The turn does not wait as long as one of which nothing is known yet."""
    outputs = run(
        starts(0.6),
        interim(1.5, "help me", 0.5, 1.4),
        stops(1.8),
        LinkLost(1.85),
        LinkRestored(1.9, audio=1.6),
        LinkLost(1.95),
    )
    turn = one(outputs)
    assert (turn.text, turn.confirmed, turn.reason) == ("help me", False, "silence")
    assert turn.at == pytest.approx(1.6 + 2.5)


def test_a_finalize_does_not_cover_speech_that_was_noticed_after_it() -> None:
    """Although it began before, as a VAD is late: when it turns out to be noise, Finalize is sent again."""
    outputs = run(starts(0.6), final(1.5, "and", 0.5, 1.4, upto=1.45), stops(1.8), SpeechStarted(2.0, 1.75, 2.0))
    assert [o.at for o in of(Finalize, outputs)] == [pytest.approx(1.8), pytest.approx(5.0)]
    assert one(outputs).at > 5.0


def test_an_answer_that_repeats_the_last_final_is_an_answer() -> None:
    """Some transcribers send the final, and the same again as the answer to the Finalize."""
    repeated = final(1.9, "call me", 0.5, 1.4, upto=1.5)
    again = replace(repeated, at=3.4, finalized=True)
    turn = one(run(interim(1.5, "call", 0.5, 1.3), repeated, Tick(3.2), again))
    assert turn.text == "call me"
    assert turn.timings.answered == pytest.approx(3.4)


# -- how far the transcriber is behind -------------------------------------------------------------------------------


def behind(outputs: list[Any]) -> list[float | None]:
    return [output.transcription_latency for output in of(TurnUpdated, outputs)]


def test_an_interim_tells_how_far_it_is_behind_the_audio() -> None:
    machine = TurnMachine(steady())
    machine.handle(starts(0.6))
    assert behind(machine.handle(interim(1.5, "book", 0.5, 1.2))) == [pytest.approx(0.3)]
    assert behind(machine.handle(interim(1.7, "book", 0.5, 1.4))) == []  # nothing new to tell
    assert behind(machine.handle(interim(2.0, "book a", 0.5, 1.6))) == [pytest.approx(0.4)]
    assert behind(machine.handle(final(2.2, "book a table", 0.5, 2.0, upto=2.1))) == [None]


def test_audio_that_does_not_come_keeps_nothing_waiting() -> None:
    machine = TurnMachine(steady())
    machine.handle(starts(0.6))
    machine.handle(AudioStalled(1.5, 1.0))
    assert behind(machine.handle(interim(2.5, "book", 0.5, 0.9))) == [pytest.approx(0.1)]
    machine = TurnMachine(steady())
    machine.handle(starts(0.6))
    machine.handle(EndOfAudio(1.0))
    assert behind(machine.handle(interim(2.5, "book", 0.5, 0.9))) == [None]
