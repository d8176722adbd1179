"""What the local VAD hears: one stretch of speech."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hearout_policies.signals import EarHeard, Transcript
from hearout_policies.words import respread

__all__ = ["Voice", "lateness"]

# Holds reckon with a VAD that tells of speech when there were 0.1 s of it, in four frames of 32 ms at most, and with
# blocks of audio that come 0.05 s late.
_PROMPT = 0.18  # seconds
_SAME_SOUND = 0.1  # seconds by which a VAD may date a sound differently when that has become speech


@dataclass(slots=True, eq=False)
class Voice:
    """The current, or latest, stretch of speech on a channel.

    Attributes:
        start: audio time of its onset.
        noticed: session clock: when its onset was known; once it has stopped, when that was known.
        stop: audio time of its end; None while it goes on.
        before: seconds of speech before it, in the same turn.
        paused: session clock: when a pause was noticed that may be its end, last; None: there was none.
        ear: what an ear has made of it, last.
        late: seconds from its onset until that was told, where no suspicion had told of it before.
    """

    start: float
    noticed: float
    stop: float | None = None
    before: float = 0.0
    paused: float | None = None
    ear: EarHeard | None = None
    late: float = 0.0

    @property
    def known(self) -> float:
        """Audio time up to which it is known to reach."""
        return self.start if self.stop is None else self.stop

    def lasted(self, audio: float) -> float:
        """Seconds of speech in this turn up to ``audio``, pauses left out."""
        return self.before + max(0.0, (audio if self.stop is None else self.stop) - self.start)

    def owed(self, covered: float) -> float:
        """Seconds of this stretch that no final result covers, as they reach up to ``covered``; 0 while it goes on."""
        return 0.0 if self.stop is None else max(0.0, self.stop - max(covered, self.start))

    def lay_out(self, result: Transcript, since: float) -> Transcript:
        """Lay words without times over the part of their span, from ``since`` on, in which there was speech."""
        if result.timed or not result.words:
            return result
        start, end = max(result.start, since), result.end if self.stop is None else min(result.end, self.stop)
        return result if end <= start else replace(result, words=respread(result.words, start, end))


def lateness(onset: float, heard: float, suspected: float) -> float:
    """Seconds from the onset of a voice until it was told; 0 where that was prompt, or a suspicion told of it before.

    Args:
        onset: audio time.
        heard: audio heard by now.
        suspected: audio time of the latest sound that might have been speech.
    """
    late = heard - onset
    return late if late > _PROMPT and suspected < onset - _SAME_SOUND else 0.0
