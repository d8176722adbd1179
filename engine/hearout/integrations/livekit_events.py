"""What LiveKit Agents is told of turns, and what it tells of its agent: the same over any transcriber."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable
from typing import Any, Literal

from hearout.extras import needs_extra
from hearout.session.controls import TurnControls, chosen_expectations, chosen_key, chosen_policy
from hearout.session.notices import AudioLost, LinkDown, SessionWarning
from hearout.session.session import SessionEvent
from hearout_policies.events import TurnAbandoned, TurnCompleted, TurnPredicted, TurnStarted, TurnUpdated
from hearout_policies.expect import Expectation
from hearout_policies.policy import Policy

with needs_extra("livekit", __name__, "LiveKit Agents 1.8 or newer"):
    from livekit.agents import (
        AgentSession,
        AgentStateChangedEvent,
        APIConnectionError,
        ConversationItemAddedEvent,
        stt,
        utils,
    )
    from livekit.agents.language import LanguageCode
    from livekit.agents.types import APIConnectOptions, TimedString

__all__ = ["TurnSTT", "TurnStream", "session_options"]

_log = logging.getLogger(__name__)


def session_options(**turn_handling: Any) -> dict[str, Any]:
    """What an `AgentSession` needs to take its turns from hearout, as they are::

        AgentSession(stt=stt, llm=..., tts=..., **session_options())

    That is ``turn_detection="stt"``, no delay on top of the policy's, and no voice detection of LiveKit's, which
    would interrupt the agent for any noise. ``turn_handling``: further options of LiveKit's ``TurnHandlingOptions``.
    """
    ours: dict[str, Any] = {
        "turn_detection": "stt",
        "endpointing": {"mode": "fixed", "min_delay": 0.0, "max_delay": 0.0},
        "interruption": {"mode": "vad"},  # not "adaptive", which holds transcripts back while the agent speaks
    }
    for name, value in turn_handling.items():
        ours[name] = {**ours.get(name, {}), **value} if isinstance(value, dict) else value
    return {"turn_handling": ours, "vad": None}


class TurnSTT(stt.STT[Literal["turn_event"]]):
    """What an application may tell its streams.

    The event ``turn_event`` gets everything that is told of turns, in order; `hearout.TurnAmended`, for one, has no
    counterpart in LiveKit.
    """

    def __init__(self, *, capabilities: stt.STTCapabilities) -> None:
        super().__init__(capabilities=capabilities)
        self._agent_speaking = False
        self._wanted: list[Callable[[TurnControls], None]] = []  # of a session that is not there yet
        self._streams: weakref.WeakSet[TurnStream] = weakref.WeakSet()

    def watch(self, session: AgentSession[Any]) -> None:
        """Tell the policy when the agent of ``session`` speaks, and what it has said.

        So it knows barge-ins and backchannels, and what was asked. (LiveKit gives the text when it has been spoken: too
        late for a guard against its echo, which a room cancels.)
        """
        session.on("agent_state_changed", self._agent_changed)
        session.on("conversation_item_added", self._item_added)

    def _item_added(self, event: ConversationItemAddedEvent) -> None:
        if getattr(event.item, "role", None) == "assistant" and (text := event.item.text_content):
            self.agent_said(text)

    def expect(self, *expectations: Expectation | str, keep: bool = False) -> None:
        """`hearout.Session.expect`, for all streams of this STT; also before there is one."""
        chosen = chosen_expectations(expectations)
        self._say(lambda session: session.expect(*chosen, keep=keep))

    def update_options(self, *, policy: Policy | str) -> None:
        """`hearout.Session.use`, likewise: another policy from here on, for a step of the conversation."""
        chosen = chosen_policy(policy)
        self._say(lambda session: session.use(chosen))

    def agent_said(self, text: str) -> None:
        """`hearout.Session.agent_said`, likewise; `watch` does it by itself."""
        self._say(lambda session: session.agent_said(text))

    def key(self, key: str) -> None:
        """`hearout.Session.key`, likewise: for a room's ``sip_dtmf_received``."""
        chosen = chosen_key(key)
        self._say(lambda session: session.key(chosen))

    def _say(self, tell: Callable[[TurnControls], None]) -> None:
        sessions = [stream._session for stream in self._streams if stream._session is not None]
        for session in sessions:
            tell(session)
        if not sessions:
            self._wanted.append(tell)

    def _agent_changed(self, event: AgentStateChangedEvent) -> None:
        if (speaks := event.new_state == "speaking") != self._agent_speaking:
            self._agent_speaking = speaks
            for session in [stream._session for stream in self._streams if stream._session is not None]:
                (session.agent_started if speaks else session.agent_stopped)()

    async def _recognize_impl(self, *_: Any, **__: Any) -> stt.SpeechEvent:
        raise NotImplementedError("hearout listens to streams only")

    async def aclose(self) -> None:
        for stream in list(self._streams):
            await stream.aclose()


class TurnStream(stt.RecognizeStream):
    """One stream of a `TurnSTT`.

    Attributes:
        _session: whom the application talks to; None: not now.
    """

    def __init__(self, owner: TurnSTT, language: str, conn_options: APIConnectOptions, sample_rate: int) -> None:
        super().__init__(stt=owner, conn_options=conn_options, sample_rate=sample_rate)
        self._owner = owner
        self._language = LanguageCode(language)
        self._id = utils.shortuuid("hearout_")
        self._session: Any = None  # with controls, and the times ``heard`` and ``now``

    def _begin(self, session: Any) -> None:
        """LiveKit runs the stream, perhaps once more."""
        self._over_agent = False  # the turn began while the agent spoke, and is no interruption yet
        self._onset = 0.0  # of the turn, time.time()
        self._told = False  # LiveKit knows of the turn
        self._flushed = False  # LiveKit waits for a final
        self._session = session
        if self._owner._agent_speaking:
            session.agent_started()
        for tell in self._owner._wanted:
            tell(session)
        self._owner._wanted.clear()

    def _tell(self, event: SessionEvent) -> None:
        self._owner.emit("turn_event", event)
        match event:
            case TurnStarted():
                self._onset = time.time() - max(0.0, self._session.heard - event.audio_start)
                self._over_agent = event.agent_speaking
                if not self._over_agent:
                    self._start(event.turn)
            case TurnUpdated():
                # Any word interrupts LiveKit's agent, so over its speech there is none until it is an interruption.
                self._over_agent = self._over_agent and not event.interrupts
                if not self._over_agent:
                    self._start(event.turn)
                    if event.text:
                        self._send("interim_transcript", event.turn, self._data(event.text))
            case TurnPredicted() if not self._over_agent:
                self._send("preflight_transcript", event.turn, self._data(event.text))
            case TurnCompleted() if not (event.backchannel and not self._told and not self._flushed):
                self._start(event.turn)
                self._flushed = False
                end = self._wall(event.timings.speech_end)
                self._send("final_transcript", event.turn, self._final(event), speech_end_time=end)
                self._end(event.turn, end)
            case TurnAbandoned() if self._told or self._flushed:
                if self._flushed:  # there will be no other answer
                    self._flushed = False
                    self._send("final_transcript", event.turn, self._data(""))
                if self._told:
                    self._end(event.turn, None)
            case LinkDown():
                self._emit_error(APIConnectionError(event.detail), recoverable=True)
            case AudioLost():
                lost = f"{event.audio_end - event.audio_start:.1f} s of audio were lost while there was no connection"
                self._emit_error(APIConnectionError(lost), recoverable=True)
            case SessionWarning():
                _log.warning("%s", event.detail)

    def _start(self, turn: int) -> None:
        if not self._told:
            self._told = True
            self._send("start_of_speech", turn, speech_start_time=self._onset)

    def _end(self, turn: int, end: float | None) -> None:
        self._told = False
        self._send("end_of_speech", turn, speech_end_time=end)

    def _send(self, kind: str, turn: int = 0, data: stt.SpeechData | None = None, **more: Any) -> None:
        request = f"{self._id}_{turn}" if turn else self._id
        self._event_ch.send_nowait(stt.SpeechEvent(stt.SpeechEventType(kind), request, [data] if data else [], **more))

    def _data(self, text: str, **more: Any) -> stt.SpeechData:
        return stt.SpeechData(self._language, text, **more)

    def _final(self, turn: TurnCompleted) -> stt.SpeechData:
        offset = self.start_time_offset
        return self._data(
            turn.text,
            start_time=turn.audio_start + offset,
            end_time=turn.audio_end + offset,
            words=[TimedString(w.text, w.start + offset, w.end + offset, start_time_offset=offset) for w in turn.words],
            metadata={"turn": turn.turn, "reason": turn.reason, "confirmed": turn.confirmed},
        )

    def _wall(self, at: float | None) -> float | None:
        """The session clock's ``at`` on the clock of `time.time`."""
        return None if at is None else time.time() - max(0.0, self._session.now - at)
