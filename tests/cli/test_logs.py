"""``--log-format json``: whatever is told on standard error is an object a line, with the time and the call."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

from hearout.cli.logs import LogHandler
from hearout.cli.main import main
from hearout.serving import WebSocketServer, call_id
from hearout.sources import TwilioCall, twilio_server
from tests.kit.callers import calling, dialling
from tests.kit.commandline import COMMAND, KEY, environment, playing, serving
from tests.kit.twilio_line import CONNECTED, STOP, start


async def hang_up(stage: Any) -> None:
    await stage.hear(0.5)
    await stage.end()


def test_every_line_is_json_with_time_level_and_call() -> None:
    async def call(address: str) -> list[Any]:
        host, port = address.split(":")
        async with dialling(host, int(port)) as caller:
            await caller.say({"sample_rate": 16000}, bytes(32_000), {"type": "end"})
            await caller.listen()
            ready = caller.got[0]
        async with dialling(host, int(port)) as caller:
            await caller.say(b"audio before the header")
            await caller.listen()
        return [ready["call"]]

    with serving(playing(hang_up)) as options:
        pipe = subprocess.PIPE
        command = [*COMMAND, "serve", "--port", "0", *options]
        variables = environment(HEAROUT_SERVE_LOG_FORMAT="json")
        with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=variables) as process:
            assert process.stdout is not None
            address = process.stdout.readline().split("//")[1].strip()
            (name,) = trio.run(call, address)
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=60)
    lines = [json.loads(line) for line in err.splitlines()]
    for line in lines:
        at = datetime.fromisoformat(line["time"])
        assert line["time"].endswith("Z")
        assert abs(datetime.now(UTC) - at) < timedelta(minutes=5)
        assert line["level"] in ("info", "warning")
    first = [line["message"].split(" from")[0].split(" after")[0] for line in lines if line["call"] == name]
    assert first == ["websocket: a call", "websocket: the call ended"]
    (warning,) = [line for line in lines if line["level"] == "warning"]
    assert "audio before the header" in warning["message"]
    assert warning["call"] not in (None, name)
    assert lines[-1]["message"] == "stopped"
    assert lines[-1]["call"] is None


def test_a_failure_of_the_command_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--log-format", "json", "--calls", "0"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert (told["level"], told["message"]) == ("error", "--calls 0: there must be at least 1")
    assert main(["serve", "--calls", "0"]) == 2  # and the next one is a line for people
    assert capsys.readouterr().err.startswith("hearout: --calls 0")


def test_each_call_has_a_name_of_its_own_and_twilio_s_is_twilio_s(run_virtual: Any) -> None:
    names: list[str | None] = []

    async def answer(call: TwilioCall) -> None:
        async def deeper() -> None:
            names.append(call_id.get())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(deeper)

    async def greet(peer: Any) -> None:
        names.append(call_id.get())

    async def run() -> None:
        async with calling(twilio_server(answer)) as caller:
            await caller.say(CONNECTED, start(callSid="CA7"), STOP)
            await caller.listen()
        server = WebSocketServer(greet, name="bot")
        for _ in range(2):
            async with calling(server) as caller:
                await caller.listen()

    run_virtual(run)
    assert names[0] == "CA7"
    assert len(set(names)) == 3
    assert call_id.get() is None


def test_the_level_is_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "level", logging.WARNING)
    main(["serve", "--log-level", "debug", "--calls", "0"])
    assert logging.getLogger().level == logging.DEBUG


BUGS = """
import sys, threading, warnings

from hearout.cli import serve
from hearout.cli.main import main


class Owner:
    def __del__(self):
        raise ValueError("nobody catches this")


def fail():
    raise ValueError("in a thread")


async def run(*args):
    warnings.warn("this is\\nold")
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    Owner()
    raise LookupError("in the command")


serve._serve = run
sys.exit(main(["serve", "--stt", "deepgram", "--port", "0", *sys.argv[1:]]))
"""


def test_what_python_itself_has_to_say_is_json_too(tmp_path: Path) -> None:
    """Warnings, tracebacks of threads, errors that nobody could catch, and a bug that ends the command."""
    (tmp_path / "bugs.py").write_text(BUGS)
    command = [sys.executable, str(tmp_path / "bugs.py"), "--log-format", "json"]
    done = subprocess.run(command, env=environment(DEEPGRAM_API_KEY=KEY), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["level"] for line in lines] == ["warning", "error", "error", "critical"]
    assert "UserWarning: this is old" in lines[0]["message"]
    for line, last in zip(lines[1:], ["in a thread", "nobody catches this", "in the command"], strict=True):
        assert line["exception"].splitlines()[-1].endswith(last)
        assert line["time"]
        assert line["call"] is None


@pytest.mark.parametrize("options", [[], ["--log-format", "json"], ["--log-format=json"]])
def test_a_variable_that_cannot_be_read_is_told_in_json(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not options:
        monkeypatch.setenv("HEAROUT_SERVE_LOG_FORMAT", "json")
    monkeypatch.setenv("HEAROUT_SERVE_PORT", "http")
    assert main(["serve", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == "HEAROUT_SERVE_PORT: 'http' is not what it must be: a whole number"


def test_a_bug_in_a_handler_is_told_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise LookupError("here\x1b[31m")
    except LookupError:
        record = logging.LogRecord("hearout", logging.ERROR, "", 0, "%s: the handler failed", ("bot",), sys.exc_info())
    LogHandler().emit(record)
    first, *traceback = capsys.readouterr().err.splitlines()
    assert first == "hearout: error: bot: the handler failed"
    assert traceback[0].startswith("Traceback")
    assert traceback[-1] == "LookupError: here [31m"


def test_a_line_that_cannot_be_made_harms_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    LogHandler().emit(logging.LogRecord("lib", logging.WARNING, "", 0, "%d calls", ("many",), None))
    assert capsys.readouterr().err.startswith("hearout: warning: %d calls (('many',): ")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_server_goes_on_when_nobody_reads_what_it_tells(log_format: str) -> None:
    """What collects its lines is gone; later the disk is full, or the like."""

    async def call(address: str) -> None:
        host, port = address.split(":")
        for _ in range(2):
            async with dialling(host, int(port)) as caller:
                await caller.say(b"audio before the header")
                assert await caller.listen() == (1002, caller.got[-1]["detail"])

    pipe = subprocess.PIPE
    with serving(playing(hang_up)) as options:
        command = [*COMMAND, "serve", "--port", "0", "--log-format", log_format, "--log-level", "info", *options]
        with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment()) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            address = process.stdout.readline().split("//")[1].strip()
            process.stderr.close()
            trio.run(call, address)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
