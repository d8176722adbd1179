"""One connection to the transcriber: what it sends, what it hears, and whether it is still alive.

One task sends, one receives and hands on, which never stops, or pings would go unanswered, and one watches for signs of
life. No send ever has a timeout of its own: a cancelled send leaves half a frame on the wire. A stuck connection is
dropped as a whole.
"""

from __future__ import annotations

import math

import trio
from trio_websocket import ConnectionClosed
from wsproto.utilities import LocalProtocolError

from hearout.link.progress import Progress
from hearout.link.refusal import LinkFailure
from hearout.link.secrets import masked_message, redact
from hearout.link.sender import Sender
from hearout.link.watchdog import Watchdog
from hearout.link.websocket import WebSocket
from hearout.nursery import open_background
from hearout.transcribers.base import Heard, ProviderFailed, ProviderNews, StreamFinished, WireMessage, tells_progress
from hearout.transcribers.clock import position_record
from hearout.transcribers.hearing import Missed

__all__ = ["Connection"]

_CLOSED_OK = 1000
_COMPLAINTS = 10  # of the transcriber that are told, for each connection
_POLICY_VIOLATION = 1008  # Deepgram: the payload cannot be decoded as audio; it would not be next time


class Connection:
    """A connection that is up. It begins with this object, and has ended when `run` has.

    Attributes:
        sender: what it sends.
        finished: it has brought the last result there is.
        failure: why it ended otherwise.
    """

    def __init__(self, websocket: WebSocket, progress: Progress, frame: int) -> None:
        """It hears the audio from ``frame`` on."""
        now, origin = trio.current_time(), frame / progress.rate
        self._opening = progress.hearing.begin(origin)  # before anything is read: with this the dialect starts anew
        dialect = progress.dialect
        self._watchdog = Watchdog(
            progress.settings, dialect.longest, now, origin, tells_progress=tells_progress(dialect)
        )
        self.sender = Sender(websocket, progress, self._watchdog, frame, self._settle)
        self.finished = False
        self.failure: LinkFailure | None = None
        self._websocket = websocket
        self._progress = progress
        self._owner = progress.owner
        self._settings = progress.settings
        self._began = self._last_received = now
        self._failed: str | None = None  # the last thing that was said was this failure
        self._complaints = 0  # of the transcriber
        self._scope = trio.CancelScope()

    def drop(self, detail: str, *, permanent: bool = False, planned: bool = False) -> None:
        """End it; the first reason counts."""
        if self.failure is None:
            self.failure = LinkFailure(redact(detail, self._progress.dialect), permanent=permanent, planned=planned)
        self._scope.cancel()

    def _finish(self) -> None:
        self.finished = True
        self._scope.cancel()

    async def run(self) -> None:
        """Talk until it has ended."""
        async with open_background() as nursery:
            with self._scope:
                nursery.start_soon(self._send)
                nursery.start_soon(self._watch)
                await self._receive()

    async def close(self) -> None:
        """Take leave, unless it was the other side that left."""
        if self.finished or (self.failure is not None and self.failure.planned):
            with trio.move_on_after(1):
                await self._websocket.aclose()

    def was_stable(self, now: float) -> bool:
        """It has worked so long that it was a good one."""
        return self._watchdog.good_until(now) - self._began >= self._settings.stable

    # Sending

    async def _send(self) -> None:
        if await self.sender.run(self._opening):
            await self._wait_for_tail()
        # Else the receiver hears of the end too, after the messages that came before.

    async def _settle(self) -> None:
        # What was said before a pong is handed on before it. But a server answers a ping as soon as it reads it, when
        # it may not have come to the audio before it; at the second it has.
        await self._websocket.ping()
        await self._websocket.ping()
        if self._progress.settled is not None:
            self._progress.settled.set()

    async def _wait_for_tail(self) -> None:
        patience = self._settings.tail
        while patience > 0:
            await trio.sleep(patience)
            last = max(self.sender.pacing.sent, self._last_received)
            patience = last + self._settings.tail - trio.current_time()
        coverage, at_end = self._progress.hearing.coverage, self._progress.at_end
        if not at_end(coverage.until) and not (coverage.finished and at_end(self._watchdog.reach)):
            await self._ping()  # if it has not even heard the end, another one may
            self._owner.warn("the transcriber sent no last result; words at the end may be missing")
        self._finish()

    # Receiving

    async def _receive(self) -> None:
        try:
            await self._websocket.receive(self._take)
        except ConnectionClosed:
            reason = self._websocket.closed
            self._closed(*(reason.code, reason.reason) if reason else (1006, None))

    def _take(self, message: WireMessage) -> None:
        self._last_received = trio.current_time()
        message = masked_message(message, self._progress.dialect)
        at, hearing = self._owner.now(), self._progress.hearing
        if not tells_progress(self._progress.dialect):
            self._owner.sent(position_record(round(self._progress.sent, 6)))
        self._owner.received(at, message)
        unread = hearing.unread
        try:
            news = hearing.hear(message, at, self._progress.sent)
        except ValueError as error:
            self._progress.stats.not_understood += 1
            if not unread:  # once a connection; a server that talks nonsense does so often
                self._warn(f"a message of the transcriber makes no sense: {error}")
            return
        self._progress.release()
        for item in news:
            self._learn(item)
        self._renew_in_time()
        if self._progress.dialect.silence_after is not None:
            self.sender.wake()

    def _learn(self, news: ProviderNews | Missed) -> None:
        self._failed = news.detail if isinstance(news, ProviderFailed) else None
        match news:
            case Heard(channel, signal):
                self._watchdog.heard(signal, self._progress.sent)
                self._owner.transcribed(channel, signal)
            case Missed(again=True):
                self.drop("a final result could not be read")
            case Missed(start, end):
                self._owner.audio_lost(start, end)
            case ProviderFailed(detail, permanent=True):
                self.drop(f"the transcriber failed: {detail}", permanent=True)
            case ProviderFailed(detail):
                self._complaints += 1
                if self._complaints <= _COMPLAINTS:
                    self._warn(f"the transcriber reports: {detail}")
            case StreamFinished() if self.sender.close_sent:
                self._finish()

    def _warn(self, detail: str) -> None:
        self._owner.warn(redact(detail, self._progress.dialect))

    def _closed(self, code: int, reason: str | None) -> None:
        if self._failed is not None and code == _CLOSED_OK:  # as Soniox closes after an error
            self.drop(f"the transcriber failed: {self._failed}")
        elif self.sender.close_sent and code == _CLOSED_OK:
            self._finish()
        else:
            detail = f"the transcriber hung up: {code} {reason or ''}".rstrip()
            self.drop(detail, permanent=code == _POLICY_VIOLATION)

    # Signs of life

    async def _watch(self) -> None:
        settings, asked = self._settings, -math.inf
        while True:
            await trio.sleep_until(max(asked, self._last_received) + settings.ping_every)
            if trio.current_time() >= self._last_received + settings.ping_every:  # any message is a sign of life
                asked = trio.current_time()
                await self._ping()
            if (complaint := self._watchdog.hangs(trio.current_time(), self._progress.sent)) is not None:
                self.drop(complaint)
            self._renew_in_time()

    async def _ping(self) -> None:
        """Ask for a sign of life; without one the connection is over."""
        with trio.move_on_after(self._settings.ping_timeout) as patience:
            try:
                await self._websocket.ping()
            except (ConnectionClosed, LocalProtocolError):  # the receiver hears of it, unless the answer is stuck
                await trio.sleep_forever()
        if patience.cancelled_caught:
            self.drop(f"no sign of life from the transcriber for {self._settings.ping_timeout:g} s")
            await trio.sleep_forever()

    def _renew_in_time(self) -> None:
        dialect, finished = self._progress.dialect, self._progress.hearing.coverage.finished
        if dialect.longest is None or self._progress.closing:
            return
        if self._watchdog.outlived(trio.current_time(), self._progress.sent, finished):
            self.drop(f"planned: {dialect.name} ends a connection after {dialect.longest / 60:g} min", planned=True)
