"""What the link can be told, what it counts, and whom it tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hearout.transcribers.base import WireMessage
from hearout_policies.signals import REPLAY_SPEED, Signal

__all__ = ["LinkOwner", "LinkSettings", "LinkStats"]


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Times of the link, all in seconds.

    Attributes:
        message: audio in one message. Deepgram calls 0.1 a good balance; Finalize never waits for it.
        keep: most audio kept for a replay.
        replay_speed: how much faster than real time a backlog is sent; None: as fast as it goes. Deepgram
            allows 1.25.
        handshake: most time for opening one connection.
        first_budget, budget: how long to go on trying before the first connection, and after a loss.
        backoff, backoff_cap: pause before the second attempt, doubled each time, and its limit.
        stable: a connection that lasts so long, or brings a final result, was a good one.
        ping_every, ping_timeout: how often to ask for a sign of life, and how long to wait for it.
        answer_timeout: without results that reach further for so long although audio was sent, the transcriber
            hangs.
        renew: before the end of the longest time that a provider allows a connection, how long to look for a
            moment without speech for another one.
        tail: how long to wait for the last results, since the last message.
    """

    message: float = 0.1
    keep: float = 60.0
    replay_speed: float | None = REPLAY_SPEED
    handshake: float = 5.0
    first_budget: float = 10.0
    budget: float = 60.0
    backoff: float = 0.25
    backoff_cap: float = 5.0
    stable: float = 5.0
    ping_every: float = 5.0
    ping_timeout: float = 5.0
    answer_timeout: float = 20.0
    renew: float = 300.0
    tail: float = 5.0


@dataclass(slots=True)
class LinkStats:
    """Counters of one session.

    Attributes:
        connections: opened so far.
        losses: connections that ended unasked.
        renewals: connections that were left in time, before the provider would have ended them.
        replayed, lost: seconds of audio sent again, and never transcribed.
        not_understood: messages the dialect could not read.
    """

    connections: int = 0
    losses: int = 0
    renewals: int = 0
    replayed: float = 0.0
    lost: float = 0.0
    not_understood: int = 0


class LinkOwner(Protocol):
    """Whom the link tells what happens, synchronously. Each may call `Link.finalize`."""

    def now(self) -> float:
        """The session clock."""

    def sent(self, message: WireMessage) -> None:
        """A Finalize or the request to close went out; or silence, or a connection begins that has options.

        See `hearout.transcribers.clock.silence_record` and `hearout.transcribers.decoding.options_record`.
        """

    def received(self, at: float, message: WireMessage) -> None:
        """A message came at ``at``; `transcribed` follows if it means something."""

    def transcribed(self, channel: int, signal: Signal) -> None:
        """A signal of the transcriber, in audio time of the session; nothing is heard twice."""

    def link_lost(self, detail: str) -> None:
        """There is no connection (any more); it is being tried again. Once for each loss."""

    def link_restored(self, audio: float) -> None:
        """There is one again, fed from ``audio`` on."""

    def audio_lost(self, start: float, end: float) -> None:
        """The outage was longer than the buffer: this span of audio will never be transcribed."""

    def warn(self, detail: str) -> None:
        """Something is wrong, but the session goes on."""
