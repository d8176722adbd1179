"""What one change would have helped most: another price, a question that is declared, another language, another VAD.

Every change is tried on the same turns, a sample of the traces, and chosen on two thirds of them; what is said of it
comes from the last third, which the choice has not seen. Cheapest counts: seconds of waiting an end, plus the price
of a cut-in for each turn handed on too early, at the price of the policy that decided.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hearout.errors import UsageError
from hearout.report.commits import begin_of, kept, predicted, text_between
from hearout.report.judge import cut, in_language_of, price_of
from hearout.report.paired import grew_at_least
from hearout.report.parts import parts
from hearout.report.sums import STEP, Sums
from hearout.report.survey import Options, Skipped, in_processes, read
from hearout.traces.reader import parse_trace
from hearout.traces.records import Trace
from hearout.traces.replayer import recorded_policy, replay
from hearout.tune.episodes import Episode
from hearout.tune.few import FEWEST
from hearout.tune.figures import Interval
from hearout.tune.search import PRICE
from hearout_policies import signals
from hearout_policies.expect import Digits
from hearout_policies.language import NONE, language, languages
from hearout_policies.marks import bare, pieces
from hearout_policies.policy import Policy

__all__ = ["Change", "Learned", "Point", "learn"]

_SAMPLE = 200  # traces, evenly from all: more do not make the figures much surer, and each takes a second
_PRICES = 9  # from a sixteenth of the policy's to sixteen times it
_REACH = 16.0
_HELD_OUT = 1 / 3
_HANGOVER = 0.2  # seconds after the end of speech at which a good VAD notices it (`hearout.vad.gate`)
_NOISE = 0.4  # seconds behind the last word; a VAD that hears a voice for longer hears something else
_SHORT = 3  # digits; fewer are as often a number of pieces
_WORDS = 30  # words of a trace by which its language is told
_CLEARLY = 2.0  # times as many words of another language's lists as of the one in use


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that could have been otherwise.

    Attributes:
        kind: ``price``, ``question``, ``language`` or ``vad``; empty: nothing changed.
        value: the price, or the code of the language.
    """

    kind: str = ""
    value: float | str = ""

    def __str__(self) -> str:
        match self.kind:
            case "price":
                return f"--set {PRICE}={self.value:g}"
            case "language":
                return f"--set language={self.value}"
            case "question":
                return "declare the questions for numbers: session.expect(Digits(...))"
            case "vad":
                return "a voice detection that noise does not hold open: vad=silero_gate"
            case _:
                return "nothing"


@dataclass(frozen=True, slots=True)
class Point:
    """A price, and what it would have given on all of the sample."""

    price: float
    sums: Sums


@dataclass(frozen=True)
class Learned:
    """What the sample teaches.

    Attributes:
        calls: in the sample; ``held_out`` of them.
        as_is: of all of the sample, without a change. Replayed, each turn by itself, and so not quite what happened.
        curve: by price.
        change: the cheapest where it was searched; None: none could be tried, or there are too few ends.
        better: it was cheaper there than no change.
        before, after: without and with it, on the traces held out.
        between: 95 % interval of what it saves there (`hearout.report.paired`); nan: of one call nobody knows.
        price: of a cut-in, by which it was chosen.
        tried: how many changes.
        ends: that the choice had.
    """

    calls: int
    held_out: int
    as_is: Sums
    curve: tuple[Point, ...]
    change: Change | None
    better: bool
    before: Sums
    after: Sums
    between: Interval
    price: float
    tried: int
    ends: int

    @property
    def saved(self) -> float:
        """Seconds an end, at that price, on the traces held out; below 0: it would have cost."""
        return self.before.cost(self.price) - self.after.cost(self.price)

    @property
    def helps(self) -> bool:
        """The change was better than none where it was chosen, and where it was not: by what is more than rounding."""
        return self.better and self.saved >= STEP / 2

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "calls": self.calls,
            "held_out": self.held_out,
            "as_is": self.as_is.as_dict(),
            "curve": [{"price": point.price, **point.sums.as_dict()} for point in self.curve],
            "change": None
            if self.change is None
            else {
                "kind": self.change.kind,
                "value": self.change.value,
                "how": str(self.change),
                "before": self.before.as_dict(),
                "after": self.after.as_dict(),
                "price": self.price,
                "helps": self.helps,
                "saved": self.saved,
                "between": self.between,
                "tried": self.tried,
            },
        }


@dataclass(frozen=True, slots=True)
class _Options(Options):
    prices: tuple[float, ...] = field(default=())


def learn(
    names: Sequence[str],
    options: Options,
    *,
    jobs: int = 1,
    seed: int = 0,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Learned | None:
    """Try changes on a sample of the traces; None: nothing can be said of any of them.

    Raises:
        UsageError: joblib is missing.
    """
    sample = names[:: math.ceil(len(names) / _SAMPLE)] if names else names
    own = price_of(options.policy or _recorded_under(sample, options))
    prices = tuple(float(f"{own * factor:.3g}") for factor in np.geomspace(1 / _REACH, _REACH, _PRICES))
    tried = _Options(options.policy, options.channel, options.transcriber, prices)
    found = []
    for number, one in enumerate(in_processes(_try_all, sample, tried, jobs), 1):
        if not isinstance(one, Skipped):
            found.append(one)
        progress(number, len(sample))
    if not found:
        return None
    picks = np.random.default_rng([seed, 1]).permutation(len(found))[: round(_HELD_OUT * len(found))]
    out = sorted(int(pick) for pick in picks)
    seen = _added([one for number, one in enumerate(found) if number not in out])
    unseen = _added([found[number] for number in out])
    everything = _added(found)
    nothing = Change()
    as_is = Change("price", prices[_PRICES // 2])
    real = [c for c in seen if c != nothing and not (c == as_is and everything[c] == everything[nothing])]
    # Of prices that cost the same the nearest to what is there.
    cheapest = min(real, key=lambda change: (seen[change].cost(own), _far(change, own)), default=nothing)
    ends = seen[nothing].delays.count
    enough = bool(real) and ends >= FEWEST and bool(out) and unseen[nothing].delays.count > 0
    return Learned(
        calls=len(found),
        held_out=len(out),
        as_is=everything[nothing],
        curve=tuple(Point(price, everything[to]) for price in prices if (to := Change("price", price)) in everything),
        change=cheapest if enough else None,
        better=enough and seen[cheapest].cost(own) < seen[nothing].cost(own),
        before=unseen.get(nothing, Sums()),
        after=unseen.get(cheapest, Sums()),
        between=_saved_between([found[number] for number in out], cheapest, own) if enough else (math.nan, math.nan),
        price=own,
        tried=len(real),
        ends=ends,
    )


def _far(change: Change, own: float) -> float:
    """How far a price is from ``own``, as a factor's logarithm."""
    return abs(math.log(change.value / own)) if isinstance(change.value, float) else 0.0


def _recorded_under(names: Sequence[str], options: Options) -> Policy:
    """The policy of the first trace that can be read: the others may have others, and one price judges all."""
    for name in names:
        _, text = read(name)
        with suppress(UsageError):
            if isinstance(text, str):
                return recorded_policy(parse_trace([text.partition("\n")[0]], name, options.transcriber))
    return Policy()


_Found = dict[Change, Sums]


def _added(found: Sequence[_Found]) -> _Found:
    """Where a change was not tried on a trace, nothing changed there."""
    out = {change: Sums() for change in dict.fromkeys(change for one in found for change in one)}
    for one in found:
        for change, sums in out.items():
            sums.add_call(one.get(change, one[Change()]))
    return out


def _saved_between(found: Sequence[_Found], change: Change, price: float) -> Interval:
    before, after = [
        np.array([[_total(one.get(to, one[Change()]), price), one[Change()].delays.count] for one in found])
        for to in (Change(), change)
    ]
    return grew_at_least(after, before, 0.975), -grew_at_least(before, after, 0.975)


def _total(sums: Sums, price: float) -> float:
    return sums.cost(price) * sums.delays.count if sums.delays.count else 0.0


def _try_all(trace: Trace, options: _Options) -> _Found:
    """Every change that applies to a trace, and none."""
    turns = cut(trace, replay(trace), options.channel)
    policy = in_language_of(options.policy or recorded_policy(trace), trace)
    out = {Change(): _outcome(turns, policy)}
    for price in options.prices:
        if any(parameter.key == PRICE for parameter in policy.parameters()):
            out[Change("price", price)] = _outcome(turns, policy.replace({PRICE: price}))
    if (spoken := _other_language(turns, policy)) is not None:
        out[Change("language", spoken)] = _outcome(turns, policy.replace({"language": spoken}))
    if (asked := _with_questions(turns, policy)) != turns:
        out[Change("question")] = _outcome(asked, policy)
    if trace.header.vad and (quiet := [_without_noise(turn) for turn in turns]) != turns:
        out[Change("vad")] = _outcome(quiet, policy)
    return out


def _outcome(turns: Sequence[Episode], policy: Policy) -> Sums:
    sums = Sums()
    for channel in sorted({turn.channel for turn in turns}):
        mine = [turn for turn in turns if turn.channel == channel]
        for part in parts(mine, kept(mine, [predicted(turn, policy) for turn in mine]), policy.is_backchannel):
            sums.add(part)
    return sums


def _other_language(turns: Sequence[Episode], policy: Policy) -> str | None:
    """The language whose words are said, where that is clearly not the one in use."""
    said = Counter(bare(piece) for turn in turns for word in turn.words for piece in pieces(word.text))
    if said.total() < _WORDS:
        return None
    counts = {}
    for code in languages():
        if code != NONE:
            lists = language(code)
            counts[code] = sum(said[word] for word in lists.function_words | lists.conjunctions)
    most = max(counts, key=lambda code: (counts[code], code))
    used = policy.words.base if policy.words.base in counts else policy.words.name
    if most == used or counts[most] < _CLEARLY * max(1, counts.get(used, 0)):
        return None
    return most


def _with_questions(turns: Sequence[Episode], policy: Policy) -> list[Episode]:
    """Turns that are numbers get the question for one of just that length, if there was none."""
    return [_asked(turn, policy) for turn in turns]


def _asked(turn: Episode, policy: Policy) -> Episode:
    if any(isinstance(one, (signals.Asked, signals.AgentSaid)) for one in turn.signals):
        return turn
    text = text_between(turn, -math.inf, math.inf)
    reading = Digits(_SHORT, 30).read(text, policy.words.base)
    if reading.state != "complete" or reading.value is None:
        return turn
    asked = signals.Asked(begin_of(turn) - _HANGOVER, (Digits(len(reading.value)),))
    at = next((n for n, one in enumerate(turn.signals) if one.at > asked.at), len(turn.signals))
    return replace(turn, signals=(*turn.signals[:at], asked, *turn.signals[at:]))


def _without_noise(turn: Episode) -> Episode:
    """Where the VAD went on for long behind the last word: as if it had noticed the end of speech in time."""
    starts = [pause.start for pause in turn.pauses]
    out = list(turn.signals)
    for number, one in enumerate(out):
        if not isinstance(one, signals.SpeechStopped):
            continue
        audio = one.audio + turn.offset
        before = max((start for start in starts if start <= audio), default=math.inf)
        if audio - before > _NOISE:
            at = min(one.at, before + _HANGOVER)
            out[number] = signals.SpeechStopped(at, before - turn.offset, one.heard - (one.at - at))
    return turn if out == list(turn.signals) else replace(turn, signals=tuple(sorted(out, key=lambda one: one.at)))
