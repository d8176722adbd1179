"""How far final results reach, and what a transcriber says a second time. Pure; all in audio time of the session."""

from __future__ import annotations

from dataclasses import replace

from hearout_policies.signals import ProviderSpeechStarted, Signal, Transcript, UtteranceEnd
from hearout_policies.words import middle

__all__ = ["Coverage"]

_ROUNDING = 1e-3  # seconds; providers count in float32
_GAP = 0.25  # seconds; final results follow one another, a smaller hole is rounding or a provider's own trimming


class Coverage:
    """How far final results reach on each channel; cuts off what a replay says a second time.

    Channels share a connection, which is fed again from the point that all of them cover. Those that were
    ahead hear some of their audio twice.
    """

    def __init__(self, channels: int) -> None:
        self._ends = [0.0] * channels
        self._known = [0.0] * channels  # the ends when this connection began
        self._said = [0.0] * channels  # end of the last word of the latest interim result

    @property
    def until(self) -> float:
        """Audio time up to which every channel is final."""
        return min(self._ends)

    @property
    def finished(self) -> bool:
        """All words that were heard are final."""
        return all(said <= end + _ROUNDING for said, end in zip(self._said, self._ends, strict=True))

    def restart(self, audio: float) -> None:
        """A new connection is fed from ``audio`` on."""
        self._ends = [max(end, audio) for end in self._ends]
        self._known = list(self._ends)
        self._said = [0.0] * len(self._ends)

    def cover(self, channel: int, audio: float) -> None:
        """All words before ``audio`` are final, although no result says so."""
        self._ends[channel] = max(self._ends[channel], audio)

    def gap(self, channel: int, signal: Signal) -> tuple[float, float] | None:
        """The span that no final result covers although ``signal`` covers what comes behind it; None without."""
        if isinstance(signal, Transcript) and signal.is_final and signal.start > self._ends[channel] + _GAP:
            return round(self._ends[channel], 3), round(signal.start, 3)
        return None

    def admit(self, channel: int, signal: Signal, sent: float) -> Signal | None:
        """Note what ``signal`` covers; return what is new in it, or None when nothing is.

        Args:
            channel: where it was heard.
            signal: in audio time of the session.
            sent: audio time up to which audio was sent: no result covers more, whatever it says.
        """
        known = self._known[channel]
        match signal:
            case Transcript():
                if signal.is_final:
                    self._ends[channel] = max(self._ends[channel], min(signal.end, sent))
                else:
                    self._said[channel] = signal.words[-1].end if signal.words else 0.0
                if signal.start >= known - _ROUNDING:
                    return signal
                words = tuple(word for word in signal.words if middle(word) >= known)
                if signal.end <= known + _ROUNDING and not words and not signal.finalized:
                    return None
                return replace(signal, words=words, start=known, end=max(signal.end, known))
            case UtteranceEnd(last_word_end=float(audio)) | ProviderSpeechStarted(audio=audio):
                return None if audio < known - _ROUNDING else signal
        return signal
