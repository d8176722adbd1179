"""The recogniser process: PocketSphinx between two pipes. Run as a script, with nothing of hearout imported.

A process of its own because PocketSphinx holds the GIL while it decodes. Requests on stdin are a kind of one byte,
the length of the payload as a big-endian uint32, and the payload; each has one answer on stdout, a uint32 length
and JSON. The first answer comes unasked when the model is loaded: ``{}``, ``{"error": LINE}`` or, when a package is
not installed, ``{"missing": PACKAGE}``.

    A  linear16 audio, mono, 16 kHz; begins an utterance if none is open   -> {}
    P  the words of the open utterance so far                              -> {"words": [[text, start, end, conf]]}
    E  close the utterance: its final words                                -> {"words": ...}
    R  forget the utterance and all adaptation: a new speaker              -> {}

The process ends when stdin does, so none is left behind however the server died.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import struct
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pocketsphinx import Decoder

_RATE = 16_000
_FRAMES_PER_SECOND = 100
_ENOUGH = 0.8  # seconds of an utterance that tell how the line sounds; 0.7 to 1.2 made no difference
_PRIOR_FRAMES = 500  # the prior counts as much as that many frames (CMN_WIN in PocketSphinx)

# The second, flat-lexicon pass takes seven eighths of the time at the end of an utterance and mends hardly a word
# (docs/stt-server.md); the best-path search over the lattice takes about a millisecond and is worth it.
_PASSES: dict[str, str | float | bool] = {"fwdflat": False, "bestpath": True}


class SetupError(Exception):
    """The recogniser cannot be set up; one line."""


def full_decoder() -> Decoder:
    """US English, any words: the model that comes with the package. About 100 MB."""
    from pocketsphinx import Decoder

    return Decoder(loglevel="FATAL", **_PASSES)


def sentence_decoder(path: Path) -> Decoder:
    """A small decoder that expects the sentences of a text file, one a line, and knows their words only.

    Raises:
        SetupError: the file cannot be read, holds no sentence, or a word nobody knows how to pronounce.
    """
    from pocketsphinx import Decoder, get_model_path
    from pocketsphinx.lm import ArpaBoLM

    try:
        lines = path.read_text(encoding="utf-8").lower().splitlines()
    except (OSError, ValueError) as error:
        raise SetupError(f"cannot read the sentences in {path}: {getattr(error, 'strerror', None) or error}") from None
    sentences = [
        re.findall(r"[^\W_]+(?:'[^\W_]+)*", line.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")) for line in lines
    ]
    if not any(sentences):
        raise SetupError(f"{path} holds no sentences: write one a line")
    wanted = {word for sentence in sentences for word in sentence}
    entries = []
    with open(get_model_path("en-us/cmudict-en-us.dict"), encoding="utf-8") as dictionary:
        for entry in dictionary:
            if (spelling := re.sub(r"\(\d+\)$", "", entry.split(maxsplit=1)[0])) in wanted:
                entries.append((spelling, entry))
    known = {spelling for spelling, _ in entries}
    for number, sentence in enumerate(sentences, start=1):
        for word in sentence:
            if word not in known:
                raise SetupError(
                    f"{path}:{number}: the dictionary does not know {word!r}; spell it as spoken, or leave it out"
                )

    model = ArpaBoLM(text="\n".join(" ".join(sentence) for sentence in sentences if sentence), add_start=True)
    model.compute()
    with tempfile.TemporaryDirectory() as folder:
        lm, dictionary_path = Path(folder, "sentences.lm"), Path(folder, "sentences.dict")
        model.write_file(str(lm))
        dictionary_path.write_text("".join(entry for _, entry in entries), encoding="utf-8")
        return Decoder(loglevel="FATAL", lm=str(lm), dict=str(dictionary_path), **_PASSES)


class Recognition:
    """One decoder and the utterance that is open in it.

    The decoder expects speech whose mean cepstrum (level and colour of the line) is that of its prior, and corrects
    that over many seconds. So the first utterance of a line is heard twice: once there is enough of it to know the
    mean, the decoder starts it again with that. It halves the errors of first utterances (docs/stt-server.md).
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._open = False
        self._prior = decoder.get_cmn()
        self._beginning: bytearray | None = bytearray()  # of the utterance; None: the line is known

    def answer(self, kind: bytes, payload: bytes) -> dict[str, object]:
        match kind:
            case b"A":
                self._decode(payload)
            case b"P":
                return {"words": self._words()}
            case b"E":
                if not self._open:
                    return {"words": []}
                self._close()
                return {"words": self._words()}
            case b"R":
                self._close()
                self._decoder.reinit_feat()  # the mean, and what was learnt about the noise
                self._beginning = bytearray()
            case _:
                raise ValueError(f"unknown request {kind!r}")
        return {}

    def _decode(self, pcm: bytes) -> None:
        if not self._open:
            self._decoder.start_utt()
            self._open = True
        self._decoder.process_raw(pcm)
        if self._beginning is not None:
            self._beginning += pcm
            if len(self._beginning) >= _ENOUGH * _RATE * 2:
                again, self._beginning = bytes(self._beginning), None
                mean = self._mean(len(again) * _FRAMES_PER_SECOND // (2 * _RATE))
                self._decoder.end_utt()
                self._decoder.set_cmn(mean)
                self._decoder.start_utt()
                self._decoder.process_raw(again)

    def _mean(self, frames: int) -> str:
        """The mean cepstrum of the utterance alone: the decoder's own estimate with the prior's share taken out."""
        pairs = zip(self._decoder.get_cmn(True).split(","), self._prior.split(","), strict=True)
        return ",".join(
            str((float(mixed) * (_PRIOR_FRAMES + frames) - float(prior) * _PRIOR_FRAMES) / frames)
            for mixed, prior in pairs
        )

    def _close(self) -> None:
        if self._open:
            self._open = False
            self._decoder.end_utt()
            if self._beginning is not None:
                self._beginning.clear()

    def _words(self) -> list[tuple[str, float, float, float]]:
        words = []
        for segment in self._decoder.seg() or ():
            # <s>, </s>, <sil>, [NOISE] and their like are no words; "read(2)" is the second way to say "read".
            if segment.word[0] not in "<[+":
                text = re.sub(r"\(\d+\)$", "", segment.word)
                start = segment.start_frame / _FRAMES_PER_SECOND
                end = (segment.end_frame + 1) / _FRAMES_PER_SECOND
                words.append((text, start, end, min(segment.prob, 1.0)))
        return words


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sentences", type=Path)
    args = parser.parse_args()

    # Whatever the library prints must not end up between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        decoder = full_decoder() if args.sentences is None else sentence_decoder(args.sentences)
    except ImportError:
        _write(answers, {"missing": "pocketsphinx"})
        return 1
    except SetupError as error:
        _write(answers, {"error": str(error)})
        return 1
    _write(answers, {})

    recognition = Recognition(decoder)
    requests = sys.stdin.buffer
    while len(header := requests.read(5)) == 5:
        kind, length = struct.unpack(">cI", header)
        _write(answers, recognition.answer(kind, requests.read(length)))
    return 0


def _write(answers: BinaryIO, answer: dict[str, object]) -> None:
    data = json.dumps(answer).encode()
    answers.write(struct.pack(">I", len(data)) + data)
    answers.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:  # the server is gone
        os._exit(0)
