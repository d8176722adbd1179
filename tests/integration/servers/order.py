"""`samples/order.flac` for other people's clients: its audio, what is said in it and when, a server that knows it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import AbstractContextManager
from difflib import SequenceMatcher
from typing import Any

import soundfile

from tests.kit.paths import SAMPLES
from tests.kit.serving import serving

RATE = 16_000
TURNS: list[dict[str, Any]] = json.loads((SAMPLES / "order.json").read_text())["turns"]
SENTENCES = [turn["text"] for turn in TURNS]


def order() -> bytes:
    """12.4 s, linear16 mono at 16 kHz."""
    samples, rate = soundfile.read(SAMPLES / "order.flac", dtype="int16")
    assert rate == RATE
    data: bytes = samples.tobytes()
    return data


def order_server() -> AbstractContextManager[str]:
    """HOST:PORT of a server with the real recogniser."""
    return serving()


def pairs(names: Iterable[str]) -> list[list[str]]:
    """Two at a time: where more listen than there are cores, the recogniser leaves out interim results."""
    names = list(names)
    return [names[at : at + 2] for at in range(0, len(names), 2)]


def words_wrong(texts: list[str]) -> int:
    """How many words of the order were heard wrong, or not; the recogniser may miss one where its audio was cut.

    Capitals and full stops, which some protocols set, do not count.
    """
    said, heard = " ".join(SENTENCES).split(), " ".join(texts).lower().replace(".", "").split()
    right = sum(block.size for block in SequenceMatcher(None, said, heard, autojunk=False).get_matching_blocks())
    return max(len(said), len(heard)) - right
