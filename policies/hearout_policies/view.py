"""What a rule sees of the open turn."""

from __future__ import annotations

from dataclasses import dataclass

from hearout_policies.events import Answer
from hearout_policies.finalizes import Request
from hearout_policies.odds import NO_PAUSES, Pauses
from hearout_policies.text import Ending

__all__ = ["TurnView"]


@dataclass(frozen=True, slots=True)
class TurnView:
    """What a rule sees of the open turn. All times on the session clock, in seconds.

    Every attribute has a default, so that a rule can be asked about a view of a few: ``TurnView(speech_end=2.0)``.

    Attributes:
        now: the moment of judgement.
        opened: when the turn was opened.
        speaking: the local VAD hears speech.
        voice_at: while it does: when it noticed that, after the pause before.
        paused: while it does: when it noticed a pause, last, that may be the end; None: there was none.
        vad: the local VAD heard this turn; False means only its words are known.
        late: seconds by which the VAD tells that speech begins, if it says nothing of it before.
        speech_end: when the user ceased to speak; None while the VAD hears speech. Without a VAD the end of the
            newest word.
        last_growth: when the words last changed; `opened` when there are none yet.
        last_words: likewise, or when a final last brought words: then the next interim is a while off.
        last_result: when the last final result came; None before the first.
        text: so far, interim words included.
        words: number of words in it.
        pending: number of words that are still interim.
        keyed: the newest of them is a key that was pressed, and no voice is known behind it.
        ending: how the text ends.
        odds: probability that the turn is over, by all the evidence of words and voice.
        evidence: what that comes from, as in `TurnCompleted`.
        answer: what the text is to what was asked; None: nothing, or nothing was asked.
        pauses: of this caller, within turns, so far.
        unfinalised: the transcriber may still owe words: some are interim, or there was speech behind the audio
            that final results cover.
        quiet: the transcriber has heard audio behind the newest word, and no word in it; or no audio arrives.
        owed: seconds of voice, in the latest stretch that the VAD heard, that no final result covers.
        observed: seconds of audio that the transcriber has heard behind the newest word.
        endpoint: arrival of a provider's endpoint that covers the newest word and the speech; else None.
        border: when the provider's own turn detection ended a turn that has all these words; else None. Voice that was
            heard since does not matter.
        utterance_end: arrival of a provider's utterance end that reaches the newest word; else None.
        request: the Finalize that covers all speech so far; None when there is none.
        latest_request: the latest Finalize, whatever it covers.
        link: the transcriber can be reached.
        ended: when the audio ended; None while more may come.
        backlog: seconds until the transcriber has worked through audio that is replayed to it.
        finalize_timeout: seconds to wait for the words that a Finalize asks for, of the policy.
    """

    now: float = 0.0
    opened: float = 0.0
    speaking: bool = False
    voice_at: float | None = None
    paused: float | None = None
    vad: bool = False
    late: float = 0.0
    speech_end: float | None = None
    last_growth: float = 0.0
    last_words: float = 0.0
    last_result: float | None = None
    text: str = ""
    words: int = 0
    pending: int = 0
    keyed: bool = False
    ending: Ending = Ending.NOTHING
    odds: float = 0.5
    evidence: tuple[tuple[str, float], ...] = ()
    answer: Answer | None = None
    pauses: Pauses = NO_PAUSES
    unfinalised: bool = False
    quiet: bool = False
    owed: float = 0.0
    observed: float = 0.0
    endpoint: float | None = None
    border: float | None = None
    utterance_end: float | None = None
    request: Request | None = None
    latest_request: Request | None = None
    link: bool = True
    ended: float | None = None
    backlog: float = 0.0
    finalize_timeout: float = 0.0

    @property
    def unanswered(self) -> bool:
        """There was voice that no final result covers, and the Finalize that asked for it has no answer."""
        return self.owed > 0 and self.unfinalised and self.request is not None and self.request.answered is None

    @property
    def last_sign(self) -> float:
        """When there was last a sign that its user speaks: the words changed, or the voice began again."""
        return self.last_growth if self.voice_at is None else max(self.last_growth, self.voice_at)
