"""The sending side of a connection: audio and control messages, in order.

No send has a timeout of its own: a cancelled send leaves half a frame on the wire.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Sequence

import trio
from trio_websocket import ConnectionClosed
from wsproto.utilities import LocalProtocolError

from hearout.link.outbox import Chore
from hearout.link.pacing import Pacing
from hearout.link.progress import Progress
from hearout.link.watchdog import Watchdog
from hearout.link.websocket import WebSocket
from hearout.transcribers.base import WireMessage, least_frames
from hearout.transcribers.clock import silence_record
from hearout.transcribers.decoding import options_record

__all__ = ["Sender"]

_NUDGE = 0.5  # seconds; while audio flows, no timer for each message is worth its price


class Sender:
    """Sends what is in the outbox.

    Attributes:
        pacing: what may be sent when.
        wake_at: number of the frame from which on `wake` is to be called, when that is fed.
        close_sent: the request to close went out.
    """

    def __init__(
        self,
        websocket: WebSocket,
        progress: Progress,
        watchdog: Watchdog,
        frame: int,
        settle: Callable[[], Awaitable[None]],
    ) -> None:
        """For a connection that begins now, and is fed from ``frame`` on; ``settle``: what to do at such a mark."""
        self.pacing = Pacing(progress.settings, progress.rate, trio.current_time(), frame)
        self.wake_at = 0
        self.close_sent = False
        self._websocket = websocket
        self._progress = progress
        self._outbox = progress.outbox
        self._dialect = progress.dialect
        self._owner = progress.owner
        self._settings = progress.settings
        self._watchdog = watchdog
        self._settle = settle
        self._wake = trio.Event()
        self._segment = 0  # frames sent since the last segment ended

    def wake(self) -> None:
        """Look again what is to be sent."""
        self._wake.set()

    async def run(self, opening: Sequence[WireMessage]) -> bool:
        """Send ``opening``, then what is due, until the request to close is out.

        Returns:
            False when the connection has ended before.
        """
        if (options := options_record(self._dialect)) is not None:
            self._owner.sent(json.dumps(options))
        try:
            for message in opening:
                await self._websocket.send(message)
            while not self.close_sent:
                self._wake = trio.Event()
                if not await self._send_next():
                    await self._wait()
        except (ConnectionClosed, LocalProtocolError):
            return False
        return True

    async def _send_next(self) -> bool:
        """Send what comes next; False when nothing is due."""
        now, outbox, pacing = trio.current_time(), self._outbox, self.pacing
        if outbox.overrun or now < (due := pacing.audio_due(outbox)):  # the first is being noticed
            return False
        match outbox.take(partial=now >= pacing.partial):
            case bytes(pcm):
                self._watchdog.sent(now, self._progress.sent)
                await self._send_audio(pcm)
                pacing.audio = pacing.sent
            case Chore(kind="finalize", channel=channel):
                if (message := self._dialect.finalize(channel)) is not None:
                    self._progress.hearing.asked(self._progress.sent)
                    self._watchdog.asked(now, self._progress.sent)
                    await self._end_segment(message)
            case Chore(kind="message", message=text):
                await self._tell(text)
            case Chore(kind="settle"):
                await self._settle()
                pacing.audio = trio.current_time()  # it was not the audio that waited
            case Chore(kind="close"):
                await self._hear_out()
                await self._end_segment(self._dialect.closing())
                self.close_sent = True
            case Chore(kind="flush"):
                pass  # what was before it has not waited, as before any mark
            case None:
                idle = now >= max(due, pacing.partial)  # it waits for any audio, not for a whole message
                self.wake_at = 0 if idle else outbox.whole
                return False
        return True

    async def _wait(self) -> None:
        """Until something may be due; do what is due without audio."""
        now, outbox, pacing = trio.current_time(), self._outbox, self.pacing
        due, partial = pacing.audio_due(outbox), pacing.partial
        silence = pacing.silence_due(outbox, self._dialect.silence_after)
        keepalive = pacing.sent + (self._dialect.keepalive_after or math.inf)
        if now >= silence:
            return await self._send_silence()
        if now >= keepalive and (message := self._dialect.keepalive()) is not None:
            return await self._send(message)
        if due > now:
            until = min(due, silence, keepalive)
        elif self._dialect.silence_after is not None:
            until = min(partial if partial > now else math.inf, silence, keepalive)
        else:
            until = min(max(partial, now + _NUDGE), keepalive)
        with trio.move_on_at(until):
            await self._wake.wait()
        return None

    async def _send(self, message: WireMessage) -> None:
        await self._websocket.send(message)
        self.pacing.sent = trio.current_time()

    async def _tell(self, message: WireMessage) -> None:
        await self._send(message)
        self._owner.sent(message)

    async def _send_audio(self, pcm: bytes) -> None:
        """Send ``pcm``, with silence behind it where the provider takes no message so short."""
        frames = len(pcm) // (2 * self._dialect.channels)
        missing = least_frames(self._dialect, self._progress.rate, "message") - frames
        self._segment += frames
        await self._send(self._dialect.audio(pcm + self._silence(missing) if missing > 0 else pcm))

    async def _end_segment(self, message: WireMessage) -> None:
        """Send ``message``, which ends a segment, with silence before it where the provider takes none so short."""
        if (missing := least_frames(self._dialect, self._progress.rate, "segment") - self._segment) > 0:
            await self._send(self._dialect.audio(self._silence(missing)))
        self._segment = 0
        await self._tell(message)

    async def _send_silence(self) -> None:
        frames = round(self._settings.message * self._progress.rate)
        await self._send(self._dialect.audio(self._silence(frames)))
        self.pacing.silence = self.pacing.sent

    def _silence(self, frames: int) -> bytes:
        """Silence that is about to be sent behind all audio so far: the provider's clock is ahead by that."""
        audio, seconds = round(self._progress.sent, 6), round(frames / self._progress.rate, 6)
        self._progress.hearing.insert_silence(audio, seconds)
        self._segment += frames
        self._owner.sent(silence_record(audio, seconds))
        return bytes(2 * self._dialect.channels * frames)

    async def _hear_out(self) -> None:
        """Before the end: let a provider end its turn that needs silence for it."""
        until = trio.current_time() + self._settings.tail
        while self._dialect.silence_after is not None and trio.current_time() < until:
            await self._send_silence()
            await trio.sleep(self._settings.message)
