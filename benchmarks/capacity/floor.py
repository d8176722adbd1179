"""The floor of `benchmarks.capacity`: what the same calls cost without any framework.

One loop over non-blocking sockets: WebRTC's voice detection of each 20 ms, every 100 ms a websocket frame (wsproto)
written to the socket, and what comes back taken apart as JSON. No turns, no tasks, no reconnects, no noise
handling, no TLS: nothing that does the same work can cost less, in Python.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import time
from urllib.parse import urlsplit

import webrtcvad
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, Request, TextMessage

from benchmarks.capacity.meter import Meter
from benchmarks.capacity.script import FRAME, RATE, load_talk

_MESSAGE = 5  # frames
_WARM_UP = 2.0  # seconds


class Call:
    """One call: a socket, a voice detection, and a place in the recording."""

    def __init__(self, host: str, port: int, path: str, first: int) -> None:
        self.socket = socket.create_connection((host, port))
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
        self.due = 0.0

    def hear(self, pcm: bytes) -> None:
        self.vad.is_speech(pcm, RATE)
        self.pending += pcm
        self.frame += 1
        self.due += FRAME
        if self.frame % _MESSAGE == 0:
            self.socket.send(self.websocket.send(BytesMessage(data=bytes(self.pending))))
            self.pending.clear()

    def read(self) -> None:
        self.websocket.receive_data(self.socket.recv(65536))
        for event in self.websocket.events():
            if isinstance(event, TextMessage):
                json.loads(event.data)


def main(url: str, count: int, seconds: float) -> None:
    address = urlsplit(url)
    talk, meter = load_talk(), Meter(count)
    calls, poll = {}, select.epoll()
    for number in range(count):
        first = round(number * 0.618034 % 1 * talk.length / FRAME)
        call = Call(address.hostname or "", address.port or 80, address.path, first)
        calls[call.socket.fileno()] = call
        poll.register(call.socket, select.EPOLLIN)
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
    args = parser.parse_args()
    if args.core is not None:
        os.sched_setaffinity(0, {args.core})
    main(args.url, args.calls, args.seconds)
