"""Every kind of signal in every state of the turn machine: the property tests' sequences reach all pairs."""

from __future__ import annotations

import itertools
import random
from collections import Counter

from hearout_policies import Policy, TurnMachine
from hearout_policies.signals import Transcript
from hearout_policies.testing import random_signals

STATES = ("idle", "voice", "voice with words", "words only", "silent", "asked", "settled")
LINKS = ("link", "no link")


def state(machine: TurnMachine) -> str:
    """What the machine is in the middle of."""
    turn = machine._turn
    if turn is None:
        return "idle"
    if turn.speaking:
        return "voice with words" if turn.words else "voice"
    if turn.voice is None:
        return "words only"
    request = turn.covering(machine._finalizes.last)
    if not turn.unfinalised(request):
        return "settled"
    return "asked" if request is not None and request.answered is None else "silent"


def kind(signal: object) -> str:
    name = type(signal).__name__
    if isinstance(signal, Transcript):
        words = "words" if signal.words else "empty"
        answer = "answer " if signal.finalized else "endpoint " if signal.endpoint else ""
        return f"{'final' if signal.is_final else 'interim'} {answer}{words}"
    return f"{name} {getattr(signal, 'kind', '')}".strip()


def missed(seen: Counter[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
    """What is possible, and was not reached; and what was though it is not possible."""
    pairs = set(itertools.product(STATES, LINKS, {kind for _, _, kind in seen}))
    # Without a link there is no Finalize to wait for, and no second loss; with one, none to be restored.
    impossible = {p for p in pairs if p[:2] == ("asked", "no link")}
    impossible |= {p for p in pairs if (p[1], p[2]) in {("no link", "LinkLost"), ("link", "LinkRestored")}}
    return (pairs - impossible) ^ set(seen)


def test_every_signal_in_every_state() -> None:
    seen: Counter[tuple[str, str, str]] = Counter()
    for seed in range(1500):
        machine = TurnMachine(Policy())
        for signal in random_signals(random.Random(seed), 80):
            before = state(machine), LINKS[not machine._finalizes.connected]
            seen[(*before, kind(signal))] += 1
            machine.handle(signal)
        if seed % 100 == 99 and not missed(seen):
            return
    raise AssertionError(sorted(missed(seen)))
