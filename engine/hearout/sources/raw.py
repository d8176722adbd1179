"""Raw PCM from a stream of bytes, such as standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from typing import Protocol

import trio

from hearout.audio import AudioFormat, Decoder, Resampler, working_rate
from hearout.errors import UsageError

__all__ = ["ByteStream", "RawSource", "stdin_source"]

_READ = 4096  # bytes: a pipe that is full is read in pieces of 0.13 s (16 kHz linear16), a live one as it comes


class ByteStream(Protocol):
    """What a `RawSource` reads from; every `trio.abc.ReceiveStream` is one."""

    async def receive_some(self, max_bytes: int, /) -> bytes | bytearray:
        """At least one byte, as soon as there is one; none at the end of the stream."""


class RawSource:
    """PCM without a header, decoded and brought to 8 or 16 kHz.

    Args:
        stream: where the bytes come from.
        format: what they mean.
        name: of the stream, for error messages.

    Raises:
        UsageError: from the iteration: no byte came at all, or the stream ended inside a sample. The latter
            comes after all the whole samples.
    """

    duration: float | None = None

    def __init__(self, stream: ByteStream, format: AudioFormat, name: str = "the audio stream") -> None:
        self.sample_rate = working_rate(format.sample_rate)
        self.channels = format.channels
        self._stream = stream
        self._name = name
        self._decoder = Decoder(format)
        self._resampler = Resampler(format.sample_rate, self.sample_rate, format.channels)
        self._empty = True
        self._ended = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._ended:
            data = bytes(await self._stream.receive_some(_READ))
            self._empty = self._empty and not data
            self._ended = not data
            samples = self._resampler.feed(self._decoder.feed(data), last=self._ended)
            if samples.size:
                return samples.tobytes()
        if self._empty:
            raise UsageError(f"{self._name} ended before the first byte of audio")
        self._decoder.finish(self._name)
        raise StopAsyncIteration


def stdin_source(format: AudioFormat) -> RawSource:
    """Raw PCM on standard input.

    Raises:
        UsageError: standard input is a terminal, or closed.
    """
    try:
        fd = sys.stdin.fileno()
        terminal = os.isatty(fd)
    except (AttributeError, OSError, ValueError):
        raise UsageError("standard input is closed: pipe raw PCM into it") from None
    if terminal:
        raise UsageError("standard input is a terminal: pipe raw PCM into it, or name an audio file instead of -")
    return RawSource(_Descriptor(fd), format, "standard input")


class _Descriptor:
    """Reads a file descriptor that others use too.

    `trio.lowlevel.FdStream` would make it non-blocking, and with it the descriptor of every process that shares
    it (the shell, the other end of a script). Waiting until it is readable makes a plain read return at once.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def receive_some(self, max_bytes: int, /) -> bytes:
        if sys.platform == "win32":  # nothing but sockets can be waited for there
            return await trio.to_thread.run_sync(os.read, self._fd, max_bytes, abandon_on_cancel=True)
        try:
            await trio.lowlevel.wait_readable(self._fd)
        except PermissionError:  # epoll's answer for files, which are always readable
            await trio.lowlevel.checkpoint()
        return os.read(self._fd, max_bytes)
