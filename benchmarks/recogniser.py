"""The local recogniser on recordings with a text: words wrong, what it costs, and how soon it answers.

    python -m benchmarks.recogniser DIR [DIR ...]

A DIR has recordings of one channel, and ``transcripts.json`` (file name to text), or beside each a ``.txt`` with its
text or a ``.json`` as in ``samples/``. "5" and "five" count as the same. Letters wrong: blanks do not count, for what
is spelled may be written with blanks or without.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr

from hearout.ear.features import SAMPLE_RATE, Samples
from hearout.sttserver.recogniser.whisper import LONGEST, Whisper

_FIGURES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# As figures have it: "fifty seven" is 57.
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SAME = {"oh": "zero", "okay": "ok", "mister": "mr", "doctor": "dr"} | dict(zip(_TENS, _FIGURES[2:], strict=True))
_SUFFIXES = (".wav", ".flac")


def recordings(folder: Path) -> Iterator[tuple[Path, str]]:
    """Files of a folder with what is said in them; those of two channels are left out."""
    listed = folder / "transcripts.json"
    texts = json.loads(listed.read_text()) if listed.exists() else {}
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
    """Words as they are compared."""
    text = re.sub(r"<[^>]*>", " ", text.lower())
    text = re.sub(r"\d", lambda figure: f" {_FIGURES[int(figure[0])]} ", text)
    words = re.sub(r"[^a-z' ]+", " ", text).replace("'", "").split()
    return [_SAME.get(word, word) for word in words]


def wrong(said: Sequence[str], heard: Sequence[str]) -> int:
    """Words, or letters, to put in, take out or exchange: Levenshtein's distance."""
    row = list(range(len(heard) + 1))
    for number, word in enumerate(said, 1):
        above, row[0] = row[0], number
        for place, other in enumerate(heard, 1):
            above, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, above + (word != other))
    return row[-1]


def read(path: Path) -> Samples:
    samples, rate = soundfile.read(path, dtype="float32")
    resampled: Samples = samples if rate == SAMPLE_RATE else soxr.resample(samples, rate, SAMPLE_RATE)
    return resampled.astype(np.float32)


def main() -> int:
    parser = argparse.ArgumentParser(description="The local recogniser on recordings.")
    parser.add_argument("folders", metavar="DIR", type=Path, nargs="+")
    parser.add_argument("--show", action="store_true", help="print what was heard wrong")
    arguments = parser.parse_args()
    whisper = Whisper()
    print("| recordings | files | words | wrong | letters wrong | CPU s per s of audio | one decoding: median, p95 |")
    print("|---|---|---|---|---|---|---|")
    for folder in arguments.folders:
        files = words = errors = letters = misspelled = 0
        audio = cpu = 0.0
        took: list[float] = []
        for path, text in recordings(folder):
            samples = read(path)
            if samples.ndim > 1 or len(samples) > LONGEST * SAMPLE_RATE:
                continue
            began, used = time.perf_counter(), time.process_time()
            heard = " ".join(word.text for word in whisper.hear(samples))
            took.append(time.perf_counter() - began)
            cpu += time.process_time() - used
            audio += len(samples) / SAMPLE_RATE
            true, found = spoken(text), spoken(heard)
            mistakes = wrong(true, found)
            letters += len("".join(true))
            misspelled += wrong("".join(true), "".join(found))
            if mistakes and arguments.show:
                print(f"{path.name}: {text!r} {heard!r}", file=sys.stderr)
            files, words, errors = files + 1, words + len(true), errors + mistakes
        if files:
            p95 = sorted(took)[int(0.95 * (len(took) - 1))]
            print(
                f"| {folder.name} | {files} | {words} | {errors / words:.1%} | {misspelled / letters:.1%} | "
                f"{cpu / audio:.2f} | {statistics.median(took):.2f} s, {p95:.2f} s |"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
