"""Phrases that Whisper wrote twice though they were said once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

__all__ = ["invented"]

_WORDS = 2  # of a phrase, at least: a single word, and a figure more so, is soon said twice
_LEAST, _SHARE = 2, 0.5  # of the words of both, so many have no time: two, and half as many as the phrase has


def invented(texts: Sequence[str], starts: Sequence[int]) -> tuple[range, range] | None:
    """A phrase to leave out and the same to keep beside it, where the two have the time of one.

    What is said twice takes time twice. For what was not, the aligner finds no sound: it lets word after word start in
    one place.

    Args:
        texts: words as they are written.
        starts: the frame in which each starts.
    """
    plain = ["".join(filter(str.isalnum, text)).lower() for text in texts]
    timeless = [start >= after for start, after in pairwise(starts)] + [False]
    for size in range(len(plain) // 2, _WORDS - 1, -1):
        for begin in range(len(plain) - 2 * size + 1):
            first, again = range(begin, begin + size), range(begin + size, begin + 2 * size)
            if plain[first.start : first.stop] != plain[again.start : again.stop]:
                continue
            lost = [sum(timeless[place] for place in phrase) for phrase in (first, again)]
            if sum(lost) >= max(_LEAST, _SHARE * size):
                return (first, again) if lost[0] > lost[1] else (again, first)
    return None
