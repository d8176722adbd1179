"""How likely it is that a turn is over, and how long it pays to wait in case it is not.

A pause of unknown meaning is a bet. With p the probability that the turn is over, S(t) the share of the pauses within
turns that last longer than t, and C the *price*, the seconds of waiting that one cutoff is worth, waiting until t costs

    p t + (1 - p) C S(t)

(Raux & Eskenazi 2009, "A finite-state turn-taking model for spoken dialog systems", for one state). `Holds.best_wait`
is the t that costs least. Each source of evidence moves p on its own, by its log-odds, within bounds of its own: no
rule needs to know another.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from statistics import NormalDist

from hearout_policies.events import Answer
from hearout_policies.params import param
from hearout_policies.text import Ending

__all__ = ["ANSWER_HOLDS", "BASE", "HOLDS", "NO_PAUSES", "SHORTEST", "Holds", "Odds", "Pauses"]

SHORTEST = 0.2  # seconds; what is shorter is no pause: it is as long as the closure of a consonant
_DATA = tomllib.loads((resources.files("hearout_policies") / "odds.toml").read_text("utf-8"))
BASE: float = _DATA["base"]["end"]
HOLDS = _DATA["holds"]
ANSWER_HOLDS = _DATA["answer_holds"]
_LEAST, _MOST = 0.001, 0.999  # nothing is quite certain
_P90 = NormalDist().inv_cdf(0.9)
_SHORT_OF = 0.01  # seconds; nearer to the shortest pause the logarithm says nothing any more
_FARTHEST = math.log(3)  # a caller's pauses are taken to be so many times longer or shorter than usual, at most


def _log_odds(probability: float) -> float:
    return math.log(probability / (1 - probability))


def _text(ending: Ending) -> float:
    value: float = param(_DATA["text"][ending.value], _LEAST, _MOST, "share of ends among pauses after it", unit="")
    return value


def _answer(state: str, why: str) -> float:
    value: float = param(_DATA["answer"][state], _LEAST, _MOST, why, unit="")
    return value


@dataclass(frozen=True, slots=True)
class Odds:
    """What each kind of evidence is worth.

    The probabilities by how the text ends include how often a pause is an end at all; all other evidence moves them by
    its log-odds, which are limited: no single source decides alone. (Reports on TurnBench and by AssemblyAI agree that
    text and sound must not be blended without limits.)
    """

    question: float = _text(Ending.QUESTION)
    stop: float = _text(Ending.STOP)
    plain: float = _text(Ending.PLAIN)
    conjunction: float = _text(Ending.CONJUNCTION)
    filler: float = _text(Ending.FILLER)
    function_word: float = _text(Ending.FUNCTION_WORD)
    cut_off: float = _text(Ending.CUT_OFF)
    comma: float = _text(Ending.COMMA)
    digits: float = _text(Ending.DIGITS)
    nothing: float = _text(Ending.NOTHING)
    ear_cap: float = param(2.0, 0.0, 10.0, "log-odds; how the voice sounds moves the odds no more; 0: not at all", "")

    answer_final: float = _answer("final", "share of ends behind an answer after which nothing can follow")
    answer_whole: float = _answer("whole", "share of ends behind an answer that may go on")
    answer_begun: float = _answer("begun", "share of ends behind an answer that has only begun")

    def weigh(
        self, ending: Ending, ear: float | None, answer: Answer | None = None
    ) -> tuple[float, tuple[tuple[str, float], ...]]:
        """The probability that the turn is over, and what each source alone says of it.

        Args:
            ear: probability, had ends and pauses been equally frequent.
            answer: what the text is to what was asked. Then it counts for that, however it ends; and the voice counts
                only where the answer leaves open whether it is over: no model hears that a number has further digits.
        """
        text: float = getattr(self, ending.value)
        if answer is not None:
            known = ((ending.value, text), ("answer", self._of(answer)))
            if answer.final or not answer.complete or ear is None:
                return self._of(answer), known
            return self._moved(self._of(answer), ear), (*known, ("ear", ear))
        if ear is None:
            return text, ((ending.value, text),)
        return self._moved(text, ear), ((ending.value, text), ("ear", ear))

    def _of(self, answer: Answer) -> float:
        if not answer.complete:
            return self.answer_begun
        return self.answer_final if answer.final else self.answer_whole

    def _moved(self, probability: float, ear: float) -> float:
        moved = max(-self.ear_cap, min(self.ear_cap, _log_odds(max(_LEAST, min(_MOST, ear)))))
        return 1 / (1 + math.exp(-_log_odds(probability) - moved))


@dataclass(frozen=True, slots=True)
class Pauses:
    """The pauses of one caller so far, within turns.

    Attributes:
        count: of them.
        log: sum of the logarithms of what they last beyond `SHORTEST`, in seconds.
    """

    count: int = 0
    log: float = 0.0

    def add(self, seconds: float) -> Pauses:
        """One more; what is too short for a pause is none."""
        more = seconds - SHORTEST
        return self if more < _SHORT_OF else Pauses(self.count + 1, self.log + math.log(more))


NO_PAUSES = Pauses()


@dataclass(frozen=True, slots=True)
class Holds:
    """How long pauses within turns last: log-normal above `SHORTEST`.

    Attributes:
        mu, sigma: mean and standard deviation of the logarithm.
    """

    mu: float
    sigma: float

    @classmethod
    @cache
    def of(cls, median: float, p90: float) -> Holds:
        """From median and 90th percentile, in seconds."""
        mu = math.log(max(1e-3, median - SHORTEST))
        return cls(mu, max(1e-3, (math.log(max(1e-3, p90 - SHORTEST)) - mu) / _P90))

    def after(self, pauses: Pauses, weight: float) -> Holds:
        """What one expects after a caller's first pauses, if what is known beforehand is worth ``weight`` pauses.

        The mean of a normal distribution whose spread is known (conjugate), within bounds.
        """
        moved = (pauses.log - pauses.count * self.mu) / (weight + pauses.count)
        return Holds(self.mu + max(-_FARTHEST, min(_FARTHEST, moved)), self.sigma)

    def longer(self, seconds: float) -> float:
        """The share of the pauses that last longer."""
        if seconds <= SHORTEST:
            return 1.0
        return math.erfc((math.log(seconds - SHORTEST) - self.mu) / self.sigma / math.sqrt(2)) / 2

    def best_wait(self, probability: float, price: float) -> float:
        """How long to wait, from the beginning of the pause, at the least cost; `SHORTEST` when no wait is worth it.

        Args:
            probability: that the turn is over.
            price: seconds of waiting that one cutoff is worth.
        """
        # Where the derivative is zero, with u = log(t - SHORTEST): a quadratic equation; its greater root is the
        # minimum, if there is one.
        mu, variance = self.mu, self.sigma**2
        if price <= 0:
            return SHORTEST
        level = _log_odds(probability) - math.log(price) + math.log(self.sigma * math.sqrt(2 * math.pi))
        inside = variance**2 - 2 * variance * (mu + level)
        if inside <= 0:
            return SHORTEST
        more = math.exp(mu - variance + math.sqrt(inside))
        cut = (1 - probability) * price
        cost = probability * more + cut * self.longer(SHORTEST + more)
        return SHORTEST + more if cost < cut else SHORTEST
