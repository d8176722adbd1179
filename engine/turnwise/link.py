"""The link to the transcriber: the one place with sockets, whatever the provider.

`Link.run` connects, and connects again whenever the connection is lost. Audio that no final result covers yet
is kept, and a new connection is fed from there on; provider times, which start again at 0, are mapped to audio
time of the session by one offset a connection. Three tasks serve a connection: one sends (nobody else writes,
pings aside), one receives and hands on synchronously (it never stops reading, or pings would go unanswered),
one watches for signs of life. No send ever has a timeout of its own: a cancelled send leaves half a frame on
the wire. A stuck connection is dropped as a whole.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection
from wsproto.utilities import LocalProtocolError

from turnwise.errors import SessionError
from turnwise.link_base import LinkOwner, LinkSettings, LinkStats
from turnwise.link_connection import Connector, LinkFailure, open_connection, open_stream, redact
from turnwise.link_outbox import Mark, Outbox
from turnwise.nursery import open_background
from turnwise.replay_buffer import Coverage, ReplayBuffer
from turnwise.transcribers.base import Dialect, Heard, ProviderFailed, StreamFinished, WireMessage
from turnwise_policies.signals import Signal

__all__ = ["Link"]

_CLOSED_OK = 1000
_ENOUGH = 5  # seconds of audio that no transcriber leaves without any message
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
        self._outbox = Outbox(self._buffer, round(settings.message * sample_rate))
        self._coverage = Coverage(dialect.channels)
        self._wake = trio.Event()
        self._idle = True  # the sender waits for any audio, not for a whole message
        self._closing = False
        self._finished = trio.Event()
        self._settled: trio.Event | None = None
        self._told_lost = False
        self._covered_at_close = -1.0
        # The current connection:
        self._scope = trio.CancelScope()
        self._end: LinkFailure | None = None
        self._origin = 0  # frame that is the provider's 0
        self._started = self._last_sent = self._last_received = 0.0
        self._failed: str | None = None  # the last thing that was said was this failure
        self._unread = False  # a message of this connection made no sense
        self._reread: tuple[float, float] | None = None  # a span that was asked for again because of that
        self._unanswered: tuple[float, int] | None = None  # when and where audio went out that nothing answered
        self._catching_up = False
        self._close_sent = False
        self._received = 0

    # What the session calls

    def feed(self, pcm: bytes) -> None:
        """Audio for the transcriber: whole frames. Never blocks; what cannot be sent yet is kept."""
        if pcm:
            self._buffer.append(pcm)
            if self._idle or self._outbox.ready:
                self._wake.set()

    def finalize(self, channel: int | None = None) -> None:
        """Ask for final results of all audio fed so far, on one channel or (None) on all."""
        if not self._closing:
            self._outbox.mark("finalize", channel)
            self._wake.set()

    def send(self, message: str) -> None:
        """Send a control message of the provider's behind all audio fed so far. A lost connection takes it along."""
        if not self._closing:
            self._outbox.mark("message", message=message)
            self._wake.set()

    async def settle(self) -> None:
        """Wait until the server has read all audio fed so far, and all it said before that was handed on."""
        if self._finished.is_set():
            return
        self._settled = trio.Event()
        self._outbox.mark("settle")
        self._wake.set()
        await self._settled.wait()

    async def finish(self) -> None:
        """No audio comes any more: wait for the last results, at most `LinkSettings.tail` for each message."""
        self._closing = True
        self._outbox.mark("close")
        self._wake.set()
        await self._finished.wait()

    async def run(self) -> None:
        """Keep connected until `finish` is through.

        Raises:
            SessionError: the transcriber refused, or could not be reached for too long.
        """
        settings = self._settings
        attempt, trouble_since = 0, trio.current_time()
        while True:
            covered = self._coverage.until
            self._end, self._started = None, math.inf
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
            good_until = now if self._unanswered is None else self._unanswered[0]
            if self._coverage.until > covered or good_until - self._started >= settings.stable:
                attempt, trouble_since = 0, now
            if failure.permanent:
                raise SessionError(failure.detail)
            pause = min(settings.backoff * 2**attempt, settings.backoff_cap) * self._rng.uniform(0.5, 1.0)
            if failure.retry_after is not None:
                pause = max(pause, failure.retry_after)
            budget = settings.budget if self.stats.connections else settings.first_budget
            if now + pause - trouble_since > budget:
                remedy = f": {failure.remedy}" if failure.remedy else ""
                raise SessionError(f"{failure.detail}; gave up after {now - trouble_since:.0f} s{remedy}")
            if not self._told_lost:
                self._told_lost = True
                self._owner.link_lost(failure.detail)
            attempt = min(attempt + 1, 16)
            await trio.sleep(pause)

    # One connection

    async def _serve_one_connection(self) -> None:
        async with open_connection(self._dialect, self._connect, self._settings.handshake) as websocket:
            self._begin()
            opening = self._dialect.opening()  # before anything is read: with this the dialect starts anew
            try:
                async with open_background() as nursery:
                    self._scope = nursery.cancel_scope
                    nursery.start_soon(self._send, websocket, opening)
                    nursery.start_soon(self._watch, websocket)
                    await self._receive(websocket)
            finally:
                self._leave()
            if self._finished.is_set():
                with trio.move_on_after(1):
                    await websocket.aclose()

    def _begin(self) -> None:
        covered = round(self._coverage.until * self._rate)
        self._origin = start = max(covered, self._buffer.first)
        if start > covered:
            self.stats.lost += (start - covered) / self._rate
            self._owner.audio_lost(covered / self._rate, start / self._rate)
        self.stats.replayed += max(self._outbox.cursor - start, 0) / self._rate
        self._outbox.cursor = start
        self._coverage.restart(start / self._rate)
        self._buffer.release(start)
        self._started = self._last_sent = self._last_received = trio.current_time()
        self._unanswered, self._close_sent, self._unread, self._failed = None, False, False, None
        self._catching_up = self._settings.replay_speed is not None
        self.connected = True
        self.stats.connections += 1
        if self._told_lost:
            self._told_lost = False
            self._owner.link_restored(start / self._rate)

    def _leave(self) -> None:
        self.connected = False
        if not self._finished.is_set():
            self.stats.losses += 1
        self._outbox.forget_marks()
        if self._settled is not None and not self._settled.is_set():
            self._outbox.mark("settle")
        if self._closing:
            self._outbox.mark("close")

    def _drop(self, detail: str, *, permanent: bool = False) -> None:
        """End this connection; the first reason counts."""
        if self._end is None:
            self._end = LinkFailure(redact(detail, self._dialect), permanent=permanent)
        self._scope.cancel()

    # Sending

    async def _send(self, websocket: WebSocketConnection, opening: Sequence[WireMessage]) -> None:
        try:
            for message in opening:
                await websocket.send_message(message)
            while not self._close_sent:
                await self._send_next(websocket)
        except (ConnectionClosed, LocalProtocolError):
            return  # the receiver hears of it too, after the messages that came before
        await self._wait_for_tail()

    async def _send_next(self, websocket: WebSocketConnection) -> None:
        now, outbox = trio.current_time(), self._outbox
        if outbox.overrun:
            self._drop("the transcriber does not take the audio")
            await trio.sleep_forever()
        due = self._audio_due()
        patience = self._last_sent + 1.5 * self._settings.message  # then part of a message will do
        match outbox.take(partial=now >= patience) if now >= due else None:
            case bytes(pcm):
                self._unanswered = self._unanswered or (now, outbox.cursor)
                await websocket.send_message(self._dialect.audio(pcm))
            case Mark(kind="finalize", channel=channel):
                if (message := self._dialect.finalize(channel)) is not None:
                    self._owner.sent(message)
                    await websocket.send_message(message)
            case Mark(kind="message", message=text):
                self._owner.sent(text)
                await websocket.send_message(text)
            case Mark(kind="close"):
                message = self._dialect.closing()
                self._owner.sent(message)
                await websocket.send_message(message)
                self._close_sent = True
            case Mark(kind="settle"):
                await websocket.ping()
                await self._let_receive()
                if self._settled is not None:
                    self._settled.set()
                return
            case None:
                keepalive = self._last_sent + (self._dialect.keepalive_after or math.inf)
                if now >= keepalive and (message := self._dialect.keepalive()) is not None:
                    await websocket.send_message(message)
                else:
                    self._idle = now >= max(due, patience)
                    await self._wait(keepalive if self._idle else min(due if due > now else patience, keepalive))
                    return
        self._last_sent = trio.current_time()

    def _audio_due(self) -> float:
        """When the next audio may go out: after a loss the backlog goes hardly faster than real time."""
        settings, outbox = self._settings, self._outbox
        message = round(settings.message * self._rate)
        if self._catching_up and (settings.replay_speed is None or outbox.waiting < message):
            self._catching_up = False
        if not self._catching_up or settings.replay_speed is None:
            return -math.inf
        return self._started + (outbox.stop - message - self._origin) / (self._rate * settings.replay_speed)

    async def _wait(self, until: float) -> None:
        self._wake = trio.Event()
        with trio.move_on_at(until):
            await self._wake.wait()

    async def _wait_for_tail(self) -> None:
        patience = self._settings.tail
        while patience > 0:
            await trio.sleep(patience)
            last = max(self._last_sent, self._last_received)
            patience = last + self._settings.tail - trio.current_time()
        if not self._all_covered():
            self._owner.warn("the transcriber sent no last result; words at the end may be missing")
        self._finished.set()
        self._scope.cancel()

    # Receiving

    async def _receive(self, websocket: WebSocketConnection) -> None:
        offset = self._origin / self._rate
        understood, complaints = True, 0
        while not self._scope.cancel_called:
            try:
                message = await websocket.get_message()
            except ConnectionClosed:
                reason = websocket.closed
                self._closed(*(reason.code, reason.reason) if reason else (1006, None))
                return
            self._last_received, self._unanswered = trio.current_time(), None
            self._received += 1
            at = self._owner.now()
            self._owner.received(at, message)
            try:
                news = self._dialect.decode(message, at, offset)
            except ValueError as error:
                self.stats.not_understood += 1
                self._unread = True
                if understood:  # once a connection; a server that talks nonsense does so often
                    understood = False
                    self._owner.warn(redact(f"a message of the transcriber makes no sense: {error}", self._dialect))
                continue
            for item in news:
                self._failed = item.detail if isinstance(item, ProviderFailed) else None
                match item:
                    case Heard(channel, signal):
                        self._heard(channel, signal)
                    case ProviderFailed(detail, permanent=True):
                        self._drop(f"the transcriber failed: {detail}", permanent=True)
                    case ProviderFailed(detail) if (complaints := complaints + 1) <= _COMPLAINTS:
                        self._owner.warn(redact(f"the transcriber reports: {detail}", self._dialect))
                    case StreamFinished() if self._close_sent:
                        self._finished.set()
                        self._scope.cancel()

    def _heard(self, channel: int, signal: Signal) -> None:
        if self._unread and (gap := self._coverage.gap(channel, signal)) is not None:
            # What could not be read was a final result: its audio is asked for again, once.
            if gap != self._reread:
                self._reread = gap
                self._drop("a final result could not be read")
                return
            self._owner.audio_lost(*gap)
        new = self._coverage.admit(channel, signal, self._outbox.cursor / self._rate)
        self._buffer.release(min(round(self._coverage.until * self._rate), self._outbox.cursor))
        if new is not None:
            self._owner.transcribed(channel, new)

    async def _let_receive(self) -> None:
        # A pong wakes its waiter even while messages from before it are still queued for the receiver.
        seen = -1
        while seen != self._received:
            seen = self._received
            for _ in range(3):
                await trio.lowlevel.checkpoint()

    def _closed(self, code: int, reason: str | None) -> None:
        if self._failed is not None and code == _CLOSED_OK:  # as Soniox closes after an error
            self._drop(f"the transcriber failed: {self._failed}")
        elif self._close_sent and code == _CLOSED_OK:
            self._finished.set()
        else:
            detail = f"the transcriber hung up: {code} {reason or ''}".rstrip()
            self._drop(detail, permanent=code == _POLICY_VIOLATION)

    def _all_covered(self) -> bool:
        return self._coverage.until >= self._buffer.end / self._rate - 0.05

    def _nothing_left(self) -> bool:
        """At the end, is another connection worth while? Not when asking for the rest has brought nothing."""
        before, self._covered_at_close = self._covered_at_close, self._coverage.until
        return self._all_covered() or (self._close_sent and self._coverage.until <= before)

    # Signs of life

    async def _watch(self, websocket: WebSocketConnection) -> None:
        settings = self._settings
        while True:
            await trio.sleep(settings.ping_every)
            with trio.move_on_after(settings.ping_timeout) as patience:
                try:
                    await websocket.ping()
                except (ConnectionClosed, LocalProtocolError):
                    return
            if patience.cancelled_caught:
                self._drop(f"no sign of life from the transcriber for {settings.ping_timeout:g} s")
            if self._unanswered is not None:
                since, frame = self._unanswered
                silent = trio.current_time() - since
                if silent >= settings.answer_timeout and self._outbox.cursor - frame >= _ENOUGH * self._rate:
                    self._drop(f"the transcriber has not answered for {silent:.0f} s")
