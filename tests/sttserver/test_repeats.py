"""What the model wrote of people's recordings, with the frames in which the aligner let the words start."""

from __future__ import annotations

import pytest

from hearout.sttserver.recogniser.repeats import invented


def words(*phrases: tuple[str, list[int]]) -> tuple[list[str], list[int]]:
    texts = [word for phrase, _ in phrases for word in phrase.split()]
    return texts, [start for _, starts in phrases for start in starts]


def test_an_order_that_was_said_once() -> None:
    once = ("Get me a dark roast house coffee.", [62, 168, 180, 189, 205, 234, 256])
    assert invented(*words(once)) is None
    assert invented(*words(once, (once[0], 7 * [270]))) == (range(7, 14), range(7))


def test_three_times_the_first_ones_are_left_out() -> None:
    phrase = "Montreal, uh, forced a liner."
    texts, starts = words((phrase, [63, 120, 120, 120, 120]), (phrase, 5 * [120]), (phrase, [120, 120, 193, 203, 213]))
    left = list(zip(texts, starts, strict=True))
    while twice := invented([text for text, _ in left], [start for _, start in left]):
        del left[twice[0].start : twice[0].stop]
    assert [text for text, _ in left] == phrase.split()


def test_marks_and_capitals_do_not_tell_phrases_apart() -> None:
    assert invented(*words(("Make me a latte,", [10, 20, 30, 40]), ("make me a latte.", 4 * [50]))) == (
        range(4, 8),
        range(4),
    )


def test_where_the_two_share_their_time_the_second_goes() -> None:
    phrase = "Montreal forced um..."
    assert invented(*words((phrase, [62, 116, 156]), (phrase, [156, 156, 189]))) == (range(3, 6), range(3))


@pytest.mark.parametrize(
    ("phrase", "first", "again"),
    [
        ("1, 2, 3,", [433, 459, 462], [487, 503, 517]),
        ("the results,", [943, 950], [1014, 1025]),
        ("regular Chromecast?", [1126, 1143], [1240, 1300]),
        ("5 5", [10, 10], [20, 31]),  # a figure that the aligner gives no time may well have been said
    ],
)
def test_what_was_said_twice_stays(phrase: str, first: list[int], again: list[int]) -> None:
    assert invented(*words((phrase, first), (phrase, again))) is None


def test_a_word_alone_is_soon_said_twice() -> None:
    assert invented(*words(("no no no", [10, 10, 10]), ("thanks", [30]))) is None
    assert invented([], []) is None
