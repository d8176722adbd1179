"""Ask the transcriber for what it still owes, as soon as the user is silent."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hearout_policies.finalizes import Request
from hearout_policies.params import param
from hearout_policies.rules.base import NEVER, Verdict
from hearout_policies.view import TurnView

__all__ = ["FinalizeOnSilence"]

_EARLY = 0.1  # seconds: so long is what the local VAD notices as a pause (`hearout.vad`)


@dataclass(frozen=True, slots=True)
class FinalizeOnSilence:
    """Finalize early in a silence, and close the turn when nothing is owed any more.

    The round trip runs inside the silence that the policy waits for anyway, so it costs no latency. Until the
    answer comes the turn is held: its last words may still be on their way.
    """

    finalize_after: float = param(
        0.1, 0.0, 3.0, "into the silence; up to 0.1: in each pause of the voice, before the VAD calls it a silence"
    )
    quiet_timeout: float = param(
        0.6, 0.1, 10.0, "when all known words are final: Deepgram need not answer if there was hardly any audio"
    )
    short_sound: float = param(
        0.6, 0.0, 10.0, "of voice without a word: no more than this may be a breath or a click, more owes words"
    )
    short_timeout: float = param(
        0.9,
        0.1,
        10.0,
        "for the words of so short a sound: answers over a slow network (2 x 0.15 s, stalls) take so long",
    )
    words_quiet: float = param(
        1.2, 0.2, 10.0, "without a VAD, words that have not grown for this long mean silence; interims come every 1 s"
    )
    noise_quiet: float = param(
        3.0, 0.5, 30.0, "the VAD hears speech but words have not grown for this long: it hears noise"
    )
    noise_observed: float = param(
        2.0, 0.5, 30.0, "likewise, the transcriber has worked through so much of that speech and found no word in it"
    )
    noise_wordless: float = param(10.0, 1.0, 60.0, "likewise, when there have been no words at all")

    @property
    def name(self) -> str:
        return "finalize_on_silence"

    def judge(self, turn: TurnView) -> Verdict:
        request = turn.request
        if not turn.unfinalised:
            # Without a VAD it takes an answer to know that nothing is owed; other evidence has rules of its own.
            if turn.keyed:
                return Verdict(deadline=turn.last_growth)
            return Verdict(deadline=turn.last_result) if turn.vad or request else NEVER
        if request is None:
            return self._ask(turn)
        if request.answered is None:
            due = self._due(turn, request) + request.backlog
            return Verdict(deadline=max(due, self._silence(turn)), hold=due)
        if request.short:
            # The answer stops before the speech does: the transcriber cut its segment early, the rest is to come.
            due = request.answered + self.quiet_timeout
            return Verdict(deadline=due, hold=due)
        if turn.pending and turn.last_growth > request.answered:
            # Words after the answer to the Finalize that should have brought them: their final is on its way.
            due = turn.last_growth + turn.finalize_timeout
            return Verdict(deadline=due, hold=due)
        return Verdict(deadline=max(request.answered, self._silence(turn)))

    def _due(self, turn: TurnView, request: Request) -> float:
        """When the answer should have come."""
        if turn.pending or not turn.words or turn.owed > self.short_sound:
            return request.sent + turn.finalize_timeout
        # The final of a segment that was under way makes the known words final, but is no answer: it may be one yet.
        return max(request.sent, turn.last_words) + (self.short_timeout if turn.vad else self.quiet_timeout)

    def _silence(self, turn: TurnView) -> float:
        """When the words that do not come tell that nobody speaks, where the VAD does not tell, or cannot be true."""
        if turn.speaking:
            if not turn.words:
                return turn.opened + self.noise_wordless
            if turn.observed >= self.noise_observed:
                return turn.opened if turn.voice_at is None else turn.voice_at + self.noise_observed
            return turn.last_sign + self.noise_quiet + turn.backlog
        return turn.opened if turn.vad or turn.quiet else turn.last_words + self.words_quiet

    def _ask(self, turn: TurnView) -> Verdict:
        if not turn.link:
            return NEVER
        if turn.speaking:
            if turn.endpoint is not None or (turn.utterance_end is not None and not turn.pending):
                return NEVER
            if turn.utterance_end is not None:
                return Verdict(finalize=turn.last_sign + self.words_quiet)
            asked = turn.latest_request.sent if turn.latest_request else -math.inf
            if turn.paused is not None and turn.paused > asked and self.finalize_after <= _EARLY:
                return Verdict(finalize=turn.paused)
            return Verdict(finalize=self._silence(turn))
        assert turn.speech_end is not None
        ask = max(turn.speech_end + self.finalize_after, self._silence(turn))
        if turn.ended is not None:
            ask = turn.now
        return Verdict(finalize=ask, hold=max(ask, turn.now) + turn.finalize_timeout)
