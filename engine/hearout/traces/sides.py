"""A recording of two channels, the caller and the agent, as a trace of the caller to whom an agent speaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hearout.errors import UsageError
from hearout.traces.records import Header, Trace
from hearout.traces.replayer import replay
from hearout.traces.signals import record_of
from hearout.transcribers.results import Results
from hearout_policies.signals import LinkLost, LinkRestored, Signal, SpeechStarted, SpeechStopped, Transcript, Word
from hearout_policies.words import join, middle

__all__ = ["caller_side"]


def caller_side(trace: Trace, agent: int, *, replies: bool = False) -> tuple[Header, list[dict[str, Any]]]:
    """Header and lines of a trace with one channel, the caller's.

    Where the agent's voice was heard to begin and to end it has started and stopped, and what was recognised between
    them it has said when it began, as a bot knows its text. When the bot's own turn detection ended turns no recording
    tells: there are no ``bot`` lines, unless ``replies`` says what to take for it.

    Args:
        trace: of two channels, with voice detection; of a session that was not live (`hearout listen --speed max`), so
            that its clock is that of the audio.
        agent: the channel on which the agent speaks.
        replies: where the agent begins to speak the bot is taken to have ended the caller's turn, with all words up to
            there that no turn has had. It has ended it before, by as much as it takes to find an answer and a voice.

    Raises:
        UsageError: the trace has not two channels, or no voice detection.
    """
    header = trace.header
    if header.channels != 2 or not header.vad:
        raise UsageError(f"{trace.name}: it must have two channels, caller and agent, and voice detection")
    heard: tuple[list[Signal], list[Signal]] = ([], [])
    for item in replay(trace).heard:
        if not isinstance(item.signal, LinkLost | LinkRestored):
            heard[item.channel].append(item.signal)
    lines: list[dict[str, Any]] = [{"t": signal.at, **record_of(signal)} for signal in heard[1 - agent]]
    speech = list(_speech(heard[agent]))
    if replies:
        began = [line["t"] for line in speech if line["agent"] == "started"]
        lines += _committed(_final_words(heard[1 - agent]), began)
    lines += speech
    lines.sort(key=lambda line: line["t"])  # of one moment: as they were
    return Header(Results.name, policy=header.policy, source=header.source or trace.name), lines


def _speech(signals: Sequence[Signal]) -> Iterator[dict[str, Any]]:
    """What the agent did."""
    words = _final_words(signals)
    edges = [signal for signal in signals if isinstance(signal, SpeechStarted | SpeechStopped)]
    since: float | None = None
    for number, edge in enumerate(edges):
        if isinstance(edge, SpeechStarted) and since is None:
            since = edge.audio
            following = (later.audio for later in edges[number + 1 :] if isinstance(later, SpeechStarted))
            said = _between(words, 0.0 if number == 0 else since, next(following, float("inf")))
            if said:
                yield {"t": since, "agent": "said", "text": said}
            yield {"t": since, "agent": "started"}
        elif isinstance(edge, SpeechStopped) and since is not None:
            yield {"t": max(since, edge.audio), "agent": "stopped"}
            since = None


def _committed(words: Sequence[Word], began: Sequence[float]) -> Iterator[dict[str, Any]]:
    """What the caller has said before each reply, and not before an earlier one."""
    before = 0.0
    for at in began:
        if text := _between(words, before, at):
            yield {"t": at, "bot": "committed", "text": text}
        before = at


def _final_words(signals: Sequence[Signal]) -> Sequence[Word]:
    return [word for signal in signals if isinstance(signal, Transcript) and signal.is_final for word in signal.words]


def _between(words: Sequence[Word], start: float, end: float) -> str:
    return join(word for word in words if start <= middle(word) < end)
