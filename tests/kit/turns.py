"""Signals in few words, and machines that are told them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from hearout_policies import Output, Policy, Silence, TurnCompleted, TurnMachine, TurnView
from hearout_policies.signals import SpeechStarted, SpeechStopped, Tick, Transcript, Word

T = TypeVar("T")


def said(text: str, start: float, end: float) -> tuple[Word, ...]:
    """The words of ``text``, evenly over the audio from ``start`` to ``end``."""
    parts = text.split()
    each = (end - start) / max(1, len(parts))
    return tuple(Word(w, start + i * each, start + (i + 1) * each) for i, w in enumerate(parts))


def interim(at: float, text: str, start: float, end: float) -> Transcript:
    return Transcript(at, said(text, start, end), start, end, is_final=False)


def final(
    at: float, text: str, start: float, end: float, *, upto: float | None = None, sf: bool = False, ff: bool = False
) -> Transcript:
    return Transcript(at, said(text, start, end), start, upto or end, True, endpoint=sf, finalized=ff)


def starts(at: float) -> SpeechStarted:
    return SpeechStarted(at, at - 0.1, at)


def stops(at: float) -> SpeechStopped:
    """Noticed at ``at``, 0.2 s after the end."""
    return SpeechStopped(at, at - 0.2, at)


@dataclass(frozen=True, slots=True)
class Steady(Silence):
    """Holds every text for the same time, in seconds."""

    seconds: float = 0.6

    def hold(self, turn: TurnView) -> float:
        return self.seconds


def steady(seconds: float = 0.6, ask: float = 0.1) -> Policy:
    """`balanced` with one hold for all; a Finalize goes out ``ask`` seconds into a silence."""
    rules = (Steady(seconds=seconds) if rule.name == "silence" else rule for rule in Policy().rules)
    return replace(Policy(), rules=tuple(rules)).replace({"finalize_on_silence.finalize_after": ask})


def run(*signals: Any, policy: Policy | None = None) -> list[Output]:
    """All outputs, with the ticks that the machine asks for, until nothing is due; every text is held for 0.6 s."""
    machine = TurnMachine(policy or steady())
    outputs = [output for signal in signals for output in machine.handle(signal)]
    while machine.deadline is not None:
        outputs += machine.handle(Tick(machine.deadline))
    return outputs


def of(kind: type[T], outputs: list[Output]) -> list[T]:
    return [output for output in outputs if isinstance(output, kind)]


def one(outputs: list[Output]) -> TurnCompleted:
    """The only turn completed."""
    completed = of(TurnCompleted, outputs)
    assert [c.text for c in completed] == [completed[0].text]
    return completed[0]
