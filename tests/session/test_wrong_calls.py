"""Calls that are nearly right: one line names the right one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

import hearout
from hearout import (
    AssemblyAI,
    AudioFormat,
    Deepgram,
    ElevenLabs,
    FileSource,
    Flux,
    OpenAIRealtime,
    PushSource,
    SmartTurn,
    Soniox,
    UsageError,
    aio,
    threads,
)

DEEPGRAM = Deepgram("a-key")


async def enter(manager: Any) -> None:
    async with manager:
        raise AssertionError


async def enter_plainly(manager: Any) -> None:
    with manager:
        raise AssertionError


async def wait_for(manager: Any) -> None:
    await manager


def opened(module: Any) -> Any:
    return module.open_session(PushSource(), DEEPGRAM)


IN_ASYNCIO: Callable[..., Any] = lambda function, *args: asyncio.run(function(*args))  # noqa: E731


@pytest.mark.parametrize(
    ("run", "enter", "make", "line"),
    [
        (IN_ASYNCIO, enter, hearout, "open_session is for trio, and this is asyncio: use hearout.aio.open_session"),
        (trio.run, enter, aio, "aio.open_session is for asyncio, and this is trio: use hearout.open_session"),
        (IN_ASYNCIO, enter_plainly, hearout, "takes `async with`: use async with hearout.aio.open_session"),
        (trio.run, enter_plainly, hearout, "takes `async with`: use async with hearout.open_session"),
        (trio.run, enter_plainly, threads, "the loop of trio in this thread: use async with hearout.open_session"),
        (IN_ASYNCIO, enter, threads, "the loop of asyncio in this thread: use async with hearout.aio.open_session"),
        (trio.run, enter, threads, "the loop of trio in this thread: use async with hearout.open_session"),
        (IN_ASYNCIO, wait_for, aio, "takes `async with`: use async with hearout.aio.open_session"),
        (
            IN_ASYNCIO,
            enter_plainly,
            threads,
            "the loop of asyncio in this thread: use async with hearout.aio.open_session",
        ),
    ],
)
def test_the_wrong_kind_of_loop(run: Any, enter: Any, make: Any, line: str) -> None:
    with pytest.raises(UsageError) as caught:
        run(enter, opened(make))
    assert str(caught.value).endswith(line)


@pytest.mark.parametrize("module", [hearout, aio])
def test_no_loop_at_all(module: Any) -> None:
    with (
        pytest.raises(UsageError, match=r"open_session needs a loop, and none runs here: use hearout\.threads\.open"),
        opened(module),
    ):
        pass
    with pytest.raises(UsageError, match=r"use hearout\.threads\.local_server"), module.local_server():
        pass


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("call.wav", "'call.wav' is no source of audio: FileSource('call.wav') is one"),
        (Path("call.wav"), "FileSource('call.wav') is one"),
        ("mic", "'mic' is no source of audio: Microphone() is one"),
        ("-", "stdin_source(format) is one"),
        ("https://example.com/a.mp3", "what http_source(url) gives is one"),
        (b"\0\0", "bytes are no source of audio: push them to a PushSource(format)"),
        (AudioFormat(), "an AudioFormat is no source of audio: PushSource(format) is one"),
        (FileSource, "FileSource is a class, no source of audio yet: FileSource(...) is one"),
        (DEEPGRAM, "a Deepgram is no source of audio, which is the first argument: FileSource(path) is one, or Push"),
        (5, "an int is no source of audio"),
        (None, "None is no source of audio"),
    ],
)
def test_no_source(source: Any, line: str) -> None:
    with pytest.raises(UsageError) as caught:
        trio.run(enter, hearout.open_session(source, DEEPGRAM))
    assert line in str(caught.value)


@pytest.mark.parametrize(
    ("transcriber", "line"),
    [
        ("deepgram", "a str is no transcriber: Deepgram(key) is one"),
        ("soniox", "a str is no transcriber: Soniox(key) is one"),
        (Deepgram, "Deepgram is a class, no transcriber yet: Deepgram(key) is one"),
        (PushSource(), "a PushSource is no transcriber, which is the second argument: Deepgram(key) is one"),
        (None, "None is no transcriber"),
    ],
)
def test_no_transcriber(transcriber: Any, line: str) -> None:
    with pytest.raises(UsageError) as caught, threads.open_session(PushSource(), transcriber):
        pass
    assert line in str(caught.value)


@pytest.mark.parametrize(
    ("part", "line"),
    [
        ({"vad": "silero"}, "vad takes webrtc_gate, silero_gate, or a function of that kind, not 'silero'"),
        ({"vad": True}, "vad takes webrtc_gate, silero_gate, or a function of that kind, not True"),
        ({"ear": "smart-turn"}, "ear takes an ear, such as SmartTurn(), not 'smart-turn'"),
        ({"ear": SmartTurn}, "ear takes an ear, such as SmartTurn(), not <class 'hearout.ear.smart_turn.SmartT..."),
        ({"recorder": "call.jsonl"}, "recorder takes a Recorder(path, header), not 'call.jsonl'"),
    ],
)
def test_no_such_part(part: Any, line: str) -> None:
    with pytest.raises(UsageError) as caught, threads.open_session(PushSource(), DEEPGRAM, **part):
        pass
    assert str(caught.value) == line


def test_a_key_in_the_place_of_a_transcriber_is_not_shown() -> None:
    with pytest.raises(UsageError) as caught:
        asyncio.run(enter(aio.open_session(PushSource(), "sk-secret")))  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "given", "line"),
    [
        (Deepgram, {"endpointing": 300}, "Deepgram has no option endpointing; did you mean endpointing_ms?"),
        (Soniox, {"language_hint": ["en"]}, "Soniox has no option language_hint; did you mean language_hints?"),
        (Flux, {"eot_treshold": 0.5}, "Flux has no option eot_treshold; did you mean eot_threshold?"),
        (AssemblyAI, {"key_terms": ()}, "AssemblyAI has no option key_terms; did you mean keyterms_prompt?"),
        (ElevenLabs, {"sampel_rate": 8000}, "ElevenLabs has no option sampel_rate; did you mean sample_rate?"),
        (OpenAIRealtime, {"colour": "red"}, "OpenAIRealtime has no option colour"),
        (Deepgram, {"api_key": "k"}, "Deepgram has no option api_key; did you mean key?"),
        (Soniox, {"language": "en"}, "Soniox has no option language; did you mean language_hints?"),
    ],
)
def test_an_option_that_there_is_not(make: Any, given: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError) as caught:
        make("a-key", **given)
    assert str(caught.value) == line


def test_options_in_the_wrong_number() -> None:
    with pytest.raises(UsageError, match=r"^Deepgram: missing a required argument: 'key'$"):
        Deepgram()  # type: ignore[call-arg]
    with pytest.raises(UsageError, match=r"^Deepgram: too many positional arguments$"):
        Deepgram("a-key", "ws://localhost", 16000, 1, "token")  # type: ignore[call-arg]


@pytest.mark.parametrize("module", [hearout, aio, threads])
def test_an_option_of_a_session_that_there_is_not(module: Any) -> None:
    with pytest.raises(UsageError) as caught:
        module.open_session(PushSource(), DEEPGRAM, real_time=False)
    assert str(caught.value) == f"{module.__name__}.open_session has no option real_time; did you mean realtime?"
    with pytest.raises(UsageError, match=r"local_server has no option protocl; did you mean protocol\?$"):
        module.local_server(protocl="flux")


def test_a_rate_in_the_place_of_a_format() -> None:
    with pytest.raises(UsageError, match=r"PushSource takes an AudioFormat, such as .*, not 48000$"):
        PushSource(48000)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["f", "d", "e", "i"])
def test_numbers_of_another_kind_are_no_audio(kind: str) -> None:
    samples: Any = np.zeros(8, kind)
    line = (
        r"^push takes bytes of audio, not an array of \d\d-bit numbers; floats from -1 to 1 become .*astype\('<i2'\)$"
    )
    source = PushSource()
    with pytest.raises(UsageError, match=line):
        source.push(samples)
    with pytest.raises(UsageError, match=r"^push takes bytes of audio, not 'audio'$"):
        source.push("audio")  # type: ignore[arg-type]
    assert not source.waiting
    source.push(np.zeros((2, 8000), "<i2").T[::2].data)
    assert source.waiting == 0.5
