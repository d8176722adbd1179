"""When to leave a connection that nobody has hung up: it hangs, or the provider is about to end it.

Pure: the link tells what was sent and heard, with times of trio's clock and audio time of the session.
"""

from __future__ import annotations

import math

from hearout.link.settings import LinkSettings
from hearout_policies.signals import ProviderSpeechStarted, ProviderTurn, Signal, Transcript, UtteranceEnd

__all__ = ["Watchdog"]

_ENOUGH = 5.0  # seconds of audio that no transcriber leaves without an answer
_PAUSE = 1.0  # seconds without words after which the user does not speak
_LATEST = 20.0  # seconds before the provider's limit at which a good moment is not waited for any longer


class Watchdog:
    """Watches one connection. It is alive as long as what it says reaches further than what it said before.

    One that is not expected to say anything before it is asked is alive as long as it answers.

    Attributes:
        reach: audio time up to which it has listened, as it says.
    """

    def __init__(
        self, settings: LinkSettings, longest: float | None, now: float, audio: float, *, tells_progress: bool = True
    ) -> None:
        """A connection that began at ``now``, is fed from ``audio`` on, and may last ``longest`` seconds."""
        self._tells_progress = tells_progress
        self._patience = settings.answer_timeout
        self._started, self._origin = now, audio
        limit = math.inf if longest is None else longest
        self._renew_from = limit - min(settings.renew, limit / 2)
        self._renew_at = limit - min(_LATEST, limit / 4)
        self.reach = self._said = audio
        self._waiting: tuple[float, float] | None = None  # when and what audio went out that nothing answered

    def sent(self, now: float, audio: float) -> None:
        """Audio up to ``audio`` goes out."""
        if self._waiting is None and self._tells_progress:
            self._waiting = now, audio

    def asked(self, now: float, audio: float) -> None:
        """Final results of all audio up to ``audio`` are asked for."""
        if self._waiting is None and not self._tells_progress:
            self._waiting = now, audio

    def heard(self, signal: Signal, sent: float) -> None:
        """What the transcriber told, of audio that was sent up to ``sent``."""
        if (reach := min(_reach(signal), sent)) > self.reach:
            self.reach, self._waiting = reach, None
        if not self._tells_progress and isinstance(signal, Transcript) and signal.finalized:
            self._waiting = None
        if words := getattr(signal, "words", ()):
            self._said = max(self._said, words[-1].end)

    def good_until(self, now: float) -> float:
        """Since when it has kept us waiting; ``now``: it does not."""
        return now if self._waiting is None else self._waiting[0]

    def hangs(self, now: float, sent: float) -> str | None:
        """Why it hangs, in one line; None: it does not."""
        if self._waiting is not None:
            since, audio = self._waiting
            if now - since >= self._patience and sent - audio >= _ENOUGH:
                return f"the transcriber has not answered for {now - since:.0f} s"
        return None

    def outlived(self, now: float, sent: float, finished: bool) -> bool:
        """Is it time for another connection, before the provider ends this one?

        Args:
            now: trio's clock.
            sent: audio time up to which audio was sent; a provider may count that, or the time.
            finished: all words so far are final.
        """
        age = max(now - self._started, sent - self._origin)
        return age >= self._renew_at or (age >= self._renew_from and finished and sent - self._said >= _PAUSE)


def _reach(signal: Signal) -> float:
    """How far the audio reaches that ``signal`` speaks about, in its own time; minus infinity: about none."""
    match signal:
        case Transcript(end=audio) | ProviderTurn(audio=audio) | ProviderSpeechStarted(audio=audio):
            return audio
        case UtteranceEnd(last_word_end=float(audio)):
            return audio
    return -math.inf
