"""The floor of `benchmarks.capacity`: what the same calls cost without any framework.

One loop over non-blocking sockets: WebRTC's voice detection of each 20 ms, every 100 ms a websocket frame (wsproto)
written to the socket, and what comes back taken apart as JSON; TLS when asked. No turns, no tasks, no reconnects, no
noise handling: nothing that does the same work can cost less, in Python. With ``--parts`` the same loop runs the parts
of hearout that are functions, in place of the bare ones: what is left then to a session is its tasks and its link.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import ssl
import time
from typing import Any
from urllib.parse import urlsplit

import webrtcvad
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, Request, TextMessage

from benchmarks.capacity.meter import Meter
from benchmarks.capacity.script import FRAME, RATE, load_talk
from hearout import Deepgram
from hearout.link.buffer import ReplayBuffer
from hearout.session.clock import SessionClock
from hearout.transcribers.base import Heard
from hearout.transcribers.hearing import Hearing
from hearout.vad import webrtc_gate
from hearout_policies.events import Finalize
from hearout_policies.machine import TurnMachine
from hearout_policies.policy import load_policy
from hearout_policies.signals import VOICE, Signal, Tick

_MESSAGE = 5  # frames
_WARM_UP = 2.0  # seconds


class Call:
    """One call: a socket, a voice detection, and a place in the recording."""

    due = 0.0  # when the next frame is

    def __init__(self, host: str, port: int, path: str, first: int, context: ssl.SSLContext | None) -> None:
        self.socket = socket.create_connection((host, port))
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname=host)
        self.websocket = WSConnection(ConnectionType.CLIENT)
        self.socket.sendall(self.websocket.send(Request(host=host, target=f"{path}?first={first}")))
        while True:
            self.websocket.receive_data(self.socket.recv(65536))
            if any(isinstance(event, AcceptConnection) for event in self.websocket.events()):
                break
        self.socket.setblocking(False)
        self.vad = webrtcvad.Vad(2)
        self.frame = first
        self.pending = bytearray()

    def hear(self, pcm: bytes) -> None:
        self.vad.is_speech(pcm, RATE)
        self.pending += pcm
        self.frame += 1
        self.due += FRAME
        if self.frame % _MESSAGE == 0:
            self.socket.send(self.websocket.send(BytesMessage(data=bytes(self.pending))))
            self.pending.clear()

    def read(self) -> None:
        try:
            self.websocket.receive_data(self.socket.recv(65536))
        except ssl.SSLWantReadError:  # a ticket for the next session, and no data
            return
        for event in self.websocket.events():
            if isinstance(event, TextMessage):
                self.understand(event.data)

    def understand(self, message: str) -> None:
        json.loads(message)


class WithParts(Call):
    """The same with hearout's voice detection, clock, buffer, dialect and turn machine."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.gate = webrtc_gate(RATE)
        self.clock = SessionClock(RATE, current_time=time.monotonic)
        self.buffer = ReplayBuffer(2, 60 * RATE)
        self.dialect = Deepgram("key", sample_rate=RATE)
        self.hearing = Hearing(self.dialect)
        self.hearing.begin(0.0)
        self.machine = TurnMachine(load_policy("balanced"))

    def hear(self, pcm: bytes) -> None:
        frames = len(pcm) // 2
        self.clock.arrive(frames)
        self.clock.hear(frames)
        self.buffer.append(pcm)
        self.frame += 1
        self.due += FRAME
        if self.frame % _MESSAGE == 0:
            audio = self.buffer.read(max(self.buffer.end - _MESSAGE * frames, 0), self.buffer.end)
            self.socket.send(self.websocket.send(BytesMessage(data=audio)))
        for edge in self.gate.feed(pcm):
            self.tell(VOICE[edge.kind](self.clock.heard_at(), edge.audio, self.clock.heard))
        while (due := self.machine.deadline) is not None and self.clock.has_heard(due):
            self.clock.pass_by(due)
            self.tell(Tick(due))

    def understand(self, message: str) -> None:
        for news in self.hearing.hear(message, self.clock.now(), self.clock.heard):
            assert isinstance(news, Heard)
            self.tell(news.signal)
        self.buffer.release(round(self.hearing.coverage.until * RATE))

    def tell(self, signal: Signal) -> None:
        for output in self.machine.handle(signal):
            if isinstance(output, Finalize):
                self.socket.send(self.websocket.send(TextMessage(data=str(self.dialect.finalize()))))


def main(kind: type[Call], url: str, count: int, seconds: float) -> None:
    address = urlsplit(url)
    context = ssl.create_default_context() if address.scheme == "wss" else None
    talk, meter = load_talk(), Meter(count)
    calls: dict[int, Call] = {}
    poll = select.epoll()
    for number in range(count):
        first = round(number * 0.618034 % 1 * talk.length / FRAME)
        call = kind(address.hostname or "", address.port or 80, address.path, first, context)
        calls[call.socket.fileno()] = call
        poll.register(call.socket, select.EPOLLIN)
    meter.settle()
    began = time.monotonic() + 0.1
    for number, call in enumerate(calls.values()):
        call.due = began + number * 0.0203 % FRAME
    order = sorted(calls.values(), key=lambda call: call.due)  # which it stays: each is due again after 20 ms
    while (now := time.monotonic()) < began + _WARM_UP + seconds:
        if not meter.on and now >= began + _WARM_UP:
            meter.start()
        for call in order:
            while (now := time.monotonic()) < call.due:
                for fd, _ in poll.poll(call.due - now):
                    calls[fd].read()
            meter.frame(now - call.due)
            call.hear(talk.frame(call.frame))
    meter.stop()
    meter.report()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--calls", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--core", type=int)
    parser.add_argument("--parts", action="store_true", help="with the parts of hearout that are functions")
    args = parser.parse_args()
    if args.core is not None:
        os.sched_setaffinity(0, {args.core})
    main(WithParts if args.parts else Call, args.url, args.calls, args.seconds)
