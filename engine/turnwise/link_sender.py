"""The sending side of the link: audio and control messages, in order, on one connection after another.

No send has a timeout of its own: a cancelled send leaves half a frame on the wire.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence

import trio
from trio_websocket import ConnectionClosed
from wsproto.utilities import LocalProtocolError

from turnwise.link_base import LinkOwner, LinkSettings, silence_record
from turnwise.link_connection import Connection
from turnwise.link_outbox import Mark, MarkKind, Outbox
from turnwise.link_pacing import Pacing
from turnwise.link_watchdog import Watchdog
from turnwise.provider_clock import ProviderClock
from turnwise.replay_buffer import ReplayBuffer
from turnwise.transcribers.base import Dialect, WireMessage

__all__ = ["Sender"]

_NUDGE = 0.5  # seconds


class Sender:
    """Sends what is in its outbox.

    Attributes:
        outbox: audio and marks that wait.
        clock: takes the silence that was sent out of the provider's times again.
        pacing: of this connection: what may be sent when.
        wake_at: number of the frame from which on it wants to be woken, when that is fed.
        close_sent: the request to close went out on this connection.
    """

    def __init__(
        self, dialect: Dialect, sample_rate: int, settings: LinkSettings, owner: LinkOwner, buffer: ReplayBuffer
    ) -> None:
        self.outbox = Outbox(buffer, round(settings.message * sample_rate))
        self.clock = ProviderClock()
        self.pacing = Pacing(settings, sample_rate, 0.0, 0)
        self.close_sent = False
        self._dialect = dialect
        self._rate = sample_rate
        self._settings = settings
        self._owner = owner
        self._watchdog = Watchdog(settings, None, 0.0, 0.0)
        self.wake_at = 0
        self._wake = trio.Event()

    @property
    def sent_until(self) -> float:
        """Audio time."""
        return self.outbox.cursor / self._rate

    def begin(self, now: float, frame: int, watchdog: Watchdog) -> None:
        """A connection begins, which is to hear the audio from ``frame`` on."""
        self.outbox.cursor = frame
        self.clock.restart()
        self.pacing = Pacing(self._settings, self._rate, now, frame)
        self._watchdog = watchdog

    def mark(self, kind: MarkKind, channel: int | None = None, message: str = "") -> None:
        """Put a mark behind all audio there is now, and see to it."""
        self.outbox.mark(kind, channel, message)
        self._wake.set()

    def wake(self) -> None:
        """Look again what is to be sent."""
        self._wake.set()

    async def run(
        self, connection: Connection, opening: Sequence[WireMessage], settle: Callable[[Connection], Awaitable[None]]
    ) -> bool:
        """Send until the request to close is out; False when the connection has ended before.

        Args:
            connection: where to.
            opening: to send first.
            settle: what to do at a mark of that kind.
        """
        try:
            for message in opening:
                await connection.send(message)
            while not self.close_sent:
                await self._send_next(connection, settle)
        except (ConnectionClosed, LocalProtocolError):
            return False
        return True

    async def nudge(self) -> None:
        """Wake the sender where audio has ceased to flow: part of a message is due, or a keep-alive will be.

        One timer in half a second, where one for each message would cost as much as all the rest.
        """
        while True:
            await trio.sleep(_NUDGE)
            if trio.current_time() >= self.pacing.partial:
                self._wake.set()

    async def _send_next(self, connection: Connection, settle: Callable[[Connection], Awaitable[None]]) -> None:
        now, outbox, pacing = trio.current_time(), self.outbox, self.pacing
        due, partial = pacing.audio_due(outbox), pacing.partial
        match outbox.take(partial=now >= partial) if now >= due else None:
            case bytes(pcm):
                self._watchdog.sent(now, self.sent_until)
                await connection.send(self._dialect.audio(pcm))
                pacing.audio = trio.current_time()
            case Mark(kind="finalize", channel=channel):
                if (message := self._dialect.finalize(channel)) is not None:
                    await self._tell(connection, message)
            case Mark(kind="message", message=text):
                await self._tell(connection, text)
            case Mark(kind="flush"):
                return
            case Mark(kind="close"):
                await self._hear_out(connection)
                await self._tell(connection, self._dialect.closing())
                self.close_sent = True
            case Mark(kind="settle"):
                await settle(connection)
                pacing.audio = trio.current_time()  # it was not the audio that waited
                return
            case None:
                keepalive = pacing.sent + (self._dialect.keepalive_after or math.inf)
                silence = pacing.silence_due(outbox, self._dialect.silence_after)
                if now >= silence:
                    await self._send_silence(connection)
                elif now >= keepalive and (message := self._dialect.keepalive()) is not None:
                    await connection.send(message)
                else:
                    idle = now >= max(due, partial)  # it waits for any audio, not for a whole message
                    self.wake_at = 0 if idle else outbox.whole
                    more = math.inf if idle else due if due > now else partial
                    flowing = more == partial and self._dialect.silence_after is None
                    await self._wait(math.inf if flowing else min(more, silence, keepalive))
                    return
        pacing.sent = trio.current_time()

    async def _wait(self, until: float) -> None:
        self._wake = trio.Event()
        if until == math.inf:  # `nudge` has the timer
            await self._wake.wait()
            return
        with trio.move_on_at(until):
            await self._wake.wait()

    async def _tell(self, connection: Connection, message: WireMessage) -> None:
        self._owner.sent(message)
        await connection.send(message)

    async def _send_silence(self, connection: Connection) -> None:
        frames = round(self._settings.message * self._rate)
        audio, seconds = round(self.sent_until, 6), round(frames / self._rate, 6)
        self.clock.insert(audio, seconds)
        self._owner.sent(silence_record(audio, seconds))
        self.pacing.silence = self.pacing.sent = trio.current_time()
        await connection.send(self._dialect.audio(bytes(2 * self._dialect.channels * frames)))

    async def _hear_out(self, connection: Connection) -> None:
        """Before the end: let a provider end its turn that needs silence for it."""
        until = trio.current_time() + self._settings.tail
        while self._dialect.silence_after is not None and trio.current_time() < until:
            await self._send_silence(connection)
            await trio.sleep(self._settings.message)
