"""Policies on simulated conversations: `evaluate` gives the figures of one, and `evaluate_all` of many, in parallel.

Deterministic: the same policy, scenario, seed and number of turns give the same figures, on any number of processes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

from benchmarks.endpointing.conversations import TURNS, sample
from benchmarks.endpointing.scenarios import SCENARIOS, Scenario, Transcriber
from benchmarks.endpointing.scoring import Figures, Tally, score
from benchmarks.endpointing.simulated import converse
from hearout_policies import Policy

__all__ = ["Candidate", "evaluate", "evaluate_all"]


@dataclass(frozen=True)
class Candidate:
    """Something to try.

    Attributes:
        family: candidates that differ in one parameter make a curve.
        label: the value of that parameter.
        transcriber: options of the transcriber; None: the scenario's.
    """

    family: str
    label: str
    policy: Policy
    endpointing_ms: int | None = 300
    utterance_end_ms: int | None = 1000

    def transcriber(self, scenario: Scenario) -> Transcriber:
        return replace(scenario.transcriber, endpointing_ms=self.endpointing_ms, utterance_end_ms=self.utterance_end_ms)


def evaluate(
    policy: Policy,
    scenario: Scenario | str = "agent",
    *,
    turns: int = 200,
    seed: int = 1,
    transcriber: Transcriber | None = None,
) -> Figures:
    """The figures of one policy.

    Args:
        turns: rounded up to whole conversations of 20.
        transcriber: the transcriber's options; None: the scenario's.
    """
    if isinstance(scenario, str):
        scenario = SCENARIOS[scenario]
    tally = Tally()
    for number in range(math.ceil(turns / TURNS)):
        conversation = sample(scenario, seed, number)
        tally.merge(score(conversation, converse(conversation, policy, transcriber)))
    return Figures.of(tally)


def evaluate_all(
    candidates: Sequence[Candidate], scenario: Scenario, *, turns: int, seed: int, jobs: int = 1
) -> list[Figures]:
    """The figures of each, in order."""
    tasks = [(candidate, scenario, turns, seed) for candidate in candidates]
    if jobs == 1:
        return [_evaluate(task) for task in tasks]
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(_evaluate, tasks))


def _evaluate(task: tuple[Candidate, Scenario, int, int]) -> Figures:
    candidate, scenario, turns, seed = task
    return evaluate(candidate.policy, scenario, turns=turns, seed=seed, transcriber=candidate.transcriber(scenario))
