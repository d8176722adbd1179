"""How well and how fast voice activity is detected: speech with known pauses, in noise and on quiet lines.

    python -m benchmarks.vad [--quick]

Prints Markdown. The speech is made on the spot by flite and espeak-ng (Debian: apt install flite espeak-ng); seeds
are fixed, so the same voices give the same figures. What is measured is what the turn machine sees: the edges of
`SpeechGate`, dated back, with its default settings.

missed: share of the speech that is not within the edges. false: share of the silence that is, beyond 0.1 s before
and 0.2 s after speech. onset, end: error of the edges in ms, median and 90th percentile of its size; minus is too
early. An end that is more than 0.6 s late does not count there: it shows as false speech.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import timeit
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from hearout.vad import SpeechGate, WebRtcDetector

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

Signal = npt.NDArray[np.float64]
Span = tuple[float, float]  # seconds


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


def at_level(samples: Signal, level: float) -> Signal:
    return samples * (10 ** (level / 20) / float(np.sqrt(np.mean(samples**2))))


def make_noise(color: str, size: int) -> Signal:
    """Noise at 0 dBFS."""
    noise = np.random.RandomState(3).standard_normal(size)
    if color == "pink":
        spectrum = np.fft.rfft(noise)
        noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), size)
    return at_level(noise, 0)


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


def detect(pcm: bytes, mode: int, noise_target: float | None, hangover: float = 0.2) -> list[Span]:
    """The spans of speech, as the turn machine would see them."""
    detector = WebRtcDetector(RATE, mode, noise_target=noise_target)
    gate = SpeechGate(detector, RATE, hangover=hangover, suspicion=0)
    times = [edge.audio for edge in (*gate.feed(pcm), *gate.flush())]
    return list(zip(times[::2], times[1::2], strict=True))


@dataclass
class Score:
    speech: int = 0  # in steps of 10 ms, as are the next three
    missed: int = 0
    silence: int = 0
    false: int = 0
    onsets: list[float] = field(default_factory=list)  # errors in seconds
    ends: list[float] = field(default_factory=list)

    def add(self, line: Line, found: list[Span]) -> None:
        steps = len(line.samples) * 100 // RATE + 1
        said, heard = mark(line.spoken, steps), mark(found, steps)
        silent = ~mark([(start - 0.1, end + 0.2) for start, end in line.spoken], steps)
        self.speech += int(said.sum())
        self.missed += int((said & ~heard).sum())
        self.silence += int(silent.sum())
        self.false += int((silent & heard).sum())
        for start, end in line.spoken:
            here = [span for span in found if span[0] < end and span[1] > start]
            if here and here[0][0] > start - 0.5:
                self.onsets.append(here[0][0] - start)
            if here and here[-1][1] < end + 0.6:
                self.ends.append(here[-1][1] - end)

    def shares(self) -> str:
        return f"{100 * self.missed / self.speech:.0f} / {100 * self.false / self.silence:.0f}"

    def errors(self) -> str:
        return f"{in_ms(self.onsets)}, {in_ms(self.ends)}"


def mark(spans: Iterable[Span], steps: int) -> npt.NDArray[np.bool_]:
    marked = np.zeros(steps, bool)
    for start, end in spans:
        marked[max(0, round(start * 100)) : round(end * 100)] = True
    return marked


def in_ms(errors: list[float]) -> str:
    if not errors:
        return "none"
    return f"{1000 * np.median(errors):.0f} ({1000 * np.percentile(np.abs(errors), 90):.0f})"


def show(rows: list[tuple[str, list[Score]]]) -> None:
    """Two Markdown tables: the shares, then the errors."""
    for what, text in (
        ("missed % / false %", Score.shares),
        ("onset, end: ms (p90)", Score.errors),
    ):
        print(f"| {what} | " + " | ".join(f"mode {mode}" for mode in MODES) + " |")
        print("|---" * (1 + len(MODES)) + "|")
        for name, scores in rows:
            print(f"| {name} | " + " | ".join(text(score) for score in scores) + " |")
        print()


def measure(lines: list[Line], pcms: list[bytes], noise_target: float | None) -> list[Score]:
    scores = []
    for mode in MODES:
        score = Score()
        for line, pcm in zip(lines, pcms, strict=True):
            score.add(line, detect(pcm, mode, noise_target))
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
    print("### A telephone call, 2 x 4 min: false starts\n")
    print("| | " + " | ".join(f"mode {mode}" for mode in MODES) + " |")
    print("|---" * (1 + len(MODES)) + "|")
    truth = json.loads(next(directory.glob("*.json")).read_text())["ipus"]
    for name, kind in (("with the loudness rule", WebRtcDetector), ("without", NoRange)):
        cells = []
        for mode in MODES:
            false = missed = 0
            for person, spoken in truth.items():
                samples, rate = soundfile.read(next(directory.glob(f"*_{person}.wav")), dtype="int16")
                gate = SpeechGate(kind(rate, mode), rate, suspicion=0)
                times = [edge.audio for edge in (*gate.feed(samples.tobytes()), *gate.flush())]
                found = list(zip(times[::2], times[1::2], strict=True))
                false += sum(not near(span, spoken, 0.15) for span in found)
                missed += sum(not near(span, found, 0.0) for span in spoken)
            cells.append(f"{false} ({missed} missed)")
        print(f"| {name} | " + " | ".join(cells) + " |")
    print()


def near(span: Span, others: Iterable[Span], distance: float) -> bool:
    return any(span[0] < end + distance and span[1] > start - distance for start, end in others)


def measure_tail(lines: list[Line], mode: int) -> float:
    """Median seconds from the true end of clean speech to the end of the last frame called speech."""
    tails = []
    for line in lines:
        pcm = line.pcm()
        detector = NoRange(RATE, mode, noise_target=None)
        verdicts = [detector.is_speech(pcm[i : i + 640]) for i in range(0, len(pcm) - 639, 640)]
        for _, end in line.spoken:
            frame = int(end / 0.02)
            while frame < len(verdicts) and verdicts[frame]:
                frame += 1
            tails.append(frame * 0.02 - end)
    return float(np.median(tails))


def measure_cost(level: float) -> float:
    """Microseconds for a frame of 20 ms, gain stage, detector and gate together; the best of five rounds."""
    pcm = (make_noise("white", 10 * RATE) * 32768 * 10 ** (level / 20)).astype("<i2").tobytes()
    frames = [pcm[i : i + 640] for i in range(0, len(pcm), 640)]

    def once() -> None:
        gate = SpeechGate(WebRtcDetector(RATE), RATE)
        for frame in frames:
            gate.feed(frame)

    return min(timeit.repeat(once, number=1, repeat=5)) / len(frames) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="two voices and three sentences")
    quick = parser.parse_args().quick
    lines = make_lines(VOICES[::4] if quick else VOICES, SENTENCES[:3] if quick else SENTENCES)
    spoken = sum(end - start for line in lines for start, end in line.spoken)
    print(f"{len(lines)} voices, {sum(len(line.spoken) for line in lines)} sentences, {spoken:.0f} s of speech\n")

    for title, noise_target in (("With the gain stage (the default)", -42.0), ("Without", None)):
        print(f"### {title}, speech at {LEVEL:.0f} dBFS\n")
        rows = []
        for color, snr in NOISES:
            pcms = [line.pcm(color, snr) for line in lines]
            name = color if color == "clean" else f"{color}, {snr} dB"
            rows.append((name, measure(lines, pcms, noise_target)))
        show(rows)

    print("### Quiet lines, clean\n")
    rows = []
    for level in (-30, -40, -45, -50):
        pcms = [line.pcm(speech_level=level) for line in lines]
        rows.append((f"speech at {level} dBFS", measure(lines, pcms, -42.0)))
    show(rows)

    call = Path(__file__).parents[2] / "shared" / "audio" / "call"
    if call.exists():
        measure_call(call)

    tails = ", ".join(f"mode {mode} {1000 * measure_tail(lines, mode):.0f} ms" for mode in MODES)
    print(f"Tail after clean speech: {tails}\n")
    print(f"Cost of a frame of 20 ms: {measure_cost(-60):.1f} us on a quiet line, {measure_cost(-25):.1f} us in noise")


if __name__ == "__main__":
    main()
