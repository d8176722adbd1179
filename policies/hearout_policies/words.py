"""The words of one turn: finals, then what is still interim, in audio order.

Conservation of words lives here. A final word stays for ever; an interim word stays until a result that covers
its audio replaces it. Words are told apart by their audio times, never by their text: two equal sentences are
two utterances.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import replace

from hearout_policies.signals import Word

__all__ = ["Words", "join", "middle", "respread", "spread"]


_HEAD = 0.5  # seconds by which the head of a segment may move when it is revised


def middle(word: Word) -> float:
    """The audio time that decides where a word belongs."""
    return (word.start + word.end) / 2


def join(words: Iterable[Word]) -> str:
    """The text of ``words``."""
    text = ""
    for word in words:
        text += f" {word.text}" if word.spaced and text else word.text
    return text


def spread(texts: Sequence[str], start: float, end: float) -> tuple[Word, ...]:
    """Words that have no times of their own, evenly from ``start`` to ``end``."""
    step = (end - start) / max(1, len(texts))
    return tuple(Word(text, start + i * step, start + (i + 1) * step) for i, text in enumerate(texts))


def respread(words: Sequence[Word], start: float, end: float) -> tuple[Word, ...]:
    """The same for words that were laid out before."""
    places = spread([word.text for word in words], start, end)
    return tuple(replace(word, start=at.start, end=at.end) for word, at in zip(words, places, strict=True))


class Words:
    """Collects the results of one turn.

    Attributes:
        finals: final words, in audio order.
        pending: interim words that no final result has covered yet, in audio order.
        kept: interim words that no final result ever will cover: their audio went down with a connection.
        covered: audio time up to which results are final.
    """

    __slots__ = ("_newest_end", "_text", "covered", "finals", "kept", "pending")

    def __init__(self) -> None:
        self.finals: list[Word] = []
        self.pending: list[Word] = []
        self.kept: list[Word] = []
        self.covered = float("-inf")
        self._text: str | None = ""  # None: to be put together anew; likewise the end
        self._newest_end: float | None = None

    def add_final(self, words: Sequence[Word], start: float, end: float) -> None:
        """Final ``words`` of a result with this span: they take the place of the interim there."""
        for word in words:
            insort(self.finals, word, key=lambda w: w.start)
        reach = max([end, *(w.end for w in words)])
        self.covered = max(self.covered, reach)
        self.pending = self._outside(start, reach)
        self._text = None

    def set_interim(self, words: Sequence[Word], start: float, end: float) -> None:
        """Interim ``words`` of a result with this span; what lies outside of it stays pending.

        Words that final results cover already are stale (an interim overtaken by its final) and left out.
        """
        reach = max([end, *(w.end for w in words)])
        kept = self._outside(start, reach)
        self.pending = sorted([w for w in words if middle(w) >= self.covered] + kept, key=lambda w: w.start)
        self._text = None

    def _outside(self, start: float, end: float) -> list[Word]:
        """The pending words that a result with this span says nothing about."""
        if start <= self.covered + _HEAD:
            start = float("-inf")  # the segment next to the finals: all that is pending began in it
        return [w for w in self.pending if middle(w) < start - _HEAD or middle(w) >= end]

    def keep(self, before: float) -> None:
        """Nobody will ever finalise the audio before ``before`` that is not final yet: keep its words as they are."""
        self.kept += [w for w in self.pending if middle(w) < before]
        self.pending = [w for w in self.pending if middle(w) >= before]
        self._text = None

    @property
    def all(self) -> list[Word]:
        """Finals and what was kept, then pending."""
        settled = sorted(self.finals + self.kept, key=lambda w: w.start) if self.kept else self.finals
        return settled + self.pending

    @property
    def confirmed(self) -> bool:
        """All words are final."""
        return not (self.pending or self.kept)

    @property
    def text(self) -> str:
        """The text so far."""
        if self._text is None:
            self._renew()
        assert self._text is not None
        return self._text

    @property
    def newest_end(self) -> float | None:
        """Audio time at which the newest word ends; None without words."""
        if self._text is None:
            self._renew()
        return self._newest_end

    def _renew(self) -> None:
        self._text = join(self.all)
        self._newest_end = max((w.end for w in self.all), default=None)

    def __len__(self) -> int:
        return len(self.finals) + len(self.kept) + len(self.pending)
