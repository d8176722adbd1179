"""A shadow of a Pipecat bot. Needs the extra ``pipecat``."""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hearout.extras import needs_extra
from hearout.session.controls import chosen_policy
from hearout.shadow.beside import Beside
from hearout.shadow.folder import Folder
from hearout_policies.policy import Policy

with needs_extra("pipecat", __name__, "Pipecat 1.14 or newer"):
    from loguru import logger
    from pipecat.frames import frames
    from pipecat.observers.base_observer import BaseObserver, FramePushed
    from pipecat.processors.frame_processor import FrameDirection

    from hearout.integrations.pipecat import BotText
    from hearout.integrations.pipecat_frames import hear_line, hear_service

__all__ = ["Shadow"]


class Shadow(BaseObserver):
    """Writes a trace of each call of a bot, which it changes in nothing::

        PipelineWorker(pipeline, observers=[Shadow("calls/")])

    One for each `PipelineWorker`. The trace has what the bot heard, as Pipecat's frames tell it (voice detection,
    transcriptions, keys), what it said, when it ended each turn of the user and with what text, and when it let itself
    be interrupted; a replay tells what a turn machine would have decided beside. Pipecat hands frames to observers by a
    queue, and a thread writes the file. When something fails (a full disk), that is logged once, and nothing is written
    any more.

    Args:
        folder: where the files go; made when it is not there. Files are their owner's alone (mode 0600).
        policy: of the machine beside, as in `hearout.open_session`.
        redact: write no words, only how many there are, and when (`hearout.traces.recorder.redacted`).
        call_limit: bytes that the trace of a call may have; it ends there.
        limit: bytes that all traces in the folder may have: before a call the oldest are deleted.

    Raises:
        UsageError: the policy cannot be used, or a limit is none.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        policy: Policy | str = "balanced",
        redact: bool = False,
        call_limit: float = 10e6,
        limit: float = 1e9,
    ) -> None:
        super().__init__(observe_every_push=False)
        self._policy = chosen_policy(policy)
        self._folder = Folder(folder, redact=redact, call_limit=call_limit, limit=limit, warn=logger.warning)
        self._call = self._beside()
        self._said = BotText(lambda text: self._call.agent_said(text))
        self._muted = False
        self._latest = 0.0  # time.time() of the newest frame of the voice detection

    def _beside(self) -> Beside:
        return Beside(self._policy, self._folder, f"a shadow of pipecat-ai {version('pipecat-ai')}")

    def settle(self, timeout: float | None = None) -> None:
        """Wait until all is written that was heard up to now, ``timeout`` seconds at most; None: as long as it takes.

        For tests, and for programs that end by ``os._exit``: others end when all is written.
        """
        self._folder.settle(timeout)

    async def on_push_frame(self, data: FramePushed) -> None:
        frame = data.frame
        with self._call.safely():
            if isinstance(frame, frames.StartFrame):
                self._call.start()
            elif self._call.running:
                await self._said.on_push_frame(data)
                # What is broadcast goes up and down the pipeline, a frame each.
                if frame.broadcast_sibling_id is None or data.direction is FrameDirection.DOWNSTREAM:
                    self._see(frame)

    async def cleanup(self) -> None:
        await super().cleanup()
        with self._call.safely():
            self._call.finish()
        self._call, self._muted = self._beside(), False

    def _see(self, frame: Any) -> None:
        call = self._call
        match frame:
            case frames.BotStartedSpeakingFrame():
                call.bot_started()
            case frames.BotStoppedSpeakingFrame():
                call.bot_stopped()
            case frames.InterruptionFrame() if call.bot_speaking:
                call.interrupted()
            case frames.LLMContextUserTurnFrame():
                call.committed(frame.text)
            case frames.UserMuteStartedFrame() | frames.UserMuteStoppedFrame():
                self._muted = isinstance(frame, frames.UserMuteStartedFrame)
            case _ if not hear_line(call, frame) and not self._muted:
                self._hear(frame)

    def _hear(self, frame: Any) -> None:
        """What the bot hears of its user."""
        call = self._call
        match frame:
            case frames.VADUserStartedSpeakingFrame() if not call.speaking and self._is_news(frame):
                call.voice_started(_ago(frame.timestamp) + frame.start_secs)
            case frames.VADUserStoppedSpeakingFrame() if call.speaking and self._is_news(frame):
                call.voice_stopped(_ago(frame.timestamp) + frame.stop_secs)
            case frames.TranscriptionFrame():
                call.final(frame.text, finalized=frame.finalized)
            case _:
                hear_service(call, frame)

    def _is_news(self, frame: Any) -> bool:
        """The aggregator tells of its voice detection twice: by a frame that goes up at once, and by a queued one."""
        late = frame.timestamp <= self._latest
        self._latest = max(self._latest, frame.timestamp)
        return not late


def _ago(timestamp: float) -> float:
    """Seconds since then, which is `time.time()`; no frame is from the future, though clocks are set."""
    return max(0.0, time.time() - timestamp)
