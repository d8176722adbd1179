"""``hearout serve --workers``: real processes on one socket, which are looked after and drained together."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from hearout.cli import workers
from hearout.cli.workers import Workers
from tests.kit.callers import Caller, dialling
from tests.kit.commandline import COMMAND, environment, playing, serving

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks Linux for the workers")
GOING_AWAY = (1001, "the server is shutting down")


async def say_yes(stage: Any) -> None:
    await stage.hear(1.0)
    await stage.say("yes please", 0.2, 0.9, final=False)
    await stage.end()


async def until(condition: Callable[[], bool]) -> None:
    """Of other processes, which nothing here could wait for."""
    with trio.fail_after(60):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.05)


class Served:
    """A server with workers, as a process."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process, self.address = process, address

    @property
    def workers(self) -> list[int]:
        listed = [file.read_text() for file in Path(f"/proc/{self.process.pid}/task").glob("*/children")]
        return sorted(int(number) for line in listed for number in line.split())

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=20) as answer:
            return str(answer.read().decode())


@contextmanager
def served(*options: str) -> Iterator[Served]:
    command = [*COMMAND, "serve", "--port", "0", "--workers", "2", *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment()) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        told = re.fullmatch(r"listening on ws://(\S+) with 2 workers\n", line)
        assert told is not None, (line, process.stderr and process.stderr.read())
        try:
            yield Served(process, told[1])
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.send_signal(signal.SIGTERM)


async def until_updated(caller: Caller) -> None:
    await caller.say({"sample_rate": 16000}, bytes(32_000), bytes(3200))
    while not caller.got or caller.got[-1]["type"] != "turn_updated":
        caller.got.append(json.loads(await caller.websocket.get_message()))


def test_they_take_calls_are_replaced_count_together_and_drain() -> None:
    async def main(server: Served) -> None:
        host, port = server.address.split(":")
        first = server.workers
        assert len(first) == 2
        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                ends: list[tuple[list[str], tuple[int, str]]] = []

                async def call(ready: trio.Event) -> None:
                    async with dialling(host, int(port)) as caller:
                        await until_updated(caller)
                        ready.set()
                        end = await caller.listen()
                        ends.append(([e["text"] for e in caller.got if e["type"] == "turn_completed"], end))

                os.kill(first[0], signal.SIGKILL)
                calls = [trio.Event() for _ in range(4)]
                for ready in calls:
                    nursery.start_soon(call, ready)
                for ready in calls:
                    await ready.wait()
                await until(lambda: len(server.workers) == 2)
                assert first[1] in server.workers
                assert first[0] not in server.workers
                counted = re.search(r"^hearout_turns_started_total (\S+)$", server.get("/metrics"), re.MULTILINE)
                assert counted is not None
                assert float(counted[1]) == 4
                assert json.loads(server.get("/healthz"))["status"] == "ready"
                for each in (server.process.pid, *server.workers):  # as systemd does
                    os.kill(each, signal.SIGTERM)
        assert ends == [(["yes please"], GOING_AWAY)] * 4

    pytest.importorskip("prometheus_client")
    with serving(playing(say_yes)) as options, served(*options) as server:
        trio.run(main, server)
        out, err = server.process.communicate(timeout=60)
    assert (server.process.returncode, out) == (0, "")
    assert re.fullmatch(r"hearout: warning: worker \d+ ended with -9: a new one in 0.5 s\nhearout: stopped\n", err)


def test_bad_usage_that_only_a_worker_notices_ends_them_all() -> None:
    command = [*COMMAND, "serve", "--port", "0", "--workers", "2", "--stt", "deepgram", "--url", "http://x"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(DEEPGRAM_API_KEY="k"), check=False)
    assert done.returncode == 2
    assert "http://x" in done.stderr


def fake(tmp_path: Path, text: str) -> Sequence[str]:
    program = tmp_path / "worker.py"
    program.write_text(text)
    return [sys.executable, str(program)]


def test_pauses_grow_while_workers_fail_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(workers, "_FIRST", 0.01)
        monkeypatch.setattr(workers, "_LONGEST", 0.04)
        started = tmp_path / "started"
        kept = Workers(
            fake(tmp_path, f"open({str(started)!r}, 'a').write('x'); raise SystemExit(3)"), 1, 0, lambda: None
        )

        async def end_it() -> None:
            await until(lambda: started.exists() and len(started.read_text()) >= 5)
            kept._end()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(end_it)
            assert await kept.run() == 0

    with pytest.MonkeyPatch.context() as monkeypatch:
        trio.run(main, monkeypatch)
    pauses = re.findall(r"ended with 3: a new one in (\S+) s", caplog.text)
    assert pauses[:5] == ["0.01", "0.02", "0.04", "0.04", "0.04"][: len(pauses[:5])]
    assert len(pauses) >= 4


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--workers", "0"], "--workers 0: give 1 to "),
        (["--fd", "977"], "--fd 977: that is no socket that listens"),
        (["--fd", "3", "--workers", "2"], "--fd 3: a process that has workers opens the socket itself"),
    ],
)
def test_what_cannot_be(options: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    from hearout.cli.main import main

    assert main(["serve", "--stt", "deepgram", "--url", "ws://127.0.0.1:1/", *options]) == 2
    assert line in capsys.readouterr().err


def test_a_file_system_that_nobody_may_write_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hearout.cli.main import main

    def refuse() -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.TemporaryDirectory", refuse)
    options = ["--stt", "deepgram", "--url", "ws://127.0.0.1:1/", "--workers", "2", "--port", "0"]
    assert main(["serve", *options]) == 2
    assert "set TMPDIR" in capsys.readouterr().err


def test_workers_end_when_the_one_that_looks_after_them_is_killed() -> None:
    with serving(playing(say_yes)) as options, served(*options) as server:
        orphans = server.workers
        server.process.kill()
        server.process.wait()

        trio.run(until, lambda: not any(Path(f"/proc/{pid}").exists() for pid in orphans))
