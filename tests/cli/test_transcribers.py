"""The choice of the transcriber on the command line: which one, at which url, with whose key."""

from __future__ import annotations

import argparse
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from hearout import Deepgram, Flux, Soniox, UsageError
from hearout.cli import transcribers
from hearout.cli.transcribers import add_stt_arguments, open_transcribers, provider
from hearout.transcribers.registry import PROVIDERS

KEY = "a-key-that-nobody-must-see"
VARIABLES = {"deepgram": "DEEPGRAM_API_KEY", "flux": "DEEPGRAM_API_KEY", "soniox": "SONIOX_API_KEY"}
DIALECTS: dict[str, Any] = {"deepgram": Deepgram, "flux": Flux, "soniox": Soniox}


def opened(options: list[str], use: Callable[[Callable[..., Any]], Any]) -> Any:
    """What ``use`` makes of that which gives transcribers."""
    parser = argparse.ArgumentParser()
    add_stt_arguments(parser)

    async def main() -> Any:
        async with open_transcribers(parser.parse_args(options)) as transcribers:
            return use(transcribers)

    return trio.run(main)


def audio(sample_rate: int, channels: int = 1) -> Any:
    return SimpleNamespace(sample_rate=sample_rate, channels=channels)


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize("stt", VARIABLES)
def test_every_audio_gets_a_transcriber_of_its_own(monkeypatch: pytest.MonkeyPatch, stt: str) -> None:
    monkeypatch.setenv(VARIABLES[stt], KEY)
    made = opened(["--stt", stt], lambda transcribers: [transcribers(audio(rate)) for rate in (8000, 48000, 8000)])
    usual = DIALECTS[stt](KEY)
    assert [(type(t), t.key, t.url, t.sample_rate) for t in made] == [
        (type(usual), KEY, usual.url, rate) for rate in (8000, 48000, 8000)
    ]
    assert made[0] is not made[2]


@pytest.mark.parametrize("stt", VARIABLES)
def test_the_key_is_needed_for_other_machines_only(stt: str) -> None:
    for host in ("127.0.0.1", "localhost:8765", "[::1]:8765"):
        url = f"ws://{host}/"
        made = opened(["--stt", stt, "--url", url], lambda transcribers: transcribers(audio(16000)))
        assert made.address().startswith(url)
    owner = "Soniox" if stt == "soniox" else "Deepgram"
    line = f"^no key for {owner}: put it into the environment variable {VARIABLES[stt]}$"
    for options in ([], ["--url", "wss://localhost.example/"]):
        with pytest.raises(UsageError, match=line):  # before there is audio
            opened(["--stt", stt, *options], lambda transcribers: pytest.fail("opened"))


def test_the_key_does_not_go_to_the_local_recogniser(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def pretend() -> AsyncIterator[str]:
        yield "ws://127.0.0.1:1/v1/listen"

    monkeypatch.setattr(transcribers, "local_server", pretend)
    monkeypatch.setenv("DEEPGRAM_API_KEY", KEY)
    made = opened([], lambda transcribers: transcribers(audio(8000, 2)))
    assert (made.key, made.url) == ("local", "ws://127.0.0.1:1/v1/listen")
    assert (made.sample_rate, made.channels) == (8000, 2)


@pytest.mark.parametrize(
    ("stt", "asks"),
    [
        ("deepgram", "diarize=true"),
        ("assemblyai", "speaker_labels=true"),
        ("soniox", '"enable_speaker_diarization": true'),
    ],
)
def test_voices_are_told_apart_where_that_is_asked_for(stt: str, asks: str) -> None:
    options = ["--stt", stt, "--url", "ws://127.0.0.1/"]
    usual, made = (
        opened([*options, *more], lambda transcribers: transcribers(audio(16000))) for more in ([], ["--diarize"])
    )
    assert asks not in f"{usual.address()}{usual.opening()}"
    assert asks in f"{made.address()}{made.opening()}"


@pytest.mark.parametrize("stt", ["flux", "openai", "elevenlabs", "local"])
def test_who_cannot_tell_voices_apart_says_so(stt: str) -> None:
    options = ["--stt", stt, *(["--url", "ws://127.0.0.1/"] if stt != "local" else [])]
    with pytest.raises(
        UsageError, match=r"^--diarize: .* does not tell voices apart; deepgram, soniox, assemblyai do$"
    ):
        opened([*options, "--diarize"], lambda transcribers: pytest.fail("opened"))


@pytest.mark.parametrize("stt", VARIABLES)
@pytest.mark.parametrize(("url", "rate"), [(None, 7), ("http://127.0.0.1/", 16000)])
def test_what_is_wrong_with_the_rest_shows_no_key(
    monkeypatch: pytest.MonkeyPatch, stt: str, url: str | None, rate: int
) -> None:
    """Not even in a traceback with local variables."""
    monkeypatch.setenv(VARIABLES[stt], KEY)
    with pytest.raises(UsageError) as caught:
        provider(PROVIDERS[stt], url, rate)
    _, *frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack  # the first: here
    assert frames[0].name == "provider"
    assert KEY not in str([frame.locals for frame in frames])
