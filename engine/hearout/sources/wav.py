"""WAV files of plain PCM, which need no package beside Python's own."""

from __future__ import annotations

import os
import wave

import numpy as np

from hearout.audio import Samples, to_int16

__all__ = ["LENGTH_UNKNOWN", "WavFile", "open_wav"]

#: Programs that write to a pipe cannot know the length in bytes, and put 0 or the largest there is, more or less.
LENGTH_UNKNOWN = 0x7FFF_0000


class WavFile:
    """PCM of 8 to 32 bits in a WAV file.

    Attributes:
        samplerate: Hz.
        frames: that the file holds.
        promised: frames that its header speaks of; fewer are there when it was cut off.
    """

    _fd = -1

    def __init__(self, path: str) -> None:
        # A descriptor, as libraries in C have one: Python warns of every file object that is not closed, and nobody
        # closes a source that was not heard.
        self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        with open(self._fd, "rb", closefd=False) as file, wave.open(file) as header:
            self.samplerate = header.getframerate()
            self.channels = header.getnchannels()
            self._width = header.getsampwidth()  # bytes
            promised = header.getnframes()
            begin, end = file.tell(), os.fstat(self._fd).st_size  # behind the header is the audio
        if not self.samplerate or self._width > 4:
            raise wave.Error("no rate or width that makes sense")
        os.lseek(self._fd, begin, os.SEEK_SET)
        frame = self._width * self.channels
        self.frames = (end - begin) // frame
        self.promised = promised if 0 < promised * frame < LENGTH_UNKNOWN else self.frames
        self.frames = min(self.frames, self.promised)
        self._left = self.frames

    def read(self, frames: int) -> Samples:
        """The next ``frames``, fewer at the end; shape (frames, channels)."""
        data = os.read(self._fd, min(frames, self._left) * self._width * self.channels)
        self._left -= len(data) // (self._width * self.channels)
        match self._width:
            case 1:  # the only one without a sign
                samples = (np.frombuffer(data, np.uint8).astype(np.int16) - 128) << 8
            case 2:
                samples = np.frombuffer(data, "<i2").astype(np.int16, copy=False)
            case 3:
                high = np.zeros((len(data) // 3, 4), np.uint8)
                high[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
                samples = to_int16(high.view("<i4")[:, 0].astype(np.float32) / np.float32(2**16))
            case _:
                samples = to_int16(np.frombuffer(data, "<i4").astype(np.float32) / np.float32(2**16))
        return samples.reshape(-1, self.channels)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()


def open_wav(path: str) -> WavFile | None:
    """The WAV file at ``path``; None when it is none of PCM, or damaged, or cannot be read: others know why."""
    try:
        return WavFile(path) if os.path.isfile(path) else None
    except (wave.Error, EOFError, OSError):
        return None
