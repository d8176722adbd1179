"""From a turn to a decision: literal verdicts in, a literal decision out."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from hearout_policies import Opinion, Policy, TurnView, Verdict
from hearout_policies.clock import Clock
from hearout_policies.decision import Decision, combine, completed, decide, forced_verdict, view_of
from hearout_policies.events import Timings, TurnStarted
from hearout_policies.finalizes import Finalizes, Request
from hearout_policies.signals import LinkRestored, Transcript
from hearout_policies.text import Ending
from hearout_policies.told import Told
from hearout_policies.turn import Turn
from hearout_policies.voice import Voice
from hearout_policies.words import Words
from tests.kit.turns import final, interim

VIEW = TurnView()


def decided(
    *verdicts: Verdict, cap: float = 99.0, held: bool = False, suspected: float = -math.inf
) -> tuple[float, str, float]:
    named = [(name, verdict) for name, verdict in zip("abc", verdicts, strict=False)]
    decision = combine(VIEW, named, cap, held=held, suspected=suspected)
    return decision.when, decision.reason, decision.evident


def test_the_first_deadline_but_not_before_the_last_hold() -> None:
    assert decided(Verdict(3.0), Verdict(2.0), Verdict(4.0)) == (2.0, "b", 2.0)
    assert decided(Verdict(3.0, 1.0), Verdict(2.0, 2.5), Verdict(hold=1.5)) == (2.5, "b", 2.0)
    assert decided(Verdict(2.0), Verdict(2.0)) == (2.0, "a", 2.0), "of equal ones the first"


def test_the_safety_net_outranks_them() -> None:
    assert decided(Verdict(3.0), cap=2.9) == (2.9, "safety_net", 3.0)
    assert decided(Verdict(3.0), cap=3.0) == (3.0, "a", 3.0)
    assert decided(Verdict(3.0, hold=math.inf), cap=9.0) == (9.0, "safety_net", 3.0)
    assert decided(cap=9.0) == (9.0, "safety_net", math.inf)


def test_the_application_may_hold() -> None:
    assert decided(Verdict(3.0), held=True, cap=50.0) == (50.0, "safety_net", 3.0)


def test_an_answer_may_be_waited_for() -> None:
    assert combine(VIEW, [("a", Verdict(3.0, 2.0))], 9.0, hold=3.5).when == 3.5
    assert combine(VIEW, [("a", Verdict(3.0, 2.0))], 9.0, hold=2.5).when == 3.0
    view = TurnView(now=2.0, opened=1.0, speech_end=1.5)
    assert decide(view, Policy(), forced=2.0, held=False, hold=9.0, suspected=-math.inf).when == 2.0


def test_the_rule_that_decides_knows_the_border() -> None:
    border, other = ("a", Verdict(2.0, border=True)), ("b", Verdict(1.9))
    assert combine(VIEW, [border], 9.0).border
    assert not combine(VIEW, [border, other], 9.0).border
    assert not combine(VIEW, [border], 1.0).border, "the safety net knows none"


def test_the_first_that_asks() -> None:
    assert combine(VIEW, [("a", Verdict(finalize=3.0)), ("b", Verdict(finalize=2.0))], 9.0).ask == 2.0
    assert combine(VIEW, [("a", Verdict(3.0))], 9.0).ask == math.inf


@pytest.mark.parametrize(("suspected", "when"), [(1.9, 2.0), (2.1, 2.1), (2.29, 2.29), (2.31, 2.3), (9.0, 2.3)])
def test_a_suspicion_puts_an_end_off_by_0_3_s_at_most(suspected: float, when: float) -> None:
    decision = combine(VIEW, [("a", Verdict(2.0))], 99.0, suspected=suspected)
    assert decision.when == pytest.approx(when)
    assert decision.put_off is (when > 2.0)
    told = [Opinion("a", 2.0, None)]
    assert list(decision.opinions) == told + ([Opinion("suspicion", None, decision.when)] if when > 2.0 else [])


def test_a_suspicion_does_not_outrank_the_safety_net() -> None:
    decision = combine(VIEW, [("a", Verdict(2.0))], 2.1, suspected=2.2)
    assert (decision.when, decision.reason, decision.put_off) == (2.1, "safety_net", False)


def test_opinions_are_told_in_the_policy_s_order() -> None:
    decision = combine(VIEW, [("b", Verdict(2.0, 1.0)), ("a", Verdict(hold=3.0, finalize=1.0))], 9.0)
    assert decision.opinions == (Opinion("b", 2.0, 1.0), Opinion("a", None, 3.0))


# The safety net


def net(view: TurnView, *, held: bool = False) -> float:
    policy = replace(Policy().replace({"max_turn": 30, "max_silence": 5}), rules=())
    return decide(view, policy, forced=None, held=held, suspected=-math.inf).when


def test_no_turn_is_longer_than_the_longest() -> None:
    assert net(TurnView(opened=1.0, speaking=True, last_growth=2.0)) == 31.0
    assert net(TurnView(opened=1.0, speech_end=29.0, last_growth=2.0)) == 31.0
    assert net(TurnView(opened=1.0, speech_end=2.0, last_growth=2.0), held=True) == 31.0


def test_no_turn_outlasts_the_longest_silence() -> None:
    assert net(TurnView(opened=1.0, speech_end=3.0, last_growth=2.0)) == 8.0
    assert net(TurnView(opened=1.0, speech_end=3.0, last_growth=4.0)) == 9.0
    assert net(TurnView(opened=1.0, last_growth=1.0)) == 6.0


# A forced end


def forced(view: TurnView) -> float | None:
    assert forced_verdict(view, 5.0).hold is None
    return forced_verdict(view, 5.0).deadline


def test_a_forced_end_is_at_once_when_nothing_is_owed() -> None:
    assert forced(TurnView(finalize_timeout=1.2)) == 5.0


def test_a_forced_end_waits_for_the_answer_to_its_finalize() -> None:
    view = TurnView(unfinalised=True, finalize_timeout=1.2)
    assert forced(view) == pytest.approx(6.2)
    assert forced(replace(view, latest_request=Request(5.1, 5.0, 4.9))) == pytest.approx(6.3)
    assert forced(replace(view, latest_request=Request(4.0, 4.0, 3.9))) == pytest.approx(6.2)
    assert forced(replace(view, latest_request=Request(5.0, 5.0, 4.9, backlog=2.0))) == pytest.approx(8.2)


def test_a_forced_end_takes_an_answer_that_came_after_it() -> None:
    view = TurnView(unfinalised=True, finalize_timeout=1.2)
    assert forced(replace(view, latest_request=Request(4.9, 4.9, 4.8, answered=5.0))) == 5.0
    assert forced(replace(view, latest_request=Request(4.9, 4.9, 4.8, answered=5.4))) == 5.4
    assert forced(replace(view, latest_request=Request(4.0, 4.0, 3.9, answered=4.9))) == pytest.approx(6.2)


def test_a_forced_end_asks_no_rule_and_knows_no_hold() -> None:
    view = TurnView(opened=1.0, speech_end=4.9, last_growth=4.9, text="and", words=1, ending=Ending.CONJUNCTION)
    decision = decide(view, Policy(), forced=5.0, held=True, suspected=9.0)
    assert (decision.when, decision.reason, decision.suspected) == (5.0, "force_end", -math.inf)
    assert [name for name, _ in decision.verdicts] == ["force_end"]


def test_all_rules_of_the_policy_judge() -> None:
    decision = decide(TurnView(speech_end=1.0), Policy(), forced=None, held=False, suspected=-math.inf)
    assert [name for name, _ in decision.verdicts] == ["endpointing", "utterance_end", "finalize_on_silence", "silence"]


# The view


def turn(*results: Transcript, voice: Voice | None = None) -> Turn:
    out = Turn(Told(TurnStarted(1, 0, 0.6, 0.5, agent_speaking=True, continues=7)), Words(0.6), voice)
    for result in results:
        out.add(result, heard=result.at)
    return out


def clock(now: float, offset: float = 0.0) -> Clock:
    out = Clock()
    out.now, out.offset = now, offset
    return out


def test_what_a_rule_sees() -> None:
    finalizes = Finalizes()
    finalizes.restored(LinkRestored(2.0, audio=0.5))
    request = finalizes.send(clock(2.3), 2.0, still=False)
    voice = Voice(0.5, 2.2, 2.0)
    seen = view_of(
        turn(final(1.2, "call me", 0.5, 1.1), interim(2.25, "now?", 1.1, 1.9), voice=voice),
        clock(2.5, offset=0.1),
        finalizes,
        Policy().replace({"finalize_timeout": 2}),
        ended=2.4,
    )
    assert (seen.owed, seen.backlog) == pytest.approx((0.9, (2.4 - 0.5) / 1.25 - 0.5))
    assert seen == TurnView(
        now=2.5,
        opened=0.6,
        speaking=False,
        vad=True,
        speech_end=2.1,
        last_growth=2.25,
        last_words=2.25,
        last_result=1.2,
        text="call me now?",
        words=3,
        pending=1,
        ending=Ending.QUESTION,
        odds=0.84,
        evidence=(("question", 0.84),),
        unfinalised=True,
        quiet=False,
        owed=seen.owed,
        observed=0.0,
        endpoint=None,
        utterance_end=None,
        request=request,
        latest_request=request,
        link=True,
        ended=2.4,
        backlog=seen.backlog,
        finalize_timeout=2.0,
    )


def test_what_a_rule_sees_without_a_voice() -> None:
    finalizes = Finalizes()
    finalizes.lost()
    seen = view_of(turn(final(1.2, "hello", 0.5, 1.1, sf=True)), clock(2.0), finalizes, Policy(), ended=None)
    assert (seen.vad, seen.speaking, seen.owed, seen.link, seen.backlog) == (False, False, 0.0, False, 0.0)
    assert (seen.endpoint, seen.unfinalised, seen.speech_end) == (1.2, False, 1.1)


def test_without_a_voice_an_answer_says_that_nothing_is_owed() -> None:
    finalizes = Finalizes()
    finalizes.send(clock(2.0), 1.1, still=False)
    hello = turn(final(1.2, "hello", 0.5, 1.1))
    assert view_of(hello, clock(2.1), finalizes, Policy(), ended=None).unfinalised
    finalizes.answer(2.2, 2.0, empty=True)
    assert not view_of(hello, clock(2.2), finalizes, Policy(), ended=None).unfinalised


@pytest.mark.parametrize(("upto", "quiet"), [(1.65, False), (1.75, True)])
def test_0_6_s_of_audio_without_a_word_are_quiet(upto: float, quiet: bool) -> None:
    seen = view_of(turn(final(2.0, "hello", 0.5, 1.1, upto=upto)), clock(2.0), Finalizes(), Policy(), ended=None)
    assert seen.quiet is quiet
    assert seen.observed == pytest.approx(upto - 1.1)


def test_while_no_audio_comes_it_is_quiet() -> None:
    still = clock(2.0)
    still.stall(1.3)
    assert view_of(turn(final(1.4, "hello", 0.5, 1.1)), still, Finalizes(), Policy(), ended=None).quiet


def test_no_more_is_observed_than_there_was_behind_the_newest_word() -> None:
    short_span = Transcript(2.0, final(2.0, "hello", 0.5, 1.5).words, 0.5, 1.0, is_final=True)
    assert view_of(turn(short_span), clock(2.0), Finalizes(), Policy(), ended=None).observed == 0.0
    assert view_of(turn(voice=Voice(0.5, 0.6)), clock(2.0), Finalizes(), Policy(), ended=None).observed == 0.0


def test_unanswered_is_a_voice_that_nobody_has_told_of() -> None:
    view = TurnView(owed=0.5, unfinalised=True, request=Request(1.0, 1.0, 0.9))
    assert view.unanswered
    assert not replace(view, owed=0.0).unanswered
    assert not replace(view, unfinalised=False).unanswered
    assert not replace(view, request=None).unanswered
    assert not replace(view, request=Request(1.0, 1.0, 0.9, answered=1.2)).unanswered


# The event


def decision(view: TurnView) -> Decision:
    return combine(view, [("silence", Verdict(2.6, 2.5))], 9.0)


def test_what_a_completed_turn_tells() -> None:
    over = turn(final(2.3, "uh-huh", 0.5, 1.9), voice=Voice(0.5, 2.2, 2.0))
    over.request = Request(2.25, 2.2, 2.0, answered=2.4)
    told = completed(over, decision(TurnView(now=2.6, speech_end=2.1)), 2.0, backchannel=True)
    assert (told.turn, told.channel, told.at, told.audio_start, told.audio_end) == (1, 0, 2.6, 0.5, 2.0)
    assert (told.text, told.words, told.reason) == ("uh-huh", tuple(over.words.all), "silence")
    assert (told.confirmed, told.agent_speaking, told.backchannel, told.continues) == (True, True, True, 7)
    assert told.timings == Timings(speech_end=2.1, noticed=2.2, finalize_sent=2.25, answered=2.4, decided=2.6)
    assert told.opinions == (Opinion("silence", 2.6, 2.5),)


def test_a_turn_does_not_end_before_it_began() -> None:
    assert completed(turn(final(2.3, "hi", 0.1, 0.3)), decision(TurnView(now=2.6)), 0.3).audio_end == 0.5


def test_when_the_end_was_noticed() -> None:
    by_words = turn(final(2.3, "hello", 0.5, 1.9))
    assert completed(by_words, decision(TurnView(now=3.0, speech_end=1.9)), 1.9).timings.noticed == 2.3
    goes_on = turn(final(2.3, "hello", 0.5, 1.9), voice=Voice(0.5, 0.6))
    told = completed(goes_on, decision(TurnView(now=3.0)), 1.9).timings
    assert (told.noticed, told.speech_end, told.latency) == (None, None, None)


def test_what_is_not_confirmed() -> None:
    whole, pending = turn(final(2.3, "hello", 0.5, 1.9)), turn(interim(2.3, "hello", 0.5, 1.9))
    view = TurnView(now=2.6)
    owed = replace(view, owed=0.5, unfinalised=True, request=Request(1.0, 1.0, 0.9))
    assert completed(whole, decision(view), 1.9).confirmed
    assert not completed(pending, decision(view), 1.9).confirmed
    assert not completed(whole, decision(owed), 1.9).confirmed
    assert completed(whole, decision(replace(view, link=False)), 1.9).confirmed
    assert not completed(whole, decision(replace(view, link=False, unfinalised=True)), 1.9).confirmed
