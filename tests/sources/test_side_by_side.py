"""Two recordings of one call as two channels."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import trio

from hearout.cli.main import main
from hearout.sources import FileSource
from hearout.sources.side_by_side import SideBySide
from hearout.traces.reader import read_trace
from hearout.tune.labels import hear, pauses
from tests.kit.paths import SAMPLES
from tests.kit.serving import serving


class Tone:
    """A count in chunks of any size."""

    channels = 1

    def __init__(self, first: int, count: int, chunk: int, rate: int = 16_000) -> None:
        self.sample_rate, self.duration = rate, count / rate
        self._samples, self._chunk = np.arange(first, first + count, dtype="<i2"), chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._samples), self._chunk):
            await trio.lowlevel.checkpoint()
            yield self._samples[at : at + self._chunk].tobytes()


def heard(source: SideBySide) -> npt.NDArray[np.int16]:
    async def collect() -> bytes:
        return b"".join([chunk async for chunk in source])

    return np.frombuffer(trio.run(collect), "<i2").reshape(-1, source.channels)


@pytest.mark.parametrize("chunks", [(7, 7), (320, 33), (5, 1000)])
def test_each_is_a_channel_and_the_shorter_goes_on_in_silence(chunks: tuple[int, int]) -> None:
    both = SideBySide([Tone(1, 1000, chunks[0]), Tone(5001, 700, chunks[1])])
    assert (both.channels, both.sample_rate, both.duration) == (2, 16_000, 1000 / 16_000)
    samples = heard(both)
    assert samples[:, 0].tolist() == list(range(1, 1001))
    assert samples[:700, 1].tolist() == list(range(5001, 5701))
    assert not samples[700:, 1].any()


def test_the_slower_is_brought_to_the_rate_of_the_faster(tmp_path: Path) -> None:
    for name, rate in (("a.wav", 16_000), ("b.wav", 8_000)):
        tone = np.sin(2 * np.pi * 400 * np.arange(rate) / rate) / 2
        soundfile.write(tmp_path / name, tone, rate)
    both = SideBySide([FileSource(tmp_path / "a.wav"), FileSource(tmp_path / "b.wav")])
    samples = heard(both)
    assert samples.shape == (16_000, 2)
    middle = slice(2000, 14_000)
    assert np.abs(samples[middle, 0] - samples[middle, 1].astype(float)).max() < 600


@pytest.fixture
def two(tmp_path: Path) -> tuple[str, str]:
    """The two people of a sample, a file each."""
    sound, rate = soundfile.read(SAMPLES / "two_people.flac", dtype="int16")
    names = str(tmp_path / "agent.wav"), str(tmp_path / "caller.wav")
    for channel, name in enumerate(names):
        soundfile.write(name, sound[:, channel], rate)
    return names


def test_listen_takes_two_files(two: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ctranslate2")
    trace = tmp_path / "call.jsonl"
    with serving() as address:
        stt = ["--stt", "deepgram", "--url", f"ws://{address}/v1/listen"]
        assert main(["listen", *two, *stt, "--speed", "max", "--json", "--record", str(trace)]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {event["channel"] for event in events if event["type"] == "turn_completed"} == {0, 1}
    header = json.loads(trace.read_text().splitlines()[0])
    assert header["channels"] == 2
    # What the one says tells `hearout tune` that the other was done, within 5 s already.
    recorded = read_trace(trace)
    agent, caller = ([pause.kind for _, pause in found] for found in pauses(recorded, hear(recorded)))
    assert set(agent) == {"end"}
    assert (caller[0], caller[-1]) == ("end", "end")
    assert "hold" in caller  # between the groups of the number, when nobody else speaks


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["AGENT", "CALLER", "AGENT"], "3 sources: there is one, or two files of one channel each"),
        (
            ["AGENT", "STEREO"],
            "two_people.flac: it has 2 channels; of two files each has one; give it alone, or mix it with --mono",
        ),
        (["AGENT", "-"], "-: two sources are two files, the speakers of one call; give it alone"),
        (["mic", "AGENT"], "mic: two sources are two files"),
        (["AGENT", "nowhere.wav"], "nowhere.wav: no such file"),
        (["AGENT", "EMPTY"], "empty.wav: 0 s of audio"),
        (["TEXT", "CALLER"], "text.wav: not a usable audio file"),
    ],
)
def test_what_cannot_be_side_by_side(
    two: tuple[str, str], names: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty, text = tmp_path / "empty.wav", tmp_path / "text.wav"
    soundfile.write(empty, np.zeros(0, np.int16), 16_000)
    text.write_text("no audio")
    known = {"AGENT": two[0], "CALLER": two[1], "STEREO": str(SAMPLES / "two_people.flac")}
    known |= {"EMPTY": str(empty), "TEXT": str(text)}
    assert main(["listen", *(known.get(name, name) for name in names), "--stt", "local"]) == 2
    told = capsys.readouterr().err
    assert complaint in told
    assert told.count("\n") == 1
