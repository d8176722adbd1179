"""The calls of hearout, all in one process: what `benchmarks.capacity` measures.

Each call is a whole session: voice detection, the link with its websocket, the turn machine, events. Calls begin
at different points of the recording, and their frames come at different moments of the 20 ms.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import trio

from benchmarks.capacity.meter import Meter
from benchmarks.capacity.script import FRAME, RATE, Talk, load_talk
from hearout import Deepgram, LinkSettings, PushSource, Session, SmartTurn, TurnCompleted, open_session
from hearout.cli.voice import VADS

_OFFSETS = 10  # moments of the 20 ms at which frames come
_WARM_UP = 5.0  # seconds

#: `open_session` with what all calls have in common.
Opening = Callable[..., AbstractAsyncContextManager[Session]]


class Pushed:
    """Audio from callbacks, as media servers and telephone lines give it."""

    def __init__(self, talk: Talk, first: int) -> None:
        self.source = PushSource()
        self.began = math.nan
        self.first = first  # frame of the recording
        self.given = 0
        self._talk = talk

    def push(self, due: float) -> None:
        if not self.given:
            self.began = due - FRAME
        self.source.push(self._talk.frame(self.first + self.given))
        self.given += 1


class Iterated:
    """Audio from an iterator, ``chunk`` seconds at a time, each when its last sample has been said."""

    sample_rate, channels, duration = RATE, 1, None

    def __init__(self, talk: Talk, first: int, chunk: float, meter: Meter) -> None:
        self.source = self
        self.began = math.nan
        self.first = first
        self._talk = talk
        self._chunk = round(chunk / FRAME)  # frames
        self._meter = meter

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.began = trio.current_time()
        given = 0
        while True:
            due = self.began + (given + self._chunk) * FRAME
            await trio.sleep_until(due)
            self._meter.frame(trio.current_time() - due)
            yield b"".join(self._talk.frame(self.first + given + number) for number in range(self._chunk))
            given += self._chunk


async def tick(lines: list[Pushed], offset: float, meter: Meter) -> None:
    """Hand each of ``lines`` a frame, every 20 ms."""
    due = trio.current_time() + offset
    while True:
        due += FRAME
        await trio.sleep_until(due)
        for line in lines:
            line.push(due)
        meter.frame(trio.current_time() - due)  # of the last of them


async def call(line: Pushed | Iterated, talk: Talk, url: str, opening: Opening, meter: Meter) -> None:
    transcriber = Deepgram("key", url, RATE, extra={"first": str(line.first)})
    whole = False  # calls begin anywhere, also within a turn
    async with opening(line.source, transcriber) as session:
        async for event in session:
            if isinstance(event, TurnCompleted) and whole:
                meter.turn(talk, trio.current_time() - line.began + line.first * FRAME, event.text)
            whole = whole or isinstance(event, TurnCompleted)


async def main(url: str, calls: int, chunk: float | None, opening: Opening, seconds: float) -> None:
    talk, meter = load_talk(), Meter(calls)
    async with trio.open_nursery() as nursery:
        groups: list[list[Pushed]] = [[] for _ in range(_OFFSETS)]
        if chunk is None:
            for number, group in enumerate(groups):
                nursery.start_soon(tick, group, number * FRAME / _OFFSETS, meter)
        for number in range(calls):
            first = round(number * 0.618034 % 1 * talk.length / FRAME)
            line: Pushed | Iterated
            if chunk is None:
                line = Pushed(talk, first)
                groups[number % _OFFSETS].append(line)
            else:
                line = Iterated(talk, first, chunk, meter)
            nursery.start_soon(call, line, talk, url, opening, meter)
            await trio.sleep(0.0203)
        meter.settle()
        await trio.sleep(_WARM_UP)
        meter.start()
        await trio.sleep(seconds)
        meter.stop()
        nursery.cancel_scope.cancel()
    meter.report()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--calls", type=int, default=60)
    parser.add_argument("--chunk", type=float, help="seconds of audio an iterator gives at a time; without: pushed")
    parser.add_argument("--message", type=float, default=0.1, help="seconds of audio in a message")
    parser.add_argument("--ear", action="store_true", help="with Smart Turn")
    parser.add_argument("--vad", choices=VADS, default="webrtc")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--core", type=int)
    args = parser.parse_args()
    if args.core is not None:
        os.sched_setaffinity(0, {args.core})
    vad = VADS[args.vad]
    vad(RATE)  # what is loaded once a process
    opening = partial(
        open_session, vad=vad, ear=SmartTurn() if args.ear else None, link=LinkSettings(message=args.message)
    )
    trio.run(main, args.url, args.calls, args.chunk, opening, args.seconds)
