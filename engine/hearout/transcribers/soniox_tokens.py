"""Soniox's tokens, final and non-final, as results.

The latest transcript is all final tokens so far, then the non-final ones of the last message. A token carries
its own spaces and may be part of a word. ``<end>`` (an endpoint) and ``<fin>`` (the answer to a finalize) are
tokens too, but signals: they never become text, and their times, which are 0 or absent at will, are not used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from hearout.fields import field_of, number_of, speaker_of
from hearout.writing import printable, shown
from hearout_policies.signals import ProviderTurn, Transcript, Word
from hearout_policies.words import spread

__all__ = ["TokenReader"]

_END, _FIN = "<end>", "<fin>"
_INSTANT = 1e-3  # seconds
_MISSED = 0.3  # seconds; so much at least is in doubt when a message could not be read
_USUAL_LENGTH = 0.2  # seconds of speech for a token that has no times


class _Token(NamedTuple):
    """Times in seconds of the connection's clock; None where Soniox gives none."""

    text: str
    start: float | None
    end: float | None
    is_final: bool
    speaker: str | None = None


class TokenReader:
    """Reads the messages of one connection, in order. Pure, but for what it remembers of the tokens before.

    Attributes:
        missed: a message before could not be read, and may have held final tokens, which are never sent again.
    """

    def __init__(self) -> None:
        self.missed = False
        # Times are seconds of the connection's clock.
        self._final = 0.0  # audio up to here is final
        self._reach = 0.0  # here the last interim result ended
        self._pending = False  # the last interim result had words
        self._blank = False  # the last final token ended with a blank
        self._fresh = True  # no final token since the last marker

    def read(self, data: dict[str, Any], at: float, offset: float) -> Iterator[Transcript | ProviderTurn]:
        """The results in one message: for each marker what was final before it, then all the rest.

        Non-final tokens always follow the final ones. A result with the final ones is preceded by an interim
        one with all tokens: so the text changes once, from one latest transcript to the next. ``<end>`` is more than a
        pause: Soniox tells with it where a turn ends, and what stands behind it is the next one.
        """
        tokens = [token for item in field_of(data, "tokens", list, []) if (token := _token(item))]
        heard = _seconds(data, "total_audio_proc_ms")
        final = _seconds(data, "final_audio_proc_ms")
        if final is not None:
            # A new connection is fed from there, and should hear all of a word that is not final.
            starts = (t.start for t in tokens if not t.is_final)
            final = min([final, *(time for time in (heard, *starts) if time is not None)])
        groups = _groups(tokens)
        for number, (finals, marker) in enumerate(groups, 1):
            rest = [t for t in tokens if not t.is_final] if number == len(groups) else []
            # `final` holds at the end of the message; what stands in front of later final tokens ends with its own.
            more = any(later for later, _ in groups[number:])
            end = _end(finals, self._final, None if more else final)
            reach = max(end, self._reach if self._pending else 0.0)
            if number == len(groups):
                reach = max(reach, _end(rest, end, heard))
            words, timed = self._words(finals, self._final, end)
            if rest or self._pending or reach > end:
                tail, tail_timed = self._words(rest, end, reach, keep=False)
                yield Transcript(
                    at=at,
                    words=_moved((*_before(words, end), *tail), offset),
                    start=self._final + offset,
                    end=reach + offset,
                    is_final=False,
                    timed=timed and tail_timed,
                )
                self._pending, self._reach = bool(tail), reach
            if marker == _END:
                yield ProviderTurn(at, "ended", end + offset)
            if words or marker or end > self._final:
                yield Transcript(
                    at=at,
                    words=_moved(words, offset),
                    start=self._start(finals, end) + offset,
                    end=end + offset,
                    is_final=True,
                    endpoint=marker == _END,
                    finalized=marker == _FIN,
                    timed=timed,
                )
            self._final = end
            if marker:
                self._blank, self._fresh = False, True

    def _start(self, finals: Sequence[_Token], end: float) -> float:
        """Where a final result begins: behind the one before, or, when that was missed, with its own first token."""
        if not self.missed:
            return self._final
        self.missed = False
        starts = [token.start for token in finals if token.start is not None]
        return min(max(self._final + _MISSED, *starts[:1]), end) if starts else end

    def _words(
        self, tokens: Sequence[_Token], start: float, end: float, *, keep: bool = True
    ) -> tuple[tuple[Word, ...], bool]:
        """The tokens as words, and whether they have times; else they are laid out from ``start`` to ``end``.

        ``keep``: these are final, and what comes next joins them.
        """
        blank, fresh = self._blank, self._fresh
        words: list[Word] = []
        timed = any(token.start is not None and token.end is not None for token in tokens)
        now = start
        for token in tokens:
            parts = token.text.split()
            if parts:
                begin = now if token.start is None else token.start
                if not keep:
                    begin = max(begin, start)  # non-final audio lies behind the final
                now = max(begin, begin if token.end is None else token.end)
                # A segment may begin without a blank, and stands apart from the one before all the same.
                apart = blank or token.text[0].isspace() or (fresh and any(c.isalnum() for c in parts[0]))
                placed = (Word(parts[0], begin, now),) if len(parts) == 1 else spread(parts, begin, now)
                first, *others = (replace(word, speaker=token.speaker) for word in placed)
                words += (replace(first, spaced=apart), *others)
                fresh = False
                blank = token.text[-1].isspace()
            elif token.text:
                blank = True
        if keep:
            self._blank, self._fresh = blank, fresh
        if not timed:
            places = spread([word.text for word in words], start, end)
            words = [
                replace(place, spaced=word.spaced, speaker=word.speaker)
                for place, word in zip(places, words, strict=True)
            ]
        return tuple(words), timed or not words


def _token(item: object) -> _Token | None:
    """One token; None for those that say nothing about the speech: translations."""
    if not isinstance(item, dict):
        raise ValueError(f'"tokens" must hold objects, not {shown(item)}')
    if item.get("translation_status") == "translation":
        return None
    text = printable(field_of(item, "text", str, ""))
    is_final = field_of(item, "is_final", bool, False)
    if text.strip() in (_END, _FIN):
        return _Token(text.strip(), None, None, True)
    start, end = _seconds(item, "start_ms"), _seconds(item, "end_ms")
    if start is not None and end is not None and end < start:
        raise ValueError(f"a token ends at {end:g} s, before it starts at {start:g} s")
    return _Token(text, start, end, is_final, speaker_of(item))


def _groups(tokens: Sequence[_Token]) -> list[tuple[list[_Token], str | None]]:
    """The final tokens up to each marker, and that; then those behind the last one, and None."""
    groups: list[tuple[list[_Token], str | None]] = []
    group: list[_Token] = []
    for token in tokens:
        if token.text in (_END, _FIN):
            groups.append((group, token.text))
            group = []
        elif token.is_final:
            group.append(token)
    return [*groups, (group, None)]


def _end(tokens: Sequence[_Token], start: float, said: float | None) -> float:
    """Where the audio of ``tokens`` ends that follows on ``start``: where the message or they say, or an estimate."""
    ends = [time for time in (said, *(t.end for t in tokens)) if time is not None]
    return max(start, *ends) if ends else start + _USUAL_LENGTH * len(tokens)


def _seconds(data: dict[str, Any], key: str) -> float | None:
    value = number_of(data, key)
    return None if value is None else value / 1000


def _before(words: Sequence[Word], end: float) -> list[Word]:
    """``words``, but a punctuation mark at ``end`` begins before it: a final result up to there is to cover all."""
    return [replace(w, start=max(0.0, end - _INSTANT)) if w.start >= end else w for w in words]


def _moved(words: Sequence[Word], offset: float) -> tuple[Word, ...]:
    return tuple(replace(word, start=word.start + offset, end=word.end + offset) for word in words)
