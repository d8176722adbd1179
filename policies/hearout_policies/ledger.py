"""Turns that are over, and the words that come late for them.

Which turn a word belongs to is decided by the word's own audio time, never by its arrival: a late final amends
the turn it was spoken in, and opens none. What was told before is told only once: a result that is delivered twice,
and words that a new connection repeats.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hearout_policies.marks import spoken
from hearout_policies.signals import Transcript, Word
from hearout_policies.words import Words, middle, respread

__all__ = ["Closed", "Ledger"]

_KEPT = 4  # a final that is later than four turns is amended to the oldest one kept
_WAITING = 32  # as many are kept when the oldest still waits for finals: a segment may stay open over many turns
_RECENT = 8  # final results among which one that is delivered twice is recognised
_GAP = 0.5  # without a VAD, a word that starts so long after the last one is new speech (seconds)


@dataclass(slots=True, eq=False)
class Closed:
    """A turn that is over.

    Attributes:
        number: of the turn.
        words: None for words the application cleared: what still comes for them is dropped.
        end: audio time at which its speech ended.
        limit: audio time up to which words belong to it.
        decided: audio time heard when it was decided, or where speech began that was noticed after that.
        vad: the local VAD heard it; then its silence up to `decided` is known.
        cut: it was ended while its user may have spoken on (force_end, safety net).
        said: the text last told to the application, without case and punctuation.
    """

    number: int
    words: Words | None
    end: float
    limit: float
    decided: float
    vad: bool
    cut: bool
    said: str

    @property
    def waits(self) -> bool:
        """Some of its words are not final yet."""
        return bool(self.words and self.words.pending)

    def owns(self, word: Word, before: float | None = None) -> bool:
        """``word`` was spoken before the end of this turn; ``before``: the end of a word before it that it has."""
        limit = self.limit if before is None else self._limit_behind(before)
        return (middle(word) if self.vad else word.start) < limit

    def extend(self, end: float) -> None:
        """A word was added that ends at ``end``: what follows it closely belongs here too."""
        self.end = max(self.end, end)
        self.limit = self._limit_behind(end)

    def _limit_behind(self, end: float) -> float:
        return self.limit if self.vad else min(self.decided, max(self.limit, end + _GAP))

    def amend(self, late: Transcript) -> Words | None:
        """Take in a final result that came late; the words as they are now, if that is news."""
        if self.words is None:
            return None
        self.words.add(late)
        before, self.said = self.said, spoken(self.words.text)
        return self.words if self.said != before else None


class Ledger:
    """The latest closed turns, oldest first, and what is known of the final results before now."""

    __slots__ = ("_covered", "_recent", "_repeated", "_turns")

    def __init__(self) -> None:
        self._turns: deque[Closed] = deque(maxlen=_WAITING)
        self._recent: deque[tuple[Word, ...]] = deque(maxlen=_RECENT)  # words of final results
        self._covered = -math.inf  # audio time up to which there are final results
        self._repeated = -math.inf  # ... when the connection changed: a replay may say these words again

    @property
    def last(self) -> Closed | None:
        """The latest completed turn."""
        return next((turn for turn in reversed(self._turns) if turn.words is not None), None)

    def close(
        self, number: int, words: Words | None, end: float, decided: float, *, vad: bool, cut: bool = False
    ) -> None:
        """A turn is over."""
        limit = decided if vad else min(decided, end + _GAP)
        said = spoken(words.text) if words else ""
        self._turns.append(Closed(number, words, end, limit, decided, vad, cut, said))
        while len(self._turns) > _KEPT and not (self._turns[0].waits and self._covered < self._turns[0].limit):
            self._turns.popleft()

    def speech_started(self, audio: float) -> None:
        """New speech: the border to the turn before lies half-way in the silence."""
        if self._turns and audio < self._turns[-1].decided + _GAP:
            last = self._turns[-1]
            last.limit = min(last.limit, (last.end + max(audio, last.end)) / 2)
            last.decided = min(last.decided, max(audio, last.end))

    def link_restored(self) -> None:
        """A new connection is fed from before what results are final for."""
        self._repeated = self._covered

    def delivered(self, result: Transcript) -> bool:
        """The same final words at the same audio times came before."""
        if not (result.is_final and result.words and result.end > result.start):
            return False
        if result.words in self._recent:
            return True
        self._recent.append(result.words)
        return False

    def unsaid(self, result: Transcript) -> Transcript:
        """``result`` without the words that a replay says again."""
        words = tuple(word for word in result.words if middle(word) >= self._repeated)
        return result if len(words) == len(result.words) else replace(result, words=words)

    def cover(self, audio: float) -> None:
        """Up to here results are final."""
        self._covered = max(self._covered, audio)

    def split(self, result: Transcript) -> tuple[list[tuple[Closed, Transcript]], Transcript | None]:
        """Share out the words of a result.

        Returns:
            what is final of closed turns, and what belongs to the present; None when nothing does.
        """
        parts = self._split if result.timed or not result.words else self._split_untimed
        past, present = parts(result)
        if not past:
            return [], result
        late = [
            (closed, replace(result, words=tuple(words), start=words[0].start, end=min(result.end, closed.limit)))
            for closed, words in past
            if result.is_final
        ]
        return late, replace(result, words=tuple(present)) if present else None

    def _split(self, result: Transcript) -> tuple[list[tuple[Closed, list[Word]]], Sequence[Word]]:
        limit = max((turn.limit for turn in self._turns), default=-math.inf)
        if all(word.start >= limit for word in result.words):
            return [], result.words  # as nearly always
        past: list[tuple[Closed, list[Word]]] = []
        present: list[Word] = []
        for word in result.words:
            before = past[-1] if past else None
            owner = self._owner(word)
            if owner is None and before and before[0].owns(word, before[1][-1].end):
                owner = before[0]  # only an interim word comes here: a final one has moved the limit
            if owner is None:
                present.append(word)
                continue
            if result.is_final:
                owner.extend(word.end)
            if before and before[0] is owner:
                before[1].append(word)
            else:
                past.append((owner, [word]))
        return past, present

    def _split_untimed(self, result: Transcript) -> tuple[list[tuple[Closed, list[Word]]], Sequence[Word]]:
        """The same for words that have no times of their own, which only their segment tells apart.

        When the segment began in turns that wait for their finals, each has as many of its words as it waits for, and
        the others are new when the segment ends after the last of them. A segment that waits for nobody is not torn
        apart: it goes where its last word belongs.
        """
        words = list(result.words)
        waiting = self._unfinished(result.start)
        if not waiting:
            owner = self._owner(words[-1])
            return ([], words) if owner is None else ([(owner, words)], [])
        past: list[tuple[Closed, list[Word]]] = []
        for closed in waiting:
            last = closed is waiting[-1] and result.end <= self._border(closed)
            count = len(words) if last or closed.words is None else len(closed.words.pending)
            if words[:count]:
                past.append((closed, words[:count]))
            words = words[count:]
        limit = waiting[-1].limit
        return past, respread(words, limit, max(limit, result.end))

    def _owner(self, word: Word) -> Closed | None:
        """The closed turn ``word`` was spoken in; None when it is newer than all of them."""
        return next((turn for turn in self._turns if turn.owns(word)), None)

    def _unfinished(self, start: float) -> list[Closed]:
        """The closed turns that still wait for finals of a segment that starts at ``start``, oldest first."""
        return [turn for turn in self._turns if turn.waits and start < turn.limit]

    @staticmethod
    def _border(turn: Closed) -> float:
        """A segment that ends later has words that are not this turn's."""
        return turn.limit if turn.vad else turn.decided
