"""The turn machine and the odds: pauses ask early and decide nothing, an ear is heard, this caller's pauses count."""

from __future__ import annotations

import pytest

from hearout_policies import Finalize, Output, Policy, TurnCompleted, TurnMachine, TurnPredicted, preset
from hearout_policies.signals import AgentSpeech, EarHeard, Signal, SpeechPaused, SpeechStarted, SpeechStopped, Tick
from tests.kit.turns import final, interim, of, one, run, starts, stops

LATER = Policy().replace({"finalize_on_silence.finalize_after": 0.2})
FALLING = (starts(0.6), interim(1.5, "to Boston", 0.5, 1.4))


def paused(at: float) -> SpeechPaused:
    """Noticed at ``at``, 0.1 s after the end."""
    return SpeechPaused(at, at - 0.1, at)


def test_what_the_open_turn_waits_for_can_be_seen() -> None:
    machine = TurnMachine(Policy())
    assert machine.decision is None
    for signal in FALLING:
        machine.handle(signal)
    assert machine.decision
    assert machine.decision.outlook(0).speaking
    machine.handle(SpeechStopped(1.6, 1.4, 1.6))
    (asking,) = machine.decision.outlook(7).opinions[-1:]
    seen = machine.decision.outlook(7)
    assert (seen.channel, seen.at, seen.speaking) == (7, 1.6, False)
    assert seen.evidence == (("plain", seen.odds),)
    assert (asking.rule, seen.when) == ("silence", machine.deadline)
    (completed,) = of(
        TurnCompleted, [output for at in (seen.when - 0.001, seen.when) for output in machine.handle(Tick(at))]
    )
    assert (completed.at, completed.reason, completed.opinions) == (seen.when, seen.reason, seen.opinions)
    assert machine.decision is None


# Pauses


def asked(*signals: Signal, policy: Policy) -> list[float]:
    machine = TurnMachine(policy)
    outputs = [output for signal in signals for output in machine.handle(signal)]
    return [round(command.at, 3) for command in of(Finalize, outputs)]


def test_a_pause_asks_for_the_words_before_it_is_a_silence() -> None:
    assert asked(*FALLING, paused(1.7), Tick(1.75), policy=Policy()) == [1.7]
    assert asked(*FALLING, paused(1.7), Tick(1.75), policy=LATER) == []
    assert asked(*FALLING, paused(1.7), SpeechStopped(1.8, 1.6, 1.8), Tick(1.81), policy=Policy()) == [1.7]


def test_each_pause_asks_once() -> None:
    goes_on = interim(2.2, "to Boston at", 0.5, 2.1)
    assert asked(*FALLING, paused(1.7), goes_on, Tick(2.3), policy=Policy()) == [1.7]
    assert asked(*FALLING, paused(1.7), goes_on, paused(2.4), Tick(2.5), policy=Policy()) == [1.7, 2.4]


def test_a_pause_ends_no_turn() -> None:
    """Though all words are final, and an endpoint says that nobody speaks."""
    machine = TurnMachine(Policy())
    signals = (*FALLING, paused(1.7), final(1.9, "to Boston", 0.5, 1.4, upto=1.7, ff=True, sf=True))
    outputs: list[Output] = [output for signal in signals for output in machine.handle(signal)]
    for now in (2.0, 2.2, 2.5):
        outputs += machine.handle(Tick(now))
    assert not of(TurnCompleted, outputs)


def test_the_answer_to_a_pause_serves_the_silence_that_follows() -> None:
    """It need not be asked for again: the turn is over as soon as the hold is."""
    outputs = run(
        *FALLING,
        paused(1.7),
        SpeechStopped(1.8, 1.6, 1.8),
        final(1.95, "to Boston", 0.5, 1.4, upto=1.7, ff=True),
        policy=Policy(),
    )
    assert len(of(Finalize, outputs)) == 1
    turn = one(outputs)
    assert turn.at == pytest.approx(1.6 + 0.531, abs=1e-3)  # as `Silence` holds odds of 0.46


# An ear


def completed(*signals: Signal) -> TurnCompleted:
    heard = final(1.9, "to Boston", 0.5, 1.4, upto=1.7, ff=True)
    return one(run(*FALLING, stops(1.8), *signals, heard, policy=Policy()))


def test_an_ear_makes_the_hold_shorter_or_longer() -> None:
    latency = {odds: round(completed(EarHeard(1.85, 1.8, odds)).at - 1.6, 3) for odds in (0.1, 0.5, 0.9)}
    assert latency == {0.1: 1.259, 0.5: 0.531, 0.9: 0.3}  # the last: as soon as the words are final


def test_an_event_tells_what_the_odds_were_made_of() -> None:
    turn = completed(EarHeard(1.85, 1.8, 0.9))
    assert round(turn.odds, 3) == 0.863
    assert turn.evidence == (("plain", 0.46), ("ear", 0.9))
    turn = completed()
    assert (turn.odds, turn.evidence) == (0.46, (("plain", 0.46),))


def test_what_an_ear_heard_before_the_voice_went_on_says_nothing() -> None:
    again = (SpeechStarted(2.5, 2.4, 2.5), interim(3.1, "to Boston today", 0.5, 3.0), SpeechStopped(3.2, 3.0, 3.2))
    last = final(3.3, "to Boston today", 0.5, 2.9, upto=3.1, ff=True)
    turn = one(run(*FALLING, stops(1.8), EarHeard(1.85, 1.8, 0.02), *again, last, policy=preset("patient")))
    assert turn.evidence == (("plain", 0.46),)


def test_an_ear_without_a_voice_is_nobodys() -> None:
    assert run(EarHeard(0.5, 0.4, 0.9)) == []


# This caller's pauses


def test_a_caller_who_pauses_long_is_given_more_time() -> None:
    """The same words after the same silence, for the first time and after three turns with pauses of a second."""
    machine = TurnMachine(preset("patient"))
    waits, now = [], 0.0

    def hear(*signals: Signal) -> list[Output]:
        outputs = [output for signal in signals for output in machine.handle(signal)]
        return [*outputs, *machine.handle(Tick(signals[-1].at + 0.05))]

    for _ in range(4):
        hear(starts(now + 0.6), interim(now + 1.4, "to", now + 0.5, now + 1.2), stops(now + 1.5))
        hear(starts(now + 2.4), interim(now + 3.0, "to Boston", now + 0.5, now + 3.0), stops(now + 3.2))
        outputs = hear(final(now + 3.3, "to Boston", now + 0.5, now + 2.9, upto=now + 3.2, ff=True))
        while machine.deadline is not None:
            outputs += machine.handle(Tick(machine.deadline))
        waits.append(round(one(outputs).at - (now + 3.0), 3))
        now += 10
    assert waits == sorted(set(waits))


# Predictions


def test_no_end_of_a_backchannel_is_predicted() -> None:
    """No reply is due to it."""
    signals = (starts(0.6), stops(1.2), final(1.3, "okay", 0.5, 0.9, upto=1.2, ff=True))
    assert of(TurnPredicted, run(*signals))
    assert not of(TurnPredicted, run(AgentSpeech(0.1, "started"), *signals))
