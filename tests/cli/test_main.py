"""The command line: what it does when all is well, and what it says to bad input."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from hearout import PRESETS
from hearout.cli.main import main
from hearout.traces.reader import read_trace
from hearout.traces.replayer import replay
from hearout_policies.events import as_dict
from tests.kit.paths import DATA
from tests.kit.serving import serving

CLIP = DATA / "two_sentences.flac"
TEXTS = ["I would like to cancel my appointment.", "Could you repeat that please?"]
RATE = 16_000


@dataclass
class Done:
    status: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line on standard error, when there is nothing else there and no traceback."""
        (line,) = self.err.splitlines()
        assert line.startswith("hearout: ")
        return line.removeprefix("hearout: ")


Run = Callable[..., Done]


@pytest.fixture
def hearout(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command in this process, in a directory of its own, without a key."""
    monkeypatch.delenv("DEEPGRAM_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Done:
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:  # of argparse
            status = end.code if isinstance(end.code, int) else -1
        return Done(status, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def server() -> Iterator[list[str]]:
    """Options for a real server."""
    with serving() as address:
        yield ["--stt", "deepgram", "--url", f"ws://{address}/v1/listen", "--speed", "max"]


@pytest.fixture
def stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], None]]:
    with ExitStack() as stack:

        def give(data: bytes) -> None:
            (tmp_path / "stdin").write_bytes(data)
            monkeypatch.setattr(sys, "stdin", stack.enter_context(open(tmp_path / "stdin")))

        yield give


def texts(done: Done) -> list[str]:
    """Of the lines of turns: ``   3.41 s  some text   [reason  +0.60 s]``."""
    return [line.split(" s  ", 1)[1].split("   [")[0] for line in done.out.splitlines()]


# -- what it does ----------------------------------------------------------------------------------------------


def test_turns_of_a_file(hearout: Run, server: list[str]) -> None:
    done = hearout("listen", CLIP, *server)
    assert done.status == 0
    assert texts(done) == TEXTS
    assert re.fullmatch(
        r"2 turns, median 0\.\d+ s after the end of speech; transcription latency \d\.\d+ s\n", done.err
    )


def test_json_is_an_object_a_line(hearout: Run, server: list[str]) -> None:
    done = hearout("listen", CLIP, "--json", *server)
    assert (done.status, done.err) == (0, "")
    events = [json.loads(line) for line in done.out.splitlines()]
    assert {"type", "at"} <= set.intersection(*(set(event) for event in events))
    completed = [event for event in events if event["type"] == "turn_completed"]
    assert [event["text"] for event in completed] == TEXTS
    kinds = {"turn_started", "turn_updated", "turn_predicted", "turn_resumed", "turn_completed", "command"}
    assert {event["type"] for event in events} <= kinds


@pytest.mark.parametrize("rate", [8000, 44_100])
def test_stereo_flac_of_another_rate(hearout: Run, server: list[str], tmp_path: Path, rate: int) -> None:
    audio, _ = soundfile.read(CLIP, dtype="float32")
    audio = soxr.resample(audio, RATE, rate)
    soundfile.write(tmp_path / "stereo.flac", np.stack([np.zeros_like(audio), audio], axis=1), rate)
    done = hearout("listen", "stereo.flac", *server)
    assert done.status == 0
    assert [text.replace(",", "") for text in texts(done)] == [f"channel 1: {text}" for text in TEXTS]


def test_mulaw_on_standard_input(
    hearout: Run, server: list[str], tmp_path: Path, stdin: Callable[[bytes], None]
) -> None:
    audio, _ = soundfile.read(CLIP, dtype="float32")
    soundfile.write(tmp_path / "mulaw.raw", soxr.resample(audio, RATE, 8000), 8000, "ULAW", format="RAW")
    stdin((tmp_path / "mulaw.raw").read_bytes())
    done = hearout("listen", "-", "--encoding", "mulaw", "--sample-rate", "8000", *server)
    assert done.status == 0
    assert texts(done) == TEXTS


def test_a_recorded_session_replays_to_the_same_events(hearout: Run, server: list[str], tmp_path: Path) -> None:
    heard = hearout("listen", CLIP, "--json", "--record", "trace.jsonl", "--set", "silence.price=0.8", *server)
    again = hearout("replay", "trace.jsonl", "--json")
    assert again.status == 0
    assert again.out == heard.out

    trace = read_trace(tmp_path / "trace.jsonl")
    assert [json.loads(line) for line in again.out.splitlines()] == [as_dict(o) for o in replay(trace).outputs]
    assert str(CLIP) in trace.header.source


def test_redacted_traces_hold_no_words(hearout: Run, server: list[str], tmp_path: Path) -> None:
    hearout("listen", CLIP, "--record", "trace.jsonl", "--redact", *server)
    text = (tmp_path / "trace.jsonl").read_text()
    assert "xxxxxxxxxxx" in text  # appointment
    assert "appointment" not in text


def height(png: Path) -> int:
    return int.from_bytes(png.read_bytes()[20:24], "big")


def test_a_picture(hearout: Run, server: list[str], tmp_path: Path) -> None:
    done = hearout("listen", CLIP, "--plot", "session.png", *server)
    assert done.status == 0
    assert texts(done) == TEXTS
    assert done.err.splitlines()[-1] == "wrote session.png"
    assert (tmp_path / "session.png").read_bytes().startswith(b"\x89PNG")
    # A trace holds no audio, and its picture no lane for it.
    assert hearout("listen", CLIP, "--record", "trace.jsonl", *server).status == 0
    assert hearout("plot", "trace.jsonl", "-o", "trace.png").status == 0
    assert height(tmp_path / "session.png") > height(tmp_path / "trace.png")


def test_a_policy_file_and_a_parameter(hearout: Run, server: list[str], tmp_path: Path) -> None:
    (tmp_path / "patient.toml").write_text("[silence]\nprice = 20\npatience = 3\n")
    usual = hearout("listen", CLIP, *server)
    for options in (
        ["--policy", "patient.toml"],
        ["--set", "silence.price=20", "--set", "silence.patience=3"],
    ):
        done = hearout("listen", CLIP, *options, *server)
        assert done.status == 0
        assert done.out != usual.out


def test_no_words_are_no_turns(hearout: Run, server: list[str], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE, "int16"), RATE)
    done = hearout("listen", "silence.wav", *server)
    assert (done.status, done.out) == (0, "")
    assert done.err == "0 turns: no words were heard\n"


def test_a_recording_that_is_cut_off_gives_what_it_has(
    hearout: Run, server: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    audio, _ = soundfile.read(CLIP, dtype="int16")
    soundfile.write(tmp_path / "whole.wav", audio, RATE)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "whole.wav").read_bytes()[: 44 + 2 * 3 * RATE])
    done = hearout("listen", "cut.wav", *server)
    assert done.status == 0
    assert texts(done)[:1] == TEXTS[:1]
    (warning,) = caplog.messages
    assert warning == "cut.wav: cut off: it holds 50 % of the audio its header promises"


def test_version_and_help(hearout: Run) -> None:
    assert hearout("--version").out == f"hearout {version('hearout')}\n"
    for command in (
        (),
        ("listen",),
        ("replay",),
        ("plot",),
        ("report",),
        ("tune",),
        ("policies",),
        ("stt-server",),
        ("doctor",),
    ):
        done = hearout(*command, "--help")
        assert (done.status, done.err) == (0, "")
        assert done.out.startswith("usage: hearout")


def test_every_preset_is_listed_and_can_be_looked_at(hearout: Run) -> None:
    names = [line.split()[0] for line in hearout("policies").out.splitlines()]
    assert names == list(PRESETS)
    for name in names:
        done = hearout("policies", name)
        assert done.status == 0
        assert {"language", "backchannels", "only_speaker"} < {line.split(" = ")[0] for line in done.out.splitlines()}


def test_settings_of_a_policy_that_are_no_numbers(hearout: Run) -> None:
    lines = hearout(
        "policies", "balanced", "--set", "only_speaker=first", "--set", "backchannels=ja,genau"
    ).out.splitlines()
    assert any(line.startswith("only_speaker = first  (a label") for line in lines)
    assert any(line.startswith("backchannels = genau, ja  (") for line in lines)
    assert any(line.startswith("language = the transcriber's  (") for line in lines)


def test_python_m_hearout() -> None:
    done = subprocess.run([sys.executable, "-m", "hearout"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "hearout: hearout needs COMMAND; see hearout --help\n"


# -- bad usage: one line that names the thing and the remedy, and exit status 2 ---------------------------------


def wav(**changes: bytes) -> bytes:
    """0.1 s of silence with some fields of the header changed: channels=..., rate=..., whole=..."""
    fields = {
        "riff": b"RIFF\x24\x0c\0\0WAVEfmt \x10\0\0\0\1\0",
        "channels": b"\1\0",
        "rate": (RATE).to_bytes(4, "little"),
        "rest": (2 * RATE).to_bytes(4, "little") + b"\2\0\x10\0data\x80\x0c\0\0",
        "audio": bytes(3200),
    }
    assert set(changes) <= set(fields)
    return b"".join((fields | changes).values())


BAD_FILES = {
    "empty": (b"", "an empty file"),
    "text": (b"Dear Sir or Madam,\n" * 9, "not a usable audio file"),
    "header cut off": (wav()[:30], "not a usable audio file"),
    "no audio": (wav(audio=b""), "0 s of audio"),
    "no channels": (wav(channels=b"\0\0"), "not a usable audio file"),
    "rate of 1 kHz": (wav(rate=(1000).to_bytes(4, "little")), "unsupported sample rate 1000 Hz"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_files_that_cannot_be_heard(hearout: Run, tmp_path: Path, case: str) -> None:
    data, says = BAD_FILES[case]
    (tmp_path / "x.wav").write_bytes(data)
    done = hearout("listen", "x.wav")
    assert (done.status, done.out) == (2, "")
    assert done.complaint.startswith(f"x.wav: {says}")


def test_a_good_file_is_told_from_those(hearout: Run, server: list[str], tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(wav())
    assert hearout("listen", "x.wav", *server).status == 0


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("missing.wav", "missing.wav: no such file"),
        (".", ".: a directory"),
        (os.devnull, f"{os.devnull}: not a regular file"),
        ("-", "standard input is closed"),
    ],
)
def test_what_is_no_recording(hearout: Run, source: str, says: str) -> None:
    done = hearout("listen", source)
    assert (done.status, done.out) == (2, "")
    assert done.complaint.startswith(says)


def test_an_odd_byte_on_standard_input(hearout: Run, server: list[str], stdin: Callable[[bytes], None]) -> None:
    audio, _ = soundfile.read(CLIP, dtype="int16")
    stdin(audio.tobytes() + b"\0")
    done = hearout("listen", "-", *server)
    assert done.status == 2
    assert texts(done) == TEXTS  # what was said before it was said
    assert done.complaint.startswith("standard input ended inside a sample: 1 odd trailing byte(s)")
    assert "--encoding" in done.complaint


def test_nothing_on_standard_input(hearout: Run, server: list[str], stdin: Callable[[bytes], None]) -> None:
    stdin(b"")
    done = hearout("listen", "-", *server)
    assert done.status == 2
    assert done.complaint == "standard input ended before the first byte of audio"


BAD_OPTIONS = [
    (["-", "--encoding", "opus"], "unknown encoding 'opus': it must be one of linear16, mulaw, alaw"),
    (["-", "--sample-rate", "1000"], "unsupported sample rate 1000 Hz: it must be 4000 to 192000 Hz"),
    (["-", "--channels", "0"], "0 channels: there must be 1 to 32"),
    (["--policy", "nope"], "no policy named 'nope'; there are: balanced, fast,"),
    (["--policy", "nope.toml"], "cannot read policy file nope.toml: No such file or directory"),
    (["--policy", "broken.toml"], "policy file broken.toml is not valid TOML: "),
    (["--policy", "wrong.toml"], "policy file wrong.toml: silence.price takes a number from 0 to 10000 s, not 'x'"),
    (["--set", "silence.price"], "--set silence.price: give KEY=VALUE"),
    (["--set", "silence.prize=1"], "policy 'balanced' has no parameter 'silence.prize'"),
    *(
        (["--set", f"silence.price={value}"], f"silence.price takes a number from 0 to 10000 s, not '{value}'")
        for value in ("long", "-1", "1e9", "nan", "")
    ),
    (["--redact"], "--redact masks the words of a trace: name the trace with --record"),
    (["--record", "nowhere/trace.jsonl"], "nowhere/trace.jsonl: cannot write the trace: No such file or directory"),
    (["--record", "."], ".: cannot write the trace: Is a directory"),
    (["--record", "sound.wav"], "--record sound.wav: that is the audio"),
    (["--plot", "nowhere/a.png"], "--plot nowhere/a.png: there is no directory nowhere"),
    (["--plot", "folder.png"], "--plot folder.png: cannot be written"),
    (["--plot", "a.gif"], "a.gif: the name of a picture must end in .png, .svg or .pdf"),
    (["--url", "ws://127.0.0.1:9/v1/listen"], "--url names a provider's endpoint: add --stt deepgram"),
    (["--stt", "deepgram", "--url", ""], "Deepgram: url must not be empty"),
    (["--stt", "deepgram", "--url", "http://127.0.0.1/"], "Deepgram: url 'http://127.0.0.1/' must be ws://HOST/"),
    (["--stt", "deepgram", "--url", "ws://[::1/v1/listen"], "Deepgram: url 'ws://[::1/v1/listen' must be"),
    (["--stt", "deepgram", "--url", "ws://127.0.0.1:99999/"], "Deepgram: url 'ws://127.0.0.1:99999/' must be"),
    (["--stt", "deepgram"], "no key for Deepgram: put it into the environment variable DEEPGRAM_API_KEY"),
]


@pytest.mark.parametrize(("options", "says"), BAD_OPTIONS, ids=[" ".join(options) for options, _ in BAD_OPTIONS])
def test_options_that_cannot_be(hearout: Run, server: list[str], tmp_path: Path, options: list[str], says: str) -> None:
    (tmp_path / "broken.toml").write_text("silence = [")
    (tmp_path / "wrong.toml").write_text('[silence]\nprice = "x"\n')
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "sound.wav").write_bytes(wav())
    source = [] if options[0] == "-" else ["sound.wav"]
    transcriber = [] if {"--stt", "--url"} & set(options) else server
    done = hearout("listen", *source, *options, *transcriber)
    assert (done.status, done.out) == (2, "")
    assert done.complaint.startswith(says)
    assert (tmp_path / "sound.wav").read_bytes() == wav()


@pytest.mark.parametrize("key", ["sécret-key", "secret key", "secret-key\n"])
def test_a_key_that_is_none_is_not_shown(hearout: Run, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("DEEPGRAM_API_KEY", key)
    done = hearout("listen", CLIP, "--stt", "deepgram")
    assert done.status == 2
    assert done.complaint == "Deepgram: the key is empty or not plain text; set DEEPGRAM_API_KEY"


def test_traces_that_cannot_be_replayed(hearout: Run, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no trace\n")
    for command in (("replay", "missing"), ("replay", "text"), ("plot", "missing", "-o", "a.png")):
        done = hearout(*command)
        assert (done.status, done.out) == (2, "")
        assert done.complaint.startswith(command[1])


def test_a_port_in_use(hearout: Run, server: list[str]) -> None:
    port = server[3].split(":")[2].split("/")[0]
    done = hearout("stt-server", "--port", port)
    assert done.status == 2
    assert done.err == f"hearout stt-server: port {port} is in use: give another with --port, or 0 for a free one\n"
