"""What a session costs in asyncio, against the same session in trio: CPU a second of session.

    python -m benchmarks.asyncio_overhead [--sessions N] [--seconds S] [--rounds R]

Every run is a process of its own: N sessions at once in real time with voice detection, their audio (a recording of
``samples/``) pushed frame by frame, 20 ms each, by callbacks of the loop or tasks of trio. The transcriber is the local
server in another process, which answers from a script, an interim result a second; its costs are not counted. The kinds
of run take turns. Bare: the same pushing, without sessions.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trio

from hearout import Deepgram, FileSource, TurnCompleted, aio, open_session
from hearout.sources.push import PushSource

ROOT = Path(__file__).parents[1]
_FRAME = 0.02  # seconds
_BYTES = 640  # of a frame


def script(seconds: int) -> str:
    """A trace: an interim result a second, a final one every five."""
    lines: list[dict[str, Any]] = [{"hearout_trace": 1, "stt": "deepgram", "channels": 1, "vad": True}]
    for second in range(1, seconds + 1):
        begin = (second - 1) // 5 * 5
        words = [
            {"word": f"word{i}", "start": begin + i * 0.3, "end": begin + i * 0.3 + 0.25, "confidence": 0.98}
            for i in range((second - begin) * 3)
        ]
        text = " ".join(str(word["word"]) for word in words)
        result = {
            "type": "Results",
            "channel_index": [0, 1],
            "start": float(begin),
            "duration": float(second - begin),
            "is_final": second % 5 == 0,
            "speech_final": second % 5 == 0,
            "from_finalize": False,
            "channel": {"alternatives": [{"transcript": text, "confidence": 0.98, "words": words}]},
        }
        lines.append({"t": float(second), "stt": result})
    return "\n".join(json.dumps(line) for line in lines) + "\n"


def pushing(source: PushSource, pcm: bytes, seconds: float, began: float) -> Iterator[float]:
    """Push one session's audio; gives the time of each next frame."""
    for number in range(round(seconds / _FRAME)):
        yield began + number * _FRAME
        at = number * _BYTES % (len(pcm) - _BYTES)
        source.push(pcm[at : at + _BYTES])
    source.close()


async def in_trio(url: str | None, pcm: bytes, sessions: int, seconds: float) -> int:
    rng, turns = random.Random(1), 0

    async def push(times: Iterator[float]) -> None:
        for at in times:
            await trio.sleep_until(at)

    async def listen(source: PushSource) -> None:
        nonlocal turns
        async with open_session(source, Deepgram("any-key", url or "")) as session:
            async for event in session:
                turns += isinstance(event, TurnCompleted)

    async with trio.open_nursery() as nursery:
        for _ in range(sessions):
            source = PushSource()
            nursery.start_soon(push, pushing(source, pcm, seconds, trio.current_time() + rng.uniform(0, _FRAME)))
            if url is not None:
                nursery.start_soon(listen, source)
    return turns


async def in_asyncio(url: str | None, pcm: bytes, sessions: int, seconds: float) -> int:
    rng, turns = random.Random(1), 0
    loop = asyncio.get_running_loop()

    def push(times: Iterator[float]) -> None:
        if (at := next(times, None)) is not None:
            loop.call_at(at, push, times)

    async def listen(source: PushSource) -> None:
        nonlocal turns
        async with aio.open_session(source, Deepgram("any-key", url or "")) as session:
            async for event in session:
                turns += isinstance(event, TurnCompleted)

    async with asyncio.TaskGroup() as group:
        for _ in range(sessions):
            source = PushSource()
            push(pushing(source, pcm, seconds, loop.time() + rng.uniform(0, _FRAME)))
            group.create_task(asyncio.sleep(seconds + 0.1) if url is None else listen(source))
    return turns


def run(kind: str, url: str | None, sessions: int, seconds: float) -> None:
    """One run, in this process; prints its figures."""
    pcm = b"".join(trio.run(_recording))
    before = resource.getrusage(resource.RUSAGE_SELF)
    if kind == "trio":
        turns = trio.run(in_trio, url, pcm, sessions, seconds)
    else:
        factory = __import__("uvloop").new_event_loop if kind == "uvloop" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            turns = runner.run(in_asyncio(url, pcm, sessions, seconds))
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"ms": 1000 * spent / sessions / seconds, "turns": turns}))


async def _recording() -> list[bytes]:
    return [chunk async for chunk in FileSource(ROOT / "samples/order.flac")]


def main() -> None:
    parser = argparse.ArgumentParser(description="What a session costs in asyncio, against trio.")
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--run", nargs=2, metavar=("KIND", "URL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        kind, url = options.run
        run(kind, url or None, options.sessions, options.seconds)
        return
    kinds = ["trio", "asyncio", *(["uvloop"] if importlib.util.find_spec("uvloop") else [])]
    spent: dict[tuple[str, bool], list[float]] = {}
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as trace:
        trace.write(script(round(options.seconds)))
        trace.flush()
        command = [sys.executable, "-m", "hearout.sttserver", "--port", "0", "--until-eof", "--script", trace.name]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            assert server.stdin is not None
            url = server.stdout.readline().removeprefix("listening on ").strip()
            for _ in range(options.rounds):
                for kind in kinds:
                    for target in (url, ""):
                        spent.setdefault((kind, bool(target)), []).append(_measure(kind, target, options))
            server.stdin.close()
    print(
        f"CPU ms a second of session, median of {options.rounds} (lowest, highest); {options.sessions} sessions at once"
    )
    for kind in kinds:
        here, bare = spent[kind, True], statistics.median(spent[kind, False])
        more = statistics.median(a / b for a, b in zip(here, spent["trio", True], strict=True)) - 1
        print(
            f"{kind:8} {statistics.median(here):6.2f} ({min(here):.2f}, {max(here):.2f})   "
            f"{more:+6.1%} against trio in the same round   bare {bare:.2f}"
        )


def _measure(kind: str, url: str, options: argparse.Namespace) -> float:
    arguments = ["--sessions", str(options.sessions), "--seconds", str(options.seconds), "--run", kind, url]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.asyncio_overhead", *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    result = json.loads(done.stdout)
    if url:
        assert result["turns"] >= options.sessions, "the sessions did not hear anything"
    return float(result["ms"])


if __name__ == "__main__":
    main()
