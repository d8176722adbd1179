"""``hearout doctor``: does the transcriber's service behave as hearout assumes? One line a check."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import trio

from hearout.cli.output import say
from hearout.cli.transcribers import provider
from hearout.doctor.checks import Finding
from hearout.doctor.examine import examine, read_sample
from hearout.errors import UsageError
from hearout.transcribers.deepgram import Deepgram

__all__ = ["register"]

_SAMPLE = Path(__file__).parents[3] / "samples" / "order.flac"  # in a checkout, not in the wheel


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command; its ``run`` takes the arguments and returns the exit status."""
    parser = subparsers.add_parser(
        "doctor",
        help="check that a transcriber behaves as hearout assumes",
        description="Play a short recording to the transcriber and report, one line a check, what differs from what "
        "hearout assumes of it. Takes some ten seconds longer than the recording; the service may charge for it. "
        "Exit status: 0 all as assumed, 1 something differs, 2 bad usage.",
    )
    parser.add_argument("--stt", choices=["deepgram"], default="deepgram", help="key in DEEPGRAM_API_KEY")
    parser.add_argument("--url", help="the endpoint, if not the usual one (ws://127.0.0.1:8765/v1/listen)")
    parser.add_argument("--sample", metavar="FILE", help="speech, a sentence or more; the first 30 s are played")
    parser.add_argument("--slow", action="store_true", help="also wait 15 s for KeepAlive to keep a connection open")
    parser.add_argument("--json", action="store_true", help="print every finding as one line of JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    if args.sample is None and not _SAMPLE.exists():
        raise UsageError("doctor: name a short recording of speech with --sample")
    return trio.run(_examine_all, args)


async def _examine_all(args: argparse.Namespace) -> int:
    sample = await read_sample(args.sample or _SAMPLE)
    different: list[Finding] = []

    def report(finding: Finding) -> None:
        if finding.verdict == "differs":
            different.append(finding)
        if args.json:
            line = {"check": finding.check, "verdict": finding.verdict, "detail": finding.detail}
            print(json.dumps(line | {k: round(v, 3) for k, v in finding.figures.items()}), flush=True)
        else:
            say(f"{finding.verdict:8} {finding.check:16} {finding.detail}")

    dialect = provider(Deepgram, args.url, sample.sample_rate, sample.channels)
    await examine(dialect, sample, report, slow=args.slow)
    return 1 if different else 0
