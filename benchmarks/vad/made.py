"""Synthesised speech with known pauses, in noise and on quiet lines.

The speech is made on the spot by flite and espeak-ng (Debian: apt install flite espeak-ng). The modes are WebRTC's, by
how aggressive it is.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import timeit
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import soxr

from benchmarks.vad.mixing import Signal, at_level, make_noise
from benchmarks.vad.scores import Score, Span, hear, near
from hearout.vad import SileroVad, SpeechGate, VoiceDetector, WebRtcDetector, silero_gate, webrtc_gate

__all__ = ["show"]

RATE = 16_000
LEVEL = -22.0  # dBFS, RMS of the speech
BED = -75.0  # dBFS, of the white noise that every line has
MODES = (0, 1, 2, 3)

VOICES = (
    ("flite", "slt"),
    ("flite", "rms"),
    ("flite", "awb"),
    ("flite", "kal16"),
    ("espeak-ng", "en-us"),
    ("espeak-ng", "en-gb"),
    ("espeak-ng", "en-us+f3"),
)
SENTENCES = (
    "i would like to order two coffees please",
    "my number is five five one three",
    "can you tell me when the shop opens",
    "yes that is right",
    "how much does it cost to send a parcel to paris",
    "no thank you",
    "please call me back this afternoon",
    "the weather was lovely all week",
)
NOISES = (("clean", 0), *((color, snr) for color in ("white", "pink") for snr in (20, 10, 5, 0)))

VoiceMaker = Callable[[int], VoiceDetector]


def speak(program: str, voice: str, text: str) -> Signal:
    """One sentence at 16 kHz and `LEVEL`, cut where it falls 40 dB below its loud parts."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "speech.wav")
        if program == "flite":
            command = ["flite", "-voice", voice, "-t", text, "-o", str(path)]
        else:
            command = ["espeak-ng", "-v", voice, "-w", str(path), text]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except FileNotFoundError:
            sys.exit(f"{program} is not installed; on Debian: apt install flite espeak-ng")
        read, rate = soundfile.read(path, dtype="int16")
    samples = soxr.resample(read / 32768, rate, RATE)
    step = RATE // 100
    energy = (samples[: len(samples) // step * step].reshape(-1, step) ** 2).mean(axis=1)
    loud = np.flatnonzero(energy > np.percentile(energy, 95) * 1e-4)
    samples = samples[loud[0] * step : (loud[-1] + 1) * step]
    return at_level(samples, LEVEL)


@dataclass
class Line:
    """One voice's sentences with pauses between them, and where they are."""

    samples: Signal
    spoken: list[Span]

    def pcm(self, color: str = "clean", snr: float = 0, speech_level: float = LEVEL) -> bytes:
        mixed = self.samples * 10 ** ((speech_level - LEVEL) / 20)
        mixed = mixed + make_noise("white", len(mixed)) * 10 ** (BED / 20)
        if color != "clean":
            mixed = mixed + make_noise(color, len(mixed)) * 10 ** ((speech_level - snr) / 20)
        return np.clip(np.rint(mixed * 32768), -32768, 32767).astype("<i2").tobytes()


def make_lines(voices: Iterable[tuple[str, str]], sentences: Sequence[str]) -> list[Line]:
    random = np.random.RandomState(1)
    lines = []
    for program, voice in voices:
        parts: list[Signal] = []
        spoken = []
        size = 0
        for text in sentences:
            pause = np.zeros(int(random.uniform(0.8, 2.0) * RATE))
            speech = speak(program, voice, text)
            size += len(pause)
            spoken.append((size / RATE, (size + len(speech)) / RATE))
            size += len(speech)
            parts += [pause, speech]
        lines.append(Line(np.concatenate([*parts, np.zeros(3 * RATE // 2)]), spoken))
    return lines


#: What detects, by its name in the tables: makes a gate from a sample rate and the noise target of WebRTC's gain stage.
Makers = dict[str, Callable[[int, float | None], SpeechGate]]


def webrtc(mode: int) -> Callable[[int, float | None], SpeechGate]:
    return lambda rate, target: SpeechGate(WebRtcDetector(rate, mode, noise_target=target), rate)


DETECTORS: Makers = {f"mode {mode}": webrtc(mode) for mode in MODES} | {"silero": lambda rate, _: silero_gate(rate)}


def table(rows: Sequence[tuple[str, Sequence[Score]]], names: Sequence[str]) -> None:
    """Two Markdown tables: the shares, then the errors."""
    for what, text in (
        ("missed % / false %", Score.shares),
        ("onset, end: ms (p90)", Score.errors),
    ):
        print(f"| {what} | " + " | ".join(names) + " |")
        print("|---" * (1 + len(names)) + "|")
        for name, scores in rows:
            print(f"| {name} | " + " | ".join(text(score) for score in scores) + " |")
        print()


def measure(lines: Sequence[Line], pcms: Sequence[bytes], target: float | None, makers: Makers) -> list[Score]:
    scores = []
    for make in makers.values():
        score = Score()
        for line, pcm in zip(lines, pcms, strict=True):
            score.add(line.spoken, len(line.samples) / RATE, hear(make(RATE, target), pcm, RATE))
        scores.append(score)
    return scores


class NoRange(WebRtcDetector):
    """Without the rule about what is far below the loudness of speech."""

    SPEECH_RANGE = math.inf


def measure_call(directory: Path) -> None:
    """False starts on a recorded call between people, whose channels hear each other a little.

    Its spans of speech are known from the energy of each channel, not by ear: only what is far from all of them
    counts as false.
    """
    modes = [f"mode {mode}" for mode in MODES]
    print("### A telephone call, 2 x 4 min: false starts\n")
    print("| | " + " | ".join(modes) + " | silero |")
    print("|---" * (2 + len(MODES)) + "|")
    truth = json.loads(next(directory.glob("*.json")).read_text())["ipus"]
    rows: dict[str, list[VoiceMaker]] = {
        "with the loudness rule": [partial(WebRtcDetector, aggressiveness=mode) for mode in MODES],
        "without": [*(partial(NoRange, aggressiveness=mode) for mode in MODES), SileroVad],
    }
    for name, makers in rows.items():
        cells = []
        for make in makers:
            false = missed = 0
            for person, spoken in truth.items():
                samples, rate = soundfile.read(next(directory.glob(f"*_{person}.wav")), dtype="int16")
                found = [(one.start, one.end) for one in hear(SpeechGate(make(rate), rate), samples.tobytes(), rate)]
                false += sum(not near(span, spoken, 0.15) for span in found)
                missed += sum(not near(span, found, 0.0) for span in spoken)
            cells.append(f"{false} ({missed} missed)")
        print(f"| {name} | " + " | ".join(cells) + " |" * (1 + len(MODES) - len(cells) + 1))
    print()


def measure_tail(lines: Sequence[Line], make: VoiceMaker) -> float:
    """Median seconds from the true end of clean speech to the end of the last frame called speech."""
    tails = []
    for line in lines:
        pcm = line.pcm()
        detector = make(RATE)
        step = detector.frame_ms / 1000
        size = 2 * RATE * detector.frame_ms // 1000
        verdicts = [detector.is_speech(pcm[i : i + size]) for i in range(0, len(pcm) - size + 1, size)]
        for _, end in line.spoken:
            frame = int(end / step)
            while frame < len(verdicts) and verdicts[frame]:
                frame += 1
            tails.append(frame * step - end)
    return float(np.median(tails))


def measure_cost(make: Callable[[int], SpeechGate], level: float) -> float:
    """Microseconds for 20 ms of audio, detector and gate together; the best of five rounds."""
    pcm = (make_noise("white", 10 * RATE) * 32768 * 10 ** (level / 20)).astype("<i2").tobytes()
    blocks = [pcm[i : i + 640] for i in range(0, len(pcm), 640)]

    def once() -> None:
        gate = make(RATE)
        for block in blocks:
            gate.feed(block)

    return min(timeit.repeat(once, number=1, repeat=5)) / len(blocks) * 1e6


def show(quick: bool) -> None:
    """All tables; ``quick``: two voices and three sentences."""
    lines = make_lines(VOICES[::4] if quick else VOICES, SENTENCES[:3] if quick else SENTENCES)
    spoken = sum(end - start for line in lines for start, end in line.spoken)
    print(f"{len(lines)} voices, {sum(len(line.spoken) for line in lines)} sentences, {spoken:.0f} s of speech\n")

    modes = {name: DETECTORS[name] for name in DETECTORS if name != "silero"}
    for title, target, makers in (
        ("With the gain stage (the default)", -42.0, DETECTORS),
        ("Without", None, modes),
    ):
        print(f"### {title}, speech at {LEVEL:.0f} dBFS\n")
        rows = []
        for color, snr in NOISES:
            pcms = [line.pcm(color, snr) for line in lines]
            name = color if color == "clean" else f"{color}, {snr} dB"
            rows.append((name, measure(lines, pcms, target, makers)))
        table(rows, list(makers))

    print("### Quiet lines, clean\n")
    rows = []
    for level in (-30, -40, -45, -50):
        pcms = [line.pcm(speech_level=level) for line in lines]
        rows.append((f"speech at {level} dBFS", measure(lines, pcms, -42.0, DETECTORS)))
    table(rows, list(DETECTORS))

    call = Path(__file__).parents[3] / "shared" / "audio" / "call"
    if call.exists():
        measure_call(call)

    tails: dict[str, VoiceMaker] = {
        f"mode {mode}": partial(NoRange, aggressiveness=mode, noise_target=None) for mode in MODES
    }
    told = [f"{name} {1000 * measure_tail(lines, make):.0f} ms" for name, make in tails.items()]
    print(f"Tail after clean speech: {', '.join(told)}, silero {1000 * measure_tail(lines, SileroVad):.0f} ms\n")
    for name, gate in (("webrtc", webrtc_gate), ("silero", silero_gate)):
        quiet, noisy = measure_cost(gate, -60), measure_cost(gate, -25)
        print(f"{name}: 20 ms of audio cost {quiet:.1f} us on a quiet line, {noisy:.1f} us in noise")
