"""The fault matrix, run and written down.

    python -m benchmarks.faults [-o docs/faults.md]

Runs every row of ``tests/faults/matrix.py`` (``test_faults.py`` holds them to what they promise) and writes the
page with what was measured. Time is virtual: the figures do not depend on the machine.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import trio
from trio.testing import MockClock

from tests.faults.kit import GOOD
from tests.faults.matrix import BELOW, GROUPS, dialects
from tests.faults.runs import ADDRESSES, DIALECTS, Outcome, Row, run
from tests.faults.strangers import KINDS, NUMBER, meet
from tests.kit.paths import ROOT

_HEAD = """\
# What happens when things fail

Written by `python -m benchmarks.faults`; not edited by hand. Each row is a session in virtual time over a real
websocket (streams in memory; sockets on this machine where the fault needs them) with a transcriber that speaks
Deepgram's, Soniox's or Flux's protocol, hears the words of a script where they stand in the audio, and fails as told.
`tests/faults/test_faults.py` holds every row to what must come of it, and breaks a session after every message, too:
Deepgram's in every run, the others' in part, and all with `pytest --hypothesis-profile=nightly tests/faults`.
No provider's own service was used.

- **with**: who the transcriber takes after; one line for those with which the same came of it. HOST is its host.
- **the application is told**: the notices of the session (`link_down`, `link_up`, `audio_lost`, `warning`), or its
  error; then how many turns were completed with words that were not final yet, how many were corrected afterwards,
  and how many there were when it is not the number of an undisturbed session. `turn_started` and the like are left
  out. While the transcriber lags behind, turns that follow each other closely run into one.
- **connected again**: seconds from the fault to a connection that works; the longest when there are several.
- **live again**: seconds from the fault until the transcriber hears what is being said right now. What was missed is
  replayed before, no faster than 1.25 times real time, as Deepgram wants it.
- **lost**, **doubled**: words of the script that are in no turn, and in more than one place, in the end. Not counted
  where the session fails.
"""

_STRANGERS = """
## Strangers at a server

The other direction: {number} connections to the server of `hearout serve` that do not show the token, and then a client
that does (`tests/faults/test_strangers.py`; over sockets, with TLS and from many addresses in
`tests/serving/test_strangers.py`).

- **served after**: seconds until that client has had a whole call.
- **gone after**: seconds until the last of the strangers was closed.

"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the fault matrix and write docs/faults.md.")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "faults.md", help="default docs/faults.md")
    output: Path = parser.parse_args().output
    parts = [_HEAD]
    totals = Counter[str]()
    names: set[str] = set()
    for title, group in GROUPS.items():
        parts.append(f"\n## {title}\n\n")
        parts.append(
            "| fault | how it is made | with | the application is told | connected again | live again "
            "| lost | doubled |\n"
        )
        parts.append("|---|---|---|---|---|---|---|---|\n")
        for row in group:
            print(row.name, file=sys.stderr, flush=True)
            results: dict[tuple[str, ...], list[str]] = {}
            for dialect in dialects(row):
                mine = replace(row, dialect=dialect)
                outcome = run(mine)
                results.setdefault(_cells(mine, outcome), []).append(dialect)
                totals["sessions"] += 1
                totals["known"] += bool(row.bug)
                if outcome.error is None and not row.bug:
                    totals["on"] += 1
                    totals["lost"] += len(outcome.count.lost)
                    totals["told"] += len(row.lost)
                    totals["doubled"] += len(outcome.count.doubled) + len(outcome.count.invented)
            names.add(row.name)
            parts += [_line(row, cells, who) for cells, who in results.items()]
    parts.append(
        f"\n{len(names)} faults, {totals['sessions']} sessions. {totals['on']} of them go on: {totals['lost']} "
        f"words lost, {totals['told']} of which in audio that was told to be lost, and {totals['doubled']} doubled. "
        f"Known faults, not counted: {totals['known']}.\n"
    )
    parts += _strangers()
    output.write_text("".join(parts))


def _strangers() -> list[str]:
    """The table of those who connect to `hearout serve` and hold their handshakes."""
    lines = [
        _STRANGERS.format(number=NUMBER),
        "| strangers | what they do | served after | gone after |\n|---|---|---|---|\n",
    ]
    for kind in KINDS:
        served, gone = trio.run(meet, kind, clock=MockClock(autojump_threshold=0))
        lines.append(f"| {kind.name} | {kind.cause} | {served:.1f} s | {gone:.1f} s |\n")
    return lines


def _cells(row: Row, outcome: Outcome) -> tuple[str, ...]:
    """What came of it."""
    usual = None
    if outcome.error is None:
        usual = _usual(tuple(map(tuple, row.words)), row.end, row.dialect, row.own_turns)
    told = outcome.sees(usual).replace(ADDRESSES[row.dialect][0], "HOST")
    if row.bug:
        told += f" **(known fault: {row.bug})**"
    counts = ("", "") if outcome.error else (len(outcome.count.lost), len(outcome.count.doubled))
    return told, _seconds(outcome.recovered), _seconds(outcome.live), *map(str, counts)


@cache
def _usual(words: tuple[tuple[tuple[str, float, float], ...], ...], end: float, dialect: str, own_turns: bool) -> int:
    """How many turns there are when nothing goes wrong."""
    return len(run(Row("", "", (GOOD,), words=words, end=end, dialect=dialect, own_turns=own_turns)).turns)


def _line(row: Row, cells: Sequence[str], names: Sequence[str]) -> str:
    who = "all" if len(names) == len(DIALECTS) else ", ".join(names)
    if tuple(dialects(row)) != tuple(row.only):
        who += f" ({BELOW})"
    elif row.why_only:
        who += f" ({row.why_only})"
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in (row.name, row.cause, who, *cells)) + " |\n"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"


if __name__ == "__main__":
    main()
