"""Audio files, raw streams and pacing; what is wrong with bad ones."""

from __future__ import annotations

import contextlib
import fcntl
import io
import logging
import math
import os
import struct
import sys
import types
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import trio

from hearout.audio import AudioFormat, dbfs
from hearout.errors import UsageError
from hearout.sources import AudioSource, FileSource, RawSource, paced, stdin_source


def tone(rate: int, seconds: float, *frequencies: float) -> npt.NDArray[np.float64]:
    t = np.arange(round(rate * seconds)) / rate
    return np.stack([0.25 * np.sin(2 * np.pi * f * t) for f in frequencies], axis=1)


def pitch(channel: npt.NDArray[Any], rate: int) -> float:
    return np.argmax(np.abs(np.fft.rfft(channel * np.hanning(len(channel))))) * rate / len(channel)


async def read_all(source: AudioSource) -> npt.NDArray[np.int16]:
    chunks = [chunk async for chunk in source]
    frame = 2 * source.channels
    assert all(chunk and len(chunk) % frame == 0 for chunk in chunks)
    return np.frombuffer(b"".join(chunks), "<i2").reshape(-1, source.channels)


# -- files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "subtype", "rate", "works_at"),
    [
        ("a.wav", "PCM_16", 16_000, 16_000),
        ("a.wav", "PCM_U8", 8000, 8000),
        ("a.wav", "ULAW", 8000, 8000),
        ("a.wav", "FLOAT", 44_100, 16_000),
        ("a.wav", "PCM_24", 48_000, 16_000),
        ("a.flac", "PCM_24", 96_000, 16_000),
        ("a.flac", "PCM_16", 11_025, 16_000),
        ("a.ogg", "VORBIS", 44_100, 16_000),
        ("a.mp3", "MPEG_LAYER_III", 44_100, 16_000),
    ],
)
def test_a_file_of_any_rate_and_form(
    tmp_path: Path,
    run_virtual: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    name: str,
    subtype: str,
    rate: int,
    works_at: int,
) -> None:
    path = tmp_path / name
    soundfile.write(path, tone(rate, 1.0, 400, 1000), rate, subtype=subtype)
    source = FileSource(path)
    assert (source.sample_rate, source.channels) == (works_at, 2)
    assert source.duration == pytest.approx(1.0, abs=0.1)
    audio = run_virtual(read_all, source)
    assert len(audio) / works_at == pytest.approx(source.duration, abs=0.001)
    assert pitch(audio[:, 0], works_at) == pytest.approx(400, abs=3)
    assert pitch(audio[:, 1], works_at) == pytest.approx(1000, abs=3)
    assert dbfs(audio.tobytes()) == pytest.approx(-15, abs=1.5)
    assert not caplog.records


@pytest.mark.parametrize("rate", [8000, 16_000])
def test_samples_at_a_working_rate_come_through_bit_for_bit(
    tmp_path: Path, run_virtual: Callable[..., Any], rate: int
) -> None:
    samples = np.random.default_rng(0).integers(-32768, 32768, (rate // 3, 3)).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", samples, rate)
    assert np.array_equal(run_virtual(read_all, FileSource(tmp_path / "a.wav")), samples)


def test_a_file_is_read_block_by_block(tmp_path: Path, run_virtual: Callable[..., Any]) -> None:
    soundfile.write(tmp_path / "a.wav", tone(16_000, 1.05, 400), 16_000)

    async def sizes() -> list[int]:
        return [len(chunk) async for chunk in FileSource(tmp_path / "a.wav")]

    assert run_virtual(sizes) == [3200] * 10 + [1600]


def test_a_float_file_beyond_full_scale_is_clipped_not_wrapped(tmp_path: Path, run_virtual: Callable[..., Any]) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([0.0, 1.5, -2.0, 0.5]), 16_000, subtype="FLOAT")
    audio = run_virtual(read_all, FileSource(tmp_path / "a.wav"))
    assert audio[:, 0].tolist() == [0, 32767, -32768, 16384]


@pytest.fixture
def wav() -> bytearray:
    """A good WAV file of one second, as bytes."""
    file = io.BytesIO()
    soundfile.write(file, tone(16_000, 1.0, 400), 16_000, format="WAV", subtype="PCM_16")
    return bytearray(file.getvalue())


BAD_WAVS: dict[str, tuple[Callable[[bytearray], bytes | bytearray], str]] = {
    "empty": (lambda wav: b"", "an empty file"),
    "text": (lambda wav: b"hello there\n" * 100, "not a usable audio file"),
    "half a header": (lambda wav: wav[:30], "not a usable audio file"),
    "header only": (lambda wav: wav[:44], "0 s of audio"),
    "zero channels": (lambda wav: patched(wav, 22, "<H", 0), "Channel count is zero"),
    "zero rate": (lambda wav: patched(wav, 24, "<I", 0), "not a usable audio file"),
    "strange rate": (lambda wav: patched(wav, 24, "<I", 300_000), "unsupported sample rate 300000 Hz"),
    "unknown codec": (lambda wav: patched(wav, 20, "<H", 0x1234), "not a usable audio file"),
}


def patched(wav: bytearray, offset: int, form: str, value: int) -> bytearray:
    struct.pack_into(form, wav, offset, value)
    return wav


@pytest.mark.parametrize("case", BAD_WAVS)
def test_a_bad_file_is_refused_in_one_line_that_names_it(tmp_path: Path, wav: bytearray, case: str) -> None:
    damage, complaint = BAD_WAVS[case]
    path = tmp_path / "a.wav"
    path.write_bytes(damage(wav))
    with pytest.raises(UsageError) as caught:
        FileSource(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing\.wav: no such file"):
        FileSource(tmp_path / "missing.wav")
    with pytest.raises(UsageError, match="a directory, not an audio file"):
        FileSource(tmp_path)
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(UsageError, match=r"pipe\.wav: not a regular file"):
        FileSource(tmp_path / "pipe.wav")


def test_a_wav_that_is_cut_off_gives_what_it_has_and_a_warning(
    tmp_path: Path, wav: bytearray, run_virtual: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.wav").write_bytes(wav[: 44 + 8001])  # in the middle of a sample, too
    source = FileSource(tmp_path / "a.wav")
    assert source.duration == 0.25
    assert len(run_virtual(read_all, source)) == 4000
    assert [(r.levelno, r.getMessage()) for r in caplog.records] == [
        (logging.WARNING, f"{tmp_path}/a.wav: cut off: it holds 25 % of the audio its header promises")
    ]


def test_a_flac_that_is_cut_off_gives_what_it_has_and_a_warning(
    tmp_path: Path, run_virtual: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 3000 < len(run_virtual(read_all, FileSource(path))) <= 8000
    assert "cut off" in caplog.text


@pytest.mark.parametrize("length", [0xFFFF_FFFF, 0x7FFF_FFFF, 0])
def test_a_wav_written_to_a_pipe_has_no_length_and_that_is_fine(
    tmp_path: Path, wav: bytearray, run_virtual: Callable[..., Any], caplog: pytest.LogCaptureFixture, length: int
) -> None:
    patched(wav, 4, "<I", 0xFFFF_FFFF)
    patched(wav, 40, "<I", length)
    (tmp_path / "a.wav").write_bytes(wav)
    assert len(run_virtual(read_all, FileSource(tmp_path / "a.wav"))) == 16_000
    assert not caplog.records


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32"])
def test_pcm_in_a_wav_file_is_what_libsndfile_makes_of_it_and_needs_no_soundfile(
    tmp_path: Path, run_virtual: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, subtype: str
) -> None:
    path = tmp_path / "a.wav"
    samples = np.random.default_rng(0).integers(-(2**31), 2**31, (16_001, 2)).astype(np.int32)
    samples[:2] = [[-(2**31), 2**31 - 1], [0, 2**15]]
    soundfile.write(path, samples, 16_000, subtype=subtype, format="WAV")
    expected, _ = soundfile.read(path, dtype="float32")
    monkeypatch.setitem(sys.modules, "soundfile", None)
    source = FileSource(path)
    assert (source.sample_rate, source.channels, source.duration) == (16_000, 2, 16_001 / 16_000)
    assert np.array_equal(run_virtual(read_all, source), np.clip(np.rint(expected * 32768), -32768, 32767))


def test_what_follows_the_audio_in_a_wav_file_is_not_heard(
    tmp_path: Path, wav: bytearray, run_virtual: Callable[..., Any]
) -> None:
    (tmp_path / "a.wav").write_bytes(wav + b"LIST" + struct.pack("<I", 400) + bytes(400))
    source = FileSource(tmp_path / "a.wav")
    assert source.duration == 1.0
    assert len(run_virtual(read_all, source)) == 16_000


def test_other_files_without_soundfile_name_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "a.flac", tone(16_000, 0.1, 400), 16_000)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(UsageError, match=r"reading audio files needs soundfile: pip install 'hearout\[cli\]'"):
        FileSource(tmp_path / "a.flac")


# -- pacing ------------------------------------------------------------------------------------------------------


class Chunks:
    """A source of silence in chunks of the sizes given, in sample frames."""

    duration = None

    def __init__(self, *sizes: int, sample_rate: int = 16_000, channels: int = 1) -> None:
        self.sample_rate = sample_rate
        self.channels = channels
        self._sizes = sizes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for size in self._sizes:
            await trio.lowlevel.checkpoint()
            yield bytes(2 * self.channels * size)


async def arrivals(source: AudioSource, work: float = 0.0) -> list[tuple[float, int]]:
    """When each block came (since the start) and its length in sample frames; ``work`` seconds with each."""
    began = trio.current_time()
    seen = []
    async for block in source:
        seen.append((round(trio.current_time() - began, 6), len(block) // (2 * source.channels)))
        await trio.sleep(work)
    return seen


@pytest.mark.parametrize(("speed", "step"), [(1.0, 0.02), (2.0, 0.01), (0.5, 0.04)])
def test_blocks_come_when_their_last_sample_would_be_heard(
    run_virtual: Callable[..., Any], speed: float, step: float
) -> None:
    seen = run_virtual(arrivals, paced(Chunks(1000, 1, 279), speed))
    assert seen == [(step, 320), (2 * step, 320), (3 * step, 320), (4 * step, 320)]


def test_the_last_block_may_be_short(run_virtual: Callable[..., Any]) -> None:
    assert run_virtual(arrivals, paced(Chunks(400, channels=2))) == [(0.02, 320), (0.025, 80)]


def test_pacing_does_not_drift_however_slow_the_consumer_is_at_times(run_virtual: Callable[..., Any]) -> None:
    async def main() -> list[float]:
        began = trio.current_time()
        times = []
        async for _ in paced(Chunks(*[160] * 200)):
            times.append(round(trio.current_time() - began, 6))
            if len(times) == 10:
                await trio.sleep(0.5)
        return times

    times = run_virtual(main)
    assert times[9] == 0.2
    assert times[10:35] == [0.7] * 25  # what was missed comes at once
    assert times[35:38] == [0.72, 0.74, 0.76]
    assert times[-1] == 2.0


def test_work_on_each_block_does_not_add_up(run_virtual: Callable[..., Any]) -> None:
    assert run_virtual(arrivals, paced(Chunks(*[320] * 100)), 0.015)[-1] == (2.0, 320)


def test_as_fast_as_it_can_go_is_not_paced_at_all() -> None:
    source = Chunks(100)
    assert paced(source, math.inf) is source


@pytest.mark.parametrize("speed", [0, -1, math.nan])
def test_a_speed_that_goes_nowhere_is_refused(speed: float) -> None:
    with pytest.raises(UsageError, match="it must be above 0"):
        paced(Chunks(100), speed)


def test_pacing_a_file_keeps_its_form(tmp_path: Path, wav: bytearray, run_virtual: Callable[..., Any]) -> None:
    (tmp_path / "a.wav").write_bytes(wav)
    source = paced(FileSource(tmp_path / "a.wav"), 4)
    assert (source.sample_rate, source.channels, source.duration) == (16_000, 1, 1.0)
    assert run_virtual(arrivals, source)[-1] == (0.25, 320)


# -- raw streams -------------------------------------------------------------------------------------------------


class Bytes:
    """A stream that gives its bytes in pieces of one size."""

    def __init__(self, data: bytes, size: int = 7) -> None:
        self._pieces = [data[i : i + size] for i in range(0, len(data), size)]

    async def receive_some(self, max_bytes: int | None) -> bytes:
        await trio.lowlevel.checkpoint()
        return self._pieces.pop(0) if self._pieces else b""


def test_raw_linear16_comes_through_bit_for_bit(run_virtual: Callable[..., Any]) -> None:
    samples = np.random.default_rng(0).integers(-32768, 32768, (500, 2)).astype("<i2")
    source = RawSource(Bytes(samples.tobytes()), AudioFormat("linear16", 16_000, 2))
    assert (source.sample_rate, source.channels, source.duration) == (16_000, 2, None)
    assert np.array_equal(run_virtual(read_all, source), samples)


def test_raw_mulaw_at_8_khz_stays_at_8_khz(run_virtual: Callable[..., Any]) -> None:
    source = RawSource(Bytes(b"\xff\x80\x00\x7f"), AudioFormat("mulaw", 8000))
    assert source.sample_rate == 8000
    assert run_virtual(read_all, source)[:, 0].tolist() == [0, 32124, -32124, 0]


def test_raw_audio_at_another_rate_is_resampled_to_the_last_sample(run_virtual: Callable[..., Any]) -> None:
    samples = (tone(44_100, 0.5, 400) * 32768).astype("<i2")
    audio = run_virtual(read_all, RawSource(Bytes(samples.tobytes(), 1001), AudioFormat("linear16", 44_100)))
    assert abs(len(audio) - 8000) <= 1
    assert pitch(audio[:, 0], 16_000) == pytest.approx(400, abs=3)


def test_an_odd_byte_count_is_an_error_after_all_whole_samples(run_virtual: Callable[..., Any]) -> None:
    async def main() -> int:
        chunks = aiter(RawSource(Bytes(bytes(2001), 1001), AudioFormat("linear16", 16_000), "standard input"))
        heard = len(await anext(chunks)) + len(await anext(chunks))
        with pytest.raises(UsageError, match="standard input ended inside a sample: 1 odd trailing byte"):
            await anext(chunks)
        return heard

    assert run_virtual(main) == 2000


def test_a_stream_without_a_byte_is_an_error(run_virtual: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match="the audio stream ended before the first byte"):
        run_virtual(read_all, RawSource(Bytes(b""), AudioFormat()))


# -- standard input ----------------------------------------------------------------------------------------------


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make a file descriptor standard input."""

    def put(fd: int) -> None:
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(fileno=lambda: fd))

    return put


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(fd)


def test_standard_input_from_a_pipe(
    stdin: Callable[[int], None], pipe: tuple[int, int], run_virtual: Callable[..., Any]
) -> None:
    reader, writer = pipe
    stdin(reader)
    source = stdin_source(AudioFormat("linear16", 16_000))
    os.write(writer, struct.pack("<4h", 1, 2, 3, 4))
    os.close(writer)
    assert run_virtual(read_all, source)[:, 0].tolist() == [1, 2, 3, 4]


def test_waiting_for_standard_input_can_be_cancelled_and_blocks_nobody(
    stdin: Callable[[int], None], pipe: tuple[int, int], run_virtual: Callable[..., Any]
) -> None:
    stdin(pipe[0])

    async def main() -> tuple[bool, float]:
        with trio.move_on_after(5) as scope:
            await read_all(stdin_source(AudioFormat()))
        return scope.cancelled_caught, trio.current_time()

    cancelled, now = run_virtual(main)
    assert cancelled
    assert now == 5  # nothing else kept the clock from running
    flags = fcntl.fcntl(pipe[0], fcntl.F_GETFL)
    assert not flags & os.O_NONBLOCK  # whoever shares it is not disturbed


def test_standard_input_from_a_file(
    stdin: Callable[[int], None], tmp_path: Path, run_virtual: Callable[..., Any]
) -> None:
    (tmp_path / "raw").write_bytes(struct.pack("<3h", 1, 2, 3))
    with open(tmp_path / "raw", "rb") as file:
        stdin(file.fileno())
        assert run_virtual(read_all, stdin_source(AudioFormat()))[:, 0].tolist() == [1, 2, 3]


def test_standard_input_that_cannot_hold_audio(stdin: Callable[[int], None], monkeypatch: pytest.MonkeyPatch) -> None:
    controller, terminal = os.openpty()
    try:
        stdin(terminal)
        with pytest.raises(UsageError, match="standard input is a terminal"):
            stdin_source(AudioFormat())
    finally:
        os.close(controller)
        os.close(terminal)
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="standard input is closed"):
        stdin_source(AudioFormat())
