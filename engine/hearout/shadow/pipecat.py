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
        caller: who calls, by a name that you choose, for `hearout report`; None: not known. It is not redacted.
        call_limit: bytes that a trace may have. Behind half of them it ends when the bot next begins to speak, and the
            call goes on in another.
        limit: bytes that all traces in the folder may have: before one is begun the oldest are deleted.

    Raises:
        UsageError: the policy cannot be used, or a limit is none.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        policy: Policy | str = "balanced",
        redact: bool = False,
        caller: str | None = None,
        call_limit: float = 10e6,
        limit: float = 1e9,
    ) -> None:
        super().__init__(observe_every_push=False)
        self._policy = chosen_policy(policy)
        self._caller = caller
        self._source = f"a shadow of pipecat-ai {version('pipecat-ai')}"
        self._folder = Folder(folder, redact=redact, call_limit=call_limit, limit=limit, warn=logger.warning)
        self._call = self._beside()
        self._said = BotText(lambda text: self._call.agent_said(text))
        self._muted = False
        self._turn_open = False  # as the bot's turn detection has it
        self._ending = False  # the call; nobody tells any more that the turn is over
        self._written: list[str] = []  # what went into the context since the turn began
        self._workers = 0  # that it watches
        self._latest = 0.0  # time.time() of the newest frame of the voice detection

    def _beside(self) -> Beside:
        return Beside(self._policy, self._folder, self._source, self._caller)

    def settle(self, timeout: float | None = None) -> None:
        """Wait until all is written that was heard up to now, ``timeout`` seconds at most; None: as long as it takes.

        For tests, and for programs that end by ``os._exit``: others end when all is written.
        """
        self._folder.settle(timeout)

    async def setup(self, task_manager: Any) -> None:
        await super().setup(task_manager)
        self._workers += 1
        if self._workers > 1:
            self._folder.fail("a Shadow watches one PipelineWorker, this one was given to two: make one for each")

    async def on_push_frame(self, data: FramePushed) -> None:
        frame = data.frame
        with self._call.safely():
            self._call.start()
            if self._call.running:
                await self._said.on_push_frame(data)
                # What is broadcast goes up and down the pipeline, a frame each.
                if frame.broadcast_sibling_id is None or data.direction is FrameDirection.DOWNSTREAM:
                    self._see(frame)

    async def cleanup(self) -> None:
        await super().cleanup()
        with self._call.safely():
            self._commit()
            self._call.finish()
        self._call, self._muted = self._beside(), False
        self._turn_open = self._ending = False
        self._written = []
        self._workers = max(self._workers - 1, 0)  # one that is added in mid-call is not set up

    def _see(self, frame: Any) -> None:
        call = self._call
        match frame:
            case frames.BotStartedSpeakingFrame():
                call.bot_started()
                self._call = call.continued()
            case frames.BotStoppedSpeakingFrame():
                call.bot_stopped()
            case frames.InterruptionFrame() if call.bot_speaking:
                call.interrupted()
            case frames.UserStartedSpeakingFrame() | frames.UserStoppedSpeakingFrame():
                self._turn_open = isinstance(frame, frames.UserStartedSpeakingFrame)
                self._commit()
            case frames.EndFrame() | frames.CancelFrame():
                self._ending = True
            case frames.LLMContextUserTurnFrame():
                self._written.append(frame.text)
                self._commit()
            case frames.UserMuteStartedFrame() | frames.UserMuteStoppedFrame():
                self._muted = isinstance(frame, frames.UserMuteStartedFrame)
            case _ if not hear_line(call, frame) and not self._muted:
                self._hear(frame)

    def _commit(self) -> None:
        """What is written into the context while the turn is open ends it when the turn ends, and not before.

        A model may judge first whether the user has finished (`FilterIncompleteUserTurnStrategies`). A call that ends
        within a turn ends that, too: the aggregator hands on the rest, and tells of no end.
        """
        if self._written and (self._ending or not self._turn_open):
            self._call.committed(" ".join(self._written))
            self._written = []

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
