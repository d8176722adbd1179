"""What a policy hears.

Every signal is a frozen dataclass whose ``at`` is the *session clock*: monotonic seconds since the session
began, stamped where the signal was noticed. Fields that speak about audio (``audio``, ``start``, ``end`` ...)
are on the *audio clock*: seconds of this channel's audio, one clock for the whole session even when
connections come and go. The two are never mixed: see `hearout_policies.clock`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hearout_policies.expect import Expectation

__all__ = [
    "KEYS",
    "REPLAY_SPEED",
    "VOICE",
    "AgentSaid",
    "AgentSpeech",
    "AppCommand",
    "Asked",
    "AudioStalled",
    "EarHeard",
    "EndOfAudio",
    "KeyPressed",
    "LinkLost",
    "LinkRestored",
    "PolicyChanged",
    "ProviderSpeechStarted",
    "ProviderTurn",
    "Signal",
    "SpeechPaused",
    "SpeechStarted",
    "SpeechStopped",
    "SpeechSuspected",
    "Tick",
    "Transcript",
    "UtteranceEnd",
    "Word",
]

#: The keys of a telephone.
KEYS = frozenset("0123456789*#ABCD")

#: Times real time; Deepgram takes audio of the past no faster.
REPLAY_SPEED = 1.25


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word, or part of one.

    Attributes:
        text: as it is to be shown, with punctuation where the provider gives it, without outer blanks.
        start, end: audio time in seconds.
        spaced: a blank stands between this word and the one before. False for the later parts of a word
            that arrives in pieces (Soniox tokens).
        speaker: label of the voice, as the transcriber has it; None: it tells none, or not of this word.
    """

    text: str
    start: float
    end: float
    spaced: bool = True
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The local VAD hears speech.

    Attributes:
        audio: where the speech began, back-dated to the real onset.
        heard: how much audio had been heard when this was noticed.
    """

    at: float
    audio: float
    heard: float


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The local VAD no longer hears speech.

    Attributes:
        audio: where the speech ended, back-dated to the real end (hang-over and tail taken off).
        heard: how much audio had been heard when this was noticed.
    """

    at: float
    audio: float
    heard: float


@dataclass(frozen=True, slots=True)
class SpeechSuspected:
    """The local VAD hears a sound that is too short yet to call it speech; `SpeechStarted` follows within 0.1 s or not.

    It may put off an end of turn so long, and does nothing else.

    Attributes:
        audio: where the sound began.
        heard: how much audio had been heard when this was noticed.
    """

    at: float
    audio: float
    heard: float


@dataclass(frozen=True, slots=True)
class SpeechPaused:
    """The local VAD hears no speech for the moment; `SpeechStopped` follows within 0.1 s, unless the user goes on.

    The transcriber may be asked for its words already, and an ear may listen. It decides nothing.

    Attributes:
        audio: where the speech ended, if it has.
        heard: how much audio had been heard when this was noticed.
    """

    at: float
    audio: float
    heard: float


@dataclass(frozen=True, slots=True)
class EarHeard:
    """An ear has listened to the voice before a silence.

    Attributes:
        audio: it has heard the audio up to here.
        odds: probability that the turn is over, had ends and pauses been equally frequent: 0.5 says nothing.
    """

    at: float
    audio: float
    odds: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """One result of the transcriber.

    An interim result (``is_final`` False) replaces the interim before it; a final one never changes again.

    Attributes:
        words: may be empty; an empty result can still carry ``endpoint`` or ``finalized``.
        start, end: the span of audio this result speaks about, silence included. Not the span of its words.
        endpoint: the provider heard an end of speech here (Deepgram ``speech_final``, Soniox ``<end>``).
        finalized: this result answers a Finalize (Deepgram ``from_finalize``, Soniox ``<fin>``).
        timed: the words have times of their own; False: they were laid out over the span, which says little.
    """

    at: float
    words: tuple[Word, ...]
    start: float
    end: float
    is_final: bool
    endpoint: bool = False
    finalized: bool = False
    timed: bool = True


@dataclass(frozen=True, slots=True)
class UtteranceEnd:
    """The provider saw a gap between words that is long enough (Deepgram ``UtteranceEnd``).

    Attributes:
        last_word_end: audio time; None where the provider says -1: the words were finalised before.
    """

    at: float
    last_word_end: float | None


@dataclass(frozen=True, slots=True)
class ProviderSpeechStarted:
    """The provider's own VAD fired. A hint: it also fires on noise, in mid-turn, and twice."""

    at: float
    audio: float


@dataclass(frozen=True, slots=True)
class ProviderTurn:
    """The provider's own turn detection spoke: Deepgram Flux, Soniox's ``<end>``, and alike."""

    at: float
    kind: Literal["started", "eager_end", "resumed", "ended"]
    audio: float


@dataclass(frozen=True, slots=True)
class LinkLost:
    """The connection to the transcriber is gone; Finalizes that were not answered never will be."""

    at: float


@dataclass(frozen=True, slots=True)
class LinkRestored:
    """A new connection is up.

    Attributes:
        audio: audio time from which it is fed; everything before this is covered by final results.
        speed: how much faster than real time it is fed what has been heard since then; None: as fast as it takes it.
    """

    at: float
    audio: float
    speed: float | None = REPLAY_SPEED


@dataclass(frozen=True, slots=True)
class AudioStalled:
    """No audio arrives any more (mute, discontinuous transmission). Counts as silence until speech starts.

    Attributes:
        heard: how much audio had been heard by then.
    """

    at: float
    heard: float


@dataclass(frozen=True, slots=True)
class AgentSpeech:
    """The voicebot itself began or ceased to speak."""

    at: float
    kind: Literal["started", "stopped"]


@dataclass(frozen=True, slots=True)
class AppCommand:
    """The application takes a hand.

    ``force_end`` ends the turn as soon as its words are final; ``hold`` keeps it open until ``release``;
    ``clear`` drops what was heard so far.
    """

    at: float
    kind: Literal["force_end", "hold", "release", "clear"]


@dataclass(frozen=True, slots=True)
class AgentSaid:
    """What the voicebot says, as text: when it begins to say it, or a little before."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The application says what it asked its user for.

    Attributes:
        expectations: any of them will do; none: what the agent says counts.
        keep: until it is changed; False: for the next turn.
    """

    at: float
    expectations: tuple[Expectation, ...]
    keep: bool = False


@dataclass(frozen=True, slots=True)
class KeyPressed:
    """The user pressed a key of the telephone.

    Attributes:
        key: ``0`` to ``9``, ``*``, ``A`` to ``D``; ``#`` ends the turn.
    """

    at: float
    key: str


@dataclass(frozen=True, slots=True)
class PolicyChanged:
    """From now on another policy judges, also of what has been heard already.

    Attributes:
        policy: a `hearout_policies.Policy`. (Its rules know signals, so that signals cannot know its type.)
    """

    at: float
    policy: Any


@dataclass(frozen=True, slots=True)
class EndOfAudio:
    """No audio will come any more; results for what was sent still may."""

    at: float


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed, nothing else happened."""

    at: float


#: What the local VAD tells, by the names of its edges.
VOICE: Mapping[str, type[SpeechStarted | SpeechStopped | SpeechSuspected | SpeechPaused]] = {
    "start": SpeechStarted,
    "stop": SpeechStopped,
    "maybe": SpeechSuspected,
    "pause": SpeechPaused,
}

Signal = (
    SpeechStarted
    | SpeechStopped
    | SpeechSuspected
    | SpeechPaused
    | EarHeard
    | Transcript
    | UtteranceEnd
    | ProviderSpeechStarted
    | ProviderTurn
    | LinkLost
    | LinkRestored
    | AudioStalled
    | AgentSpeech
    | AgentSaid
    | Asked
    | KeyPressed
    | PolicyChanged
    | AppCommand
    | EndOfAudio
    | Tick
)
