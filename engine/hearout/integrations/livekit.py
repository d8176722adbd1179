"""A speech-to-text for LiveKit Agents that also decides when the user's turn is over. Needs the extra ``livekit``."""

from __future__ import annotations

import asyncio
import copy
import logging
import re
import time
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Literal

import hearout.aio.session as aio
from hearout.audio import AudioFormat, working_rate
from hearout.ear.base import Ear
from hearout.errors import SessionError, UsageError
from hearout.extras import needs_extra
from hearout.link.settings import LinkSettings
from hearout.session.controls import chosen_expectations, chosen_key, chosen_policy
from hearout.session.notices import AudioLost, LinkDown, SessionWarning
from hearout.session.recording import TraceWriter
from hearout.session.session import SessionEvent, webrtc_gate
from hearout.transcribers.base import Dialect
from hearout.vad import SpeechGate
from hearout_policies.events import TurnAbandoned, TurnCompleted, TurnPredicted, TurnStarted, TurnUpdated
from hearout_policies.expect import Expectation
from hearout_policies.policy import Policy

with needs_extra("livekit", __name__, "LiveKit Agents 1.8 or newer"):
    from livekit import rtc
    from livekit.agents import (
        AgentSession,
        AgentStateChangedEvent,
        APIConnectionError,
        APIStatusError,
        ConversationItemAddedEvent,
        stt,
        utils,
    )
    from livekit.agents.language import LanguageCode
    from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, APIConnectOptions, TimedString

__all__ = ["HearoutSTT", "HearoutStream", "session_options"]

_log = logging.getLogger(__name__)

_USAGE_EVERY = 5.0  # seconds of audio
_REFUSED = re.compile(r"refused the connection: HTTP (\d{3})")


def session_options(**turn_handling: Any) -> dict[str, Any]:
    """What an `AgentSession` needs to take its turns from `HearoutSTT`, as they are::

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


class HearoutSTT(stt.STT[Literal["turn_event"]]):
    """Takes the place of an `AgentSession`'s STT, VAD and turn detection; one for each `AgentSession`::

        stt = HearoutSTT(Deepgram(key))
        session = AgentSession(stt=stt, llm=..., tts=..., **session_options())
        stt.watch(session)

    The event ``turn_event`` gets everything that the session tells, in order; `hearout.TurnAmended`, for one, has no
    counterpart in LiveKit.

    Args:
        transcriber: the provider's dialect: one channel, 8000 or 16000 Hz, to which LiveKit brings the audio. It is
            copied for each connection of LiveKit's.
        policy, vad, ear: as in `hearout.open_session`.
        link: as in `hearout.open_session`; by default the first connection has as much time as LiveKit's connection
            options allow.
        recorder: makes the recorder of one stream, which is closed with it: ``lambda: Recorder(path, header)``.

    Raises:
        UsageError: the transcriber or the policy cannot be used. What goes wrong later is an ``error`` event.
    """

    def __init__(
        self,
        transcriber: Dialect,
        *,
        policy: Policy | str = "balanced",
        vad: Callable[[int], SpeechGate] | None = webrtc_gate,
        ear: Ear | None = None,
        link: LinkSettings | None = None,
        recorder: Callable[[], AbstractContextManager[TraceWriter]] | None = None,
    ) -> None:
        if transcriber.channels != 1:
            raise UsageError(f"a LiveKit user has one channel, but {transcriber.name} is set to {transcriber.channels}")
        if (rate := transcriber.sample_rate) != working_rate(rate):
            raise UsageError(f"{transcriber.name} is set to {rate} Hz; set its sample_rate to {working_rate(rate)}")
        policy = chosen_policy(policy)
        super().__init__(
            capabilities=stt.STTCapabilities(
                streaming=True,
                interim_results=True,
                aligned_transcript="word",
                offline_recognize=False,
                manual_flush=True,
            )
        )
        self._transcriber = transcriber
        self._open = partial(aio.open_session, policy=policy, vad=vad, ear=ear)
        self._link = link
        self._recorder: Callable[[], AbstractContextManager[TraceWriter | None]] = recorder or nullcontext
        self._agent_speaking = False
        self._wanted: list[Callable[[aio.Session], None]] = []  # of a session that is not there yet
        self._streams: weakref.WeakSet[HearoutStream] = weakref.WeakSet()

    @property
    def model(self) -> str:
        return getattr(self._transcriber, "model", "unknown")

    @property
    def provider(self) -> str:
        return self._transcriber.name

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

    def _say(self, tell: Callable[[aio.Session], None]) -> None:
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

    def stream(
        self, *, language: Any = NOT_GIVEN, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> HearoutStream:
        """Listen. ``language`` is what the transcriber is told, if it has such an option."""
        transcriber: Any = copy.deepcopy(self._transcriber)
        if language:
            if not hasattr(transcriber, "language"):
                raise UsageError(f"{transcriber.name} has no option language; set its own options")
            transcriber.language = language
        stream = HearoutStream(self, transcriber, conn_options)
        self._streams.add(stream)
        return stream

    async def _recognize_impl(self, *_: Any, **__: Any) -> stt.SpeechEvent:
        raise NotImplementedError("hearout listens to streams only")

    async def aclose(self) -> None:
        await asyncio.gather(*(stream.aclose() for stream in list(self._streams)))


class HearoutStream(stt.RecognizeStream):
    """One stream of `HearoutSTT`. Made by `HearoutSTT.stream`."""

    def __init__(self, owner: HearoutSTT, transcriber: Dialect, conn_options: APIConnectOptions) -> None:
        super().__init__(stt=owner, conn_options=conn_options, sample_rate=transcriber.sample_rate)
        link = owner._link or LinkSettings(first_budget=conn_options.timeout)
        self._open = partial(owner._open, link=link)
        self._owner = owner
        self._transcriber = transcriber
        self._language = LanguageCode(getattr(transcriber, "language", None) or "")
        self._id = utils.shortuuid("hearout_")
        self._session: aio.Session | None = None

    async def _run(self) -> None:
        self._over_agent = False  # the turn began while the agent spoke, and is no interruption yet
        self._onset = 0.0  # of the turn, time.time()
        self._told = False  # LiveKit knows of the turn
        self._flushed = False  # LiveKit waits for a final
        transcriber = copy.deepcopy(self._transcriber)  # LiveKit tries again after errors, and dialects have memory
        source = aio.PushSource(AudioFormat(sample_rate=transcriber.sample_rate))
        try:
            with self._owner._recorder() as recorder:
                async with self._open(source, transcriber, recorder=recorder) as session:
                    self._session = session
                    if self._owner._agent_speaking:
                        session.agent_started()
                    for tell in self._owner._wanted:
                        tell(session)
                    self._owner._wanted.clear()
                    feeding = asyncio.create_task(self._feed(source, session), name="HearoutStream._feed")
                    try:
                        async for event in session:
                            self._tell(event)
                    finally:
                        self._session = None
                        await utils.aio.cancel_and_wait(feeding)
        except SessionError as error:
            raise _api_error(error) from None

    async def _feed(self, source: aio.PushSource, session: aio.Session) -> None:
        heard = 0.0  # since the usage was reported
        try:
            async for item in self._input_ch:
                if not isinstance(item, rtc.AudioFrame):
                    self._flushed = True
                    session.force_end()
                    continue
                if item.num_channels != 1:
                    raise UsageError(f"the audio has {item.num_channels} channels; give AgentSession mono")
                source.push(item.data)
                heard += item.duration
                if heard >= _USAGE_EVERY:
                    self._send("recognition_usage", recognition_usage=stt.RecognitionUsage(heard))
                    heard = 0.0
        except Exception as error:
            source.close(error)  # comes out of the session, after the last words
        else:
            source.close()
        finally:
            if heard and not self._event_ch.closed:
                self._send("recognition_usage", recognition_usage=stt.RecognitionUsage(heard))

    # -- from the session ----------------------------------------------------------------------------------------

    def _tell(self, event: SessionEvent) -> None:
        self._owner.emit("turn_event", event)
        match event:
            case TurnStarted():
                assert self._session is not None
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
        assert self._session is not None
        return None if at is None else time.time() - max(0.0, self._session.now - at)


def _api_error(error: SessionError) -> APIConnectionError | APIStatusError:
    """LiveKit does not try again what a client did wrong (HTTP 4xx)."""
    if refused := _REFUSED.search(str(error)):
        return APIStatusError(str(error), status_code=int(refused[1]))
    return APIConnectionError(str(error))
