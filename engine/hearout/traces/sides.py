"""A recording of two channels, the caller and the agent, as a trace of the caller to whom an agent speaks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hearout.errors import UsageError
from hearout.traces.records import Header, Trace
from hearout.traces.replayer import recorded_policy, replay
from hearout.traces.signals import record_of
from hearout.transcribers.results import Results
from hearout_policies.echo import Echo
from hearout_policies.signals import LinkLost, LinkRestored, Signal, SpeechStarted, SpeechStopped, Transcript, Word
from hearout_policies.words import join, middle

__all__ = ["CallerSide", "caller_side"]

# Seconds: in read speech, as a bot's is, no silence is longer, in five languages (Campione and Véronis, "A large-scale
# multilingual study of silent pause duration", Speech Prosody 2002). So it is a breath, and no answer to anybody.
_BREATH = 1.0


@dataclass(frozen=True)
class CallerSide:
    """A trace with one channel, the caller's.

    Attributes:
        header, lines: what it consists of.
        words: how many the caller's channel has.
        echo: how many of those are the agent's, as a live session would find: its voice is on that channel, too.
    """

    header: Header
    lines: Sequence[dict[str, Any]]
    words: int
    echo: int


def caller_side(trace: Trace, agent: int, *, replies: bool = False) -> CallerSide:
    """Make a trace with one channel, the caller's.

    Where the agent's voice was heard to begin and to end it has started and stopped, and what was recognised between
    them it has said when it began, as a bot knows its text. A silence of up to a second is a breath that it takes. When
    the bot's own turn detection ended turns no recording tells: there are no ``bot`` lines, unless ``replies`` says
    what to take for it.

    Args:
        trace: of two channels, with voice detection; of a session that was not live (`hearout listen --speed max`), so
            that its clock is that of the audio.
        agent: the channel on which the agent speaks.
        replies: where the agent begins to speak the bot is taken to have ended the caller's turn, with all words up to
            there that no turn has had. It has ended it before, by as much as it takes to find an answer and a voice. If
            the agent spoke on for more than a second after the last of them, it had not listened: they wait for the
            next turn.

    Raises:
        UsageError: the trace has not two channels, or no voice detection; or both channels are the same sound.
    """
    header = trace.header
    if header.channels != 2 or not header.vad:
        raise UsageError(f"{trace.name}: it must have two channels, caller and agent, and voice detection")
    heard: tuple[list[Signal], list[Signal]] = ([], [])
    for item in replay(trace).heard:
        if not isinstance(item.signal, LinkLost | LinkRestored):
            heard[item.channel].append(item.signal)
    lines: list[dict[str, Any]] = [{"t": signal.at, **record_of(signal)} for signal in heard[1 - agent]]
    if _edges(heard[0]) == _edges(heard[1]) != []:
        raise UsageError(f"{trace.name}: caller and agent are one sound: both channels have the same")
    spans, said = _speech(_edges(heard[agent])), _final_words(heard[agent])
    told = list(_told(spans, said))
    words = _final_words(heard[1 - agent])
    lines += _committed(words, spans) if replies else []
    lines = sorted(lines + told, key=lambda line: line["t"])  # of one moment: as they were
    source = header.source or trace.name
    least = int(recorded_policy(trace).echo_words)
    left = sum(len(result.words) for result in _sifted(heard[1 - agent], told, spans, least))
    return CallerSide(Header(Results.name, policy=header.policy, source=source), lines, len(words), len(words) - left)


def _edges(signals: Sequence[Signal]) -> list[tuple[bool, float]]:
    """Where a voice begins (True) and ends."""
    edges = (SpeechStarted, SpeechStopped)
    return [(isinstance(signal, SpeechStarted), signal.audio) for signal in signals if isinstance(signal, edges)]


def _speech(edges: Sequence[tuple[bool, float]]) -> list[tuple[float, float]]:
    """From when to when somebody spoke, over breaths; infinite where that was not heard to end."""
    out: list[tuple[float, float]] = []
    for begins, at in edges:
        if begins:
            out.append((out.pop()[0] if out and at - out[-1][1] <= _BREATH else at, math.inf))
        elif out:
            out[-1] = out[-1][0], max(at, out[-1][0])
    return out


def _told(spans: Sequence[tuple[float, float]], words: Sequence[Word]) -> Iterator[dict[str, Any]]:
    """What the agent did."""
    for number, (since, until) in enumerate(spans):
        following = spans[number + 1][0] if number + 1 < len(spans) else math.inf
        if said := _between(words, since if number else 0.0, following):
            yield {"t": since, "agent": "said", "text": join(said)}
        yield {"t": since, "agent": "started"}
        if until < math.inf:
            yield {"t": until, "agent": "stopped"}


def _committed(words: Sequence[Word], spans: Sequence[tuple[float, float]]) -> Iterator[dict[str, Any]]:
    """What the caller has said before each reply, and not before an earlier one."""
    before, stopped = 0.0, -math.inf
    for began, until in spans:
        said = _between(words, before, began)
        if said and said[-1].end >= stopped - _BREATH:
            yield {"t": began, "bot": "committed", "text": join(said)}
            before = began
        stopped = until


def _sifted(
    signals: Sequence[Signal], told: Sequence[dict[str, Any]], spans: Sequence[tuple[float, float]], least: int
) -> Iterator[Transcript]:
    """The final results without the agent's own words, ``least`` or more in a row."""
    echo = Echo()
    texts = [(line["t"], line["text"]) for line in reversed(told) if "text" in line]
    for result in signals:
        if isinstance(result, Transcript) and result.is_final:
            while texts and texts[-1][0] <= result.end:
                echo.say(texts.pop()[1])
            yield echo.sift(result, least, lambda at: any(since <= at <= until for since, until in spans))


def _final_words(signals: Sequence[Signal]) -> Sequence[Word]:
    return [word for signal in signals if isinstance(signal, Transcript) and signal.is_final for word in signal.words]


def _between(words: Sequence[Word], start: float, end: float) -> list[Word]:
    return [word for word in words if start <= middle(word) < end]
