"""What a session tells its application besides the events about turns.

Like those: frozen dataclasses with a ``type``, an ``at`` on the session clock, and a JSON form by
`hearout_policies.events.as_dict`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

__all__ = ["AudioLost", "LinkDown", "LinkUp", "Notice", "SessionWarning"]


@dataclass(frozen=True, slots=True)
class SessionWarning:
    """Something is wrong, but the session goes on."""

    type: ClassVar[str] = "warning"
    at: float
    detail: str


@dataclass(frozen=True, slots=True)
class LinkDown:
    """No connection to the transcriber; it is being tried again, and audio is kept meanwhile."""

    type: ClassVar[str] = "link_down"
    at: float
    detail: str


@dataclass(frozen=True, slots=True)
class LinkUp:
    """There is a connection again.

    Attributes:
        audio: audio time from which it is fed; what came before has its final results.
        outage: seconds since the `LinkDown`.
    """

    type: ClassVar[str] = "link_up"
    at: float
    audio: float
    outage: float


@dataclass(frozen=True, slots=True)
class AudioLost:
    """The outage was longer than audio is kept: this span of it (audio time) has no transcript, for good."""

    type: ClassVar[str] = "audio_lost"
    at: float
    audio_start: float
    audio_end: float


Notice = SessionWarning | LinkDown | LinkUp | AudioLost
