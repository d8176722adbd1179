"""What recorded traces say about pauses: did the user go on, or was the turn over?

Nobody has to label anything: what happened next is the label. A pause after which the user spoke on, before
anybody answered, was a hold. One in which the agent answered, or in which nothing came for long, was an end.

Where speech ended is known no better than the VAD or the transcriber knew it: see `stretches`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hearout.traces.records import AgentChange, AppCall, AudioEnd, LinkChange, Sent, Trace
from hearout.traces.replayer import Replayed, recorded_policy, replay
from hearout_policies import events, signals
from hearout_policies.signals import Signal, Transcript, Word
from hearout_policies.words import middle

__all__ = ["Pause", "Speaker", "Why", "agent_speech", "ended_at", "hear", "pauses", "stretches"]

SHORTEST = 0.2  # seconds; shorter gaps are part of speaking (the bound of eot-bench, and of most corpora)
LONGEST_HOLD = 5.0  # seconds; who is silent for longer has finished (likewise)
_CUT_IN = 1.0  # who speaks again so soon after the agent began has not heard its answer: it may have cut in
_NEAR = 0.2  # seconds by which words may lie outside the stretch of speech they belong to
_TAIL = 0.4  # ... and by which voice may go on behind the last word, and still be speech: more is noise
_WORDLESS = 1.5  # seconds between two words of one stretch; no "uhm" is longer, so it was noise that bridged them
_SETTLING = 1.0  # seconds after a disturbance in which it is still felt
_OBSERVED = 1.0  # seconds; a pause that the recording breaks off sooner shows nothing

Kind = Literal["hold", "end", "unclear"]
#: The user spoke again as the agent began; the agent spoke already; the link or the application decided; the recording
#: ends too soon.
Why = Literal["", "cut in", "over the agent", "disturbed", "cut short"]


@dataclass(frozen=True, slots=True)
class Pause:
    """A silence of the user.

    Attributes:
        start: the user ceased to speak (audio time).
        resume: the user speaks again; infinite when that did not happen.
        kind: ``hold``, ``end``, or ``unclear``: what follows does not tell, so it counts for nothing.
        why: what makes it unclear.
    """

    start: float
    resume: float
    kind: Kind
    why: Why = ""


@dataclass(frozen=True)
class Speaker:
    """One channel of a trace, decoded once: what its user said, and what was heard of it.

    Attributes:
        signals: in order, without those of the agent and of the end of the audio.
        words: all final words, by audio time.
        finalizes: when each Finalize of the recording was sent and when it was answered (None: never).
        offset: (audio time, session clock minus audio time from there on), the first at minus infinity.
    """

    signals: Sequence[Signal]
    words: Sequence[Word]
    finalizes: Sequence[tuple[float, float | None]]
    offset: Sequence[tuple[float, float]]

    def session(self, audio: float) -> float:
        """The session clock at ``audio``."""
        return audio + self.offset[max(0, bisect_right(self.offset, (audio, math.inf)) - 1)][1]


def hear(trace: Trace, replayed: Replayed | None = None) -> list[Speaker]:
    """Decode a trace: one `Speaker` a channel.

    Args:
        replayed: of this trace, if there is one already.

    Raises:
        UsageError: as `hearout.traces.replayer.replay`.
    """
    replayed = replayed or replay(trace, recorded_policy(trace))
    sent = [record for record in trace.records if isinstance(record, Sent) and _is_finalize(record)]
    out = []
    for channel in range(trace.header.channels):
        heard = [
            item.signal
            for item in replayed.heard
            if item.channel == channel and not isinstance(item.signal, (signals.AgentSpeech, signals.EndOfAudio))
        ]
        # Hand-written traces hold the answers only: then the Finalizes are those of their own policy.
        asked = [record.t for record in sent if record.message.get("channel", channel) == channel] or [
            output.at
            for output in replayed.outputs
            if isinstance(output, events.Finalize) and output.channel == channel
        ]
        out.append(Speaker(heard, _words(heard), _answered(asked, heard), _offsets(heard)))
    return out


def _is_finalize(record: Sent) -> bool:
    return str(record.message.get("type", "")).lower() == "finalize"


def _words(heard: Sequence[Signal]) -> list[Word]:
    finals = {word for s in heard if isinstance(s, Transcript) and s.is_final for word in s.words}
    return sorted(finals, key=lambda word: (word.start, word.end))


def _answered(asked: Sequence[float], heard: Sequence[Signal]) -> list[tuple[float, float | None]]:
    """An answer belongs to the latest Finalize before it; those before that one went unanswered."""
    answers = [s.at for s in heard if isinstance(s, Transcript) and s.finalized]
    out: list[tuple[float, float | None]] = []
    for number, at in enumerate(asked):
        following = asked[number + 1] if number + 1 < len(asked) else math.inf
        out.append((at, next((answer for answer in answers if at <= answer < following), None)))
    return out


def _offsets(heard: Sequence[Signal]) -> list[tuple[float, float]]:
    out = []
    for s in heard:
        if isinstance(s, (signals.SpeechStarted, signals.SpeechStopped)):
            out.append((s.audio, s.at - s.heard))
    return [(-math.inf, out[0][1] if out else 0.0), *sorted(out)]


def stretches(heard: Speaker) -> list[tuple[float, float]]:
    """When the user spoke (audio time): from the voice that has words, and the words without a voice.

    A stretch ends where the VAD says so; where the VAD goes on for long behind the last word (noise), or has not
    heard the word, at the word's end. The VAD's end is back-dated, and late by 0-30 ms on clean lines, by up to
    0.1 s in noise; word ends of transcribers are off by up to 0.1 s, to either side.
    """
    edges = [s for s in heard.signals if isinstance(s, (signals.SpeechStarted, signals.SpeechStopped))]
    voiced: list[tuple[float, float]] = []
    for edge in edges:
        if isinstance(edge, signals.SpeechStarted):
            voiced.append((edge.audio, math.inf))
        elif voiced and voiced[-1][1] == math.inf:
            voiced[-1] = (voiced[-1][0], edge.audio)
    starts = [start for start, _ in voiced]
    groups: list[tuple[int, list[Word]]] = []  # index of the voiced stretch (-1: none), its words
    for word in heard.words:
        index = _stretch_of(middle(word), voiced, starts)
        apart = _WORDLESS if index >= 0 else SHORTEST
        if groups and groups[-1][0] == index and word.start - groups[-1][1][-1].end < apart:
            groups[-1][1].append(word)
        else:
            groups.append((index, [word]))
    out: list[tuple[float, float]] = []
    for index, words in groups:
        first, last = words[0].start, max(word.end for word in words)
        if index >= 0:
            start, stop = voiced[index]
            first = start if abs(start - first) <= _TAIL else first
            last = stop if abs(stop - last) <= _TAIL else last
        if out and first - out[-1][1] < SHORTEST:
            out[-1] = (out[-1][0], max(out[-1][1], last))
        else:
            out.append((first, last))
    return out


def _stretch_of(at: float, voiced: Sequence[tuple[float, float]], starts: Sequence[float]) -> int:
    index = bisect_right(starts, at + _NEAR) - 1
    while index >= 0 and voiced[index][0] > at and index > 0 and voiced[index - 1][1] >= at:
        index -= 1
    return index if index >= 0 and at <= voiced[index][1] + _NEAR else -1


def pauses(trace: Trace, channels: Sequence[Speaker]) -> list[list[tuple[float, Pause]]]:
    """The stretches of speech of each channel: where each begins (audio time), and the pause behind it."""
    spoken = [stretches(heard) for heard in channels]
    over = ended_at(trace)
    out = []
    for number, (heard, mine) in enumerate(zip(channels, spoken, strict=True)):
        others = [channels[n].session(start) for n, them in enumerate(spoken) if n != number for start, _ in them]
        answers = sorted([*_agent_starts(trace, number), *others])
        disturbed = _disturbed(trace, number)
        agent = agent_speech(trace, number)
        found = []
        for index, (first, start) in enumerate(mine):
            resume = mine[index + 1][0] if index + 1 < len(mine) else math.inf
            begins, ends = heard.session(start), heard.session(resume)
            kind, why = _kind(begins, ends, over, answers)
            if any(on <= min(ends, begins + LONGEST_HOLD) and off > begins for on, off in disturbed):
                kind, why = "unclear", "disturbed"
            if any(on <= begins < off for on, off in agent):
                kind, why = "unclear", "over the agent"  # nobody waits for an answer to that
            found.append((first, Pause(start, resume, kind, why)))
        out.append(found)
    return out


def ended_at(trace: Trace) -> float:
    """When the recording ended (session clock); infinite: nothing was recorded."""
    last = trace.records[-1].t if trace.records else math.inf
    return next((record.t for record in trace.records if isinstance(record, AudioEnd)), last)


def _kind(begins: float, ends: float, over: float, answers: Sequence[float]) -> tuple[Kind, Why]:
    """Of a pause from ``begins`` to ``ends`` (session clock)."""
    answer = next((t for t in answers if begins <= t < ends), None)
    if answer is not None:
        return ("end", "") if ends - answer >= _CUT_IN else ("unclear", "cut in")
    if ends == math.inf:
        return ("end", "") if over - begins >= _OBSERVED else ("unclear", "cut short")
    return ("hold", "") if ends - begins < LONGEST_HOLD else ("end", "")


def _disturbed(trace: Trace, channel: int) -> list[tuple[float, float]]:
    """When the policy was not free to decide: the link was down, or the application took a hand."""
    out: list[tuple[float, float]] = []
    since: dict[str, float] = {}
    for record in trace.records:
        if isinstance(record, LinkChange):
            if record.state == "lost":
                since.setdefault("link", record.t)
            else:
                out.append((since.pop("link", record.t), record.t + _SETTLING))
        elif isinstance(record, AppCall) and record.channel in (None, channel):
            if record.kind == "hold":
                since.setdefault("app", record.t)
            else:
                out.append((since.pop("app", record.t), record.t + _SETTLING))
    return out + [(at, math.inf) for at in since.values()]


def _agent_starts(trace: Trace, channel: int) -> list[float]:
    return [on for on, _ in agent_speech(trace, channel)]


def agent_speech(trace: Trace, channel: int) -> list[tuple[float, float]]:
    """From when to when the agent spoke to the user of ``channel`` (session clock); infinite: it did not cease."""
    out: list[tuple[float, float]] = []
    for record in trace.records:
        if isinstance(record, AgentChange) and record.channel in (None, channel):
            speaking = bool(out) and out[-1][1] == math.inf
            if record.kind == "started" and not speaking:
                out.append((record.t, math.inf))
            elif record.kind == "stopped" and speaking:
                out[-1] = (out[-1][0], record.t)
    return out
