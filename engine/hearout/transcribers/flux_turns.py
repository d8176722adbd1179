"""Flux's ``TurnInfo`` messages as results and turns.

Each has all words of the turn so far; its audio window begins with the silence before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from hearout.fields import field_of, number_of, objects_of, time_of
from hearout.writing import printable
from hearout_policies.signals import ProviderTurn, Signal, Transcript, Word
from hearout_policies.words import spread

__all__ = ["EVENTS", "FluxTurns"]

_SETTLED = 1.0  # seconds; when Flux has heard so much more and shows no word, none is to come for what lies before

_Kind = Literal["started", "eager_end", "resumed", "ended"]
#: What it calls the events of a turn, and what they are to us.
EVENTS: Mapping[str, _Kind | None] = {
    "StartOfTurn": "started",
    "Update": None,
    "EagerEndOfTurn": "eager_end",
    "TurnResumed": "resumed",
    "EndOfTurn": "ended",
}


class FluxTurns:
    """Reads the messages of one connection, in order. Pure, but for what it remembers of the turns before.

    Attributes:
        open: Flux is in a turn.
    """

    def __init__(self) -> None:
        self.open = False
        self._turn: int | None = None  # its turn_index
        self._ended: int | None = None  # turn_index of the last one that is over
        # Seconds of the connection's clock.
        self._heard = 0.0  # how far it has listened
        self._quiet = 0.0  # so far no word of the turn
        self._final = 0.0  # so far is the turn final

    def read(self, data: dict[str, Any], at: float, offset: float) -> list[Signal]:
        """What a ``TurnInfo`` message with one of `EVENTS` means."""
        turn = data.get("turn_index")
        if isinstance(turn, int) and turn == self._ended:
            return []  # it is told again
        start, end = time_of(data, "audio_window_start"), time_of(data, "audio_window_end")
        if end < start:
            raise ValueError(f"the audio window ends at {end:g}, before it starts at {start:g}")
        # The window begins with the silence before the turn, where a word without times would be the last turn's.
        begin = max(start, min(self._quiet, end))
        words, timed = _words(data, begin + offset, end + offset, offset)
        kind = EVENTS[data["event"]]
        is_final = kind == "ended"
        forced = is_final and data.get("trigger") == "manual"
        self._heard = max(self._heard, end)
        if is_final or not words:
            self._quiet = end
        if self.open and isinstance(turn, int) and turn != self._turn:
            # The end of the turn before was missed; its words are not covered by anything that comes now.
            self.open, self._final = False, max(self._final, start)
        self._turn = turn if isinstance(turn, int) else None
        self._ended = self._turn if is_final else self._ended
        self.open = not is_final and (self.open or bool(words))
        result = Transcript(at, words, start + offset, end + offset, is_final, is_final, forced, timed)
        signals: list[Signal] = [result]
        if is_final:
            self._final = max(self._final, end)
        elif not self.open and end - _SETTLED > self._final:
            signals.append(self.silence(at, offset))  # this keeps the replay after a lost connection short
        # An end that we have forced says nothing about what Flux thinks of it.
        if kind and not forced:
            signals.append(ProviderTurn(at, kind, end + offset))
        return signals

    def silence(self, at: float, offset: float, *, finalized: bool = False) -> Transcript:
        """A final result for what has been heard with nobody in it."""
        start, self._final = self._final, max(self._final, self._heard - _SETTLED)
        return Transcript(at, (), start + offset, self._final + offset, is_final=True, finalized=finalized)


def _words(data: dict[str, Any], start: float, end: float, offset: float) -> tuple[tuple[Word, ...], bool]:
    """All words of the turn so far, and whether they have times; else they are laid out over the window."""
    texts = printable(field_of(data, "transcript", str, "")).split()
    items = objects_of(data, "words")
    if items and len(items) != len(texts):  # else the transcript, which has all the punctuation
        texts = [printable(field_of(item, "word", str, "")).strip() for item in items]
    times = [(number_of(item, "start"), number_of(item, "end")) for item in items]
    words = []
    for text, (begin, stop) in zip(texts, times, strict=False):
        if not text or begin is None or stop is None:
            continue
        if stop < begin:
            raise ValueError(f"a word ends at {stop:g}, before it starts at {begin:g}")
        words.append(Word(text, begin + offset, stop + offset))
    texts = [text for text in texts if text]
    if len(words) == len(texts):
        return tuple(words), True
    return spread(texts, start, end), False
