"""Turns for a LiveKit agent that keeps its own speech-to-text. Needs the extra ``livekit``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from hearout.errors import UsageError
from hearout.extras import needs_extra
from hearout.integrations.turns import OwnTurns
from hearout.session.controls import chosen_policy
from hearout.vad import SpeechGate, webrtc_gate
from hearout.writing import shown
from hearout_policies.events import Finalize, Output
from hearout_policies.policy import Policy
from hearout_policies.signals import ProviderSpeechStarted, Word

with needs_extra("livekit", __name__, "LiveKit Agents 1.8 or newer"):
    from livekit import rtc
    from livekit.agents import stt, utils
    from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, APIConnectOptions

    from hearout.integrations.livekit_events import TurnStream, TurnSTT, session_options

__all__ = ["WithTurns", "session_options"]

_FLUSHES = ("Deepgram",)  # its plugin (1.8.9) sends Finalize for a flush, but does not say so in its capabilities
_RATE = 16000  # Hz of the voice detection


class WithTurns(TurnSTT):
    """Any STT of LiveKit's, with our turns; one for each `AgentSession`::

        stt = WithTurns(deepgram.STT())
        session = AgentSession(stt=stt, llm=..., tts=..., **session_options())
        stt.watch(session)

    Args:
        transcriber: a streaming STT; one that is not, wrapped: ``stt.StreamAdapter(stt=..., vad=silero.VAD.load())``.
        policy, vad: as in `hearout.open_session`.
        flush: ask it for its last words in a silence, by ``flush()`` of its stream; None: where it is known to answer
            (``capabilities.manual_flush``, and Deepgram).

    Raises:
        UsageError: it is no STT, or does not stream; or the policy cannot be used.
    """

    def __init__(
        self,
        transcriber: stt.STT[Any],
        *,
        policy: Policy | str = "balanced",
        vad: Callable[[int], SpeechGate] | None = webrtc_gate,
        flush: bool | None = None,
    ) -> None:
        if not isinstance(transcriber, stt.STT):
            raise UsageError(f"WithTurns takes an STT of LiveKit's, as deepgram.STT(), not {shown(transcriber)}")
        if not transcriber.capabilities.streaming:
            raise UsageError(
                f"{transcriber.label} does not stream; wrap it: stt.StreamAdapter(stt=..., vad=silero.VAD.load())"
            )
        self._policy = chosen_policy(policy)
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
        self._vad = vad
        known = transcriber.capabilities.manual_flush or transcriber.provider in _FLUSHES
        self._flush = known if flush is None else flush
        transcriber.on("metrics_collected", self._pass_metrics)
        transcriber.on("error", self._pass_error)

    @property
    def model(self) -> str:
        return self._transcriber.model  # type: ignore[no-any-return]

    @property
    def provider(self) -> str:
        return self._transcriber.provider  # type: ignore[no-any-return]

    def prewarm(self) -> None:
        self._transcriber.prewarm()

    def _pass_metrics(self, *args: Any) -> None:
        self.emit("metrics_collected", *args)

    def _pass_error(self, *args: Any) -> None:
        self.emit("error", *args)

    def stream(
        self, *, language: Any = NOT_GIVEN, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> TurnStream:
        """Listen. ``language`` is for the transcriber."""
        stream = _Stream(self, language, conn_options)
        self._streams.add(stream)
        return stream

    async def aclose(self) -> None:
        await super().aclose()
        self._transcriber.off("metrics_collected", self._pass_metrics)
        self._transcriber.off("error", self._pass_error)
        await self._transcriber.aclose()


class _Stream(TurnStream):
    """One stream of `WithTurns`: audio goes to the transcriber's stream and to the voice detection."""

    _owner: WithTurns

    def __init__(self, owner: WithTurns, language: Any, conn_options: APIConnectOptions) -> None:
        super().__init__(owner, str(language or ""), conn_options, _RATE)
        self._asked = language
        self._options = conn_options

    async def _run(self) -> None:
        owner = self._owner
        self._heard = 0.0  # seconds of audio pushed
        self._ahead = 0.0  # by which the session clock is ahead of that
        turns = OwnTurns(owner._policy, self._decided)
        turns.start()
        gate = owner._vad(_RATE) if owner._vad is not None else None
        # The transcriber's own tries count: this one would ask it for a stream anew, and lose the audio.
        async with owner._transcriber.stream(language=self._asked, conn_options=self._options) as listening:
            self._listening = listening
            self._begin(turns)
            feeding = asyncio.create_task(self._feed(turns, gate), name="WithTurns._feed")
            try:
                async for event in listening:
                    self._hear(turns, event)
                await feeding
            finally:
                self._session = None
                turns.stop()
                await utils.aio.cancel_and_wait(feeding)

    def _decided(self, output: Output) -> None:
        if isinstance(output, Finalize):
            if self._owner._flush:
                self._listening.flush()
        else:
            self._tell(output)

    async def _feed(self, turns: OwnTurns, gate: SpeechGate | None) -> None:
        async for item in self._input_ch:
            if not isinstance(item, rtc.AudioFrame):
                self._flushed = True
                turns.force_end()
                continue
            if item.num_channels != 1:
                raise UsageError(f"the audio has {item.num_channels} channels; give AgentSession mono")
            self._listening.push_frame(item)
            self._heard += item.duration
            self._ahead = turns.now - self._heard
            for edge in gate.feed(bytes(item.data)) if gate is not None else ():
                ago = self._heard - edge.audio
                match edge.kind:
                    case "start":
                        turns.voice_started(ago)
                    case "stop":
                        turns.voice_stopped(ago)
                    case kind:
                        turns.voice_doubtful(ago, ends=kind == "pause")
        self._listening.end_input()

    def _hear(self, turns: OwnTurns, event: stt.SpeechEvent) -> None:
        data = event.alternatives[0] if event.alternatives else None
        kinds = stt.SpeechEventType
        match event.type:
            case kinds.START_OF_SPEECH:
                turns.tell(ProviderSpeechStarted(turns.now, turns.now))
            case kinds.INTERIM_TRANSCRIPT if data is not None:
                turns.interim(data.text, self._words(data))
            case kinds.PREFLIGHT_TRANSCRIPT if data is not None:
                turns.interim(data.text, self._words(data))
                if not turns.speaking:  # AssemblyAI's plugin says so in mid-sentence, of words that will not change
                    turns.provider_turn("eager_end")
            case kinds.FINAL_TRANSCRIPT if data is not None:
                turns.final(data.text, self._words(data), finalized=False)
            case kinds.END_OF_SPEECH:
                turns.endpoint()
            case kinds.RECOGNITION_USAGE:
                self._event_ch.send_nowait(event)

    def _words(self, data: stt.SpeechData) -> Sequence[Word]:
        """On the session clock; none where the transcriber gives no times, or not for all of its text."""
        words = [
            Word(str(word).strip(), self._place(word.start_time), self._place(word.end_time))
            for word in data.words or ()
            if isinstance(word.start_time, (int, float)) and isinstance(word.end_time, (int, float))
        ]
        words = [word for word in words if word.text and word.end >= word.start]
        whole = "".join(word.text for word in words) == "".join(data.text.split())
        return words if whole and words and words[-1].end > self._ahead else ()

    def _place(self, time: Any) -> float:
        return max(0.0, float(time) - float(self.start_time_offset) + self._ahead)
