"""The provider heard an end of speech: Deepgram's ``speech_final``, Soniox's ``<end>``."""

from __future__ import annotations

from dataclasses import dataclass

from hearout_policies.params import param
from hearout_policies.rules.base import NEVER, Verdict
from hearout_policies.view import TurnView

__all__ = ["Endpointing"]


@dataclass(frozen=True, slots=True)
class Endpointing:
    """An endpoint that covers the newest word closes the turn.

    While the local VAD hears speech the endpoint is a candidate only: the provider took a short pause for the
    end. But a noisy line may hold the VAD open for ever, so it stands once the words have ceased to grow.
    """

    noise_after: float = param(
        2.5, 0.3, 10.0, "twice the interval of Deepgram's interim results: a user who went on would show by then"
    )

    @property
    def name(self) -> str:
        return "endpointing"

    def judge(self, turn: TurnView) -> Verdict:
        if turn.endpoint is None:
            return NEVER
        if turn.speaking:
            return Verdict(deadline=max(turn.endpoint, turn.last_sign) + self.noise_after)
        return Verdict(deadline=turn.endpoint)
