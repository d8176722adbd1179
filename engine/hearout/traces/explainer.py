"""Say in words why a turn was completed when it was."""

from __future__ import annotations

import math

from hearout.writing import printable
from hearout_policies.events import Opinion, TurnCompleted
from hearout_policies.policy import Policy
from hearout_policies.rules import Silence

__all__ = ["explain"]

# The classes of `hearout_policies.text.Ending`, as on the page (turns.js).
_ENDINGS = {
    "nothing": "no words yet",
    "question": "ends like a question",
    "stop": "ends like a full stop",
    "plain": "ends in a plain word",
    "conjunction": "ends in a conjunction",
    "filler": "ends in a filler",
    "function_word": "ends in a function word",
    "cut_off": "ends cut off",
    "comma": "ends in a comma",
    "digits": "ends in digits",
}


def explain(event: TurnCompleted, policy: Policy | None = None) -> str:
    """Which rule decided, which one put that off, and where each millisecond after the end of speech went.

    Several lines of text; what the other rules said is in ``event.opinions``. ``policy`` is the one that decided, for
    the price of its hold.
    """
    timings = event.timings
    steps = [
        (timings.speech_end, "the user ceased to speak"),
        (timings.noticed, "that was noticed"),
        (timings.finalize_sent, "Finalize sent"),
        (timings.answered, "Finalize answered"),
        (timings.decided, f"turn completed by {event.reason}"),
    ]
    # Finalize may go out before the silence is noticed, so the order is that of the clock, not of the list.
    known = sorted(((at, what) for at, what in steps if at is not None), key=lambda step: step[0])
    lines = [
        f'turn {event.turn}, channel {event.channel}: "{printable(event.text)}"',
        f"  spoken from {event.audio_start:.3f} to {event.audio_end:.3f} s of audio{_remarks(event)}",
    ]
    previous = known[0][0]
    for at, what in known:
        lines.append(f"  {at:9.3f} s  {_milliseconds(at - previous):>9}  {what}")
        previous = at
    if timings.latency is not None:
        lines.append(f"  {'':9}    {_milliseconds(timings.latency):>9}  in all, after the end of speech")
    if event.evidence:
        lines.append(f"  {_odds(event)}")
    price = next((rule.price for rule in policy.rules if isinstance(rule, Silence)), None) if policy else None
    for opinion in _acted(event):
        said = f"  {opinion.rule}: {_opinion(opinion)}"
        if opinion.rule == Silence().name and price is not None and opinion.hold and timings.speech_end is not None:
            said += f": {opinion.hold - timings.speech_end:.2f} s at a price of {price:g} s a cutoff"
        lines.append(said)
    return "\n".join(lines)


def _acted(event: TurnCompleted) -> list[Opinion]:
    """Of the rule that decided, of the one with the last hold if that put a deadline off, and the suspicion."""
    first = min((o.deadline for o in event.opinions if o.deadline is not None), default=math.inf)
    holds = [o for o in event.opinions if o.rule != "suspicion" and o.hold is not None and o.hold > first]
    last = max(holds, key=lambda o: o.hold or 0.0, default=None)
    return [o for o in event.opinions if o is last or o.rule in (event.reason, "suspicion")]


def _odds(event: TurnCompleted) -> str:
    """Each source, and what all come to."""
    (ending, text), *others = event.evidence
    like, words = _ENDINGS[ending], event.text.split()
    if words and ending != "nothing":
        like += f" ('{printable(words[-1])}')"
    said = [f"{like}: odds {text:.2f}", *(f"the {source}: {odds:.2f}" for source, odds in others)]
    return "; ".join([*said, f"together {event.odds:.2f}"] if others else said)


def _opinion(opinion: Opinion) -> str:
    said = []
    if opinion.hold is not None:
        said.append(f"not before {opinion.hold:.3f} s")
    if opinion.deadline is not None:
        said.append(f"from {opinion.deadline:.3f} s on")
    return ", ".join(said)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:+.0f} ms"


def _remarks(event: TurnCompleted) -> str:
    remarks = []
    if not event.confirmed:
        remarks.append("not confirmed: the transcriber did not finalise all of it")
    if event.continues is not None:
        remarks.append(f"goes on from turn {event.continues}")
    if event.agent_speaking:
        remarks.append("while the agent spoke" + (", a backchannel" if event.backchannel else ""))
    return "".join(f"; {remark}" for remark in remarks)
