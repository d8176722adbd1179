"""AssemblyAI's ``Turn`` messages and heartbeats as results.

Each ``Turn`` has all words of the turn so far. A turn that is to be formatted comes twice, plain and then formatted:
the plain one is a result that may change, and final only if no formatted one follows before the next turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from hearout.fields import field_of, number_of, objects_of, span_of, speaker_of, time_of
from hearout.writing import printable
from hearout_policies.signals import ProviderTurn, Signal, Transcript, Word
from hearout_policies.words import spread

__all__ = ["AssemblyAITurns", "TurnOptions"]

_SETTLED = 1.0  # seconds; of what was received so long ago all is told
_VOICE = 0.4  # AssemblyAI's vad_threshold when none is given


class TurnOptions(NamedTuple):
    """Options that change what messages mean.

    Attributes:
        own_turns: an end of AssemblyAI's turn only makes words final.
        formatted: a turn that ends comes once more.
        word_by_word: a word that is final stays as it is before the turn ends.
        eager_threshold: confidence from which an end is predicted; None: by the text of an ``utterance``.
    """

    own_turns: bool
    formatted: bool
    word_by_word: bool
    eager_threshold: float | None


class AssemblyAITurns:
    """Reads the messages of one connection, in order. Pure, but for what it remembers of the turns before."""

    def __init__(self) -> None:
        # Times are seconds of the connection's clock.
        self._final = 0.0  # so far is all final
        self._turn = 0  # turn_order of the turn it is in
        self._told = 0  # words of that turn that were told as final
        self._plain: Transcript | None = None  # an ended turn that awaits its formatting
        self._open: tuple[Word, ...] = ()  # words of the turn that are not final
        self._quiet = 0.0  # received when the last heartbeat had heard no voice
        self._eager = False  # the end of this turn was predicted

    def read(self, data: dict[str, Any], at: float, offset: float, how: TurnOptions) -> Iterator[Signal]:
        """What a ``Turn`` message means."""
        order, ends = int(time_of(data, "turn_order")), field_of(data, "end_of_turn", bool, False)
        words, finals, timed = _words(data, self._final + offset, offset)
        if order < self._turn:
            return  # it was said before its formatting came
        if order > self._turn:
            yield from self.settle(at, offset, how)
            self._turn, self._told, self._eager = order, 0, False
        if ends and (not how.formatted or field_of(data, "turn_is_formatted", bool, False)):
            yield self._result(words[self._told :], at, offset, timed, is_final=True, ended_by=how)
            self._turn, self._told, self._eager, self._plain = order + 1, 0, False, None
            if not how.own_turns:
                yield ProviderTurn(at, "ended", self._final + offset)
            return
        if how.word_by_word and finals > self._told:
            # Here a word that is final stays as it is: it need not wait for the end of the turn.
            yield self._result(words[self._told : finals], at, offset, timed, is_final=True)
            self._told = finals
        result = self._result(words[self._told :], at, offset, timed)
        self._plain = result if ends else None
        yield result
        if not how.own_turns:
            yield from self._predict(data, result, how)

    def _result(
        self,
        words: tuple[Word, ...],
        at: float,
        offset: float,
        timed: bool,
        *,
        is_final: bool = False,
        ended_by: TurnOptions | None = None,
    ) -> Transcript:
        """A result from where the last final one ended to the last of ``words``.

        ``ended_by``: AssemblyAI's turn ends with it; None: it does not.
        """
        start = self._final + offset
        end = max(start, words[-1].end) if words else start
        self._open = () if is_final else words
        if is_final:
            self._final = end - offset
        endpoint = ended_by is not None and not ended_by.own_turns
        finalized = ended_by is not None and ended_by.own_turns
        return Transcript(at, words, start, end, is_final, endpoint, finalized, timed)

    def settle(self, at: float, offset: float, how: TurnOptions) -> Iterator[Signal]:
        """No formatted turn is to come: the plain one stands."""
        if (plain := self._plain) is not None:
            self._plain = None
            yield self._result(plain.words, at, offset, plain.timed, is_final=True, ended_by=how)

    def _predict(self, data: dict[str, Any], result: Transcript, how: TurnOptions) -> Iterator[Signal]:
        confidence = number_of(data, "end_of_turn_confidence") or 0.0
        eager = bool(data.get("utterance")) if how.eager_threshold is None else confidence >= how.eager_threshold
        if eager != self._eager:
            self._eager = eager
            yield ProviderTurn(result.at, "eager_end" if eager else "resumed", result.end)

    def heartbeat(self, data: dict[str, Any], at: float, offset: float) -> Transcript:
        """So far it listens. What lies before two heartbeats without a voice is silence, and final."""
        received = time_of(data, "total_audio_received_ms") / 1000
        start, voice = self._final + offset, (number_of(data, "max_speech_probability") or 0.0) >= _VOICE
        if self._open or voice:
            self._quiet = self._final
            return Transcript(at, self._open, start, max(received - _SETTLED + offset, start), is_final=False)
        self._final, self._quiet = max(self._final, min(self._quiet, received - _SETTLED)), received
        return Transcript(at, (), start, self._final + offset, is_final=True)


def _words(data: dict[str, Any], start: float, offset: float) -> tuple[tuple[Word, ...], int, bool]:
    """All words of the turn so far, how many of the first ones are final, and whether they have times."""
    words: list[Word] = []
    finals = 0
    for item in sorted(objects_of(data, "words"), key=lambda item: time_of(item, "start")):
        begin, end = span_of(item)
        if text := printable(field_of(item, "text", str, "")).strip():
            finals += finals == len(words) and field_of(item, "word_is_final", bool, False)
            speaker = speaker_of(item)
            words.append(
                Word(
                    text, begin / 1000 + offset, end / 1000 + offset, speaker=None if speaker == "UNKNOWN" else speaker
                )
            )
    texts = printable(field_of(data, "transcript", str, "")).split()
    return (tuple(words), finals, True) if words else (spread(texts, start, start), 0, not texts)
