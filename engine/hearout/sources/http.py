"""Audio from the web: files and radio, decoded as they come (``pip install 'hearout[http]'``)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import trio

from hearout.errors import HearoutError, SessionError
from hearout.sources.encoded import Decoding
from hearout.sources.http_stream import HttpSettings, HttpStream, Outages, open_http_stream

__all__ = ["HttpSettings", "HttpSource", "http_source"]

T = TypeVar("T")

_log = logging.getLogger(__name__)


@asynccontextmanager
async def http_source(url: str, settings: HttpSettings | None = None) -> AsyncIterator[HttpSource]:
    """Connect to ``url`` (http or https) and decode what comes, for the length of a block.

    Of a file each channel is a speaker, as with other files; a broadcast is one, whatever its channels: a mix.

    Raises:
        UsageError: the address leads to no audio that can be decoded.
        SessionError: the server cannot be reached, or fails.
    """
    settings = settings or HttpSettings()
    async with open_http_stream(url, settings) as stream:
        source = HttpSource(stream, settings)
        try:
            await source.open()
            yield source
        finally:
            source.close()


class HttpSource:
    """Decodes what a server sends, when audio is wanted: what nobody wants yet waits at the server.

    Files end, also when their connection broke off in between and they could go on. A broadcast that breaks off is
    connected to again and goes on with what is on air then; how long that took is told in the log.

    Decoding may have to wait for bytes, inside FFmpeg: so it runs in a worker thread, which asks trio for them. A
    cancelled session cancels that wait, and with it the thread's work.

    Not made by hand: see `http_source`.

    Raises:
        SessionError: from the iteration, after all the audio that came: the connection is lost for good.
        UsageError: likewise: there was nothing that could be decoded.
    """

    sample_rate: int
    channels: int
    duration: float | None

    def __init__(self, stream: HttpStream, settings: HttpSettings) -> None:
        self._stream = stream
        self._outages = Outages(settings)
        self._decoding: Decoding | None = None
        self._mono = stream.broadcast
        self._limiter = trio.CapacityLimiter(1)  # trio's own is for work that ends soon

    async def open(self) -> None:
        """Read until it is known what comes."""
        decoding = self._decoding = await self._in_thread(lambda: self._decode(None))
        self.sample_rate, self.channels, self.duration = decoding.sample_rate, decoding.channels, decoding.duration

    def close(self) -> None:
        """Let go of the decoder."""
        if self._decoding is not None:
            self._decoding.close()
            self._decoding = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        while self._decoding is not None:
            if pcm := await self._in_thread(self._decoding.read):
                if outage := self._outages.lasting:
                    _log.warning("%s: on air again; %.1f s were not heard", self._stream.name, outage)
                    self._outages.over()
                return pcm
            if not self._stream.broadcast:
                self.close()
            else:
                await self._connect_again()
        raise StopAsyncIteration

    async def _connect_again(self) -> None:
        """To a broadcast that broke off, or paused."""
        error: HearoutError = SessionError(f"{self._stream.name}: connection lost")
        if not self._outages.lasting:
            _log.warning("%s, trying again", error)
        decoding: Decoding | None = None
        while decoding is None:
            await self._outages.wait(error)
            try:
                await self._stream.reopen()
                decoding = await self._in_thread(lambda: self._decode(self.sample_rate))
            except HearoutError as failure:  # a mount point that is not there may well come back
                error = failure
        self.close()
        self._decoding = decoding

    def _decode(self, sample_rate: int | None) -> Decoding:
        return Decoding(_Pulled(self._stream), self._stream.name, mono=self._mono, sample_rate=sample_rate)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._limiter)


class _Pulled:
    """What the stream gives, for a worker thread of trio."""

    def __init__(self, stream: HttpStream) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        return trio.from_thread.run(self._stream.receive_some, size)
