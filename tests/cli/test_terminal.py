"""`hearout listen` on a terminal: what is on the screen while it runs, and what stays."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import trio

from hearout.cli.report import REFRESH
from tests.kit.commandline import COMMAND, RATE, Stage, environment, playing, serving

if sys.platform == "win32":
    pytest.skip("terminals of Unix", allow_module_level=True)

import fcntl
import pty
import struct
import termios


class Screen:
    """A terminal, as far as anybody moves about on it here.

    Attributes:
        seen: the lines on it each time before the cursor went back to change them.
        cursor: it is shown.
        codes: the escape sequences that came.
    """

    def __init__(self, width: int) -> None:
        self.seen: list[list[str]] = []
        self.cursor = True
        self.codes: list[str] = []
        self._width = width
        self._rows = [""]
        self._row = self._column = 0

    @property
    def lines(self) -> list[str]:
        return [row.rstrip() for row in self._rows]

    def feed(self, text: str) -> None:
        for match in re.finditer(r"\x1b\[([?\d;]*)([A-Za-z])|([\s\S])", text):
            argument, code, char = match.groups()
            if code:
                self.codes.append(match[0])
                self._obey(code, argument)
            elif char == "\r":
                self.seen.append(self.lines)
                self._column = 0
            elif char == "\n":
                self._down()
            else:
                assert char.isprintable()
                if self._column == self._width:
                    self._column = 0
                    self._down()
                row = self._rows[self._row].ljust(self._column)
                self._rows[self._row] = row[: self._column] + char + row[self._column + 1 :]
                self._column += 1

    def _obey(self, code: str, argument: str) -> None:
        match code, argument:
            case "A", _:
                self._row -= int(argument or 1)
                assert self._row >= 0
            case "K", "2":
                self._rows[self._row] = ""
            case "h" | "l", "?25":
                self.cursor = code == "h"
            case "m", _:
                pass
            case _:
                raise AssertionError(f"{code} {argument}")

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self._rows):
            self._rows.append("")


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[list[str]]:
    """``hearout listen`` to 3 s, as fast as its transcriber hears: which takes its time where there is to be seen."""

    async def play(stage: Stage) -> None:
        await stage.hear(0.5)
        await stage.say("yes", 0.1, 0.4, final=False)
        await trio.sleep(3 * REFRESH)
        await stage.hear(1.0)
        await stage.say("yes please.", 0.1, 0.9)
        await stage.hear(2.5)
        await stage.websocket.send_message("nonsense")  # makes a warning
        await trio.sleep(3 * REFRESH)
        await stage.end()

    soundfile.write(tmp_path / "line.flac", np.zeros(3 * RATE, "int16"), RATE)
    with serving(playing(play)) as options:
        yield [*COMMAND, "listen", str(tmp_path / "line.flac"), "--speed", "max", *options]


def on_terminal(
    command: list[str], *, width: int = 80, stdout: Path | None = None, stderr: Path | None = None, **more: str
) -> Screen:
    """Run it to its end on a terminal of that width; standard output or error may go to a file instead."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    files = [open(path, "wb") if path else theirs for path in (stdout, stderr)]  # noqa: SIM115
    with subprocess.Popen(
        command,
        stdin=theirs,
        stdout=files[0],
        stderr=files[1],
        env=environment(**{"TERM": "xterm-256color", **more}),
        start_new_session=True,
    ) as process:
        for file in files:
            if not isinstance(file, int):
                file.close()
        os.close(theirs)
        data = b""
        while True:
            try:
                more_data = os.read(ours, 65_536)
            except OSError:  # how Linux says that nobody has the terminal any more
                break
            if not more_data:
                break
            data += more_data
    os.close(ours)
    assert process.returncode == 0
    screen = Screen(width)
    screen.feed(data.decode())
    return screen


TURN = r" +\d\.\d\d s  yes please\.   \[\w+  \+\d\.\d\d s\]"
COLOUR = re.compile(r"\x1b\[(\d+;)*(3[0-7]|38|9[0-7])[;m]")
WARNING = "hearout: warning: a message of the transcriber makes no sense: "


def test_a_live_line_while_it_runs_and_the_turns_for_good(listening: list[str]) -> None:
    screen = on_terminal(listening)
    assert any(re.fullmatch("[█·]{12}  yes", line) for lines in screen.seen for line in lines)
    assert any("%" in line for lines in screen.seen for line in lines)  # how far in the file
    below_the_turn = [lines[1:] for lines in screen.seen if re.fullmatch(TURN, lines[0])]
    assert any(re.match("[█·]{12}", line) for lines in below_the_turn for line in lines)

    assert any(COLOUR.match(code) for code in screen.codes)

    assert screen.cursor
    left = [line for line in screen.lines if line]
    assert re.fullmatch(TURN, left[0])
    assert left[1].startswith(WARNING[:79])
    assert left[-1].startswith("1 turn, median ")
    assert not any("█" in line or "·" in line or "━" in line for line in left)


def test_lines_go_to_the_pipe_though_standard_error_is_a_terminal(listening: list[str], tmp_path: Path) -> None:
    screen = on_terminal(listening, stdout=tmp_path / "turns")
    assert re.match(TURN, (tmp_path / "turns").read_text())
    assert any(re.match("[█·]{12}", line) for lines in screen.seen for line in lines)
    assert "yes please" not in "".join(screen.lines)
    assert screen.cursor


def test_json_in_a_pipe(listening: list[str], tmp_path: Path) -> None:
    screen = on_terminal([*listening, "--json"], stdout=tmp_path / "events")
    events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert "warning" in {event["type"] for event in events}
    assert "".join(screen.lines) == ""


def test_json_on_the_terminal_has_no_live_line(listening: list[str]) -> None:
    screen = on_terminal([*listening, "--json"], width=4000)
    assert {"turn_started", "turn_completed"} <= {json.loads(line)["type"] for line in screen.lines if line}
    assert screen.codes == []


def test_warnings_go_to_the_file_though_standard_output_is_a_terminal(listening: list[str], tmp_path: Path) -> None:
    screen = on_terminal(listening, stderr=tmp_path / "log")
    warning, summary = (tmp_path / "log").read_text().splitlines()
    assert warning.startswith(WARNING)
    assert summary.startswith("1 turn,")
    assert re.fullmatch(TURN, screen.lines[0])


@pytest.mark.parametrize("width", [8, 20])
def test_a_narrow_terminal(listening: list[str], width: int) -> None:
    screen = on_terminal(listening, width=width)
    left = "".join(line.ljust(width) for line in screen.lines)
    assert "yes please." in left
    assert not any(char in left for char in "█·━")
    live = [[line for line in lines if "█" in line or "·" in line] for lines in screen.seen]
    assert max(len(lines) for lines in live) == 1  # cropped, not wrapped
    assert not any(line.strip() in ("s", "yes") for lines in screen.seen for line in lines)


def test_a_dumb_terminal(listening: list[str]) -> None:
    screen = on_terminal(listening, TERM="dumb")
    assert screen.codes == []
    assert re.fullmatch(TURN, screen.lines[0])


def test_no_colour(listening: list[str]) -> None:
    screen = on_terminal(listening, NO_COLOR="1")
    assert screen.seen
    assert not any(COLOUR.match(code) for code in screen.codes)


def test_a_terminal_that_knows_ascii_only(listening: list[str]) -> None:
    screen = on_terminal(listening, PYTHONIOENCODING="ascii")
    assert any(re.fullmatch("[#.]{12}  yes", line) for lines in screen.seen for line in lines)
    assert re.fullmatch(TURN, screen.lines[0])
