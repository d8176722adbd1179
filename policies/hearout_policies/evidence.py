"""What the provider says of an end of a turn.

It is kept as it came and judged when it is asked for: no late message has to take back what an earlier one said.
"""

from __future__ import annotations

from dataclasses import dataclass

from hearout_policies.signals import Transcript, UtteranceEnd
from hearout_policies.voice import Voice
from hearout_policies.words import Words, reach

__all__ = ["ENDPOINT_SLACK", "WORD_SLACK", "Evidence", "ProviderSaid"]

WORD_SLACK = 0.05  # seconds by which two messages may differ that speak about the end of one word
ENDPOINT_SLACK = 0.35  # a provider's endpoint needs silence, so it may lie a little before a VAD's end (seconds)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A provider's message that the turn is over; what it is worth is judged when it is asked for.

    Attributes:
        at: session clock of its arrival.
        reach: audio time up to which it speaks.
        voice: the stretch of speech it came in, or after; None: the VAD had heard none in this turn.
    """

    at: float
    reach: float
    voice: Voice | None

    def stands(self, words: Words, voice: Voice | None) -> bool:
        """It reaches the newest word, and no speech has begun since."""
        newest = words.newest_end
        return self.voice is voice and (newest is None or newest <= self.reach + WORD_SLACK)


@dataclass(slots=True)
class ProviderSaid:
    """All of it about one turn, whose words and voice each question brings.

    Attributes:
        border: the latest end of a turn, by the provider's own turn detection.
        endpoint: likewise, or of speech; unless it is about the time before the latest stretch of voice.
        utterance_end: the latest gap between words.
    """

    border: Evidence | None = None
    endpoint: Evidence | None = None
    utterance_end: Evidence | None = None

    def add(self, result: Transcript, heard: float, words: Words, voice: Voice | None) -> None:
        """Take in a result, whose words are taken in already; ``heard``: audio heard by now."""
        # On the answer to a Finalize Deepgram's flag is true, false or absent, by model: the answer is evidence enough.
        if result.endpoint and not result.finalized and (words or voice):
            end = min(result.end, heard)
            if voice is None or end >= voice.start:
                self.endpoint = Evidence(result.at, reach(result.words, end), voice)

    def turn_ended(self, at: float, audio: float, words: Words, voice: Voice | None) -> None:
        """The provider's own turn detection says that a turn is over."""
        self.border = Evidence(at, max(audio, words.newest_end or 0.0), voice)
        if voice is None or audio >= voice.start:
            self.endpoint = self.border

    def turn_resumed(self) -> None:
        """It takes that back."""
        self.endpoint = self.border = None

    def utterance_ended(self, signal: UtteranceEnd, heard: float, words: Words, voice: Voice | None) -> None:
        """Keep one that is not stale: about the time before the newest word, or the speech; ``heard``: audio so far."""
        newest, end = words.newest_end, signal.last_word_end
        if newest is None:
            return
        if end is None:  # "-1": the words were final before; news only while they are not told here
            if not words.finals or words.pending:
                return
        elif end < min(newest, words.newest_from) - WORD_SLACK or (voice and end < voice.start):
            return
        self.utterance_end = Evidence(signal.at, newest if end is None else max(min(end, heard), newest), voice)

    def endpoint_at(self, words: Words, voice: Voice | None) -> float | None:
        """When an endpoint came that covers all words and, once it has stopped, all speech."""
        if self.endpoint is None or words.pending or not self.endpoint.stands(words, voice):
            return None
        stop = voice.stop if voice else None
        return self.endpoint.at if stop is None or stop <= self.endpoint.reach + ENDPOINT_SLACK else None

    def border_at(self, words: Words) -> float | None:
        """When the provider ended a turn that has all the words, whatever speech was heard since."""
        border = self.border
        if border is None or not words or words.pending or not border.stands(words, border.voice):
            return None
        return border.at

    def utterance_end_at(self, words: Words, voice: Voice | None) -> float | None:
        """When an utterance end came that reaches the newest word."""
        end = self.utterance_end
        return end.at if end and end.stands(words, voice) else None
