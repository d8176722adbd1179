"""What happened in a replayed session, arranged for drawing: all times on the session clock, in seconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hearout.plot.waveform import BIN, Waveform
from hearout.traces.records import BotInterrupted, BotTurn, LinkChange, Trace
from hearout.traces.replayer import Replayed
from hearout_policies import events, signals
from hearout_policies.clock import Clock
from hearout_policies.marks import bare

__all__ = ["Lanes", "Moment", "Span", "Timeline", "TurnSpan", "arrange"]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time with a label: voice, a word, the agent's speech."""

    start: float
    stop: float
    label: str = ""


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened at one moment."""

    at: float
    kind: str


@dataclass(slots=True)
class TurnSpan:
    """One turn from its first speech to its end.

    Attributes:
        ended: None: neither completed nor abandoned.
        amended: the text, when it was amended after the turn was completed.
        cut: it was a cutoff: another turn goes on from it.
        marks: predicted, resumed, amended, cutoff.
    """

    number: int
    start: float
    ended: events.TurnCompleted | events.TurnAbandoned | None = None
    amended: str | None = None
    cut: bool = False
    marks: list[Moment] = field(default_factory=list)


@dataclass(slots=True)
class Lanes:
    """One channel."""

    waveform: list[tuple[float, float]] = field(default_factory=list)  # when, and how loud: 1 is full scale
    voice: list[Span] = field(default_factory=list)
    hangover: list[Span] = field(default_factory=list)  # silence that the VAD had not noticed yet
    stalls: list[Span] = field(default_factory=list)
    agent: list[Span] = field(default_factory=list)
    audio_end: float | None = None
    calls: list[Moment] = field(default_factory=list)  # of the application
    interims: list[Span] = field(default_factory=list)
    finals: list[Span] = field(default_factory=list)
    results: list[Moment] = field(default_factory=list)  # provider messages on arrival
    hints: list[Moment] = field(default_factory=list)  # ... that carry no words
    finalizes: list[tuple[float, float | None]] = field(default_factory=list)  # sent, answered
    turns: list[TurnSpan] = field(default_factory=list)
    bot: list[Moment] = field(default_factory=list)  # of a turn detection that is not ours


@dataclass(slots=True)
class Timeline:
    """A session.

    Attributes:
        stop: when the last thing happened.
        lanes: by channel.
        outages: times without a connection to the transcriber.
    """

    stop: float
    lanes: list[Lanes]
    outages: list[Span]


def arrange(trace: Trace, replayed: Replayed, waveform: Waveform | None = None) -> Timeline:
    """Sort the signals and outputs of a replay into lanes; the audio too, if there is any."""
    bot = [record for record in trace.records if isinstance(record, BotTurn | BotInterrupted)]
    moments = [item.signal.at for item in replayed.heard] + [output.at for output in replayed.outputs]
    stop = max([*moments, *(record.t for record in bot)], default=0.0)
    collectors = [_Collector(stop) for _ in range(trace.header.channels)]
    for item in replayed.heard:
        collectors[item.channel].hear(item.signal)
    for output in replayed.outputs:
        collectors[output.channel].tell(output)
    for record in bot:
        text = " ".join(["committed:", *record.text.split()]) if isinstance(record, BotTurn) else "interrupted"
        collectors[record.channel].lanes.bot.append(Moment(record.t, text))
    for channel, collector in enumerate(collectors):
        collector.finish([] if waveform is None else waveform.peaks(channel))
    return Timeline(stop, [collector.lanes for collector in collectors], _outages(trace, stop))


def _outages(trace: Trace, stop: float) -> list[Span]:
    out, lost = [], None
    for record in trace.records:
        if isinstance(record, LinkChange) and record.state == "lost":
            lost = record.t if lost is None else lost
        elif isinstance(record, LinkChange) and lost is not None:
            out.append(Span(lost, record.t))
            lost = None
    return out if lost is None else [*out, Span(lost, stop)]


class _Collector:
    def __init__(self, stop: float) -> None:
        self.lanes = Lanes()
        self._stop = stop
        self._clock = Clock()
        self._offsets = [(float("-inf"), 0.0)]  # from this audio time on, the session clock is this much ahead
        self._speaking: float | None = None
        self._stalled: float | None = None
        self._agent: float | None = None
        self._hypothesis: tuple[signals.Word, ...] = ()

    def _session(self, audio: float) -> float:
        """When the sample at ``audio`` was heard, also for words that come in after a stall moved the clock."""
        return audio + next(offset for since, offset in reversed(self._offsets) if since <= audio)

    def _note_offset(self, at: float, since: float, heard: float) -> None:
        self._clock.now = at
        self._clock.heard(heard)
        if self._clock.offset != self._offsets[-1][1]:
            self._offsets.append((since, self._clock.offset))

    def hear(self, signal: signals.Signal) -> None:
        lanes = self.lanes
        match signal:
            case signals.SpeechStarted(at=at, audio=audio, heard=heard):
                self._note_offset(at, audio, heard)
                self._speaking = self._session(audio)
                if self._stalled is not None:
                    lanes.stalls.append(Span(self._stalled, self._speaking))
                    self._stalled = None
            case signals.SpeechStopped(at=at, audio=audio, heard=heard):
                self._note_offset(at, audio, heard)
                self._end_speech(self._session(audio), at)
            case signals.AudioStalled(at=at):
                self._end_speech(at, at)
                self._stalled = at
            case signals.Transcript():
                self._result(signal)
            case signals.UtteranceEnd(at=at):
                lanes.hints.append(Moment(at, "UtteranceEnd"))
            case signals.ProviderSpeechStarted(at=at):
                lanes.hints.append(Moment(at, "SpeechStarted"))
            case signals.ProviderTurn(at=at, kind=kind):
                lanes.hints.append(Moment(at, f"turn {kind.replace('_', ' ')}"))
            case signals.AgentSpeech(at=at, kind="started"):
                self._agent = at if self._agent is None else self._agent
            case signals.AgentSpeech(at=at):
                if self._agent is not None:
                    lanes.agent.append(Span(self._agent, at))
                self._agent = None
            case signals.AppCommand(at=at, kind=kind):
                lanes.calls.append(Moment(at, kind))
            case signals.EndOfAudio(at=at):
                lanes.audio_end = at
            case _:
                pass

    def _end_speech(self, end: float, noticed: float) -> None:
        if self._speaking is not None:
            self.lanes.voice.append(Span(self._speaking, max(end, self._speaking)))
            if noticed > end:
                self.lanes.hangover.append(Span(end, noticed))
        self._speaking = None

    def _result(self, result: signals.Transcript) -> None:
        words, lanes = result.words, self.lanes
        kind = "endpoint" if result.endpoint else "final" if result.is_final else "interim"
        lanes.results.append(Moment(result.at, kind if words else f"empty {kind}"))
        if result.finalized:
            lanes.results.append(Moment(result.at, "answer"))
        if result.is_final:
            lanes.finals += [self._word(word) for word in words]
            self._hypothesis = ()
        else:
            # Each interim result repeats the one before; only what it adds or revises is worth ink.
            lanes.interims += [self._word(word) for word in words if not _repeats(word, self._hypothesis)]
            self._hypothesis = words

    def _word(self, word: signals.Word) -> Span:
        return Span(self._session(word.start), self._session(word.end), word.text)

    def tell(self, output: events.Output) -> None:
        lanes = self.lanes
        match output:
            case events.Finalize(at=at):
                lanes.finalizes.append((at, None))
            case events.TurnStarted(turn=turn, audio_start=audio_start):
                lanes.turns.append(TurnSpan(turn, self._session(audio_start)))
                if output.continues is not None:
                    self._cut(self._turn(output.continues))
            case events.TurnCompleted(turn=turn) | events.TurnAbandoned(turn=turn):
                self._turn(turn).ended = output
            case events.TurnAmended(turn=turn, at=at, text=text):
                self._turn(turn).amended = text
                self._turn(turn).marks.append(Moment(at, "amended"))
            case events.TurnPredicted() | events.TurnResumed():
                self._turn(output.turn).marks.append(Moment(output.at, output.type.removeprefix("turn_")))
            case _:
                pass

    def _cut(self, turn: TurnSpan) -> None:
        if isinstance(turn.ended, events.TurnCompleted):
            turn.cut = True
            turn.marks.append(Moment(turn.ended.at, "cutoff"))

    def _turn(self, number: int) -> TurnSpan:
        return next(turn for turn in reversed(self.lanes.turns) if turn.number == number)

    def finish(self, peaks: Sequence[float]) -> None:
        """Match answers, and end what is still going on when the session ends."""
        self._match_answers()
        self.lanes.waveform = [(self._session(number * BIN), peak) for number, peak in enumerate(peaks)]
        if self._speaking is not None:
            self.lanes.voice.append(Span(self._speaking, self._stop))
        if self._stalled is not None:
            self.lanes.stalls.append(Span(self._stalled, self._stop))
        if self._agent is not None:
            self.lanes.agent.append(Span(self._agent, self._stop))

    def _match_answers(self) -> None:
        """What the machine matched, and for other Finalizes the first answer before the next one is sent."""
        answers = [mark.at for mark in self.lanes.results if mark.kind == "answer"]
        matched = {
            turn.ended.timings.finalize_sent: turn.ended.timings.answered
            for turn in self.lanes.turns
            if isinstance(turn.ended, events.TurnCompleted)
        }
        sent = [at for at, _ in self.lanes.finalizes]
        for n, (at, until) in enumerate(zip(sent, [*sent, float("inf")][1:], strict=True)):
            first = next((answer for answer in answers if at <= answer < until), None)
            self.lanes.finalizes[n] = (at, matched.get(at) or first)


def _repeats(word: signals.Word, hypothesis: Iterable[signals.Word]) -> bool:
    return any(bare(word.text) == bare(old.text) and abs(word.start - old.start) < 0.3 for old in hypothesis)
