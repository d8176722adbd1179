"""Finalizes and their answers: each is matched with its own."""

from __future__ import annotations

import pytest

from hearout_policies.clock import Clock
from hearout_policies.finalizes import Finalizes, Request
from hearout_policies.signals import LinkRestored


def at(now: float) -> Clock:
    clock = Clock()
    clock.now = now
    return clock


def sent(finalizes: Finalizes, now: float, speech_end: float | None = None) -> Request:
    return finalizes.send(at(now), speech_end, still=False)


def test_an_answer_settles_its_request() -> None:
    finalizes = Finalizes()
    request = sent(finalizes, 2.0, 1.8)
    assert (request.sent, request.audio, request.needs, request.answered) == (2.0, 2.0, 1.8, None)
    assert finalizes.last is request
    assert finalizes.answer(2.3, 2.0, empty=False) is request
    assert (request.answered, request.short) == (2.3, False)
    assert finalizes.answer(2.4, 2.0, empty=True) is None, "answered twice"
    assert finalizes.last is request


def test_speech_that_goes_on_is_needed_up_to_now() -> None:
    finalizes = Finalizes()
    assert sent(finalizes, 2.0).needs == 2.0
    assert sent(finalizes, 3.0, 4.0).needs == 3.0, "no more than was heard"
    assert finalizes.send(at(3.0), 2.0, still=True).still


@pytest.mark.parametrize(("upto", "short"), [(1.7, False), (1.6, True)])
def test_an_answer_with_words_that_stops_before_the_speech_is_short(upto: float, short: bool) -> None:
    """By more than 0.35 s: the end that a provider names may lie a little before the voice's."""
    finalizes = Finalizes()
    request = sent(finalizes, 2.2, 2.0)
    finalizes.answer(2.5, upto, empty=False)
    assert request.short is short


def test_an_empty_answer_is_never_short() -> None:
    finalizes = Finalizes()
    request = sent(finalizes, 2.2, 2.0)
    finalizes.answer(2.5, 0.0, empty=True)
    assert request.short is False


@pytest.mark.parametrize(("upto", "both"), [(2.7, True), (2.6, False)])
def test_an_answer_settles_all_requests_whose_speech_it_covers(upto: float, both: bool) -> None:
    """To within 0.35 s. Providers leave some unanswered."""
    finalizes = Finalizes()
    first, second = sent(finalizes, 2.0, 1.8), sent(finalizes, 3.2, 3.0)
    assert finalizes.answer(3.5, upto, empty=True) is (second if both else first)
    assert (second.answered is not None) is both
    assert first.answered == 3.5


@pytest.mark.parametrize(("upto", "both"), [(2.08, False), (2.12, True)])
def test_an_answer_that_fits_the_first_exactly_is_the_first_one_s(upto: float, both: bool) -> None:
    """To within 0.1 s: a short sound after it is yet to be answered, though it lies within the tolerance."""
    finalizes = Finalizes()
    first, second = sent(finalizes, 2.0, 1.8), sent(finalizes, 2.5, 2.3)
    assert finalizes.answer(2.6, upto, empty=False) is (second if both else first)


@pytest.mark.parametrize(("later", "both"), [(0.3, True), (0.4, False)])
def test_requests_of_nearly_the_same_audio_are_settled_together(later: float, both: bool) -> None:
    """Less than 0.35 s apart they ask for the same."""
    finalizes = Finalizes()
    first, second = sent(finalizes, 2.0, 1.8), sent(finalizes, 2.0 + later, 1.9)
    assert finalizes.answer(2.6, 2.0, empty=True) is (second if both else first)


def test_the_oldest_unanswered_ones_are_given_up() -> None:
    """Eight are remembered: the answer settles the oldest of those, here the second of nine."""
    finalizes = Finalizes()
    requests = [sent(finalizes, 10.0 * n, 10.0 * n) for n in range(1, 10)]
    assert finalizes.answer(95.0, 20.0, empty=True) is requests[1]
    assert requests[0].answered is None


def test_what_a_lost_connection_was_asked_it_will_not_answer() -> None:
    finalizes = Finalizes()
    sent(finalizes, 2.0)
    finalizes.lost()
    assert (finalizes.connected, finalizes.last, finalizes.answer(3.0, 2.0, empty=True)) == (False, None, None)
    finalizes.restored(LinkRestored(4.0, 1.0))
    assert finalizes.connected


def test_a_backlog_is_worked_off_at_the_speed_of_the_replay() -> None:
    finalizes = Finalizes()
    assert finalizes.backlog(at(10.0)) == 0.0
    finalizes.restored(LinkRestored(10.0, audio=5.0, speed=1.25))
    assert finalizes.backlog(at(10.0)) == pytest.approx(4.0)
    assert finalizes.backlog(at(15.0)) == pytest.approx(10 / 1.25 - 5)
    assert finalizes.backlog(at(40.0)) == 0.0
    assert sent(finalizes, 10.0).backlog == pytest.approx(4.0)
    finalizes.lost()
    assert finalizes.backlog(at(15.0)) == 0.0
    finalizes.restored(LinkRestored(10.0, audio=5.0, speed=None))
    assert finalizes.backlog(at(10.0)) == 0.0, "as fast as it is taken"
    finalizes.restored(LinkRestored(10.0, audio=5.0))
    assert finalizes.backlog(at(10.0)) == pytest.approx(4.0), "unless said otherwise, 1.25 times real time"
