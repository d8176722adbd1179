"""What `benchmarks.endpointing` tries: each rule alone, the presets, and sweeps of what matters in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks.endpointing.evaluation import Candidate
from hearout_policies import Policy
from hearout_policies.policy import PRESETS
from hearout_policies.rules import Endpointing, FinalizeOnSilence, OnUtteranceEnd, Rule, Silence, Verdict
from hearout_policies.view import TurnView

__all__ = ["FAMILIES", "PRESET", "Flat", "families_of", "timer"]

PRESET = "presets"  # the family of the presets as they are; no curve

_TIMES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5)
_PRICES = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0)


def alone(*rules: Rule) -> Policy:
    """A policy of these rules and nothing else."""
    return Policy(name="+".join(rule.name for rule in rules), rules=rules)


@dataclass(frozen=True)
class Flat:
    """One hold and one deadline for all texts, from the end of speech, in seconds."""

    hold: float
    deadline: float
    name: str = "silence"

    def judge(self, turn: TurnView) -> Verdict:
        if turn.speech_end is None:
            return Verdict()
        return Verdict(deadline=turn.speech_end + self.deadline, hold=turn.speech_end + self.hold)


def timer(after: float) -> Policy:
    """Nothing but a timer that starts with the silence."""
    return alone(Flat(0.0, after))


def _timer() -> Iterator[Candidate]:
    for time in _TIMES:
        yield Candidate("timer", f"{time:g} s", timer(time))


def _endpointing() -> Iterator[Candidate]:
    for ms in (100, 200, 300, 500, 700, 1000, 1500, 2000):
        yield Candidate("endpointing", f"{ms} ms", alone(Endpointing()), ms, None)


def _utterance_end() -> Iterator[Candidate]:
    for ms in (1000, 1500, 2000, 3000):
        yield Candidate("utterance_end", f"{ms} ms", alone(OnUtteranceEnd()), 300, ms)


def _deepgram() -> Iterator[Candidate]:
    # What Deepgram's guide recommends: speech_final, or else UtteranceEnd.
    for ms in (100, 200, 300, 500, 700, 1000, 1500, 2000):
        yield Candidate("endpointing+utterance_end", f"{ms} ms", alone(Endpointing(), OnUtteranceEnd()), ms)


def _finalize() -> Iterator[Candidate]:
    for time in (0.0, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6):
        yield Candidate("finalize", f"{time:g} s", alone(FinalizeOnSilence(finalize_after=time)))


def _text() -> Iterator[Candidate]:
    for price in _PRICES[:8]:
        yield Candidate("silence", f"{price:g} s", alone(Silence(price=price, patience=0.0)))


def _presets() -> Iterator[Candidate]:
    for name, make in PRESETS.items():
        if make().rules:  # push_to_talk: nobody pushes here
            yield Candidate(PRESET, name, make())


def _set(name: str, key: str, values: Sequence[float]) -> Iterator[Candidate]:
    for value in values:
        yield Candidate(f"{name}: {key}", f"{value:g}", PRESETS[name]().replace({key: value}))


def _deaf() -> Iterator[Candidate]:
    # "balanced" with one hold for all texts: the difference to its own curve is what the text is worth.
    for hold in (0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0):
        policy = PRESETS["balanced"]()
        rules = tuple(Flat(hold, hold + 1.0) if isinstance(rule, Silence) else rule for rule in policy.rules)
        yield Candidate("balanced, deaf to text: hold", f"{hold:g} s", replace(policy, name="deaf", rules=rules))


def _balanced_endpointing() -> Iterator[Candidate]:
    for ms in (100, 300, 500, 1000):
        yield Candidate("balanced: endpointing", f"{ms} ms", PRESETS["balanced"](), ms)


def _families() -> dict[str, list[Candidate]]:
    candidates = [
        *(*_presets(), *_timer(), *_endpointing(), *_utterance_end(), *_deepgram(), *_finalize(), *_text()),
        *_set("balanced", "silence.price", _PRICES),
        *_set("balanced", "finalize_on_silence.finalize_after", (0.0, 0.2, 0.3, 0.5, 0.8)),
        *_set("balanced", "finalize_timeout", (0.3, 0.6, 1.2, 1.8)),
        *_deaf(),
        *_balanced_endpointing(),
    ]
    families: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        families.setdefault(candidate.family, []).append(candidate)
    return families


#: Candidates by family, in the order in which the report shows them.
FAMILIES = _families()


def families_of(policy: Policy, label: str) -> list[Candidate]:
    """A policy as it is, and its curve over ``silence.price`` if it has that."""
    found = [Candidate(PRESET, label, policy)]
    if any(rule.name == "silence" for rule in policy.rules):
        found += [
            Candidate(f"{label}: silence.price", f"{price:g}", policy.replace({"silence.price": price}))
            for price in _PRICES
        ]
    return found
