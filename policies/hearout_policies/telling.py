"""How the machine tells of a turn: its larger events, made of the turn and what was decided about it."""

from __future__ import annotations

from collections.abc import Sequence

from hearout_policies.bargein import is_backchannel
from hearout_policies.decision import Decision, opinions
from hearout_policies.events import Timings, TurnCompleted, TurnUpdated
from hearout_policies.policy import Policy
from hearout_policies.rules import Verdict
from hearout_policies.turn import Turn, TurnView

__all__ = ["completed", "updated"]


def updated(turn: Turn, policy: Policy, channel: int, now: float, audio: float) -> TurnUpdated:
    """What is known of the turn at ``now``, ``audio`` in audio time."""
    text = turn.words.text
    return TurnUpdated(
        turn.number,
        channel,
        now,
        text,
        turn.interrupts,
        agent_speaking=turn.agent_speaking,
        backchannel=turn.agent_speaking and is_backchannel(text, policy),
        speech=turn.speech(audio),
    )


def completed(
    turn: Turn,
    view: TurnView,
    decision: Decision,
    verdicts: Sequence[tuple[str, Verdict]],
    policy: Policy,
    channel: int,
    now: float,
    end: float,
    *,
    link: bool,
) -> TurnCompleted:
    """The turn is over; its speech ended at ``end``, audio time. ``link``: the transcriber is there."""
    request = turn.finalize
    text = turn.words.text
    return TurnCompleted(
        turn.number,
        channel,
        now,
        turn.audio_start,
        max(end, turn.audio_start),
        text,
        tuple(turn.words.all),
        decision.reason,
        confirmed=turn.words.confirmed and not view.unanswered and (link or not view.unfinalised),
        timings=Timings(
            speech_end=view.speech_end,
            noticed=turn.noticed,
            finalize_sent=request.sent if request else None,
            answered=request.answered if request else None,
            decided=now,
        ),
        agent_speaking=turn.agent_speaking,
        backchannel=turn.agent_speaking and is_backchannel(text, policy),
        continues=turn.continues,
        opinions=opinions(verdicts, decision),
    )
