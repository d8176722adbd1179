"""What an ear is: a model that hears whether a voice has finished."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Ear"]


class Ear(Protocol):
    """Tells by its sound whether a turn is over. It works in a thread, may take its time, and decides nothing.

    One may serve many sessions at once: it remembers nothing between two questions.

    Attributes:
        seconds: how much audio it wants to hear, at most.
    """

    @property
    def seconds(self) -> float: ...

    def listen(self, pcm: bytes, sample_rate: int, silence: float) -> float:
        """The probability that the turn is over, had ends and pauses been equally frequent: 0.5 says nothing.

        Args:
            pcm: linear16, mono: the last `seconds` of audio, or all there was, with the silence behind the voice.
            sample_rate: Hz.
            silence: seconds without voice at its end.
        """
