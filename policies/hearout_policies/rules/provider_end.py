"""The provider decides when a turn is over: Flux's EndOfTurn, Soniox's ``<end>``, Deepgram's ``speech_final``."""

from __future__ import annotations

from dataclasses import dataclass

from hearout_policies.params import param
from hearout_policies.rules.base import NEVER, Verdict
from hearout_policies.view import TurnView

__all__ = ["ProviderEnd"]


@dataclass(frozen=True, slots=True)
class ProviderEnd:
    """The provider's end is the end, at once: whatever the text, and whatever the local VAD hears, still or again.

    Without it a turn ends only when the provider should have spoken long ago: then what it owes is asked for, where
    the provider knows Finalize, and waited for.
    """

    silence: float = param(
        3.5, 0.5, 60.0, "the provider should have ended the turn by then; Soniox's <end> comes within 3 s at the latest"
    )
    patience: float = param(
        2.5, 0.1, 30.0, "for words still owed after that; together, more than the 5 s after which Flux ends any turn"
    )
    wordless: float = param(2.0, 0.2, 30.0, "of silence after a sound in which no word was found")

    @property
    def name(self) -> str:
        return "provider_end"

    def judge(self, turn: TurnView) -> Verdict:
        if turn.border is not None:
            return Verdict(deadline=turn.border, border=True)
        if turn.endpoint is not None:
            return Verdict(deadline=turn.endpoint)
        if not turn.link:
            return NEVER if turn.ended is None else Verdict(deadline=turn.ended + self.patience)
        quiet, request = self._quiet(turn), turn.request
        if not turn.unfinalised or (request and request.answered is not None):
            return Verdict(deadline=quiet)
        if request is None:
            return Verdict(deadline=quiet + self.patience, finalize=quiet)
        return Verdict(deadline=max(quiet, request.sent) + self.patience + request.backlog)

    def _quiet(self, turn: TurnView) -> float:
        """When the provider has been silent about this turn for too long."""
        if turn.ended is not None:
            return turn.ended
        # A voice in which no new words are found is taken for noise.
        since = turn.last_sign if turn.speaking or turn.speech_end is None else turn.speech_end
        return since + (self.silence if turn.words or turn.speaking else self.wordless)
