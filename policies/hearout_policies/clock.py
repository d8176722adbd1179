"""The two clocks, and the one place where they meet.

The *session clock* runs with real time; *audio time* counts the samples of a channel. While audio flows they
differ by a constant, the offset, up to jitter. When audio ceases to arrive (mute) audio time stands still, and
the offset is larger afterwards.
"""

from __future__ import annotations

__all__ = ["AudioClock"]

_JITTER = 0.02  # seconds; smaller differences are scheduling and block sizes, not missing audio
_BACKDATING = 1.0  # no VAD notices an onset later than this
_HANGOVER = 2.0  # ... nor an end


class AudioClock:
    """Converts between audio time and the session clock.

    Attributes:
        offset: session clock minus audio time, seconds.
    """

    __slots__ = ("_frozen", "offset")

    def __init__(self) -> None:
        self.offset = 0.0
        self._frozen: float | None = None

    def session(self, audio: float) -> float:
        """When the sample at ``audio`` was heard."""
        return audio + self.offset

    def audio(self, at: float) -> float:
        """How much audio had been heard at ``at``."""
        return at - self.offset if self._frozen is None else self._frozen

    @property
    def stalled(self) -> bool:
        """Audio time stands still."""
        return self._frozen is not None

    def stall(self, at: float, heard: float | None) -> None:
        """No audio arrives from now on."""
        self._frozen = self.audio(at) if heard is None else heard

    def heard(self, at: float, heard: float) -> None:
        """At ``at``, exactly ``heard`` seconds of audio had been heard."""
        self._frozen = None
        if abs(at - heard - self.offset) > _JITTER:
            self.offset = at - heard

    def onset(self, at: float, audio: float) -> None:
        """An onset at ``audio`` was noticed at ``at``; how much had been heard by then is not known."""
        self._noticed(at, audio, _BACKDATING)

    def end(self, at: float, audio: float) -> None:
        """Likewise for an end of speech, which takes a hang-over to notice."""
        self._noticed(at, audio, _HANGOVER)

    def _noticed(self, at: float, audio: float, longest: float) -> None:
        # A record without `heard` says only that audio time had passed `audio`. Believe the old offset as long
        # as back-dating explains the difference; beyond that audio must have been missing.
        self._frozen = None
        delay = at - audio - self.offset
        if delay > longest or delay < -_JITTER:
            self.offset = at - audio
