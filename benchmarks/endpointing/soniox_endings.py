"""Which way of ending turns to choose with Soniox: ``python -m benchmarks.endpointing.soniox_endings [--turns N]``.

Soniox's endpoint detection (``<end>``) alone, finalize on local silence alone, or both: on the same simulated
conversations, in virtual time. Soniox is simulated: its messages are real ones, which the real dialect decodes and the
real turn machine handles; when they come is drawn from what is published, and assumed where nothing is. So the table
compares the modes under these assumptions, and is no measurement of the live service.
"""

from __future__ import annotations

import argparse
import math
import sys
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any, cast

from benchmarks.endpointing.conversations import TURNS, Conversation, sample
from benchmarks.endpointing.scenarios import SCENARIOS, LogNormal, Network
from benchmarks.endpointing.scoring import Figures, Tally, score
from benchmarks.endpointing.simulated import Said, _Run, chance_of
from hearout import Soniox
from hearout.channels import asking_after
from hearout_policies import Policy, TurnMachine, preset

__all__ = ["MODES", "Mode", "SimulatedSoniox", "evaluate", "main"]

# From finalize to its answer over the network: median 0.260 s, p95 0.305; pipecat's stt-benchmark, Soniox v5.
_FINALISE = LogNormal(math.log(0.260), 0.097)
_FRAME_EVERY = 0.2  # seconds of audio between frames (assumed; vendor examples show some a second)
_FRAME_TAKES = 0.1  # seconds from audio to the frame about it (assumed)
_SETTLES = 1.5  # seconds behind a word after which it becomes final by itself (assumed)
# Share of the true ends that Soniox takes for ends: eot-bench, 400 turns.
_FOUND = 0.865
# Share of the holds that it takes for ends if they last until its <end>. In eot-bench 5 % of the holds are cut with a
# timeout of 2.5 s behind it, which 2.6 % of the pauses outlast: <end> cuts the other 2.4 %, and 15 % last 0.8 s.
_MISTAKEN = 0.16
# Seconds from the end of speech until such an <end> arrives: 0.61 to 0.90 on telephone calls, "about 1.2" with the
# defaults (both third-party reports).
_SOONEST, _LATEST = 0.6, 1.2
_CAP = 2.0  # max_endpoint_delay_ms by default: it comes then whatever was said


@dataclass(frozen=True)
class Mode:
    """A way to end turns: the policy, and whether Soniox sends ``<end>``."""

    name: str
    policy: Policy
    endpoints: bool


MODES = (
    Mode("endpoint detection only", preset("provider"), True),
    Mode("finalize only", preset("fast"), False),
    Mode("finalize only", preset("balanced"), False),
    Mode("finalize only", preset("patient"), False),
    Mode("both", preset("balanced"), True),
)


class SimulatedSoniox:
    """One connection to Soniox, as `.simulated.SimulatedTranscriber` is one to Deepgram: pure, told of audio."""

    def __init__(self, conversation: Conversation, *, endpoints: bool) -> None:
        self._chance = chance_of(conversation.key, conversation.length)
        self._words = [word for word in conversation.words if word.text]
        self._ends = [word.end for word in self._words]
        true_ends = {turn.end for turn in conversation.turns}
        # Where speech ceases, when its <end> is due by then, and where speech goes on.
        nexts = [start for start, _ in conversation.voiced[1:]] + [math.inf]
        self._silences = [
            (end, end + self._delay(end, _FOUND if end in true_ends else _MISTAKEN), following)
            for (_, end), following in zip(conversation.voiced, nexts, strict=True)
        ]
        if not endpoints:
            self._silences = []
        self._final = 0  # words told as final
        self._ended = 0  # ... when the last <end> was sent
        self._covered = 0.0  # audio time up to which everything is final
        self._told = 0.0  # audio time of the last frame

    def _delay(self, end: float, share: float) -> float:
        """Seconds of silence before ``<end>``; the way there and back is not in it."""
        if not self._chance.happens("believed", share, end):
            return _CAP
        place = math.erfc(-self._chance.normal("delay", end) / math.sqrt(2)) / 2
        return _SOONEST + (_LATEST - _SOONEST) * place - 2 * Network().base - _FRAME_TAKES

    def hear(self, until: float) -> list[Said]:
        """The audio up to ``until`` has come."""
        known = bisect_right(self._ends, until)
        while self._silences and self._silences[0][1] <= until:
            _, due, following = self._silences.pop(0)
            if following > due and known > self._ended:
                self._ended = known
                return [(_FRAME_TAKES, self._frame(until, known, known, "<end>"))]
        if until - self._told < _FRAME_EVERY - 1e-6:
            return []
        settled = bisect_right(self._ends, until - _SETTLES)
        return [(_FRAME_TAKES, self._frame(until, known, max(settled, self._final)))]

    def finalize(self, until: float) -> list[Said]:
        """A finalize came behind the audio up to ``until``."""
        known = bisect_right(self._ends, until)
        takes = self._chance.draw("final", _FINALISE, until) - 2 * Network().base
        return [(max(0.02, takes), self._frame(until, known, known, "<fin>"))]

    def _frame(self, until: float, known: int, final: int, marker: str = "") -> dict[str, Any]:
        tokens: list[dict[str, Any]] = []
        for index in range(self._final, known):
            word = self._words[index]
            times = {"start_ms": round(word.start * 1000), "end_ms": round(min(word.end, until) * 1000)}
            tokens.append({"text": f" {word.text}", **times, "is_final": index < final})
        if marker:
            tokens.append({"text": marker, "is_final": True})
        self._final, self._told = final, until
        silent = until if marker else until - _SETTLES
        self._covered = max(self._covered, self._ends[final - 1] if final else 0.0, silent if final == known else 0.0)
        progress = {"final_audio_proc_ms": round(self._covered * 1000), "total_audio_proc_ms": round(until * 1000)}
        return {"tokens": tokens, **progress}


def evaluate(mode: Mode, scenario: str, *, turns: int, seed: int) -> Figures:
    """The figures of one mode; ``turns`` is rounded up to whole conversations."""
    tally = Tally()
    for number in range(math.ceil(turns / TURNS)):
        conversation = sample(SCENARIOS[scenario], seed, number)
        transcriber = SimulatedSoniox(conversation, endpoints=mode.endpoints)
        run = _Run(
            conversation,
            TurnMachine(asking_after(mode.policy, Soniox.finalize_after)),
            cast(Any, transcriber),
            None,
            cast(Any, Soniox("simulated")),
        )
        tally.merge(score(conversation, run.run()))
    return Figures.of(tally)


def main() -> int:
    parser = argparse.ArgumentParser(prog="soniox_endings", description=__doc__.partition("\n")[0])
    parser.add_argument("--turns", type=int, default=600, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    args = parser.parse_args()
    if args.turns < 1:
        parser.error(f"--turns {args.turns}: give 1 or more")
    print(f"seed {args.seed}; latency from the true end of the last word; in brackets 95 % intervals\n")
    print("| scenario | ending mode | policy | latency p50 | p90 | cutoffs per hold | turns cut off | missed |")
    print("|---|---|---|---|---|---|---|---|")
    for scenario in ("agent", "hesitant", "noisy line"):
        for mode in MODES:
            f = evaluate(mode, scenario, turns=args.turns, seed=args.seed)
            print(
                f"| {scenario} | {mode.name} | {mode.policy.name} | {_times(f.p50, f.p50_interval)} "
                f"| {_times(f.p90, f.p90_interval)} | {_share(f.per_hold, f.per_hold_interval)} "
                f"| {_share(f.per_turn, f.per_turn_interval)} | {100 * f.missed:.1f} % |"
            )
        print(f"{scenario}: {f.turns} turns, {f.holds} holds", file=sys.stderr)
    return 0


def _times(value: float, between: tuple[float, float]) -> str:
    return f"{value:.2f} s ({between[0]:.2f}-{between[1]:.2f})"


def _share(value: float, between: tuple[float, float]) -> str:
    return f"{100 * value:.1f} % ({100 * between[0]:.1f}-{100 * between[1]:.1f})"


if __name__ == "__main__":
    sys.exit(main())
