"""``hearout tune``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from hearout.cli.output import complain, print_table, say
from hearout.cli.policies import add_policy_arguments, chosen_policy
from hearout.cli.transcribers import add_own_argument, chosen_own
from hearout.cli.work import add_work_arguments, check_work, check_writable, cluster, progress_bar, write_whole
from hearout.errors import UsageError
from hearout.fields import finite
from hearout.plot.picture import check_picture
from hearout.traces.reader import read_trace
from hearout.tune.fit import Compared, Tuned, policy_toml, tune
from hearout.writing import counted

__all__ = ["register"]

_TEXT = """Search the parameters of a policy on recorded sessions: the fastest with no more than a share of the pauses
cut off. What happened after each pause tells whether it was the end. See docs/tuning.md."""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command; its parser's ``run`` takes the arguments and returns the exit status."""
    parser = subparsers.add_parser("tune", help="fit a policy to recorded sessions", description=_TEXT)
    parser.add_argument("traces", nargs="+", metavar="TRACE", help="a trace (JSON Lines)")
    parser.add_argument(
        "--target-cutoff",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="of the pauses in mid-turn, that may be cut off (default 0.05)",
    )
    add_own_argument(parser)
    add_policy_arguments(parser)
    parser.add_argument(
        "--parameters", default="", metavar="KEYS", help="what to vary: keys with commas between, * for any"
    )
    parser.add_argument("--trials", type=int, default=240, metavar="N", help="policies to try (default 240)")
    add_work_arguments(parser)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, another search (default 0)")
    parser.add_argument("--plot", metavar="PNG", help="draw what was tried, and the front")
    parser.add_argument("-o", "--output", metavar="FILE.toml", help="write the policy found, for --policy")
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    policy = chosen_policy(args)
    _check_options(args)
    own = chosen_own(args)
    traces = [read_trace(name, own, lambda told: complain(f"note: {told}")) for name in args.traces]
    with cluster(args.dask), progress_bar("searching", "policies") as progress:
        tuned = tune(
            traces,
            policy,
            target=args.target_cutoff,
            parameters=[key.strip() for key in args.parameters.split(",") if key.strip()],
            trials=args.trials,
            seed=args.seed,
            jobs=args.jobs,
            progress=progress,
        )
    if args.json:
        print(json.dumps(finite(tuned.as_dict())))
    else:
        _report(tuned)
    if args.output:
        write_whole(args.output, policy_toml(tuned).encode())
    if args.plot:
        from hearout.tune.picture import picture

        write_whole(args.plot, picture(tuned, Path(args.plot).suffix[1:]))
    return 0


def _check_options(args: argparse.Namespace) -> None:
    """What would be a pity to find out in the end."""
    if args.seed < 0:
        raise UsageError(f"--seed {args.seed}: a seed is 0 or more")
    check_work(args)
    if args.output and not args.output.endswith(".toml"):
        raise UsageError(f"{args.output}: the name of a policy file must end in .toml")
    if args.plot:
        check_picture(args.plot)
    for name in filter(None, (args.output, args.plot)):
        check_writable(name)


def _report(tuned: Tuned) -> None:
    for notice in tuned.notices:
        complain(f"note: {notice}")
    searched, held = tuned.base.searched, tuned.base.held_out
    out = f", {held.holds} and {held.ends} in {tuned.held_out} held out" if held.ends else ""
    say(
        f"{counted(tuned.traces, 'trace')}: {counted(searched.holds, 'hold')} and {counted(searched.ends, 'end')} to "
        f"search on{out}; {counted(tuned.unclear, 'pause')} show{'s' * (tuned.unclear == 1)} nothing"
    )
    say("", "front, where it was searched | held out")
    names = _short_names(tuned.searched)
    titles = ["cutoffs", "mean", "p50", "p90", "|", "cutoffs", "mean", "changed"]
    rows = [[*_cells(p), "* " + _changes(p, names) if p == tuned.chosen else _changes(p, names)] for p in tuned.front]
    print_table([titles, *rows])
    say("", f"at most {tuned.target:.1%} cut off{_how_far(tuned)}")
    named = [("start", tuned.base), ("price alone", tuned.factor), ("tuned (*)", tuned.chosen)]
    print_table([[*titles[:-1], "policy"], *([*_cells(point), name] for name, point in named)])
    if held.ends:
        _report_held_out(tuned)
    if tuned.no_help:
        say(f"note: {tuned.no_help}")
    if tuned.expected is not None:
        if not tuned.reached:
            say("note: none of the prices tried keeps to that; record more, or begin at --policy patient")
    elif not tuned.reached:
        say("note: no policy within a quarter to four times the numbers does; begin at --policy patient, or --set ...")
    elif tuned.chosen.held_out.cutoffs_between[0] > tuned.target:
        say("note: the held-out pauses are cut off more often than allowed: too few traces, or too lucky a search")


def _how_far(tuned: Tuned) -> str:
    if tuned.expected is None:
        return "" if tuned.reached else ": not reached; the fewest"
    return f": {'' if tuned.reached else 'not reached; '}{tuned.expected:.1%} expected, with what is known beforehand"


def _report_held_out(tuned: Tuned) -> None:
    low, high = tuned.chosen.held_out.cutoffs_between
    gain, (least, most) = tuned.gain
    faster = "faster" if gain >= 0 else "slower"
    say(
        "",
        f"held out: {tuned.chosen.held_out.cutoffs:.1%} of holds cut off (95 %: {low:.1%} to {high:.1%}), "
        f"{abs(gain):.2f} s {faster} than the price alone on average (95 %: {least:+.2f} to {most:+.2f})",
    )


def _short_names(keys: Sequence[str]) -> dict[str, str]:
    """``odds.stop`` is ``stop`` where that says enough."""
    short = {key: key.rpartition(".")[2] for key in keys}
    return {key: name if list(short.values()).count(name) == 1 else key for key, name in short.items()}


def _changes(point: Compared, names: dict[str, str]) -> str:
    return ", ".join(f"{names[key]} {value:g}" for key, value in point.settings.items()) or "nothing"


def _cells(point: Compared) -> list[str]:
    f, other = point.searched, point.held_out
    late = [f"{value:.2f}" if value is not None else "never" for value in (f.mean, f.p50, f.p90)]
    unseen = [f"{other.cutoffs:.1%}", f"{other.mean:.2f}"] if other.ends else ["-", "-"]
    return [f"{f.cutoffs:.1%}" if f.holds else "-", *late, "|", *unseen]
