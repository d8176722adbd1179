"""The link to the transcriber: the one place with sockets, whatever the provider.

`Link.run` connects, and connects again whenever the connection is lost. Audio that no final result covers yet
is kept, and a new connection is fed from there on; provider times, which start again at 0, are mapped to audio
time of the session by one offset a connection.

A connection that the provider would soon end is left in time, in a moment without speech if there is one. Providers
that end turns by the audio they get are fed silence when the audio stops; it is in no buffer, and its time is taken
out of theirs.
"""

from __future__ import annotations

import random

import trio

from hearout.link.connection import Connection
from hearout.link.outbox import ChoreKind
from hearout.link.progress import Progress
from hearout.link.refusal import LinkFailure
from hearout.link.retry import Retry
from hearout.link.settings import LinkOwner, LinkSettings
from hearout.link.socket import Connector, open_stream
from hearout.link.websocket import WebSocket, open_websocket
from hearout.transcribers.base import Dialect

__all__ = ["Link"]


class Link:
    """Keeps a transcriber listening.

    Attributes:
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
        self._progress = Progress(dialect, sample_rate, settings or LinkSettings(), owner)
        self.stats = self._progress.stats
        self._connect = connect
        self._rng = rng or random.Random()
        self._connection: Connection | None = None
        self._finished = trio.Event()
        self._told_lost = False
        self._covered_at_close = -1.0

    @property
    def connected(self) -> bool:
        """A connection is up."""
        return self._connection is not None

    # What the session calls

    def feed(self, pcm: bytes) -> None:
        """Audio for the transcriber: whole frames. Never blocks; what cannot be sent yet is kept."""
        if not pcm:
            return
        buffer, connection = self._progress.buffer, self._connection
        buffer.append(pcm)
        if connection is not None and buffer.end >= connection.sender.wake_at:
            connection.sender.wake()
            if self._progress.outbox.overrun:
                connection.drop("the transcriber does not take the audio")

    def finalize(self, channel: int | None = None) -> None:
        """Ask for final results of all audio fed so far, on one channel or (None) on all."""
        if not self._progress.closing:
            self._mark("finalize", channel)

    def quiet(self, since: float, until: float) -> None:
        """Nobody spoke from ``since`` to ``until``, audio time: not to be heard again if all before is final."""
        if self._progress.hearing.quiet(since, until):
            self._progress.release()

    def send(self, message: str) -> None:
        """Send a control message of the provider's behind all audio fed so far. A lost connection takes it along."""
        if not self._progress.closing:
            self._mark("message", message=message)

    def flush(self) -> None:
        """No audio comes for now: send what there is, without waiting for a whole message."""
        if not self._progress.closing:
            self._mark("flush")

    async def settle(self) -> None:
        """Wait until the server has read all audio fed so far, and all it said before that was handed on."""
        if self._finished.is_set():
            return
        self._progress.settled = trio.Event()
        self._mark("settle")
        await self._progress.settled.wait()

    async def finish(self) -> None:
        """No audio comes any more: wait for the last results, at most `LinkSettings.tail` for each message."""
        self._progress.closing = True
        self._mark("close")
        await self._finished.wait()

    def _mark(self, kind: ChoreKind, channel: int | None = None, message: str = "") -> None:
        self._progress.outbox.mark(kind, channel, message)
        if self._connection is not None:
            self._connection.sender.wake()

    # One connection after another

    async def run(self) -> None:
        """Keep connected until `finish` is through.

        Raises:
            SessionError: the transcriber refused, or could not be reached for too long.
        """
        progress, coverage = self._progress, self._progress.hearing.coverage
        retry = Retry(progress.settings, trio.current_time())
        while True:
            covered = coverage.until
            connection, failure = await self._serve()
            if self._finished.is_set():
                return
            if progress.closing and self._nothing_left(connection):
                self._finished.set()
                return
            now = trio.current_time()
            stable = connection is not None and connection.was_stable(now)
            if failure.planned or stable or coverage.until > covered:
                retry.start_afresh(now)
            pause = 0.0
            if not failure.planned:
                pause = retry.pause(failure, now, self._rng, first=not self.stats.connections)
            if not self._told_lost:
                self._told_lost = True
                progress.owner.link_lost(failure.detail)
            await trio.sleep(pause)

    async def _serve(self) -> tuple[Connection | None, LinkFailure]:
        """Open a connection and use it until its end: the connection, if there was one, and why it is none any more."""
        progress, connection = self._progress, None
        try:
            async with open_websocket(progress.dialect, self._connect, progress.settings.handshake) as websocket:
                connection = self._begin(websocket)
                try:
                    await connection.run()
                finally:
                    self._leave(connection)
                await connection.close()
        except LinkFailure as error:
            return connection, (connection and connection.failure) or error
        return connection, connection.failure or LinkFailure("the connection ended")

    def _begin(self, websocket: WebSocket) -> Connection:
        progress = self._progress
        covered = round(progress.hearing.coverage.until * progress.rate)
        start = max(covered, progress.buffer.first)
        origin = start / progress.rate
        if start > covered:
            self.stats.lost += (start - covered) / progress.rate
            progress.owner.audio_lost(covered / progress.rate, origin)
        self.stats.replayed += max(progress.outbox.cursor - start, 0) / progress.rate
        progress.buffer.release(start)
        progress.outbox.cursor = start
        self._connection = Connection(websocket, progress, start)
        self.stats.connections += 1
        if self._told_lost:
            self._told_lost = False
            progress.owner.link_restored(origin)
        return self._connection

    def _leave(self, connection: Connection) -> None:
        progress, self._connection = self._progress, None
        if connection.finished:
            self._finished.set()
        elif connection.failure is not None and connection.failure.planned:
            self.stats.renewals += 1
        else:
            self.stats.losses += 1
        progress.outbox.forget_marks()
        if progress.settled is not None and not progress.settled.is_set():
            progress.outbox.mark("settle")
        if progress.closing:
            progress.outbox.mark("close")

    def _nothing_left(self, connection: Connection | None) -> bool:
        """At the end, is another connection worth while? Not when asking for the rest has brought nothing."""
        covered = self._progress.hearing.coverage.until
        before, self._covered_at_close = self._covered_at_close, covered
        asked = connection is not None and connection.sender.close_sent
        return self._progress.at_end(covered) or (asked and covered <= before)
