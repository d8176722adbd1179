"""``hearout doctor``: does the transcriber's service behave as hearout assumes? One line a check."""

from __future__ import annotations

import argparse
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from hearout.cli.output import say
from hearout.cli.transcribers import add_diarize_argument, chosen, has_key, made, provider
from hearout.doctor.checks import Finding
from hearout.doctor.examine import WRONG_KEY, examine
from hearout.doctor.sample import Sample, read_sample
from hearout.errors import UsageError
from hearout.sttserver.local import local_server
from hearout.transcribers.base import Dialect
from hearout.transcribers.registry import PROVIDERS

__all__ = ["register"]

_SAMPLE = Path(__file__).parents[3] / "samples" / "order.flac"  # in a checkout, not in the wheel


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command; its ``run`` takes the arguments and returns the exit status."""
    parser = subparsers.add_parser(
        "doctor",
        help="check that a transcriber behaves as hearout assumes",
        description="Play a short recording to the transcriber and report, one line a check, what differs from what "
        "hearout assumes of it, and what this account has or lacks. Takes some ten seconds longer than the recording; "
        "the service may charge for it. Without a key it examines the built-in recogniser instead, and says so. "
        "Exit status: 0 all as assumed, whatever the account lacks, 1 something differs, 2 bad usage.",
    )
    parser.add_argument(
        "--stt",
        default="deepgram",
        metavar="NAME|MODULE:CLASS",
        help="whom to examine: as for listen (default: deepgram, key in DEEPGRAM_API_KEY)",
    )
    parser.add_argument("--url", help="the endpoint, if not the usual one (ws://127.0.0.1:8765/v1/listen)")
    add_diarize_argument(parser)
    parser.add_argument("--sample", metavar="FILE", help="speech, a sentence or more; the first 30 s are played")
    parser.add_argument("--slow", action="store_true", help="also wait 15 s for KeepAlive to keep a connection open")
    parser.add_argument("--json", action="store_true", help="print every finding as one line of JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    if args.sample is None and not _SAMPLE.exists():
        raise UsageError("doctor: name a short recording of speech with --sample FILE; a clone has samples/order.flac")
    return trio.run(_examine_all, args)


async def _examine_all(args: argparse.Namespace) -> int:
    different: list[Finding] = []

    def report(finding: Finding) -> None:
        if finding.verdict == "differs":
            different.append(finding)
        if args.json:
            line = {"server": server, "check": finding.check, "verdict": finding.verdict, "detail": finding.detail}
            print(json.dumps(line | {k: round(v, 3) for k, v in finding.figures.items()}), flush=True)
        else:
            say(f"{finding.verdict:8} {finding.check:16} {finding.detail}")

    async with _opened(args) as patient:
        server = patient.server
        if patient.instead and args.json:
            print(json.dumps({"server": server, "instead": patient.instead}), flush=True)
        elif patient.instead:
            say(
                f"{patient.instead}: this is the built-in recogniser on this machine: {args.stt} and its account were "
                "not tried; against a server of this machine, --url ws://127.0.0.1:PORT/PATH, it needs no key"
            )
        await examine(patient.dialect, patient.sample, report, stranger=patient.stranger, slow=args.slow)
    return 1 if different else 0


@dataclass(frozen=True, slots=True)
class _Patient:
    """Who is examined.

    Attributes:
        server: "local" or the name of the provider.
        stranger: the same with a wrong key, if it is given one.
        instead: why it is not whom the options name; empty: it is.
    """

    server: str
    dialect: Dialect
    stranger: Dialect | None
    sample: Sample
    instead: str = ""


@asynccontextmanager
async def _opened(args: argparse.Namespace) -> AsyncIterator[_Patient]:
    known, instead = PROVIDERS["deepgram"], ""
    local = args.stt == "local"
    if local and args.url is not None:
        raise UsageError("--url names a provider's endpoint: add --stt deepgram")
    if local and args.diarize:
        raise UsageError("--diarize: the built-in recogniser does not tell voices apart: add --stt deepgram")
    if not local:
        known = chosen(args.stt)
        if args.url is None and not has_key(known):
            local, instead = True, f"no key for {known.owner} in {known.variable}"
            known = PROVIDERS["deepgram"]
    sample = await read_sample(args.sample or _SAMPLE)
    rate, channels = sample.sample_rate, sample.channels
    if local:
        async with local_server() as url:
            dialect, stranger = (known.make(key, url, rate, channels) for key in ("local", WRONG_KEY))
            yield _Patient("local", dialect, stranger, sample, instead)
    else:
        dialect = provider(known, args.url, rate, channels, diarize=args.diarize)
        wrong = None if known.variable is None else made(known, WRONG_KEY, args.url, rate, channels)
        yield _Patient(known.name, dialect, wrong, sample)
