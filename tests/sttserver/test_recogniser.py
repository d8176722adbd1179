"""The recogniser: what it decodes and when, with a model that is none; and Whisper itself."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import trio
import trio.testing

from hearout.ear.features import Samples
from hearout.errors import UsageError
from hearout.models.known import MODELS, require
from hearout.sttserver.recogniser.pool import Recogniser, RecogniserFailed, RecogniserPool
from hearout.sttserver.recogniser.whisper import LONGEST, Whisper, sounding
from hearout.sttserver.steps import HeardWord
from tests.kit.paths import DATA, SAMPLES

RATE = 16_000
LOUD = (np.sin(np.arange(RATE) / 10) * 8000).astype("<i2").tobytes()  # one second
QUIET = bytes(2 * RATE)


class Counting:
    """Hears a word in each second with sound in it, and keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[float] = []
        self.failure: Exception | None = None
        self.wait: threading.Event | None = None

    def hear(self, samples: Samples) -> list[HeardWord]:
        if self.wait is not None:
            self.wait.wait(10)
        if self.failure is not None:
            raise self.failure
        seconds = len(samples) // RATE
        self.given.append(len(samples) / RATE)
        starts = [n for n in range(seconds) if np.abs(samples[n * RATE : (n + 1) * RATE]).max() > 0]
        return [HeardWord(f"Word{n}.", n + 0.1, n + 0.9, 1.0) for n in starts]


Talk = Callable[[Recogniser, Counting], Any]


def hear(talk: Talk) -> Counting:
    model = Counting()

    async def main() -> None:
        (recogniser,) = await RecogniserPool(lambda: model, 1).lend(1)
        await talk(recogniser, model)

    trio.run(main)
    return model


def texts(words: list[HeardWord]) -> list[str]:
    return [word.text for word in words]


def test_an_utterance_ends_with_all_its_words_and_the_next_begins_anew() -> None:
    async def talk(recogniser: Recogniser, model: Counting) -> None:
        recogniser.decode(2 * LOUD)
        assert texts(await recogniser.words(ends=True)) == ["Word0.", "Word1."]
        recogniser.decode(LOUD)
        assert texts(await recogniser.words(ends=True)) == ["Word0."]
        assert await recogniser.words(ends=True) == []

    assert hear(talk).given == [2.0, 1.0]


def test_in_between_it_decodes_as_new_audio_comes_and_what_is_cut_off_has_no_full_stop() -> None:
    async def talk(recogniser: Recogniser, model: Counting) -> None:
        recogniser.decode(LOUD)
        assert texts(await recogniser.words(ends=False)) == ["Word0"]
        recogniser.decode(LOUD[: RATE // 2])
        assert texts(await recogniser.words(ends=False)) == ["Word0"]
        recogniser.decode(LOUD)
        assert texts(await recogniser.words(ends=False)) == ["Word0.", "Word1"]

    assert hear(talk).given == [1.0, 2.25]


def test_where_speech_pauses_the_words_are_those_of_the_end() -> None:
    async def talk(recogniser: Recogniser, model: Counting) -> None:
        recogniser.decode(LOUD + QUIET[: RATE // 2])
        assert texts(await recogniser.words(ends=False, pauses=True)) == ["Word0."]
        recogniser.decode(QUIET)
        assert texts(await recogniser.words(ends=True)) == ["Word0."]

    assert hear(talk).given == [1.25], "silence needs no decoding again: the end is answered at once"


def test_who_finds_no_core_free_leaves_out_what_is_in_between() -> None:
    async def main() -> None:
        model = Counting()
        model.wait = threading.Event()
        one, other = await RecogniserPool(lambda: model, 1).lend(2)
        one.decode(LOUD)
        other.decode(2 * LOUD)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: one.words(ends=True))
            await trio.testing.wait_all_tasks_blocked()
            assert await other.words(ends=False) == []
            nursery.start_soon(lambda: other.words(ends=True))
            await trio.testing.wait_all_tasks_blocked()
            model.wait.set()
        assert model.given == [1.0, 2.0]

    trio.run(main)


def test_a_long_utterance_settles_word_by_word() -> None:
    async def talk(recogniser: Recogniser, model: Counting) -> None:
        for _ in range(70):
            recogniser.decode(LOUD)
        words = await recogniser.words(ends=True)
        assert [round(word.start - 0.1, 3) % 1 for word in words] == pytest.approx([0.0] * len(words), abs=0.95)
        assert all(a.end <= b.start for a, b in pairwise(words))
        assert len(words) >= 65

    assert max(hear(talk).given) <= LONGEST


def test_a_model_that_fails_is_told() -> None:
    async def talk(recogniser: Recogniser, model: Counting) -> None:
        model.failure = RuntimeError("out of memory")
        recogniser.decode(LOUD)
        with pytest.raises(RecogniserFailed, match="out of memory"):
            await recogniser.words(ends=True)

    hear(talk)


def test_what_is_sound() -> None:
    silence = np.zeros(RATE, np.float32)
    assert not sounding(silence).any()
    assert len(sounding(np.zeros(10, np.float32))) == 0
    mixed = np.concatenate([silence, np.sin(np.arange(RATE) / 10).astype(np.float32), silence])
    assert sounding(mixed).tolist() == [False] * 50 + [True] * 50 + [False] * 50


# ---- the model


@pytest.fixture(scope="module")
def whisper() -> Whisper:
    return Whisper()


def clip() -> Samples:
    samples: Samples = soundfile.read(DATA / "two_sentences.flac", dtype="float32")[0]
    return samples


def test_words_and_when_they_were_said(whisper: Whisper) -> None:
    words = whisper.hear(clip())
    said = "I would like to cancel my appointment. Could you repeat that please?"
    assert " ".join(texts(words)) == said
    assert words[0].start == pytest.approx(0.5, abs=0.1)
    assert words[6].end == pytest.approx(2.6, abs=0.15), "not until the next word begins"
    assert all(0 < word.confidence <= 1 for word in words)
    assert [word.plain for word in words[5:8]] == ["my", "appointment", "could"]


def test_a_text_is_laid_over_its_sound(whisper: Whisper) -> None:
    heard = whisper.hear(clip())
    laid = whisper.align(clip(), "i would like to cancel my appointment could you repeat that please")
    assert [word.text for word in laid] == [word.plain for word in heard]
    assert [word.start for word in laid] == pytest.approx([word.start for word in heard], abs=0.15)


@pytest.mark.parametrize("cut", np.arange(0.6, 6.0, 0.6).tolist())
def test_what_is_cut_off_does_not_repeat_itself(whisper: Whisper, cut: float) -> None:
    samples, _ = soundfile.read(SAMPLES / "barge_in.flac", dtype="float32", always_2d=True)
    whole = [word.plain for word in whisper.hear(samples[:, 0])]
    heard = whisper.hear(samples[: int(cut * RATE), 0])
    assert len(heard) <= len(whole)
    assert all(word.end <= cut for word in heard)


def test_a_last_word_that_the_aligner_puts_behind_the_end_was_said(whisper: Whisper) -> None:
    """flite's voice slt; the aligner lets its "four" begin 0.04 s behind the end."""
    audio, _ = soundfile.read(DATA / "late_figure.flac", dtype="float32")
    heard = whisper.hear(audio)
    assert re.sub(r"\D", "", " ".join(texts(heard))) == "1234"
    assert all(word.start < word.end for word in heard)
    assert all(before.end <= word.start for before, word in pairwise(heard))
    assert heard[-1].end <= len(audio) / RATE


@pytest.mark.parametrize("said", [1, 2])
def test_what_is_written_twice_is_heard_as_often_as_it_was_said(
    whisper: Whisper, monkeypatch: pytest.MonkeyPatch, said: int
) -> None:
    first, second = " I would like to cancel my appointment.", " Could you repeat that please?"
    written = whisper._tokens.encode(2 * first + second, add_special_tokens=False).ids
    monkeypatch.setattr(whisper, "_decode", lambda encoded, most: written)
    cut = int(2.9 * RATE)  # between the two
    heard = whisper.hear(np.concatenate([*(said * [clip()[:cut]]), clip()[cut:]]))
    assert " ".join(texts(heard)) == (said * first + second).strip()


def test_silence_and_noise_have_no_words(whisper: Whisper) -> None:
    noise = np.random.default_rng(1).normal(0, 0.01, 3 * RATE).astype(np.float32)
    for samples in (np.zeros(3 * RATE, np.float32), noise, noise[:100], noise[:0]):
        assert whisper.hear(samples) == []


def test_figures_that_were_said_one_by_one_are_no_year(whisper: Whisper) -> None:
    """ "two zero seven": what it is surer of, not what it writes by habit."""
    audio, _ = soundfile.read(SAMPLES / "phone_number.wav", dtype="float32")
    said = " ".join(word.text for word in whisper.hear(audio))
    assert re.sub(r"\D", "", said) == "5512077318"


def test_what_says_the_same_over_and_over_is_noticed(whisper: Whisper) -> None:
    once = "I would like a large coffee and "
    assert whisper._repeats(whisper._tokens.encode(8 * once).ids)
    assert not whisper._repeats(whisper._tokens.encode(2 * once).ids)


NO_MODEL = "no Whisper model for CTranslate2"


@pytest.mark.parametrize(
    ("name", "data", "complaint"),
    [
        ("model.bin", None, f"{NO_MODEL}, which has a model.bin"),
        ("model.bin", b"", f"{NO_MODEL} that works here: File model.bin is incomplete"),
        ("model.bin", b"half of it", f"{NO_MODEL} that works here: "),
        ("config.json", None, f"{NO_MODEL}, which has a config.json"),
        ("config.json", b"{", f"{NO_MODEL} that works here: .*parse error"),
        # What CTranslate2 itself finds out when it hears something.
        ("config.json", b"{}", f"{NO_MODEL} that works here: "),
        ("tokenizer.json", None, f"{NO_MODEL}, which has a tokenizer.json"),
        ("tokenizer.json", b"{}", f"{NO_MODEL} that works here: Model missing"),
        ("vocabulary.txt", None, f"{NO_MODEL} that works here: Cannot load the vocabulary"),
        ("vocabulary.txt", b"half\nof\nit\n", f"{NO_MODEL} that works here: "),
    ],
)
def test_a_model_of_ones_own_that_is_damaged_is_one_line(
    tmp_path: Path, name: str, data: bytes | None, complaint: str
) -> None:
    for file in require(MODELS["whisper-tiny-en"]).iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / name).unlink()
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(UsageError, match=f"^{re.escape(str(tmp_path))}: {complaint}") as caught:
        Whisper(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_model_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = require(MODELS["whisper-tiny-en"])
    Whisper(Path("whisper-tiny-en"))
    (tmp_path / "small").symlink_to(home)
    monkeypatch.setenv("HEAROUT_MODELS", str(tmp_path))
    Whisper(Path("small"), language="en-GB")
    with pytest.raises(UsageError, match=f"^tiny: there is no such folder, here or in {re.escape(str(tmp_path))}$"):
        Whisper(Path("tiny"))


def test_a_model_of_one_language_hears_no_other() -> None:
    with pytest.raises(UsageError, match=r"this model hears English only, not de; name another with --model$"):
        Whisper(language="de-AT")
