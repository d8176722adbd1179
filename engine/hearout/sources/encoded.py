"""Compressed audio, decoded by FFmpeg's libraries (``pip install 'hearout[av]'``): AAC, M4A, Opus, WebM, MP3 ..."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

import trio

from hearout.audio import AudioFormat, working_rate
from hearout.errors import UsageError
from hearout.extras import needs_extra
from hearout.sources.base import AudioSource
from hearout.sources.file import FileSource

if TYPE_CHECKING:
    import av

__all__ = ["ByteFile", "Decoding", "EncodedFile", "audio_file"]

_log = logging.getLogger(__name__)

# FFmpeg knows more, but some of it are lists of other files and addresses, which it would go and open: what comes from
# a server that nobody vouches for must not make us read local files.
_FORMATS = "mp3,aac,flac,ogg,matroska,webm,mov,mp4,wav,w64,aiff,caf,au,amr,asf,mpegts,flv"

# What libsndfile does not read, by how it begins.
_ENCODED = (b"\x1aE\xdf\xa3", b"#!AMR", b"0&\xb2u", b"FLV\x01")

# bytes; an hour of M4A has an index of about 1 MB, a picture of the cover may have several.
_MOST_HEADER = 2**24

_WORTH_TELLING = 0.95  # of the length the header promises; encoders pad and round


class ByteFile(Protocol):
    """A file open for reading. One that can be sought in has ``seek`` and ``tell`` as well."""

    def read(self, size: int, /) -> bytes:
        """At least one byte and at most ``size``; none at the end."""


class Decoding:
    """Compressed audio in, linear16 at 8 or 16 kHz out, for those who may wait in ``read`` as long as the file does.

    Packets that cannot be decoded are left out. When the file fails, what it gave is decoded before its error is
    raised.

    Args:
        file: what to decode; the kind is found out from its first bytes.
        name: for error messages.
        mono: mix all channels into one.
        sample_rate: Hz of what comes out; None: 8000 or 16000, whichever fits.

    Attributes:
        sample_rate: Hz of what comes out.
        channels: likewise.
        duration: seconds, if the header says it.
        skipped: packets left out so far.

    Raises:
        UsageError: there is no audio in it that can be decoded; or PyAV is not installed.
    """

    def __init__(self, file: ByteFile, name: str, *, mono: bool = False, sample_rate: int | None = None) -> None:
        self._av = _library()
        self._name = name
        self._file = _Guarded(file) if not hasattr(file, "seek") else _GuardedSeeking(file)
        self._container = self._open()
        self._stream = self._audio_stream()
        context = self._stream.codec_context
        try:
            AudioFormat("linear16", context.sample_rate, context.channels)
        except UsageError as error:
            raise UsageError(f"{name}: {error}") from None
        self.sample_rate = sample_rate or working_rate(context.sample_rate)
        self.channels = 1 if mono else context.channels
        self.duration = self._container.duration / 1e6 if self._container.duration else None  # microseconds
        self.skipped = 0
        self._layout = "mono" if mono else context.layout
        self._resampler = self._new_resampler()
        self._samples = 0  # of each channel, decoded so far
        self._frames = self._decode()
        self._first = self._next_piece()  # so that what cannot be decoded shows now

    def read(self) -> bytes:
        """The next piece of PCM, a packet or so; none at the end.

        Raises:
            Exception: the error of the file, after everything that came before it.
        """
        first, self._first = self._first, b""
        return first or self._next_piece()

    def _next_piece(self) -> bytes:
        for frame in self._frames:
            if pcm := frame.to_ndarray().tobytes():
                self._samples += frame.samples
                return pcm
        self._file.raise_error()
        if not self._samples:
            raise self._useless()
        return b""

    def _open(self) -> av.container.InputContainer:
        try:
            opened: av.container.InputContainer = self._av.open(
                self._file, "r", container_options={"format_whitelist": _FORMATS}
            )
        except (self._av.FFmpegError, ValueError) as error:
            self._file.raise_error()
            if self._is_late_index():
                raise self._useless() from None
            said = "it is empty" if not self._file.head else getattr(error, "strerror", None) or str(error)
            raise UsageError(f"{self._name}: not audio that can be decoded ({said})") from None
        self._file.raise_cancellation()
        self._file.left = sys.maxsize
        return opened

    def _audio_stream(self) -> av.AudioStream:
        streams = self._container.streams.audio
        if not streams:
            raise UsageError(f"{self._name}: there is no audio in it")
        if not streams[0].codec_context.sample_rate:
            self._file.raise_error()
            raise self._useless()
        return streams[0]

    def _useless(self) -> UsageError:
        if self._is_late_index():
            return UsageError(
                f"{self._name}: cannot be decoded as it arrives, most likely because its index comes last: download "
                "it, or let ffmpeg -i IN -c copy -movflags +faststart OUT put the index in front"
            )
        return UsageError(f"{self._name}: none of its audio could be decoded; is it damaged?")

    def _is_late_index(self) -> bool:
        """It is one of MP4's kind, whose index is often written last, and cannot be sought in."""
        return self._file.head[4:8] == b"ftyp" and not hasattr(self._file, "seek")

    def _new_resampler(self) -> av.AudioResampler:
        made: av.AudioResampler = self._av.AudioResampler("s16", self._layout, self.sample_rate)
        return made

    def _decode(self) -> Iterator[av.AudioFrame]:
        for packet in self._packets():
            try:
                frames = packet.decode()
            except self._av.FFmpegError:
                self.skipped += 1
                continue
            for frame in frames:
                try:
                    yield from self._resampler.resample(frame)
                except ValueError:  # the rate or the channels have changed: that takes another one
                    yield from self._resampler.resample(None)
                    self._resampler = self._new_resampler()
                    yield from self._resampler.resample(frame)
        if self._samples:
            yield from self._resampler.resample(None)
        self._complain()

    def _packets(self) -> Iterator[av.Packet[av.AudioStream]]:
        try:
            for packet in self._container.demux(self._stream):
                self._file.raise_cancellation()
                yield packet
        except self._av.FFmpegError as error:
            if self._samples:
                _log.warning("%s: damaged: it ends after %.1f s (%s)", self._name, self._heard(), error.strerror)

    def _complain(self) -> None:
        if not self._samples:
            return
        if self.skipped:
            _log.warning("%s: damaged: %d piece(s) of it could not be decoded", self._name, self.skipped)
        # The others estimate their length.
        knows = self._container.format.name.startswith(("mov", "matroska"))
        if knows and self.duration and self._heard() < _WORTH_TELLING * self.duration and self._file.error is None:
            share = 100 * self._heard() / self.duration
            _log.warning("%s: cut off: it holds %.0f %% of the audio its header promises", self._name, share)

    def _heard(self) -> float:
        return self._samples / self.sample_rate

    def close(self) -> None:
        """Let go of the decoder; the file is not closed."""
        self._frames = iter(())
        self._container.close()


class _Guarded:
    """A file whose errors do not go through FFmpeg: it would make something else of them, and drop cancellations."""

    def __init__(self, file: ByteFile) -> None:
        self.error: BaseException | None = None
        self.head = b""
        self.left = _MOST_HEADER  # bytes that may be read; a server may well send a header without an end
        self._file = file

    def read(self, size: int) -> bytes:
        if self.error is not None or self.left <= 0:
            return b""
        try:
            data = self._file.read(size)
        except BaseException as error:
            self.error = error
            return b""
        self.left -= len(data)
        if len(self.head) < 12:
            self.head += data[:12]
        return data

    def raise_error(self) -> None:
        if self.error is not None:
            raise self.error

    def raise_cancellation(self) -> None:
        if not isinstance(self.error, Exception):
            self.raise_error()


class _GuardedSeeking(_Guarded):
    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._file.seek(offset, whence))  # type: ignore[attr-defined]

    def tell(self) -> int:
        return int(self._file.tell())  # type: ignore[attr-defined]


class EncodedFile:
    """A compressed audio file that libsndfile does not read: M4A, AAC, WebM, AMR, WMA ...

    As with `hearout.sources.FileSource`, each channel is a speaker, a file that is cut off or damaged gives the audio
    it has and a warning in the log, and decoding is done in trio's own thread.

    Raises:
        UsageError: no audio in it that can be used; or PyAV is not installed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        path = os.fspath(path)
        try:
            self._file = open(path, "rb")  # noqa: SIM115 (as long as it is read)
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
        self._decoding = Decoding(self._file, path)
        self.sample_rate = self._decoding.sample_rate
        self.channels = self._decoding.channels
        self.duration = self._decoding.duration

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self._file.closed and (pcm := self._decoding.read()):
            return pcm
        self._decoding.close()
        self._file.close()
        raise StopAsyncIteration

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()  # one that is dropped half-way; Python would do it too, but complain


def audio_file(path: str | os.PathLike[str]) -> AudioSource:
    """An audio file, whatever kind it is: libsndfile reads WAV, FLAC, Ogg and MP3, FFmpeg what else there is.

    Raises:
        UsageError: no such file, or none with audio in it that can be used; or what reads it is not installed.
    """
    return EncodedFile(path) if _is_encoded(path) else FileSource(path)


def _is_encoded(path: str | os.PathLike[str]) -> bool:
    if not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            head = file.read(12)
    except OSError:
        return False  # FileSource says why
    adts = len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0  # the syncword of bare AAC, and layer 0
    return head[4:8] == b"ftyp" or head.startswith(_ENCODED) or adts


def _library() -> ModuleType:
    with needs_extra("av", "compressed audio", "PyAV"):
        import av
    return av
