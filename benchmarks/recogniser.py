"""The local recogniser on recordings with a text: words wrong, what it costs, and how soon it answers.

    python -m benchmarks.recogniser DIR [DIR ...] [--texts FILE.json]

A DIR has recordings of one channel, and ``transcripts.json`` (file name to text), or beside each a ``.txt`` with its
text or a ``.json`` as in ``samples/``; FILE.json is like ``transcripts.json``, for what has its text elsewhere. "57"
and "fifty seven" count as the same, and so do "2nd" and "second". Letters wrong: blanks do not count, for what is
spelled may be written with blanks or without.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
import soundfile
import soxr
import trio

from hearout.audio import to_int16
from hearout.ear.features import SAMPLE_RATE, Samples
from hearout.errors import UsageError
from hearout.sources.mono import Likeness
from hearout.sttserver.recogniser.pool import RecogniserPool
from hearout.sttserver.recogniser.whisper import Whisper

_FIGURES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = (
    "ten",
    "eleven",
    "twelve",
    *(f"{stem}teen" for stem in ("thir", "four", "fif", "six", "seven", "eigh", "nine")),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS = {"first": "one", "second": "two", "third": "three", "fifth": "five", "eighth": "eight", "ninth": "nine"}
_ORDINALS |= {"twelfth": "twelve", "twentieth": "twenty", "thirtieth": "thirty"}
_SAME = {"oh": "zero", "okay": "ok", "mister": "mr", "doctor": "dr"}
_SUFFIXES = (".wav", ".flac", ".raw")  # raw: linear16, 16 kHz


def recordings(folder: Path, texts: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """Files of a folder with what is said in them, by ``texts`` or by what lies beside them."""
    listed = folder / "transcripts.json"
    texts = {**texts, **(json.loads(listed.read_text()) if listed.exists() else {})}
    for path in sorted(folder.iterdir()):
        if path.suffix not in _SUFFIXES:
            continue
        beside = path.with_suffix(".json")
        if text := texts.get(path.name) or texts.get(path.stem):
            yield path, text
        elif (plain := path.with_suffix(".txt")).exists():
            yield path, plain.read_text()
        elif beside.exists():
            about = json.loads(beside.read_text())
            if isinstance(about, dict) and "turns" in about:
                yield path, " ".join(turn["text"] for turn in about["turns"])


def spoken(text: str) -> list[str]:
    """Words as they are compared; numbers figure by figure."""
    text = re.sub(r"<[^>]*>", " ", text.lower())
    text = re.sub(r"(\d)(?:st|nd|rd|th)\b", r"\1", text)
    text = re.sub(r"\d", lambda figure: f" {_FIGURES[int(figure[0])]} ", text)
    words = re.sub(r"[^a-z' ]+", " ", text).replace("'", "").split()
    words = [_SAME.get(word, _cardinal(word)) for word in words]
    return [part for word, behind in zip_longest(words, words[1:]) for part in _in_figures(word, behind)]


def _cardinal(word: str) -> str:
    stem = word.removesuffix("th")
    return stem if stem in (*_FIGURES, *_TEENS) else _ORDINALS.get(word, word)


def _in_figures(word: str, behind: str | None) -> Sequence[str]:
    """A word, or the figures that it is as a number: "fifty" before "seven" is the five of 57, else 50."""
    if word in _TEENS:
        return "one", _FIGURES[_TEENS.index(word)]
    if word in _TENS:
        tens = _FIGURES[_TENS.index(word) + 2]
        return (tens,) if behind in _FIGURES[1:] else (tens, "zero")
    return (word,)


def wrong(said: Sequence[str], heard: Sequence[str]) -> int:
    """Words, or letters, to put in, take out or exchange: Levenshtein's distance."""
    row = list(range(len(heard) + 1))
    for number, word in enumerate(said, 1):
        above, row[0] = row[0], number
        for place, other in enumerate(heard, 1):
            above, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, above + (word != other))
    return row[-1]


def read(path: Path) -> Samples:
    """At 16 kHz; shape (n,), or (n, 2) where two channels are two voices."""
    if path.suffix == ".raw":
        plain: Samples = np.fromfile(path, "<i2").astype(np.float32) / np.float32(32768)
        return plain
    samples, rate = soundfile.read(path, dtype="int16")
    if samples.ndim > 1:
        samples = samples[:, 0] if Likeness.of(samples, rate).one_voice else samples
    scaled: Samples = samples.astype(np.float32) / np.float32(32768)
    resampled: Samples = scaled if rate == SAMPLE_RATE else soxr.resample(scaled, rate, SAMPLE_RATE)
    return resampled


async def hear(whisper: Whisper, samples: Samples) -> str:
    """What the server would make of it, as one utterance."""
    (recogniser,) = await RecogniserPool(lambda: whisper, 1).lend(1)
    recogniser.decode(to_int16(samples * 32768).tobytes())
    return " ".join(word.text for word in await recogniser.words(ends=True))


def main() -> int:
    parser = argparse.ArgumentParser(description="The local recogniser on recordings.")
    parser.add_argument("folders", metavar="DIR", type=Path, nargs="+")
    parser.add_argument("--texts", metavar="FILE", type=Path, help="a JSON of file names and what is said in them")
    parser.add_argument("--show", action="store_true", help="print what was heard wrong")
    arguments = parser.parse_args()
    try:
        if missing := [folder for folder in arguments.folders if not folder.is_dir()]:
            raise UsageError(f"{missing[0]}: no folder")
        texts = json.loads(arguments.texts.read_text()) if arguments.texts else {}
        whisper = Whisper()
    except (UsageError, OSError, ValueError) as error:
        print(f"benchmarks.recogniser: {error}", file=sys.stderr)
        return 2
    print("| recordings | files | words | wrong | letters wrong | CPU s per s of audio | one decoding: median, p95 |")
    print("|---|---|---|---|---|---|---|")
    for folder in arguments.folders:
        measure(whisper, folder, texts, arguments.show)
    return 0


def measure(whisper: Whisper, folder: Path, texts: Mapping[str, str], show: bool) -> None:
    """Print the line of a folder, if it has recordings with a text."""
    files = words = errors = letters = misspelled = 0
    audio = cpu = 0.0
    took: list[float] = []
    for path, text in recordings(folder, texts):
        samples = read(path)
        if samples.ndim > 1:
            print(f"{path}: left out, it has several voices", file=sys.stderr)
            continue
        began, used = time.perf_counter(), time.process_time()
        heard = trio.run(hear, whisper, samples)
        took.append(time.perf_counter() - began)
        cpu += time.process_time() - used
        audio += len(samples) / SAMPLE_RATE
        true, found = spoken(text), spoken(heard)
        mistakes = wrong(true, found)
        letters += len("".join(true))
        misspelled += wrong("".join(true), "".join(found))
        if mistakes and show:
            print(f"{path.name}: {text!r} {heard!r}", file=sys.stderr)
        files, words, errors = files + 1, words + len(true), errors + mistakes
    if files:
        p95 = sorted(took)[int(0.95 * (len(took) - 1))]
        print(
            f"| {folder.name} | {files} | {words} | {errors / words:.1%} | {misspelled / letters:.1%} | "
            f"{cpu / audio:.2f} | {statistics.median(took):.2f} s, {p95:.2f} s |",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
