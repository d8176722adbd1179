"""Say in words why a turn was completed when it was."""

from __future__ import annotations

from hearout.writing import printable
from hearout_policies.events import Opinion, TurnCompleted

__all__ = ["explain"]


def explain(event: TurnCompleted) -> str:
    """Which rule decided, what the others said, and where each millisecond after the end of speech went.

    Several lines of text.
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
    lines += [f"  {opinion.rule}: {_opinion(opinion)}" for opinion in event.opinions]
    return "\n".join(lines)


def _opinion(opinion: Opinion) -> str:
    said = []
    if opinion.hold is not None:
        said.append(f"not before {opinion.hold:.3f} s")
    if opinion.deadline is not None:
        said.append(f"from {opinion.deadline:.3f} s on")
    return ", ".join(said) or "nothing"


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
