"""Audio files: WAV of PCM, and with libsndfile FLAC, Ogg, MP3 and more, at any rate and channel count."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import numpy as np
import trio

from hearout.audio import FULL_SCALE, AudioFormat, Resampler, Samples, to_int16, working_rate
from hearout.errors import UsageError
from hearout.extras import needs_extra
from hearout.sources.wav import LENGTH_UNKNOWN, open_wav

if TYPE_CHECKING:
    import soundfile

__all__ = ["FileSource"]

_log = logging.getLogger(__name__)

_BLOCK = 0.1  # seconds read at a time

# From libsndfile's account of a header that promises more than the file holds.
_CUT_OFF = re.compile(r"^data : (\d+) \(should be (\d+)\)", re.MULTILINE)


class FileSource:
    """An audio file, read block by block and brought to 8 or 16 kHz.

    A file that is cut off (a crashed recorder, a broken download, a recording that is still being written) gives
    the audio it has and a warning in the log: the words in it were said, and refusing it would help nobody.

    Reading is done in trio's own thread: 0.1 s of audio takes well under a millisecond, less than a hop to a
    worker thread would, and virtual time goes on working.

    Raises:
        UsageError: no such file, or none with audio in it that can be used; or soundfile, which reads all but PCM in
            WAV files, is not installed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._file = open_wav(self._path) or _Sndfile(_open(self._path), self._path)
        try:
            if not self._file.frames:
                raise UsageError("0 s of audio, by its header: was the recording ever finished?")
            AudioFormat("linear16", self._file.samplerate, self._file.channels)
        except UsageError as error:
            self._file.close()
            raise UsageError(f"{self._path}: {error}") from None
        self.sample_rate = working_rate(self._file.samplerate)
        self.channels = self._file.channels
        self.duration: float | None = self._file.frames / self._file.samplerate
        self._resampler = Resampler(self._file.samplerate, self.sample_rate, self.channels)
        self._block_frames = round(self._file.samplerate * _BLOCK)
        self._frames_read = 0
        self._ended = False
        if self._file.promised > self._file.frames:
            self._warn_of_cut(self._file.frames / self._file.promised)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._ended:
            await trio.lowlevel.checkpoint()
            samples = self._read()
            self._ended = len(samples) < self._block_frames
            samples = self._resampler.feed(samples, last=self._ended)
            if self._ended:
                self._file.close()
            if samples.size:
                return samples.tobytes()
        raise StopAsyncIteration

    def _read(self) -> Samples:
        block = self._file.read(self._block_frames)
        self._frames_read += len(block)
        if len(block) < self._block_frames and self._frames_read < self._file.frames:
            self._warn_of_cut(self._frames_read / self._file.frames)
        return block

    def _warn_of_cut(self, share: float) -> None:
        _log.warning("%s: cut off: it holds %.0f %% of the audio its header promises", self._path, 100 * share)


class _Sndfile:
    """Any other file, as `WavFile` has it."""

    def __init__(self, file: soundfile.SoundFile, path: str) -> None:
        self.samplerate = file.samplerate
        self.channels = file.channels
        self.frames = file.frames
        lengths = _CUT_OFF.search(file.extra_info)
        cut_off = lengths and int(lengths[1]) < LENGTH_UNKNOWN
        self.promised = round(self.frames * int(lengths[1]) / int(lengths[2])) if lengths and cut_off else self.frames
        self._file = file
        self._path = path
        self._begun = False

    def read(self, frames: int) -> Samples:
        """The next ``frames``, fewer at the end or where the rest makes no sense.

        Raises:
            UsageError: nothing in it makes sense.
        """
        import soundfile

        try:
            # As float whatever the file holds: libsndfile gives the integers of a float file unscaled.
            block = self._file.read(frames, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            if not self._begun:
                raise UsageError(f"{self._path}: cannot be decoded: {error.error_string}") from None
            block = np.zeros((0, self.channels), np.float32)
        self._begun = True
        return to_int16(block * FULL_SCALE)

    def close(self) -> None:
        self._file.close()


def _open(path: str) -> soundfile.SoundFile:
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise UsageError(f"{path}: a directory, not an audio file")
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{path}: not a regular file; raw PCM can be piped in: hearout listen -")
        if not status.st_size:
            raise UsageError(f"{path}: an empty file")
        with open(path, "rb"):
            pass  # libsndfile would not say why it could not
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    with needs_extra("cli", "reading audio files"):
        import soundfile
    try:
        opened = soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        raise UsageError(
            f"{path}: not a usable audio file ({error.error_string.rstrip('.')}); "
            f"WAV, FLAC, Ogg and MP3 work, ffmpeg -i IN OUT.wav converts the rest"
        ) from None
    return opened
