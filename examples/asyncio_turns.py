"""Turns in an asyncio application whose audio comes from callbacks, as in most telephony and WebRTC servers.

    python examples/asyncio_turns.py samples/phone_number.wav [MORE.wav ...] [--url URL]

Each file is a call; all calls are heard at once, in one event loop. Without ``--url`` the local recogniser
(``pip install 'hearout[local]'``) hears them.
A call of yours takes the place of `Line`: whatever has audio calls ``source.push``, and ``source.close`` at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import wave
from collections.abc import Callable
from contextlib import AsyncExitStack

from hearout import AudioFormat, Deepgram, HearoutError, TurnCompleted, TurnPredicted, TurnResumed, aio


class Line:
    """Stands for a telephone line: plays a WAV file of 16 bits in real time, 20 ms a callback."""

    def __init__(self, path: str) -> None:
        with wave.open(path) as file:
            self.name = path
            self.sample_rate = file.getframerate()
            self._pcm = file.readframes(file.getnframes())

    def start(self, on_audio: Callable[[bytes], object], on_end: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        size, began = self.sample_rate // 50 * 2, loop.time()

        def tick(block: int) -> None:
            if pcm := self._pcm[block * size : (block + 1) * size]:
                on_audio(pcm)
                loop.call_at(began + (block + 1) * 0.02, tick, block + 1)
            else:
                on_end()

        tick(0)


async def listen(line: Line, url: str) -> None:
    source = aio.PushSource(AudioFormat(sample_rate=line.sample_rate))
    line.start(source.push, source.close)
    transcriber = Deepgram("any-key", url, sample_rate=source.sample_rate)
    async with aio.open_session(source, transcriber) as session:
        async for event in session:
            match event:
                case TurnPredicted():
                    print(f"{line.name}: prepare the reply to: {event.text}")
                case TurnResumed():
                    print(f"{line.name}: no, there is more")
                case TurnCompleted():
                    print(f"{line.name}: {event.text} [{event.reason}]")


async def main(paths: list[str], url: str | None) -> None:
    async with AsyncExitStack() as stack:
        if url is None:
            url = await stack.enter_async_context(aio.local_server())
        calls = await stack.enter_async_context(asyncio.TaskGroup())
        for path in paths:
            calls.create_task(listen(Line(path), url))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Turns of WAV files, in asyncio.")
    parser.add_argument("paths", nargs="+", metavar="FILE.wav")
    parser.add_argument("--url", help="of the transcriber; default: the local recogniser")
    options = parser.parse_args()
    try:
        asyncio.run(main(options.paths, options.url))
    except* (HearoutError, OSError, wave.Error) as group:
        raise SystemExit("\n".join(str(error) for error in group.exceptions)) from None
