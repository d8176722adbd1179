"""A speech-to-text for LiveKit Agents that also decides when the user's turn is over. Needs the extra ``livekit``."""

from __future__ import annotations

import asyncio
import copy
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import hearout.aio.session as aio
from hearout.audio import AudioFormat, working_rate
from hearout.ear.base import Ear
from hearout.errors import SessionError, UsageError
from hearout.extras import needs_extra
from hearout.link.settings import LinkSettings
from hearout.session.controls import chosen_policy
from hearout.session.recording import TraceWriter
from hearout.transcribers.base import Dialect
from hearout.vad import SpeechGate, webrtc_gate
from hearout_policies.policy import Policy

with needs_extra("livekit", __name__, "LiveKit Agents 1.8 or newer"):
    from livekit import rtc
    from livekit.agents import APIConnectionError, APIStatusError, stt, utils
    from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, APIConnectOptions

    from hearout.integrations.livekit_events import TurnStream, TurnSTT, session_options

__all__ = ["HearoutSTT", "HearoutStream", "session_options"]

_USAGE_EVERY = 5.0  # seconds of audio
_REFUSED = re.compile(r"refused the connection: HTTP (\d{3})")


class HearoutSTT(TurnSTT):
    """Takes the place of an `AgentSession`'s STT, VAD and turn detection; one for each `AgentSession`::

        stt = HearoutSTT(Deepgram(key))
        session = AgentSession(stt=stt, llm=..., tts=..., **session_options())
        stt.watch(session)

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

    @property
    def model(self) -> str:
        return getattr(self._transcriber, "model", "unknown")

    @property
    def provider(self) -> str:
        return self._transcriber.name

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


class HearoutStream(TurnStream):
    """One stream of `HearoutSTT`. Made by `HearoutSTT.stream`."""

    def __init__(self, owner: HearoutSTT, transcriber: Dialect, conn_options: APIConnectOptions) -> None:
        language = getattr(transcriber, "language", None) or ""
        super().__init__(owner, language, conn_options, transcriber.sample_rate)
        link = owner._link or LinkSettings(first_budget=conn_options.timeout)
        self._open = partial(owner._open, link=link)
        self._recorded = owner._recorder
        self._transcriber = transcriber

    async def _run(self) -> None:
        transcriber = copy.deepcopy(self._transcriber)  # LiveKit tries again after errors, and dialects have memory
        source = aio.PushSource(AudioFormat(sample_rate=transcriber.sample_rate))
        try:
            with self._recorded() as recorder:
                async with self._open(source, transcriber, recorder=recorder) as session:
                    self._begin(session)
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


def _api_error(error: SessionError) -> APIConnectionError | APIStatusError:
    """LiveKit does not try again what a client did wrong (HTTP 4xx)."""
    if refused := _REFUSED.search(str(error)):
        return APIStatusError(str(error), status_code=int(refused[1]))
    return APIConnectionError(str(error))
