"""What became of the words of a script."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

__all__ = ["Count"]

_NEAR = 0.15  # seconds; a word that is heard farther off is another one


class Count:
    """How often each word of the script was heard, as the application knows it in the end.

    A word is known by its text and its time: the same text at another time is another word.
    """

    def __init__(self, words: Sequence[Sequence[tuple[str, float, float]]], near: float = _NEAR) -> None:
        self._near = near
        self._words = words
        self._starts = [[start for _, start, _ in channel] for channel in words]
        self._heard = [[0] * len(channel) for channel in words]
        self._turns: dict[tuple[int, int], Sequence[Any]] = {}  # the latest turns: these can be amended
        self.invented: list[Any] = []

    def take(self, event: Any) -> None:
        """See what a TurnCompleted or TurnAmended says; a turn is told again as a whole when it is amended."""
        if event.type in ("turn_completed", "turn_amended"):
            key = (event.channel, event.turn)
            self._add(event.channel, self._turns.pop(key, ()), -1)
            self._turns[key] = words = _glued(event.words)
            self._add(event.channel, words, +1)
            while len(self._turns) > 32:
                self._turns.pop(next(iter(self._turns)))

    def _add(self, channel: int, words: Sequence[Any], number: int) -> None:
        for word in words:
            starts, near = self._starts[channel], self._near
            span = range(bisect_left(starts, word.start - near), bisect_right(starts, word.start + near))
            alike = [at for at in span if self._words[channel][at][0] == word.text]
            # Where times are rough, of words that are the same the nearest that was not heard; or was, to take it back.
            fitting = [at for at in alike if (self._heard[channel][at] > 0) == (number < 0)] or alike
            if fitting:
                self._heard[channel][min(fitting, key=lambda at: abs(starts[at] - word.start))] += number
            else:
                self.invented += [word] * max(number, 0)

    def _which(self, wanted: Callable[[int], bool]) -> list[tuple[str, float, float]]:
        pairs = zip(self._words, self._heard, strict=True)
        return [word for words, heard in pairs for word, n in zip(words, heard, strict=True) if wanted(n)]

    @property
    def lost(self) -> list[tuple[str, float, float]]:
        return self._which(lambda n: n == 0)

    @property
    def doubled(self) -> list[tuple[str, float, float]]:
        return self._which(lambda n: n > 1)


def _glued(words: Sequence[Any]) -> list[Any]:
    """Words that came in parts, as one."""
    out: list[Any] = []
    for word in words:
        if out and not word.spaced:
            out[-1] = replace(out[-1], text=out[-1].text + word.text, end=word.end)
        else:
            out.append(word)
    return out
