"""How long a silence must be, by how the text before it ends."""

from __future__ import annotations

from dataclasses import dataclass

from hearout_policies.rules.base import NEVER, Verdict, param
from hearout_policies.text import ENDING_ODDS, Ending
from hearout_policies.view import TurnView

__all__ = ["Silence", "Wait"]

_LIKELY = 0.4  # odds from which a text counts as finished


@dataclass(frozen=True, slots=True)
class Wait:
    """Two times, counted from the end of speech."""

    hold: float = param(0.6, 0.0, 30.0, "not before: other evidence counts from here on")
    deadline: float = param(1.6, 0.05, 60.0, "at the latest, when no other evidence comes")


@dataclass(frozen=True, slots=True)
class Silence:
    """Gives each class of text a hold and a deadline.

    The holds follow the odds of `hearout_policies.text.ENDING_ODDS`: where a pause is rarely the end it is held
    for about the 90th percentile of the pauses that follow such a text (0.5-1.8 s); where it often is, for about
    the median, which costs a cut-in now and then and makes all other turns quick. The deadlines lie behind the time
    by which a Finalize is answered or given up (1.4 s), so they decide only where nobody can be asked.
    """

    question: Wait = Wait(0.35, 1.5)
    stop: Wait = Wait(0.5, 1.5)
    plain: Wait = Wait(0.6, 1.6)
    conjunction: Wait = Wait(1.3, 2.4)
    filler: Wait = Wait(1.5, 2.6)
    function_word: Wait = Wait(1.2, 2.2)
    cut_off: Wait = Wait(1.1, 2.2)
    comma: Wait = Wait(1.1, 2.2)
    digits: Wait = Wait(1.2, 2.4)
    nothing: Wait = Wait(0.4, 2.0)
    scale: float = param(1.0, 0.1, 10.0, "multiplies all holds and deadlines", unit="")
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
        wait = self.of(turn.ending)
        hold = wait.hold * self.scale
        deadline = turn.speech_end + wait.deadline * self.scale
        if not turn.vad:
            deadline = max(deadline, turn.last_words + self.unheard)
            if ENDING_ODDS[turn.ending] < _LIKELY and turn.observed < hold:
                hold += self.unheard_hold
        if not turn.link:
            if not turn.words:  # nothing to tell yet; the words come when the link does
                return NEVER
            deadline = max(deadline, turn.speech_end + self.link_patience)
        return Verdict(deadline=max(deadline, turn.speech_end + hold), hold=turn.speech_end + hold)

    def of(self, ending: Ending) -> Wait:
        """The wait after a text that ends so."""
        wait: Wait = getattr(self, ending.value)
        return wait
