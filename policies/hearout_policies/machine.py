"""The turn machine: signals in, events and commands out.

Every signal says when it happened (``at``), and `TurnMachine.deadline` says when to come back if nothing happens.
The same signals always give the same outputs.

Theory of operation. Each of the things that carry the machine has a file of its own:

- `clock.Clock` knows what time it is: on the session clock, which the signals bring, and in audio time.
- `agent.Agent` knows when the voicebot spoke and what it asked (`question.Question`).
- `voice.Voice` is a stretch of speech that the local VAD hears, the current one or the latest.
- `words.Words` are the words of one turn. They take the transcriber's results, whole.
- `evidence.ProviderSaid` is what the provider says of its end.
- `finalizes.Finalizes` are the requests to finalise, each of which waits for its answer.
- `turn.Turn` is the open turn: its voice, words and evidence, and what the application was `told.Told` of it.
- `view.TurnView` is what a rule may know of it, and `decision.Decision` is what the verdicts of all rules come to.
- `ledger.Ledger` keeps the turns that are over, for the words that come late for them.

A signal takes one way, and this file follows it from top to bottom. `TurnMachine.handle` first does what was due
before it. Then the signal is taken in: it changes the voice, the words or the evidence, and speech or words open a
turn. In the end all rules judge the turn afresh: when should it be over, if nothing more happens? It is over at
``max(min(deadlines), max(holds))``, or when the safety net says so; as long as that lies ahead it is the deadline.

There is no clock, timer or callback, and no flag that a late message could leave standing: what evidence is worth is
judged when it is asked for.
"""

from __future__ import annotations

import math
from dataclasses import replace

from hearout_policies.agent import Agent
from hearout_policies.clock import Clock
from hearout_policies.decision import Decision, completed, decide, view_of
from hearout_policies.events import Finalize, Output, TurnAbandoned, TurnAmended, TurnCompleted, TurnStarted, UserIdle
from hearout_policies.finalizes import Finalizes
from hearout_policies.ledger import Ledger
from hearout_policies.marks import has_word
from hearout_policies.odds import Pauses
from hearout_policies.policy import Policy
from hearout_policies.signals import (
    AgentSaid,
    AgentSpeech,
    AppCommand,
    Asked,
    AudioStalled,
    EarHeard,
    EndOfAudio,
    KeyPressed,
    LinkLost,
    LinkRestored,
    PolicyChanged,
    ProviderTurn,
    Signal,
    SpeechPaused,
    SpeechStarted,
    SpeechStopped,
    SpeechSuspected,
    Transcript,
    UtteranceEnd,
    Word,
)
from hearout_policies.speakers import Speakers
from hearout_policies.told import Told
from hearout_policies.turn import Turn
from hearout_policies.voice import Voice, lateness
from hearout_policies.words import Words, reach

__all__ = ["TurnMachine"]

_RESPEAK = 0.5  # speech that outlasts a forced end by this much makes a turn of its own (seconds)


class TurnMachine:
    """Decides when the turns of one channel start and end.

    Args:
        policy: the rules and limits.
        channel: number put into the events.

    Attributes:
        deadline: when to call ``handle(Tick(at))`` if nothing else happens (session clock); None: no need.
        decision: about the turn that is open, by all signals so far; None: none is.
    """

    def __init__(self, policy: Policy | None = None, channel: int = 0) -> None:
        self.policy = policy or Policy()
        self.channel = channel
        self._clock = Clock()
        self._voice: Voice | None = None  # the latest stretch of speech on the channel
        self._turn: Turn | None = None
        self._turns = 0  # so many so far
        self._completed: TurnCompleted | None = None  # the latest that was
        self._ledger = Ledger()
        self._finalizes = Finalizes()
        self._agent = Agent()
        self._speakers = Speakers()
        self._pauses = Pauses()  # of the user, within turns
        self._suspected = -math.inf  # audio time of the latest sound that might have been speech
        self._held = False
        self._forced: float | None = None  # force_end with no turn open: the answer to its Finalize may open one
        self._ended: float | None = None
        self.deadline: float | None = None
        self.decision: Decision | None = None
        self._out: list[Output] = []  # of the signal that is being handled

    def handle(self, signal: Signal) -> list[Output]:
        """Take in one signal.

        What was due before it is done first, as if a Tick had come at that moment: a late caller gets the same
        outputs as a punctual one. What is due at the very moment of the signal waits for what it says.

        Raises:
            ValueError: ``signal.at`` is earlier than that of the signal before, or no number.
        """
        self._out, now = [], self._clock.now
        if not signal.at >= now or math.isinf(signal.at):
            raise ValueError(f"{type(signal).__name__} at {signal.at} after a signal at {now}: time runs forward")
        while self.deadline is not None and self.deadline < signal.at:
            self._clock.now = self.deadline
            self._decide()
        self._clock.now = signal.at
        self._take_in(signal)
        self._decide()
        return self._out

    # -- what comes in ---------------------------------------------------------------------------------------

    def _take_in(self, signal: Signal) -> None:
        turn, clock, alone = self._turn, self._clock, self._speakers.others is None
        said, signal = signal, self._speakers.hear(signal, self.policy.only_speaker)
        if turn and isinstance(said, Transcript) and said is not signal:
            turn.words.take_back(said.start, reach(said.words, said.end))
        if alone and self._speakers.others is not None:
            self._speech_stopped(self._speakers.others)
            self._voice = None
        match signal:
            case SpeechStarted() | SpeechSuspected() if self.policy.only_speaker and self._speakers.others is not None:
                clock.heard(signal.heard)  # nobody knows whose voice it is: words must do
            case SpeechStarted():
                self._speech_started(signal)
            case SpeechStopped():
                clock.heard(signal.heard)
                self._speech_stopped(min(signal.audio, clock.audio))
            case SpeechSuspected():
                self._suspected = signal.audio
                if turn and not turn.speaking and self._ended is None:
                    turn.suspected = clock.now + self.policy.suspicion_hold
            case SpeechPaused() if self._voice:
                self._voice.paused = clock.now
            case EarHeard() if self._voice:
                self._voice.ear = signal
            case AudioStalled():
                clock.stall(signal.heard)
                self._speech_stopped(clock.audio)
            case EndOfAudio():
                self._ended = clock.now
                self._speech_stopped(clock.audio)
            case Transcript():
                self._transcript(signal)
            case UtteranceEnd() if turn:
                turn.said.utterance_ended(signal, clock.audio, turn.words, turn.voice)
            case ProviderTurn(kind="started") if turn:
                turn.told_whole = True
            case ProviderTurn(kind="eager_end") if turn and turn.words:
                self._out += turn.told.predict(clock.now, turn.words.text)
            case ProviderTurn(kind="resumed") if turn and turn.words:
                turn.said.turn_resumed()
                self._out += turn.told.resume(clock.now)
            case ProviderTurn(kind="ended", audio=audio) if turn and turn.words:
                turn.said.turn_ended(clock.now, audio, turn.words, turn.voice)
            case LinkLost():
                self._finalizes.lost()
            case LinkRestored():
                self._finalizes.restored(signal)
                self._ledger.link_restored()
                if turn:
                    turn.words.keep(signal.audio)
            case AgentSpeech(kind=kind):
                self._agent.hear(signal)
                if kind == "stopped" and turn:
                    turn.told.agent_stopped(clock.now)
            case AgentSaid(text=text):
                self._agent.say(text, self.policy.words.base, clock.now)
            case Asked(expectations=expectations, keep=keep):
                self._agent.question.expect(expectations, keep=keep)
            case PolicyChanged(policy=policy):
                self.policy = policy
            case AppCommand(kind="hold" | "release" as kind):
                self._held = kind == "hold"
            case AppCommand(kind="force_end") | KeyPressed(key="#"):
                self._force_end(turn)
            case AppCommand(kind="clear"):
                self._clear()
            case KeyPressed(key=key):
                self._press(key)
            # A Tick says nothing more. ProviderSpeechStarted is a hint at most: it fires on noise, and in mid-turn.

    def _speech_started(self, signal: SpeechStarted) -> None:
        if self._voice and self._voice.stop is None:
            return
        self._clock.heard(signal.heard)
        audio = min(signal.audio, self._clock.audio)
        self._ledger.speech_started(audio)
        turn = self._turn
        if turn and turn.voice and turn.voice.stop is not None:
            self._pauses = self._pauses.add(audio - turn.voice.stop)
        before = turn.speech(audio) if turn and turn.voice else 0.0
        late = lateness(audio, self._clock.audio, self._suspected)
        self._voice = Voice(audio, self._clock.now, before=before, late=late)
        if turn:
            turn.voice, turn.suspected = self._voice, -math.inf
            self._out += turn.told.resume(self._clock.now)
        elif not (self.policy.echo_words and self._agent.may_echo(self._clock.now)):
            self._open(audio)  # else its words will tell whose voice it is

    def _speech_stopped(self, audio: float) -> None:
        voice = self._voice
        if voice is None or voice.stop is not None:
            return
        voice.stop, voice.noticed = max(audio, voice.start), self._clock.now
        last = self._ledger.last
        if self._turn is None and last and last.cut and voice.start < last.limit < voice.stop - _RESPEAK:
            # A turn was ended while its user spoke on; what came after that is a turn too.
            self._open(last.limit).voice = Voice(last.limit, voice.noticed, voice.stop, late=voice.late)

    def _transcript(self, result: Transcript) -> None:
        clock, ledger = self._clock, self._ledger
        upto = reach(result.words, result.end)
        if clock.stalled and upto > clock.audio:
            clock.heard(min(upto, clock.now - clock.offset))  # audio flows again
        upto = min(upto, clock.audio)
        behind = None if result.is_final or self._ended is not None else max(0.0, round(clock.audio - result.end, 6))
        if ledger.delivered(result):
            result = replace(result, words=())
        if result.finalized:
            settled = self._finalizes.answer(clock.now, upto, empty=not result.words)
            if settled and not result.words:
                # Nothing was left: all audio up to the request is covered, whatever span the answer claims.
                result = replace(result, end=max(result.end, settled.audio))
        result = ledger.unsaid(result)
        if self._turn and self._turn.voice:
            result = self._turn.voice.lay_out(result, self._turn.told.started.audio_start)
        if result.is_final:
            ledger.cover(upto)
        result = self._agent.sift(result, int(self.policy.echo_words), clock)
        past, present = ledger.split(result)
        for closed, late in past:
            if words := closed.amend(late):
                news = words.text, tuple(words.all), words.confirmed
                self._out.append(TurnAmended(closed.number, self.channel, clock.now, *news))
        starts = [word.start for word in present.words if has_word(word.text)] if present else []
        if self._turn is None and starts:
            self._open(min(starts))
        if self._turn and present:
            self._turn.add(present, clock.audio)
            self._grown(self._turn, behind=behind)

    def _grown(self, turn: Turn, *, key: bool = False, behind: float | None = None) -> None:
        """Tell of its words, unless they are the same as before."""
        text, told = turn.words.text, turn.told
        self._agent.question.begun |= told.text != text
        if not told.predicts(text):
            self._out += told.resume(self._clock.now)
        told.interrupts |= told.started.agent_speaking and (key or self.policy.is_interruption(text, 0.0))
        if told.text != text:
            self._update(turn, behind)

    def _press(self, key: str) -> None:
        """A key is a word of the turn, and to press one interrupts an agent that speaks."""
        audio = self._clock.audio
        if self._turn is None and has_word(key):
            self._open(audio)
        if self._turn is not None:
            self._turn.words.press(Word(key, audio, audio), self._clock.now)
            self._grown(self._turn, key=True)

    def _force_end(self, turn: Turn | None) -> None:
        if turn is None:
            self._forced = self._clock.now
        else:
            turn.forced = self._clock.now
        request = turn.covering(self._finalizes.last) if turn else None
        under_way = request is not None and request.answered is None
        if self._finalizes.connected and not under_way and (turn is None or turn.unfinalised(request)):
            self._finalize(turn)

    def _clear(self) -> None:
        now, audio = self._clock.now, self._clock.audio
        self._ledger.close(self._turns, None, audio, audio, vad=True)
        if self._turn:
            self._out.append(TurnAbandoned(self._turns, self.channel, now, "cleared"))
        self._forced = self._turn = None

    def _open(self, audio: float) -> Turn:
        now, last, agent = self._clock.now, self._completed, self._agent
        # Words tell of their turn a second late: whether the agent spoke over it counts when it began.
        began = min(self._clock.session(audio), now)
        soon = last and began <= last.at + self.policy.continue_within and not agent.began_within(last.at, began)
        self._turns += 1
        continues = None
        if last and soon:
            continues, self._pauses = last.turn, self._pauses.add(audio - last.audio_end)
        agent.question.turn_opened(continues=continues is not None)
        started = TurnStarted(self._turns, self.channel, now, audio, agent.spoke_at(began), continues)
        turn = self._turn = Turn(Told(started, agent_ended=agent.stopped_after(began)), Words(now))
        voice = self._voice
        if voice and (voice.stop is None or audio < voice.stop):
            turn.voice = self._voice = Voice(voice.start, now, voice.stop, late=voice.late)
        if self._forced is not None and now <= self._forced + self.policy.finalize_timeout:
            turn.forced = self._forced
        self._forced = None
        self._out.append(started)
        return turn

    def _update(self, turn: Turn, behind: float | None = None) -> None:
        text, speech, backchannel = turn.words.text, turn.speech(self._clock.audio), self._is_backchannel(turn)
        self._out.append(turn.told.update(self._clock.now, text, speech, backchannel=backchannel, behind=behind))

    def _is_backchannel(self, turn: Turn) -> bool:
        """It only says "I am listening", and the agent has more to say."""
        told, clock = turn.told, self._clock
        over = told.started.agent_speaking and self.policy.is_backchannel(turn.words.text)
        return over and not told.answers_agent(clock, turn.ended_at(clock))

    def _finalize(self, turn: Turn | None) -> None:
        still = self._clock.stalled or self._ended is not None
        request = self._finalizes.send(self._clock, turn.speech_end if turn else None, still=still)
        if turn:
            turn.request = request
        self._out.append(Finalize(self.channel, self._clock.now))

    # -- what is decided -------------------------------------------------------------------------------------

    def _decide(self) -> None:
        """Do what is due now, and find the next deadline."""
        self.deadline = self.decision = None
        turn, now = self._turn, self._clock.now
        if turn is None:
            self._wait_for_user(now)
            return
        decision = self._judge(turn)
        if decision.ask <= now:
            self._finalize(turn)
            decision = self._judge(turn)
        if decision.when <= now:
            self._end(turn, decision)
            self._wait_for_user(now)
            return
        evident = max(decision.evident, decision.suspected) <= now and not (decision.view.unfinalised or self._held)
        if evident and turn.words and self.policy.predicts(decision.view.odds) and not self._is_backchannel(turn):
            self._out += turn.told.predict(now, turn.words.text)
        self.decision = decision
        pending = (decision.when, decision.evident, decision.suspected, decision.ask, self._interrupt(turn))
        self.deadline = min(at for at in pending if at > now)

    def _wait_for_user(self, now: float) -> None:
        """Tell once that nobody answers the agent; when, if nobody will."""
        if self._turn or self._ended is not None or (due := self._agent.idle_at(self.policy.idle_after)) is None:
            return
        if due <= now:
            self._out.append(UserIdle(self.channel, now, self._agent.told_idle()))
        else:
            self.deadline = due

    def _judge(self, turn: Turn) -> Decision:
        answer, policy = self._agent.question.answer(turn.words.text, self.policy.words.base), self.policy
        view = view_of(turn, self._clock, self._finalizes, policy, self._ended, self._pauses, answer)
        hold = turn.told.may_answer_until(self._clock) if self._is_backchannel(turn) else -math.inf
        suspected = turn.suspected if self._ended is None else -math.inf
        return decide(view, policy, forced=turn.forced, held=self._held, hold=hold, suspected=suspected)

    def _interrupt(self, turn: Turn) -> float:
        """Tell once that the turn cuts into the agent's speech; when it will, if its user just speaks on."""
        lasted = self.policy.interrupt_after
        due = turn.told.interrupts_at(turn.voice, lasted)
        if due <= self._clock.now and self.policy.is_interruption(turn.words.text, lasted):
            turn.told.interrupts = True
            self._update(turn)
        return due

    def _end(self, turn: Turn, decision: Decision) -> None:
        now, audio = self._clock.now, self._clock.audio
        self._turn = None
        if not turn.words:
            reason = "no_words" if turn.heard_out else "unheard"
            self._out.append(TurnAbandoned(self._turns, self.channel, now, reason))
            self._agent.misheard(now)
            return
        if not turn.told.predicts(turn.words.text):
            self._out += turn.told.resume(now)
        end = audio if turn.speech_end is None else turn.speech_end
        if decision.border and turn.said.border:
            audio = min(audio, turn.said.border.reach)
            end = min(end, audio)
        self._completed = completed(turn, decision, end, backchannel=self._is_backchannel(turn))
        self._out.append(self._completed)
        if not self._completed.backchannel:
            self._agent.answered(turn.words.text)
        if turn.forced is not None and turn.request and turn.request.sent >= turn.forced:
            # What is said after the command is not meant, but for what was told of it.
            audio = reach(turn.words.pending, turn.request.audio)
        vad, cut = turn.voice is not None, decision.reason in ("force_end", "safety_net")
        self._ledger.close(self._turns, turn.words, min(end, audio), audio, vad=vad, cut=cut)
        if decision.border and turn.voice and turn.speaking:
            self._speak_on(turn.voice, audio)

    def _speak_on(self, voice: Voice, border: float) -> None:
        """What is heard behind a border is the next turn's, whose voice may have begun before the border was known."""
        self._voice = Voice(max(voice.start, border), self._clock.now, late=voice.late)
        if voice.start >= border:
            self._open(voice.start)
            self._decide()
