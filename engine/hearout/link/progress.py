"""What a link keeps from one connection to the next: the audio, what waits to be sent, and what was heard."""

from __future__ import annotations

import trio

from hearout.link.buffer import ReplayBuffer
from hearout.link.outbox import Outbox
from hearout.link.settings import LinkOwner, LinkSettings, LinkStats
from hearout.transcribers.base import Dialect
from hearout.transcribers.hearing import Hearing

__all__ = ["Progress"]

_ROUNDING = 0.05  # seconds by which a provider may end before the audio does


class Progress:
    """How far the audio of a session has come.

    Attributes:
        buffer: audio that no final result covers yet, and what is about to be.
        outbox: what of it waits to be sent.
        hearing: what was heard of it.
        stats: counters.
        closing: no audio comes any more.
        settled: set by a connection that has done what `Link.settle` waits for.
    """

    def __init__(self, dialect: Dialect, rate: int, settings: LinkSettings, owner: LinkOwner) -> None:
        self.dialect = dialect
        self.rate = rate
        self.settings = settings
        self.owner = owner
        self.stats = LinkStats()
        self.buffer = ReplayBuffer(2 * dialect.channels, round(settings.keep * rate))
        self.outbox = Outbox(self.buffer, round(settings.message * rate))
        self.hearing = Hearing(dialect, can_repeat=True)
        self.closing = False
        self.settled: trio.Event | None = None

    @property
    def sent(self) -> float:
        """Audio time up to which audio was sent, on the present connection."""
        return self.outbox.cursor / self.rate

    def at_end(self, audio: float) -> bool:
        """Is that all the audio there is?"""
        return audio >= self.buffer.end / self.rate - _ROUNDING

    def release(self) -> None:
        """Keep no audio that is sent and covered by final results."""
        self.buffer.release(min(round(self.hearing.coverage.until * self.rate), self.outbox.cursor))
