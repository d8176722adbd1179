"""A shadow of a LiveKit agent. Needs the extra ``livekit``."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hearout.extras import needs_extra
from hearout.session.controls import chosen_policy
from hearout.shadow.beside import Beside
from hearout.shadow.folder import Folder
from hearout_policies.policy import Policy

with needs_extra("livekit", __name__, "LiveKit Agents 1.8 or newer"):
    from livekit.agents import (
        AgentSession,
        AgentStateChangedEvent,
        ConversationItemAddedEvent,
        UserInputTranscribedEvent,
        UserStateChangedEvent,
    )

__all__ = ["LiveKitShadow"]

_log = logging.getLogger(__name__)


class LiveKitShadow:
    """Writes a trace of each session of an agent, which it changes in nothing::

        shadow = LiveKitShadow("calls/")
        shadow.attach(session)

    The trace has what the session heard, as its events tell it (the user's voice, transcripts), what the agent said,
    when each turn of the user was ended and with what text, and when the agent let itself be interrupted; a replay
    tells what a turn machine would have decided beside. A thread writes the files. When something fails (a full disk),
    that is logged once, and nothing is written any more.

    LiveKit's events have no times of words, and tell of a turn when a reply to it begins: one that
    ``on_user_turn_completed`` gives no reply to (`StopResponse`), is not told.

    Args:
        folder, policy, redact, call_limit, limit: as of `hearout.shadow.pipecat.Shadow`, for each session.

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
        self._policy = chosen_policy(policy)
        self._folder = Folder(folder, redact=redact, call_limit=call_limit, limit=limit, warn=_log.warning)

    def settle(self, timeout: float | None = None) -> None:
        """Wait until all is written that was heard up to now, ``timeout`` seconds at most; None: as long as it takes.

        For tests, and for programs that end by ``os._exit``: others end when all is written.
        """
        self._folder.settle(timeout)

    def attach(self, session: AgentSession[Any], *, caller: str | None = None) -> None:
        """Write down what happens in ``session``, which is about to start; also when it is started again.

        Args:
            caller: as of `hearout.shadow.pipecat.Shadow`.
        """
        source = f"a shadow of livekit-agents {version('livekit-agents')}"
        call = _Call(session, lambda: Beside(self._policy, self._folder, source, caller))
        session.on("user_state_changed", call.safely(call.user_changed))
        session.on("user_input_transcribed", call.safely(call.transcribed))
        session.on("agent_state_changed", call.safely(call.agent_changed))
        session.on("conversation_item_added", call.safely(call.item_added))
        session.on("close", call.closed)


class _Call:
    """A session. The clock of each of its runs begins with the first event."""

    def __init__(self, session: AgentSession[Any], beside: Callable[[], Beside]) -> None:
        self._session = session
        self._another = beside
        self._beside = beside()
        self._ended = True  # how the agent's speech came to its end is known
        self._over = False

    def safely(self, handle: Callable[[Any], None]) -> Callable[[Any], None]:
        """What fails in it harms nobody."""

        def handler(event: Any) -> None:
            with self._beside.safely():
                if self._over and getattr(event, "old_state", None) == "initializing":  # it is started again
                    self._beside, self._over = self._another(), False
                if not self._over:
                    self._beside.start()
                    if self._beside.running:
                        handle(event)

        return handler

    def user_changed(self, event: UserStateChangedEvent) -> None:
        ago = max(0.0, time.time() - event.created_at)  # LiveKit dates it back
        if event.new_state == "speaking":
            self._beside.voice_started(ago)
        elif event.old_state == "speaking":
            self._beside.voice_stopped(ago)

    def transcribed(self, event: UserInputTranscribedEvent) -> None:
        if event.is_final:
            self._beside.final(event.transcript, finalized=False)
        else:
            self._beside.interim(event.transcript)

    def agent_changed(self, event: AgentStateChangedEvent) -> None:
        if event.new_state == "speaking":
            self._ended = False
            self._beside.bot_started()
            self._beside = self._beside.continued()
        elif event.old_state == "speaking":
            speech = self._session.current_speech
            # Speech that is paused for the user is not interrupted yet, and perhaps never will be.
            paused = speech is not None and speech.allow_interruptions and self._session.user_state == "speaking"
            if speech is not None and (speech.interrupted or paused):
                self._speech_ended(interrupted=True)
            self._beside.bot_stopped()

    def item_added(self, event: ConversationItemAddedEvent) -> None:
        item = event.item
        role, text = getattr(item, "role", None), getattr(item, "text_content", None)
        if role == "assistant":
            self._speech_ended(interrupted=item.interrupted)
            if text:
                self._beside.agent_said(text)
        elif role == "user" and text and item.transcript_confidence is not None:  # spoken, not typed
            metrics = item.metrics
            stopped, delay = metrics.get("stopped_speaking_at"), metrics.get("end_of_turn_delay")
            if stopped is not None and delay is not None:
                ago = max(0.0, time.time() - stopped - delay)
            else:  # no voice was detected
                ago = metrics.get("on_user_turn_completed_delay") or 0.0
            self._beside.committed(text, ago)

    def _speech_ended(self, *, interrupted: bool) -> None:
        """The agent's speech is in the conversation, before it falls silent; or it falls silent before."""
        if interrupted and not self._ended:
            self._beside.interrupted()
        self._ended = True

    def closed(self, _: Any) -> None:
        with self._beside.safely():
            self._over = True
            self._beside.finish()  # it closes its file, though the shadow may have stopped
