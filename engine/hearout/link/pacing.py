"""When the sender of a connection may send, and when it must. Pure; times are trio's clock."""

from __future__ import annotations

import math

from hearout.link.outbox import Outbox
from hearout.link.settings import LinkSettings

__all__ = ["Pacing"]

_PATIENCE = 1.5  # messages; after so much time a part of a message will do


class Pacing:
    """The times of one connection, which began at ``now`` and is fed from frame ``origin`` on.

    Attributes:
        sent: when anything was sent last.
        audio: when audio was sent last, and could have been since.
        silence: when silence was sent last in place of audio.
    """

    def __init__(self, settings: LinkSettings, rate: int, now: float, origin: int) -> None:
        self.sent = self.audio = now
        self.silence = -math.inf
        self._settings = settings
        self._rate = rate
        self._started, self._origin = now, origin
        self._catching_up = settings.replay_speed is not None

    @property
    def partial(self) -> float:
        """When part of a message will do."""
        return self.sent + _PATIENCE * self._settings.message

    def audio_due(self, outbox: Outbox) -> float:
        """When the next audio may go out: after a loss the backlog goes hardly faster than real time."""
        speed = self._settings.replay_speed
        message = round(self._settings.message * self._rate)
        self._catching_up = self._catching_up and outbox.waiting >= message
        if not self._catching_up or speed is None:
            return -math.inf
        return self._started + (outbox.stop - message - self._origin) / (self._rate * speed)

    def silence_due(self, outbox: Outbox, after: float | None) -> float:
        """When silence is to stand in for audio that does not come, which the dialect wants ``after`` seconds."""
        if after is None or outbox.waiting:
            return math.inf
        return max(self.audio + after, self.silence + self._settings.message)
