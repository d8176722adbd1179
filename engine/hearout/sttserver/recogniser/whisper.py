"""Whisper by CTranslate2: the words of some seconds of audio, and when they were said. Blocking; of many threads.

The decoding is that of "Robust Speech Recognition via Large-Scale Weak Supervision" (Radford et al. 2022) without its
windows of 30 s: the spectrogram is as long as the audio, which makes short audio cheap. Thresholds are those of
OpenAI's own program (https://github.com/openai/whisper, transcribe.py).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hearout.ear.features import SAMPLE_RATE, Samples, log_mel
from hearout.errors import UsageError
from hearout.extras import needs_extra
from hearout.models.known import MODELS, folder, require
from hearout.sttserver.recogniser.repeats import invented
from hearout.sttserver.steps import HeardWord
from hearout.writing import printable

__all__ = ["FRAME", "LONGEST", "Whisper", "sounding"]

_USUAL = "whisper-tiny-en"
_FILES = ("model.bin", "config.json", "tokenizer.json")  # and a vocabulary, of which there are two kinds

LONGEST = 28.0  # seconds of audio; the model has seen 30 at a time
_PAD = 0.5  # seconds of silence behind the audio: where it is cut in a word, the model may else begin to repeat itself
# Seconds: audio is filled up to a multiple. With 5 the model repeated itself in 3 of 90 pieces of the samples that were
# cut off somewhere, with 1 in 12 of 70; with 10, as with the 30 it was trained on, in none.
_WHOLE = 10.0
FRAME = 0.02  # seconds of a position of the aligner's
_STEPS_A_FRAME = 2  # of the spectrogram
# Seconds behind the end of the audio at which the aligner may let its last word begin. Of flite's and espeak-ng's
# voices that read out numbers it let a right one begin up to 0.2 there, and what the model made up from 0.28 on.
_LATE = 0.2
# Tokens: people say some four words a second at most, and what is spelled or read out has some ten tokens a second.
_FEW, _TOKENS_A_SECOND = 8, 10
_REPEATS = 2.4  # compression_ratio_threshold: text that says the same over and over
# Between the sum of log-probabilities, which favours what leaves words out, and their mean: "Google's Neural Machine
# Translation System" (Wu et al. 2016), section 7, has 0.6 to 0.7.
_BY_LENGTH = 0.6
_NO_SPEECH, _UNSURE = 0.6, -1.0  # no_speech_threshold, logprob_threshold
# A word ends where its sound does; the aligner lets it last until the next one begins. Sound is what is less than 26 dB
# below the loudest twentieth of the audio.
_LOUD, _QUIET = 95, 0.05
_PAUSE = 0.2  # seconds; the stops within words are shorter

Places = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Spelled:
    """A word that the model wrote: its text, its tokens, its first frame and the one behind it, and how sure it is."""

    text: str
    places: Sequence[int]
    first: int
    last: int
    sure: float


class Whisper:
    """A model, which serves many threads at once.

    Args:
        path: a folder with a Whisper for CTranslate2 (`_FILES`), or the name of one among the `hearout.models.folder`;
            None: the one that ``hearout models get whisper-tiny-en`` has fetched.
        language: for models that know several, as in ISO 639-1; of longer tags ("pt-BR") the first part counts.
        threads: how many it may serve at once; each takes a core.

    Raises:
        UsageError: something is not installed, there is no such model, it is damaged, or it does not know the language.
    """

    def __init__(self, path: Path | None = None, *, language: str = "en", threads: int = 1) -> None:
        with needs_extra("local", "the recogniser", "ctranslate2"):
            import ctranslate2
        with needs_extra("local", "the recogniser", "tokenizers"):
            import tokenizers
        home = require(MODELS[_USUAL]) if path is None or str(path) == _USUAL else _own(path)
        with _working(home):
            self._tokens: Any = tokenizers.Tokenizer.from_file(str(home / "tokenizer.json"))
            self._model: Any = ctranslate2.models.Whisper(
                str(home), device="cpu", compute_type="int8", inter_threads=threads, intra_threads=1
            )
        language = language.partition("-")[0].lower()
        if language != "en" and not self._model.is_multilingual:
            raise UsageError(f"{home}: this model hears English only, not {language}; name another with --model")
        self._view = ctranslate2.StorageView.from_array
        several = ["<|transcribe|>"] if self._model.is_multilingual else []
        spoken = [f"<|{language}|>"] if self._model.is_multilingual else []
        names = ["<|startoftranscript|>", *spoken, *several, "<|notimestamps|>"]
        self._prompt = [self._tokens.token_to_id(name) for name in names]
        if None in self._prompt:
            raise UsageError(f"{home}: the model knows no {names[self._prompt.index(None)]}")
        self._end = int(self._tokens.token_to_id("<|endoftext|>") or 0)
        vocabulary: dict[str, int] = self._tokens.get_vocab()
        self._joined = {place for text, place in vocabulary.items() if sum(map(str.isdigit, text)) > 1}
        if path is not None:  # one of which nobody knows a hash may have files of different models, or half ones
            with _working(home):
                nothing = np.zeros(SAMPLE_RATE, np.float32)
                self.hear(nothing)
                self.align(nothing, "one")

    def hear(self, samples: Samples) -> list[HeardWord]:
        """The words of ``samples``: shape (n,), from -1 to 1, 16 kHz, `LONGEST` seconds at most."""
        seconds = len(samples) / SAMPLE_RATE
        encoded = self._encode(samples)
        tokens = self._decode(encoded, _FEW + round(_TOKENS_A_SECOND * seconds))
        spelled = self._spelled(encoded, tokens, len(samples))
        again = False
        while twice := invented([word.text for word in spelled], [word.first for word in spelled]):
            left_out, kept = twice
            again |= left_out.start < kept.start
            del spelled[left_out.start : left_out.stop]
        if again:  # what was left out has the time of what is kept
            tokens = [tokens[place] for word in spelled for place in word.places]
            spelled = self._spelled(encoded, tokens, len(samples))
        return _timed(spelled, samples)

    def align(self, samples: Samples, text: str) -> list[HeardWord]:
        """When the words of ``text`` were said, as far as they were; ``samples`` as for `hear`."""
        tokens = self._tokens.encode(f" {text.strip()}", add_special_tokens=False).ids
        return _timed(self._spelled(self._encode(samples), tokens, len(samples)), samples)

    def _encode(self, samples: Samples) -> Any:
        step = round(_WHOLE * SAMPLE_RATE)
        whole = np.zeros(-(-(len(samples) + round(_PAD * SAMPLE_RATE)) // step) * step, np.float32)
        whole[: len(samples)] = samples
        return self._model.encode(self._view(np.ascontiguousarray(log_mel(whole, self._model.n_mels)[None])))

    def _decode(self, encoded: Any, most: int) -> list[int]:
        options: dict[str, Any] = {"beam_size": 1, "return_scores": True, "return_no_speech_prob": True}
        options["max_length"] = len(self._prompt) + most
        (said,) = self._model.generate(encoded, [self._prompt], **options)
        if said.no_speech_prob > _NO_SPEECH and said.scores[0] < _UNSURE:
            return []
        if not self._joined.isdisjoint(said.sequences_ids[0]):
            # "two zero seven" is soon written as 2007, but figures one by one alone would leave out the year 1967: what
            # is the more likely as a whole. -1: and what the model's own configuration names.
            apart = [-1, *self._joined]
            (other,) = self._model.generate(encoded, [self._prompt], suppress_tokens=apart, **options)
            said = max(said, other, key=_likelihood)
        if self._repeats(said.sequences_ids[0]):
            (said,) = self._model.generate(encoded, [self._prompt], no_repeat_ngram_size=3, **options)
        return [token for token in said.sequences_ids[0] if token < self._end]

    def _repeats(self, tokens: Sequence[int]) -> bool:
        text = self._tokens.decode(tokens).encode()
        return len(text) > _REPEATS * len(zlib.compress(text))

    def _spelled(self, encoded: Any, tokens: Sequence[int], length: int) -> list[_Spelled]:
        """Where the words are in ``length`` samples; without what is behind them: the model goes on by itself."""
        whole = round(_WHOLE / FRAME) * -(-(length + round(_PAD * SAMPLE_RATE)) // round(_WHOLE * SAMPLE_RATE))
        end = length // round(FRAME * SAMPLE_RATE)
        words = self._laid(encoded, tokens, whole)
        heard = list(takewhile(lambda word: word.first < end, words))
        behind = words[len(heard) :]
        if end and len(behind) == 1 and behind[0].first <= end + round(_LATE / FRAME):  # its sound is in the audio
            return self._laid(encoded, tokens, end)
        return heard  # several behind: it says again what was said

    def _laid(self, encoded: Any, tokens: Sequence[int], frames: int) -> list[_Spelled]:
        """Where the words are in the first ``frames`` of the aligner's."""
        if not tokens:
            return []
        (aligned,) = self._model.align(encoded, self._prompt, [list(tokens)], [frames * _STEPS_A_FRAME])
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for token, frame in aligned.alignments:
            first.setdefault(token, frame)
            last[token] = frame + 1
        words: list[_Spelled] = []
        for places in self._grouped(tokens):
            text = self._tokens.decode([tokens[place] for place in places]).strip()
            times = [place for place in places if place in first]
            if not times or not any(map(str.isalnum, text)):
                continue
            sure = [aligned.text_token_probs[place] for place in places]
            words.append(_Spelled(text, places, first[times[0]], last[times[-1]], sum(sure) / len(sure)))
        return words

    def _grouped(self, tokens: Sequence[int]) -> list[list[int]]:
        """Places of tokens, word by word: one that begins with a blank begins a word."""
        groups: list[list[int]] = []
        for place, token in enumerate(tokens):
            if self._tokens.decode([token])[:1].isspace() or not groups:
                groups.append([])
            groups[-1].append(place)
        return groups


def _likelihood(said: Any) -> float:
    """How likely a text is, in comparison with a longer or shorter one; CTranslate2 gives the mean of its tokens."""
    likely: float = said.scores[0] * len(said.sequences_ids[0]) ** (1 - _BY_LENGTH)
    return likely


def _own(path: Path) -> Path:
    """The folder of a model that is not hearout's.

    Raises:
        UsageError: there is none, or not all of it.
    """
    home = path if path.is_dir() else folder() / path
    if not home.is_dir():
        raise UsageError(f"{path}: there is no such folder, here or in {folder()}")
    if missing := [name for name in _FILES if not (home / name).is_file()]:
        raise UsageError(f"{home}: no Whisper model for CTranslate2, which has a {missing[0]}")
    return home


@contextmanager
def _working(home: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of kinds of CTranslate2's and of tokenizers', which have no common name
        why = printable(str(error), 200)
        raise UsageError(f"{home}: no Whisper model for CTranslate2 that works here: {why}") from None


def sounding(samples: Samples) -> Places:
    """Whether there is sound in each whole frame of 20 ms."""
    step = round(FRAME * SAMPLE_RATE)
    frames = samples[: len(samples) // step * step].reshape(-1, step)
    loudness = np.sqrt(np.mean(np.square(frames), axis=1))
    least = _QUIET * np.percentile(loudness, _LOUD) if len(frames) else 0.0
    sound: Places = loudness > least
    return sound


def _timed(spelled: Sequence[_Spelled], samples: Samples) -> list[HeardWord]:
    """Words from where they begin to sound to where they cease, as far as they sound at all."""
    sound = sounding(samples)
    words: list[HeardWord] = []
    silent = 0  # of the last words: nothing sounds where they are
    for word in spelled:
        start, end = _loud(sound, word.first, word.last)
        if words and words[-1].end > start * FRAME:
            words[-1] = replace(words[-1], end=start * FRAME)
        words.append(HeardWord(word.text, start * FRAME, end * FRAME, word.sure))
        silent = 0 if sound[start:end].any() else silent + 1
    return words[: len(words) - silent]  # in silence, too, the model goes on by itself


def _loud(sound: Places, first: int, end: int) -> tuple[int, int]:
    """The part of ``first`` to ``end`` from its first sound to the end of the sound that lasts on from there."""
    places = np.flatnonzero(sound[first:end])
    if not len(places):
        return first, min(end, len(sound))
    pauses = np.flatnonzero(np.diff(places) > _PAUSE / FRAME)
    last = places[pauses[0]] if len(pauses) else places[-1]
    return first + int(places[0]), first + int(last) + 1
