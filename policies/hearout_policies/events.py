"""What the application hears, and what a policy asks of the engine.

Events say something about a *turn*; commands ask the engine to act. Both are frozen dataclasses with a
``type`` in snake case, and `as_dict` gives the form that ``--json`` prints and traces compare.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

from hearout_policies.signals import Word

__all__ = [
    "Answer",
    "Event",
    "Finalize",
    "Opinion",
    "Output",
    "Timings",
    "TurnAbandoned",
    "TurnAmended",
    "TurnCompleted",
    "TurnPredicted",
    "TurnResumed",
    "TurnStarted",
    "TurnUpdated",
    "UserIdle",
    "as_dict",
]


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time between the end of speech and the decision went. Session clock; None: did not happen.

    Attributes:
        speech_end: the user ceased to speak.
        noticed: the engine knew that (VAD hang-over, or the arrival of the last word).
        finalize_sent, answered: the Finalize that covers this turn's end, and its answer.
        decided: the turn was completed.
    """

    speech_end: float | None
    noticed: float | None
    finalize_sent: float | None
    answered: float | None
    decided: float

    @property
    def latency(self) -> float | None:
        """Seconds between the end of speech and the decision."""
        return None if self.speech_end is None else self.decided - self.speech_end


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one rule said when the turn was completed. Session clock; None: nothing.

    Attributes:
        rule: its name.
        deadline: it would have completed the turn then.
        hold: it objected to anything earlier.
    """

    rule: str
    deadline: float | None
    hold: float | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a turn is as an answer to what was asked (`hearout_policies.expect`).

    Attributes:
        kind: name of the expectation that it meets: ``digits``, ``email`` ...
        value: what was read, in its usual form; None: nothing yet.
        complete: it is a whole one; False: its beginning.
        final: nothing can follow any more.
    """

    kind: str
    value: str | None
    complete: bool
    final: bool = False


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """The user began to speak.

    Attributes:
        audio_start: audio time of the onset, or of the first word when no VAD heard it.
        agent_speaking: the agent was speaking at that moment: a barge-in, or a backchannel.
        continues: number of the turn this one goes on from: it starts soon after that one's end, as the caller counts
            time, and the agent has not begun to speak in between.
    """

    type: ClassVar[str] = "turn_started"
    turn: int
    channel: int
    at: float
    audio_start: float
    agent_speaking: bool = False
    continues: int | None = None


@dataclass(frozen=True, slots=True)
class TurnUpdated:
    """The text so far changed, or the turn became an interruption.

    Attributes:
        text: all finals, then the latest interim.
        interrupts: the agent was speaking when the turn started, and this is no backchannel any more: enough words,
            or speech for long enough. Stays true once it is.
        agent_speaking: as in `TurnStarted`.
        backchannel: the agent was speaking when the turn started, and so far this is an "uh-huh".
        speech: seconds of speech in this turn so far, pauses left out; without a VAD, from its first word to the
            newest.
        transcription_latency: seconds of audio heard so far, less where the interim result ends that brought this text:
            what Deepgram's pages measure. None: a final or a key brought it, or the audio is over.
    """

    type: ClassVar[str] = "turn_updated"
    turn: int
    channel: int
    at: float
    text: str
    interrupts: bool = False
    agent_speaking: bool = False
    backchannel: bool = False
    speech: float = 0.0
    transcription_latency: float | None = None


@dataclass(frozen=True, slots=True)
class TurnPredicted:
    """The evidence for the end of the turn is in; only the hold still runs. Start the reply."""

    type: ClassVar[str] = "turn_predicted"
    turn: int
    channel: int
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class TurnResumed:
    """The prediction was wrong: the user goes on, or said other words. Take the reply back.

    It stands while only the form of its text changes: case, punctuation.
    """

    type: ClassVar[str] = "turn_resumed"
    turn: int
    channel: int
    at: float


@dataclass(frozen=True, slots=True)
class TurnCompleted:
    """The user has finished. Exactly once per turn.

    Attributes:
        audio_start, audio_end: audio time of the turn's first and last speech.
        reason: name of the rule that decided.
        confirmed: False when some of the words were still interim, or the transcriber could not be asked about the
            last of the voice, or has not answered.
        agent_speaking: the agent was speaking when the turn started.
        backchannel: a short "uh-huh" while the agent spoke: not meant as a turn of its own. What was said over the
            agent's last words, or outlasted them, is an answer to them, unless the agent was halted for it.
        continues: as in `TurnStarted`.
        odds: probability that the turn was over, by words and voice.
        evidence: what that comes from: how the text ends, ``ear`` for the voice, ``answer`` for what the text is to
            what was asked, and what each alone says.
        opinions: what each rule said, in the policy's order; then ``suspicion``, when a sound that may have been speech
            put off the end.
        answer: to what was asked, by this turn and those that it continues; None: this is none, or nothing was asked.
    """

    type: ClassVar[str] = "turn_completed"
    turn: int
    channel: int
    at: float
    audio_start: float
    audio_end: float
    text: str
    words: tuple[Word, ...]
    reason: str
    confirmed: bool
    timings: Timings
    agent_speaking: bool = False
    backchannel: bool = False
    continues: int | None = None
    odds: float = 0.5
    evidence: tuple[tuple[str, float], ...] = ()
    opinions: tuple[Opinion, ...] = ()
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class TurnAmended:
    """Final words for a turn that was completed before they came. Carries the whole text as it is now."""

    type: ClassVar[str] = "turn_amended"
    turn: int
    channel: int
    at: float
    text: str
    words: tuple[Word, ...]
    confirmed: bool


@dataclass(frozen=True, slots=True)
class TurnAbandoned:
    """Speech without words, or words the application cleared.

    Attributes:
        reason: ``no_words``: the transcriber found none; ``unheard``: it has not said anything about this speech, so
            words may still come, as a turn of their own; ``cleared``.
    """

    type: ClassVar[str] = "turn_abandoned"
    turn: int
    channel: int
    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class UserIdle:
    """Nobody has spoken for `Policy.idle_after` seconds since the agent did; told once each time that it ceases.

    Attributes:
        since: session clock: when the agent ceased to speak, or the noise behind it.
    """

    type: ClassVar[str] = "user_idle"
    channel: int
    at: float
    since: float


@dataclass(frozen=True, slots=True)
class Finalize:
    """Command: make the transcriber finalise all audio up to now."""

    type: ClassVar[str] = "command"
    command: ClassVar[str] = "finalize"
    channel: int
    at: float


Event = TurnStarted | TurnUpdated | TurnPredicted | TurnResumed | TurnCompleted | TurnAmended | TurnAbandoned | UserIdle
Output = Event | Finalize


def as_dict(item: Any) -> dict[str, Any]:
    """The JSON form of an event or command: ``type`` first, then its fields; times rounded to milliseconds."""
    out: dict[str, Any] = {}
    if kind := getattr(item, "type", None):
        out["type"] = kind
    if command := getattr(item, "command", None):
        out["command"] = command
    for f in fields(item):
        out[f.name] = _plain(getattr(item, f.name))
    return out


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, Word):
        word = {"text": value.text, "start": round(value.start, 3), "end": round(value.end, 3)}
        return word if value.speaker is None else word | {"speaker": value.speaker}
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, (Timings, Opinion, Answer)):
        return as_dict(value)
    return value
