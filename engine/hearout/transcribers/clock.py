"""How a provider's clock differs from the session's where it was fed silence that nobody recorded.

Pure. A dialect adds the offset of its connection to the provider's times; that would be audio time of the session,
had the provider heard nothing else. The silence in between moves all that comes behind it, and is taken out here.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hearout_policies.signals import ProviderSpeechStarted, ProviderTurn, Signal, Transcript, UtteranceEnd, Word

__all__ = ["ProviderClock", "position_of", "position_record", "silence_of", "silence_record"]

_MOST = 64  # stretches of silence that are known one by one; a provider speaks about the last few


class ProviderClock:
    """Where in the session's audio the times of one connection lie."""

    def __init__(self) -> None:
        # Where each begins, in seconds as a dialect gives them, and its length.
        self._silences: deque[tuple[float, float]] = deque()
        self._older = 0.0  # seconds of silence before all of these
        self._inserted = 0.0  # seconds of silence in all

    def restart(self) -> None:
        """A new connection has heard no silence but the session's own."""
        self._silences.clear()
        self._older = self._inserted = 0.0

    def insert(self, audio: float, seconds: float) -> None:
        """Silence goes out behind all audio before ``audio``, which is audio time of the session."""
        start = audio + self._inserted
        if self._silences and abs(sum(self._silences[-1]) - start) < 1e-6:
            start, before = self._silences.pop()
            self._silences.append((start, before + seconds))
        else:
            self._silences.append((start, seconds))
        self._inserted += seconds
        if len(self._silences) > _MOST:
            self._older += self._silences.popleft()[1]

    def audio(self, time: float) -> float:
        """Audio time of the session for a time that a dialect gave; all of a silence is the point where it stands."""
        return time - self._older - sum(min(max(time - start, 0.0), length) for start, length in self._silences)

    def place(self, signal: Signal) -> Signal:
        """``signal`` with all its times in audio time of the session."""
        if not self._inserted:
            return signal
        match signal:
            case Transcript():
                words = tuple(self._word(word) for word in signal.words)
                return replace(signal, words=words, start=self.audio(signal.start), end=self.audio(signal.end))
            case UtteranceEnd(last_word_end=float(audio)):
                return replace(signal, last_word_end=self.audio(audio))
            case ProviderSpeechStarted(audio=audio) | ProviderTurn(audio=audio):
                return replace(signal, audio=self.audio(audio))
        return signal

    def _word(self, word: Word) -> Word:
        return replace(word, start=self.audio(word.start), end=self.audio(word.end))


def silence_record(audio: float, seconds: float) -> str:
    """What a trace says of silence sent at ``audio``, audio time of the session: it moves the provider's clock."""
    return json.dumps({"type": "Silence", "audio": audio, "seconds": seconds})


def silence_of(message: Mapping[str, Any]) -> tuple[float, float] | None:
    """Place and length of the silence that was sent; None when something else was."""
    audio, seconds = message.get("audio"), message.get("seconds")
    if message.get("type") != "Silence" or not isinstance(audio, (int, float)) or not isinstance(seconds, (int, float)):
        return None
    return (float(audio), float(seconds)) if seconds > 0 else None


def position_record(audio: float) -> str:
    """What a trace says of how far audio was sent, where nothing else tells what a result is about."""
    return json.dumps({"type": "Audio", "audio": audio})


def position_of(message: Mapping[str, Any]) -> float | None:
    """How far audio was sent; None when something else was."""
    audio = message.get("audio")
    return float(audio) if message.get("type") == "Audio" and isinstance(audio, (int, float)) else None
