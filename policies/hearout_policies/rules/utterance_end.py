"""The provider saw a gap between words: Deepgram's ``UtteranceEnd``."""

from __future__ import annotations

from dataclasses import dataclass

from hearout_policies.params import param
from hearout_policies.rules.base import NEVER, Verdict
from hearout_policies.view import TurnView

__all__ = ["OnUtteranceEnd"]


@dataclass(frozen=True, slots=True)
class OnUtteranceEnd:
    """An utterance end that reaches the newest word closes the turn.

    It measures gaps between words, not silence: a drawn-out "uhm" is such a gap. So while the local VAD hears
    speech it is a candidate only, until the words have ceased to grow.
    """

    noise_after: float = param(
        1.5, 0.2, 10.0, "one interval of interim results, and their way: a user who went on would show by then"
    )

    @property
    def name(self) -> str:
        return "utterance_end"

    def judge(self, turn: TurnView) -> Verdict:
        if turn.utterance_end is None:
            return NEVER
        if turn.speaking:
            return Verdict(deadline=max(turn.utterance_end, turn.last_sign) + self.noise_after)
        return Verdict(deadline=turn.utterance_end)
