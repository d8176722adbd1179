"""``hearout report``."""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from hearout.cli.output import complain, print_table, say
from hearout.cli.policies import add_policy_arguments, chosen_policy
from hearout.cli.transcribers import add_own_argument, chosen_own
from hearout.cli.work import (
    add_work_arguments,
    check_work,
    check_writable,
    cluster,
    progress_bar,
    whole_file,
    write_whole,
)
from hearout.errors import UsageError
from hearout.fields import finite
from hearout.report.against import VERSION, Calls, compare, read_sums, table
from hearout.report.changes import learn
from hearout.report.judge import JudgedCall
from hearout.report.page import check_page, page
from hearout.report.sums import Share, Sums
from hearout.report.survey import Options, survey
from hearout.report.totals import Totals
from hearout_policies.policy import Policy, load_policy

__all__ = ["register"]

_TEXT = """What turn detection did in recorded calls: the voicebot's own, where traces tell of it, and ours beside it.
With --against: exit status 1 when cut-ins, turns handed on too early or the mean delay got worse.
See docs/report.md."""
_COLUMNS = ("trace", "channel", "start", "end", "who")
_COUNTS = ("commits", "judged", "cut_ins", "early", "split", "aside", "delay", "words", "lost", "late")
_CONTEXT = ("hour", "policy", "asked", "caller")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command; its parser's ``run`` takes the arguments and returns the exit status."""
    parser = subparsers.add_parser("report", help="say what turn detection did in recorded calls", description=_TEXT)
    parser.add_argument("traces", nargs="+", metavar="TRACE", help="a trace (JSON Lines)")
    parser.add_argument("-o", "--output", metavar="FILE.html", help="write the report as one page")
    parser.add_argument("--json", metavar="FILE.json", help="write all figures; --against takes it later")
    parser.add_argument("--csv", metavar="FILE.csv", help="write a line for each turn and turn detection")
    parser.add_argument("--title", default="Turn detection", help="of the page")
    parser.add_argument("--channel", type=int, metavar="N", help="the user's, where the agent has a channel, too")
    add_own_argument(parser)
    add_policy_arguments(parser, default=None)
    parser.add_argument("--against", metavar="BASE", help="compare with another report's JSON, or with a policy")
    parser.add_argument(
        "--worse-cut-ins",
        type=float,
        default=0.01,
        metavar="SHARE",
        help="by which cut-ins, and turns too early, may grow (default 0.01)",
    )
    parser.add_argument(
        "--worse-delay", type=float, default=0.1, metavar="S", help="by which the mean delay may grow (default 0.1)"
    )
    parser.add_argument(
        "--confidence", type=float, default=0.95, metavar="SHARE", help="how sure worse must be (default 0.95)"
    )
    add_work_arguments(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    policy = chosen_policy(args) if args.policy or args.set else None
    _check_options(args)
    options = Options(policy, args.channel, chosen_own(args))
    base = _base(args, policy)
    calls = (Calls(), Calls()) if isinstance(base, Policy) else None  # the same ones, before and now
    with cluster(args.dask), ExitStack() as stack:
        write = stack.enter_context(whole_file(args.csv)) if args.csv else None
        totals = _survey(args, options, "judging", write, calls and calls[1])
        if not totals.told.calls:
            raise UsageError(f"nothing to report on: all {len(args.traces)} traces were skipped")
        with progress_bar("trying changes", "traces") as progress:
            learned = (
                learn(args.traces, options, jobs=args.jobs, progress=progress) if args.output or args.json else None
            )
        if isinstance(base, Policy):
            base = _survey(args, replace(options, policy=base), "judging the base", None, calls and calls[0]).sides
    if args.json:
        found = {"hearout_report": VERSION, "policy": None if policy is None else policy.to_dict(), **totals.as_dict()}
        found["learned"] = None if learned is None else learned.as_dict()
        write_whole(args.json, json.dumps(finite(found), indent=1).encode() + b"\n")
    if args.output:
        write_whole(args.output, page(totals, learned, policy, args.title).encode())
    _tell(totals)
    if base is None:
        return 0
    rows = compare(
        base,
        totals.sides,
        calls=calls,
        cut_ins=args.worse_cut_ins,
        delay=args.worse_delay,
        confidence=args.confidence,
    )
    say("", *table(rows, args.confidence).split("\n"))
    return int(any(row.worse for row in rows))


def _check_options(args: argparse.Namespace) -> None:
    """What would be a pity to find out in the end."""
    check_work(args)
    for name, ending in ((args.output, ".html"), (args.json, ".json"), (args.csv, ".csv")):
        if name and not name.endswith(ending):
            raise UsageError(f"{name}: the name of that file must end in {ending}")
        if name:
            check_writable(name)
    if args.output:
        check_page()
    if not 0.5 <= args.confidence < 1:
        raise UsageError(f"--confidence {args.confidence:g}: a share from 0.5 to 1, such as 0.95")
    if not (args.worse_cut_ins >= 0 and args.worse_delay >= 0):
        raise UsageError("--worse-cut-ins and --worse-delay are 0 or more")


def _base(args: argparse.Namespace, policy: Policy | None) -> dict[str, Sums] | Policy | None:
    """What to compare with: figures, or a policy to judge the same traces under.

    Raises:
        UsageError: there is no such thing.
    """
    if args.against is None:
        return None
    name = Path(args.against)
    if name.suffix != ".toml" and (name.exists() or name.suffix == ".json"):
        return read_sums(args.against)
    try:
        base = load_policy(args.against)
    except ValueError as error:
        raise UsageError(f"--against {args.against}: neither a report's JSON nor a policy: {error}") from None
    if policy is None:
        raise UsageError(f"--against {args.against} is a policy: name the one to compare with it by --policy")
    return base


def _survey(
    args: argparse.Namespace,
    options: Options,
    doing: str,
    write: Callable[[bytes], object] | None,
    calls: Calls | None,
) -> Totals:
    """Judge all traces, write the lines of each, and note what each gave."""
    if write:
        write(_csv([[*_COLUMNS, *_COUNTS, *_CONTEXT]]))

    def each(call: JudgedCall) -> None:
        if write:
            write(_csv(_rows(call)))
        if calls is not None:
            calls.add(call)

    with progress_bar(doing, "traces") as progress:
        return survey(
            args.traces,
            options,
            jobs=args.jobs,
            each=each,
            skipped=lambda message: complain(f"skipped: {message}"),
            broken_off=lambda message: complain(f"note: {message}"),
            progress=lambda done: progress(done, len(args.traces)),
        )


def _csv(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _rows(call: JudgedCall) -> Iterator[list[object]]:
    """A line for each turn and turn detection, without what was said."""
    for turn in call.turns:
        for who, part in (("bot", turn.bot), ("ours", turn.ours)):
            if part is None:
                continue
            delay = "" if part.delay is None else "never" if part.delay == math.inf else f"{part.delay:.3f}"
            times = (f"{turn.start:.3f}", f"{turn.end:.3f}")
            pieces = (len(part.commits), part.judged, part.cut_ins, part.early, int(part.split), int(part.aside))
            words = (part.words, part.lost, part.late)
            context = (turn.hour, turn.policy, turn.asked, call.caller)
            yield [_plain(call.name), turn.channel, *times, who, *pieces, delay, *words, *map(_plain, context)]


def _plain(text: str) -> str:
    """No spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _tell(totals: Totals) -> None:
    """The figures, for a terminal."""
    for name in totals.without_names if totals.has_bot else ():
        complain(f"skipped: {name}: it does not tell of the bot's turns, though others do")
    told = totals.told
    left = sum(totals.as_dict()["skipped"].values())
    unclear = sum(told.unclear.values())
    say(f"{told.calls} calls, {told.all.ours.turns} turns; {left} traces skipped, {unclear} pauses show nothing")
    if not totals.has_bot:
        say("no trace tells of a bot's own turn detection: what follows is on hearout alone")
    sides = totals.sides
    rows = [["", *({"bot": "the bot", "ours": "hearout"}[side] for side in sides), ""]]
    for name in next(iter(sides.values())).shares:
        rows.append([name, *(_share(sums.shares[name]) for sums in sides.values()), ""])
    rows.insert(1, ["mean delay", *(_delay(sums) for sums in sides.values()), ""])
    print_table(rows, left=(0,))


def _share(share: Share) -> str:
    low, high = share.between
    return f"{share.value:.1%} ({low:.1%} to {high:.1%}, n {share.count})" if share.count else "-"


def _delay(sums: Sums) -> str:
    low, high = sums.delay_between
    return f"{sums.delays.mean:.2f} s ({low:.2f} to {high:.2f}, n {sums.delays.count})" if sums.delays.count else "-"
