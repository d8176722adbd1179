"""What hearout assumes of a transcriber, each assumption one function over a conversation that was recorded. Pure.

A check says *ok* with the figure it measured, or *differs* with what was seen instead; for what an account or provider
may be without it says *has* or *lacks*, and hearout does with either; *skipped* says what was missing to tell.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from hearout.transcribers.base import Heard, ProviderFailed, ProviderNews, StreamFinished
from hearout_policies.marks import STOPS, end_marks
from hearout_policies.signals import ProviderSpeechStarted, ProviderTurn, Transcript, UtteranceEnd, Word

__all__ = [
    "COVERED",
    "SPEAKER_CHECKS",
    "SPEECH_CHECKS",
    "TURN_CHECKS",
    "Arrival",
    "Conversation",
    "Finding",
    "Verdict",
    "differs",
    "has",
    "lacks",
    "ok",
    "skipped",
]

Verdict = Literal["ok", "differs", "has", "lacks", "skipped"]

_T = TypeVar("_T")

_KINDS = ("type", "message_type")  # where providers say of what kind a message is
_ONE_KIND = "that name no kind"  # Soniox's: there is only one

#: Seconds that the last final may leave over (the link would believe that words are missing).
COVERED = 0.05

# The rest of hearout counts on these, in seconds.
_QUIET = 5.0  # of audio, the longest stretch without any message (the link hangs up on a transcriber that is dumb)
_CADENCE = 1.5  # between two interim results: the rules without a VAD wait for words to grow
_ROUNDING = 0.02  # between two final windows, and of word times: nothing that is said there may be lost


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
        figures: what was measured; seconds, unless the name says otherwise.
    """

    check: str
    verdict: Verdict
    detail: str
    figures: Mapping[str, float] = field(default_factory=dict)


def ok(check: str, detail: str, **figures: float) -> Finding:
    return Finding(check, "ok", detail, figures)


def differs(check: str, detail: str, **figures: float) -> Finding:
    return Finding(check, "differs", detail, figures)


def has(check: str, detail: str, **figures: float) -> Finding:
    return Finding(check, "has", detail, figures)


def lacks(check: str, detail: str) -> Finding:
    return Finding(check, "lacks", detail)


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
        endpoint: what the provider calls its own end of speech.
        closer: what it calls the request for a clean end.
        strict: it is known to the last message; another one may do as it likes where hearout does not mind.
        tells_progress: it says how far it has listened, and when its words were said, before they are final.
        request_id: from the handshake.
        utterance_end: the word gap that was asked for; None: it was not.
        speech_started: its own starts of speech were asked for.
        audio: seconds sent.
        closing: when the last results were asked for.
        ended: when the connection ended, with ``code`` and ``reason``.
    """

    endpoint: str = "endpoint"
    closer: str = "close"
    strict: bool = False
    tells_progress: bool = True
    request_id: str = ""
    channels: int = 1
    utterance_end: float | None = None
    speech_started: bool = False
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
    """The dialect can read every message, knows its type, and none tells of a failure."""
    failures = [item.detail for arrival in c.arrivals for item in arrival.news if isinstance(item, ProviderFailed)]
    if failures:
        return differs("messages", f"{len(failures)} tell of a failure: {failures[0]}")
    trouble = list(dict.fromkeys(arrival.trouble for arrival in c.arrivals if arrival.trouble))
    if trouble:
        return differs("messages", f"{len(trouble)} kinds not understood: {'; '.join(trouble[:3])}")
    counts: dict[str, int] = {}
    for arrival in c.arrivals:
        kind = str(next((arrival.data[key] for key in _KINDS if key in arrival.data), _ONE_KIND))[:60]
        counts[kind] = counts.get(kind, 0) + 1
    detail = ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items()))
    return ok("messages", detail or "none came", messages=len(c.arrivals))


def cadence(c: Conversation) -> Finding:
    """Interim results come about once a second of audio, and never does a long time pass without a message."""
    interims = [(a, t) for channel in range(c.channels) for a, t in c.transcripts(channel) if not t.is_final]
    if not interims:
        return lacks("interims", "none came; hearout shows text and predicts turns by them")
    if not c.tells_progress:
        return _unplaced_cadence([a.at for a, _ in interims])
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


def _unplaced_cadence(times: Sequence[float]) -> Finding:
    """Interims that do not say of what audio they are: whether one was late or nobody spoke cannot be told."""
    step = statistics.median(b - a for a, b in itertools.pairwise(times)) if len(times) > 1 else 0.0
    detail = (
        f"{len(times)}, one every {step:.2f} s (median), the first at {times[0]:.2f} s; of what audio they do not say"
    )
    return ok("interims", detail, every=step, first=times[0])


def segments(c: Conversation) -> Finding:
    """Final windows follow each other without a gap, interims begin where they end, the last covers all audio."""
    if not c.tells_progress:
        return _unplaced_segments(c)
    gap = stray = 0.0
    count, covered, missing = 0, c.audio, 0
    for channel in range(c.channels):
        end = 0.0
        pending: Sequence[Word] = ()
        for _, transcript in c.transcripts(channel):
            if not transcript.is_final:
                stray = max(stray, abs(transcript.start - end))
                pending = transcript.words
                continue
            gap = max(gap, abs(transcript.start - end))
            end = transcript.end
            count += 1
        covered = min(covered, end)
        missing += sum(word.start >= end for word in pending)
    detail = f"{count} finals cover {covered:.2f} of {c.audio:.2f} s, at most {gap:.3f} s between two"
    if stray > _ROUNDING:
        detail += f"; an interim begins {stray:.2f} s off the end of the final before it"
    if missing:
        detail += f"; {missing} words of the last interim never became final"
    # Others may let windows lie as they like, if only all words become final.
    exact = max(gap, stray) <= _ROUNDING and abs(c.audio - covered) <= COVERED
    good = count > 0 and not missing and (exact or not c.strict)
    return (ok if good else differs)("segments", detail, gap=gap, covered=covered, audio=c.audio)


def _unplaced_segments(c: Conversation) -> Finding:
    """Where results do not say of what audio they are: after the last interim one a final one came."""
    count = missing = 0
    for channel in range(c.channels):
        pending: Sequence[Word] = ()
        for _, transcript in c.transcripts(channel):
            count += transcript.is_final
            pending = () if transcript.is_final else transcript.words
        missing += len(pending)
    detail = f"{count} finals; of what audio results are it does not say"
    if missing:
        detail += f"; {missing} words of the last interim never became final"
    return (ok if count and not missing else differs)("segments", detail, audio=c.audio)


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
    if untimed == sum(bool(final.words) for channel in range(c.channels) for final in c.finals(channel)):
        return lacks("word times", f"{count} words without times of their own; hearout lays them over their results")
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
    return (has if finished else lacks)("punctuation", detail)


def endpoint(c: Conversation) -> Finding:
    """Silence brings the provider's own end of speech."""
    lags = []
    for channel in range(c.channels):
        last: float | None = None
        for arrival, transcript in c.transcripts(channel):
            if transcript.is_final and transcript.words:
                last = transcript.words[-1].end if transcript.timed else transcript.end
            # What comes after the request to close is not endpointing.
            if transcript.endpoint and last is not None and (c.closing is None or arrival.at < c.closing):
                lags.append(arrival.at - last)
                last = None
    if not lags:
        return lacks(c.endpoint, "none came with words, though the recording is followed by silence")
    lag = statistics.median(lags)
    return has(c.endpoint, f"{len(lags)} with words, {lag:.2f} s after the last word (median)", after_word=lag)


def turns(c: Conversation) -> Finding:
    """The provider tells of turns itself."""
    kinds = [signal.kind for _, signal in c.signals(ProviderTurn)]
    if not kinds:
        return lacks("turns", "it tells of none itself; hearout's rules do not need it")
    return has("turns", ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)))


def speech_started(c: Conversation) -> Finding:
    """``SpeechStarted`` comes when asked for; hearout takes it for no more than a hint."""
    started = c.signals(ProviderSpeechStarted)
    if not started:
        why = "though asked for" if c.speech_started else "and it was not asked for"
        return lacks("SpeechStarted", f"none came, {why}; hearout takes it for a hint")
    lag = statistics.median(arrival.at - signal.audio for arrival, signal in started)
    detail = f"{len(started)}, the first for {started[0][1].audio:.2f} s; {lag:.2f} s after the onset (median)"
    good = all(signal.audio <= c.audio + _ROUNDING for _, signal in started)
    return (has if good else differs)("SpeechStarted", detail, lag=lag)


def utterance_end(c: Conversation) -> Finding:
    """``UtteranceEnd`` comes after a word gap, and names the end of a word that was told."""
    ends = c.signals(UtteranceEnd)
    if not ends:
        gap = c.utterance_end
        why = "and it was not asked for" if gap is None else f"though the recording is followed by {gap:g} s and more"
        return lacks("UtteranceEnd", f"none came, {why}")
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
    return has("UtteranceEnd", detail, after_word=lag)


def closing(c: Conversation) -> Finding:
    """The request to close brings the last results, then close 1000."""
    if c.closing is None:
        return differs(c.closer, f"the server hung up before: {c.code} {c.reason}".rstrip())
    finished = any(isinstance(item, StreamFinished) for arrival in c.arrivals for item in arrival.news)
    if c.ended is None:
        if finished and not c.strict:
            return ok(c.closer, "the last results came; the connection stays open until hearout hangs up")
        return differs(c.closer, "the connection stays open")
    taken = c.ended - c.closing
    detail = f"closed with {c.code} {taken:.2f} s later" + ("" if finished else ", without word of the last result")
    return (ok if c.code == 1000 or (finished and not c.strict) else differs)(c.closer, detail, after=taken)


#: For a conversation with speech, silence and a regular end.
SPEECH_CHECKS: Sequence[Callable[[Conversation], Finding]] = (
    understood,
    cadence,
    segments,
    words,
    punctuation,
    endpoint,
    speech_started,
    utterance_end,
    closing,
)


def speakers(c: Conversation) -> Finding:
    """Words have the labels of their speakers, as was asked."""
    labels = [word.speaker for channel in range(c.channels) for t in c.finals(channel) for word in t.words]
    voices = sorted({label for label in labels if label is not None})
    if not voices:
        return lacks(
            "speakers", f"{len(labels)} words without a label, though asked for; only_speaker leaves nobody out"
        )
    labelled = sum(label is not None for label in labels)
    return has("speakers", f"{labelled} of {len(labels)} words have one: {', '.join(voices)[:60]}")


#: For one that was asked to tell voices apart.
SPEAKER_CHECKS = (speakers,)

#: For one that may tell of turns itself.
TURN_CHECKS = (turns,)
