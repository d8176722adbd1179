"""ElevenLabs' partial and committed texts as results.

A commit is answered by its text and, a little later, by the same text with the times of its words; in order, but the
second may come first, late, twice or not at all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from hearout.fields import field_of, objects_of, span_of
from hearout.transcribers.base import Heard, ProviderNews, StreamFinished
from hearout.writing import printable
from hearout_policies.signals import Transcript, Word
from hearout_policies.words import spread

__all__ = ["CommitReader"]

_MOST_EARLY = 16  # commits


class CommitReader:
    """Reads the messages of one connection, in order. Pure, but for what it remembers of the commits before.

    Attributes:
        asked: commits that are not answered.
        closing: the last one was asked for.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.closing = False
        self._final = 0.0  # seconds of the connection's clock: so far are there final words
        self._committed: deque[str] = deque()  # texts whose times are to come
        self._early: deque[str] = deque(maxlen=_MOST_EARLY)  # texts that came with their times first
        self._timed: tuple[Word, ...] = ()  # words of the last ones with times
        self._partial: str | None = None  # the latest one
        self._echo: str | None = None  # a committed text, until the next partial

    def partial(self, data: dict[str, Any], at: float, offset: float) -> Iterator[ProviderNews]:
        """A ``partial_transcript``."""
        text = _text(data)
        # Just after a commit its text comes once more, as a partial result.
        echo, self._echo = text == self._echo, None
        if text and not echo and text != self._partial:
            self._partial = text
            yield self._result((*self._committed, text), at, offset)

    def committed(self, data: dict[str, Any], at: float, offset: float) -> Iterator[ProviderNews]:
        """A ``committed_transcript``."""
        text = _text(data)
        partial, self._echo, self._partial = self._partial, text, None
        if text in self._early:
            self._early.remove(text)
            return
        self._committed.append(text)
        if text and text != partial:  # its times may be late: until then it is a result that may change
            yield self._result(self._committed, at, offset)
        yield from self._answer(at, offset)

    def timed(self, data: dict[str, Any], at: float, offset: float) -> Iterator[ProviderNews]:
        """A ``committed_transcript_with_timestamps``."""
        text, words = _text(data), _words(data, offset)
        if not text:
            return  # it was answered when the text without times came
        if words and words == self._timed:
            return  # it was told before
        while self._committed and self._committed[0] != text:  # of these the times have not come
            yield from self._settle(at, offset)
        if self._committed:
            self._committed.popleft()
        else:
            self._early.append(text)
        if not words:
            yield self._result((text,), at, offset, is_final=True)
        else:
            self._timed = words
            start = self._final + offset
            end = max(start, words[-1].end)
            self._final = end - offset
            yield Heard(0, Transcript(at, words, start, end, is_final=True, finalized=True))
        yield from self._answered()
        yield from self._answer(at, offset)

    def nothing_left(self, at: float, offset: float) -> Iterator[ProviderNews]:
        """A commit had nothing behind it."""
        self._committed.append("")
        yield from self._answer(at, offset)

    def _answer(self, at: float, offset: float) -> Iterator[ProviderNews]:
        """The commits that are answered by nothing, and whose turn it is."""
        while self._committed and not self._committed[0]:
            yield from self._settle(at, offset)

    def _settle(self, at: float, offset: float) -> Iterator[ProviderNews]:
        """The oldest committed text, as it is."""
        yield self._result((self._committed.popleft(),), at, offset, is_final=True)
        yield from self._answered()

    def _answered(self) -> Iterator[ProviderNews]:
        self.asked = max(0, self.asked - 1)
        if self.closing and not self.asked:
            yield StreamFinished()

    def _result(self, texts: Sequence[str], at: float, offset: float, *, is_final: bool = False) -> Heard:
        start = self._final + offset
        words = spread(" ".join(texts).split(), start, start)
        return Heard(0, Transcript(at, words, start, start, is_final, finalized=is_final, timed=not words))


def _text(data: dict[str, Any]) -> str:
    return printable(field_of(data, "text", str, "")).strip()


def _words(data: dict[str, Any], offset: float) -> tuple[Word, ...]:
    """The words with their times; between two that are written together there is no item of type "spacing"."""
    words: list[Word] = []
    spaced = True
    for item in objects_of(data, "words"):
        text = printable(field_of(item, "text", str, "")).strip()
        if field_of(item, "type", str, "word") == "spacing" or not text:
            spaced = True
            continue
        begin, end = span_of(item)
        words.append(Word(text, begin + offset, end + offset, spaced))
        spaced = False
    return tuple(words)
