"""One open turn: the evidence gathered about it, and the view of it that rules judge."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hearout_policies.clock import AudioClock
from hearout_policies.finalizes import Request
from hearout_policies.marks import spoken
from hearout_policies.signals import Transcript, UtteranceEnd
from hearout_policies.text import Ending, Language, classify
from hearout_policies.words import Words, respread

__all__ = ["Evidence", "Turn", "TurnView"]

# A VAD's end of speech and a provider's end of span agree within this, when both mean the same end (seconds).
# webrtcvad's own tail is 60-160 ms; a provider's endpoint needs silence, so it may lie a little before.
_END_SLACK = 0.1
_ENDPOINT_SLACK = 0.35
_WORD_SLACK = 0.05
_UNHEARD_WORDS = 0.2  # words may outlast the VAD's end of speech by this much before they count
_WORD_DELAY = 1.5  # without a VAD: a word is shown at most this long after it was spoken, else the clocks disagree
_PAUSE = 0.3  # without a VAD: so much audio between the newest word and a Finalize was a pause
_QUIET = 0.6  # so much audio without a word behind the newest one is silence


@dataclass(frozen=True, slots=True)
class Evidence:
    """Something that speaks for an end of the turn.

    Attributes:
        at: session clock of its arrival.
        reach: audio time up to which it speaks.
    """

    at: float
    reach: float


@dataclass(frozen=True, slots=True)
class TurnView:
    """What a rule sees of the open turn. All times on the session clock, in seconds.

    Attributes:
        now: the moment of judgement.
        opened: when the turn was opened.
        speaking: the local VAD hears speech.
        vad: the local VAD heard this turn; False means only its words are known.
        speech_end: when the user ceased to speak; None while the VAD hears speech. Without a VAD the end of the
            newest word.
        last_growth: when the words last changed; `opened` when there are none yet.
        last_words: likewise, or when a final last brought words: then the next interim is a while off.
        last_result: when the last final result came; None before the first.
        text: so far, interim words included.
        words: number of words in it.
        pending: number of words that are still interim.
        ending: how the text ends.
        unfinalised: the transcriber may still owe words: some are interim, or there was speech behind the audio
            that final results cover.
        quiet: the transcriber has heard audio behind the newest word, and no word in it; or no audio arrives.
        owed: seconds of voice, in the latest stretch that the VAD heard, that no final result covers.
        observed: seconds of audio that the transcriber has heard behind the newest word.
        endpoint: arrival of a provider's endpoint that covers the newest word and the speech; else None.
        utterance_end: arrival of a provider's utterance end that reaches the newest word; else None.
        request: the Finalize that covers all speech so far; None when there is none.
        latest_request: the latest Finalize, whatever it covers.
        link: the transcriber can be reached.
        ended: when the audio ended; None while more may come.
        backlog: seconds until the transcriber has worked through audio that is replayed to it.
    """

    now: float
    opened: float
    speaking: bool
    vad: bool
    speech_end: float | None
    last_growth: float
    last_words: float
    last_result: float | None
    text: str
    words: int
    pending: int
    ending: Ending
    unfinalised: bool
    quiet: bool
    owed: float
    observed: float
    endpoint: float | None
    utterance_end: float | None
    request: Request | None
    latest_request: Request | None
    link: bool
    ended: float | None
    backlog: float

    @property
    def unanswered(self) -> bool:
        """There was voice that no final result covers, and the Finalize that asked for it has no answer."""
        return self.owed > 0 and self.unfinalised and self.request is not None and self.request.answered is None


@dataclass(slots=True)
class Turn:
    """The evidence. Audio times unless said otherwise."""

    number: int
    audio_start: float
    opened: float  # session clock
    agent_speaking: bool
    continues: int | None
    words: Words = field(default_factory=Words)
    speech_start: float | None = None  # of the current, or latest, stretch of speech the VAD heard
    speech_stop: float | None = None  # ... and where it stopped; None while it goes on
    speech_before: float = 0.0  # seconds of speech before that stretch
    onset_noticed: float = float("-inf")  # session clock: when it was known that it had started
    noticed: float | None = None  # session clock: when the engine knew that the user had ceased to speak
    last_growth: float = 0.0  # session clock
    last_result: float | None = None  # session clock
    last_words: float = 0.0  # session clock: of the last growth, or of a final with words
    words_from: float = float("-inf")  # the newest word ends no earlier: where times are known, that is its end
    provider_heard: float = float("-inf")
    endpoint: Evidence | None = None
    utterance_end: Evidence | None = None
    forced: float | None = None  # session clock: the application wants the end
    heard: float = 0.0  # audio heard when the last result came: no word can end later
    predicted: str | None = None  # the text last predicted, while that stands
    shown: str = ""  # the text last told to the application
    finalize: Request | None = None  # the last Finalize sent in this turn
    news: bool = True  # speech or words since then
    ending: tuple[str, Ending] = ("", Ending.NOTHING)  # of the text it was last worked out for
    interrupts: bool = False  # it cuts into the agent's speech, and is more than a backchannel
    suspected: float = float("-inf")  # session clock: by then it shows whether a sound is speech

    @property
    def vad(self) -> bool:
        """The local VAD heard this turn."""
        return self.speech_start is not None

    @property
    def speaking(self) -> bool:
        """The local VAD hears speech."""
        return self.vad and self.speech_stop is None

    @property
    def last_sign(self) -> float:
        """When speech or words were last heard of (session clock)."""
        return max(self.opened, self.last_growth, self.noticed or self.opened)

    @property
    def newest_end(self) -> float | None:
        """Where the newest word ends; None without words."""
        newest = self.words.newest_end
        return None if newest is None else min(newest, self.heard)

    @property
    def speech_end(self) -> float | None:
        """Where speech ended; None while the VAD hears it, or when nothing was heard at all."""
        newest = self.newest_end
        if self.vad and (self.speech_stop is None or newest is None or newest <= self.speech_stop + _UNHEARD_WORDS):
            return self.speech_stop
        return newest

    def speech(self, audio: float) -> float:
        """Seconds of speech in this turn up to ``audio``, pauses left out."""
        if self.speech_start is None:
            return max(0.0, (self.newest_end or self.audio_start) - self.audio_start)
        end = audio if self.speech_stop is None else self.speech_stop
        return self.speech_before + max(0.0, end - self.speech_start)

    @property
    def heard_out(self) -> bool:
        """The transcriber has heard all of the speech, or has answered the Finalize that asked it to."""
        if self.finalize and self.finalize.answered is not None:
            return True
        end = self.speech_end if self.speech_end is not None else self.speech_start
        return end is not None and max(self.provider_heard, self.words.covered) >= end - _ENDPOINT_SLACK

    def ended_at(self, clock: AudioClock) -> float | None:
        """When the user ceased to speak (session clock); None while the VAD hears speech."""
        end = self.speech_end
        if end is None:
            return None if self.vad else self.opened
        at = clock.session(end)
        # It did not end after the last that was heard of it, whatever the times say.
        return min(at if self.vad else max(at, self.last_growth - _WORD_DELAY), self.last_sign)

    def view(
        self,
        now: float,
        clock: AudioClock,
        words: Language,
        *,
        latest: Request | None,
        link: bool,
        ended: float | None,
        backlog: float,
    ) -> TurnView:
        """What rules may know of it at ``now``."""
        request = self.request(latest)
        newest = self.newest_end
        observed = 0.0 if newest is None else max(0.0, self.provider_heard - newest)
        return TurnView(
            now=now,
            opened=self.opened,
            speaking=self.speaking,
            vad=self.vad,
            speech_end=self.ended_at(clock),
            last_growth=self.last_growth,
            last_words=max(self.last_words, self.last_growth),
            last_result=self.last_result,
            text=self.words.text,
            words=len(self.words),
            pending=len(self.words.pending),
            ending=self._ending(words),
            unfinalised=self.is_unfinalised(request),
            quiet=clock.stalled or observed >= _QUIET,
            owed=self._owed,
            observed=observed,
            endpoint=self.endpoint.at if self.endpoint and self.endpoint_holds() else None,
            utterance_end=self.utterance_end.at if self.utterance_end else None,
            request=request,
            latest_request=latest,
            link=link,
            ended=ended,
            backlog=backlog,
        )

    @property
    def _owed(self) -> float:
        if self.speech_start is None or self.speech_stop is None:
            return 0.0
        return max(0.0, self.speech_stop - max(self.words.covered, self.speech_start))

    def _ending(self, words: Language) -> Ending:
        if self.ending[0] != self.words.text:
            self.ending = (self.words.text, classify(self.words.text, words))
        return self.ending[1]

    def speech_started(self, audio: float, at: float = float("-inf")) -> None:
        """A stretch of speech, noticed ``at`` this moment. What spoke for an end before it is stale now."""
        self.speech_before = self.speech(audio) if self.vad else 0.0
        self.speech_start, self.speech_stop, self.onset_noticed, self.news = audio, None, at, True
        self.endpoint = self.utterance_end = None
        self.suspected = float("-inf")

    def speech_stopped(self, audio: float, at: float) -> None:
        self.speech_stop, self.noticed, self.news = max(audio, self.speech_start or audio), at, True

    def add(self, result: Transcript, heard: float) -> None:
        """Take in a result whose words all belong to this turn.

        Args:
            heard: audio heard by now; a provider that claims to have heard more is not believed.
        """
        before = spoken(self.words.text)
        end = min(result.end, heard)
        self.heard = heard
        self.provider_heard = max(self.provider_heard, end)
        if not result.is_final:
            self.words.set_interim(result.words, result.start, end)
        elif result.words or not result.finalized:
            self.words.add_final(result.words, result.start, end)
        else:
            # An empty answer to a Finalize: the transcriber owes nothing more. If interim words are still
            # pending it has dropped them, but a user was heard to say them: they stay, unconfirmed.
            self.words.covered = max(self.words.covered, end)
        if result.is_final:
            self.last_result = result.at
        if result.words:
            self.words_from = max(self.words_from, result.words[-1].end if result.timed else result.start)
        grown = spoken(self.words.text) != before
        if grown or (result.is_final and result.words):
            self.last_words = result.at
        if grown:
            self.last_growth, self.news = result.at, True
            if not self.vad:
                self.noticed = result.at
            self._drop_stale()
        # On the answer to a Finalize the flag is undefined (Deepgram: true, false or absent, by model): the answer
        # itself is the evidence.
        if result.endpoint and not result.finalized and self._is_news(end) and (self.words or self.vad):
            self.endpoint = Evidence(result.at, max([end, *(w.end for w in result.words)]))

    def lay_out(self, result: Transcript) -> Transcript:
        """Lay words without times over the part of their span in which the VAD heard speech."""
        if self.speech_start is None:
            return result
        start = max(result.start, self.audio_start)
        end = result.end if self.speech_stop is None else min(result.end, self.speech_stop)
        if end <= start:
            return result
        return replace(result, words=respread(result.words, start, end))

    def end_of_utterance(self, signal: UtteranceEnd) -> None:
        """Keep an utterance end unless it is stale: about the time before the newest word, or this turn."""
        newest = self.newest_end
        if newest is None:
            return
        if signal.last_word_end is None:  # "-1": the words were final before; news only while they are pending here
            if self.words.finals and not self.words.pending:
                self.utterance_end = Evidence(signal.at, newest)
            return
        reach = signal.last_word_end
        if reach >= min(newest, self.words_from) - _WORD_SLACK and self._is_news(reach):
            self.utterance_end = Evidence(signal.at, max(reach, newest))

    def _is_news(self, reach: float) -> bool:
        return self.speech_start is None or reach >= self.speech_start

    def _drop_stale(self) -> None:
        newest = self.newest_end
        for name in ("endpoint", "utterance_end"):
            evidence: Evidence | None = getattr(self, name)
            if evidence and newest is not None and newest > evidence.reach + _WORD_SLACK:
                setattr(self, name, None)

    def endpoint_holds(self) -> bool:
        """The endpoint covers all words and, once it has stopped, all speech."""
        if self.endpoint is None or self.words.pending:
            return False
        return self.speech_stop is None or self.speech_stop <= self.endpoint.reach + _ENDPOINT_SLACK

    def is_unfinalised(self, request: Request | None) -> bool:
        """Whether the transcriber may still owe words; see `TurnView.unfinalised`."""
        if self.words.pending or self.speaking:
            return True
        if self.endpoint_holds():
            return False
        if self.vad:
            return (self.speech_stop or 0.0) > self.words.covered + _END_SLACK
        return self.utterance_end is None and (request is None or request.answered is None)

    def request(self, latest: Request | None) -> Request | None:
        """The latest Finalize, if it covers all speech."""
        return latest if latest and self.covers(latest) else None

    def covers(self, request: Request) -> bool:
        """Whether ``request`` flushes all the speech there has been."""
        if not self.news:
            return True
        newest = self.newest_end
        if newest is not None and newest > request.audio + _WORD_SLACK:
            return False
        if self.speech_start is None:
            # Words right up to the moment of the Finalize: nobody was silent.
            return request.still or newest is None or newest <= request.audio - _PAUSE
        if self.speech_stop is not None:
            return self.speech_stop <= request.audio + _WORD_SLACK
        return self.speech_start <= request.audio and max(self.onset_noticed, self.last_growth) <= request.sent
