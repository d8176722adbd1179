"""Speech for the examples: by flite or espeak-ng, or else a beep a word; heard where there is a loudspeaker."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import soundfile
import trio

loudspeaker: Any = None
try:
    import sounddevice

    sounddevice.query_devices(kind="output")
    loudspeaker = sounddevice
except Exception:  # not installed, no PortAudio, no device: time passes all the same
    pass

# Each writes a WAV file to its standard output.
ENGINES = (("flite", "-o", "/dev/stdout", "-t"), ("espeak-ng", "--stdout"))


class Speech:
    """A text: synthesised at once, heard after `go`, silent at once after `halt` until `go` lets it go on, or `drop`.

    Args:
        nursery: lasts until it has been spoken or dropped.
        tell: called when it is heard, with True, and when it is silent, with False.
    """

    _voice = trio.Lock()  # one speech at a time: the next begins when the one before is silent

    def __init__(self, nursery: trio.Nursery, text: str, tell: Callable[[Speech, bool], None]) -> None:
        self.text = text
        self._tell = tell
        self._go, self._playing, self._life = trio.Event(), trio.CancelScope(), trio.CancelScope()
        nursery.start_soon(self._live)

    def go(self) -> None:
        self._go.set()

    def halt(self) -> None:
        if self._go.is_set():
            self._go = trio.Event()
            self._playing.cancel()

    def drop(self) -> None:
        self._life.cancel()

    async def _live(self) -> None:
        with self._life:
            self._samples, self._rate = await synthesise(self.text)
            while self.left:
                while not self._go.is_set():  # it may be halted again before this task gets to run
                    await self._go.wait()
                with trio.CancelScope() as self._playing:
                    async with self._voice:
                        await self._play()

    @property
    def left(self) -> float:
        """Seconds that have not been heard."""
        return len(self._samples) / self._rate

    async def _play(self) -> None:
        began = trio.current_time()
        self._tell(self, True)
        try:
            if loudspeaker:
                loudspeaker.play(self._samples, self._rate)
            await trio.sleep(self.left)
        finally:
            if loudspeaker:
                loudspeaker.stop()
            self._samples = self._samples[round((trio.current_time() - began) * self._rate) :]
            self._tell(self, False)


async def synthesise(text: str) -> tuple[Any, int]:
    """Samples of 16 bits, and their rate; by the first engine that is installed."""
    for engine in ENGINES:
        if shutil.which(engine[0]):
            done = await trio.run_process([*engine, text], capture_stdout=True)
            samples, rate = soundfile.read(io.BytesIO(done.stdout), dtype="int16")
            return samples, rate
    beep = 3000 * np.sin(np.arange(2000) * 2 * np.pi * 440 / 8000)  # 0.25 s, and 0.1 s of silence
    return np.tile(np.append(beep, np.zeros(800)), len(text.split())).astype(np.int16), 8000
