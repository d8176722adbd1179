"""What `hearout listen` shows: events as JSON lines, or turns as lines of text, with a live line on a terminal."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from hearout.cli.output import complain, say
from hearout.session.core import SessionEvent
from hearout.session.notices import AudioLost, LinkDown, LinkUp, Notice, SessionWarning
from hearout.writing import counted, printable
from hearout_policies.events import TurnAbandoned, TurnAmended, TurnCompleted, TurnUpdated, as_dict

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from hearout.session.session import Session

__all__ = ["REFRESH", "JsonReport", "Report", "TextReport", "live"]

REFRESH = 0.1  # seconds between two pictures of the live line

_METER = 12  # characters of the voice meter
_METER_FLOOR = -60.0  # dBFS at its left end


class Report(Protocol):
    """Shows one session."""

    def show(self, event: SessionEvent) -> None:
        """Something happened."""

    def finish(self) -> None:
        """The audio is over, and so are all turns."""


class JsonReport:
    """One event a line, on standard output."""

    def show(self, event: SessionEvent) -> None:
        print(json.dumps(as_dict(event)), flush=True)

    def finish(self) -> None:
        pass


class TextReport:
    """One line a completed turn; the current text of each channel for the live line.

    Args:
        channels: how many; with more than one each line names its channel.
        console: where lines go when a live line is to stay below them; None: plain standard output.
    """

    def __init__(self, channels: int, console: Console | None = None) -> None:
        self.texts = [""] * channels
        self._console = console
        self._latencies: list[float] = []
        self._turns = 0

    def show(self, event: SessionEvent) -> None:
        match event:
            case TurnUpdated():
                self.texts[event.channel] = printable(event.text)
            case TurnCompleted():
                self.texts[event.channel] = ""
                self._turns += 1
                self._line(self._turn_line(event))
            case TurnAbandoned():
                self.texts[event.channel] = ""
            case TurnAmended():
                self._line(f"{event.at:7.2f} s  {self._who(event.channel)}turn {event.turn} now reads: {event.text}")
            case SessionWarning() | LinkDown() | LinkUp() | AudioLost():
                self._complain(event)
            case _:
                pass

    def finish(self) -> None:
        turns = counted(self._turns, "turn")
        if self._latencies:
            turns += f", median {statistics.median(self._latencies):.2f} s after the end of speech"
        elif not self._turns:
            turns += ": no words were heard"
        complain(turns)

    def _turn_line(self, event: TurnCompleted) -> str:
        latency = event.timings.latency
        if latency is not None:
            self._latencies.append(latency)
        when = "" if latency is None else f"  +{latency:.2f} s"
        doubt = "" if event.confirmed else "  unconfirmed"
        return f"{event.at:7.2f} s  {self._who(event.channel)}{event.text}   [{event.reason}{when}{doubt}]"

    def _who(self, channel: int) -> str:
        return f"channel {channel}: " if len(self.texts) > 1 else ""

    def _line(self, text: str) -> None:
        if self._console is None:
            say(text)
        else:
            self._console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def _complain(self, notice: Notice) -> None:
        match notice:
            case LinkDown():
                text = f"no connection, trying again: {notice.detail}"
            case LinkUp():
                text = f"connected again after {notice.outage:.1f} s"
            case AudioLost():
                text = f"audio from {notice.audio_start:.1f} to {notice.audio_end:.1f} s was lost"
            case SessionWarning():
                text = notice.detail
        complain(f"hearout: warning: {text}")


@contextmanager
def live(session: Session, report: Report, console: Console, duration: float | None) -> Iterator[None]:
    """Keep a live line at the bottom of the terminal: progress when the length is known, voice and interim text.

    Rich draws it in a thread of its own, ten times a second: nothing of the session waits for a terminal. What
    others print to standard error meanwhile goes above the line, if that is the terminal too.
    """
    from rich.console import Group
    from rich.live import Live
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.text import Text

    progress = Progress(
        TextColumn("{task.completed:6.1f} s"), BarColumn(24), TaskProgressColumn(), TimeElapsedColumn(), console=console
    )
    task = progress.add_task("", total=duration)
    texts = report.texts if isinstance(report, TextReport) else []

    def picture() -> RenderableType:
        progress.update(task, completed=session.heard)
        lines = []
        for channel, gate in enumerate(session.gates):
            line = Text(no_wrap=True, overflow="crop")
            meter = _meter(gate.level, *("#." if console.options.ascii_only else "█·"))
            line.append(meter, "green" if gate.speaking else "dim")
            if texts:
                # The newest words are at the end, so the beginning is what a narrow terminal goes without.
                room = max(1, console.width - _METER - 3)
                line.append(f"  {texts[channel][-room:]}", "italic")
            lines.append(line)
        return Group(*lines, progress) if duration is not None else Group(*lines)

    with Live(
        get_renderable=picture,
        console=console,
        refresh_per_second=1 / REFRESH,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=sys.stderr.isatty(),
    ):
        yield


def _meter(level: float, full: str, empty: str) -> str:
    filled = round(_METER * min(1.0, max(0.0, 1 - level / _METER_FLOOR)))
    return full * filled + empty * (_METER - filled)
