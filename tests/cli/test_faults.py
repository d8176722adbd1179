"""The command line when the world fails: transcribers, pipes, signals, packages that are missing."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import trio
from trio_websocket import wrap_server_stream

from hearout.cli import listen
from hearout.cli.main import main
from hearout.cli.shutdown import GRACE
from hearout.link.settings import LinkSettings
from hearout.session.session import open_session
from tests.kit.commandline import COMMAND, KEY, RATE, Handler, Outcome, Stage, environment, playing, serving, shell
from tests.kit.paths import DATA
from tests.kit.serving import serving as hearing

CLIP = DATA / "two_sentences.flac"
TEXTS = ["I would like to cancel my appointment.", "Could you repeat that please?"]

unix_only = pytest.mark.skipif(sys.platform == "win32", reason="a shell of Unix")
linux_only = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks processes up in /proc")


# -- transcribers that fail ---------------------------------------------------------------------------------------


def refusing(status: int, **headers: str) -> Handler:
    async def handle(stream: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, stream)
            lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
            await request.reject(status, extra_headers=lines)
            nursery.cancel_scope.cancel()

    return handle


@pytest.fixture
def hear(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[Sequence[str]], Outcome]:
    """``hearout listen`` in this process, to 4 s of silence: the words are the server's."""
    monkeypatch.setenv("DEEPGRAM_API_KEY", KEY)
    soundfile.write(tmp_path / "line.wav", np.zeros(4 * RATE, "int16"), RATE)

    def run(options: Sequence[str]) -> Outcome:
        status = main(["listen", str(tmp_path / "line.wav"), "--speed", "max", *options])
        return Outcome(status, *capsys.readouterr())

    return run


Hear = Callable[[Sequence[str]], Outcome]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives up after the first attempt; how long it usually tries is the business of link/test_link.py."""
    settings = LinkSettings(replay_speed=None, first_budget=0.0, budget=0.0)
    monkeypatch.setattr(listen, "open_session", partial(open_session, link=settings))


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (400, "check the options"),
        (401, "check the key"),
        (402, "no credit"),
        (403, "no right"),
        (404, "check the url"),
    ],
)
def test_a_refusal_for_good_fails_at_once(hear: Hear, status: int, says: str) -> None:
    with serving(refusing(status)) as options:
        done = hear(options)
    assert (done.status, done.out) == (1, "")
    (line,) = done.err
    assert line.startswith(f"hearout: 127.0.0.1 refused the connection: HTTP {status}; ")
    assert says in line


def test_a_refusal_that_repeats_the_key(hear: Hear) -> None:
    with serving(refusing(400, dg_error=f"what is {KEY}?")) as options:
        done = hear(options)
    assert done.err == ["hearout: 127.0.0.1 refused the connection: HTTP 400 (what is ***?); check the options"]


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.usefixtures("impatient")
def test_a_refusal_for_now_that_lasts(hear: Hear, status: int) -> None:
    with serving(refusing(status)) as options:
        done = hear(options)
    assert (done.status, done.out) == (1, "")
    (line,) = done.err
    assert line.startswith(f"hearout: 127.0.0.1 refused the connection: HTTP {status}")
    assert "gave up" in line


@pytest.mark.usefixtures("impatient")
def test_nobody_there(hear: Hear) -> None:
    with socket.socket() as reserved:  # bound, but nobody listens
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        done = hear(["--stt", "deepgram", "--url", f"ws://127.0.0.1:{port}/v1/listen"])
    assert (done.status, done.out) == (1, "")
    (line,) = done.err
    assert line.startswith(f"hearout: cannot connect to 127.0.0.1:{port}: ")


@pytest.mark.usefixtures("impatient")
def test_somebody_else_there(hear: Hear) -> None:
    async def ssh(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"SSH-2.0-OpenSSH_9.2\r\n")
        await stream.aclose()

    with serving(ssh) as options:
        done = hear(options)
    assert (done.status, done.out) == (1, "")
    (line,) = done.err
    assert line.startswith("hearout: ")
    assert "127.0.0.1" in line


def test_a_transcriber_that_vanishes_and_comes_back(hear: Hear) -> None:
    async def play(stage: Stage) -> None:
        if stage.number == 1:
            await stage.hear(1.0)
            await stage.say("yes please.", 0.2, 0.6)
            await stage.hear(2.5)  # and then is gone, with 1.9 s of audio that no result covers
        else:
            await stage.hear(3.0)
            await stage.say("thank you.", 2.2, 2.6)
            await stage.end()

    with serving(playing(play)) as options:
        done = hear(options)
    assert done.status == 0
    assert done.texts == ["yes please.", "thank you."]
    lost, back, summary = done.err
    assert lost.startswith("hearout: warning: no connection, trying again: ")
    assert back.startswith("hearout: warning: connected again after ")
    assert summary.startswith("2 turns")


@pytest.mark.usefixtures("impatient")
def test_a_transcriber_that_vanishes_for_good(hear: Hear) -> None:
    async def play(stage: Stage) -> None:
        await stage.hear(1.0)
        await stage.say("yes please.", 0.2, 0.6)
        await stage.hear(2.5)

    with serving(playing(play)) as options:
        done = hear(options)
    assert done.status == 1
    assert done.texts == ["yes please."]
    (line,) = done.err
    assert line.startswith("hearout: the transcriber hung up: 1006; gave up")


def test_a_transcriber_that_talks_nonsense(hear: Hear) -> None:
    async def play(stage: Stage) -> None:
        await stage.hear(1.0)
        await stage.websocket.send_message("nonsense")
        await stage.websocket.send_message(b"\0\1")
        await stage.say("\x1b[2Jyes\n please.\x07", 0.2, 0.6)
        await stage.end()

    with serving(playing(play)) as options:
        done = hear(options)
    assert done.status == 0
    assert len(done.out.splitlines()) == 1
    assert "\x1b" not in done.out
    warning, summary = done.err
    assert warning.startswith("hearout: warning: a message of the transcriber makes no sense: ")
    assert summary.startswith("1 turn,")


# -- standard output that cannot be written, and other things that need a process ---------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds an answer with 20 s of silence after it (answer.wav)."""
    folder = tmp_path_factory.mktemp("faults")
    clip, _ = soundfile.read(CLIP, dtype="int16")
    soundfile.write(folder / "clip.flac", clip, RATE)
    soundfile.write(folder / "answer.wav", np.concatenate([clip[54_400:86_400], np.zeros(20 * RATE, "int16")]), RATE)
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Options for a real server."""
    with hearing() as address:
        yield f"--stt deepgram --url ws://{address}/v1/listen"


@unix_only
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_head(server: str, folder: Path, unbuffered: str) -> None:
    done = shell(f"hearout listen clip.flac --json --speed max {server} | head -1", folder, PYTHONUNBUFFERED=unbuffered)
    assert (done.status, done.err) == (141, [])
    assert json.loads(done.out)["type"] == "turn_started"


@unix_only
@pytest.mark.parametrize("command", ["policies balanced | true", "--help | true"])
def test_nobody_reads(folder: Path, command: str) -> None:
    done = shell(f"hearout {command}", folder)
    assert done.status in (0, 141)  # 0: it was all written before the reader had gone
    assert done.err == []


@unix_only
def test_standard_output_is_full(server: str, folder: Path) -> None:
    for command in (f"listen clip.flac --speed max {server}", "policies"):
        done = shell(f"hearout {command} > /dev/full", folder)
        assert done.status == 1
        assert done.err == ["hearout: cannot write to standard output: No space left on device"]


@unix_only
def test_standard_streams_are_closed(server: str, folder: Path) -> None:
    done = shell("hearout listen clip.flac >&-", folder)
    assert done.status == 2
    assert done.err == ["hearout: standard output is closed: send it to /dev/null if nobody is to read it"]
    done = shell("hearout listen - <&-", folder)
    assert done.status == 2
    assert done.err == ["hearout: standard input is closed: pipe raw PCM into it"]
    done = shell(f"hearout listen clip.flac --speed max {server} <&- 2>&-", folder)
    assert (done.status, done.texts) == (0, TEXTS)
    done = shell("hearout listen missing.wav 2>&-", folder)
    assert (done.status, done.out) == (2, "")


@unix_only
def test_a_full_disk_under_the_trace(server: str, folder: Path) -> None:
    done = shell(f"hearout listen clip.flac --speed max {server} --record /dev/full", folder)
    assert (done.status, done.out) == (1, "")
    (line,) = done.err
    assert line.startswith("hearout: ")
    assert line.endswith("cannot write the trace: No space left on device")


@unix_only
def test_a_disk_that_fills_up_under_the_trace(server: str, folder: Path) -> None:
    done = shell(f"ulimit -f 4; hearout listen clip.flac --speed max {server} --record full.jsonl", folder)
    assert done.status == 1
    assert done.texts == TEXTS  # the call went on
    warning, _ = done.err
    assert warning.startswith("hearout: warning: full.jsonl: cannot write the trace: File too large; ")


@unix_only
def test_text_that_the_locale_cannot_print(folder: Path) -> None:
    async def play(stage: Stage) -> None:
        await stage.hear(1.0)
        await stage.say("déjà vu.", 0.2, 0.6)
        await stage.end()

    with serving(playing(play)) as options:
        command = f"hearout listen clip.flac --speed max {shlex.join(options)}"
        for encoding, shown in (("utf-8", "déjà vu."), ("ascii", "d?j? vu.")):
            assert shell(command, folder, PYTHONIOENCODING=encoding).texts == [shown]
        as_json = shell(f"{command} --json", folder, PYTHONIOENCODING="ascii")
    completed = [event for event in map(json.loads, as_json.out.splitlines()) if event["type"] == "turn_completed"]
    assert [event["text"] for event in completed] == ["déjà vu."]


# -- packages that are not installed -------------------------------------------------------------------------------

MISSING = {
    "soundfile": ("listen clip.flac", "reading audio files needs soundfile: pip install 'hearout[cli]'"),
    "soxr": ("listen studio.wav", "resampling 44100 Hz audio to 16000 Hz needs soxr: pip install 'hearout[cli]'"),
    "matplotlib": ("listen clip.flac --plot a.png", "drawing needs matplotlib: pip install 'hearout[plot]'"),
    "ctranslate2": ("listen clip.flac", "the recogniser needs ctranslate2: pip install 'hearout[local]'"),
}


@pytest.fixture
def without(folder: Path, tmp_path: Path) -> Callable[..., Outcome]:
    """Run a command as if a package were not installed, in the processes it starts, too."""

    def run(package: str, command: str) -> Outcome:
        (tmp_path / f"{package}.py").write_text(f"raise ModuleNotFoundError('no {package}', name='{package}')")
        return shell(f"hearout {command}", folder, PYTHONPATH=str(tmp_path))

    return run


@unix_only
@pytest.mark.parametrize("package", MISSING)
def test_without_a_package(without: Callable[..., Outcome], folder: Path, package: str) -> None:
    soundfile.write(folder / "studio.wav", np.zeros(4410, "int16"), 44_100)
    command, says = MISSING[package]
    done = without(package, command)
    assert (done.status, done.out) == (2, "")
    assert done.err == [f"hearout: {says}"]


@unix_only
def test_without_rich(without: Callable[..., Outcome], server: str) -> None:
    done = without("rich", f"listen clip.flac --speed max {server}")
    assert (done.status, done.texts) == (0, TEXTS)


# -- signals -------------------------------------------------------------------------------------------------------


def processes(marker: str) -> list[int]:
    """Those alive that have ``marker`` in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if marker.encode() in path.read_bytes().split(b"\0"):
                state = (path.parent / "stat").read_text().rpartition(")")[2].split()[0]
                found += [int(path.parent.name)] if state != "Z" else []
    return found


def assert_all_end(marker: str) -> None:
    """Nobody stays behind. A busy machine takes its time to end them."""
    deadline = time.monotonic() + 20
    while left := processes(marker):
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.05)


def runs_server(pid: int) -> bool:
    with suppress(OSError):
        return b"hearout.sttserver" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return False


@pytest.fixture
def session(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``hearout listen`` in real time with the local recogniser, and a marker of all its processes."""
    marker = uuid.uuid4().hex
    command = [*COMMAND, "listen", "answer.wav"]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment(HEAROUT_TEST=marker),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        yield process, f"HEAROUT_TEST={marker}"
        process.kill()
    assert_all_end(f"HEAROUT_TEST={marker}")


STATUS = {"SIGINT": (130, ["hearout: interrupted"]), "SIGTERM": (143, ["hearout: terminated"])}


@linux_only
@pytest.mark.parametrize(("name", "group"), [("SIGINT", True), ("SIGINT", False), ("SIGTERM", False)])
def test_a_signal_in_a_session(session: tuple[subprocess.Popen[str], str], name: str, group: bool) -> None:
    process, marker = session
    assert process.stdout is not None
    turn = process.stdout.readline()
    assert len(processes(marker)) >= 2  # us, and the server
    (os.killpg if group else os.kill)(process.pid, signal.Signals[name])
    out, err = process.communicate()
    assert_all_end(marker)
    done = Outcome(process.returncode, turn + out, err)
    assert (done.status, done.err) == STATUS[name]
    assert [re.sub("[.?]", "", text).lower() for text in done.texts] == ["could you repeat that please"]


@linux_only
@pytest.mark.parametrize("name", STATUS)
def test_a_signal_while_the_recogniser_starts(session: tuple[subprocess.Popen[str], str], name: str) -> None:
    process, marker = session
    while not any(runs_server(pid) for pid in processes(marker)):  # imports start processes of their own, too
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.Signals[name])
    out, err = process.communicate()
    assert_all_end(marker)
    done = Outcome(process.returncode, out, err)
    assert (done.status, done.out, done.err) == (STATUS[name][0], "", STATUS[name][1])


@unix_only
@pytest.mark.parametrize("name", STATUS)
@pytest.mark.parametrize("answers", [True, False], ids=["final", "no final"])
def test_a_signal_in_a_turn_tells_it(name: str, answers: bool, tmp_path: Path) -> None:
    """Its last words come with the end of the stream, or else the interim ones must do."""

    async def play(stage: Stage) -> None:
        await stage.hear(1.0)
        await stage.say("yes", 0.2, 0.5, final=False)
        while isinstance(message := await stage.websocket.get_message(), bytes) or "CloseStream" not in message:
            pass
        if answers:
            await stage.say("yes please.", 0.2, 0.9)
        await stage.websocket.send_message('{"type":"Metadata"}')
        await stage.websocket.aclose(1000)

    with serving(playing(play)) as options:
        command = [*COMMAND, "listen", "-", "--json", "--policy", "push_to_talk", *options]  # only the end ends a turn
        with subprocess.Popen(
            command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(bytes(2 * RATE * 2))
            process.stdin.flush()
            events: list[dict[str, Any]] = []
            while not events or events[-1]["type"] != "turn_updated" or not events[-1]["text"]:
                events.append(json.loads(process.stdout.readline()))  # which fails at the end
            process.send_signal(signal.Signals[name])
            events += map(json.loads, process.stdout.read().splitlines())  # standard input stays open
            assert process.stderr is not None
            err = process.stderr.read().decode().splitlines()
            assert (process.wait(), err) == STATUS[name]
    completed = [event for event in events if event["type"] in ("turn_completed", "turn_amended")]
    assert completed[0]["type"] == "turn_completed"
    assert completed[-1]["text"] == ("yes please." if answers else "yes")


@unix_only
@pytest.mark.parametrize("name", STATUS)
def test_a_second_signal_ends_it_at_once(name: str, tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        await stage.hear(1.0)
        await stage.say("yes please", 0.2, 0.9, final=False)
        await trio.sleep_forever()

    with serving(playing(play)) as options:
        command = [*COMMAND, "listen", "-", "--json", "--policy", "push_to_talk", *options]
        with subprocess.Popen(
            command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(bytes(2 * RATE * 2))
            process.stdin.flush()
            while b"yes please" not in (line := process.stdout.readline()):
                assert line
            process.send_signal(signal.Signals[name])
            while b"turn_completed" not in (line := process.stdout.readline()):
                assert line
            process.send_signal(signal.SIGTERM)  # while it waits for the last results
            began = time.monotonic()
            _, err = process.communicate()
            assert (process.returncode, err.decode().splitlines()) == STATUS[name]
            assert time.monotonic() - began < GRACE
