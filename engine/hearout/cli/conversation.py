"""One session of ``hearout serve``: what its client says, and what it is told."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import trio

from hearout.cli.transcribers import Transcribers
from hearout.cli.voice import VADS
from hearout.ear.base import Ear
from hearout.fields import finite
from hearout.link.socket import Connector, open_stream
from hearout.metrics import SessionMetrics
from hearout.serving import ProtocolError, call_id
from hearout.session.session import Session, open_session
from hearout.sources.websocket import VERSION, Control, SocketCall
from hearout.traces.records import Header
from hearout.vad import SpeechGate, webrtc_gate
from hearout.writing import shown
from hearout_policies.events import as_dict
from hearout_policies.policy import Policy

__all__ = ["converse"]


async def converse(
    call: SocketCall,
    transcribers: Transcribers,
    policy: Policy,
    ear: Ear | None = None,
    connect: Connector = open_stream,
    vad: Callable[[int], SpeechGate] = webrtc_gate,
    metrics: SessionMetrics | None = None,
) -> None:
    """One session: the client's audio in, every event back as a JSON object, first of all ``ready``.

    Who asks for the trace gets that, too, and what the open turns wait for.

    Raises:
        HearoutError: the client or the transcriber failed.
    """
    if call.vad is not None:
        if call.vad not in VADS:
            raise ProtocolError(f"vad {shown(call.vad)}: there are {', '.join(VADS)}")
        vad = VADS[call.vad]
    transcriber = transcribers(call)
    await call.send({"type": "ready", "version": VERSION, "channels": call.channels, "call": call_id.get()})
    begin = partial(open_session, call, transcriber, policy=policy, vad=vad, ear=ear, connect=connect)
    if not call.trace:
        async with begin() as session:
            await _tell(call, session, metrics)
        return
    trace = _Trace(Header(transcriber.name, call.channels, True, policy.to_dict(), "hearout serve"))
    async with begin(recorder=trace) as session, trio.open_nursery() as nursery:
        nursery.start_soon(trace.tell, call, session)
        await _tell(call, session, metrics)
        trace.end()


async def _tell(call: SocketCall, session: Session, metrics: SessionMetrics | None) -> None:
    call.on_control = partial(_obey, session)
    call.on_drain = session.force_end
    try:
        async for event in session:
            if metrics is not None:
                metrics.observe(event)
            await call.send(as_dict(event))
    finally:
        if metrics is not None:
            metrics.finish(session.link_stats)


class _Trace:
    """Takes the records of a trace, for the client; and looks behind each of them what the open turns wait for."""

    def __init__(self, header: Header) -> None:
        self._records, self._told = trio.open_memory_channel[Mapping[str, Any]](math.inf)
        self.write(header.as_dict())

    def write(self, record: Mapping[str, Any]) -> None:
        self._records.send_nowait(record)

    def end(self) -> None:
        """Nothing will be written any more."""
        self._records.close()

    async def tell(self, call: SocketCall, session: Session) -> None:
        """Send what is written until the end."""
        seen: list[Any] = [None] * call.channels
        async for record in self._told:
            await call.send({"type": "trace", "record": finite(record)})
            for channel in range(call.channels):
                outlook = session.outlook(channel)
                looks = {} if outlook is None else finite(as_dict(outlook))
                at = looks.pop("at", None)
                if looks and looks != seen[channel]:
                    await call.send({**looks, "at": at})
                seen[channel] = looks


def _obey(session: Session, control: Control) -> None:
    match control.command:
        case "agent_started":
            session.agent_started()
        case "agent_stopped":
            session.agent_stopped()
        case "agent_said":
            session.agent_said(control.said)
        case "expect":
            session.expect(*control.expected, keep=control.keep, channel=control.channel)
        case "use":
            assert control.policy is not None
            session.use(control.policy, control.channel)
        case "key":
            session.key(control.key, control.channel)
        case command:
            getattr(session, command)(control.channel)
