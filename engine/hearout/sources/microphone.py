"""A microphone of this machine, by PortAudio (``pip install 'hearout[mic]'``)."""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import trio

from hearout.audio import AudioFormat, Resampler, Samples, working_rate
from hearout.errors import SessionError, UsageError
from hearout.extras import needs_extra

__all__ = ["Microphone", "device_list"]

_log = logging.getLogger(__name__)

_BLOCK = 0.02  # seconds; what voice detection works on
_TELL_EVERY = 10.0  # seconds between two warnings that audio was lost
_LIST = "hearout listen --list-devices shows what there is"


class Microphone:
    """One channel of a recording device, as it is spoken. It is opened at once, and heard from the first iteration on.

    The device is used at its own rate: not all can do another, and where the system converts, it often does so badly.
    PortAudio calls from a thread of its own, in which nothing waits. Audio lies ready in a queue; when nobody takes it
    for ``limit`` seconds, what comes then is dropped, counted, and told in the log.

    Args:
        device: its number, a part of its name, or None for the system's choice.
        limit: seconds of audio that may wait to be heard.
        patience: seconds without a sample after which the device counts as gone. A muted one sends zeros, and so does
            one to which macOS denies access; after so many seconds of them at the beginning a warning says so.

    Attributes:
        name: of the device.
        overflows: how often the system lost audio because this process did not fetch it in time.
        dropped: seconds of audio that were dropped here.

    Raises:
        UsageError: no such device, or it cannot be used; sounddevice or PortAudio is not installed.
        SessionError: from the iteration, after all audio: the device is gone.
    """

    duration: float | None = None
    channels = 1

    def __init__(self, device: int | str | None = None, *, limit: float = 10.0, patience: float = 5.0) -> None:
        library = _library()
        info = _find(library, device)
        rate = round(info["default_samplerate"])
        self.name: str = info["name"]
        self.overflows = 0
        self.dropped = 0.0
        try:
            AudioFormat("linear16", rate, 1)
        except UsageError as error:
            raise UsageError(f"microphone {self.name}: {error}") from None
        self.sample_rate = working_rate(rate)
        self._resampler = Resampler(rate, self.sample_rate, 1)
        self._rate = rate
        self._patience = patience
        self._most = max(1, round(limit / _BLOCK))  # blocks
        self._blocks: deque[bytes] = deque()
        self._token: trio.lowlevel.TrioToken | None = None
        self._more = trio.Event()
        self._finished = False
        self._closed = False
        self._told_at: float | None = None
        self._told = (0, 0.0)
        # Samples that may be zero before that is told; 0: no matter any more.
        self._until_sound = round(rate * patience)
        try:
            self._stream = library.RawInputStream(
                samplerate=rate,
                blocksize=round(rate * _BLOCK),
                device=info["index"],
                channels=1,
                dtype="int16",
                callback=self._arrive,
                finished_callback=self._finish,
            )
        except library.PortAudioError as error:
            raise UsageError(f"microphone {self.name}: cannot be opened: {_line(error)}") from None

    # In PortAudio's thread: whatever takes long here makes the system lose audio.

    def _arrive(self, data: Any, frames: int, _time: Any, status: Any) -> None:
        if status.input_overflow:
            self.overflows += 1
        if len(self._blocks) < self._most:
            self._blocks.append(bytes(data))
        else:
            self.dropped += frames / self._rate
        self._wake()

    def _finish(self) -> None:
        self._finished = True
        self._wake()

    def _wake(self) -> None:
        if self._token is not None:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._look, idempotent=True)  # one entry, however many blocks

    # In trio's thread.

    def _look(self) -> None:
        self._more.set()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._token is None:
            self._start()
        await trio.lowlevel.checkpoint()
        while not self._closed:
            block = await self._next_block()
            if self._told_at is None or trio.current_time() >= self._told_at + _TELL_EVERY:
                self._tell_losses()
            heard = np.frombuffer(block, np.int16).reshape(-1, 1)
            if self._until_sound:
                self._look_for_sound(heard)
            samples = self._resampler.feed(heard)
            if samples.size:
                return samples.tobytes()
        raise StopAsyncIteration

    def _start(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        try:
            self._stream.start()
        except Exception as error:  # PortAudioError, of a library that is imported late
            raise SessionError(f"microphone {self.name}: cannot be started: {_line(error)}") from None

    async def _next_block(self) -> bytes:
        while True:
            self._more = trio.Event()
            finished = self._finished  # before the look at the queue: there may be a last block
            if self._blocks:
                return self._blocks.popleft()
            if finished:
                raise SessionError(f"microphone {self.name} is gone: was it unplugged?")
            with trio.move_on_after(self._patience) as waiting:
                await self._more.wait()
            if waiting.cancelled_caught and not self._blocks:
                raise SessionError(
                    f"microphone {self.name} gave nothing for {self._patience:g} s: was it unplugged, "
                    "or does the system deny access to it?"
                )

    def _look_for_sound(self, heard: Samples) -> None:
        if heard.any():
            self._until_sound = 0
            return
        self._until_sound = max(0, self._until_sound - len(heard))
        if not self._until_sound:
            _log.warning(
                "microphone %s: %g s of digital silence: is it muted, or does the system deny access to it?",
                self.name,
                self._patience,
            )

    def _tell_losses(self) -> None:
        """Those since the last time; none, if there were none."""
        losses = (self.overflows, self.dropped)
        if losses == self._told:
            return
        overflows, dropped = losses[0] - self._told[0], losses[1] - self._told[1]
        self._told, self._told_at = losses, trio.current_time()
        if overflows:
            _log.warning("microphone %s: audio was lost %d time(s): the machine is too busy", self.name, overflows)
        if dropped:
            _log.warning("microphone %s: %.1f s of audio were dropped: nobody listened in time", self.name, dropped)

    async def aclose(self) -> None:
        """Give the device back; the iteration ends."""
        if not self._closed:
            self._closed = True
            self._more.set()
            self._stream.close()
            self._tell_losses()
        await trio.lowlevel.checkpoint()


def device_list() -> str:
    """The recording devices, a line each: number, name, channels and rate; a star at the system's choice.

    Raises:
        UsageError: there is none; or sounddevice or PortAudio is not installed.
    """
    library = _library()
    default = _default(library)
    devices = _recording(library)
    if not devices:
        raise UsageError("no microphone: this machine has no device that records")
    width = max(len(device["name"]) for device in devices)
    return "\n".join(
        f"{'*' if device['index'] == default else ' '} {device['index']:3}  {device['name']:{width}}  "
        f"{device['max_input_channels']} channel(s), {device['default_samplerate']:.0f} Hz"
        for device in devices
    )


def _find(library: Any, device: int | str | None) -> Any:
    """What PortAudio knows of a device."""
    devices = _recording(library)
    if not devices:
        raise UsageError("no microphone: this machine has no device that records; an audio file can be listened to")
    wanted = _default(library) if device is None else device
    if isinstance(wanted, int):
        found = [entry for entry in devices if entry["index"] == wanted]
        named = "no microphone is the system's choice: name one" if device is None else f"no microphone {device}"
    else:
        found = [entry for entry in devices if wanted.casefold() == entry["name"].casefold()] or [
            entry for entry in devices if wanted.casefold() in entry["name"].casefold()
        ]
        named = f"no microphone has {wanted!r} in its name"
    if not found:
        raise UsageError(f"{named}; {_LIST}")
    if len(found) > 1:
        numbers = ", ".join(f"{entry['index']} ({entry['name']})" for entry in found)
        raise UsageError(f"{len(found)} microphones have {wanted!r} in their names: choose a number, {numbers}")
    return found[0]


def _recording(library: Any) -> list[Any]:
    return [device for device in library.query_devices() if device["max_input_channels"] > 0]


def _default(library: Any) -> int:
    """The number of the system's choice; -1 where there is none."""
    try:
        return int(library.query_devices(kind="input")["index"])
    except library.PortAudioError:
        return -1


def _library() -> Any:
    with needs_extra("mic", "the microphone", "sounddevice"):
        try:
            return importlib.import_module("sounddevice")
        except OSError:  # its wheels for Linux come without PortAudio
            raise UsageError("the microphone needs the PortAudio library (Debian: apt install libportaudio2)") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
