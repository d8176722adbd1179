"""The evidence about one turn, and what it says. Everything here happens without the machine."""

from __future__ import annotations

import pytest

from hearout_policies.clock import Clock
from hearout_policies.events import TurnStarted
from hearout_policies.evidence import Evidence
from hearout_policies.finalizes import Request
from hearout_policies.language import language
from hearout_policies.signals import Transcript, UtteranceEnd, Word
from hearout_policies.text import Ending
from hearout_policies.told import Told
from hearout_policies.turn import Turn
from hearout_policies.voice import Voice
from hearout_policies.words import Words
from tests.kit.turns import final, interim


def opened(*results: Transcript, voice: Voice | None = None, at: float = 0.6) -> Turn:
    """A turn that began at 0.5 of the audio, which had these results."""
    turn = Turn(Told(TurnStarted(1, 0, at, 0.5)), Words(at), voice)
    for result in results:
        turn.add(result, heard=result.at)
    return turn


def spoke(stop: float | None = 2.0, noticed: float = 2.2) -> Voice:
    return Voice(0.5, noticed, stop)


def call_me(at: float = 2.1, end: float = 1.9, *, sf: bool = False) -> Transcript:
    """A final result whose last word ends there."""
    return final(at, "call me", 0.5, end, sf=sf)


# Endpoints


def test_an_endpoint_that_covers_words_and_voice_counts() -> None:
    turn = opened(call_me(sf=True), voice=spoke())
    assert turn.said.endpoint_at(turn.words, turn.voice) == 2.1
    assert turn.unfinalised(None) is False


@pytest.mark.parametrize(("end", "counts"), [(2.04, True), (2.06, False)])
def test_an_endpoint_before_the_newest_word_does_not(end: float, counts: bool) -> None:
    turn = opened(call_me(end=end), voice=Voice(0.5, 0.6))
    turn.said.endpoint = Evidence(2.1, 2.0, turn.voice)
    assert (turn.said.endpoint_at(turn.words, turn.voice) is not None) is counts


@pytest.mark.parametrize(("reach", "counts"), [(1.7, True), (1.6, False)])
def test_an_endpoint_before_the_end_of_the_voice_does_not(reach: float, counts: bool) -> None:
    """By more than 0.35 s: it needs silence, so it may lie a little before."""
    turn = opened(call_me(end=1.5), voice=spoke(2.0))
    turn.said.endpoint = Evidence(2.1, reach, turn.voice)
    assert (turn.said.endpoint_at(turn.words, turn.voice) is not None) is counts


def test_an_endpoint_counts_no_more_once_a_word_or_speech_comes_behind_it() -> None:
    turn = opened(call_me(sf=True))
    assert turn.said.endpoint_at(turn.words, turn.voice) == 2.1
    turn.add(interim(2.5, "now", 2.1, 2.4), heard=2.5)
    assert turn.said.endpoint_at(turn.words, turn.voice) is None, "a word is pending"
    turn.add(final(2.6, "now", 2.1, 2.4), heard=2.6)
    assert turn.said.endpoint_at(turn.words, turn.voice) is None, "a word is behind it"
    turn = opened(call_me(sf=True), voice=spoke())
    turn.voice = Voice(2.3, 2.4)
    assert turn.said.endpoint_at(turn.words, turn.voice) is None


def test_an_endpoint_about_the_time_before_the_voice_is_no_news() -> None:
    turn = opened(call_me(), voice=Voice(2.3, 2.4))
    turn.add(final(2.5, "", 1.9, 2.2, sf=True), heard=2.5)
    assert turn.said.endpoint is None
    turn.add(final(2.6, "", 1.9, 2.3, sf=True), heard=2.6)
    assert turn.said.endpoint_at(turn.words, turn.voice) == 2.6


def test_an_endpoint_of_nothing_is_nothing() -> None:
    assert opened(final(1.0, "", 0.0, 0.9, sf=True)).said.endpoint is None
    turn = opened(final(1.0, "", 0.0, 0.9, sf=True), voice=spoke(0.8))
    assert turn.said.endpoint_at(turn.words, turn.voice) == 1.0


def test_on_an_answer_the_flag_means_nothing() -> None:
    assert opened(final(2.1, "call me", 0.5, 1.9, sf=True, ff=True)).said.endpoint is None


def test_an_endpoint_reaches_as_far_as_its_words_and_no_further_than_what_was_heard() -> None:
    turn = opened(Transcript(2.1, (Word("me", 1.5, 1.9),), 0.5, 1.6, True, endpoint=True))
    assert turn.said.endpoint == Evidence(2.1, 1.9, None)
    turn = opened(final(2.1, "me", 0.5, 1.9, upto=9.0, sf=True))
    assert turn.said.endpoint == Evidence(2.1, 2.1, None)


# Utterance ends


@pytest.mark.parametrize(("end", "counts"), [(1.86, True), (1.84, False)])
def test_an_utterance_end_counts_when_it_reaches_the_newest_word(end: float, counts: bool) -> None:
    turn = opened(call_me(end=1.9))
    turn.said.utterance_ended(UtteranceEnd(3.0, end), 9.0, turn.words, turn.voice)
    assert turn.said.utterance_end_at(turn.words, turn.voice) == (3.0 if counts else None)


def test_an_utterance_end_is_overtaken_by_words_and_by_speech() -> None:
    turn = opened(call_me())
    turn.said.utterance_ended(UtteranceEnd(3.0, 1.9), 9.0, turn.words, turn.voice)
    turn.add(interim(3.1, "now", 2.1, 2.4), heard=3.1)
    assert turn.said.utterance_end_at(turn.words, turn.voice) is None
    turn = opened(call_me())
    turn.said.utterance_ended(UtteranceEnd(3.0, 1.9), 9.0, turn.words, turn.voice)
    turn.voice = Voice(2.9, 3.1)
    assert turn.said.utterance_end_at(turn.words, turn.voice) is None


def test_an_utterance_end_counts_for_the_words_before_it_that_come_after_it() -> None:
    turn = opened(call_me(end=1.9))
    turn.said.utterance_ended(UtteranceEnd(3.0, 2.3), 9.0, turn.words, turn.voice)
    turn.add(final(3.1, "now", 2.0, 2.3), heard=3.1)
    assert turn.said.utterance_end_at(turn.words, turn.voice) == 3.0


def test_an_utterance_end_speaks_of_no_audio_that_was_not_heard() -> None:
    turn = opened(call_me(end=1.9))
    turn.said.utterance_ended(UtteranceEnd(2.0, 1e9), 2.0, turn.words, turn.voice)
    assert turn.said.utterance_end_at(turn.words, turn.voice) == 2.0
    turn.add(final(2.6, "now", 1.9, 2.5), 2.6)
    assert turn.said.utterance_end_at(turn.words, turn.voice) is None


def test_a_stale_utterance_end_takes_nothing_back() -> None:
    turn = opened(call_me())
    turn.said.utterance_ended(UtteranceEnd(3.0, 1.9), 9.0, turn.words, turn.voice)
    turn.said.utterance_ended(UtteranceEnd(3.2, 1.0), 9.0, turn.words, turn.voice)
    assert turn.said.utterance_end_at(turn.words, turn.voice) == 3.0


def test_an_utterance_end_about_the_time_before_the_voice_is_stale() -> None:
    turn = opened(call_me(), voice=Voice(2.3, 2.4))
    turn.said.utterance_ended(UtteranceEnd(3.0, 1.9), 9.0, turn.words, turn.voice)
    assert turn.said.utterance_end is None
    turn.said.utterance_ended(UtteranceEnd(3.1, 2.3), 9.0, turn.words, turn.voice)
    assert turn.said.utterance_end_at(turn.words, turn.voice) == 3.1


def test_minus_one_counts_when_all_words_are_final() -> None:
    for turn, counts in (
        (opened(call_me()), True),
        (opened(call_me(), voice=Voice(2.3, 2.4)), True),
        (opened(interim(2.1, "call me", 0.5, 1.9)), False),
        (opened(call_me(), interim(2.5, "now", 2.1, 2.4)), False),
        (opened(voice=spoke()), False),
    ):
        turn.said.utterance_ended(UtteranceEnd(3.0, None), 9.0, turn.words, turn.voice)
        assert turn.said.utterance_end_at(turn.words, turn.voice) == (3.0 if counts else None)


def test_words_without_times_may_end_early_in_their_span() -> None:
    """They are laid out over it; an utterance end behind its start may well be about the last of them."""
    turn = opened(Transcript(2.1, (Word("now", 1.0, 1.9),), 1.0, 1.9, True, timed=False))
    turn.said.utterance_ended(UtteranceEnd(3.0, 1.2), 9.0, turn.words, turn.voice)
    assert turn.said.utterance_end == Evidence(3.0, 1.9, None)
    assert turn.said.utterance_end_at(turn.words, turn.voice) == 3.0


# The end of speech


@pytest.mark.parametrize(("newest", "end"), [(2.15, 2.0), (2.25, 2.25)])
def test_the_end_of_speech_is_the_voice_s_unless_words_outlast_it(newest: float, end: float) -> None:
    """By more than 0.2 s."""
    assert opened(call_me(2.5, newest), voice=spoke(2.0)).speech_end == end


def test_the_end_of_speech_without_a_voice_is_the_newest_word_s() -> None:
    assert opened(call_me(end=1.9)).speech_end == 1.9
    assert opened(call_me(end=1.9), voice=Voice(0.5, 0.6)).speech_end is None
    assert opened().speech_end is None


def ended_at(turn: Turn, offset: float = 0.0) -> float | None:
    clock = Clock()
    clock.offset = offset
    return turn.ended_at(clock)


def test_when_speech_ended_on_the_session_clock() -> None:
    assert ended_at(opened(call_me(), voice=spoke(2.0)), offset=0.1) == 2.1
    assert ended_at(opened(call_me(), voice=Voice(0.5, 0.6))) is None
    assert ended_at(opened()) == 0.6, "nothing was heard but that it began"
    assert ended_at(opened(call_me(end=1.9))) == 1.9


def test_speech_did_not_end_after_the_last_that_was_heard_of_it() -> None:
    assert ended_at(opened(call_me(2.1), voice=spoke(2.0, noticed=2.2)), offset=5.0) == 2.2
    assert ended_at(opened(call_me(2.1)), offset=5.0) == 2.1


def test_without_a_voice_a_word_is_shown_soon_after_it_was_spoken() -> None:
    """1.5 s at most; else the clocks disagree, and speech ended later than its times say."""
    assert ended_at(opened(call_me(4.0, end=1.0))) == pytest.approx(2.5)
    assert ended_at(opened(call_me(4.0, end=1.0), voice=spoke(1.1))) == 1.1


def test_no_word_ends_behind_what_was_heard() -> None:
    assert opened(final(2.1, "hello", 0.5, 9.0)).speech_end == 2.1


def test_seconds_of_speech() -> None:
    assert opened(call_me(end=1.9)).speech(9.0) == pytest.approx(1.4)
    assert opened().speech(9.0) == 0.0
    assert opened(voice=spoke(2.0)).speech(9.0) == 1.5
    assert opened(final(1.0, "me", 0.1, 0.4)).speech(9.0) == 0.0


# What is owed


@pytest.mark.parametrize(("covered", "owes"), [(1.92, False), (1.87, True)])
def test_the_transcriber_owes_what_finals_do_not_cover_of_the_voice(covered: float, owes: bool) -> None:
    """By more than 0.1 s."""
    assert opened(call_me(end=covered), voice=spoke(2.0)).unfinalised(None) is owes


def test_it_owes_while_words_are_pending_and_while_somebody_speaks() -> None:
    assert opened(interim(2.3, "call me", 0.5, 2.2), voice=spoke()).unfinalised(None)
    assert opened(call_me(), voice=Voice(0.5, 0.6)).unfinalised(None)


def test_without_a_voice_it_takes_evidence_to_owe_nothing() -> None:
    turn = opened(call_me())
    request = Request(2.5, 2.5, 1.9)
    assert turn.unfinalised(None)
    assert turn.unfinalised(request)
    request.answered = 2.7
    assert not turn.unfinalised(request)
    turn.said.utterance_ended(UtteranceEnd(3.0, 1.9), 9.0, turn.words, turn.voice)
    assert not turn.unfinalised(None)


@pytest.mark.parametrize(("reach", "heard_out"), [(1.7, True), (1.6, False)])
def test_whether_the_transcriber_has_heard_all_of_a_voice_without_words(reach: float, heard_out: bool) -> None:
    """To within 0.35 s."""
    assert opened(final(2.1, "", 0.0, reach), voice=spoke(2.0)).heard_out is heard_out


def test_an_answer_says_that_it_has() -> None:
    turn = opened(voice=spoke())
    turn.request = Request(2.2, 2.2, 2.0)
    assert not turn.heard_out
    turn.request.answered = 2.4
    assert turn.heard_out
    assert not opened().heard_out
    assert opened(interim(1.0, "", 0.0, 0.5), voice=Voice(0.5, 0.6)).heard_out, "all that is known of it"


# Whether a Finalize covers the speech


def covers(turn: Turn, request: Request) -> bool:
    return turn.covering(request) is request


def test_what_was_heard_before_a_finalize_it_covers() -> None:
    assert opened(call_me(2.1, end=1.9)).covering(None) is None
    assert covers(opened(call_me(2.1, end=1.9)), Request(2.1, 1.0, 1.0))
    assert covers(opened(voice=spoke(noticed=2.2)), Request(2.2, 1.0, 1.0))
    assert covers(opened(voice=Voice(0.5, 0.6)), Request(0.6, 0.5, 0.5))


@pytest.mark.parametrize(("audio", "covered"), [(2.35, True), (2.25, False)])
def test_without_a_voice_a_pause_must_lie_before_the_finalize(audio: float, covered: bool) -> None:
    """0.3 s: else there were words right up to it, and nobody was silent."""
    turn = opened(call_me(2.6, end=2.0))
    assert covers(turn, Request(2.5, audio, 2.0)) is covered


@pytest.mark.parametrize(("audio", "covered"), [(1.96, True), (1.94, False)])
def test_while_no_audio_comes_there_is_no_pause(audio: float, covered: bool) -> None:
    assert covers(opened(call_me(2.6, end=2.0)), Request(2.5, audio, 2.0, still=True)) is covered


@pytest.mark.parametrize(("audio", "covered"), [(1.96, True), (1.94, False)])
def test_the_end_of_a_voice_and_its_words_must_lie_before_the_finalize(audio: float, covered: bool) -> None:
    assert covers(opened(voice=spoke(2.0, noticed=2.6)), Request(2.5, audio, 1.9)) is covered
    assert covers(opened(call_me(2.6, end=2.0), voice=spoke(1.9)), Request(2.5, audio, 1.9)) is covered


def test_no_finalize_covers_a_voice_that_was_noticed_after_it() -> None:
    assert not covers(opened(call_me(), voice=Voice(2.3, 2.6)), Request(2.5, 2.5, 1.9))


# Small ones


def test_how_the_text_ends() -> None:
    turn = opened(interim(1.0, "how much", 0.5, 1.0))
    english = language("en")
    assert turn.words.ending(english) is Ending.PLAIN
    turn.add(interim(2.0, "how much is it?", 0.5, 2.0), heard=2.0)
    assert turn.words.ending(english) is Ending.QUESTION
    assert turn.words.ending(english) is Ending.QUESTION
    assert opened().words.ending(english) is Ending.NOTHING


def test_the_last_sign_of_speech() -> None:
    assert opened().last_sign == 0.6
    assert opened(call_me(2.1)).last_sign == 2.1
    assert opened(call_me(2.1), voice=spoke(noticed=2.2)).last_sign == 2.2
    assert opened(at=5.0, voice=spoke(noticed=2.2)).last_sign == 5.0


# The provider's border


def test_a_border_is_known_whatever_voice_was_heard_since() -> None:
    turn = opened(call_me(), voice=Voice(2.05, 2.1))
    turn.said.turn_ended(2.1, 2.0, turn.words, turn.voice)
    assert (turn.said.endpoint_at(turn.words, turn.voice), turn.said.border_at(turn.words)) == (None, 2.1)
    turn.add(interim(2.4, "now", 2.1, 2.3), 2.4)
    assert turn.said.border_at(turn.words) is None, "there are words behind it"


@pytest.mark.parametrize(("end", "counts"), [(2.04, True), (2.06, False)])
def test_a_border_before_the_newest_word_does_not_count(end: float, counts: bool) -> None:
    turn = opened(call_me(end=end))
    turn.said.border = Evidence(2.1, 2.0, None)
    assert (turn.said.border_at(turn.words) is not None) is counts


def test_a_border_needs_words() -> None:
    turn = opened(final(2.1, "", 0.5, 1.9, sf=True), voice=Voice(2.05, 2.1))
    turn.said.turn_ended(2.1, 2.0, turn.words, turn.voice)
    assert turn.said.border_at(turn.words) is None


# What was heard being said


def test_words_that_end_where_the_voice_did_were_heard() -> None:
    assert opened(interim(2.1, "call me", 0.5, 1.9), voice=spoke(1.8)).heard_said
    assert not opened(interim(2.1, "call me", 0.5, 1.9), voice=spoke(1.6)).heard_said
    assert not opened(interim(2.1, "call me", 0.5, 1.9), voice=spoke(None)).heard_said
    assert not opened(interim(2.1, "call me", 0.5, 1.9)).heard_said


def test_so_were_words_that_a_finalize_is_out_for() -> None:
    turn = opened(interim(2.1, "call me", 0.5, 1.9), voice=spoke(1.6))
    turn.request = Request(2.2, 2.2, 1.9)
    assert turn.heard_said
    turn.request.answered = 2.4
    assert not turn.heard_said
