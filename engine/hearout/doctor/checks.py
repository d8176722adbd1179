"""What hearout assumes of Deepgram, each assumption one function over a conversation that was recorded. Pure.

A check says *ok* with the figure it measured, *differs* with what was seen instead, or *skipped* with what was
missing to tell. Where hearout lives with either of two behaviours, the check only reports which one it is.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from hearout.transcribers.base import Heard, ProviderNews
from hearout_policies.marks import STOPS, end_marks
from hearout_policies.signals import ProviderSpeechStarted, Transcript, UtteranceEnd

__all__ = ["SPEECH_CHECKS", "Arrival", "Conversation", "Finding", "differs", "ok", "punctuation", "skipped"]

_T = TypeVar("_T")

# The rest of hearout counts on these, in seconds.
_QUIET = 5.0  # of audio, the longest stretch without any message (the link hangs up on a transcriber that is dumb)
_CADENCE = 1.5  # between two interim results: the rules without a VAD wait for words to grow
_COVERED = 0.05  # what the last final may leave over (the link would believe that words are missing)
_ROUNDING = 0.02  # between two final windows, and of word times: nothing that is said there may be lost

_KEYS = {"type", "channel_index", "start", "duration", "is_final", "speech_final", "channel", "metadata"}
_MORE_KEYS = {"from_finalize", "entities"}


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
        figures: what was measured; seconds, unless the name says otherwise.
    """

    check: str
    verdict: Literal["ok", "differs", "skipped"]
    detail: str
    figures: Mapping[str, float] = field(default_factory=dict)


def ok(check: str, detail: str, **figures: float) -> Finding:
    return Finding(check, "ok", detail, figures)


def differs(check: str, detail: str, **figures: float) -> Finding:
    return Finding(check, "differs", detail, figures)


def skipped(check: str, detail: str) -> Finding:
    return Finding(check, "skipped", detail)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message of the provider.

    Attributes:
        at: seconds since the first audio began.
        data: the message; empty when it is no JSON object.
        news: what the dialect makes of it.
        trouble: what the dialect could not read or does not know.
    """

    at: float
    data: Mapping[str, Any]
    news: Sequence[ProviderNews]
    trouble: str = ""


@dataclass(slots=True)
class Conversation:
    """Everything said on one connection. Times as in `Arrival`.

    Attributes:
        request_id: from the handshake.
        utterance_end: the word gap that was asked for.
        audio: seconds sent.
        closing: when the last results were asked for.
        ended: when the connection ended, with ``code`` and ``reason``.
    """

    request_id: str = ""
    channels: int = 1
    utterance_end: float = 1.0
    audio: float = 0.0
    arrivals: list[Arrival] = field(default_factory=list)
    closing: float | None = None
    ended: float | None = None
    code: int | None = None
    reason: str = ""

    def of_type(self, kind: str) -> list[Arrival]:
        return [arrival for arrival in self.arrivals if arrival.data.get("type") == kind]

    def transcripts(self, channel: int) -> Iterator[tuple[Arrival, Transcript]]:
        for arrival in self.arrivals:
            for item in arrival.news:
                if isinstance(item, Heard) and item.channel == channel and isinstance(item.signal, Transcript):
                    yield arrival, item.signal

    def finals(self, channel: int) -> list[Transcript]:
        return [transcript for _, transcript in self.transcripts(channel) if transcript.is_final]

    def signals(self, kind: type[_T]) -> list[tuple[Arrival, _T]]:
        found: list[tuple[Arrival, _T]] = []
        for arrival in self.arrivals:
            for item in arrival.news:
                if isinstance(item, Heard) and isinstance(item.signal, kind):
                    found.append((arrival, item.signal))
        return found


def understood(c: Conversation) -> Finding:
    """The dialect can read every message, and knows its type."""
    trouble = list(dict.fromkeys(arrival.trouble for arrival in c.arrivals if arrival.trouble))
    if trouble:
        return differs("messages", f"{len(trouble)} kinds not understood: {'; '.join(trouble[:3])}")
    counts: dict[str, int] = {}
    for arrival in c.arrivals:
        kind = str(arrival.data.get("type"))
        counts[kind] = counts.get(kind, 0) + 1
    return ok("messages", ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items())), messages=len(c.arrivals))


def cadence(c: Conversation) -> Finding:
    """Interim results come about once a second of audio, and never does a long time pass without a message."""
    interims = [(a, t) for channel in range(c.channels) for a, t in c.transcripts(channel) if not t.is_final]
    if not interims:
        return differs("interims", "none came; hearout shows text and predicts turns by them")
    ends = [t.end for _, t in c.transcripts(0)]
    steps = [b - a for a, b in itertools.pairwise(ends) if b > a]
    quiet = max([*steps, ends[0] if ends else c.audio])
    step = statistics.median(steps) if steps else c.audio
    lag = statistics.median(a.at - t.end for a, t in interims)
    detail = (
        f"{len(interims)}, a result every {step:.2f} s of audio, the longest without one {quiet:.2f} s; "
        f"they come {lag:.2f} s after their audio, the first at {interims[0][0].at:.2f} s"
    )
    verdict = ok if step <= _CADENCE and quiet <= _QUIET else differs
    return verdict("interims", detail, every=step, longest_quiet=quiet, lag=lag, first=interims[0][0].at)


def shape(c: Conversation) -> Finding:
    """Results have the keys and types that are documented."""
    results = c.of_type("Results")
    wrong: list[str] = []
    more: set[str] = set()
    for data in (arrival.data for arrival in results):
        if missing := _KEYS - data.keys():
            wrong.append("without " + ", ".join(sorted(missing)))
        more |= data.keys() - _KEYS
        channel, index = data.get("channel"), data.get("channel_index")
        if not (isinstance(channel, dict) and isinstance(channel.get("alternatives"), list)):
            wrong.append('"channel" is no object with alternatives')
        if not (isinstance(index, list) and len(index) == 2 and index[1] == c.channels):
            wrong.append(f'"channel_index" is {str(index)[:30]}, not [number, {c.channels}]')
        metadata = data.get("metadata")
        if not (isinstance(metadata, dict) and metadata.get("request_id") == c.request_id):
            wrong.append("the request id is not that of the handshake")
    if wrong:
        return differs(
            "Results", f"{len(wrong)} oddities in {len(results)}: {'; '.join(list(dict.fromkeys(wrong))[:3])}"
        )
    if not results:
        return differs("Results", "none came")
    unknown = ", ".join(sorted(more - _MORE_KEYS))
    return ok("Results", f"{len(results)} as documented" + (f"; keys that are new: {unknown[:100]}" if unknown else ""))


def segments(c: Conversation) -> Finding:
    """Final windows follow each other without a gap, interims begin where they end, the last covers all audio."""
    gap = stray = 0.0
    count, covered = 0, c.audio
    for channel in range(c.channels):
        end = 0.0
        for _, transcript in c.transcripts(channel):
            if not transcript.is_final:
                stray = max(stray, abs(transcript.start - end))
                continue
            gap = max(gap, abs(transcript.start - end))
            end = transcript.end
            count += 1
        covered = min(covered, end)
    detail = f"{count} finals cover {covered:.2f} of {c.audio:.2f} s, at most {gap:.3f} s between two"
    if stray > _ROUNDING:
        detail += f"; an interim begins {stray:.2f} s off the end of the final before it"
    good = count > 0 and max(gap, stray) <= _ROUNDING and abs(c.audio - covered) <= _COVERED
    return (ok if good else differs)("segments", detail, gap=gap, covered=covered, audio=c.audio)


def words(c: Conversation) -> Finding:
    """Words have times that go forward and are within the audio."""
    untimed = backward = beyond = count = 0
    outside = 0.0
    for channel in range(c.channels):
        last = 0.0
        for final in c.finals(channel):
            untimed += bool(final.words) and not final.timed
            for word in final.words:
                count += 1
                backward += word.start < last - _ROUNDING
                beyond += word.end > c.audio + _ROUNDING
                outside = max(outside, final.start - word.start, word.end - final.end)
                last = word.start
    if not count:
        return differs("word times", "no words came; is there English speech in the recording?")
    detail = f"{count} words, at most {outside:.2f} s outside the window of their result"
    wrong = [
        f"{number} {what}"
        for number, what in (
            (untimed, "finals without word times"),
            (backward, "words begin before the one before them"),
            (beyond, "words end after the audio"),
        )
        if number
    ]
    return (differs if wrong else ok)("word times", "; ".join([detail, *wrong]), words=count, outside=outside)


def punctuation(c: Conversation) -> Finding:
    """Words come with punctuation: how long hearout waits depends on whether a sentence is finished."""
    texts = [final.words[-1].text for channel in range(c.channels) for final in c.finals(channel) if final.words]
    finished = sum(not STOPS.isdisjoint(end_marks(text)) for text in texts)
    detail = f"{finished} of {len(texts)} finals with words end a sentence"
    return (ok if finished else differs)("punctuation", detail)


def speech_final(c: Conversation) -> Finding:
    """Silence brings ``speech_final``, on final results only."""
    lags = []
    for arrival in c.of_type("Results"):
        if arrival.data.get("speech_final") is True:
            if arrival.data.get("is_final") is not True:
                return differs("speech_final", f"on a result that is not final, at {arrival.at:.2f} s; it is ignored")
            heard = next((i.signal for i in arrival.news if isinstance(i, Heard)), None)
            # What comes after CloseStream is not endpointing.
            if isinstance(heard, Transcript) and heard.words and (c.closing is None or arrival.at < c.closing):
                lags.append(arrival.at - heard.words[-1].end)
    if not lags:
        return differs("speech_final", "none came with words, though the recording is followed by silence")
    lag = statistics.median(lags)
    return ok("speech_final", f"{len(lags)} with words, {lag:.2f} s after the last word (median)", after_word=lag)


def speech_started(c: Conversation) -> Finding:
    """``SpeechStarted`` comes when asked for; hearout takes it for no more than a hint."""
    started = c.signals(ProviderSpeechStarted)
    if not started:
        return differs("SpeechStarted", "none came, though vad_events is on")
    lag = statistics.median(arrival.at - signal.audio for arrival, signal in started)
    detail = f"{len(started)}, the first for {started[0][1].audio:.2f} s; {lag:.2f} s after the onset (median)"
    good = all(signal.audio <= c.audio + _ROUNDING for _, signal in started)
    return (ok if good else differs)("SpeechStarted", detail, lag=lag)


def utterance_end(c: Conversation) -> Finding:
    """``UtteranceEnd`` comes after a word gap, and names the end of a word that was told."""
    ends = c.signals(UtteranceEnd)
    if not ends:
        return differs("UtteranceEnd", f"none came, though the recording is followed by {c.utterance_end:g} s and more")
    known = [word.end for channel in range(c.channels) for _, t in c.transcripts(channel) for word in t.words]
    lags, strangers, empty = [], 0, 0
    for arrival, signal in ends:
        if signal.last_word_end is None:
            empty += 1
            continue
        lags.append(arrival.at - signal.last_word_end)
        strangers += not any(abs(signal.last_word_end - end) <= _ROUNDING for end in known)
    lag = statistics.median(lags) if lags else 0.0
    detail = f"{len(ends)}, {lag:.2f} s after the word (median)" + (f"; {empty} with -1" if empty else "")
    if strangers:
        return differs("UtteranceEnd", f"{detail}; {strangers} name a time at which no word ends", after_word=lag)
    return ok("UtteranceEnd", detail, after_word=lag)


def closing(c: Conversation) -> Finding:
    """CloseStream brings the last results, then Metadata, then close 1000."""
    if c.closing is None:
        return differs("CloseStream", f"the server hung up before: {c.code} {c.reason}".rstrip())
    if c.ended is None:
        return differs("CloseStream", "the connection stays open")
    taken = c.ended - c.closing
    last = str(c.arrivals[-1].data.get("type")) if c.arrivals else "nothing"
    detail = f"closed with {c.code} {taken:.2f} s later, the last message was {last}"
    return (ok if c.code == 1000 and last == "Metadata" else differs)("CloseStream", detail, after=taken)


def metadata(c: Conversation) -> Finding:
    """Metadata comes once, and agrees on how much audio there was."""
    found = c.of_type("Metadata")
    if len(found) != 1:
        return differs("Metadata", f"{len(found)} came, not one at the end")
    duration = found[0].data.get("duration")
    detail = f"says {duration} s of audio, {c.audio:.2f} s were sent"
    good = isinstance(duration, int | float) and abs(duration - c.audio) <= _COVERED
    return (ok if good else differs)("Metadata", detail)


#: For a conversation with speech, silence and a regular end.
SPEECH_CHECKS: Sequence[Callable[[Conversation], Finding]] = (
    understood,
    shape,
    cadence,
    segments,
    words,
    punctuation,
    speech_final,
    speech_started,
    utterance_end,
    closing,
    metadata,
)
