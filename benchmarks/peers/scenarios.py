"""The calls: audio put together from the recordings of ``samples/``, whose word times are known, and what goes wrong.

Every call is a list of turns with silence between them, and with a plan for the transcriber. A hold is one of flite's
own pauses, made longer or shorter, or silence put in between two words (``cut``).
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from benchmarks.peers.feed import RATE, WARM_UP
from hearout.extras import needs_extra

__all__ = ["SCENARIOS", "Scenario", "Script", "Spoken", "build", "load_scripts"]

_SAMPLES = Path(__file__).parents[2] / "samples"
_LEAD = 1.5  # seconds before the first turn: everybody is connected by then
_NOISE = -60.0  # dBFS, white, about that of the samples
_RING = 0.05  # seconds a word of flite rings off
_MUTE = 8.0  # seconds for which a muted microphone gives no audio
_SPLIT = 0.3  # seconds; a longer gap between words is a pause

Signal = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Utterance:
    """A turn of the samples: where it is, and after which word ``cut`` puts a pause; None: at flite's own pauses."""

    file: str
    index: int
    cut: str | None = None


# No two turns of a call begin or end alike, so that the words that are handed over tell whose they are.
_ADDRESS, _CALL_BACK, _FLIGHT = Utterance("order", 1), Utterance("phone_number", 1), Utterance("two_people", 1)
_HELP, _WHAT, _REPEAT = Utterance("two_people", 0), Utterance("two_people", 2), Utterance("two_people", 4)
_YES = Utterance("order", 2)
_COFFEE, _NUMBER, _ORDER = Utterance("order", 0), Utterance("phone_number", 0), Utterance("two_people", 3)


@dataclass(frozen=True)
class Scenario:
    """One kind of call.

    Attributes:
        hold: seconds of every pause within a turn; None: no pause.
        after: seconds of silence after each turn.
        late: seconds by which every final result comes later than usual.
        withhold: finals are not sent when speech ends, only for Finalize, or not even then. They come when the user
            goes on to speak.
        drop: the connection breaks in the middle of every second turn. (Pipecat counts a connection that breaks within
            its first seconds as one that never worked, and gives up after three of them.)
        mute: the audio stops right after each turn's last word, for 8 s.
    """

    name: str
    title: str
    turns: Sequence[Utterance]
    hold: float | None = None
    after: float = 4.5
    late: float = 0.0
    withhold: Literal["finalize", "always"] | None = None
    drop: bool = False
    mute: bool = False


_PLAIN = (_FLIGHT, _CALL_BACK, _WHAT)
_HINTED = (_COFFEE, _ORDER, _NUMBER)
_UNHINTED = (
    Utterance("two_people", 1, "flight"),
    Utterance("phone_number", 1, "back"),
    Utterance("order", 1, "it"),
)

# In two of them a pause of 0.15 s, too short for any voice detection here, where the transcriber's endpoint at 10 or
# 25 ms makes a final of the first half.
_BREATH = (_WHAT, *_UNHINTED[:2])

_SIX = (_HELP, _FLIGHT, _YES, _CALL_BACK, _WHAT, _ADDRESS)

SCENARIOS = (
    Scenario("clean", "clean turns", (_ADDRESS, _YES, _CALL_BACK, _HELP, _FLIGHT, _WHAT, _REPEAT)),
    Scenario("hold-text-0.5", "holds of 0.5 s, unfinished text", _HINTED, hold=0.5),
    Scenario("hold-text-1.0", "holds of 1.0 s, unfinished text", _HINTED, hold=1.0),
    Scenario("hold-0.5", "holds of 0.5 s, text tells nothing", _UNHINTED, hold=0.5),
    Scenario("hold-1.0", "holds of 1.0 s, text tells nothing", _UNHINTED, hold=1.0),
    Scenario("late-0.3", "finals 0.3 s late", _BREATH, hold=0.15, late=0.3),
    Scenario("late-0.6", "finals 0.6 s late", _BREATH, hold=0.15, late=0.6),
    Scenario("late-0.9", "finals 0.9 s late", _BREATH, hold=0.15, late=0.9),
    Scenario("withheld", "finals come only for Finalize", _PLAIN, after=7.0, withhold="finalize"),
    Scenario("never", "finals never come", _PLAIN, after=7.0, withhold="always"),
    Scenario("drop", "connection breaks in every second turn", _SIX, drop=True),
    Scenario("mute", "audio stops after the last word", _PLAIN, after=1.5, mute=True),
)


@dataclass(frozen=True)
class Spoken:
    """A turn of a call: its words as (text, start, end) in audio time, seconds."""

    words: Sequence[tuple[str, float, float]]

    @property
    def end(self) -> float:
        return self.words[-1][2]


@dataclass(frozen=True)
class Script:
    """What one call is made of, for the transcriber and for the score.

    Attributes:
        pcm: name of the file of its audio, which lies beside the scripts.
        pauses: (audio time, seconds) where the audio stops.
        drops: numbers of the words, counted over the call, after which the connection breaks.
    """

    name: str
    scenario: str
    pcm: str
    turns: Sequence[Spoken]
    pauses: Sequence[tuple[float, float]] = ()
    late: float = 0.0
    withhold: Literal["finalize", "always"] | None = None
    drops: Sequence[int] = ()
    seed: int = field(default=0)

    @property
    def words(self) -> list[tuple[str, float, float]]:
        """All of them, in order."""
        return [word for turn in self.turns for word in turn.words]

    def real(self, audio: float) -> float:
        """Seconds from the start of the call at which this audio time is heard."""
        return audio + sum(wait for at, wait in self.pauses if at < audio)


def build(directory: Path, scenarios: Sequence[Scenario], rounds: int, seed: int) -> list[Script]:
    """Make the audio files of the calls, a warm-up first, and ``scripts.json``; longest calls first.

    The same seed gives the same files, bit for bit. Rounds differ in noise and in the length of the silences.

    Raises:
        UsageError: soundfile is not installed (hearout's extra ``cli``).
    """
    warm_up = Scenario(WARM_UP, WARM_UP, (_REPEAT,))
    calls = [_call(directory, s, number, seed) for s in scenarios for number in range(1, rounds + 1)]
    calls.sort(key=lambda script: -script.real(script.turns[-1].end))
    calls.insert(0, _call(directory, warm_up, 0, seed))
    (directory / "scripts.json").write_text(json.dumps([asdict(script) for script in calls], indent=1))
    return calls


def load_scripts(path: Path) -> list[Script]:
    """What `build` wrote."""
    return [_script(item) for item in json.loads(path.read_text())]


def _script(item: Mapping[str, Any]) -> Script:
    turns = [Spoken([(text, start, end) for text, start, end in turn["words"]]) for turn in item["turns"]]
    return Script(**{**item, "turns": turns, "pauses": [(at, wait) for at, wait in item["pauses"]]})


def _call(directory: Path, scenario: Scenario, number: int, seed: int) -> Script:
    name = f"{scenario.name}-{number}" if number else scenario.name
    rng = random.Random(f"{seed} {name}")
    noise = np.random.RandomState(rng.randrange(2**32))
    parts: list[Signal] = []
    turns: list[Spoken] = []
    pauses: list[tuple[float, float]] = []
    at = 0

    def add(signal: Signal) -> None:
        nonlocal at
        parts.append(signal)
        at += len(signal)

    add(_silence(_LEAD + rng.uniform(0.0, 0.5), noise))
    for utterance in scenario.turns:
        signal, words = _say(utterance, scenario.hold, noise)
        turns.append(Spoken([(text, round(at / RATE + s, 3), round(at / RATE + e, 3)) for text, s, e in words]))
        add(signal)
        if scenario.mute:
            pauses.append((at / RATE, _MUTE))
        add(_silence(scenario.after + rng.uniform(0.0, 0.5), noise))
    pcm = f"{name}.s16"
    (directory / pcm).write_bytes(np.concatenate(parts).astype("<i2").tobytes())
    ends = np.cumsum([len(turn.words) for turn in turns])
    middles = [int(end - 1 - len(turn.words) // 2) for turn, end in zip(turns, ends, strict=True)]
    drops = middles[1::2] if scenario.drop else []
    return Script(name, scenario.name, pcm, turns, pauses, scenario.late, scenario.withhold, drops=drops, seed=seed)


def _say(
    utterance: Utterance, hold: float | None, noise: np.random.RandomState
) -> tuple[Signal, list[tuple[str, float, float]]]:
    """The samples of a turn, which begin with its first word, and the words counted from there."""
    samples, rows = _sample(utterance.file, utterance.index)
    words, pieces, begin, shift = [], [], rows[0][1], 0.0
    for (text, start, end), following in zip(rows, [*rows[1:], None], strict=True):
        words.append((text, start - rows[0][1] + shift, end - rows[0][1] + shift))
        if following is None:
            pieces.append(_piece(samples, begin, end + _RING))
            break
        gap = following[1] - end
        if hold is not None and (text == utterance.cut if utterance.cut else gap > _SPLIT):
            # Half of what rings off and of what flite's pause holds stays on either side.
            ring = min(_RING, gap / 2)
            pieces.append(_piece(samples, begin, end + ring))
            pieces.append(_silence(hold - 2 * ring, noise))
            begin = following[1] - ring
            shift += hold - gap
    return np.concatenate(pieces), words


def _piece(samples: Signal, start: float, end: float) -> Signal:
    return samples[round(start * RATE) : round(end * RATE)]


def _silence(seconds: float, noise: np.random.RandomState) -> Signal:
    level = 32768 * 10 ** (_NOISE / 20)
    return np.rint(noise.standard_normal(round(seconds * RATE)) * level).astype(np.int16)


@cache
def _sample(file: str, index: int) -> tuple[Signal, list[tuple[str, float, float]]]:
    with needs_extra("cli", "reading the samples"):
        import soundfile
    about = json.loads((_SAMPLES / f"{file}.json").read_text())
    samples, rate = soundfile.read(_SAMPLES / about["file"], dtype="int16", always_2d=True)
    assert rate == RATE
    turn = about["turns"][index]
    return samples[:, turn["channel"]], [(w["text"], w["start"], w["end"]) for w in turn["words"]]
