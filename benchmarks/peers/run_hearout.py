"""hearout listens to the calls of a plan.

    python -m benchmarks.peers.run_hearout PLAN --settings POLICY [--at-once N]

The application is the one of the README: a source, the Deepgram dialect with its defaults, a policy, WebRTC's voice
detection.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import resource
from collections.abc import AsyncIterator

import trio

from benchmarks.peers.feed import RATE, WARM_UP, Call, Feed, load_calls, report
from hearout import Deepgram, Ear, TurnAmended, TurnCompleted, TurnPredicted, TurnResumed, open_session
from hearout.ear import SmartTurn


class _Audio:
    sample_rate, channels, duration = RATE, 1, None

    def __init__(self, call: Call) -> None:
        self._feed = Feed(call)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while item := self._feed.next():
            wait, block = item
            await trio.sleep(wait)
            yield block


async def listen(call: Call, policy: str, ear: Ear | None) -> None:
    transcriber = Deepgram("local", f"ws://127.0.0.1:{call.port}/v1/listen")
    async with open_session(_Audio(call), transcriber, policy=policy, ear=ear) as session:
        async for event in session:
            if isinstance(event, TurnCompleted):
                report(call.name, "turn", text=event.text, turn=event.turn, reason=event.reason)
            elif isinstance(event, TurnAmended):
                report(call.name, "amended", text=event.text, turn=event.turn)
            elif isinstance(event, TurnPredicted):
                report(call.name, "predicted")
            elif isinstance(event, TurnResumed):
                report(call.name, "taken back")


async def main(plan: str, settings: str, at_once: int) -> None:
    calls = load_calls(plan)
    policy, _, more = settings.partition("+")
    ear = SmartTurn() if more == "ear" else None
    limit = trio.CapacityLimiter(at_once)

    async def one(call: Call) -> None:
        async with limit:
            await listen(call, policy, ear)

    await listen(calls[0], policy, ear)
    assert calls[0].name == WARM_UP
    before = resource.getrusage(resource.RUSAGE_SELF)
    async with trio.open_nursery() as nursery:
        for call in calls[1:]:
            nursery.start_soon(one, call)
            await trio.sleep(0.137)  # calls do not begin in step
    after = resource.getrusage(resource.RUSAGE_SELF)
    report("", "done", cpu=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="hearout listens to the calls of a plan.")
    parser.add_argument("plan")
    parser.add_argument("--settings", default="balanced", help="a policy; with +ear behind it, and Smart Turn")
    parser.add_argument("--at-once", type=int, default=1)
    args = parser.parse_args()
    report("", "version", versions={"hearout": importlib.metadata.version("hearout")})
    trio.run(main, args.plan, args.settings, args.at_once)
