"""The sending side of the link: audio and control messages, in order, on one connection after another.

What can be sent is sent by whoever brings it, at once: `Sender.pump`. A task does what takes time: it waits for what
is not due yet, for a connection that takes no more, and at some marks. No send has a timeout of its own: a cancelled
send leaves half a frame on the wire.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence

import trio
from trio_websocket import ConnectionClosed
from wsproto.utilities import LocalProtocolError

from hearout.link.buffer import ReplayBuffer
from hearout.link.connection import Connection
from hearout.link.outbox import Mark, MarkKind, Outbox
from hearout.link.pacing import Pacing
from hearout.link.settings import LinkOwner, LinkSettings
from hearout.link.watchdog import Watchdog
from hearout.transcribers.base import Dialect, WireMessage
from hearout.transcribers.clock import silence_record
from hearout.transcribers.hearing import Hearing

__all__ = ["Sender"]

_NUDGE = 0.5  # seconds; while audio flows, no timer for each message is worth its price


class Sender:
    """Sends what is in its outbox.

    Attributes:
        outbox: audio and marks that wait.
        pacing: of this connection: what may be sent when.
        pump_at: number of the frame from which on `pump` is to be called, when that is fed.
        close_sent: the request to close went out on this connection.
    """

    def __init__(
        self,
        dialect: Dialect,
        sample_rate: int,
        settings: LinkSettings,
        owner: LinkOwner,
        buffer: ReplayBuffer,
        hearing: Hearing,
    ) -> None:
        self.outbox = Outbox(buffer, round(settings.message * sample_rate))
        self.pacing = Pacing(settings, sample_rate, 0.0, 0)
        self.close_sent = False
        self._dialect = dialect
        self._rate = sample_rate
        self._settings = settings
        self._owner = owner
        self._hearing = hearing
        self._watchdog = Watchdog(settings, None, 0.0, 0.0)
        self.pump_at = 0
        self._connection: Connection | None = None
        self._slow: Mark | None = None  # next is this, which takes time
        self._wake = trio.Event()

    @property
    def sent_until(self) -> float:
        """Audio time."""
        return self.outbox.cursor / self._rate

    def begin(self, now: float, frame: int, watchdog: Watchdog) -> None:
        """A connection begins, which is to hear the audio from ``frame`` on."""
        self.outbox.cursor = frame
        self.pacing = Pacing(self._settings, self._rate, now, frame)
        self._watchdog = watchdog

    def mark(self, kind: MarkKind, channel: int | None = None, message: str = "") -> None:
        """Put a mark behind all audio there is now, and see to it."""
        self.outbox.mark(kind, channel, message)
        self.pump()

    def wake(self) -> None:
        """Look again what is to be sent."""
        self._wake.set()

    def pump(self) -> None:
        """Send what is due, as far as that goes without waiting."""
        if self._connection is not None:
            while self._send_next(self._connection):
                pass

    async def run(
        self, connection: Connection, opening: Sequence[WireMessage], settle: Callable[[Connection], Awaitable[None]]
    ) -> bool:
        """Send until the request to close is out; False when the connection has ended before.

        Args:
            connection: where to.
            opening: to send first.
            settle: what to do at a mark of that kind.
        """
        self._slow = None
        try:
            for message in opening:
                await connection.send(message)
            self._connection = connection
            while not self.close_sent:
                self._wake = trio.Event()
                self.pump()
                await self._do_what_takes_time(connection, settle)
        except (ConnectionClosed, LocalProtocolError):
            return False
        finally:
            self._connection = None
        return True

    def _send_next(self, connection: Connection) -> bool:
        """Send what comes next; False when it is not due, or takes time."""
        if connection.blocked or self._slow is not None:
            self._wake.set()
            return False
        if self.outbox.overrun:  # it is being noticed
            return False
        now, outbox, pacing = trio.current_time(), self.outbox, self.pacing
        if now < (due := pacing.audio_due(outbox)):
            return False
        match outbox.take(partial=now >= pacing.partial):
            case bytes(pcm):
                self._watchdog.sent(now, self.sent_until)
                connection.put(self._dialect.audio(pcm))
                pacing.audio = now
            case Mark(kind="finalize", channel=channel):
                if (message := self._dialect.finalize(channel)) is not None:
                    self._tell(connection, message)
            case Mark(kind="message", message=text):
                self._tell(connection, text)
            case Mark(kind="flush"):
                return True
            case Mark() as mark:
                self._slow = mark
                self._wake.set()
                return False
            case None:
                idle = now >= max(due, pacing.partial)  # it waits for any audio, not for a whole message
                self.pump_at = 0 if idle else outbox.whole
                return False
        pacing.sent = now
        return True

    async def _do_what_takes_time(
        self, connection: Connection, settle: Callable[[Connection], Awaitable[None]]
    ) -> None:
        outbox, pacing = self.outbox, self.pacing
        if connection.blocked:
            await connection.flush()
            now = trio.current_time()
            if pacing.audio == pacing.sent:  # it was audio that had to wait
                pacing.audio = now
            pacing.sent = now
        elif self._slow is not None and self._slow.kind == "settle":
            await settle(connection)
            pacing.audio = trio.current_time()  # it was not the audio that waited
            self._slow = None
        elif self._slow is not None:
            await self._hear_out(connection)
            await connection.send(closing := self._dialect.closing())
            self._owner.sent(closing)
            pacing.sent = trio.current_time()
            self.close_sent = True
        else:
            now, due, partial = trio.current_time(), pacing.audio_due(outbox), pacing.partial
            silence = pacing.silence_due(outbox, self._dialect.silence_after)
            keepalive = pacing.sent + (self._dialect.keepalive_after or math.inf)
            if now >= silence:
                self._send_silence(connection)
            elif now >= keepalive and (message := self._dialect.keepalive()) is not None:
                connection.put(message)
                pacing.sent = now
            elif due > now:
                await self._wait(min(due, silence, keepalive))
            elif self._dialect.silence_after is not None:
                await self._wait(min(partial if partial > now else math.inf, silence, keepalive))
            else:
                await self._wait(min(max(partial, now + _NUDGE), keepalive))

    async def _wait(self, until: float) -> None:
        with trio.move_on_at(until):
            await self._wake.wait()

    def _tell(self, connection: Connection, message: WireMessage) -> None:
        connection.put(message)
        self._owner.sent(message)  # who may ask for more

    def _send_silence(self, connection: Connection) -> None:
        frames = round(self._settings.message * self._rate)
        audio, seconds = round(self.sent_until, 6), round(frames / self._rate, 6)
        self._hearing.insert_silence(audio, seconds)
        self.pacing.silence = self.pacing.sent = trio.current_time()
        connection.put(self._dialect.audio(bytes(2 * self._dialect.channels * frames)))
        self._owner.sent(silence_record(audio, seconds))

    async def _hear_out(self, connection: Connection) -> None:
        """Before the end: let a provider end its turn that needs silence for it."""
        until = trio.current_time() + self._settings.tail
        while self._dialect.silence_after is not None and trio.current_time() < until:
            self._send_silence(connection)
            if connection.blocked:
                await connection.flush()
            await trio.sleep(self._settings.message)
