"""Sessions in threads, and the transcriber of the tests in the thread of all sessions."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any

from hearout import AudioFormat, Deepgram, TurnCompleted, threads
from hearout.nursery import open_background
from hearout.sources.base import AudioSource
from hearout.threads.host import Host, in_trio
from tests.kit.provider import Plan, Provider, Source, audio

WORDS = [("yes", 0.5, 0.8), ("please.", 0.9, 1.2)]


@asynccontextmanager
async def _provider(plan: Plan) -> AsyncIterator[Provider]:
    async with open_background() as nursery:
        yield Provider(nursery, [WORDS], [plan])


@contextmanager
def opened(
    source: AudioSource | AudioFormat | None = None, plan: Plan | None = None, **options: Any
) -> Iterator[threads.Session]:
    """A session that is not in real time, so nothing takes time, with a transcriber that says `WORDS`."""
    with (
        in_trio(_provider(plan or Plan())) as provider,
        open_on(provider, source or Source(2.0, live=False), **options) as session,
    ):
        yield session


def open_on(provider: Provider, source: Any, **options: Any) -> AbstractContextManager[threads.Session]:
    options = {"realtime": False, "vad": None, "connect": provider.connect, **options}
    return threads.open_session(source, Deepgram("a-key", sample_rate=16_000), **options)


def push_all(session: threads.Session, seconds: float = 2.0) -> None:
    for step in range(round(seconds * 50)):
        session.push(audio(step * 0.02, (step + 1) * 0.02))
    session.finish()


def break_trio() -> None:
    """The thread of all sessions fails by a bug; what trio says of that is printed nowhere."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (as long as the process runs)

    def fail() -> None:
        raise ValueError("a bug")

    Host.running().soon(fail)


def turns_of(session: threads.Session) -> list[str]:
    return [event.text for event in session if isinstance(event, TurnCompleted)]
