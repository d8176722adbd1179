"""The voice detection of a session: one gate a channel, which an application may have made."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hearout.audio import deinterleave
from hearout.session.blame import note
from hearout.vad import SpeechEdge, SpeechGate

__all__ = ["Detection"]


class Detection:
    """Asks the gates; one that fails is the end of all, and is not asked again.

    Args:
        make: makes a gate from a sample rate; None: there is no voice detection.

    Attributes:
        gates: of each channel; empty without.
        failure: what a gate raised; a note says which it was. For the caller to raise.
    """

    def __init__(self, make: Callable[[int], SpeechGate] | None, sample_rate: int, channels: int) -> None:
        self.gates = [make(sample_rate) for _ in range(channels)] if make else []
        self.failure: Exception | None = None
        self._channels = channels

    @property
    def speaking(self) -> bool:
        """On any channel."""
        return any(gate.speaking for gate in self.gates)

    def feed(self, pcm: bytes) -> Sequence[tuple[int, SpeechEdge]]:
        """What is noticed in a block of interleaved audio, by channel."""
        if not self.gates:
            return ()
        if self._channels == 1:
            return self._ask(0, self.gates[0].feed, pcm)
        monos = enumerate(deinterleave(pcm, self._channels))
        return [found for channel, mono in monos for found in self._ask(channel, self.gates[channel].feed, mono)]

    def flush(self) -> Sequence[tuple[int, SpeechEdge]]:
        """No audio comes for now, or any more: what can be said of what came."""
        return [found for channel, gate in enumerate(self.gates) for found in self._ask(channel, gate.flush)]

    def _ask(
        self, channel: int, question: Callable[..., Sequence[SpeechEdge]], *audio: bytes
    ) -> Sequence[tuple[int, SpeechEdge]]:
        if self.failure is not None:
            return ()
        try:
            edges = question(*audio)
            return [(channel, edge) for edge in edges] if edges else ()
        except Exception as error:
            note(error, f"the voice detection of channel {channel}")
            self.failure = error
            return ()
