"""What speaks for an end of a turn."""

from __future__ import annotations

from dataclasses import dataclass

from hearout_policies.voice import Voice
from hearout_policies.words import Words

__all__ = ["WORD_SLACK", "Evidence"]

WORD_SLACK = 0.05  # seconds by which two messages may differ that speak about the end of one word


@dataclass(frozen=True, slots=True)
class Evidence:
    """A provider's message that the turn is over; what it is worth is judged when it is asked for.

    Attributes:
        at: session clock of its arrival.
        reach: audio time up to which it speaks.
        voice: the stretch of speech it came in, or after; None: the VAD had heard none in this turn.
    """

    at: float
    reach: float
    voice: Voice | None

    def stands(self, words: Words, voice: Voice | None) -> bool:
        """It reaches the newest word, and no speech has begun since."""
        newest = words.newest_end
        return self.voice is voice and (newest is None or newest <= self.reach + WORD_SLACK)
