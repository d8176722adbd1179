"""All final results of a trace, and the word error against a reference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hearout import UsageError, parse_trace, read_trace
from hearout.cli.main import main
from hearout.traces.transcript import WordError, transcript, word_error
from tests.kit.callers import heard
from tests.kit.paths import ROOT


def lines(*records: dict[str, Any], channels: int = 1) -> list[str]:
    header = {"hearout_trace": 1, "stt": "deepgram", "channels": channels, "vad": False}
    return [json.dumps(line) for line in (header, *records)]


CALL = lines(
    heard(1.0, "I would like", 0.2, 0.9, final=False),
    heard(1.5, "I would like a coffee.", 0.2, 1.4),
    heard(9.0, "Yes,", 8.0, 8.5),
    heard(9.5, "that is right.", 8.6, 9.4),
    heard(11.0, "not said for good", 10.0, 10.9, final=False),
)
PAIR = lines(
    heard(1.5, "hello there", 0.2, 1.4, channels=2),
    heard(2.5, "good morning", 1.6, 2.4, channel=1, channels=2),
    channels=2,
)


def test_all_finals_are_joined() -> None:
    assert transcript(parse_trace(CALL)) == ["I would like a coffee. Yes, that is right."]


def test_a_text_for_each_channel() -> None:
    assert transcript(parse_trace(PAIR)) == ["hello there", "good morning"]


def test_what_is_said_again_counts_once() -> None:
    call = lines(
        heard(1.5, "where is", 0.2, 0.8),
        heard(2.0, "my parcel", 0.9, 1.4),
        heard(2.1, "my parcel", 0.9, 1.4),  # delivered twice
        heard(2.5, "Where is my parcel?", 0.2, 1.4),  # formatted
        {"t": 3.0, "link": "lost"},
        {"t": 3.5, "link": "restored", "audio": 0.5},
        heard(3.9, "parcel please", 1.6, 2.8),  # at 2.1: up to 2.5 all was final before
    )
    assert transcript(parse_trace(call)) == ["Where is my parcel? please"]


def test_of_the_captured_cases_nothing_is_twice() -> None:
    for path in (ROOT / "tests/cases").glob("again_*.jsonl"):
        for text in transcript(read_trace(path)):
            plain = text.lower().rstrip(".?").split()
            assert not plain or plain.count("parcel") + plain.count("bags") <= 1, path.name


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("It's seventy-five, e-mail me", "its seventy five e mail me"),
        ("It’s 7.5 in the U.S.", "it's 7.5 in the u.s"),
        ("yes...and no/maybe", "Yes. And no, maybe."),
        ("Zoe\u0308 cafe\u0301", "ZO\u00cb CAF\u00c9"),
        ("नमस्ते जी।", "नमस्ते जी"),
    ],
)
def test_what_does_not_count(reference: str, text: str) -> None:
    pytest.importorskip("jiwer")
    assert word_error(text, reference).rate == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes, that is right.", WordError(0, 0, 0, 4)),
        ("yes that was right", WordError(1, 0, 0, 4)),
        ("that is so right", WordError(0, 1, 1, 4)),
        ("", WordError(0, 4, 0, 4)),
    ],
)
def test_word_error(text: str, expected: WordError) -> None:
    pytest.importorskip("jiwer")
    assert word_error(text, "Yes -- that is right!\n") == expected


def test_the_rate() -> None:
    assert WordError(1, 0, 0, 4).rate == 0.25
    assert WordError(1, 1, 3, 4).rate == 1.25


def test_a_reference_without_words() -> None:
    pytest.importorskip("jiwer")
    with pytest.raises(UsageError, match="the reference has no words"):
        word_error("yes", "...\n")


@pytest.fixture
def call(tmp_path: Path) -> str:
    path = tmp_path / "call.jsonl"
    path.write_text("\n".join(CALL))
    return str(path)


def test_the_command(call: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jiwer")
    said = tmp_path / "said.txt"
    said.write_text("I would like one coffee, yes, that is right", encoding="utf-8-sig")  # as some editors write it
    assert main(["transcript", call, "--reference", str(said)]) == 0
    done = capsys.readouterr()
    assert done.out == "I would like a coffee. Yes, that is right.\n"
    assert done.err == "word error 11.1% of 9 words: 1 substituted, 0 deleted, 0 inserted\n"


def test_one_channel_of_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jiwer")
    path, said = tmp_path / "pair.jsonl", tmp_path / "said.txt"
    path.write_text("\n".join(PAIR))
    said.write_text("good morning")
    assert main(["transcript", str(path), "--channel", "1", "--reference", str(said)]) == 0
    assert capsys.readouterr().out == "good morning\n"
    for arguments, line in (
        (["--channel", "2"], "hearout: --channel 2: the trace has 0 to 1\n"),
        (["--reference", str(said)], "hearout: --reference: the trace has 2 channels; say which with --channel\n"),
        (["--channel", "0", "--reference", "none.txt"], "hearout: --reference none.txt: No such file or directory\n"),
    ):
        assert main(["transcript", str(path), *arguments]) == 2
        assert capsys.readouterr().err == line
