"""What a detector of voice is."""

from __future__ import annotations

from typing import Protocol

__all__ = ["VoiceDetector"]


class VoiceDetector(Protocol):
    """Says of one frame after another whether it is speech. May remember the frames before.

    One that can may have an attribute ``quiet``: the last frame was hardly louder than the noise of the line. Else any
    frame that is no speech is taken for quiet.
    """

    @property
    def frame_ms(self) -> int:
        """The length of a frame in milliseconds."""

    @property
    def tail(self) -> float:
        """For how long the verdict has lately been outlasting speech, in seconds. Taken off to date the end."""

    def is_speech(self, frame: bytes) -> bool:
        """The verdict on the next ``frame_ms`` of linear16 mono."""
