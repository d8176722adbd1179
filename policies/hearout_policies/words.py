"""The words of one turn: finals, then what is still interim, in audio order.

Conservation of words lives here. A final word stays, unless a later final result says its audio again; an interim
word stays until a result that covers its audio replaces it. Words are told apart by their audio times, never by their
text: two equal sentences are two utterances. Marks alone are no words: they stand in the text, and count for nothing.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import replace

from hearout_policies.language import Language
from hearout_policies.marks import has_word, spoken
from hearout_policies.signals import Transcript, Word
from hearout_policies.text import Ending, classify

__all__ = ["Words", "is_same_audio", "join", "middle", "reach", "respread", "spread"]

_HEAD = 0.5  # seconds by which the head of a segment may move when it is revised


def middle(word: Word) -> float:
    """The audio time that decides where a word belongs."""
    return (word.start + word.end) / 2


def reach(words: Iterable[Word], end: float) -> float:
    """Audio time up to which a result speaks whose span ends at ``end``: its words may end later."""
    return max([end, *(word.end for word in words)])


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


def is_same_audio(one: Word, other: Word) -> bool:
    """They share more than half of the shorter one."""
    shorter = min(one.end - one.start, other.end - other.start)
    return min(one.end, other.end) - max(one.start, other.start) > shorter / 2


def not_said_again(olds: list[Word], said: list[Word], start: float, end: float) -> list[Word]:
    """Those of ``olds`` that ``said`` does not say again: it does all in its span, if it has the audio of most.

    A transcriber may send a turn once more, formatted. What follows closely has other audio, whatever its span.
    """
    within = [old for old in olds if has_word(old.text) and start <= middle(old) < end]
    again = [old for old in within if any(is_same_audio(old, word) for word in said)]
    if 2 * len(again) <= len(within):
        return olds
    return [old for old in olds if not start <= middle(old) < end]


class Words:
    """Collects the results of one turn.

    Args:
        since: session clock at which the turn began.

    Attributes:
        finals: final words, in audio order.
        pending: interim words that no final result has covered yet, in audio order.
        kept: interim words that no final result covers any more: their audio went down with a connection, or the
            transcriber has dropped them although a user was heard to say them.
        keys: pressed, as words; no result takes them back.
        text: so far.
        newest_end: audio time at which the newest word ends; None without words.
        newest_from: the newest word ends no earlier than this. It is the same where word times are known; where they
            are not, words are laid out over the span of their result, and the newest may end early in it.
        covered: audio time up to which results are final.
        reach: audio time up to which the transcriber has listened.
        grown_at: session clock of the last change of the words; ``since`` when there was none.
        brought_at: likewise, or when a final result last brought words: then the next interim is a while off.
        final_at: when the last final result came; None before the first.
    """

    __slots__ = (
        *("_classified", "_count", "_said", "brought_at", "covered", "final_at", "finals", "grown_at", "kept"),
        *("keys", "newest_end", "newest_from", "pending", "reach", "text"),
    )

    def __init__(self, since: float = 0.0) -> None:
        self.finals: list[Word] = []
        self.pending: list[Word] = []
        self.kept: list[Word] = []
        self.keys: list[Word] = []
        self.text = self._said = ""
        self._count = 0
        self._classified: tuple[str, Language | None, Ending] = ("", None, Ending.NOTHING)  # the latest judgement
        self.newest_end: float | None = None
        self.newest_from = self.covered = self.reach = -math.inf
        self.grown_at = self.brought_at = since
        self.final_at: float | None = None

    def add(self, result: Transcript, heard: float = math.inf, *, firm: bool = False) -> None:
        """Take in a result whose words all belong here.

        Args:
            heard: audio heard by now; a transcriber that claims to have heard more is not believed.
            firm: a user was heard to say what is pending: a result without words does not take it back. Nor does
                the answer to a Finalize.
        """
        end = min(result.end, heard)
        newest = next((word for word in reversed(result.words) if has_word(word.text)), None)
        if not result.is_final:
            if newest or not firm:
                self._set_interim(result, end)
        elif newest or not (result.finalized or firm) or not any(has_word(word.text) for word in self.pending):
            self._add_final(result, end)
        else:
            self.keep(end)
            self.covered = max(self.covered, end)
        self.reach = max(self.reach, end)
        if result.is_final:
            self.final_at = result.at
        if newest:
            self.newest_from = max(self.newest_from, newest.end if result.timed else result.start)
        self._count_up(result.at, heard)
        if result.is_final and newest and self.grown_at != result.at:
            self.brought_at = result.at

    def press(self, key: Word, at: float) -> None:
        """A key was pressed, at the audio time and the time on the session clock given."""
        self.keys.append(key)
        self._count_up(at, math.inf)

    def _count_up(self, at: float, heard: float) -> None:
        """Text and times anew, after a change."""
        text, said, words = self.text, self._said, self.all
        ends = [word.end for word in words if has_word(word.text)]
        self._count = len(ends)
        self.text = join(words) if ends else ""
        self.newest_end = min(max(ends), heard) if ends else None
        if self.text != text:
            self._said = spoken(self.text)
        if self._said != said:
            self.grown_at = self.brought_at = at

    def _add_final(self, result: Transcript, end: float) -> None:
        """Final words take the place of the interim words in their span, and of final ones that they say again."""
        end = reach(result.words, end)
        said = [word for word in result.words if has_word(word.text)]
        self.finals = not_said_again(self.finals, said, result.start, end)
        # What was only kept goes also when its final comes after a result that claimed to cover it.
        self.kept = not_said_again(self.kept, said, min([result.start, *(word.start for word in said)]), end)
        for word in result.words:
            insort(self.finals, word, key=lambda w: w.start)
        self.covered = max(self.covered, end)
        self.pending = self._outside(result.start, end)

    def _set_interim(self, result: Transcript, end: float) -> None:
        """Interim words take the place of those in their span; what lies outside of it stays pending.

        Words that final results cover already are stale (an interim overtaken by its final) and left out.
        """
        outside = self._outside(result.start, reach(result.words, end))
        words = [w for w in result.words if middle(w) >= self.covered]
        self.pending = sorted(words + outside, key=lambda w: w.start)

    def _outside(self, start: float, end: float) -> list[Word]:
        """The pending words that a result with this span says nothing about."""
        if start <= self.covered + _HEAD:
            start = -math.inf  # the segment next to the finals: all that is pending began in it
        # A word of no length at the end is in it.
        return [w for w in self.pending if middle(w) < start - _HEAD or (middle(w) >= end and w.end > end)]

    def take_back(self, start: float, end: float) -> None:
        """Nothing in this span was said by whom these words are of."""
        self.pending = self._outside(start, end)

    def keep(self, before: float) -> None:
        """Nobody will ever finalise the audio before ``before`` that is not final yet: keep its words as they are."""
        self.kept += [w for w in self.pending if middle(w) < before]
        self.pending = [w for w in self.pending if middle(w) >= before]
        self.text = join(self.all) if self else ""

    def ending(self, language: Language) -> Ending:
        """How the text ends."""
        text, by, ending = self._classified
        if not self.text:
            return Ending.NOTHING
        if text != self.text or by is not language:
            ending = classify(self.text, language)
            self._classified = (self.text, language, ending)
        return ending

    @property
    def all(self) -> list[Word]:
        """Finals and what was kept, then pending; keys where they were pressed."""
        settled = sorted(self.finals + self.kept, key=lambda w: w.start) if self.kept else self.finals
        words = settled + self.pending
        return sorted(words + self.keys, key=lambda w: w.start) if self.keys else words

    @property
    def keyed(self) -> bool:
        """The newest word is a key, and no voice is known behind it."""
        return bool(self.keys) and not self.pending and self.newest_end == self.keys[-1].end

    @property
    def confirmed(self) -> bool:
        """All words are final."""
        return not (self.pending or self.kept)

    def __len__(self) -> int:
        return self._count
