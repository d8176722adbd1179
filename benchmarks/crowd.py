"""Hundreds of clients at once at ``hearout serve``: do the calls that run already go on?

    python -m benchmarks.crowd [--clients 200] [--calls 10] [--silent 0]

Three processes: the server, the transcriber of ``benchmarks.capacity`` behind it, and the crowd. This one has
``--calls`` calls open, each of which sends audio in real time and pings ten times a second. The server answers a ping
when it has read the audio before it, so the longest answer is its longest standstill, and the waiting behind it. After
3 s the clients of the crowd connect, all at once, and each gets a session; ``--silent`` others have connected just
before, and say nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import trio
from trio_websocket import WebSocketConnection, open_websocket

from benchmarks.served import served

_HEADER = json.dumps({"sample_rate": 16000})
_BLOCK = bytes(3200)  # 0.1 s
_BEFORE, _AFTER = 3.0, 3.0  # seconds
_TOKEN = "crowd"
_LOGIN = [(b"authorization", f"Bearer {_TOKEN}".encode())]


@asynccontextmanager
async def _called(host: str, port: int) -> AsyncIterator[WebSocketConnection]:
    """A call whose session is there."""
    async with open_websocket(host, port, "/", use_ssl=False, extra_headers=_LOGIN) as websocket:
        await websocket.send_message(_HEADER)
        await websocket.get_message()
        yield websocket


async def _talk(host: str, port: int, pongs: list[tuple[float, float]], ready: trio.Event) -> None:
    """A call with audio in real time; the answers to its pings, as (moment, seconds), go into ``pongs``."""
    async with _called(host, port) as websocket, trio.open_nursery() as nursery:
        ready.set()
        nursery.start_soon(_read, websocket)
        due = trio.current_time()
        while True:
            await websocket.send_message(_BLOCK)
            began = time.perf_counter()
            await websocket.ping()
            pongs.append((time.time(), time.perf_counter() - began))
            due += 0.1
            await trio.sleep_until(due)


async def _join(host: str, port: int, ready: trio.Event) -> None:
    async with _called(host, port) as websocket:
        ready.set()
        await _read(websocket)


async def _read(websocket: WebSocketConnection) -> None:
    while True:
        await websocket.get_message()


async def _crowd(host: str, port: int, clients: int, silent: int) -> None:
    """In a process of its own: until the last has its ``ready``, and some seconds longer."""
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        for _ in range(silent):
            await stack.enter_async_context(await trio.open_tcp_stream(host, port))
        began = time.perf_counter()
        events = [trio.Event() for _ in range(clients)]
        for event in events:
            nursery.start_soon(_join, host, port, event)
        for event in events:
            await event.wait()
        print(f"all of the crowd have a call after {time.perf_counter() - began:.2f} s", flush=True)
        await trio.sleep(_AFTER)
        nursery.cancel_scope.cancel()


async def _measure(host: str, port: int, calls: int, crowd: Sequence[str]) -> None:
    pongs: list[tuple[float, float]] = []
    async with trio.open_nursery() as nursery:
        for _ in range(calls):
            ready = trio.Event()
            nursery.start_soon(_talk, host, port, pongs, ready)
            await ready.wait()
        await trio.sleep(_BEFORE)
        began = time.time()
        process = await nursery.start(partial(trio.run_process, crowd))
        await process.wait()
        nursery.cancel_scope.cancel()
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for title, times in (
        ("before", [seconds for at, seconds in pongs if at < began]),
        ("with the crowd", [seconds for at, seconds in pongs if at >= began]),
    ):
        print(f"{title}: {len(times)} pings, median {1000 * statistics.median(times):.1f} ms, ", end="")
        print(f"longest {1000 * max(times):.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--calls", type=int, default=10)
    parser.add_argument("--silent", type=int, default=0)
    parser.add_argument("--join", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.join:
        host, port = args.join.split(":")
        trio.run(_crowd, host, int(port), args.clients, args.silent)
        return
    places = str(args.clients + args.calls)
    options = ["--calls", places, "--busy", "2"]  # all are to get in
    with served(*options, pinned=False, HEAROUT_TOKEN=_TOKEN) as (_, port):
        crowd = [sys.executable, "-m", "benchmarks.crowd", "--join", f"127.0.0.1:{port}"]
        crowd += ["--clients", str(args.clients), "--silent", str(args.silent)]
        print(f"{args.calls} calls, then {args.clients} clients at once, and {args.silent} that say nothing")
        trio.run(_measure, "127.0.0.1", port, args.calls, crowd)


if __name__ == "__main__":
    main()
