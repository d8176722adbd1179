"""What would another policy have done? A turn of a trace, run again with a transcriber that reacts.

The policy decides when a Finalize is sent, and so when words become final. A recording holds the answers to the
Finalizes of *its* policy. Here they are taken out, and put back where the other policy asks:

- A Finalize is answered with the delay of the recorded Finalize nearest to it in time. The answer brings all words
  that the recogniser finally found in the audio up to the moment of the Finalize, unless they are final already.
- A recorded answer that this policy did not ask for shows what the recogniser had understood by then: it comes as
  an interim result, when the next one would have been due.
- All other results come when they came, less the words that are final already, plus those that are not yet.

What this cannot know: a Finalize makes some providers drop the endpoint that would have come a moment later, so
for a policy that asks later than the recorded one the endpoint is missing. Words that a Finalize in mid-word
would have spoilt are not. Nor does a turn know this caller's pauses before it. What the user does is fixed, too:
whoever was cut off might have said something else.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from statistics import median

from hearout.channels import Arrivals, Channels
from hearout.traces.records import BotTurn, Trace
from hearout.traces.replayer import Replayed, recorded_policy, replay
from hearout.transcribers.base import least_silence
from hearout.transcribers.own import provider_of
from hearout.tune.labels import SHORTEST, Pause, Speaker, hear, pauses
from hearout_policies import events, signals
from hearout_policies.policy import Policy
from hearout_policies.signals import Signal, Transcript, UtteranceEnd, Word
from hearout_policies.words import middle

__all__ = ["Completion", "Episode", "episodes", "run"]

_USUAL_DELAY = 0.25  # seconds from Finalize to answer; Deepgram's median, where a recording has none
_USUAL_INTERVAL = 1.0  # seconds between interim results; Deepgram's
_LENDERS = 16  # recorded Finalizes, the nearest, that may lend their delay


@dataclass(frozen=True)
class Episode:
    """One turn of a user, the holds in it, and the silence behind it, on one channel.

    It ends before the user speaks again: had the policy waited longer, the agent and with it the user would have.

    Attributes:
        trace: number of the trace it is from.
        channel: the user's.
        pauses: with times on the session clock.
        signals: in order; the answers to Finalizes are among them.
        words: all final words of the turn, by audio time.
        delays: (when, seconds to the answer or None) of the recorded Finalizes near this turn; None: this
            transcriber answers none.
        interval: seconds between interim results.
        finalize_after: the transcriber is asked for final results no sooner into a silence.
        offset: session clock minus audio time.
        resumed: session clock at which anybody was told that the user speaks again; infinite: never.
    """

    trace: int
    channel: int
    pauses: tuple[Pause, ...]
    signals: tuple[Signal, ...]
    words: tuple[Word, ...]
    delays: tuple[tuple[float, float | None], ...] | None
    interval: float
    finalize_after: float
    offset: float
    resumed: float = math.inf


@dataclass(frozen=True, slots=True)
class Completion:
    """``turn`` was completed, with words up to ``reach`` (audio time)."""

    turn: events.TurnCompleted
    reach: float

    @property
    def at(self) -> float:
        """Session clock."""
        return self.turn.at


def episodes(trace: Trace, number: int = 0, replayed: Replayed | None = None) -> list[Episode]:
    """Cut a trace into turns, channel by channel.

    Args:
        replayed: of this trace, if there is one already.

    Raises:
        UsageError: as `hearout.traces.replayer.replay`.
    """
    replayed = replayed or replay(trace, recorded_policy(trace))
    channels = hear(trace, replayed)
    provider = provider_of(trace.transcriber)
    out: list[Episode] = []
    for channel, (heard, found) in enumerate(zip(channels, pauses(trace, channels), strict=True)):
        interval = _interval(heard)
        ended = _ended(trace, replayed, channel)
        turn: list[tuple[float, Pause]] = []
        before, since = -math.inf, -math.inf  # border to the turn before, in audio time; session clock
        for first, pause in found:
            turn.append((first, pause))
            if pause.kind == "hold":
                continue
            last = pause.resume == math.inf
            border = math.inf if last else (pause.start + pause.resume) / 2
            until = math.inf if last else heard.session(pause.resume)
            out.append(
                Episode(
                    number,
                    channel,
                    tuple(_on_session_clock(p, heard) for _, p in turn),
                    tuple(_slice(heard, before, since, border, until, _first(ended, heard.session(pause.start)))),
                    tuple(word for word in heard.words if before <= middle(word) < border),
                    _delays(heard, pause) if provider.finalizes else None,
                    interval,
                    least_silence(provider.dialect),
                    heard.session(pause.start) - pause.start,
                    _resumed(heard, border, until),
                )
            )
            turn, before, since = [], border, until
    return out


def _ended(trace: Trace, replayed: Replayed, channel: int) -> list[float]:
    """When turns were ended, by whatever turn detection."""
    ours = [one.at for one in replayed.outputs if isinstance(one, events.TurnCompleted) and one.channel == channel]
    bots = [record.t for record in trace.records if isinstance(record, BotTurn) and record.channel == channel]
    return sorted([*ours, *bots])


def _first(times: Sequence[float], since: float) -> float:
    index = bisect_left(times, since - SHORTEST)
    return times[index] if index < len(times) else math.inf


def _resumed(heard: Speaker, border: float, until: float) -> float:
    """When the first signal came that tells of speech behind ``border``: a voice is noticed after it begins."""
    for s in islice(heard.signals, bisect_left(heard.signals, until, key=lambda s: s.at), None):
        match s:
            case signals.SpeechStarted():
                return s.at
            case Transcript(words=words) if words and middle(words[-1]) >= border:
                return s.at
    return math.inf


def _delays(heard: Speaker, pause: Pause) -> tuple[tuple[float, float | None], ...]:
    at = heard.session(pause.start)
    near = sorted(heard.finalizes, key=lambda sent: abs(sent[0] - at))[:_LENDERS]
    return tuple((sent, None if back is None else back - sent) for sent, back in near)


def _interval(heard: Speaker) -> float:
    times = [s.at for s in heard.signals if isinstance(s, Transcript) and not s.finalized]
    gaps = [b - a for a, b in pairwise(times) if 0.05 <= b - a <= 3.0]
    return median(gaps) if gaps else _USUAL_INTERVAL


def _on_session_clock(pause: Pause, heard: Speaker) -> Pause:
    resume = pause.resume if pause.resume == math.inf else heard.session(pause.resume)
    return replace(pause, start=heard.session(pause.start), resume=resume)


def _slice(heard: Speaker, before: float, since: float, border: float, until: float, over: float) -> list[Signal]:
    """The signals from ``since`` to ``until``, without what they say about audio before ``before``.

    What was asked since its user last spoke belongs to it. What is asked behind ``over``, when the turn was ended, is
    for the next: a policy that waits longer has not answered yet. Another policy is for the caller to try.
    """
    out: list[Signal] = []
    asked: list[Signal] = []
    speaking: float | None = None
    for s in heard.signals:
        if s.at <= since:
            match s:
                case signals.SpeechStarted(audio=audio):
                    speaking = audio
                case signals.SpeechStopped():
                    speaking = None
                    asked = [one for one in asked if isinstance(one, signals.Asked) and one.keep]
                case signals.Asked() | signals.AgentSaid():
                    asked.append(replace(s, at=since))
            continue
        if s.at > until:
            break
        if asked:
            out += asked
            asked = []
        if speaking is not None:
            # Noise holds the VAD open since before this turn.
            start = max(before, speaking)
            out.append(signals.SpeechStarted(since, start, since - (heard.session(start) - start)))
            speaking = None
        match s:
            case Transcript(words=words):
                kept = tuple(word for word in words if before <= middle(word) < border)
                if len(kept) < len(words) and not kept:
                    continue
                if not s.words and s.end <= before:
                    continue
                out.append(s if len(kept) == len(words) else replace(s, words=kept, start=max(s.start, before)))
            case UtteranceEnd(last_word_end=float(end)) if end < before:
                continue
            case signals.PolicyChanged():
                continue
            case signals.Asked() | signals.AgentSaid() if s.at >= over:
                continue
            case _:
                out.append(s)
    return out


def run(episode: Episode, policy: Policy) -> list[Completion]:
    """The turns that ``policy`` completes, in virtual time."""
    return _Run(episode, policy).run()


class _Run:
    def __init__(self, episode: Episode, policy: Policy) -> None:
        self._episode = episode
        self._channels = Channels(policy, 1, self._take, finalize_after=episode.finalize_after)
        self._covered = -math.inf  # audio time up to which words are final, here
        self._connected = True
        self._out: list[Completion] = []
        script: list[tuple[float, Signal]] = []
        latest = episode.signals[0].at if episode.signals else 0.0
        for s in episode.signals:
            at = s.at
            if isinstance(s, Transcript):
                # Where a framework asks, and nobody here, the answers come under any policy.
                if s.finalized and episode.delays is not None:
                    at = max(at, latest + episode.interval)
                    s = replace(s, at=at, is_final=False, finalized=False, endpoint=False)
                else:
                    latest = at
            script.append((at, s))
        self._arrivals = Arrivals(script, answers_first=True)

    def run(self) -> list[Completion]:
        self._channels.play(self._arrivals, self._deliver)
        return self._out

    def _deliver(self, at: float, s: Signal) -> None:
        match s:
            case _ if self._episode.delays is None:
                self._tell(s)  # nobody asks, so all came as it comes under any policy
            case Transcript(finalized=True):
                words = self._missing(s.end)
                self._covered = max(self._covered, s.end)
                self._tell(replace(s, words=words))
            case Transcript():
                if (result := self._as_known_here(s)) is not None:
                    self._tell(result)
            case UtteranceEnd(last_word_end=None):
                # "-1" says that the words were final; they need not be, here.
                words = self._missing(at - self._episode.offset)
                self._tell(replace(s, last_word_end=words[-1].end) if words else s)
            case signals.LinkLost():
                self._connected = False
                self._arrivals.lose_answers()
                self._tell(s)
            case signals.LinkRestored():
                self._connected = True
                self._tell(s)
            case _:
                self._tell(s)

    def _missing(self, until: float) -> tuple[Word, ...]:
        """Words before ``until`` that are not final yet."""
        return tuple(word for word in self._episode.words if self._covered <= middle(word) < until)

    def _as_known_here(self, s: Transcript) -> Transcript | None:
        earlier = self._missing(min(s.start, s.words[0].start if s.words else s.start))
        words = tuple(word for word in s.words if middle(word) >= self._covered)
        covered = self._covered
        if s.is_final and (s.words or earlier):  # one without words may come before the one that has them
            self._covered = max(covered, s.end)
        if not earlier and len(words) == len(s.words):
            return s
        if s.words and not words and not earlier and not s.endpoint:
            return None  # all of it is known
        start = min(s.start, earlier[0].start) if earlier else s.start
        return replace(s, words=(*earlier, *words), start=max(start, min(covered, s.end)))

    def _tell(self, s: Signal) -> None:
        self._channels.tell(0, s)

    def _take(self, output: events.Output) -> None:
        match output:
            case events.Finalize():
                self._answer(output.at)
            case events.TurnCompleted():
                reach = max((word.end for word in output.words), default=output.audio_end)
                self._out.append(Completion(output, reach))

    def _answer(self, asked: float) -> None:
        audio = asked - self._episode.offset
        delay = self._delay(asked, bool(self._missing(audio)))
        if not self._connected or delay is None:
            return
        start = max(self._covered, self._episode.words[0].start if self._episode.words else 0.0)
        answer = Transcript(asked + delay, (), min(start, audio), audio, is_final=True, finalized=True)
        self._arrivals.answer(answer.at, answer)

    def _delay(self, asked: float, due: bool) -> float | None:
        """Of the recorded Finalize nearest in time; when words are ``due``, of the nearest that was answered."""
        delays = self._episode.delays
        if delays is None:
            return None
        if not delays:
            return _USUAL_DELAY
        _, nearest = min(delays, key=lambda sent: abs(sent[0] - asked))
        if nearest is None and due:
            answered = [sent for sent in delays if sent[1] is not None]
            return min(answered, key=lambda sent: abs(sent[0] - asked))[1] if answered else None
        return nearest
