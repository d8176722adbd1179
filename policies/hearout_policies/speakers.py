"""Whose words count, where the transcriber tells voices apart."""

from __future__ import annotations

from dataclasses import replace

from hearout_policies.signals import LinkRestored, Signal, Transcript

__all__ = ["FIRST", "Speakers"]

FIRST = "first"


class Speakers:
    """Leaves one speaker's words in what the transcriber hears, on one channel.

    A word without a label counts: a transcriber that is not sure must lose no word.

    Attributes:
        others: audio time of the first word that was left out; None: there has been nobody else.
    """

    __slots__ = ("_first", "others")

    def __init__(self) -> None:
        self._first: str | None = None
        self.others: float | None = None

    def hear(self, signal: Signal, only: str | None) -> Signal:
        """``signal`` with the words of one speaker.

        Args:
            only: a label; "first": whoever speaks first, by the first final words, on each connection, as the
                transcriber gives its labels anew then; None: all. Who was first is known whatever was asked then.
        """
        if isinstance(signal, LinkRestored):
            self._first = None
        if not isinstance(signal, Transcript) or not signal.words:
            return signal
        first = self._first or next((word.speaker for word in signal.words if word.speaker is not None), None)
        if signal.is_final:
            self._first = first
        if only is None:
            return signal
        if only == FIRST:
            only = first
        words = tuple(word for word in signal.words if word.speaker in (None, only))
        if len(words) == len(signal.words):
            return signal
        if self.others is None:
            self.others = min(word.start for word in signal.words if word.speaker not in (None, only))
        return replace(signal, words=words)
