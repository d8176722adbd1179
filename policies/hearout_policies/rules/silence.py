"""How long a silence must be, by the odds that the turn is over."""

from __future__ import annotations

from dataclasses import dataclass

from hearout_policies.odds import ANSWER_HOLDS, HOLDS, Holds
from hearout_policies.params import param
from hearout_policies.rules.base import NEVER, Verdict
from hearout_policies.view import TurnView

__all__ = ["Silence"]

_LIKELY = 0.4  # odds from which a text counts as finished


@dataclass(frozen=True, slots=True)
class Silence:
    """Holds a turn for as long as it pays, if one cutoff is worth ``price`` seconds of waiting.

    The hold follows from the odds that the turn is over, `TurnView.odds`, and from how long pauses last
    (`hearout_policies.odds`). It counts from the end of speech, and behind an unfinished text it is longer by the
    time that the VAD takes to tell that speech goes on (`TurnView.late`). ``patience`` lies behind the time by which a
    Finalize is answered or given up (1.4 s), so it decides only where nobody can be asked.
    """

    price: float = param(1.3, 0.0, 10_000.0, "of waiting that one cutoff is worth: more waits longer, cuts off less")
    median: float = param(HOLDS["median"], 0.21, 10.0, "of the pauses within turns, those of 0.2 s and longer")
    p90: float = param(HOLDS["p90"], 0.22, 60.0, "likewise, nine of ten are shorter")
    prior: float = param(
        10.0,
        0.0,
        1e6,
        "what is known beforehand counts as much as so many pauses of this caller; 1e6: only that counts",
        unit="pauses",
    )
    longest: float = param(3.0, 0.1, 30.0, "no hold is longer, whatever the odds")
    answer_median: float = param(ANSWER_HOLDS["median"], 0.21, 10.0, "of the pauses within an answer that has begun")
    answer_p90: float = param(ANSWER_HOLDS["p90"], 0.22, 60.0, "likewise, nine of ten are shorter")
    answer_longest: float = param(4.0, 0.1, 30.0, "no hold within an answer that has begun is longer")
    patience: float = param(1.6, 0.05, 60.0, "deadline when no other evidence comes")
    unheard: float = param(
        1.5,
        0.2,
        10.0,
        "without a VAD the deadline also counts from the last new word: one interim interval and its way",
    )
    unheard_hold: float = param(
        1.0, 0.0, 10.0, "without a VAD, longer hold of an unfinished text until the transcriber has heard that silence"
    )
    link_patience: float = param(
        2.5, 0.0, 10.0, "deadline while the transcriber cannot be reached: half an utterance is worse than a short wait"
    )

    @property
    def name(self) -> str:
        return "silence"

    def judge(self, turn: TurnView) -> Verdict:
        if turn.speech_end is None:
            return NEVER
        if turn.ended is not None:  # nobody can go on any more: only outstanding words are worth a wait
            return Verdict(deadline=turn.ended + self.link_patience)
        hold = self.hold(turn)
        if turn.odds < _LIKELY:  # else the time is worth more than what it would save
            hold += turn.late
        deadline = turn.speech_end + self.patience
        if not (turn.vad or turn.keyed):
            deadline = max(deadline, turn.last_words + self.unheard)
            if turn.odds < _LIKELY and turn.observed < hold:
                hold += self.unheard_hold
        if not turn.link:
            if not turn.words:  # nothing to tell yet; the words come when the link does
                return NEVER
            deadline = max(deadline, turn.speech_end + self.link_patience)
        return Verdict(deadline=max(deadline, turn.speech_end + hold), hold=turn.speech_end + hold)

    def hold(self, turn: TurnView) -> float:
        """Seconds from the end of speech."""
        if turn.answer is not None and not turn.answer.complete:
            within = Holds.of(self.answer_median, self.answer_p90)
            return min(self.answer_longest, within.best_wait(turn.odds, self.price))
        holds = Holds.of(self.median, self.p90)
        if turn.pauses.count:
            holds = holds.after(turn.pauses, self.prior)
        return min(self.longest, holds.best_wait(turn.odds, self.price))
