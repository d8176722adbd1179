"""Recordings of people, and what was said in them when, as nearly as that can be known.

A folder has one of these:

- a call: ``*.silver_turns.json``, with speech and silences of each speaker, and a file of sound for each;
- rows as eot-bench's data has them: ``*.parquet`` or ``*.jsonl`` (`benchmarks.people.eot_bench`);
- utterances, one a file, each of them one turn. Word times are known where ``NAME.words.json``, or ``NAME_words*.json``
  for a file whose name begins with NAME, lists them (``text``, ``start``, ``end``, seconds; or ``w``, ``b``, ``e``).
  Else the texts of ``transcripts.json`` (by the file's name) are laid over the sound by forced alignment. Without a
  text words are made up, as many as fit.

The true end of a word is acoustic: where the sound last was as loud as speech.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import soundfile

from benchmarks.endpointing.conversations import SpokenTurn, SpokenWord
from benchmarks.endpointing.recorded import Recording, load_call, made_up_turn, read, turn_of
from benchmarks.people import eot_bench
from benchmarks.people.alignment import aligned
from benchmarks.people.sound import FRAME, LEAD, loud, ready, spans, trimmed
from hearout.errors import UsageError
from hearout.writing import printable

__all__ = ["load"]

_FORMATS = (".wav", ".flac")


def load(directory: Path) -> list[Recording]:
    """All recordings of a folder.

    Raises:
        UsageError: there are none, or the labels do not fit.
    """
    if not directory.is_dir():
        raise UsageError(f"{directory}: no such folder")
    if next(directory.glob("*.silver_turns.json"), None):
        return load_call(directory)
    if rows := eot_bench.files(directory):
        return eot_bench.load(rows)
    files = sorted(file for file in directory.iterdir() if file.suffix in _FORMATS)
    if not files:
        raise UsageError(f"{directory}: no *.silver_turns.json, no .parquet or .jsonl, and no .wav or .flac in it")
    texts = _texts(directory / "transcripts.json", files)
    found = [_utterance(file, texts.get(file.name) if texts else None) for file in files]
    return [one for one in found if one is not None]


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None


def _texts(path: Path, files: Sequence[Path]) -> dict[str, str]:
    if not path.exists():
        return {}
    data = _read_json(path)
    if not isinstance(data, dict) or not all(isinstance(text, str) for text in data.values()):
        raise UsageError(f"{path}: must be an object with the text of each file by its name")
    texts = {file.name: data.get(file.name, data.get(file.stem)) for file in files}
    missing = [name for name, text in texts.items() if not text]
    if missing:
        raise UsageError(f"{path}: no text for {missing[0]}" + (f" and {len(missing) - 1} more" if missing[1:] else ""))
    return {name: str(text) for name, text in texts.items()}


def _utterance(file: Path, text: str | None) -> Recording | None:
    try:
        sound, rate = ready(*read(file))
    except soundfile.LibsndfileError as error:
        raise UsageError(f"{file}: not a usable audio file: {error.error_string}") from None
    voiced = loud(sound, rate)
    words = _timed(file)
    if words is None and text is not None:
        words = aligned(sound, rate, text)
        if words is None:
            raise UsageError(f"{file}: its text does not fit its audio: {printable(text, 60)!r}")
    if words is None:
        turn = _made_up(file, list(spans(voiced)))
    else:
        words = [trimmed(word, voiced) for word in words if word.end - word.start >= FRAME]
        turn = turn_of(words) if words else None
    return None if turn is None else Recording(file.name, (turn,), sound, rate)


def _made_up(file: Path, voiced: Sequence[tuple[float, float]]) -> SpokenTurn | None:
    return made_up_turn(voiced, Random(f"words/{file.name}")) if voiced else None


def _timed(file: Path) -> list[SpokenWord] | None:
    """The words of the file beside it that has their times, if there is one."""
    lists = sorted(file.parent.glob("*.words.json")) + sorted(file.parent.glob("*_words*.json"))
    for path in lists:
        name = path.name.removesuffix(".words.json") if path.name.endswith(".words.json") else ""
        if file.stem == name or (not name and file.stem.startswith(path.name.partition("_words")[0] + "_")):
            return _words(path)
    return None


def _words(path: Path) -> list[SpokenWord]:
    found: list[SpokenWord] = []
    try:
        for item in _read_json(path):
            text = str(item["text"] if "text" in item else item["w"])
            start = LEAD + float(item["start"] if "start" in item else item["b"])
            end = LEAD + float(item["end"] if "end" in item else item["e"])
            if item.get("t") == "punctuation" and found:
                found[-1] = SpokenWord(found[-1].text + text, found[-1].start, found[-1].end)
            else:
                found.append(SpokenWord(text, start, end))
    except (TypeError, ValueError, KeyError, AttributeError):
        raise UsageError(f"{path}: must be a list of words with text, start and end (seconds)") from None
    return found
