"""The two clocks, and the one place where they meet.

The *session clock* runs with real time; *audio time* counts the samples of a channel. While audio flows they
differ by a constant, the offset, up to jitter. When audio ceases to arrive (mute) audio time stands still, and
the offset is larger afterwards.
"""

from __future__ import annotations

import math

__all__ = ["Clock"]

_JITTER = 0.02  # seconds; smaller differences are scheduling and block sizes, not missing audio


class Clock:
    """Says what time it is, on both clocks.

    Attributes:
        now: session clock; whoever owns this sets it.
        offset: session clock minus audio time, seconds.
    """

    __slots__ = ("_stood", "now", "offset")

    def __init__(self) -> None:
        self.now = -math.inf
        self.offset = 0.0
        self._stood: float | None = None  # audio time, while that stands still

    @property
    def audio(self) -> float:
        """How much audio has been heard by now."""
        return self.now - self.offset if self._stood is None else self._stood

    @property
    def stalled(self) -> bool:
        """No audio arrives."""
        return self._stood is not None

    def session(self, audio: float) -> float:
        """When the sample at ``audio`` was heard."""
        return audio + self.offset

    def heard(self, audio: float) -> None:
        """By now exactly ``audio`` seconds have been heard, and audio flows."""
        self._stood = None
        if abs(self.now - audio - self.offset) > _JITTER:
            self.offset = self.now - audio

    def stall(self, audio: float) -> None:
        """No audio arrives after the first ``audio`` seconds."""
        self._stood = audio
