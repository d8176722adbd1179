"""Voice activity detection: the gate's edges exactly, the detector on speech and on noise."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from hearout.errors import UsageError
from hearout.vad import SpeechEdge, SpeechGate, WebRtcDetector
from tests.kit.paths import SAMPLES

RATE = 16_000

Audio = npt.NDArray[np.float64]  # full scale 1


# -- the gate ----------------------------------------------------------------------------------------------------


class Obvious:
    """Any frame that begins with something else than 0 is speech."""

    frame_ms = 20

    def __init__(self, tail: float = 0.0) -> None:
        self.tail = tail

    def is_speech(self, frame: bytes) -> bool:
        assert len(frame) == 640
        return frame[:2] != b"\0\0"


def frames(pattern: str) -> bytes:
    """PCM for `Obvious`, a character a frame: ``#`` is speech."""
    return b"".join((b"\1\0" if mark == "#" else b"\0\0") * 320 for mark in pattern)


def edges(pattern: str, tail: float = 0.0, **settings: Any) -> list[tuple[str, float]]:
    """Starts and stops."""
    return [(kind, audio) for kind, audio in every_edge(pattern, tail, **settings) if kind in ("start", "stop")]


def every_edge(pattern: str, tail: float = 0.0, **settings: Any) -> list[tuple[str, float]]:
    gate = SpeechGate(Obvious(tail), RATE, **settings)
    return [(edge.kind, round(edge.audio, 6)) for edge in gate.feed(frames(pattern))]


def test_start_and_stop_are_dated_back_to_the_onset_and_the_end() -> None:
    assert edges("..........##########..........") == [("start", 0.2), ("stop", 0.4)]


def test_the_detectors_tail_is_taken_off_the_end() -> None:
    assert edges("..........##########..........", tail=0.1) == [("start", 0.2), ("stop", 0.3)]


def test_a_sound_that_fades_is_no_pause_while_it_is_louder_than_the_line() -> None:
    """As the "s" of "address" does for 0.2 s after it has ceased to be voice."""

    class Fading(Obvious):
        quiet = False

    detector = Fading()
    gate = SpeechGate(detector, RATE, suspicion=0)
    assert [edge.kind for edge in gate.feed(frames("#" * 10 + "." * 7))] == ["start"]
    detector.quiet = True
    assert gate.feed(frames("..")) == [SpeechEdge("pause", 0.2)]
    assert gate.feed(frames("..")) == [SpeechEdge("stop", 0.2)]


def test_quiet_is_what_lies_12_db_above_the_noise_of_the_line() -> None:
    noise = np.random.default_rng(1).normal(0, 0.001, RATE)
    detector = WebRtcDetector(RATE)
    for frame in np.split(noise, 50):
        detector.is_speech(pcm(frame))
    for gain, quiet in ((6, True), (11, True), (14, False), (20, False), (0, True)):
        detector.is_speech(pcm(np.split(noise, 50)[7] * 10 ** (gain / 20)))
        assert detector.quiet == quiet, gain


@pytest.mark.parametrize("tail", [0.0, 0.1])
def test_the_stop_is_noticed_one_hangover_after_the_end_it_names(tail: float) -> None:
    gate = SpeechGate(Obvious(tail), RATE, hangover=0.2)
    for mark in "#" * 20 + "." * 20:
        for edge in gate.feed(frames(mark)):
            if edge.kind == "stop":
                assert edge.audio == pytest.approx(0.4 - tail)
                assert gate.heard == pytest.approx(edge.audio + 0.2)
                return
    pytest.fail("no stop")


def test_a_pause_shorter_than_the_hangover_does_not_show() -> None:
    speech = "#" * 10
    assert edges(speech + "." * 9 + speech + "." * 20) == [("start", 0.0), ("stop", 0.58)]
    assert len(edges(speech + "." * 10 + speech + "." * 20)) == 4


def test_a_start_needs_enough_speech_within_the_window() -> None:
    assert edges("....####....####....####....") == []
    assert edges("....###.##....") == [("start", 0.08)]
    assert edges("....###..##....") == []
    assert edges("....##", onset=0.04, onset_window=0.04) == [("start", 0.08)]


def test_a_suspicion_comes_before_a_start_and_once_for_each_sound() -> None:
    speech = "....##########..........."
    assert every_edge(speech) == [("maybe", 0.08), ("start", 0.08), ("pause", 0.28), ("stop", 0.28)]
    assert every_edge("....#.#.#.##....") == [("maybe", 0.08)]
    assert every_edge("....##......##..") == [("maybe", 0.08), ("maybe", 0.24)]
    assert every_edge("....#.....#.....#") == []
    assert every_edge("....##", suspicion=0.06) == []
    assert every_edge(speech, suspicion=0, pause=0) == [("start", 0.08), ("stop", 0.28)]
    assert every_edge("....#####", onset=0.04) == [("start", 0.08)]  # as long as the onset: the start says it all


def test_a_pause_comes_once_for_each_silence_in_speech_and_before_the_stop() -> None:
    def pauses(pattern: str, tail: float = 0.0, **settings: Any) -> list[tuple[str, float]]:
        return every_edge("##########" + pattern, tail, suspicion=0, **settings)[1:]

    assert pauses("....") == []
    assert pauses(".....") == [("pause", 0.2)]  # 0.1 s
    assert pauses(".........##.....#") == [("pause", 0.2), ("pause", 0.42)]
    assert pauses("..........##########") == [("pause", 0.2), ("stop", 0.2), ("start", 0.4)]
    assert pauses(".....", tail=0.06) == [("pause", 0.14)]  # the detector has kept 0.06 s of it to itself
    assert pauses("...", pause=0.06) == [("pause", 0.2)]
    assert pauses("..........", pause=0) == [("stop", 0.2)]
    assert pauses("..........", pause=0.2) == [("stop", 0.2)]  # as long as the hangover: the stop says it all


def test_a_suspicion_is_noticed_with_its_last_frame() -> None:
    gate = SpeechGate(Obvious(), RATE)
    noticed = [(edge.kind, gate.heard) for mark in "....#####" for edge in gate.feed(frames(mark))]
    assert [kind for kind, _ in noticed] == ["maybe", "start"]
    assert [at for _, at in noticed] == pytest.approx([0.12, 0.18])


def test_speech_that_the_audio_ends_in_can_be_flushed() -> None:
    gate = SpeechGate(Obvious(tail=0.1), RATE)
    gate.feed(frames("..########"))
    assert gate.speaking
    assert gate.flush() == [SpeechEdge("stop", 0.2)]  # no tail: nobody heard an end
    assert not gate.speaking
    assert gate.flush() == []


def test_a_stop_is_never_dated_before_its_start() -> None:
    gate = SpeechGate(Obvious(tail=0.5), RATE)
    gate.feed(frames("..#####."))
    assert gate.flush() == [SpeechEdge("stop", 0.04)]


def test_what_the_gate_has_heard_counts_every_sample() -> None:
    gate = SpeechGate(Obvious(), RATE)
    gate.feed(bytes(2 * 1000))
    assert gate.heard == 1000 / RATE
    gate.feed(bytes(2 * 1))
    assert gate.heard == 1001 / RATE


def test_the_level_is_that_of_the_last_whole_frame() -> None:
    gate = SpeechGate(Obvious(), RATE)
    assert gate.level == -math.inf
    gate.feed(np.full(320, 3277, "<i2").tobytes() + bytes(100))
    assert gate.level == pytest.approx(-20, abs=0.01)
    gate.feed(bytes(640))
    assert gate.level == -math.inf


@given(
    pattern=st.text(alphabet="#.", max_size=120),
    tail=st.sampled_from([0.0, 0.06, 0.1, 0.15]),
    hangover=st.sampled_from([0.0, 0.1, 0.2, 0.5]),
    onset=st.sampled_from([0.02, 0.06, 0.1]),
    window=st.sampled_from([0.02, 0.1, 0.2]),
)
def test_edges_alternate_in_order_of_time_and_never_lie_ahead(
    pattern: str, tail: float, hangover: float, onset: float, window: float
) -> None:
    gate = SpeechGate(Obvious(tail), RATE, hangover=hangover, onset=onset, onset_window=window)
    found: list[SpeechEdge] = []
    for mark in pattern:
        speaking = gate.speaking
        for edge in gate.feed(frames(mark)):
            assert edge.audio <= gate.heard
            if edge.kind == "maybe":
                assert mark == "#"
                assert not speaking
                assert not gate.speaking
            elif edge.kind == "pause":
                assert mark == "."
                assert speaking
                assert gate.speaking
            else:
                found.append(edge)
        assert gate.speaking == (len(found) % 2 == 1)
    found += gate.flush()
    assert [edge.kind for edge in found] == ["start", "stop"] * (len(found) // 2)
    assert all(a.audio <= b.audio for a, b in itertools.pairwise(found))


# -- the detector ------------------------------------------------------------------------------------------------


def pcm(samples: npt.ArrayLike) -> bytes:
    scaled: Audio = np.asarray(samples) * 32768
    return np.clip(np.rint(scaled), -32768, 32767).astype("<i2").tobytes()


def noise(color: str, seconds: float, level: float, rate: int = RATE, seed: int = 3) -> Audio:
    size = round(seconds * rate)
    values: Audio = np.random.RandomState(seed).standard_normal(size)
    if color == "pink":
        spectrum = np.fft.rfft(values)
        values = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), size)
    loud: Audio = values / np.sqrt(np.mean(values**2)) * 10 ** (level / 20)
    return loud


def recording(file: str) -> tuple[Audio, Any]:
    """A sample recording, shape (frames, channels), full scale 1, and the truth about it."""
    samples, _ = soundfile.read(SAMPLES / file, dtype="int16")
    truth = json.loads((SAMPLES / file).with_suffix(".json").read_text())
    return samples.reshape(len(samples), -1) / 32768, truth


def detect(data: bytes, rate: int = RATE, **options: Any) -> list[tuple[float, float]]:
    """The spans of speech."""
    gate = SpeechGate(WebRtcDetector(rate, **options), rate, suspicion=0, pause=0)
    times = [edge.audio for edge in (*gate.feed(data), *gate.flush())]
    return list(zip(times[::2], times[1::2], strict=True))


def heard_share(data: bytes, **options: Any) -> float:
    return sum(end - start for start, end in detect(data, **options)) / (len(data) / 2 / RATE)


@pytest.fixture(scope="module")
def order() -> tuple[Audio, Any]:
    samples, truth = recording("order.flac")
    return samples[:, 0], truth


def spoken(truth: Any, channel: int = 0, pause: float = 0.3) -> list[list[float]]:
    """The stretches of speech between true pauses longer than ``pause``."""
    spans: list[list[float]] = []
    for turn in truth["turns"]:
        if turn["channel"] == channel:
            for word in turn["words"]:
                if not spans or word["start"] - spans[-1][1] > pause:
                    spans.append([word["start"], word["end"]])
                spans[-1][1] = word["end"]
    return spans


@pytest.mark.parametrize("file", ["order.flac", "phone_number.wav", "two_people.flac"])
def test_every_stretch_of_speech_in_the_samples_is_found(file: str) -> None:
    samples, truth = recording(file)
    for channel in range(truth["channels"]):
        found = detect(pcm(samples[:, channel]))
        true = spoken(truth, channel)
        assert len(found) == len(true)
        for (start, end), (true_start, true_end) in zip(found, true, strict=True):
            assert start == pytest.approx(true_start, abs=0.15)
            assert end == pytest.approx(true_end, abs=0.2)


def test_the_edges_of_a_known_recording(order: tuple[Audio, Any]) -> None:
    # Golden: a change here is a change of what every user hears. See `python -m benchmarks.vad` before.
    every = SpeechGate(WebRtcDetector(RATE), RATE).feed(pcm(order[0]))
    assert [edge.kind for edge in every if edge.kind != "pause"] == ["maybe", "start", "stop"] * 4  # no wrong suspicion
    assert [round(edge.audio, 2) for edge in every if edge.kind == "pause"] == [2.1, 3.94, 7.56, 10.4]
    found = [(round(start, 3), round(end, 3)) for start, end in detect(pcm(order[0]))]
    assert found == [(0.5, 2.1), (2.9, 3.94), (6.02, 7.56), (9.54, 10.4)]


@settings(max_examples=20)
@given(cuts=st.lists(st.integers(0, 4 * RATE), max_size=60).map(sorted))
def test_edges_do_not_depend_on_how_the_audio_is_cut(order: tuple[Audio, Any], cuts: list[int]) -> None:
    data = pcm(order[0][: 4 * RATE])
    whole = SpeechGate(WebRtcDetector(RATE), RATE)
    gate = SpeechGate(WebRtcDetector(RATE), RATE)
    bounds = [0, *cuts, 4 * RATE]
    pieces = [edge for a, b in itertools.pairwise(bounds) for edge in gate.feed(data[2 * a : 2 * b])]
    assert pieces + gate.flush() == whole.feed(data) + whole.flush()


def test_gates_do_not_disturb_each_other(order: tuple[Audio, Any]) -> None:
    data = pcm(order[0])
    gates = [SpeechGate(WebRtcDetector(RATE), RATE) for _ in range(2)]
    found: list[list[SpeechEdge]] = [[], []]
    for i in range(0, len(data), 640):
        found[0] += gates[0].feed(data[i : i + 640])
        found[1] += gates[1].feed(data[max(0, i - 32_000) : max(0, i - 31_360)])  # a second behind
    found[1] += gates[1].feed(data[-32_000:])
    alone = SpeechGate(WebRtcDetector(RATE), RATE)
    assert found == [alone.feed(data)] * 2


@pytest.mark.parametrize("frame_ms", [10, 20, 30])
@pytest.mark.parametrize("rate", [8000, 16_000, 32_000, 48_000])
def test_all_rates_and_frames_hear_the_same(order: tuple[Audio, Any], rate: int, frame_ms: int) -> None:
    soxr = pytest.importorskip("soxr")
    data = pcm(soxr.resample(order[0], RATE, rate))
    found = detect(data, rate=rate, frame_ms=frame_ms)
    true = spoken(order[1])
    assert len(found) == len(true)
    assert np.abs(np.subtract(found, true)).max() < 0.2


@pytest.mark.parametrize("color", ["white", "pink"])
@pytest.mark.parametrize("level", [-60, -42, -30, -20, -12])
def test_steady_noise_is_not_speech_however_loud(color: str, level: float) -> None:
    assert heard_share(pcm(noise(color, 20, level))) <= 0.005


def test_without_the_gain_stage_loud_noise_is_speech_for_ever() -> None:
    data = pcm(noise("white", 20, -20))
    assert heard_share(data, noise_target=None) > 0.95


def test_a_line_does_not_begin_with_speech() -> None:
    for level in (-70, -60, -50, -42):
        assert detect(pcm(noise("white", 1, level))) == []


@pytest.mark.parametrize(("color", "snr"), [("white", 10), ("white", 5), ("pink", 10)])
def test_speech_in_noise_is_found(order: tuple[Audio, Any], color: str, snr: float) -> None:
    samples, truth = order
    found = detect(pcm(samples + noise(color, truth["duration"], -22 - snr)[: len(samples)]))
    for start, end in spoken(truth):
        covered = sum(max(0, min(end, b) - max(start, a)) for a, b in found)
        assert covered > 0.75 * (end - start)
    silence = truth["duration"] - sum(end - start for start, end in spoken(truth))
    false = sum(b - a for a, b in found) - sum(end - start for start, end in spoken(truth))
    assert false < 0.05 * silence


def test_a_quiet_line_is_heard(order: tuple[Audio, Any]) -> None:
    samples, truth = order
    found = detect(pcm(samples * 10 ** (-23 / 20)))  # speech at -45 dBFS
    covered = sum(b - a for a, b in found)
    assert covered > 0.85 * sum(end - start for start, end in spoken(truth))


def test_lost_frames_do_not_turn_noise_into_speech() -> None:
    lost = noise("white", 20, -25).reshape(-1, 320).copy()
    lost[np.random.RandomState(1).random_sample(len(lost)) < 0.03] = 0
    assert heard_share(pcm(lost.ravel())) < 0.05  # it was 0.28


def test_speech_far_below_the_speech_before_it_is_somebody_else(order: tuple[Audio, Any]) -> None:
    loud = order[0][: 4 * RATE] * 10 ** (8 / 20)
    quiet = loud[RATE // 2 :] * 10 ** (-42 / 20)
    found = detect(pcm(np.concatenate([loud, quiet])))
    assert found
    assert all(end < 4.1 for _, end in found)
    # ... but not for ever: a quiet person may take the telephone over.
    later = detect(pcm(np.concatenate([loud, noise("white", 30, -80), quiet])))
    assert any(start > 34 for start, _ in later)


def test_digital_silence_is_silence(order: tuple[Audio, Any]) -> None:
    assert detect(bytes(2 * RATE)) == []
    samples, truth = order
    gated = np.zeros_like(samples)
    for start, end in spoken(truth):
        gated[round(start * RATE) : round(end * RATE)] = samples[round(start * RATE) : round(end * RATE)]
    found = detect(pcm(gated))
    assert np.abs(np.subtract(found, spoken(truth))).max() < 0.2


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"sample_rate": 44_100}, "44100 Hz"),
        ({"aggressiveness": 4}, "aggressiveness 4"),
        ({"frame_ms": 25}, "frames of 25 ms"),
    ],
)
def test_what_webrtc_does_not_know_is_refused(options: Any, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        WebRtcDetector(**{"sample_rate": RATE} | options)
