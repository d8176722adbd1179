"""From the turn to a decision: the view that rules judge, their verdicts, and what these come to.

That is ``max(min(deadlines), max(holds))``, under a cap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from hearout_policies.clock import Clock
from hearout_policies.events import Answer, Opinion, Timings, TurnCompleted
from hearout_policies.finalizes import Finalizes
from hearout_policies.odds import NO_PAUSES, Pauses
from hearout_policies.policy import Policy
from hearout_policies.rules import Verdict
from hearout_policies.turn import Turn
from hearout_policies.view import TurnView

__all__ = ["Decision", "Outlook", "combine", "completed", "decide", "forced_verdict", "view_of"]

_QUIET = 0.6  # so much audio without a word behind the newest one is silence (seconds)
_MOST_SUSPICION = 0.3  # seconds by which suspicions may put off one end: a line that chatters must not hold a turn


@dataclass(frozen=True, slots=True)
class Outlook:
    """What becomes of an open turn if nothing more happens. Session clock.

    Attributes:
        at: as of then.
        speaking: its user speaks; then it is the safety net that would end it.
        when: it is over then.
        reason: the rule that says so.
        odds, evidence, opinions, answer: as in `TurnCompleted`.
    """

    type: ClassVar[str] = "outlook"
    channel: int
    at: float
    speaking: bool
    when: float
    reason: str
    odds: float
    evidence: tuple[tuple[str, float], ...]
    opinions: tuple[Opinion, ...]
    answer: Answer | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to become of a turn if nothing more happens. Session clock.

    Attributes:
        when: it is over then.
        reason: the rule that says so.
        evident: the first rule would have ended it then; what lies between is hold.
        ask: the transcriber is to finalise then; infinite: no need.
        suspected: it shows by then whether a sound is speech.
        put_off: that sound puts the end off until ``when``.
        border: the turn ends where the provider saw its end.
        verdicts: what all this is made of, with the names of the rules.
        view: what they judged.
    """

    when: float
    reason: str
    evident: float
    ask: float
    suspected: float
    put_off: bool
    border: bool
    verdicts: Sequence[tuple[str, Verdict]]
    view: TurnView

    @property
    def opinions(self) -> tuple[Opinion, ...]:
        """The verdicts in the form in which an event tells them; and the suspicion that put off the end, if one did."""
        said = [Opinion(name, verdict.deadline, verdict.hold) for name, verdict in self.verdicts]
        if self.put_off:
            said.append(Opinion("suspicion", None, self.when))
        return tuple(said)

    def outlook(self, channel: int) -> Outlook:
        """It, for an application that shows what its user is waiting for."""
        view = self.view
        return Outlook(
            channel,
            view.now,
            view.speaking,
            self.when,
            self.reason,
            view.odds,
            view.evidence,
            self.opinions,
            view.answer,
        )


def view_of(
    turn: Turn,
    clock: Clock,
    finalizes: Finalizes,
    policy: Policy,
    ended: float | None,
    pauses: Pauses = NO_PAUSES,
    answer: Answer | None = None,
) -> TurnView:
    """What rules may know of ``turn`` now.

    Args:
        ended: when the audio did.
        pauses: of its user so far.
        answer: what its text is to what was asked.
    """
    words = turn.words
    ending = words.ending(policy.words)
    odds, evidence = policy.odds.weigh(ending, turn.sounds_over, answer)
    request = turn.covering(finalizes.last)
    voice = turn.voice if turn.speaking else None
    observed = 0.0 if words.newest_end is None else max(0.0, words.reach - words.newest_end)
    return TurnView(
        now=clock.now,
        opened=turn.told.started.at,
        speaking=turn.speaking,
        voice_at=voice.noticed if voice else None,
        paused=voice.paused if voice else None,
        vad=turn.voice is not None,
        late=turn.voice.late if turn.voice else 0.0,
        speech_end=turn.ended_at(clock),
        last_growth=words.grown_at,
        last_words=words.brought_at,
        last_result=words.final_at,
        text=words.text,
        words=len(words),
        pending=len(words.pending),
        keyed=bool(words.keys) and words.keyed,
        ending=ending,
        odds=odds,
        evidence=evidence,
        answer=answer,
        pauses=pauses,
        unfinalised=turn.unfinalised(request),
        quiet=clock.stalled or observed >= _QUIET,
        owed=turn.voice.owed(words.covered) if turn.voice else 0.0,
        observed=observed,
        endpoint=turn.said.endpoint_at(words, turn.voice),
        border=turn.said.border_at(words),
        utterance_end=turn.said.utterance_end_at(words, turn.voice),
        request=request,
        latest_request=finalizes.last,
        link=finalizes.connected,
        ended=ended,
        backlog=finalizes.backlog(clock),
        finalize_timeout=policy.finalize_timeout,
    )


def decide(
    view: TurnView,
    policy: Policy,
    *,
    forced: float | None,
    held: bool,
    hold: float = -math.inf,
    suspected: float,
) -> Decision:
    """Let all rules judge, and combine what they say.

    Args:
        forced: when the application said that it wants the end; that outranks holds and suspicions.
        held: the application holds the turn.
        hold: not before this either.
        suspected: what would be over before this may yet prove to go on.
    """
    cap = view.opened + policy.max_turn
    if not (held or view.speaking):
        cap = min(cap, max(view.last_growth, view.speech_end or view.opened) + policy.max_silence)
    if forced is not None:
        return combine(view, [("force_end", forced_verdict(view, forced))], cap)
    verdicts = [(rule.name, rule.judge(view)) for rule in policy.rules]
    return combine(view, verdicts, cap, held=held, hold=hold, suspected=suspected)


def combine(
    view: TurnView,
    verdicts: Sequence[tuple[str, Verdict]],
    cap: float,
    *,
    held: bool = False,
    hold: float = -math.inf,
    suspected: float = -math.inf,
) -> Decision:
    """Combine the verdicts of all rules.

    Args:
        view: what they judged.
        verdicts: with the names of their rules; of equal deadlines the first one counts.
        cap: the safety net: not later than this, whatever the rules say.
        held, hold, suspected: as for `decide`.
    """
    evident, ask, reason, border = math.inf, math.inf, "safety_net", False
    hold = math.inf if held else hold
    for name, verdict in verdicts:
        if verdict.deadline is not None and verdict.deadline < evident:
            evident, reason, border = verdict.deadline, name, verdict.border
        if verdict.hold is not None:
            hold = max(hold, verdict.hold)
        if verdict.finalize is not None:
            ask = min(ask, verdict.finalize)
    due = max(evident, hold)
    when = max(due, min(suspected, due + _MOST_SUSPICION))
    put_off = when > due
    if cap < when:
        when, reason, put_off, border = cap, "safety_net", False, False
    return Decision(when, reason, evident, ask, suspected, put_off, border, verdicts, view)


def forced_verdict(view: TurnView, forced: float) -> Verdict:
    """The application wants the end: only words under way are waited for.

    Args:
        forced: when it said so.
    """
    request = view.latest_request
    if not view.unfinalised:
        return Verdict(deadline=forced)
    if request is None:
        return Verdict(deadline=forced + view.finalize_timeout)
    if request.answered is not None and request.answered >= forced:
        return Verdict(deadline=request.answered)
    return Verdict(deadline=max(request.sent, forced) + view.finalize_timeout + request.backlog)


def completed(turn: Turn, decision: Decision, end: float, *, backchannel: bool = False) -> TurnCompleted:
    """The event that tells of the decision; speech ended at ``end``, audio time."""
    view, started, request = decision.view, turn.told.started, turn.request
    noticed = turn.voice.noticed if turn.voice else turn.words.grown_at
    return TurnCompleted(
        started.turn,
        started.channel,
        view.now,
        started.audio_start,
        max(end, started.audio_start),
        turn.words.text,
        tuple(turn.words.all),
        decision.reason,
        confirmed=turn.words.confirmed and not view.unanswered and (view.link or not view.unfinalised),
        timings=Timings(
            speech_end=view.speech_end,
            noticed=None if view.speech_end is None else noticed,
            finalize_sent=request.sent if request else None,
            answered=request.answered if request else None,
            decided=view.now,
        ),
        agent_speaking=started.agent_speaking,
        backchannel=backchannel,
        continues=started.continues,
        odds=view.odds,
        evidence=view.evidence,
        opinions=decision.opinions,
        answer=view.answer,
    )
