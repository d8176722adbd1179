"""One open turn: what was gathered about it, and what that says."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from hearout_policies.clock import Clock
from hearout_policies.evidence import ENDPOINT_SLACK, ProviderSaid
from hearout_policies.finalizes import Request
from hearout_policies.signals import Transcript
from hearout_policies.told import Told
from hearout_policies.voice import Voice
from hearout_policies.words import Words

__all__ = ["Turn"]

# A VAD's end of speech and a provider's end of span agree within this, when both mean the same end (seconds).
# webrtcvad's own tail is 60-160 ms.
_END_SLACK = 0.1
_UNHEARD_WORDS = 0.2  # words may outlast the VAD's end of speech by this much before they count
_WORD_DELAY = 1.5  # without a VAD: a word is shown at most this long after it was spoken, else the clocks disagree


@dataclass(slots=True)
class Turn:
    """One open turn.

    Attributes:
        told: what the application knows of it.
        words: said so far.
        voice: the stretch of speech that the VAD heard last in it; None: it heard none, there are only words.
        said: what the provider said of its end.
        request: the latest Finalize sent in this turn.
        told_whole: the provider detects turns itself, and tells each as a whole: what it leaves out was not said.
        forced: session clock: the application wants the end.
        suspected: session clock: by then it shows whether a sound is speech.
    """

    told: Told
    words: Words
    voice: Voice | None = None
    said: ProviderSaid = field(default_factory=ProviderSaid)
    request: Request | None = None
    told_whole: bool = False
    forced: float | None = None
    suspected: float = -math.inf

    def add(self, result: Transcript, heard: float) -> None:
        """Take in a result whose words all belong to this turn; ``heard``: audio heard by now."""
        self.words.add(result, heard, firm=self.heard_said and not self.told_whole)
        self.said.add(result, heard, self.words, self.voice)

    @property
    def sounds_over(self) -> float | None:
        """Probability that it is over by the sound of the voice, which has stopped; None: nobody has listened."""
        ear = self.voice.ear if self.voice and self.voice.stop is not None else None
        return ear.odds if ear and self.voice and ear.audio >= self.voice.known - _END_SLACK else None

    @property
    def speaking(self) -> bool:
        """The local VAD hears speech."""
        return self.voice is not None and self.voice.stop is None

    def speech(self, audio: float) -> float:
        """Seconds of speech in this turn up to ``audio``, pauses left out."""
        start = self.told.started.audio_start
        return self.voice.lasted(audio) if self.voice else max(0.0, (self.words.newest_end or start) - start)

    @property
    def speech_end(self) -> float | None:
        """Audio time at which speech ended; None while the VAD hears it, or when nothing was heard at all."""
        newest = self.words.newest_end
        if self.voice is None:
            return newest
        stop = self.voice.stop
        return newest if stop is not None and newest is not None and newest > stop + _UNHEARD_WORDS else stop

    @property
    def last_sign(self) -> float:
        """Session clock: when speech or words were last heard of."""
        return max(self.words.grown_at, self.voice.noticed) if self.voice else self.words.grown_at

    def ended_at(self, clock: Clock) -> float | None:
        """Session clock: when the user ceased to speak; None while the VAD hears speech."""
        end = self.speech_end
        if end is None:
            return None if self.voice else self.told.started.at
        at = clock.session(end)
        if self.voice is None:
            at = max(at, self.words.grown_at - _WORD_DELAY)
        return min(at, self.last_sign)  # it did not end after the last that was heard of it, whatever the times say

    @property
    def heard_said(self) -> bool:
        """The VAD heard the words being said: they end where its voice did, or a Finalize is out for them."""
        if self.voice is None:
            return False
        asked = self.request is not None and self.request.answered is None
        return asked or (self.voice.stop is not None and self.speech_end == self.voice.stop)

    @property
    def heard_out(self) -> bool:
        """The transcriber has heard all of the voice, or has answered the Finalize that asked it to."""
        if self.request and self.request.answered is not None:
            return True
        return self.voice is not None and self.words.reach >= self.voice.known - ENDPOINT_SLACK

    def unfinalised(self, request: Request | None) -> bool:
        """The transcriber may still owe words; ``request``: the Finalize that covers all speech."""
        if self.words.pending or self.speaking or (self.words.kept and request and request.answered is None):
            return True
        if self.said.endpoint_at(self.words, self.voice) is not None:
            return False
        if self.voice is None and self.words.keyed:
            return False
        if self.voice and self.voice.stop is not None:
            return self.voice.stop > self.words.covered + _END_SLACK
        waits = request is None or request.answered is None
        return waits and self.said.utterance_end_at(self.words, self.voice) is None

    def covering(self, request: Request | None) -> Request | None:
        """``request``, if it flushes all the speech there has been."""
        if request is None or self.last_sign <= request.sent:
            return request
        newest = -math.inf if self.words.newest_end is None else self.words.newest_end
        if self.voice:
            newest = max(newest, math.inf if self.voice.stop is None else self.voice.stop)
        return request if request.flushes(newest, vad=self.voice is not None) else None
