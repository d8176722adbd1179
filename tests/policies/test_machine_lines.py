"""The turn machine over connections, mutes and the agent's speech: literal signals in, literal outputs out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hearout_policies import (
    Finalize,
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
    ProviderTurn,
    Signal,
    SpeechStarted,
    SpeechStopped,
    SpeechSuspected,
    Tick,
    Transcript,
    Word,
)
from tests.kit.turns import final, interim, of, one, run, said, starts, steady, stops

# Connections


def replayed(speed: float | None) -> TurnCompleted:
    """3.3 s were lost, and the user is silent as the connection is back; nobody answers."""
    return one(
        run(
            starts(0.6),
            interim(1.5, "help me", 0.5, 1.4),
            LinkLost(1.6),
            LinkRestored(3.8, audio=0.5, speed=speed),
            interim(3.9, "help me", 0.5, 1.4),
            SpeechStopped(4.0, 3.8, 4.0),
        )
    )


def test_an_answer_is_waited_for_as_long_as_the_replay_takes() -> None:
    assert replayed(None).at == pytest.approx(4.0 + 1.2)
    assert replayed(4.0).at == pytest.approx(4.0 + 1.2 + (3.5 / 4 - 0.2))
    assert replayed(1.25).at == pytest.approx(4.0 + 1.2 + (3.5 / 1.25 - 0.2))


def test_a_new_connection_may_say_again_what_was_final() -> None:
    outputs = run(
        starts(0.6),
        final(1.5, "I would", 0.5, 1.2, upto=1.3),
        LinkLost(1.8),
        LinkRestored(2.0, audio=0.2),
        final(2.9, "I would like", 0.5, 1.7, upto=2.0),
        Tick(2.95),
    )
    assert one(outputs).text == "I would like"


def test_an_answer_of_the_connection_before_answers_nothing() -> None:
    outputs = run(
        starts(0.6),
        interim(1.5, "help", 0.5, 1.4),
        stops(1.6),
        LinkLost(1.7),
        LinkRestored(1.75, audio=0.0, speed=None),
        Tick(1.8),
        interim(2.0, "help", 0.5, 1.4),
        final(2.2, "help", 0.5, 1.4, upto=1.8, ff=True),
    )
    assert [o.at for o in of(Finalize, outputs)] == [pytest.approx(1.6), pytest.approx(1.75)]
    assert one(outputs).timings.answered == 2.2


# Mutes


def test_words_end_a_mute_where_no_voice_does() -> None:
    """Audio time stood at 2.0 from 2.3 on, for ten seconds; the words are 0.4 s late."""
    outputs = run(
        interim(1.5, "hello", 0.5, 1.2),
        AudioStalled(2.3, heard=2.0),
        Tick(9.0),
        Transcript(13.0, said("me again", 2.1, 2.6), 2.0, 2.6, True, endpoint=True),
    )
    again = of(TurnCompleted, outputs)[-1]
    assert (again.text, again.timings.speech_end) == ("me again", pytest.approx(13.0))


def test_words_from_before_a_mute_do_not_end_it() -> None:
    """No audio comes, so it is quiet: the answer is waited for, but not whether words grow."""
    signals = interim(1.5, "hello", 0.5, 1.2), AudioStalled(2.3, heard=2.0), final(2.5, "hello", 0.5, 1.2)
    assert one(run(*signals)).at == pytest.approx(2.5 + 0.6)


def test_a_mute_stops_a_voice_where_audio_ceased() -> None:
    outputs = run(starts(0.6), interim(1.2, "yeah", 0.5, 1.0), AudioStalled(2.6, heard=1.6))
    assert one(outputs).audio_end == 1.6


def test_while_no_audio_comes_a_finalize_covers_all_words_that_come() -> None:
    outputs = run(
        interim(1.3, "yeah", 0.5, 0.9), AudioStalled(1.5, heard=1.2), Tick(1.6), interim(1.7, "yeah right", 0.5, 1.2)
    )
    assert [o.at for o in of(Finalize, outputs)] == [1.5]


def test_after_the_audio_a_finalize_covers_all_words_that_come() -> None:
    outputs = run(interim(1.1, "yeah", 0.5, 0.9), EndOfAudio(1.3), Tick(1.6), interim(1.7, "yeah right", 0.5, 1.2))
    assert [o.at for o in of(Finalize, outputs)] == [1.3]


def test_while_audio_comes_a_finalize_needs_a_pause_before_it() -> None:
    outputs = run(interim(1.1, "yeah", 0.5, 0.9), Tick(2.5), interim(2.6, "yeah right", 0.5, 2.1))
    assert len(of(Finalize, outputs)) == 2


# Over the agent's speech


def test_what_counts_is_who_spoke_when_the_turn_began() -> None:
    def over_agent(*agent: Signal) -> bool:
        return of(TurnStarted, run(*agent, final(3.0, "yes", 1.0, 1.4)))[0].agent_speaking

    assert not over_agent()
    assert over_agent(AgentSpeech(1.0, "started"))
    assert over_agent(AgentSpeech(0.5, "started"), AgentSpeech(1.2, "stopped"))
    assert not over_agent(AgentSpeech(0.5, "started"), AgentSpeech(0.9, "stopped"))
    assert not over_agent(AgentSpeech(1.1, "started"))


def test_the_last_eight_changes_are_remembered() -> None:
    def over_agent(changes: int) -> bool:
        later = [AgentSpeech(2.0 + n / 10, "stopped" if n % 2 else "started") for n in range(changes)]
        return of(TurnStarted, run(AgentSpeech(0.5, "started"), *later, final(4.0, "yes", 1.0, 1.4)))[0].agent_speaking

    assert over_agent(7)
    assert not over_agent(8)


def test_a_backchannel_is_no_interruption_however_long() -> None:
    outputs = run(AgentSpeech(0.1, "started"), starts(0.6), interim(0.9, "mhm", 0.5, 0.8), stops(2.5))
    assert [u.interrupts for u in of(TurnUpdated, outputs)] == [False]


def test_a_voice_that_is_noticed_late_interrupts_from_then_on() -> None:
    machine = TurnMachine(steady())
    machine.handle(AgentSpeech(0.1, "started"))
    machine.handle(interim(1.0, "yeah", 0.5, 0.9))
    machine.handle(SpeechStarted(1.2, 1.1, 1.2))
    assert machine.deadline == pytest.approx(1.9)


def test_an_update_over_the_agent_in_full() -> None:
    machine = TurnMachine(steady())
    for signal in (AgentSpeech(0.1, "started"), starts(0.6)):
        machine.handle(signal)
    (told,) = machine.handle(interim(1.0, "okay", 0.5, 0.9))
    assert told == TurnUpdated(1, 0, 1.0, "okay", False, True, True, speech=0.5, transcription_latency=0.1)
    machine = TurnMachine(steady())
    machine.handle(starts(0.6))
    (told,) = machine.handle(interim(1.0, "okay", 0.5, 0.9))
    assert told == TurnUpdated(1, 0, 1.0, "okay", False, False, False, speech=0.5, transcription_latency=0.1)


def test_one_word_is_no_interruption_yet() -> None:
    outputs = run(AgentSpeech(0.1, "started"), starts(0.6), interim(1.0, "stop", 0.5, 0.9), stops(1.1))
    assert [u.interrupts for u in of(TurnUpdated, outputs)] == [False]


def test_what_interrupts_goes_on_interrupting() -> None:
    outputs = run(AgentSpeech(0.1, "started"), starts(0.6), Tick(1.5), interim(1.6, "okay", 0.5, 1.4))
    assert [(u.text, u.interrupts) for u in of(TurnUpdated, outputs)] == [("", True), ("okay", True)]


# Predictions


def test_a_prediction_is_told_with_what_came_before_it() -> None:
    machine = TurnMachine(steady(ask=0.2))
    for signal in (starts(0.6), interim(1.5, "book", 0.5, 1.4), SpeechStopped(2.1, 2.0, 2.1)):
        machine.handle(signal)
    told = machine.handle(final(2.45, "book it", 0.5, 2.0, upto=2.3, ff=True))
    assert [type(o) for o in told] == [Finalize, TurnUpdated, TurnPredicted]


@pytest.mark.parametrize(("kind", "told"), [("eager_end", TurnPredicted), ("resumed", TurnResumed)])
def test_what_a_provider_says_is_told_with_what_came_before_it(kind: str, told: type) -> None:
    machine = TurnMachine(steady(ask=0.2))
    for signal in (starts(0.6), interim(1.5, "book", 0.5, 1.4), SpeechStopped(2.1, 2.0, 2.1)):
        machine.handle(signal)
    if kind == "resumed":
        machine.handle(ProviderTurn(2.15, "eager_end", 1.4))
    outputs = machine.handle(ProviderTurn(2.3, kind, 1.4))  # type: ignore[arg-type]
    assert [type(o) for o in outputs] == [Finalize, told]


def test_a_change_of_the_words_takes_a_prediction_back() -> None:
    machine = TurnMachine(steady())
    for signal in (interim(1.5, "book", 0.5, 1.4), ProviderTurn(1.6, "eager_end", 1.4)):
        machine.handle(signal)
    told = machine.handle(interim(1.7, "book it", 0.5, 1.6))
    assert told[0] == TurnResumed(1, 0, 1.7)
    assert [type(o) for o in told] == [TurnResumed, TurnUpdated]


def test_a_prediction_of_other_words_is_taken_back_before_the_end() -> None:
    """A connection took a word down that began before the last final one, and now it stands before it."""
    outputs = run(
        final(4.1, "two", 3.0, 4.0),
        Transcript(8.2, (Word("one", 1.0, 8.0),), 1.0, 8.0, is_final=False),
        ProviderTurn(8.3, "eager_end", 8.0),
        LinkLost(8.4),
        LinkRestored(8.5, audio=9.0),
        policy=preset("push_to_talk"),
    )
    assert of(TurnPredicted, outputs)[0].text == "two one"
    at = of(TurnCompleted, outputs)[0].at
    assert outputs[-2:] == [TurnResumed(1, 0, at), of(TurnCompleted, outputs)[0]]
    assert one(outputs).text == "one two"


def test_no_end_is_predicted_while_words_are_owed_or_the_turn_is_held() -> None:
    policy = steady(3)
    owed = [starts(0.6), interim(1.5, "book it", 0.5, 1.4), stops(2.2)]
    assert not of(TurnPredicted, run(*owed, policy=policy))
    answered = [*owed, AppCommand(2.3, "hold"), final(2.45, "book it", 0.5, 2.0, upto=2.3, ff=True), Tick(6.0)]
    outputs = run(*answered, AppCommand(7.0, "release"), policy=policy)
    assert not of(TurnPredicted, outputs)
    assert one(outputs).at == 7.0


# Suspicions


def test_a_suspicion_holds_for_as_long_as_the_policy_says() -> None:
    signals = [starts(0.6), stops(2.2), final(2.45, "book a table", 0.5, 2.0, upto=2.3, ff=True)]
    policy = steady().replace({"suspicion_hold": 0.25})
    assert one(run(*signals, SpeechSuspected(2.5, 2.45, 2.5), policy=policy)).at == pytest.approx(2.75)


# Words


def test_words_without_times_are_laid_out_over_the_voice() -> None:
    outputs = run(starts(0.6), stops(1.7), replace(final(2.0, "yes please", 0.0, 1.9), timed=False, endpoint=True))
    assert one(outputs).words == (Word("yes", 0.5, 1.0), Word("please", 1.0, 1.5))


def test_a_result_that_is_delivered_twice_is_told_once() -> None:
    result = final(1.5, "call me", 0.5, 1.3)
    outputs = run(starts(0.6), result, replace(result, at=1.6), stops(1.8))
    assert one(outputs).text == "call me"
    assert len(of(TurnUpdated, outputs)) == 1


def test_an_empty_answer_covers_all_audio_before_its_finalize() -> None:
    """Whatever span it claims."""
    outputs = run(starts(0.6), final(1.5, "call me", 0.5, 1.3), stops(2.0), final(2.3, "", 1.3, 1.4, ff=True))
    assert [o.at for o in of(TurnPredicted, outputs)] == [2.3]
    assert (one(outputs).confirmed, one(outputs).at) == (True, pytest.approx(2.4))


def test_an_empty_answer_to_pending_words_is_the_last_word() -> None:
    signals = starts(0.6), interim(1.5, "help me", 0.5, 1.4), stops(2.2), final(2.45, "", 0.5, 1.4, ff=True)
    turn = one(run(*signals))
    assert (turn.text, turn.confirmed, turn.at) == ("help me", False, pytest.approx(2.6))


def test_an_amendment_says_what_the_turn_is_now() -> None:
    machine = TurnMachine(channel=1)
    for signal in (starts(0.6), stops(1.6), final(1.7, "no", 0.5, 1.4, upto=1.6, sf=True), Tick(3.0)):
        machine.handle(signal)
    late = Word("thanks", 1.5, 1.7)
    (told,) = machine.handle(Transcript(4.0, (late,), 1.45, 1.9, is_final=True))
    assert told == TurnAmended(1, 1, 4.0, "no thanks", (Word("no", 0.5, 1.4), late), True)


@pytest.mark.parametrize(("voice", "amended"), [(True, ["no sir"]), (False, [])])
def test_what_follows_a_turn_closely(voice: bool, amended: list[str]) -> None:
    """Up to the decision it is the turn's where the VAD knows of a silence; else it is new speech after 0.5 s."""
    signals = [final(1.7, "no", 0.5, 1.4, upto=1.6, sf=True), Tick(4.0)]
    if voice:
        signals = [starts(0.6), stops(1.6), *signals]
    policy = steady(1.5)
    outputs = run(*signals, final(4.5, "sir", 2.0, 2.1, sf=True), policy=policy)
    assert [o.text for o in of(TurnAmended, outputs)] == amended
    assert len(of(TurnCompleted, outputs)) == 2 - len(amended)


def test_who_speaks_on_after_the_longest_turn_begins_another() -> None:
    policy = steady().replace({"max_turn": 3})
    outputs = run(starts(0.6), interim(3.0, "and then", 0.5, 2.9), stops(5.0), policy=policy)
    assert [(o.turn, o.audio_start) for o in of(TurnStarted, outputs)] == [(1, 0.5), (2, pytest.approx(3.6))]
    assert of(TurnCompleted, outputs)[0].reason == "safety_net"
