"""``hearout listen --stt soniox`` and ``--show-tokens``, on a server that speaks Soniox's protocol."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import trio

from hearout.cli.main import main
from hearout.cli.tokens import TokenListing
from hearout.transcribers.base import Heard
from hearout.transcribers.clock import silence_record
from hearout.transcribers.deepgram import Deepgram
from hearout_policies.signals import ProviderSpeechStarted
from tests.kit.commandline import serving
from tests.kit.provider import RATE, audio
from tests.kit.soniox_provider import KEY, FakeSoniox


@pytest.fixture
def recording(tmp_path: Path) -> str:
    path = tmp_path / "talk.wav"
    soundfile.write(path, np.frombuffer(audio(0.0, 3.0), "<i2"), RATE, subtype="PCM_16")
    return str(path)


def listen(recording: str, *options: str) -> int:
    fake = FakeSoniox()

    async def handle(stream: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            await fake.serve(nursery, stream)
            nursery.cancel_scope.cancel()

    with serving(handle) as (*_, url):
        return main(["listen", recording, "--stt", "soniox", "--url", url, "--speed", "max", *options])


def test_tokens_are_shown_as_they_come(
    recording: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SONIOX_API_KEY", KEY)
    trace = tmp_path / "trace.jsonl"
    assert listen(recording, "--show-tokens", "--record", str(trace)) == 0
    shown = capsys.readouterr()
    lines = [line for line in shown.out.splitlines() if not line.endswith("]")]  # without those of turns
    assert lines[:3] == ["Final: ", "Non-final: Send", "-----"]
    assert lines[-3:] == ["Final: Send it to London.", "Non-final: ", "-----"]
    # Together they are always the beginning of what was said.
    for final, rest in zip(lines[::3], lines[1::3], strict=True):
        parts = [final.removeprefix("Final: "), rest.removeprefix("Non-final: ")]
        assert "Send it to London.".replace(" ", "").startswith("".join(parts).replace(" ", ""))
    assert any("Send it to London.   [" in line for line in shown.out.splitlines())
    header, *records = map(json.loads, trace.read_text().splitlines())
    assert header["stt"] == "soniox"
    assert KEY not in trace.read_text() + shown.out + shown.err
    assert main(["replay", str(trace)]) == 0
    assert "Send it to London." in capsys.readouterr().out
    assert records


@pytest.mark.parametrize(("stt", "variable"), [("soniox", "SONIOX_API_KEY"), ("flux", "DEEPGRAM_API_KEY")])
def test_without_a_key(
    recording: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stt: str, variable: str
) -> None:
    monkeypatch.delenv(variable, raising=False)
    assert main(["listen", recording, "--stt", stt]) == 2
    assert f"put it into the environment variable {variable}" in capsys.readouterr().err


@pytest.mark.parametrize(("stt", "variable"), [("soniox", "SONIOX_API_KEY"), ("flux", "DEEPGRAM_API_KEY")])
def test_channels_are_not_mixed_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stt: str, variable: str
) -> None:
    monkeypatch.setenv(variable, "a-key-that-is-none")
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.zeros((1600, 2), "<i2"), RATE, subtype="PCM_16")
    assert main(["listen", str(path), "--stt", stt]) == 2
    assert "open a session for each channel" in capsys.readouterr().err


def test_json_and_tokens_do_not_go_together(recording: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["listen", recording, "--json", "--show-tokens"]) == 2
    assert "leave out --json" in capsys.readouterr().err


def test_channels_are_named() -> None:
    lines: list[str] = []
    dialect = Deepgram("k", channels=2)
    listing = TokenListing(dialect, lines.append)
    words = [{"word": "yes", "start": 0.1, "end": 0.4, "punctuated_word": "Yes."}]
    result = {"type": "Results", "channel_index": [1, 2], "start": 0.0, "duration": 1.0, "is_final": True}
    started = {"type": "SpeechStarted", "channel": [1, 2], "timestamp": 0.1}
    assert dialect.decode(json.dumps(started), 1.0, 0.0) == [Heard(1, ProviderSpeechStarted(1.0, 0.1))]
    for message in (started, result | {"channel": {"alternatives": [{"transcript": "Yes.", "words": words}]}}):
        listing.write({"t": 1.0, "stt": message})
    assert lines == ["1: Final: Yes.", "1: Non-final: ", "-----"]


def result(*words: tuple[str, float, float], end: float, is_final: bool = True) -> dict[str, Any]:
    items = [{"word": text, "start": start, "end": stop} for text, start, stop in words]
    channel = {"alternatives": [{"transcript": " ".join(text for text, _, _ in words), "words": items}]}
    return {"type": "Results", "start": 0.0, "duration": end, "is_final": is_final, "channel": channel}


def listed(*records: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    listing = TokenListing(Deepgram("k"), lines.append)
    for record in records:
        listing.write(record)
    return lines


def test_silence_that_stood_in_for_audio_is_no_time_of_the_session() -> None:
    """The first result covers 1 s of the session, and not 6: what a new connection says behind that is news."""
    lines = listed(
        {"t": 1.2, "sent": json.loads(silence_record(1.0, 5.0))},
        {"t": 6.5, "stt": result(("one", 0.4, 0.8), end=6.0)},
        {"t": 7.0, "link": "lost"},
        {"t": 8.0, "link": "restored", "audio": 1.0},
        {"t": 9.0, "stt": result(("two", 0.4, 0.8), end=1.0, is_final=False)},
    )
    assert lines[-3:] == ["Final: one", "Non-final: two", "-----"]


def test_what_a_new_connection_hears_again_is_not_listed_twice() -> None:
    lines = listed(
        {"t": 1.2, "stt": result(("one", 0.4, 0.8), end=1.0)},
        {"t": 2.0, "link": "lost"},
        {"t": 3.0, "link": "restored", "audio": 0.0},
        {"t": 4.0, "stt": result(("one", 0.4, 0.8), ("two", 1.4, 1.8), end=2.0)},
    )
    assert lines[-3:] == ["Final: one two", "Non-final: ", "-----"]
