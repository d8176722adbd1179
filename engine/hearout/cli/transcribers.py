"""The options that choose a transcriber, and the transcriber that they name."""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from urllib.parse import urlsplit

from hearout.cli.output import complain
from hearout.errors import UsageError
from hearout.link.secrets import without
from hearout.serving import is_loopback
from hearout.sources.base import AudioSource
from hearout.sttserver.local import local_server
from hearout.testing import check_sent
from hearout.transcribers.base import Dialect, diarization_of
from hearout.transcribers.deepgram import Deepgram
from hearout.transcribers.foreign import code_of_others
from hearout.transcribers.own import brought, imported, named
from hearout.transcribers.provider import NO_KEY, Provider
from hearout.transcribers.registry import PROVIDERS
from hearout.writing import printable

__all__ = [
    "Transcribers",
    "add_diarize_argument",
    "add_own_argument",
    "add_stt_arguments",
    "chosen",
    "chosen_own",
    "has_key",
    "made",
    "open_transcribers",
    "provider",
]

_LOCAL_KEY = "local"  # what a server on this machine is told; it takes any

#: Gives the transcriber for some audio.
Transcribers = Callable[[AudioSource], Dialect]


def add_stt_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--stt``, ``--url`` and ``--diarize``."""
    parser.add_argument(
        "--stt",
        default="local",
        metavar="NAME|MODULE:CLASS",
        help="the transcriber: local, the built-in recogniser (default, no key); deepgram and its flux (key in "
        "DEEPGRAM_API_KEY); soniox (SONIOX_API_KEY); assemblyai (ASSEMBLYAI_API_KEY); elevenlabs "
        "(ELEVENLABS_API_KEY); openai (OPENAI_API_KEY); a name that an installed package brings; or a class of your "
        "own, package.module:Class",
    )
    parser.add_argument("--url", help="the provider's endpoint, if not its usual one (ws://127.0.0.1:8765/v1/listen)")
    add_diarize_argument(parser)


def add_diarize_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--diarize``."""
    parser.add_argument(
        "--diarize",
        action="store_true",
        help="have the transcriber tell voices apart: words have a speaker, and --set only_speaker=first leaves one of "
        "them in the turns (deepgram, soniox, assemblyai)",
    )


def add_own_argument(parser: argparse.ArgumentParser) -> None:
    """Add the ``--stt`` of commands that read traces."""
    parser.add_argument(
        "--stt", metavar="MODULE:CLASS", help="the transcriber of traces that were recorded with a class of your own"
    )


def chosen(stt: str) -> Provider:
    """The provider that ``--stt`` names, which is not ``local``.

    Raises:
        UsageError: there is none, or it cannot be used.
    """
    if ":" in stt:
        return _checked(imported(stt), stt)
    others = brought()
    for package in [package for name, package in others if name == stt and (stt in PROVIDERS or stt == "local")]:
        complain(f"hearout: warning: {package} brings a transcriber {stt}, too; this is hearout's own")
    if (found := named(stt)) is not None:
        return found if stt in PROVIDERS else _checked(found, stt)
    names = ", ".join(dict.fromkeys(["local", *PROVIDERS, *(name for name, _ in others)]))
    raise UsageError(f"--stt {stt}: there are {names}; or name a class of your own as package.module:Class")


def chosen_own(args: argparse.Namespace) -> type[Dialect] | None:
    """The class that the ``--stt`` of `add_own_argument` names.

    Raises:
        UsageError: as `chosen`, or it is a name: those a trace knows.
    """
    if args.stt is None:
        return None
    if ":" not in args.stt:
        raise UsageError(f"--stt {args.stt}: a trace names its transcriber; only a class of your own must be given")
    return chosen(args.stt).dialect


@asynccontextmanager
async def open_transcribers(args: argparse.Namespace) -> AsyncIterator[Transcribers]:
    """Gives what makes the transcriber that the options name, for some audio.

    With ``--stt local`` they all share one server, which runs for the length of the block.

    Raises:
        UsageError: options that cannot work, alone or together; no key.
        SessionError: the local server did not start.
    """
    if args.stt != "local":
        known = chosen(args.stt)
        diarize = args.diarize
        provider(known, args.url, diarize=diarize)  # a wrong key or url shows at once, not with the first audio
        yield lambda source: provider(known, args.url, source.sample_rate, source.channels, diarize=diarize)
    elif args.diarize:
        raise UsageError(f"--diarize: the built-in recogniser does not tell voices apart; {_diarizing()} do")
    elif args.url is not None:
        raise UsageError("--url names a provider's endpoint: add --stt deepgram")
    else:
        async with local_server() as url:
            yield lambda source: Deepgram(_LOCAL_KEY, url, source.sample_rate, source.channels)


def provider(
    known: Provider, url: str | None, sample_rate: int = 16000, channels: int = 1, *, diarize: bool = False
) -> Dialect:
    """A provider at its usual endpoint or at ``url``, with the key from the environment.

    Raises:
        UsageError: no key, though ``url`` is not on this machine; a key, url or audio format that cannot work; it is to
            tell voices apart, and cannot.
    """
    transcriber = made(known, _LOCAL_KEY, url, sample_rate, channels)
    if has_key(known) and known.variable is not None:  # last, so that no error of the rest has it in its frames
        transcriber = made(known, os.environ[known.variable], url, sample_rate, channels)
    if diarize:
        if (switch := diarization_of(transcriber)) is None:
            raise UsageError(f"--diarize: {known.name} does not tell voices apart; {_diarizing()} do")
        setattr(transcriber, switch, True)
    if has_key(known):
        return transcriber
    if not is_loopback(urlsplit(transcriber.address()).hostname or ""):
        raise UsageError(f"no key for {known.owner}: put it into the environment variable {known.variable}")
    return transcriber


def _diarizing() -> str:
    return ", ".join(name for name, known in PROVIDERS.items() if diarization_of(known.dialect))


def has_key(known: Provider) -> bool:
    """There is a key for it in the environment, or it is not given one."""
    return known.variable is None or bool(os.environ.get(known.variable))


def made(known: Provider, key: str, url: str | None, sample_rate: int, channels: int) -> Dialect:
    """As `Provider.make`; whatever goes wrong in a class of others is a `UsageError`, and the key is not in it."""
    ours = known in PROVIDERS.values()
    try:
        with nullcontext() if ours else code_of_others(f"{known.owner}: it cannot be made"):
            return known.make(key, url, sample_rate, channels)
    except UsageError as error:
        said = str(error)
    raise UsageError(said if key == _LOCAL_KEY else without(said, [key]))


def _checked(own: Provider, stt: str) -> Provider:
    """``own``, if what it sends can be sent; what it makes of messages is for `hearout.testing.check_dialect`."""
    said = f"--stt {stt}: the class does not conform"
    with code_of_others(said):
        try:
            check_sent(own.make(NO_KEY))
        except AssertionError as error:
            raise UsageError(f"{said}: {printable(str(error).split(chr(10))[0], 300)}") from None
    return own
