"""The options that choose a transcriber, and the transcriber that they name."""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from hearout.errors import UsageError
from hearout.serving import is_loopback
from hearout.sources.base import AudioSource
from hearout.sttserver.local import local_server
from hearout.transcribers.deepgram import Deepgram
from hearout.transcribers.registry import PROVIDERS, BuiltIn

__all__ = ["add_stt_arguments", "open_transcribers", "provider"]

_Dialect = TypeVar("_Dialect", bound=BuiltIn)

_LOCAL_KEY = "local"  # what a server on this machine is told; it takes any


def add_stt_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--stt``, ``--url`` and ``--sentences``."""
    parser.add_argument(
        "--stt",
        choices=["local", *PROVIDERS],
        default="local",
        help="the transcriber: the built-in recogniser (default, no key), or a provider: Deepgram and its Flux (key in "
        "DEEPGRAM_API_KEY), Soniox (SONIOX_API_KEY)",
    )
    parser.add_argument("--url", help="the provider's endpoint, if not its usual one (ws://127.0.0.1:8765/v1/listen)")
    parser.add_argument(
        "--sentences",
        type=Path,
        metavar="FILE",
        help="--stt local: what may be said, a sentence a line; else any English",
    )


@asynccontextmanager
async def open_transcribers(args: argparse.Namespace) -> AsyncIterator[Callable[[AudioSource], BuiltIn]]:
    """Gives what makes the transcriber that the options name, for some audio.

    With ``--stt local`` they all share one server, which runs for the length of the block.

    Raises:
        UsageError: options that cannot work, alone or together; no key.
        SessionError: the local server did not start.
    """
    if args.stt != "local":
        if args.sentences:
            raise UsageError("--sentences is for --stt local")
        dialect = PROVIDERS[args.stt].dialect
        provider(dialect, args.url)  # a wrong key or url shows at once, not with the first audio
        yield lambda source: provider(dialect, args.url, source.sample_rate, source.channels)
    elif args.url is not None:
        raise UsageError("--url names a provider's endpoint: add --stt deepgram")
    else:
        async with local_server(sentences=args.sentences) as url:
            yield lambda source: Deepgram(_LOCAL_KEY, url, source.sample_rate, source.channels)


def provider(dialect: type[_Dialect], url: str | None, sample_rate: int = 16000, channels: int = 1) -> _Dialect:
    """A provider at its usual endpoint or at ``url``, with the key from the environment.

    Raises:
        UsageError: no key, though ``url`` is not on this machine; a key, url or audio format that cannot work.
    """
    transcriber = dialect(_LOCAL_KEY, sample_rate=sample_rate, channels=channels)
    if url is not None:
        transcriber = replace(transcriber, url=url)
    known = PROVIDERS[transcriber.name]
    if key := os.environ.get(known.variable):
        return replace(transcriber, key=key)  # last, so that no error of the rest has it in its frames
    if not is_loopback(urlsplit(transcriber.address()).hostname or ""):
        raise UsageError(f"no key for {known.owner}: put it into the environment variable {known.variable}")
    return transcriber
