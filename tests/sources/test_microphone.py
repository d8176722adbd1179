"""The microphone, on a PortAudio that is none: its callbacks come from a thread, as the real ones do."""

from __future__ import annotations

import logging
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from hearout.cli.main import main
from hearout.errors import SessionError, UsageError
from hearout.sources.microphone import Microphone

Block = tuple[bytes, bool]  # audio, and whether some was lost before it


class PortAudioError(Exception):
    pass


@dataclass
class Status:
    input_overflow: bool


@dataclass
class FakeLibrary:
    """What `Microphone` uses of sounddevice."""

    devices: list[dict[str, Any]] = field(default_factory=list)
    default: int = -1
    blocks: list[Block] = field(default_factory=list)
    ends: bool = True  # the device goes after its last block
    opens: bool = True
    starts: bool = True
    options: dict[str, Any] = field(default_factory=dict)
    streams: list[FakeStream] = field(default_factory=list)
    PortAudioError = PortAudioError

    def add(self, name: str, rate: float = 16_000.0, channels: int = 1) -> None:
        number = len(self.devices)
        self.devices.append({"index": number, "name": name, "default_samplerate": rate, "max_input_channels": channels})
        if channels and self.default < 0:
            self.default = number

    def give(self, blocks: list[Block]) -> None:
        """Call back with ``blocks``, in the thread of the caller."""
        for data, lost in blocks:
            # Like the real one, the buffer is somebody else's as soon as the callback returns.
            buffer = bytearray(data)
            self.options["callback"](memoryview(buffer), len(data) // 2, object(), Status(lost))
            buffer[:] = bytes(len(buffer))

    def query_devices(self, kind: str | None = None) -> Any:
        if kind is None:
            return self.devices
        if self.default < 0:
            raise PortAudioError("Error querying device -1")
        return self.devices[self.default]

    def RawInputStream(self, **options: Any) -> FakeStream:
        if not self.opens:
            raise PortAudioError("Error opening RawInputStream: Device unavailable\n[PaErrorCode -9985]")
        self.options = options
        self.streams.append(FakeStream(self))
        return self.streams[-1]


class FakeStream:
    def __init__(self, library: FakeLibrary) -> None:
        self.closed = False
        self.thread = threading.Thread(target=self._run)
        self._library = library

    def start(self) -> None:
        if not self._library.starts:
            raise PortAudioError("Error starting stream: Unanticipated host error [PaErrorCode -9999]")
        self.thread.start()

    def _run(self) -> None:
        self._library.give(self._library.blocks)
        if self._library.ends:
            self._library.options["finished_callback"]()

    def close(self) -> None:
        self.closed = True
        self.thread.join()


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> FakeLibrary:
    fake = FakeLibrary()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return fake


async def hear(microphone: Microphone) -> tuple[bytes, Exception | None]:
    heard = b""
    try:
        async for pcm in microphone:
            assert pcm
            heard += pcm
    except Exception as error:
        return heard, error
    finally:
        await microphone.aclose()
    return heard, None


def noise(seconds: float, rate: int = 16_000) -> np.ndarray:
    return np.random.default_rng(0).integers(-9000, 9000, round(seconds * rate)).astype(np.int16)


def cut(samples: np.ndarray, rate: int = 16_000) -> list[Block]:
    step = rate // 50
    return [(samples[start : start + step].tobytes(), False) for start in range(0, len(samples), step)]


async def in_two_parts(
    library: FakeLibrary, microphone: Microphone, blocks: list[Block]
) -> tuple[bytes, Exception | None]:
    """Hear the first block before the others come, all at once, while trio's thread has other things to do."""
    library.blocks, library.ends = blocks[:1], False
    heard = await anext(microphone)
    library.streams[0].thread.join()
    library.give(blocks[1:])
    library.options["finished_callback"]()
    rest, error = await hear(microphone)
    return heard + rest, error


# -- audio -------------------------------------------------------------------------------------------------------


def test_what_the_device_gives_is_heard_and_then_that_it_is_gone(library: FakeLibrary) -> None:
    library.add("Desk")
    samples = noise(2.0)
    library.blocks = cut(samples)
    microphone = Microphone()
    assert (microphone.sample_rate, microphone.channels, microphone.duration) == (16_000, 1, None)
    assert not library.streams[0].thread.is_alive()  # nothing is recorded before somebody listens
    heard, error = trio.run(hear, microphone)
    assert heard == samples.tobytes()
    assert isinstance(error, SessionError)
    assert str(error) == "microphone Desk is gone: was it unplugged?"
    assert library.streams[0].closed
    assert {name: library.options[name] for name in ("samplerate", "blocksize", "device", "channels", "dtype")} == {
        "samplerate": 16_000,
        "blocksize": 320,
        "device": 0,
        "channels": 1,
        "dtype": "int16",
    }


@pytest.mark.parametrize(("rate", "works_at"), [(8000, 8000), (44_100, 16_000), (48_000, 16_000)])
def test_a_device_is_used_at_its_own_rate(library: FakeLibrary, rate: int, works_at: int) -> None:
    library.add("Desk", float(rate), channels=2)
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)).astype(np.int16)
    library.blocks = cut(tone, rate)
    microphone = Microphone()
    assert (library.options["samplerate"], microphone.sample_rate) == (rate, works_at)
    samples = np.frombuffer(trio.run(hear, microphone)[0], np.int16)
    assert len(samples) / works_at == pytest.approx(1.0, abs=0.03)  # the last 22 ms stay in the resampler
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    assert np.argmax(spectrum) * works_at / len(samples) == pytest.approx(440, abs=3)


def test_what_the_system_lost_is_counted_and_told(library: FakeLibrary, caplog: pytest.LogCaptureFixture) -> None:
    library.add("Desk")
    blocks = [(data, number % 10 == 0) for number, (data, _) in enumerate(cut(noise(1.0)))]
    microphone = Microphone()
    heard, _ = trio.run(in_two_parts, library, microphone, blocks)
    assert len(heard) == 32_000
    assert microphone.overflows == 5
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    # Not one for each: the first, and at the end how many there were since.
    assert [record.getMessage() for record in caplog.records] == [
        "microphone Desk: audio was lost 1 time(s): the machine is too busy",
        "microphone Desk: audio was lost 4 time(s): the machine is too busy",
    ]


def test_losses_are_told_every_ten_seconds(library: FakeLibrary, caplog: pytest.LogCaptureFixture) -> None:
    library.add("Desk")
    library.ends = False

    async def main() -> list[str]:
        for second in range(13):
            library.give([(bytes(640), True)])
            await anext(microphone)
            await trio.sleep(1)
            if second == 9:
                assert len(caplog.records) == 1
        await microphone.aclose()
        await microphone.aclose()
        return [record.getMessage().split(": ")[1] for record in caplog.records]

    microphone = Microphone()
    told = trio.run(main, clock=MockClock(autojump_threshold=0))
    assert told == ["audio was lost 1 time(s)", "audio was lost 10 time(s)", "audio was lost 2 time(s)"]


@pytest.mark.parametrize(
    ("audio", "told"),
    [
        (np.zeros(6 * 16_000, np.int16), 1),
        (np.zeros(4 * 16_000, np.int16), 0),
        (np.concatenate([np.zeros(4 * 16_000, np.int16), noise(0.5), np.zeros(9 * 16_000, np.int16)]), 0),
    ],
)
def test_zeros_and_nothing_else_are_told_once(
    library: FakeLibrary, caplog: pytest.LogCaptureFixture, audio: np.ndarray, told: int
) -> None:
    """What macOS gives to whom it denies the microphone."""
    library.add("Desk")
    trio.run(in_two_parts, library, Microphone(limit=60.0), cut(audio))
    assert [record.getMessage() for record in caplog.records] == [
        "microphone Desk: 5 s of digital silence: is it muted, or does the system deny access to it?"
    ] * told


def test_audio_that_nobody_takes_does_not_pile_up(library: FakeLibrary, caplog: pytest.LogCaptureFixture) -> None:
    library.add("Desk")
    microphone = Microphone(limit=1.0)
    heard, error = trio.run(in_two_parts, library, microphone, cut(noise(3.0)))
    assert "is gone" in str(error)
    assert 1.0 <= len(heard) / 32_000 <= 1.04
    assert microphone.dropped == pytest.approx(3.0 - len(heard) / 32_000)
    assert heard[:32_000] == noise(3.0).tobytes()[:32_000]  # the newest is what goes
    assert [record.getMessage() for record in caplog.records] == [
        f"microphone Desk: {microphone.dropped:.1f} s of audio were dropped: nobody listened in time"
    ]


def test_a_device_that_falls_silent_for_good_is_gone(library: FakeLibrary) -> None:
    """Some systems tell nobody when one is unplugged: no callback, no end."""
    library.add("Desk")
    library.ends = False

    async def main() -> float:
        began = trio.current_time()
        with pytest.raises(SessionError, match=r"microphone Desk gave nothing for 5 s: was it unplugged, or does"):
            await anext(microphone)
        return trio.current_time() - began

    microphone = Microphone()
    assert trio.run(main, clock=MockClock(autojump_threshold=0)) == 5.0


def test_waiting_for_a_device_can_be_cancelled_and_closing_it_twice_is_no_error(library: FakeLibrary) -> None:
    library.add("Desk")
    library.ends = False

    async def main() -> None:
        with trio.move_on_after(1.0) as scope:
            await hear(microphone)
        assert scope.cancelled_caught
        await microphone.aclose()
        assert [pcm async for pcm in microphone] == []

    microphone = Microphone()
    trio.run(main, clock=MockClock(autojump_threshold=0))
    library.options["callback"](b"\0\0", 1, object(), Status(False))  # one that was under way: nobody is there any more
    assert library.streams[0].closed


# -- devices -----------------------------------------------------------------------------------------------------


@pytest.fixture
def several(library: FakeLibrary) -> FakeLibrary:
    library.add("HDMI", channels=0)
    library.add("Built-in Microphone", 48_000.0, 2)
    library.add("USB Headset", 44_100.0)
    library.add("USB Headset 2")
    return library


@pytest.mark.parametrize(
    ("device", "number"),
    [(None, 1), (2, 2), ("built", 1), ("usb headset 2", 3), ("USB HEADSET", 2)],
)
def test_a_device_is_chosen_by_number_or_name(several: FakeLibrary, device: int | str | None, number: int) -> None:
    Microphone(device)
    assert several.options["device"] == number


@pytest.mark.parametrize(
    ("device", "complaint"),
    [
        (0, "no microphone 0; hearout listen --list-devices shows what there is"),
        (9, "no microphone 9; hearout listen --list-devices shows what there is"),
        ("desk", "no microphone has 'desk' in its name; hearout listen --list-devices shows what there is"),
        ("head", "2 microphones have 'head' in their names: choose a number, 2 (USB Headset), 3 (USB Headset 2)"),
    ],
)
def test_a_device_that_is_none(several: FakeLibrary, device: int | str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        Microphone(device)
    assert str(caught.value) == complaint


def test_devices_are_listed(several: FakeLibrary, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["listen", "--list-devices"])
    assert capsys.readouterr().out.splitlines() == [
        "*   1  Built-in Microphone  2 channel(s), 48000 Hz",
        "    2  USB Headset          1 channel(s), 44100 Hz",
        "    3  USB Headset 2        1 channel(s), 16000 Hz",
    ]


def test_a_device_that_cannot_be_used(library: FakeLibrary) -> None:
    library.add("Desk", 1000.0)
    with pytest.raises(UsageError, match="microphone Desk: unsupported sample rate 1000 Hz"):
        Microphone()
    library.devices[0]["default_samplerate"] = 16_000.0
    library.opens = False
    with pytest.raises(UsageError) as caught:
        Microphone()
    assert str(caught.value) == (
        "microphone Desk: cannot be opened: Error opening RawInputStream: Device unavailable [PaErrorCode -9985]"
    )
    library.opens, library.starts = True, False
    _, error = trio.run(start_only, Microphone())
    assert isinstance(error, SessionError)
    assert str(error).startswith("microphone Desk: cannot be started: Error starting stream: ")


async def start_only(microphone: Microphone) -> tuple[bytes, Exception | None]:
    try:
        return await anext(microphone), None
    except Exception as error:
        return b"", error


# -- on the command line -----------------------------------------------------------------------------------------


def complaint_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a command that does not work, without ``hearout:``."""
    assert main(list(arguments)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hearout: ")
    return line.removeprefix("hearout: ")


NONE = "no microphone: this machine has no device that records"


def test_without_a_microphone_or_what_it_takes(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert complaint_of(capsys, "listen", "--list-devices") == NONE
    assert complaint_of(capsys, "listen", "mic") == NONE + "; an audio file can be listened to"
    library.add("Desk")
    assert complaint_of(capsys, "listen", "mic:desk", "--speed", "max").startswith("--speed max: a microphone is heard")
    library.default = -1
    assert complaint_of(capsys, "listen", "mic").startswith("no microphone is the system's choice: name one; ")
    assert complaint_of(capsys, "listen", "mic:7").startswith("no microphone 7; ")

    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert complaint_of(capsys, "listen", "mic") == "the microphone needs sounddevice: pip install 'hearout[mic]'"

    # PortAudio is there, and cannot begin.
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/sounddevice.py").write_text("raise Exception('Error initializing PortAudio')")
    monkeypatch.delitem(sys.modules, "sounddevice")
    monkeypatch.syspath_prepend(tmp_path / "broken")
    said = "the microphone needs sounddevice that works on this machine: Error initializing PortAudio"
    assert complaint_of(capsys, "listen", "mic") == said

    # Its wheel for Linux, where there is no PortAudio.
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.syspath_prepend(tmp_path)
    needs = "the microphone needs the PortAudio library (Debian: apt install libportaudio2)"
    assert complaint_of(capsys, "listen", "mic") == needs
    assert complaint_of(capsys, "listen", "--list-devices") == needs
