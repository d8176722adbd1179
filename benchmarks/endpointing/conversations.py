"""Sampled conversations between a user and a voicebot: what is said when, and what a local VAD makes of it.

A conversation is a function of scenario, seed and number: the same on every machine, and the same for every policy
that is tried on it. The voicebot answers when a human would; it does not react to the policy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from random import Random
from statistics import NormalDist
from typing import Literal

from benchmarks.endpointing.scenarios import ENDINGS, INTERVIEW_PAUSE, LogNormal, Scenario, VoiceErrors
from hearout_policies.expect import Digits, Expectation
from hearout_policies.signals import EarHeard
from hearout_policies.text import Ending

__all__ = [
    "EAR_TAKES",
    "FRAME",
    "TURNS",
    "Conversation",
    "Edge",
    "Span",
    "SpokenTurn",
    "SpokenWord",
    "ending_before",
    "ending_of_turn",
    "listen",
    "normal",
    "phrase",
    "sample",
    "voiced_in",
    "with_perfect_voice",
    "written",
]

Span = tuple[float, float]  # seconds

TURNS = 20  # in a conversation
FRAME = 0.02  # seconds; the engine hears audio in such blocks
EAR_TAKES = 0.1  # seconds from the silence to an ear's answer: what Smart Turn takes on a core
_REACTION = 2.0  # the voicebot begins to speak so long after the true end
_TAIL = 16.0  # silence at the end: longer than any policy waits but "dictation"
_STANDARD = NormalDist()

# Between the end of the voicebot and its user's begin, quantiles of CORAAL; overlaps are cut at -0.5 s.
_OFFSETS = ((0.0, -0.5), (0.1, -0.354), (0.25, 0.007), (0.5, 0.237), (0.75, 0.654), (0.9, 1.31), (0.99, 3.583))

# A sentence runs round this circle of word classes. None of these ends a text in a special way but those that should.
_CIRCLE: tuple[tuple[str, ...], ...] = (
    ("we", "they", "I", "she"),
    ("wanted", "called", "booked", "ordered", "changed", "moved", "found"),
    ("another", "some", "any", "these"),
    ("new", "early", "small", "different", "better"),
    ("tickets", "rooms", "flights", "orders", "letters", "tables"),
    ("near", "before", "after", "without", "around"),
    ("Christmas", "London", "lunch", "Friday", "breakfast", "work"),
    ("and", "because", "but", "so", "when"),
)
_CONTENT = ("tickets", "flights", "breakfast", "Friday", "London", "yesterday", "together", "outside", "later", "work")
_LAST: dict[Ending, tuple[str, ...]] = {
    Ending.QUESTION: tuple(f"{word}?" for word in _CONTENT),
    Ending.STOP: tuple(f"{word}." for word in _CONTENT),
    Ending.PLAIN: _CONTENT,
    Ending.COMMA: tuple(f"{word}," for word in _CONTENT),
    Ending.CONJUNCTION: ("and", "but", "so", "because", "that", "or", "if", "when"),
    Ending.FILLER: ("um", "uh"),
    Ending.FUNCTION_WORD: ("the", "my", "to", "is", "of", "for", "with", "was", "at", "I'm", "your"),
    Ending.CUT_OFF: ("tick-", "fli-", "Lon-", "yester-"),
}
_SHORT = {Ending.STOP: ("Yes.", "No.", "Okay.", "Thanks.", "Sure."), Ending.QUESTION: ("What?", "When?", "Hello?")}
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """One word, in seconds of audio.

    Attributes:
        text: as the transcriber writes it, punctuation included; empty: it leaves the word out.
    """

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class SpokenTurn:
    """One turn of the user.

    Attributes:
        words: in order, those that the transcriber leaves out included.
        holds: the pauses inside, from the end of a word to the start of the next.
        endings: how the text was meant to end before each hold, and at the end.
        asked: what the application says it has asked for, where it does.
    """

    words: tuple[SpokenWord, ...]
    holds: tuple[Span, ...]
    endings: tuple[Ending, ...]
    asked: tuple[Expectation, ...] = ()

    @property
    def start(self) -> float:
        return self.words[0].start

    @property
    def end(self) -> float:
        """The true end: of the last word."""
        return self.words[-1].end


@dataclass(frozen=True, slots=True)
class Edge:
    """What the local VAD notices, ``at`` which moment, and to which ``audio`` time it dates it."""

    at: float
    kind: Literal["start", "stop", "maybe", "pause"]
    audio: float


@dataclass(frozen=True, slots=True)
class Conversation:
    """Everything about one conversation that does not depend on the engine.

    Attributes:
        key: names it; seeds what else is drawn for it.
        voiced: the stretches of true speech, pauses in between.
        agent: when the voicebot speaks.
        answers: of an ear, to its silences.
        edges: what the local VAD tells.
        length: seconds of audio.
    """

    scenario: Scenario
    key: str
    turns: tuple[SpokenTurn, ...]
    voiced: tuple[Span, ...]
    agent: tuple[Span, ...]
    edges: tuple[Edge, ...]
    length: float
    answers: tuple[EarHeard, ...] = ()

    @property
    def words(self) -> list[SpokenWord]:
        """All words that the transcriber writes."""
        return [word for turn in self.turns for word in turn.words if word.text]


def normal(random: Random) -> float:
    """A standard normal number. `Random.random` is the one method whose numbers Python promises never to change."""
    return _STANDARD.inv_cdf(max(random.random(), 1e-12))


def draw(of: LogNormal, random: Random) -> float:
    """A number of that distribution."""
    return at_quantile(of, normal(random))


def at_quantile(of: LogNormal, z: float) -> float:
    return min(of.cap, of.shift + math.exp(of.mu + of.sigma * z))


@lru_cache(maxsize=512)
def sample(scenario: Scenario, seed: int, number: int, turns: int = TURNS) -> Conversation:
    """The conversation of that seed and number; the same people say the same in scenarios that differ elsewhere."""
    key = f"{seed}/{number}"
    random = Random(f"people/{key}")
    at = 0.5
    agent: list[Span] = []
    spoken: list[SpokenTurn] = []
    for _ in range(turns):
        agent.append((at, at + 2.0 + 2.0 * random.random()))
        turn = _turn(scenario, random, agent[-1][1] + _offset(random))
        spoken.append(turn)
        at = turn.end + _REACTION
    voiced = tuple(span for turn in spoken for span in voiced_in(turn))
    length = math.ceil(spoken[-1].end + _TAIL)
    edges = listen(voiced, scenario.voice, length, Random(f"voice/{key}"))
    answers = () if scenario.ear is None else _answers(spoken, edges, scenario.ear, Random(f"ear/{key}"))
    return Conversation(scenario, key, tuple(spoken), voiced, tuple(agent), edges, float(length), answers)


def _offset(random: Random) -> float:
    u = random.random() * _OFFSETS[-1][0]
    for (low, least), (high, most) in pairwise(_OFFSETS):
        if u <= high:
            return least + (most - least) * (u - low) / (high - low)
    return _OFFSETS[-1][1]


def _turn(scenario: Scenario, random: Random, start: float) -> SpokenTurn:
    rate = draw(scenario.rate, random)
    asked: tuple[Expectation, ...] = ()
    if random.random() < scenario.numbers:
        phrases, pauses, endings = _number(scenario, random)
        if scenario.asks:
            asked = (Digits(sum(map(len, phrases[1:]))),)
    else:
        phrases, pauses, endings = _sentences(scenario, random)
    words: list[SpokenWord] = []
    at = start
    for index, texts in enumerate(phrases):
        for text in texts:
            said = text.rstrip(",.?-")
            length = min(1.2, max(0.1, (1 + len(said)) / 5.5 / rate))
            if said in ("um", "uh"):
                length = 0.35 * math.exp(0.3 * normal(random))
            words.append(SpokenWord(written(text, scenario), round(at, 3), round(at + length, 3)))
            at += length
        if index < len(pauses):
            at += pauses[index]
    starts = [word.start for word in words]
    firsts = [sum(len(one) for one in phrases[: i + 1]) for i in range(len(pauses))]
    holds = tuple((words[first - 1].end, starts[first]) for first in firsts)
    return SpokenTurn(tuple(words), holds, tuple(endings), asked)


def written(text: str, scenario: Scenario) -> str:
    """What the transcriber makes of a word; empty: nothing."""
    if scenario.verbatim:
        return text
    return "" if text in ("um", "uh") else text.rstrip("-")


Plan = tuple[list[list[str]], list[float], list[Ending]]


def _sentences(scenario: Scenario, random: Random) -> Plan:
    count = max(1, round(draw(scenario.words, random)))
    lengths = [1]
    for _ in range(count - 1):
        if random.random() < scenario.holds_per_word:
            lengths.append(1)
        else:
            lengths[-1] += 1
    pauses, endings = [], []
    for _ in lengths[1:]:
        z = normal(random)
        pauses.append(at_quantile(scenario.pause, z))
        endings.append(ending_before(z, random))
    endings.append(ending_of_turn(random))
    phrases: list[list[str]] = []
    capital, place = True, 0
    for length, ending in zip(lengths, endings, strict=True):
        words, place = phrase(length, ending, place, random)
        if not phrases and length == 1 and ending in _SHORT:
            words = [_pick(_SHORT[ending], random)]
        if capital and words[0] not in ("um", "uh"):
            words[0] = words[0][0].upper() + words[0][1:]
        capital = words[-1].endswith((".", "?"))
        phrases.append(words)
    return phrases, pauses, endings


def phrase(length: int, ending: Ending, place: int, random: Random) -> tuple[list[str], int]:
    """So many words that end so; ``place`` is where in the circle of a sentence they begin, and then end."""
    words = [_pick(_CIRCLE[(place + i) % len(_CIRCLE)], random) for i in range(length - 1)]
    words.append(_pick(_LAST[ending], random))
    return words, (0 if ending in (Ending.STOP, Ending.QUESTION, Ending.CONJUNCTION) else place + length - 1)


def _number(scenario: Scenario, random: Random) -> Plan:
    groups = [[_pick(_DIGITS, random) for _ in range(size)] for size in (3, 3, 4)]
    pauses = [draw(scenario.pause, random) for _ in groups]
    return [["My", "number", "is"], *groups], pauses, [Ending.FUNCTION_WORD] + [Ending.DIGITS] * 3


def ending_of_turn(random: Random) -> Ending:
    """How the text of a turn ends."""
    return choose({ending: share.ends for ending, share in ENDINGS.items()}, random)


def ending_before(z: float, random: Random) -> Ending:
    """How the text ends before a hold whose length lies at quantile z: long holds follow other words than short ones.

    The lengths keep their distribution whatever the words are.
    """
    pause = math.log(at_quantile(INTERVIEW_PAUSE, z))
    weights = {}
    for ending, share in ENDINGS.items():
        sigma = math.log(share.p90 / share.median) / 1.2816
        weights[ending] = share.holds * math.exp(-(((pause - math.log(share.median)) / sigma) ** 2) / 2) / sigma
    return choose(weights, random)


def choose(weights: Mapping[Ending, float], random: Random) -> Ending:
    """One of them, by weight."""
    u = random.random() * sum(weights.values())
    for ending, weight in weights.items():
        u -= weight
        if u < 0:
            return ending
    return ending


def _pick(words: Sequence[str], random: Random) -> str:
    return words[int(random.random() * len(words))]


def voiced_in(turn: SpokenTurn) -> list[Span]:
    """The stretches of voice in a turn."""
    starts = [turn.start, *(end for _, end in turn.holds)]
    ends = [*(start for start, _ in turn.holds), turn.end]
    return list(zip(starts, ends, strict=True))


def listen(voiced: Sequence[Span], errors: VoiceErrors, length: float, random: Random) -> tuple[Edge, ...]:
    """What the local VAD tells of true speech: `hearout.vad.SpeechGate`, with such errors, on frames of 20 ms."""
    heard: list[Span] = []
    for start, end in voiced:
        missed, stuck = random.random(), random.random()
        early, late = draw(errors.early_onset, random), draw(errors.late_end, random)
        extra = -errors.stuck_for * math.log(1 - random.random())
        if missed >= errors.missed:
            heard.append((max(0.0, start - early), end + late + (extra if stuck < errors.stuck else 0.0)))
    at = 0.0
    while errors.false:
        at -= 60 / errors.false * math.log(1 - random.random())
        if at >= length - 1:
            break
        heard.append((at, at + 0.1 + 0.3 * random.random()))
    edges: list[Edge] = []
    merged: list[list[float]] = []
    for start, end in sorted(heard):
        if end - start < errors.onset:
            continue
        if merged and start < merged[-1][1] + errors.hangover:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    for start, end in merged:
        noticed = _frame_end(start + errors.onset)
        if errors.suspicion:
            edges.append(Edge(_frame_end(start + errors.suspicion), "maybe", round(start, 3)))
        edges.append(Edge(noticed, "start", round(start, 3)))
        if errors.pause:
            edges.append(Edge(max(noticed, _frame_end(end + errors.pause)), "pause", round(end, 3)))
        edges.append(Edge(max(noticed, _frame_end(end + errors.hangover)), "stop", round(end, 3)))
    silences = list(pairwise([0.0, *(edge.at for edge in edges if edge.kind in ("start", "stop")), length]))[::2]
    for start, end in silences:
        at = start
        while errors.suspicion and errors.suspected:
            at -= 60 / errors.suspected * math.log(1 - random.random())
            if at > end - 2 * errors.onset:
                break
            edges.append(Edge(_frame_end(at + errors.suspicion), "maybe", round(at, 3)))
    return tuple(sorted(edges, key=lambda edge: edge.at))


def _answers(turns: Sequence[SpokenTurn], edges: Sequence[Edge], auc: float, random: Random) -> tuple[EarHeard, ...]:
    """What an ear says to each silence: two normal distributions as far apart as that area under the ROC curve needs.

    It is calibrated: its probability is what the answer is worth, had ends and pauses been equally frequent.
    """
    apart = math.sqrt(2) * _STANDARD.inv_cdf(auc)
    found = []
    for edge in edges:
        if edge.kind == "stop":
            end = not any(turn.start <= edge.audio < turn.holds[-1][1] for turn in turns if turn.holds)
            log_odds = apart * (normal(random) + (apart if end else -apart) / 2)
            found.append(EarHeard(round(edge.at + EAR_TAKES, 3), edge.at, round(1 / (1 + math.exp(-log_odds)), 4)))
    return tuple(found)


def _frame_end(at: float) -> float:
    return round(math.ceil(at / FRAME - 1e-6) * FRAME, 3)


def with_perfect_voice(scenario: Scenario) -> Scenario:
    """The same people, heard by a VAD without errors or delays."""
    return replace(scenario, voice=VoiceErrors.none())
