"""What an application may tell a session, and ask it: the same on trio and on asyncio."""

from __future__ import annotations

from hearout.link.settings import LinkStats
from hearout.session.core import SessionCore
from hearout.vad import SpeechGate

__all__ = ["SessionControls"]


class SessionControls:
    """The synchronous members of a session. Once the block of ``open_session`` is left, commands do nothing."""

    _core: SessionCore
    _left = False

    def force_end(self, channel: int | None = None) -> None:
        """End the turn as soon as its words are final. ``channel`` None: the turns of all channels."""
        if not self._left:
            self._core.command("force_end", channel)

    def hold(self, channel: int | None = None) -> None:
        """Keep turns open until `release`. ``channel`` None: on all channels."""
        if not self._left:
            self._core.command("hold", channel)

    def release(self, channel: int | None = None) -> None:
        """Undo `hold`. ``channel`` None: on all channels."""
        if not self._left:
            self._core.command("release", channel)

    def clear(self, channel: int | None = None) -> None:
        """Drop what was heard so far. ``channel`` None: on all channels."""
        if not self._left:
            self._core.command("clear", channel)

    def send(self, message: str) -> None:
        """Send a message of the transcriber's own kind, as `Deepgram.configure` makes, behind the audio so far."""
        if not self._left:
            self._core.link.send(message)

    def agent_started(self) -> None:
        """The voicebot begins to speak: what its user says now is a barge-in, or a backchannel."""
        if not self._left:
            self._core.agent("started")

    def agent_stopped(self) -> None:
        """The voicebot has ceased to speak."""
        if not self._left:
            self._core.agent("stopped")

    @property
    def gates(self) -> list[SpeechGate]:
        """The voice detection of each channel, for meters; empty without."""
        return self._core.voice.gates

    @property
    def heard(self) -> float:
        """Seconds of audio heard so far."""
        return self._core.heard

    @property
    def now(self) -> float:
        """The session clock, seconds; only inside the block."""
        return self._core.now()

    @property
    def link_stats(self) -> LinkStats:
        """Counters of the connection."""
        return self._core.link.stats
