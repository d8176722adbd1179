"""A text laid over its sound by forced alignment, with pocketsphinx."""

from __future__ import annotations

import re

from benchmarks.endpointing.conversations import SpokenWord
from benchmarks.endpointing.recorded import Sound
from benchmarks.people.sound import FRAME, resampled
from hearout.extras import needs_extra

__all__ = ["aligned"]

_HESITATED = re.compile(r"<hes-(.+)>")  # the Montreal Forced Aligner's mark for a word that is drawn out or broken
_NOT_SPOKEN = re.compile(r"[^\w'<>]+")


def aligned(sound: Sound, rate: int, text: str) -> list[SpokenWord] | None:
    """The words as they are written, with their times in seconds; None: the text does not fit."""
    with needs_extra("local", "forced alignment"):
        from pocketsphinx import Decoder
    written = [_HESITATED.sub(r"\1", word) for word in text.split()]
    written = [word for word in written if _spoken(word)]
    spoken = [_spoken(word) for word in written]
    decoder = Decoder(loglevel="FATAL")
    for word in spoken:
        if decoder.lookup_word(word) is None:  # "um" and the like: some vowel will do
            decoder.add_word(word, "AH M" if word.endswith("m") else "AH")
    try:
        decoder.set_align_text(" ".join(spoken))
        decoder.start_utt()
        decoder.process_raw(resampled(sound, rate, 16_000).tobytes(), full_utt=True)
        decoder.end_utt()
        found = [(s.word, s.start_frame * FRAME, (s.end_frame + 1) * FRAME) for s in decoder.seg() or ()]
    except RuntimeError:
        return None
    heard = [(word.partition("(")[0], start, end) for word, start, end in found if word[0] not in "<["]
    if not spoken or [word for word, _, _ in heard] != spoken:
        return None
    return [SpokenWord(word, start, end) for word, (_, start, end) in zip(written, heard, strict=True)]


def _spoken(word: str) -> str:
    return _NOT_SPOKEN.sub("", word).lower()
