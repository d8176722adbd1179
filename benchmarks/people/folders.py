"""Recordings of people as conversations: what was said when, as nearly as that can be known.

A folder has a call (``*.silver_turns.json``), or utterances, one a file. Where their texts are known
(``transcripts.json``: text by name of file) they are laid over the sound by forced alignment, with pocketsphinx; where
they are not, words are made up, as many as fit. An utterance is one turn. The true end of a word is acoustic: where the
sound last was as loud as speech.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import numpy as np
import soundfile
import soxr

from benchmarks.endpointing.conversations import Conversation, Span, SpokenWord
from benchmarks.endpointing.recorded import Listener, Sound, conversation, load_call, made_up_turn, read, turn_of
from hearout.errors import UsageError
from hearout.extras import needs_extra

__all__ = ["load"]

_FORMATS = (".wav", ".flac")
_FRAME = 0.01  # seconds
_PAUSE = 0.18  # seconds; shorter gaps are none, as in the labels of the call
_SHORTEST = 0.08  # seconds of speech, likewise
_LEAD = 0.5  # seconds of silence in front, in which the voice detection gets to know the line
_RATES = (8000, 16000, 32000, 48000)


def load(directory: Path, listener: Listener | None = None) -> list[Conversation]:
    """All recordings of a folder.

    Raises:
        UsageError: there are none, or the labels do not fit.
    """
    if not directory.is_dir():
        raise UsageError(f"{directory}: no such folder")
    if next(directory.glob("*.silver_turns.json"), None):
        return load_call(directory, listener)
    files = sorted(file for file in directory.iterdir() if file.suffix in _FORMATS)
    if not files:
        raise UsageError(f"{directory}: no *.silver_turns.json, and no .wav or .flac in it")
    texts = _texts(directory / "transcripts.json", files)
    found = [_utterance(file, texts.get(file.name) if texts else None, listener) for file in files]
    return [one for one in found if one is not None]


def _texts(path: Path, files: Sequence[Path]) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
    if not isinstance(data, dict) or not all(isinstance(text, str) for text in data.values()):
        raise UsageError(f"{path}: must be an object with the text of each file by its name")
    texts = {file.name: data.get(file.name, data.get(file.stem)) for file in files}
    missing = [name for name, text in texts.items() if not text]
    if missing:
        raise UsageError(f"{path}: no text for {missing[0]}" + (f" and {len(missing) - 1} more" if missing[1:] else ""))
    return {name: str(text) for name, text in texts.items()}


def _utterance(file: Path, text: str | None, listener: Listener | None) -> Conversation | None:
    sound, rate = _sound(file)
    loud = _loud(sound, rate)
    spans = list(_spans(loud))
    if not spans:
        return None
    if text is None:
        turn = made_up_turn(spans, Random(f"words/{file.name}"))
    else:
        words = [word for word in _aligned(file, sound, rate, text) if word.end - word.start >= _FRAME]
        words = [_trimmed(word, loud) for word in words]
        if not words:
            return None
        turn = turn_of(words)
    return conversation(file.name, [turn], [], sound, rate, listener)


def _sound(file: Path) -> tuple[Sound, int]:
    """One channel, at a rate for the voice detection, with some of its own quietest noise in front."""
    try:
        sound, rate = read(file)
    except soundfile.LibsndfileError as error:
        raise UsageError(f"{file}: not a usable audio file: {error.error_string}") from None
    mono = sound[:, 0]
    if rate not in _RATES:
        mono = np.round(soxr.resample(mono.astype(np.float32), rate, 16_000)).astype(np.int16)
        rate = 16_000
    quiet = max(1.0, float(np.percentile(np.abs(mono), 10)))
    noise = np.random.RandomState(1).normal(0, quiet, round(_LEAD * rate)).astype(np.int16)
    return np.concatenate([noise, mono]), rate


def _loud(sound: Sound, rate: int) -> list[bool]:
    """By frame: as loud as speech. The rule of the call's labels: 30 dB below the loudest, 10 dB above the quietest."""
    size = round(_FRAME * rate)
    frames = sound[: len(sound) // size * size].reshape(-1, size).astype(np.float64)
    level = 10 * np.log10((frames**2).mean(axis=1) + 1e-3)
    own = level[round(_LEAD / _FRAME) :]
    threshold = max(np.percentile(own, 95) - 30, np.percentile(own, 10) + 10)
    return [bool(value) for value in level >= threshold]


def _spans(loud: Sequence[bool]) -> Iterator[Span]:
    """Stretches of speech, the gaps of less than a pause bridged."""
    start = last = None
    for number, here in enumerate([*loud, *[False] * round(_PAUSE / _FRAME)]):
        if here:
            start, last = number if start is None else start, number
        elif start is not None and last is not None and number - last >= _PAUSE / _FRAME:
            if last + 1 - start >= _SHORTEST / _FRAME:
                yield round(start * _FRAME, 2), round((last + 1) * _FRAME, 2)
            start = None


def _aligned(file: Path, sound: Sound, rate: int, text: str) -> list[SpokenWord]:
    with needs_extra("local", "forced alignment"):
        from pocketsphinx import Decoder
    heard = sound if rate == 16_000 else soxr.resample(sound.astype(np.float32), rate, 16_000).astype(np.int16)
    decoder = Decoder(loglevel="FATAL")
    words = text.lower().split()
    unknown = [word for word in words if decoder.lookup_word(word) is None]
    for word in unknown:  # "um" and the like: some vowel will do
        decoder.add_word(word, "AH M" if word.endswith("m") else "AH")
    try:
        decoder.set_align_text(" ".join(words))
        decoder.start_utt()
        decoder.process_raw(heard.tobytes(), full_utt=True)
        decoder.end_utt()
        found = [(s.word, s.start_frame * _FRAME, (s.end_frame + 1) * _FRAME) for s in decoder.seg() or ()]
    except RuntimeError:
        found = []
    spoken = [SpokenWord(_plain(word), start, end) for word, start, end in found if word[0] not in "<["]
    if [word.text for word in spoken] != words:
        raise UsageError(f"{file}: its text does not fit its audio: {text[:60]!r}")
    return spoken


def _plain(word: str) -> str:
    return word.partition("(")[0]


def _trimmed(word: SpokenWord, loud: Sequence[bool]) -> SpokenWord:
    """Without the silence that the aligner gives to words."""
    first, stop = round(word.start / _FRAME), round(word.end / _FRAME)
    voiced = [number for number in range(first, min(stop, len(loud))) if loud[number]]
    if not voiced:
        return word
    return SpokenWord(word.text, round(voiced[0] * _FRAME, 2), round((voiced[-1] + 1) * _FRAME, 2))
