"""What an application would have asked, that people answered so; and numbers read out with long pauses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random

import numpy as np

from benchmarks.endpointing.conversations import SpokenTurn, SpokenWord
from benchmarks.endpointing.recorded import Recording, Sound
from benchmarks.people.sound import line_noise
from hearout_policies.expect import Code, Date, Digits, Expectation, OneOf, Phone, Spelled

__all__ = ["asked_for", "lengthened"]

_HOUSE = Digits(1, 5)  # nobody knows how many digits the number of a house has
_ZIP = Digits(5)
_PHONE = (7, 10)  # digits
_ENTER = ("enter",)  # a number of any length behind it
_GROUP = 3  # digits, after which who looks a number up pauses
_PAUSE = (1.0, 3.0)  # seconds


def asked_for(recordings: Sequence[Recording]) -> list[Recording]:
    """With what was asked, by the kind of the answer alone: a code has no length, and a house number may go on."""
    texts = {_text(turn) for one in recordings for turn in one.turns}
    words = sorted(text for text in texts if len(text.split()) == 1 and not _HOUSE.read(text).value)
    commands = OneOf(words or ["yes", "no"])

    def asked(turn: SpokenTurn) -> SpokenTurn:
        return replace(turn, asked=_question(_text(turn), commands))

    return [replace(one, turns=tuple(map(asked, one.turns))) for one in recordings]


def _text(turn: SpokenTurn) -> str:
    return " ".join(word.text for word in turn.words)


def _question(text: str, commands: OneOf) -> tuple[Expectation, ...]:
    words = text.split()
    digits = Digits(1, 64).read(text)
    if commands.read(text).final:
        return (commands,)
    if all(len(word) == 1 for word in words):
        return (Spelled(),)
    if Date().read(text).final:
        return (Date(),)
    if digits.state == "complete" and digits.value and not any(len(word) == 1 for word in words):
        if words[0] in _ENTER:
            return (_HOUSE,)
        if len(digits.value) in _PHONE:
            return (Phone(),)
        return (_ZIP,) if len(digits.value) == _ZIP.least else (_HOUSE,)
    return (Code(),)


def lengthened(recordings: Sequence[Recording]) -> list[Recording]:
    """Those in which a number of five digits or more is read out, with pauses of 1 to 3 s between its groups."""
    return [_with_pauses(one) for one in recordings if _is_number(one.turns[0])]


def _is_number(turn: SpokenTurn) -> bool:
    """Of as many digits as are expected: a ZIP code, a telephone number."""
    return turn.asked[0] in (_ZIP, Phone())


def _with_pauses(recording: Recording) -> Recording:
    random = Random(f"pauses/{recording.key}")
    (turn,) = recording.turns
    sound, rate = recording.sound, recording.rate
    places = _places(turn.words)
    parts: list[Sound] = []
    words: list[SpokenWord] = []
    holds: list[tuple[float, float]] = []
    by, done = 0.0, 0
    for number, word in enumerate(turn.words):
        words.append(SpokenWord(word.text, round(word.start + by, 3), round(word.end + by, 3)))
        if number + 1 in places:
            following = turn.words[number + 1]
            pause = random.uniform(*_PAUSE)
            more = pause - (following.start - word.end)
            cut = round((word.end + following.start) / 2 * rate)
            parts += [sound[done:cut], line_noise(sound, round(more * rate))]
            done = cut
            holds.append((words[-1].end, round(following.start + by + more, 3)))
            by += more
    parts.append(sound[done:])
    return replace(
        recording, turns=(replace(turn, words=tuple(words), holds=tuple(holds)),), sound=np.concatenate(parts)
    )


def _places(words: Sequence[SpokenWord]) -> set[int]:
    """Numbers of the words before which a pause is put: about every third, where there is most room."""
    gaps = [after.start - before.end for before, after in pairwise(words)]
    places = set()
    for end in range(_GROUP, len(words) - 1, _GROUP):
        near = range(end - 1, min(end + 2, len(words)))
        places.add(max(near, key=lambda place: (gaps[place - 1], -abs(place - end))))
    return places
