"""The turn machine: signals in, events and commands out.

It holds no clock, no timer and no callback. Every signal says when it happened (``at``), and `TurnMachine.deadline`
says when to come back if nothing happens. The same signals always give the same outputs.

Theory of operation. A turn is opened by speech (local VAD) or by words. While it is open each signal adds
evidence to it, and after each signal all rules judge it afresh: when should it be over, if nothing more happens?
The turn is over at ``max(min(deadlines), max(holds))``, or when the safety net says so. There is no other state:
no flag that a late message could leave standing, no timer that could fire for the wrong turn.

Words that come late go to the turn they were spoken in (`hearout_policies.ledger`).
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque

from hearout_policies.bargein import is_interruption
from hearout_policies.clock import AudioClock
from hearout_policies.decision import Decision, combine, forced_verdict
from hearout_policies.events import (
    Finalize,
    Output,
    TurnAbandoned,
    TurnAmended,
    TurnPredicted,
    TurnResumed,
    TurnStarted,
)
from hearout_policies.finalizes import Finalizes, Request
from hearout_policies.ledger import Closed, Ledger, split
from hearout_policies.marks import spoken
from hearout_policies.policy import Policy
from hearout_policies.rules import FinalizeOnSilence, Verdict
from hearout_policies.signals import (
    AgentSpeech,
    AppCommand,
    AudioStalled,
    EndOfAudio,
    LinkLost,
    LinkRestored,
    ProviderSpeechStarted,
    ProviderTurn,
    Signal,
    SpeechStarted,
    SpeechStopped,
    SpeechSuspected,
    Tick,
    Transcript,
    UtteranceEnd,
    Word,
)
from hearout_policies.telling import completed, updated
from hearout_policies.turn import Evidence, Turn, TurnView
from hearout_policies.words import middle

__all__ = ["TurnMachine"]

_REPLAY_SPEED = 1.25  # Deepgram takes replayed audio no faster than this, times real time
_FORCE_WAIT = 1.2  # a force_end with nothing heard yet is for words that come within this (seconds)
_RESPEAK = 0.5  # speech that outlasts a forced end by this much makes a turn of its own (seconds)


class TurnMachine:
    """Decides when the turns of one channel start and end.

    Args:
        policy: the rules and limits.
        channel: number put into the events.
    """

    def __init__(self, policy: Policy | None = None, channel: int = 0) -> None:
        self.policy = policy or Policy()
        self.channel = channel
        self._now = -math.inf
        self._deadline: float | None = None
        self._clock = AudioClock()
        self._turn: Turn | None = None
        self._count = 0
        self._ledger = Ledger()
        self._finalizes = Finalizes()
        self._recent: deque[tuple[Word, ...]] = deque(maxlen=8)  # words of the latest final results
        self._speech: tuple[float, float | None] | None = None  # latest stretch the VAD heard, audio time
        self._agent: deque[tuple[float, bool]] = deque(maxlen=8)  # when it began and ceased to speak
        self._held = False
        self._forced: float | None = None  # force_end with no turn open: the answer to its Finalize may open one
        self._ended: float | None = None
        self._link = True
        self._replay: tuple[float, float] | None = None  # restored at (session clock), fed from (audio time)
        self._covered = -math.inf  # audio time up to which there are final results
        self._repeated = -math.inf  # ... when the connection changed: a replay may say these words again

    @property
    def deadline(self) -> float | None:
        """When to call ``handle(Tick(at))`` if nothing else happens (session clock); None: no need."""
        return self._deadline

    def handle(self, signal: Signal) -> list[Output]:
        """Take in one signal.

        What was due before it is done first, as if a Tick had come at that moment: a late caller gets the same
        outputs as a punctual one. What is due at the very moment of the signal waits for what it says.

        Raises:
            ValueError: ``signal.at`` is earlier than that of the signal before, or no number.
        """
        if not signal.at >= self._now or math.isinf(signal.at):
            raise ValueError(f"{type(signal).__name__} at {signal.at} after a signal at {self._now}: time runs forward")
        out: list[Output] = []
        while self._deadline is not None and self._deadline < signal.at:
            self._now = self._deadline
            self._decide(out)
        self._now = signal.at
        self._take_in(signal, out)
        self._decide(out)
        return out

    # -- evidence ---------------------------------------------------------------------------------------

    def _take_in(self, signal: Signal, out: list[Output]) -> None:
        match signal:
            case Tick():
                pass
            case SpeechStarted():
                self._speech_started(signal, out)
            case SpeechStopped(audio=audio, heard=heard):
                if heard is None:
                    self._clock.end(self._now, audio)
                else:
                    self._clock.heard(self._now, heard)
                self._speech_stopped(min(audio, self._audio_now), out)
            case SpeechSuspected():
                if self._turn and not self._speaking and self._ended is None:
                    self._turn.suspected = self._now + self.policy.suspicion_hold
            case AudioStalled(heard=heard):
                self._clock.stall(self._now, heard)
                self._speech_stopped(self._audio_now, out)
            case EndOfAudio():
                self._ended = self._now
                self._speech_stopped(self._audio_now, out)
                if self._turn:
                    self._turn.suspected = -math.inf
            case Transcript():
                self._transcript(signal, out)
            case UtteranceEnd():
                if self._turn:
                    self._turn.end_of_utterance(signal)
            case LinkLost():
                self._link, self._replay = False, None
                self._finalizes.forget()
            case LinkRestored(audio=audio):
                self._link, self._replay = True, (self._now, audio)
                self._repeated = self._covered
                if self._turn:
                    self._turn.words.keep(audio)
            case AgentSpeech(kind=kind):
                self._agent.append((self._now, kind == "started"))
            case AppCommand():
                self._app_command(signal, out)
            case ProviderTurn():
                self._provider_turn(signal, out)
            case ProviderSpeechStarted():
                pass  # a hint at most: it fires on noise, in mid-turn, and twice

    @property
    def _audio_now(self) -> float:
        return self._clock.audio(self._now)

    @property
    def _speaking(self) -> bool:
        return self._speech is not None and self._speech[1] is None

    def _speech_started(self, signal: SpeechStarted, out: list[Output]) -> None:
        if self._speaking and not self._clock.stalled:
            return
        if signal.heard is None:
            self._clock.onset(self._now, signal.audio)
        else:
            self._clock.heard(self._now, signal.heard)
        audio = min(signal.audio, self._audio_now)
        self._speech = (audio, None)
        self._ledger.speech_started(audio)
        if self._turn is None:
            self._open(audio, out)
        else:
            self._resume(out)
        assert self._turn is not None
        self._turn.speech_started(audio, self._now)

    def _speech_stopped(self, audio: float, out: list[Output]) -> None:
        if self._speech is None or self._speech[1] is not None:
            return
        start = self._speech[0]
        audio = max(audio, start)
        self._speech = (start, audio)
        last = self._ledger.last
        if self._turn is None and last and last.cut and start < last.limit < audio - _RESPEAK:
            # A turn was ended while its user spoke on; what came after that is a turn too.
            self._open(last.limit, out)
            assert self._turn is not None
            self._turn.speech_started(last.limit)
        if self._turn and self._turn.vad:
            self._turn.speech_stopped(audio, self._now)

    def _transcript(self, result: Transcript, out: list[Output]) -> None:
        reach = max([result.end, *(w.end for w in result.words)])
        if self._clock.stalled and reach > self._audio_now:
            self._clock.end(self._now, min(reach, self._now - self._clock.offset))  # audio flows again
        if result.is_final and result.words and result.end > result.start:
            if result.words in self._recent:  # delivered twice: the same words at the same audio times
                result = dataclasses.replace(result, words=())
            else:
                self._recent.append(result.words)
        if result.finalized:
            settled = self._finalizes.answer(self._now, min(reach, self._audio_now), empty=not result.words)
            if settled and not result.words:
                # Nothing was left: all audio up to the request is covered, whatever span the answer claims.
                result = dataclasses.replace(result, end=max(result.end, settled.audio))
        if any(middle(w) < self._repeated for w in result.words):
            words = tuple(w for w in result.words if middle(w) >= self._repeated)
            result = dataclasses.replace(result, words=words)
        if not result.timed and self._turn and result.words:
            result = self._turn.lay_out(result)
        if result.is_final:
            self._covered = max(self._covered, min(reach, self._audio_now))
        past, present = split(result, self._ledger)
        if result.is_final:
            for closed, late in past:
                self._amend(closed, late, result.end, out)
        if self._turn is None and present:
            self._open(min(w.start for w in present), out)
        if self._turn and (present or not result.words):
            self._add(self._turn, dataclasses.replace(result, words=tuple(present)), out)

    def _add(self, turn: Turn, result: Transcript, out: list[Output]) -> None:
        turn.add(result, self._audio_now)
        text = turn.words.text
        if turn.predicted is not None and text != turn.predicted:
            self._resume(out)
        if turn.agent_speaking and is_interruption(text, 0.0, self.policy):
            turn.interrupts = True
        if text != turn.shown:
            turn.shown = text
            out.append(updated(turn, self.policy, self.channel, self._now, self._audio_now))

    def _amend(self, closed: Closed, words: list[Word], end: float, out: list[Output]) -> None:
        if closed.words is None:
            return
        closed.words.add_final(words, words[0].start, min(end, closed.limit))
        text = closed.words.text
        if spoken(text) != closed.said:
            closed.said = spoken(text)
            everything = tuple(closed.words.all)
            confirmed = closed.words.confirmed
            out.append(TurnAmended(closed.number, self.channel, self._now, text, everything, confirmed))

    def _provider_turn(self, signal: ProviderTurn, out: list[Output]) -> None:
        turn = self._turn
        if turn is None or not turn.words:
            return
        match signal.kind:
            case "eager_end":
                if turn.predicted is None:
                    turn.predicted = turn.words.text
                    out.append(TurnPredicted(turn.number, self.channel, self._now, turn.predicted))
            case "resumed":
                turn.endpoint = None
                self._resume(out)
            case "ended":
                turn.endpoint = Evidence(self._now, max(signal.audio, turn.newest_end or 0.0))
            case "started":
                pass  # its words open the turn

    def _app_command(self, command: AppCommand, out: list[Output]) -> None:
        match command.kind:
            case "hold":
                self._held = True
            case "release":
                self._held = False
            case "force_end":
                if self._turn is None:
                    self._forced = self._now
                else:
                    self._turn.forced = self._now
                request = self._request
                under_way = request is not None and request.answered is None
                if self._link and not under_way and (not self._turn or self._turn.is_unfinalised(request)):
                    self._finalize(out)
            case "clear":
                self._forced = None
                turn, self._turn = self._turn, None
                number = turn.number if turn else self._count
                self._ledger.close(number, None, self._audio_now, self._audio_now, vad=True, cut=True)
                if turn:
                    out.append(TurnAbandoned(number, self.channel, self._now, "cleared"))

    # -- turns ---------------------------------------------------------------------------------------

    def _open(self, audio: float, out: list[Output]) -> None:
        self._count += 1
        last = self._ledger.last
        continues = last.number if last and audio <= last.decided + self.policy.continue_within else None
        agent_speaking = self._agent_spoke(min(self._clock.session(audio), self._now))
        turn = Turn(self._count, audio, self._now, agent_speaking, continues, last_growth=self._now)
        if self._speech and audio < (math.inf if self._speech[1] is None else self._speech[1]):
            # Words came before anything else for speech that the VAD did hear.
            turn.speech_started(self._speech[0])
            if self._speech[1] is not None:
                turn.speech_stopped(self._speech[1], self._now)
        if self._forced is not None and self._now <= self._forced + (self._force_wait or _FORCE_WAIT):
            turn.forced = self._forced
        self._forced = None
        self._turn = turn
        out.append(TurnStarted(turn.number, self.channel, self._now, audio, agent_speaking, continues))

    def _agent_spoke(self, at: float) -> bool:
        """The agent was speaking then. Words tell of their turn a second late: what counts is when it began."""
        return next((speaking for since, speaking in reversed(self._agent) if since <= at), False)

    def _resume(self, out: list[Output]) -> None:
        turn = self._turn
        if turn and turn.predicted is not None:
            turn.predicted = None
            out.append(TurnResumed(turn.number, self.channel, self._now))

    def _finalize(self, out: list[Output]) -> None:
        audio = self._audio_now
        turn = self._turn
        needs = turn.speech_end if turn else None
        still = self._clock.stalled or self._ended is not None
        needs = audio if needs is None else min(audio, needs)
        request = Request(self._now, audio, needs, self._backlog(), still=still)
        self._finalizes.send(request)
        if turn:
            turn.finalize, turn.news = request, False
        out.append(Finalize(self.channel, self._now))

    def _backlog(self) -> float:
        """Seconds until the transcriber has worked through the audio replayed to it."""
        if self._replay is None:
            return 0.0
        restored, start = self._replay
        return max(0.0, (self._audio_now - start) / _REPLAY_SPEED - (self._now - restored))

    @property
    def _request(self) -> Request | None:
        """The last Finalize, if it covers all speech of the open turn."""
        return self._turn.request(self._finalizes.last) if self._turn else None

    # -- decisions ---------------------------------------------------------------------------------------

    def _decide(self, out: list[Output]) -> None:
        """Do what is due now, and find the next deadline."""
        self._deadline = None
        turn = self._turn
        if turn is None:
            return
        view, verdicts = self._judge(turn)
        ask = min((v.finalize for _, v in verdicts if v.finalize is not None), default=None)
        if ask is not None and ask <= self._now:
            self._finalize(out)
            view, verdicts = self._judge(turn)
            ask = None
        forced = turn.forced is not None
        suspected = -math.inf if forced else turn.suspected
        decision = combine(verdicts, self._cap(turn), held=self._held and not forced, suspected=suspected)
        if decision.when <= self._now:
            self._end(turn, view, decision, verdicts, out)
            return
        if suspected <= self._now:
            self._predict(turn, view, decision.evident, out)
        interruption = self._interrupt(turn, out)
        pending = (decision.when, decision.evident, suspected, ask, interruption)
        self._deadline = min(at for at in pending if at is not None and at > self._now)

    def _judge(self, turn: Turn) -> tuple[TurnView, list[tuple[str, Verdict]]]:
        view = turn.view(
            self._now,
            self._clock,
            self.policy.words,
            latest=self._finalizes.last,
            link=self._link,
            ended=self._ended,
            backlog=self._backlog(),
        )
        if turn.forced is not None:
            return view, [("force_end", forced_verdict(view, turn.forced, self._force_wait))]
        return view, [(rule.name, rule.judge(view)) for rule in self.policy.rules]

    @property
    def _force_wait(self) -> float | None:
        rule = next((rule for rule in self.policy.rules if isinstance(rule, FinalizeOnSilence)), None)
        return rule.finalize_timeout if rule else None

    def _cap(self, turn: Turn) -> float:
        """The safety net."""
        longest = turn.opened + self.policy.max_turn
        if self._held or turn.speaking:
            return longest
        last_sign = max(turn.last_growth, turn.ended_at(self._clock) or turn.opened)
        return min(longest, last_sign + self.policy.max_silence)

    def _predict(self, turn: Turn, view: TurnView, evident: float, out: list[Output]) -> None:
        """Tell the application once that only a hold is left."""
        if turn.predicted is not None or evident > self._now or view.unfinalised or view.speaking or self._held:
            return
        if turn.words and self.policy.predicts(view.ending):
            turn.predicted = turn.words.text
            out.append(TurnPredicted(turn.number, self.channel, self._now, turn.predicted))

    def _interrupt(self, turn: Turn, out: list[Output]) -> float | None:
        """Tell once that the turn cuts into the agent's speech; when it will, if its user just speaks on."""
        if turn.interrupts or not turn.agent_speaking:
            return None
        # Counted from this stretch of speech: coughs do not add up.
        due = max(turn.opened, turn.onset_noticed) + self.policy.interrupt_after
        if not turn.speaking or due > self._now:
            return due if turn.speaking else None
        if is_interruption(turn.words.text, self.policy.interrupt_after, self.policy):
            turn.interrupts = True
            out.append(updated(turn, self.policy, self.channel, self._now, self._audio_now))
        return None

    def _end(
        self, turn: Turn, view: TurnView, decision: Decision, verdicts: list[tuple[str, Verdict]], out: list[Output]
    ) -> None:
        self._turn = None
        self._deadline = None
        if not turn.words:
            out.append(TurnAbandoned(turn.number, self.channel, self._now, "no_words" if turn.heard_out else "unheard"))
            return
        end = self._audio_now if turn.speech_end is None else turn.speech_end
        if turn.predicted is not None and turn.predicted != turn.words.text:
            out.append(TurnResumed(turn.number, self.channel, self._now))
        told = completed(turn, view, decision, verdicts, self.policy, self.channel, self._now, end, link=self._link)
        out.append(told)
        request = turn.finalize
        until = self._audio_now
        if turn.forced is not None and request and request.sent >= turn.forced:
            until = request.audio  # what is said after the command is not meant
        cut = decision.reason in ("force_end", "safety_net")
        self._ledger.close(turn.number, turn.words, min(end, until), until, vad=turn.vad, cut=cut)
