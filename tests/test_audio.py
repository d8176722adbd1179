"""PCM: bytes to samples, rates, channels, levels."""

from __future__ import annotations

import io
import itertools
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from hearout.audio import AudioFormat, Decoder, Encoding, Resampler, Samples, dbfs, deinterleave, working_rate
from hearout.errors import UsageError


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"encoding": "opus"}, "unknown encoding 'opus': it must be one of linear16, mulaw, alaw"),
        ({"sample_rate": 0}, "unsupported sample rate 0 Hz"),
        ({"sample_rate": -16_000}, "unsupported sample rate -16000 Hz"),
        ({"sample_rate": 10_000_000}, "must be 4000 to 192000 Hz"),
        ({"channels": 0}, "0 channels: there must be 1 to 32"),
        ({"channels": 1000}, "1000 channels"),
    ],
)
def test_a_format_that_makes_no_sense_is_refused(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        AudioFormat(**settings)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(("encoding", "subtype"), [("mulaw", "ULAW"), ("alaw", "ALAW")])
def test_g711_decodes_as_libsndfile_does(encoding: Encoding, subtype: str) -> None:
    codes = bytes(range(256))
    expected, _ = soundfile.read(
        io.BytesIO(codes), dtype="int16", samplerate=8000, channels=1, format="RAW", subtype=subtype
    )
    samples = Decoder(AudioFormat(encoding, 8000)).feed(codes)
    assert samples[:, 0].tolist() == expected.tolist()


@given(
    data=st.binary(max_size=200),
    cuts=st.lists(st.integers(0, 200), max_size=8),
    encoding=st.sampled_from(["linear16", "mulaw", "alaw"]),
    channels=st.integers(1, 3),
)
def test_decoding_does_not_depend_on_where_the_stream_is_cut(
    data: bytes, cuts: list[int], encoding: Encoding, channels: int
) -> None:
    format = AudioFormat(encoding, 8000, channels)
    whole = data[: len(data) - len(data) % format.frame_bytes]
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    decoder = Decoder(format)
    pieces = [decoder.feed(data[a:b]) for a, b in itertools.pairwise(bounds)]
    assert all(piece.shape[1] == channels for piece in pieces)
    assert np.concatenate(pieces).tolist() == Decoder(format).feed(whole).tolist()
    if len(whole) == len(data):
        decoder.finish("it")
    else:
        with pytest.raises(UsageError, match="odd trailing byte"):
            decoder.finish("it")


def test_linear16_is_little_endian() -> None:
    assert Decoder(AudioFormat("linear16", 16_000, 2)).feed(b"\x01\x00\x00\x80").tolist() == [[1, -32768]]


def test_odd_trailing_bytes_are_named() -> None:
    decoder = Decoder(AudioFormat("linear16", 16_000, 2))
    decoder.feed(bytes(4 * 10 + 3))
    with pytest.raises(UsageError) as caught:
        decoder.finish("standard input")
    assert str(caught.value) == (
        "standard input ended inside a sample: 3 odd trailing byte(s) after 10 frames of 4 bytes "
        "(linear16, 2 channel(s)); check --encoding and --channels"
    )


@pytest.mark.parametrize(
    ("rate", "works_at"),
    [(4000, 8000), (8000, 8000), (11_025, 16_000), (16_000, 16_000), (22_050, 16_000), (48_000, 16_000)],
)
def test_working_rate(rate: int, works_at: int) -> None:
    assert working_rate(rate) == works_at


def tone(rate: int, seconds: float, *frequencies: float) -> Samples:
    """A sine for each channel, -12 dBFS."""
    t = np.arange(round(rate * seconds)) / rate
    return np.stack([8192 * np.sin(2 * np.pi * f * t) for f in frequencies], axis=1).astype(np.int16)


def pitch(channel: Samples, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(channel * np.hanning(len(channel))))
    return np.argmax(spectrum) * rate / len(channel)


@pytest.mark.parametrize("source_rate", [4000, 11_025, 22_050, 24_000, 44_100, 48_000, 96_000])
def test_resampling_keeps_length_pitch_and_channels(source_rate: int) -> None:
    target_rate = working_rate(source_rate)
    resampler = Resampler(source_rate, target_rate, 2)
    samples = tone(source_rate, 1.0, 500, 1000)
    step = source_rate // 50
    out = [resampler.feed(samples[i : i + step]) for i in range(0, len(samples), step)]
    out.append(resampler.feed(samples[:0], last=True))
    result = np.concatenate(out)
    assert abs(len(result) - target_rate) <= 2
    assert pitch(result[:, 0], target_rate) == pytest.approx(500, abs=2)
    assert pitch(result[:, 1], target_rate) == pytest.approx(1000, abs=2)
    assert dbfs(result[:, 0].tobytes()) == pytest.approx(dbfs(samples[:, 0].tobytes()), abs=0.2)


def test_resampling_does_not_depend_on_how_the_audio_is_cut() -> None:
    samples = tone(44_100, 0.5, 440)

    def resample(step: int) -> Samples:
        resampler = Resampler(44_100, 16_000, 1)
        parts = [resampler.feed(samples[i : i + step]) for i in range(0, len(samples), step)]
        return np.concatenate([*parts, resampler.feed(samples[:0], last=True)])

    assert np.array_equal(resample(1000), resample(77))


@pytest.mark.parametrize("source_rate", [24_000, 44_100, 48_000])
def test_resampling_live_audio_holds_back_little(source_rate: int) -> None:
    resampler = Resampler(source_rate, 16_000, 1)
    fed = given = 0.0
    for _ in range(50):
        fed += 0.02
        given += len(resampler.feed(tone(source_rate, 0.02, 440))) / 16_000
        assert fed - given < 0.023


def test_the_same_rate_is_passed_through() -> None:
    samples = tone(16_000, 0.1, 440)
    assert Resampler(16_000, 16_000, 1).feed(samples) is samples


def test_the_core_does_without_the_extras() -> None:
    code = (
        "import sys; sys.modules['soxr'] = sys.modules['soundfile'] = None\n"
        "import hearout.audio, hearout.sources, hearout.vad\n"
        "hearout.audio.Resampler(16000, 16000, 1)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_resampling_without_soxr_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soxr", None)
    with pytest.raises(UsageError, match=r"44100 Hz.*needs soxr: pip install 'hearout\[cli\]'"):
        Resampler(44_100, 16_000, 1)


def test_deinterleave() -> None:
    pcm = np.array([[1, 2, 3], [4, 5, 6]], "<i2").tobytes()
    assert [np.frombuffer(mono, "<i2").tolist() for mono in deinterleave(pcm, 3)] == [[1, 4], [2, 5], [3, 6]]
    assert deinterleave(pcm, 1) == [pcm]


def test_levels_in_dbfs() -> None:
    full = (32767 * np.sin(np.arange(16_000) * 2 * np.pi / 100)).astype("<i2")
    assert dbfs(full.tobytes()) == pytest.approx(-3.01, abs=0.01)
    assert dbfs((full // 10).tobytes()) == pytest.approx(-23.01, abs=0.02)
    assert dbfs(bytes(640)) == -math.inf
    assert dbfs(b"") == -math.inf
