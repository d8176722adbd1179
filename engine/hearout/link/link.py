"""The link to the transcriber: the one place with sockets, whatever the provider.

`Link.run` connects, and connects again whenever the connection is lost. Audio that no final result covers yet
is kept, and a new connection is fed from there on; provider times, which start again at 0, are mapped to audio
time of the session by one offset a connection. What can be sent at once is sent by whoever brings it, and what
comes is handed on from within the reading, which never stops, or pings would go unanswered. One task sends what
takes time, one watches for signs of life. No send ever has a timeout of its own: a cancelled send leaves half a
frame on the wire. A stuck connection is dropped as a whole.

A connection that the provider would soon end is left in time, in a moment without speech if there is one. Providers
that end turns by the audio they get are fed silence when the audio stops; it is in no buffer, and its time is taken
out of theirs.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection
from wsproto.utilities import LocalProtocolError

from hearout.link.buffer import ReplayBuffer
from hearout.link.connection import Connection, Connector, LinkFailure, open_connection, redact
from hearout.link.retry import Retry
from hearout.link.sender import Sender
from hearout.link.settings import LinkOwner, LinkSettings, LinkStats
from hearout.link.socket import open_stream
from hearout.link.watchdog import Watchdog
from hearout.nursery import open_background
from hearout.transcribers.base import Dialect, Heard, ProviderFailed, ProviderNews, StreamFinished, WireMessage
from hearout.transcribers.hearing import Hearing, Missed

__all__ = ["Link"]

_CLOSED_OK = 1000
_COMPLAINTS = 10  # of the transcriber that are told, for each connection
_POLICY_VIOLATION = 1008  # Deepgram: the payload cannot be decoded as audio; it would not be next time


class Link:
    """Keeps a transcriber listening.

    Attributes:
        connected: a connection is up.
        stats: counters.
    """

    def __init__(
        self,
        dialect: Dialect,
        sample_rate: int,
        owner: LinkOwner,
        *,
        settings: LinkSettings | None = None,
        connect: Connector = open_stream,
        rng: random.Random | None = None,
    ) -> None:
        """A link for linear16 audio of ``sample_rate`` Hz with the dialect's channels, interleaved.

        ``connect`` opens the stream below the websocket; ``rng`` gives the jitter of the pauses.
        """
        self.connected = False
        self.stats = LinkStats()
        self._dialect = dialect
        self._rate = sample_rate
        self._owner = owner
        self._settings = settings = settings or LinkSettings()
        self._connect = connect
        self._rng = rng or random.Random()
        self._buffer = ReplayBuffer(2 * dialect.channels, round(settings.keep * sample_rate))
        self._hearing = Hearing(dialect, can_repeat=True)
        self._coverage = self._hearing.coverage
        self._sender = Sender(dialect, sample_rate, settings, owner, self._buffer, self._hearing)
        self._closing = False
        self._finished = trio.Event()
        self._settled: trio.Event | None = None
        self._told_lost = False
        self._covered_at_close = -1.0
        # The current connection:
        self._scope = trio.CancelScope()
        self._end: LinkFailure | None = None
        self._watchdog = Watchdog(settings, None, 0.0, 0.0)
        self._started = self._last_received = 0.0
        self._failed: str | None = None  # the last thing that was said was this failure
        self._complaints = 0  # of the transcriber on this connection

    # What the session calls

    def feed(self, pcm: bytes) -> None:
        """Audio for the transcriber: whole frames. Never blocks; what cannot be sent yet is kept."""
        if pcm:
            self._buffer.append(pcm)
            if self._buffer.end >= self._sender.pump_at:
                self._sender.pump()
                if self._sender.outbox.overrun and self.connected:
                    self._drop("the transcriber does not take the audio")

    def finalize(self, channel: int | None = None) -> None:
        """Ask for final results of all audio fed so far, on one channel or (None) on all."""
        if not self._closing:
            self._sender.mark("finalize", channel)

    def send(self, message: str) -> None:
        """Send a control message of the provider's behind all audio fed so far. A lost connection takes it along."""
        if not self._closing:
            self._sender.mark("message", message=message)

    def flush(self) -> None:
        """No audio comes for now: send what there is, without waiting for a whole message."""
        if not self._closing:
            self._sender.mark("flush")

    async def settle(self) -> None:
        """Wait until the server has read all audio fed so far, and all it said before that was handed on."""
        if self._finished.is_set():
            return
        self._settled = trio.Event()
        self._sender.mark("settle")
        await self._settled.wait()

    async def finish(self) -> None:
        """No audio comes any more: wait for the last results, at most `LinkSettings.tail` for each message."""
        self._closing = True
        self._sender.mark("close")
        await self._finished.wait()

    async def run(self) -> None:
        """Keep connected until `finish` is through.

        Raises:
            SessionError: the transcriber refused, or could not be reached for too long.
        """
        retry = Retry(self._settings, trio.current_time())
        while True:
            covered = self._coverage.until
            self._end, self._started, self._sender.close_sent = None, math.inf, False
            try:
                await self._serve_one_connection()
            except LinkFailure as error:
                self._end = self._end or error
            if self._finished.is_set():
                return
            failure = self._end or LinkFailure("the connection ended")
            if self._closing and self._nothing_left():
                self._finished.set()
                return
            now = trio.current_time()
            stable = self._watchdog.good_until(now) - self._started >= self._settings.stable
            if failure.planned or stable or self._coverage.until > covered:
                retry.start_afresh(now)
            pause = 0.0
            if not failure.planned:
                pause = retry.pause(failure, now, self._rng, first=not self.stats.connections)
            if not self._told_lost:
                self._told_lost = True
                self._owner.link_lost(failure.detail)
            await trio.sleep(pause)

    # One connection

    async def _serve_one_connection(self) -> None:
        async with open_connection(self._dialect, self._connect, self._settings.handshake) as connection:
            opening = self._begin()  # before anything is read: with this the dialect starts anew
            try:
                async with open_background() as nursery:
                    self._scope = nursery.cancel_scope
                    nursery.start_soon(self._send, connection, opening)
                    nursery.start_soon(self._watch, connection.websocket)
                    await self._receive(connection)
            finally:
                self._leave()
            if self._finished.is_set() or (self._end and self._end.planned):
                with trio.move_on_after(1):
                    await connection.websocket.aclose()

    def _begin(self) -> Sequence[WireMessage]:
        covered = round(self._coverage.until * self._rate)
        start = max(covered, self._buffer.first)
        origin = start / self._rate
        if start > covered:
            self.stats.lost += (start - covered) / self._rate
            self._owner.audio_lost(covered / self._rate, origin)
        self.stats.replayed += max(self._sender.outbox.cursor - start, 0) / self._rate
        opening = self._hearing.begin(origin)
        self._buffer.release(start)
        now = self._started = self._last_received = trio.current_time()
        self._watchdog = Watchdog(self._settings, self._dialect.longest, now, origin)
        self._sender.begin(now, start, self._watchdog)
        self._failed, self._complaints = None, 0
        self.connected = True
        self.stats.connections += 1
        if self._told_lost:
            self._told_lost = False
            self._owner.link_restored(origin)
        return opening

    def _leave(self) -> None:
        self.connected = False
        if self._end is not None and self._end.planned:
            self.stats.renewals += 1
        elif not self._finished.is_set():
            self.stats.losses += 1
        self._sender.outbox.forget_marks()
        if self._settled is not None and not self._settled.is_set():
            self._sender.outbox.mark("settle")
        if self._closing:
            self._sender.outbox.mark("close")

    def _drop(self, detail: str, *, permanent: bool = False, planned: bool = False) -> None:
        """End this connection; the first reason counts."""
        if self._end is None:
            self._end = LinkFailure(redact(detail, self._dialect), permanent=permanent, planned=planned)
        self._scope.cancel()

    # Sending

    async def _send(self, connection: Connection, opening: Sequence[WireMessage]) -> None:
        if await self._sender.run(connection, opening, self._settle):
            await self._wait_for_tail(connection)
        # Else the receiver hears of the end too, after the messages that came before.

    async def _settle(self, connection: Connection) -> None:
        # What was said before a pong is handed on before it. But a server answers a ping as soon as it reads it, when
        # it may not have come to the audio before it; at the second it has.
        await connection.websocket.ping()
        await connection.websocket.ping()
        if self._settled is not None:
            self._settled.set()

    async def _wait_for_tail(self, connection: Connection) -> None:
        patience = self._settings.tail
        while patience > 0:
            await trio.sleep(patience)
            last = max(self._sender.pacing.sent, self._last_received)
            patience = last + self._settings.tail - trio.current_time()
        if not self._all_covered() and not self._all_heard():
            await self._ping(connection.websocket)  # if it has not even heard the end, another one may
            self._owner.warn("the transcriber sent no last result; words at the end may be missing")
        self._finished.set()
        self._scope.cancel()

    # Receiving

    async def _receive(self, connection: Connection) -> None:
        try:
            await connection.receive(self._take)
        except ConnectionClosed:
            reason = connection.websocket.closed
            self._closed(*(reason.code, reason.reason) if reason else (1006, None))

    def _take(self, message: WireMessage) -> None:
        if self._scope.cancel_called:  # what comes behind the end is not heard
            return
        self._last_received = trio.current_time()
        at = self._owner.now()
        self._owner.received(at, message)
        unread = self._hearing.unread
        try:
            news = self._hearing.hear(message, at, self._sender.sent_until)
        except ValueError as error:
            self.stats.not_understood += 1
            if not unread:  # once a connection; a server that talks nonsense does so often
                self._owner.warn(redact(f"a message of the transcriber makes no sense: {error}", self._dialect))
            return
        self._buffer.release(min(round(self._coverage.until * self._rate), self._sender.outbox.cursor))
        for item in news:
            self._learn(item)
        self._renew_in_time()
        if self._dialect.silence_after is not None:
            self._sender.wake()

    def _learn(self, news: ProviderNews | Missed) -> None:
        self._failed = news.detail if isinstance(news, ProviderFailed) else None
        match news:
            case Heard(channel, signal):
                self._watchdog.heard(signal, self._sender.sent_until)
                self._owner.transcribed(channel, signal)
            case Missed(again=True):
                self._drop("a final result could not be read")
            case Missed(start, end):
                self._owner.audio_lost(start, end)
            case ProviderFailed(detail, permanent=True):
                self._drop(f"the transcriber failed: {detail}", permanent=True)
            case ProviderFailed(detail):
                self._complaints += 1
                if self._complaints <= _COMPLAINTS:
                    self._owner.warn(redact(f"the transcriber reports: {detail}", self._dialect))
            case StreamFinished() if self._sender.close_sent:
                self._finished.set()
                self._scope.cancel()

    def _closed(self, code: int, reason: str | None) -> None:
        if self._failed is not None and code == _CLOSED_OK:  # as Soniox closes after an error
            self._drop(f"the transcriber failed: {self._failed}")
        elif self._sender.close_sent and code == _CLOSED_OK:
            self._finished.set()
        else:
            detail = f"the transcriber hung up: {code} {reason or ''}".rstrip()
            self._drop(detail, permanent=code == _POLICY_VIOLATION)

    def _all_covered(self) -> bool:
        return self._coverage.until >= self._buffer.end / self._rate - 0.05

    def _all_heard(self) -> bool:
        """The transcriber has listened to the end, and all words it heard are final."""
        return self._coverage.finished and self._watchdog.reach >= self._buffer.end / self._rate - 0.05

    def _nothing_left(self) -> bool:
        """At the end, is another connection worth while? Not when asking for the rest has brought nothing."""
        before, self._covered_at_close = self._covered_at_close, self._coverage.until
        return self._all_covered() or (self._sender.close_sent and self._coverage.until <= before)

    # Signs of life

    async def _watch(self, websocket: WebSocketConnection) -> None:
        settings, asked = self._settings, -math.inf
        while True:
            await trio.sleep_until(max(asked, self._last_received) + settings.ping_every)
            if trio.current_time() >= self._last_received + settings.ping_every:  # any message is a sign of life
                asked = trio.current_time()
                await self._ping(websocket)
            if (complaint := self._watchdog.hangs(trio.current_time(), self._sender.sent_until)) is not None:
                self._drop(complaint)
            self._renew_in_time()

    async def _ping(self, websocket: WebSocketConnection) -> None:
        """Ask for a sign of life; without one the connection is over."""
        with trio.move_on_after(self._settings.ping_timeout) as patience:
            try:
                await websocket.ping()
            except (ConnectionClosed, LocalProtocolError):  # the receiver hears of it, unless the answer is stuck
                await trio.sleep_forever()
        if patience.cancelled_caught:
            self._drop(f"no sign of life from the transcriber for {self._settings.ping_timeout:g} s")
            await trio.sleep_forever()

    def _renew_in_time(self) -> None:
        if self._dialect.longest is None:
            return
        now, sent, finished = trio.current_time(), self._sender.sent_until, self._coverage.finished
        if not self._closing and self._watchdog.outlived(now, sent, finished):
            minutes = f"{self._dialect.longest / 60:g} min"
            self._drop(f"planned: {self._dialect.name} ends a connection after {minutes}", planned=True)
