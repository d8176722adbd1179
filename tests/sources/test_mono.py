"""One voice on two channels, and two speakers."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import trio

from hearout.cli.main import main
from hearout.errors import UsageError
from hearout.sources import AudioSource, FileSource
from hearout.sources.mono import MOST_APART, MOST_DELAYED, SAME, Likeness, Mono, Peeked
from tests.kit.paths import SAMPLES
from tests.kit.serving import serving

RATE = 16_000

Signal = npt.NDArray[np.float64]


def sample(name: str) -> Signal:
    sound, _ = soundfile.read(SAMPLES / name, dtype="float32")
    return sound.astype(np.float64)


def alike(*channels: Signal) -> Likeness:
    return Likeness.of(np.rint(np.stack(channels, axis=1) * 32768).astype(np.int16), RATE)


def as_mp3(sound: Signal) -> Signal:
    file = io.BytesIO()
    soundfile.write(file, sound, RATE, format="MP3")
    file.seek(0)
    out, _ = soundfile.read(file, dtype="float32")
    return out.astype(np.float64)


def test_one_voice_on_both_channels() -> None:
    voice = sample("order.flac")
    random = np.random.RandomState(1)
    noise = np.sqrt(np.mean(voice**2)) * 0.1 * random.standard_normal((2, len(voice)))  # 20 dB below it
    assert alike(voice, voice).correlation == pytest.approx(1)
    assert alike(*as_mp3(np.stack([voice, voice], axis=1)).T).correlation == pytest.approx(0.9999, abs=1e-4)
    noisy = alike(voice + noise[0], voice + noise[1])
    assert noisy.correlation == pytest.approx(0.99, abs=0.001)
    assert noisy.one_voice
    assert alike(voice, voice * 0.8).one_voice  # a balance a little off: 1.9 dB


@pytest.mark.parametrize("delay", [0.001, 0.02, MOST_DELAYED, -MOST_DELAYED])
@pytest.mark.parametrize("sign", [1, -1])
def test_one_voice_that_is_late_or_upside_down_on_a_channel(delay: float, sign: int) -> None:
    voice = sample("order.flac")
    assert alike(voice, sign * np.roll(voice, round(delay * RATE))).one_voice


def test_what_comes_later_is_an_echo() -> None:
    voice = sample("order.flac")
    assert not alike(voice, np.roll(voice, round(1.1 * MOST_DELAYED * RATE))).one_voice


def test_two_people_in_a_room_with_two_microphones() -> None:
    """Each is later and softer in the other's."""
    agent, caller = sample("two_people.flac").T
    leak, late = 10 ** (-3 / 20), round(0.003 * RATE)
    mixed = alike(agent + leak * np.roll(caller, late), caller + leak * np.roll(agent, late))
    assert not mixed.one_voice
    assert mixed.correlation == pytest.approx(0.84, abs=0.01)


def test_two_speakers() -> None:
    agent, caller = sample("two_people.flac").T
    assert alike(agent, caller).correlation == pytest.approx(0, abs=0.01)
    leak = 10 ** (-3 / 20)
    mixed = alike(agent + leak * caller, caller + leak * agent)
    assert mixed.correlation == pytest.approx(0.945, abs=0.001)
    assert mixed.correlation < SAME
    assert not mixed.one_voice
    # While only the agent has spoken the channels have all in common, but not the level.
    begun = slice(0, 2 * RATE)
    leaked = alike(agent[begun], caller[begun] + 10 ** (-6 / 20) * agent[begun])
    assert leaked.correlation > SAME
    assert leaked.apart == pytest.approx(6, abs=0.1)
    assert leaked.apart > MOST_APART
    assert leaked.same
    assert not leaked.one_voice


def test_silence_says_nothing() -> None:
    voice = sample("order.flac")
    for pair in ((voice, 0 * voice), (0 * voice, 0 * voice)):
        assert not alike(*pair).one_voice
        assert not alike(*pair).same
    assert not Likeness.of(np.zeros((0, 2), np.int16), RATE).one_voice


def heard(source: AudioSource) -> npt.NDArray[np.int16]:
    async def collect() -> bytes:
        return b"".join([chunk async for chunk in source])

    return np.frombuffer(trio.run(collect), "<i2").reshape(-1, source.channels)


@pytest.mark.parametrize("seconds", [0, 1.05, 100])
def test_what_was_peeked_at_is_heard_too(seconds: float) -> None:
    whole = heard(FileSource(SAMPLES / "two_people.flac"))
    peeked = Peeked(FileSource(SAMPLES / "two_people.flac"))
    begin = trio.run(peeked.peek, seconds)
    assert min(len(whole), round(seconds * RATE)) <= len(begin) <= seconds * RATE + 1600
    assert np.array_equal(begin, whole[: len(begin)])
    assert np.array_equal(heard(peeked), whole)


class Broken:
    """A second of audio, then an error."""

    sample_rate, channels, duration = RATE, 2, None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await trio.lowlevel.checkpoint()
        yield bytes(4 * RATE)
        raise UsageError("broken.m4a: cannot be decoded")


def test_an_error_comes_after_the_audio_before_it() -> None:
    async def listen() -> None:
        peeked = Peeked(Broken())
        assert len(await peeked.peek(60)) == RATE
        assert len(await anext(peeked)) == 4 * RATE
        with pytest.raises(UsageError, match="cannot be decoded"):
            await anext(peeked)

    trio.run(listen)


def test_a_mix_is_the_mean(tmp_path: Path) -> None:
    soundfile.write(
        tmp_path / "a.wav", np.array([[300, 100], [-32768, -32768], [32767, 32767], [5, 0]], np.int16), RATE
    )
    mono = Mono(FileSource(tmp_path / "a.wav"))
    assert (mono.channels, mono.sample_rate, mono.duration) == (1, RATE, 4 / RATE)
    assert heard(mono)[:, 0].tolist() == [200, -32768, 32767, 2]


def test_one_channel_of_a_source(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([[300, -300], [7, 5]], np.int16), RATE)
    assert heard(Mono(FileSource(tmp_path / "a.wav"), 0))[:, 0].tolist() == [300, 7]


def turns(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[list[tuple[int, str]], str]:
    """Channel and text of each, and the complaints."""
    with serving() as address:
        stt = ["--stt", "deepgram", "--url", f"ws://{address}/v1/listen"]
        assert main(["listen", *arguments, *stt, "--speed", "max", "--json"]) == 0
    done = capsys.readouterr()
    events = [json.loads(line) for line in done.out.splitlines()]
    return [(event["channel"], event["text"]) for event in events if event["type"] == "turn_completed"], done.err


def test_listen_hears_one_voice_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ctranslate2")
    voice = sample("email.flac")
    name = str(tmp_path / "both.flac")
    soundfile.write(name, np.stack([voice, voice], axis=1), RATE)
    once, told = turns(capsys, name)
    assert {channel for channel, _ in once} == {0}
    assert told.splitlines()[0] == (
        f"{name}: both channels say the same (correlation 1.00) and are heard as one; --no-mono hears each"
    )
    assert turns(capsys, name, "--mono") == (once, "")
    each, told = turns(capsys, name, "--no-mono")
    assert sorted(each) == [(channel, text) for channel in (0, 1) for _, text in sorted(once)]
    assert told == ""
    soundfile.write(name, np.stack([voice, -voice], axis=1), RATE)
    assert turns(capsys, name, "--mono") == (once, "")  # their mean is silence
    soundfile.write(name, np.stack([voice, voice], axis=1), RATE)
    # Two files of two channels each are two people still.
    two, _ = turns(capsys, name, name, "--mono")
    assert sorted(two) == sorted(each)


@pytest.mark.parametrize("softer", [3.1, 6.0, 10.0])
def test_listen_tells_of_one_voice_that_is_softer_on_a_channel(
    softer: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may be the leak of one who alone has spoken yet: it is not for the program to say."""
    pytest.importorskip("ctranslate2")
    voice = sample("email.flac")
    name = str(tmp_path / "softer.flac")
    soundfile.write(name, np.stack([voice, voice * 10 ** (-softer / 20)], axis=1), RATE)
    _, told = turns(capsys, name)
    assert told.splitlines()[0] == (
        f"{name}: both channels say the same (correlation 1.00), {softer:.1f} dB apart, and are heard as two; "
        "--mono hears one"
    )
    for choice in ("--mono", "--no-mono"):
        _, told = turns(capsys, name, choice)
        assert told == ""
