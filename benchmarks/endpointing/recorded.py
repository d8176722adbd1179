"""Recorded speech: the real VAD on the real sound, and the simulated transcriber on what was said.

Of the samples the words and their times are known. Of a call with silver labels only the stretches of speech are, and
which pauses are holds; its words are made up, as many as fit, with texts that end as they do before such pauses.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from benchmarks.endpointing.conversations import (
    EAR_TAKES,
    FRAME,
    Conversation,
    Edge,
    Span,
    SpokenTurn,
    SpokenWord,
    ending_before,
    ending_of_turn,
    phrase,
    voiced_in,
    written,
)
from benchmarks.endpointing.evaluation import Candidate
from benchmarks.endpointing.scenarios import SCENARIOS
from benchmarks.endpointing.scoring import Figures, Tally, score
from benchmarks.endpointing.simulated import converse
from hearout import SpeechGate, webrtc_gate
from hearout.errors import UsageError
from hearout_policies.signals import EarHeard
from hearout_policies.text import Ending

__all__ = [
    "Listener",
    "Recording",
    "Sound",
    "conversation",
    "load_call",
    "load_samples",
    "made_up_turn",
    "measure",
    "read",
    "turn_of",
    "voice_errors",
]

_SAMPLES = Path(__file__).parents[2] / "samples"
_SCENARIO = SCENARIOS["agent"]
_PAUSE = 0.18  # seconds; shorter gaps are none
_RATE = 3.84  # words a second, CORAAL's median
_EAR_HEARS = 8.0  # seconds
_TAIL = 6.0  # seconds of silence put behind a recording, so that the last turn can end


Sound = npt.NDArray[np.int16]

#: What an ear says of the audio so far, at that rate.
Listener = Callable[[bytes, int], float]


@dataclass(frozen=True, eq=False)
class Recording:
    """One channel of sound, at a rate that the voice detection takes, and what was said in it.

    Attributes:
        key: names it.
        agent: when somebody else speaks.
    """

    key: str
    turns: tuple[SpokenTurn, ...]
    sound: Sound
    rate: int
    agent: tuple[Span, ...] = ()


def measure(candidate: Candidate, conversations: Sequence[Conversation]) -> Figures:
    """The figures of one candidate."""
    tally = Tally()
    for one in conversations:
        tally.merge(score(one, converse(one, candidate.policy, candidate.transcriber(one.scenario))))
    return Figures.of(tally)


def voice_errors(conversations: Sequence[Conversation]) -> str:
    """How the real VAD erred; `benchmarks.endpointing.scenarios.VoiceErrors` is what was seen on the call."""
    onsets, ends = [], []
    missed = false = count = 0
    for one in conversations:
        edges = [edge for edge in one.edges if edge.kind in ("start", "stop")]
        heard = list(zip(edges[::2], edges[1::2], strict=False))
        for start, end in one.voiced:
            here = [(on.audio, off.audio) for on, off in heard if on.audio < end and off.audio > start]
            count += 1
            missed += not here
            if here and here[0][0] > start - 0.5:
                onsets.append(start - here[0][0])
            if here and here[-1][1] < end + 0.6:  # later ones run into the next stretch
                ends.append(here[-1][1] - end)
        spans = [(on.audio - 0.15, off.audio + 0.15) for on, off in heard]
        false += sum(not any(start < b and end > a for a, b in one.voiced) for start, end in spans)
    minutes = sum(one.length for one in conversations) / 60
    early, late = np.percentile(onsets, (50, 90)), np.percentile(ends, (50, 90, 99))
    return (
        f"VAD: onsets dated {early[0]:.2f} s early (p90 {early[1]:.2f}), ends {late[0]:.2f} s late (p90 {late[1]:.2f}, "
        f"p99 {late[2]:.2f}); {missed} of {count} stretches of speech missed, {false} false ones in {minutes:.1f} min."
    )


def load_samples() -> list[Recording]:
    """The recordings of ``samples/``, each channel for itself."""
    found = []
    for file in sorted(_SAMPLES.glob("*.json")):
        truth = json.loads(file.read_text())
        sound, rate = read(_SAMPLES / truth["file"])
        for channel in range(sound.shape[1]):
            turns = [_known_turn(turn) for turn in truth["turns"] if turn["channel"] == channel]
            found.append(Recording(f"{truth['file']}/{channel}", tuple(turns), sound[:, channel], rate))
    return found


def load_call(directory: Path) -> list[Recording]:
    """A call: ``*.silver_turns.json`` with ``ipus`` and ``silences`` by speaker, and a ``*_SPEAKER.wav`` for each.

    Raises:
        UsageError: it is not there.
    """
    labels = next(iter(sorted(directory.glob("*.silver_turns.json"))), None)
    if labels is None:
        raise UsageError(f"--call {directory}: there is no *.silver_turns.json")
    truth = json.loads(labels.read_text())
    speakers = sorted(truth["ipus"])
    found = []
    for speaker in speakers:
        audio = next(iter(sorted(directory.glob(f"*_{speaker}.wav"))), None)
        if audio is None:
            raise UsageError(f"--call {directory}: there is no *_{speaker}.wav")
        ends = {one["t"] for one in truth["silences"][speaker] if one["label"] != "hold"}
        groups: list[list[Span]] = [[]]
        for start, end in truth["ipus"][speaker]:
            groups[-1].append((start, end))
            if end in ends:
                groups.append([])
        random = Random(f"words/{truth['call']}/{speaker}")
        turns = [made_up_turn(group, random) for group in groups if group]
        others = sorted((a, b) for other in speakers if other != speaker for a, b in truth["ipus"][other])
        sound, rate = read(audio)
        found.append(Recording(f"{truth['call']}/{speaker}", tuple(turns), sound[:, 0], rate, tuple(others)))
    return found


def read(path: Path) -> tuple[Sound, int]:
    sound, rate = soundfile.read(path, dtype="int16", always_2d=True)
    return sound, rate


def _known_turn(turn: dict[str, Any]) -> SpokenTurn:
    return turn_of([SpokenWord(word["text"], word["start"], word["end"]) for word in turn["words"]])


def turn_of(words: Sequence[SpokenWord]) -> SpokenTurn:
    """A turn of words whose times are known."""
    holds = [(one.end, other.start) for one, other in pairwise(words) if other.start - one.end >= _PAUSE]
    return SpokenTurn(tuple(words), tuple(holds), ())


def made_up_turn(spans: Sequence[Span], random: Random) -> SpokenTurn:
    words: list[SpokenWord] = []
    endings: list[Ending] = []
    holds = [(one[1], other[0]) for one, other in pairwise(spans)]
    place = 0
    for index, (start, end) in enumerate(spans):
        if index < len(holds):
            mu, sigma, shift = _SCENARIO.pause.mu, _SCENARIO.pause.sigma, _SCENARIO.pause.shift
            longer = max(0.01, holds[index][1] - holds[index][0] - shift)
            endings.append(ending_before((math.log(longer) - mu) / sigma, random))
        else:
            endings.append(ending_of_turn(random))
        texts, place = phrase(max(1, round((end - start) * _RATE)), endings[-1], place, random)
        step = (end - start) / len(texts)
        for number, text in enumerate(texts):
            at = (round(start + number * step, 3), round(start + (number + 1) * step, 3))
            words.append(SpokenWord(written(text, _SCENARIO), *at))
    return SpokenTurn(tuple(words), tuple(holds), tuple(endings))


def conversation(
    recording: Recording, listener: Listener | None = None, vad: Callable[[int], SpeechGate] = webrtc_gate
) -> Conversation:
    """What was said, and what the real voice detection, and the ear, make of its sound."""
    sound, rate = recording.sound, recording.rate
    whole = np.concatenate([sound, np.zeros(round(_TAIL * rate), np.int16)])
    edges = _listen(whole, vad(rate), rate)
    length = math.floor(10 * (len(sound) / rate + _TAIL)) / 10
    voiced = tuple(span for turn in recording.turns for span in voiced_in(turn))
    answers = _ask(listener, edges, whole, rate) if listener else ()
    return Conversation(_SCENARIO, recording.key, recording.turns, voiced, recording.agent, edges, length, answers)


def _ask(listener: Listener, edges: Sequence[Edge], sound: Sound, rate: int) -> tuple[EarHeard, ...]:
    """Once in each silence, as a session does."""
    stops = [edge for edge in edges if edge.kind == "stop"]
    heard = [sound[max(0, round((edge.at - _EAR_HEARS) * rate)) : round(edge.at * rate)] for edge in stops]
    return tuple(
        EarHeard(edge.at + EAR_TAKES, edge.at, listener(pcm.tobytes(), rate))
        for edge, pcm in zip(stops, heard, strict=True)
    )


def _listen(sound: Sound, gate: SpeechGate, rate: int) -> tuple[Edge, ...]:
    block = round(FRAME * rate)
    edges = []
    for number in range(len(sound) // block):
        for edge in gate.feed(sound[number * block : (number + 1) * block].tobytes()):
            edges.append(Edge(round((number + 1) * FRAME, 3), edge.kind, edge.audio))
    return tuple(edges)
