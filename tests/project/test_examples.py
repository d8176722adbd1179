"""The programs in ``examples/`` run as they stand there, against the local servers."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
import soundfile

from tests.kit.paths import ROOT
from tests.kit.serving import playing

LIVE = ROOT / "examples" / "soniox_live.py"


def token(text: str, start: int, end: int, *, final: bool) -> dict[str, object]:
    return {"text": text, "start_ms": start, "end_ms": end, "is_final": final}


def frame(at: float, tokens: list[dict[str, object]], final: int) -> dict[str, object]:
    progress = {"final_audio_proc_ms": final, "total_audio_proc_ms": round(at * 1000)}
    return {"t": at, "stt": {"tokens": tokens} | progress}


SCRIPT = [
    frame(0.3, [token(" Two", 0, 200, final=False)], 0),
    frame(0.6, [token(" To", 0, 200, final=True), token(" Lon", 200, 400, final=False)], 200),
    frame(0.9, [token(" Lon", 200, 400, final=True), token("don.", 400, 600, final=False)], 400),
    frame(1.2, [token("don.", 400, 600, final=True), {"text": "<end>", "is_final": True}], 1100),
    frame(1.5, [], 1400),
]
PRINTED = [
    "Final: \nNon-final:  Two",
    "Final:  To\nNon-final:  Lon",
    "Final:  To Lon\nNon-final: don.",
    "Final:  To London.\nNon-final: ",
]


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """1.6 s of silence: the words are the server's."""
    monkeypatch.delenv("SONIOX_API_KEY", raising=False)
    path = str(tmp_path / "talk.wav")
    soundfile.write(path, [0.0] * 25_600, 16_000)
    return path


def test_tokens_are_printed_as_by_soniox_s_older_example(
    talk: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with playing(*SCRIPT, stt="soniox") as server:
        monkeypatch.setattr(sys, "argv", [str(LIVE), talk, "--url", f"ws://{server}/transcribe-websocket"])
        runpy.run_path(str(LIVE), run_name="__main__")
    blocks = capsys.readouterr().out.split("\n-----\n")
    assert [block for block in blocks if block.startswith("Final")] == PRINTED
    assert [block for block in blocks if block.startswith("Turn")] == ["Turn: To London."]
    assert blocks[-1] == "Latest transcript:  To London.\n"
    assert len(LIVE.read_text().splitlines()) < 60, "short enough to be copied"


def test_without_a_key_it_says_which(talk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(LIVE), talk])
    with pytest.raises(SystemExit, match=r"^soniox_live: Soniox: the key is empty.*; set SONIOX_API_KEY$"):
        runpy.run_path(str(LIVE), run_name="__main__")


@pytest.mark.parametrize("told", [True, False])
def test_a_form_is_filled_in(told: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With the real recogniser: a number read out with pauses of 2 s is one turn where the question is known."""
    pytest.importorskip("ctranslate2")
    script = ROOT / "examples" / "form_filling.py"
    monkeypatch.setattr(sys, "argv", [str(script), *([] if told else ["--untold"])])
    runpy.run_path(str(script), run_name="__main__")
    turns = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    if told:
        assert len(turns) == 2
        assert "value='5512077318', complete=True, final=True" in turns[0]
        assert "value='yes', complete=True, final=True" in turns[1]
    else:
        assert len(turns) == 4
        assert all(line.endswith("None") for line in turns)
