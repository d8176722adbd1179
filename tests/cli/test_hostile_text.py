"""What a provider, a server or a trace says is printed as text: no terminal obeys it, and no line is forged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hearout.cli.main import main
from hearout.cli.tokens import TokenListing
from hearout.transcribers.deepgram import Deepgram
from tests.kit.web_audio import Request, web

ESCAPES = "\x1b[2J\x9b31m\x07\rturn 7\n"


def results(text: str) -> dict[str, Any]:
    words = [{"word": text, "punctuated_word": text, "start": 0.5, "end": 0.9}]
    return {
        "type": "Results",
        "channel_index": [0, 1],
        "start": 0.0,
        "duration": 1.0,
        "is_final": True,
        "speech_final": True,
        "channel": {"alternatives": [{"transcript": text, "words": words}]},
    }


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """A command on a trace that has these records; its exit status and all that it printed."""

    def run(records: list[dict[str, Any]], *command: str, **header: Any) -> tuple[int, str]:
        trace = tmp_path / "trace.jsonl"
        lines = [{"hearout_trace": 1, "stt": "deepgram", "vad": False} | header, *records]
        trace.write_text("".join(json.dumps(line) + "\n" for line in lines))
        status = main([*command, str(trace)])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run


def assert_clean(printed: str) -> None:
    assert all(char.isprintable() or char == "\n" for char in printed), ascii(printed)


def test_tokens() -> None:
    lines: list[str] = []
    listing = TokenListing(Deepgram("key"), lines.append)
    listing.write({"t": 1.0, "stt": results(f"yes{ESCAPES}please")})
    assert len(lines) == 3
    assert_clean("".join(lines))


@pytest.mark.parametrize("option", [[], ["--explain"], ["--check"], ["--check", "--explain"]], ids=str)
def test_a_replay(run: Callable[..., tuple[int, str]], option: list[str]) -> None:
    records: list[dict[str, Any]] = [{"t": 1.2, "stt": results(f"yes{ESCAPES}please")}, {"t": 9.0, "end": True}]
    status, plain = run([records[0] | {"stt": results("yes please")}, *records[1:]], "replay", *option)
    again, printed = run(records, "replay", *option)
    assert (status, len(printed.splitlines())) == (again, len(plain.splitlines()))
    assert_clean(printed)


def test_what_a_transcriber_reports(run: Callable[..., tuple[int, str]]) -> None:
    error = {"t": 1.0, "stt": {"type": "Error", "description": f"broken{ESCAPES}"}}
    status, printed = run([error, {"t": 1.5, "stt": {"type": ESCAPES, "start": ESCAPES}}], "replay")
    assert status == 0
    assert printed.count("\n") == 1
    assert "the transcriber failed: broken" in printed
    assert_clean(printed)


@pytest.mark.parametrize(
    "header", [{"stt": ESCAPES}, {"vad": ESCAPES}, {"channels": ESCAPES}, {"policy": {ESCAPES: 1}}, {"policy": ESCAPES}]
)
def test_the_header_of_a_trace(run: Callable[..., tuple[int, str]], header: dict[str, Any]) -> None:
    status, printed = run([], "replay", **header)
    assert status == 2
    assert printed.count("\n") == 1
    assert_clean(printed)


def test_a_server_of_the_web(capsys: pytest.CaptureFixture[str]) -> None:
    async def answer(request: Request) -> None:
        await request.head("404 \x9b31mno\x1b[2J", content_length=0)

    with web(answer) as server:
        assert main(["listen", server.url]) == 2
    printed = capsys.readouterr().err
    assert "HTTP 404" in printed
    assert_clean(printed)


def test_a_kind_of_content(capsys: pytest.CaptureFixture[str]) -> None:
    async def answer(request: Request) -> None:
        await request.whole(b"<html>", "\x9b31mtext/html" + "l" * 5000)

    with web(answer) as server:
        assert main(["listen", server.url]) == 2
    printed = capsys.readouterr().err
    assert len(printed) < 200
    assert_clean(printed)
