"""One call judged: literal traces, and what each turn detection made of them."""

from __future__ import annotations

import json
import math

import pytest

from benchmarks.endpointing.conversations import sample
from benchmarks.endpointing.scenarios import SCENARIOS
from benchmarks.endpointing.timer_calls import timer_call
from hearout.report.judge import NotJudged, judge
from hearout.report.parts import Part
from hearout.report.sums import Sums
from hearout.traces.reader import parse_trace
from hearout_policies import preset
from tests.report.hand_made import agent, bot, said, trace

GREETING = agent(0.1, 0.6)


def bots(*records: list[dict[str, object]], **header: str) -> list[Part]:
    found = [turn.bot for turn in judge(trace(*records, **header)).turns]
    assert all(found)
    return [part for part in found if part is not None]


def test_a_turn_that_was_ended_in_time() -> None:
    (one,) = bots(said("yes please", 1, 2), bot(2.7, "yes please"), agent(3, 4))
    assert one.commits == (2.7,)
    assert (one.judged, one.cut_ins, one.words, one.lost, one.late) == (1, 0, 2, 0, 0)
    assert one.delay == pytest.approx(0.7)


def test_who_goes_on_within_two_seconds_was_cut_off() -> None:
    calls = said("my number is", 1, 2), said("five six", 3.5, 4.5)
    early = bot(2.4, "my number is"), bot(5.0, "five six")
    (one,) = bots(GREETING, *calls, *early)
    assert (one.judged, one.early, one.cut_ins, len(one.commits), one.lost, one.split) == (2, 1, 1, 2, 0, True)
    # The bot began to speak, and the user spoke on nevertheless: no label tells what that pause was, the bot does.
    first, second = bots(*calls, *early, agent(2.8, 3.8))
    assert (first.judged, first.cut_ins, first.delay, first.split) == (1, 1, None, True)
    assert (second.cut_ins, second.delay, second.split) == (0, pytest.approx(0.5), False)
    # More than two seconds later it is a split, and no cut-in.
    later = bot(2.2, "my number is"), said("five", 4.4, 5), bot(6, "five")
    (one,) = bots(GREETING, said("my number is", 1, 2), *later)
    assert (one.cut_ins, one.early, len(one.commits), one.split) == (0, 1, 2, True)


def test_who_talks_over_the_answer_within_two_seconds_was_cut_off() -> None:
    """Though later than the second after the agent began in which `tune` takes nothing for an end."""
    begun = said("my number is", 1, 2), bot(2.8, "my number is")
    then = said("five six", 4.2, 5), bot(5.6, "five six"), agent(6, 7)
    first, second = bots(*begun, agent(2.9, 4.6), *then)
    assert (first.judged, first.cut_ins, first.delay, first.split) == (1, 1, None, True)
    assert (second.cut_ins, second.delay) == (0, pytest.approx(0.6))
    # Who lets the agent finish answers it, however short it was.
    first, _ = bots(*begun, agent(2.9, 4.0), *then)
    assert (first.cut_ins, first.delay, first.split) == (0, pytest.approx(0.8), False)
    first, _ = bots(*begun, agent(2.9, 4.6), said("uh-huh", 4.2, 4.5))
    assert (first.cut_ins, first.delay, first.split) == (0, pytest.approx(0.8), False)


def test_an_uh_huh_to_the_answer_is_no_going_on() -> None:
    first, _ = bots(said("yes please", 1, 2), bot(2.4, "yes please"), agent(2.8, 6), said("uh-huh", 3.4, 3.7))
    assert (first.judged, first.cut_ins, first.split) == (1, 0, False)


def test_a_commit_in_the_midst_of_speech_cuts_in() -> None:
    (one,) = bots(said("this is a long one", 1, 4), bot(2.5, "this is"), bot(4.6, "a long one"), agent(5, 6))
    assert (one.cut_ins, one.lost, one.late) == (1, 0, 0)


def test_dead_air() -> None:
    (one,) = bots(said("yes please", 1, 2), bot(4.5, "yes please"), agent(4.6, 6))
    never, _ = bots(GREETING, said("yes please", 1, 2), said("hello", 20, 21), bot(21.5, "hello"))
    assert never.delay == math.inf
    sums = Sums()
    sums.add(one)
    sums.add(never)
    assert (sums.dead, sums.delays.count, sums.lost, sums.words) == (2, 2, 2, 4)
    assert sums.delays.mean == pytest.approx((2.5 + 5) / 2)
    assert sums.delays.quantile(0.5) == pytest.approx(2.5)
    assert sums.delays.quantile(0.9) is None


def test_lost_and_late_words() -> None:
    (lost,) = bots(said("I want two tickets", 1, 3), bot(3.5, "I want tickets"), agent(4, 5))
    assert (lost.words, lost.lost, lost.late) == (4, 1, 0)
    first, second = bots(
        said("I want two tickets", 1, 3),
        bot(3.5, "I want two"),
        agent(4, 5),
        said("for Friday", 7, 8),
        bot(8.5, "Tickets for Friday"),
        agent(9, 10),
    )
    assert (first.lost, first.late) == (0, 1)
    assert (second.words, second.lost, second.late) == (2, 0, 0)
    (marks,) = bots(said("Yes, please.", 1, 2), bot(2.5, "yes please"), agent(3, 4))
    assert marks.lost == 0


def test_a_word_that_stands_elsewhere_is_late_and_not_lost() -> None:
    two = said("I want two tickets", 1, 3), agent(4, 5), said("for Friday", 7, 8), agent(9, 10)
    first, _ = bots(*two, bot(3.5, "I want tickets"), bot(8.5, "for two Friday"))
    assert (first.lost, first.late) == (0, 1)
    # Where nothing was handed on in between, two turns later.
    third = said("thank you", 12, 13), agent(14, 15)
    first, *_ = bots(*two, *third, bot(3.5, "I want two"), bot(13.5, "tickets for Friday thank you"))
    assert (first.lost, first.late) == (0, 1)
    # The same word, said again in the next turn and handed on there once, is not the one that is missing.
    again = said("yes", 1, 1.5), agent(4, 5), said("yes please", 7, 8), agent(9, 10)
    first, second = bots(*again, bot(2, ""), bot(8.5, "yes please"))
    assert (first.lost, first.late, second.lost, second.late) == (1, 0, 0, 0)


def test_a_word_that_is_said_again_is_lost_the_first_time() -> None:
    """Whoever was not understood says it again: that the second is handed on does not make the first a late one."""
    first = said("I want two tickets", 1, 3), bot(3.5, "I want"), agent(4, 5)
    again = said("I want two tickets", 7, 9), agent(10, 11)
    one, two = bots(*first, *again, bot(9.5, "I want two tickets"))
    assert (one.lost, one.late, two.lost, two.late) == (2, 0, 0, 0)
    # Both, in one commit: those of the first are late.
    one, two = bots(*first, *again, bot(9.5, "two tickets I want two tickets"))
    assert (one.lost, one.late, two.lost, two.late) == (0, 2, 0, 0)
    # What was handed on once makes up for one word, not for one of each turn.
    one, two = bots(*first, bot(9.5, "tickets for Friday"), said("for Friday tickets", 7, 9), agent(10, 11))
    assert (one.lost, one.late, two.lost, two.late) == (1, 1, 1, 0)
    # Within one turn, too.
    (both,) = bots(
        GREETING, said("I want two tickets", 1, 3), bot(3.4, "I want"), said("I want two tickets", 4, 6),
        bot(6.5, "I want two tickets"),
    )  # fmt: skip
    assert (both.words, both.lost, both.late) == (8, 2, 0)


def test_who_hangs_up_has_not_shown_how_long_he_would_have_waited() -> None:
    """Neither side is charged with an end, five seconds or lost words, that the call had no time for."""
    call = said("yes please", 1, 2), bot(2.7, "yes please"), agent(3, 4), said("thank you goodbye", 6, 7)
    over = [{"t": 8.5, "end": True}]
    broken = judge(trace(*call, over))
    _, last = [turn.bot for turn in broken.turns]
    assert last is not None
    assert (last.delay, last.words, last.lost, broken.turns[1].ours.delay) == (None, 0, 0, None)
    assert broken.unclear == {"cut short": 1}
    # Both in time; nobody in five seconds; the agent answered: that is known.
    for more, delay in (([*bot(7.9, "thank you goodbye"), *over], 0.9), ([{"t": 12.1, "end": True}], math.inf)):
        known = judge(trace(*call, more))
        assert known.turns[1].bot is not None
        assert known.turns[1].bot.delay == pytest.approx(delay)
        assert known.turns[1].ours.delay is not None
        assert not known.unclear


def test_ours_is_not_helped_nor_harmed_by_what_the_bot_answered() -> None:
    """Asked for a number, it waits for the rest of it: four seconds, though the bot has long gone on."""
    asks = [{"t": 0.5, "agent": "said", "text": "What is your phone number?"}, *agent(0.5, 1.5)]
    thanks = [{"t": 4.9, "agent": "said", "text": "Thank you, we will see you on Friday."}, *agent(4.9, 6.5)]
    call = asks, said("seven three one eight", 2, 4), bot(4.8, "seven three one eight"), thanks
    judged = judge(trace(*call, said("thank you goodbye", 7, 8), bot(8.7, "thank you goodbye"), agent(9, 10)))
    first, second = [turn.ours for turn in judged.turns]
    assert first.delay == pytest.approx(4.0, abs=0.01)
    assert second.delay is not None
    assert second.delay < 1
    assert [len(turn.ours.commits) for turn in judged.turns] == [1, 1]
    again = judge(trace(*call, said("thank you goodbye", 7, 8), agent(9, 10)), preset("balanced"))
    assert again.turns[0].ours.delay == pytest.approx(4.0, abs=0.01)


def test_what_a_framework_has_finalized_is_final_under_any_policy() -> None:
    words = [{"text": "yes", "start": 1.0, "end": 1.5}, {"text": "please.", "start": 1.5, "end": 2.0}]
    final = {"type": "final", "start": 0.0, "end": 2.0, "words": words, "finalized": True, "timed": True}
    voice = [{"t": 1.1, "vad": "start", "audio": 1.0}, {"t": 2.2, "vad": "stop", "audio": 2.0}]
    one = trace(voice, [{"t": 2.25, "stt": final}], agent(5, 6), stt="results")
    (as_it_was,), (as_it_would,) = judge(one).turns, judge(one, preset("balanced")).turns
    assert as_it_was.ours.delay == as_it_would.ours.delay
    assert as_it_was.ours.delay is not None
    assert as_it_was.ours.delay < 0.7


def test_backchannels_that_interrupted() -> None:
    call = judge(
        trace(
            agent(0.5, 5),
            said("uh-huh", 2, 2.3),
            [{"t": 2.6, "bot": "interrupted"}],
            agent(7, 12),
            said("uh-huh", 9, 9.3),
            said("yes please", 13, 14),
            bot(14.5, "yes please"),
        )
    )
    assert [(one.bot, one.ours) for turn in call.turns for one in turn.backchannels] == [(True, False), (False, False)]
    assert call.unclear == {"over the agent": 2}
    # They are no turns, also where somebody hands them on.
    told = judge(
        trace(agent(0.5, 5), said("uh-huh", 2, 2.3), bot(2.9, "uh-huh"), said("yes please", 7, 8), bot(9, "yes"))
    )
    assert [(one.bot.aside, one.bot.words) for one in told.turns if one.bot] == [(True, 0), (False, 2)]
    sums = Sums()
    for one in told.turns:
        assert one.bot
        sums.add(one.bot)
    assert (sums.turns, sums.commits, sums.words) == (1, 2, 2)


def test_ours_is_what_the_session_decided_or_what_a_policy_would_have() -> None:
    one = trace(said("yes please", 1, 2), agent(4, 5), said("no thanks", 8, 9), agent(11, 12))
    recorded, patient = judge(one), judge(one, preset("patient"))
    assert not recorded.has_bot
    for was, would in zip(recorded.turns, patient.turns, strict=True):
        assert was.bot is None
        assert was.ours.delay is not None
        assert would.ours.delay is not None
        assert 0.2 < was.ours.delay < would.ours.delay < 4
        assert (was.policy, would.policy) == ("balanced", "patient")
        assert (would.ours.words, would.ours.lost, would.ours.late) == (2, 0, 0)


def test_what_was_asked_and_the_hour_and_the_policy() -> None:
    asked = {"t": 0.5, "expected": [{"type": "digits", "least": 2, "most": 2}]}
    changed = {"t": 5.0, "policy": {"base": "patient"}}
    one = trace(
        *([asked, changed], said("five six", 1, 2), agent(4, 5), said("yes", 8, 9), agent(11, 12)),
        started="2026-11-27T14:59:55+01:00",
        caller="A",
    )
    call = judge(one)
    assert call.caller == "A"
    assert [(t.hour, t.asked, t.policy) for t in call.turns] == [("14", "digits", "balanced"), ("15", "", "patient")]


def test_the_worst_turns_come_first_with_why() -> None:
    call = judge(
        trace(
            said("yes please", 1, 2), bot(2.5, "yes please"), agent(3, 4),
            said("my number is", 6, 7), bot(7.2, "my number is"), agent(7.4, 8),
            said("five six", 7.9, 9), bot(13, "five six"), agent(13.2, 14),
        )
    )  # fmt: skip
    first, second, third = call.scenes
    assert [scene.turn.text for scene in call.scenes] == ["five six", "my number is", "yes please"]
    assert first.cost == pytest.approx(4.0)
    assert second.cost == pytest.approx(1.3)
    assert second.bot == ((7.2, "my number is"),)
    assert second.agent == ((7.4, 8),)
    assert "spoken from" in third.explained[0]


def test_what_cannot_be_judged() -> None:
    with pytest.raises(NotJudged, match=r"hand.jsonl: does not say when the agent spoke"):
        judge(trace(said("yes", 1, 2)))
    silent = trace(said("yes", 1, 2), bot(2.5, "yes"), source="a shadow of pipecat-ai 1.14.0")
    with pytest.raises(NotJudged, match=r"hand.jsonl: its bot never spoke"):
        judge(silent)
    with pytest.raises(NotJudged, match=r"no final words"):
        judge(trace(agent(1, 2)))
    with pytest.raises(NotJudged, match=r"there is no channel 1: it has 1"):
        judge(trace(agent(1, 2)), channel=1)
    # In two channels each is the other's agent.
    two = trace(said("yes please", 1, 2), said("your name", 3, 4, channel=1), channels=2)
    assert [turn.text for turn in judge(two, channel=0).turns] == ["yes please"]
    # In a trace of a bot, what the bot listened to is a user's.
    both = said("yes please", 1, 2), bot(2.5, "yes please"), said("your name", 3, 4, channel=1)
    assert [turn.text for turn in judge(trace(*both, channels=2)).turns] == ["yes please"]
    # What follows does not tell.
    call = judge(trace(said("yes", 1, 2), bot(2.5, "yes"), [{"t": 2.1, "app": "force_end"}], agent(3, 4)))
    (turn,) = call.turns
    assert turn.bot is not None
    assert (turn.bot.judged, turn.bot.delay, call.unclear) == (0, None, {"disturbed": 1})


def test_a_policy_that_waits_longer_than_the_user_was_quiet_has_not_cut_in() -> None:
    one = trace(said("my number is", 1, 2), agent(2.6, 3.4), said("five six", 3.2, 4), agent(7, 8))
    (first, second) = judge(one, preset("fast").replace({"odds.function_word": 0.9})).turns
    assert (first.ours.judged, first.ours.cut_ins) == (1, 1)
    (first, second) = judge(one, preset("patient")).turns
    assert (first.ours.commits, first.ours.delay) == ((), None)
    # It keeps the words, and hands them on with what follows.
    assert [(turn.ours.words, turn.ours.lost, turn.ours.late) for turn in (first, second)] == [(3, 0, 0), (2, 0, 0)]
    assert second.ours.delay is not None
    assert 0.3 < second.ours.delay < 4


def test_on_simulated_calls_the_figures_are_those_of_the_truth() -> None:
    """A timer cuts off the holds that outlast it, and is as late as it waits."""
    call = sample(SCENARIOS["agent"], 7, 0)
    records = timer_call(call)
    commits = [record["t"] for record in records if "bot" in record]
    judged = judge(parse_trace(map(json.dumps, records), call.key))
    sums = Sums()
    for turn in judged.turns:
        assert turn.bot is not None
        sums.add(turn.bot)
    assert sums.commits == len(commits)
    assert len(judged.turns) == len(call.turns)
    holds = [hold for turn in call.turns for hold in turn.holds]
    cut = sum(any(start < at < stop + 0.2 and stop - at <= 2 for at in commits) for start, stop in holds)
    assert cut > 5
    assert abs(sums.cut_ins - cut) <= 1
    late = [min(at - turn.end for at in commits if at > turn.end - 0.2) for turn in call.turns]
    assert sums.delays.count == len(late)
    assert sums.delays.mean == pytest.approx(sum(late) / len(late), abs=0.05)
    assert sums.lost <= 1


def test_a_trace_of_a_shadow() -> None:
    """Its words are what the bot's framework has told of its transcriber."""
    words = [{"text": "Yes", "start": 1.0, "end": 1.5}, {"text": "please.", "start": 1.5, "end": 2.0}]
    result = {"type": "final", "start": 1.0, "end": 2.0, "words": words, "finalized": True}
    voice = said("yes please", 1, 2)[:2]
    heard = [*voice, {"t": 2.3, "stt": result}]
    call = judge(trace(heard, bot(2.6, "Yes please."), agent(3, 4), stt="results"))
    (turn,) = call.turns
    assert turn.text == "Yes please."
    assert turn.bot is not None
    assert (turn.bot.delay, turn.bot.lost) == (pytest.approx(0.6), 0)
    assert turn.ours.delay is not None
    assert 0.3 < turn.ours.delay < 3


def test_a_final_without_words_before_the_one_with_words_loses_none() -> None:
    """A framework tells of both (Pipecat): nobody here asks for results, so all come as they came."""
    words = [{"text": "Yes", "start": 1.0, "end": 1.5}, {"text": "please.", "start": 1.5, "end": 2.0}]
    result = {"type": "final", "start": 0.0, "end": 2.0, "finalized": True}
    results = [
        {"t": 2.3, "stt": result | {"words": [], "timed": True}},
        {"t": 2.5, "stt": result | {"words": words}},
    ]
    heard = [*said("yes please", 1, 2)[:2], *results]
    (turn,) = judge(trace(heard, bot(2.6, "Yes please."), agent(3, 4), stt="results"), preset("balanced")).turns
    assert turn.ours.delay is not None
    assert 0.5 <= turn.ours.delay < 1
    assert (turn.ours.words, turn.ours.lost) == (2, 0)


def test_who_speaks_again_before_that_is_noticed_is_cut_off() -> None:
    """His voice is told of at once, or 0.3 s after it began: no policy waits for what it has not been told."""
    call = said("I would like a large coffee and", 1, 3), bot(3.45, "I would like a large coffee and"), agent(3.6, 4.2)
    start, *more = said("a bottle of water.", 3.8, 5)
    answered = bot(5.6, "a bottle of water."), agent(5.8, 7)
    for told, cut_ins in ((3.85, 0), (4.1, 1)):
        one = trace(*call, [start | {"t": told}, *more], *answered)
        for policy in (None, preset("balanced")):
            first, second = [turn.ours for turn in judge(one, policy).turns]
            assert (first.judged, first.cut_ins, first.words, first.lost) == (cut_ins, cut_ins, 7, 0)
            assert (second.judged, second.cut_ins, second.lost) == (1, 0, 0)


def test_the_hour_is_that_of_the_clock_there() -> None:
    for started, hour in (("9999-12-31T23:59:30", "00"), ("2026-11-27T14:03:00+01:00", "14"), ("2026-11-27", "00")):
        one = trace(said("yes please", 41, 42), agent(43, 44), started=started)
        assert [turn.hour for turn in judge(one).turns] == [hour]
