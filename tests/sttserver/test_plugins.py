"""Conversations of Pipecat's and LiveKit's own plugins with the local server, word for word as the plugins have them.

The plugins themselves run in ``tests/integration/servers``. What they send was written down there: pipecat-ai 1.14.0,
livekit-plugins-deepgram and livekit-plugins-soniox 1.8.9.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed

from hearout.sttserver.script import Script
from hearout.sttserver.server import SttServer
from hearout.sttserver.soniox.options import SonioxError, parse_start
from hearout.sttserver.soniox.stream import Frame, SonioxStream
from hearout.sttserver.steps import HeardWord
from hearout.traces.reader import parse_trace
from tests.kit.callers import Caller, calling, run_with
from tests.kit.models import no_recogniser

# Headers, but for those of every handshake. Pipecat uses websockets and, for v1, Deepgram's SDK; LiveKit uses aiohttp.
PIPECAT = [(b"user-agent", b"Python/3.11 websockets/17.4")]
PIPECAT_SDK = [(b"user-agent", b"deepgram-sdk/7.17.0"), (b"x-fern-language", b"Python")]
LIVEKIT = [(b"accept", b"*/*"), (b"accept-encoding", b"gzip, deflate"), (b"user-agent", b"Python/3.11 aiohttp/3.14.5")]
TOKEN, BEARER = [(b"authorization", b"Token any")], [(b"authorization", b"Bearer any")]

PIPECAT_V1 = (
    "channels=1&detect_entities=false&diarize=false&dictation=false&encoding=linear16&interim_results=true&language=en"
    "&model=nova-3-general&multichannel=false&numerals=false&punctuate=true&sample_rate=16000&smart_format=false"
)
LIVEKIT_V1 = (
    "model=nova-3&punctuate=true&smart_format=false&no_delay=true&interim_results=true&encoding=linear16&vad_events=true"
    "&sample_rate=16000&channels=1&endpointing=25&filler_words=true&profanity_filter=false&numerals=false"
    "&mip_opt_out=false&language=en-US"
)
PIPECAT_FLUX = "model=flux-general-en&sample_rate=16000&encoding=linear16&eager_eot_threshold=0.4&keyterm=water"
LIVEKIT_FLUX = (
    "model=flux-general-en&sample_rate=16000&encoding=linear16&mip_opt_out=false&eager_eot_threshold=0.4&keyterm=coffee"
)
PIPECAT_SONIOX = {
    "model": "stt-rt-v5",
    "audio_format": "pcm_s16le",
    "num_channels": 1,
    "enable_endpoint_detection": False,
    "max_endpoint_delay_ms": None,
    "endpoint_sensitivity": None,
    "endpoint_latency_adjustment_level": None,
    "sample_rate": 16000,
    "language_hints": None,
    "language_hints_strict": None,
    "context": None,
    "enable_speaker_diarization": False,
    "enable_language_identification": False,
    "client_reference_id": None,
}
LIVEKIT_SONIOX = {
    "model": "stt-rt-v5",
    "audio_format": "pcm_s16le",
    "num_channels": 1,
    "enable_endpoint_detection": True,
    "sample_rate": 16000,
    "language_hints": None,
    "language_hints_strict": False,
    "context": None,
    "enable_speaker_diarization": False,
    "enable_language_identification": True,
    "client_reference_id": None,
    "max_endpoint_delay_ms": 2000,
}
HANG_UP = b"hang up"  # not sent: the connection is closed


def converse(
    run_virtual: Callable[..., Any],
    stt: str,
    path: str,
    headers: Sequence[tuple[bytes, bytes]],
    messages: Sequence[tuple[float, str | bytes]],
    *lines: dict[str, Any],
) -> tuple[list[Any], int]:
    """What the client gets that sends these messages at these seconds, and what the connection was closed with."""
    header = {"hearout_trace": 1, "stt": stt, "channels": 1, "vad": False}
    script = Script(parse_trace([json.dumps(line) for line in (header, *lines)]))

    async def main(nursery: trio.Nursery) -> tuple[list[Any], int]:
        server = SttServer(no_recogniser(), script=script)
        async with calling(server, headers, path) as caller, trio.open_nursery() as talking:  # type: ignore[arg-type]
            talking.start_soon(_talk, caller, messages)
            code, _ = await caller.listen()
            return caller.got, code

    return run_virtual(run_with(main))  # type: ignore[no-any-return]


async def _talk(caller: Caller, messages: Sequence[tuple[float, str | bytes]]) -> None:
    await caller.say_in_time([entry for entry in messages if entry[1] != HANG_UP])
    if messages[-1][1] == HANG_UP:
        await caller.websocket.aclose()


def result(text: str, **flags: bool) -> dict[str, Any]:
    """Of Deepgram; how it looks to a plugin is not the matter here."""
    return {"type": "Results", "channel": {"alternatives": [{"transcript": text, "words": []}]}, **flags}


def audio(begin: float, end: float, every: float = 0.02) -> list[tuple[float, str | bytes]]:
    """In real time."""
    block = bytes(round(every * 32_000))
    return [(begin + (number + 1) * every, block) for number in range(round((end - begin) / every))]


def shown(messages: Sequence[Any]) -> list[str]:
    """Words, or the type of the message."""
    out = []
    for message in messages:
        match message:
            case {"type": "Results", "channel": {"alternatives": [{"transcript": text}]}}:
                out.append(text)
            case {"tokens": tokens}:
                out.append("".join(token["text"] for token in tokens) + ("." if message.get("finished") else ""))
            case {"type": "TurnInfo", "event": event}:
                out.append(event)
            case {"type": kind}:
                out.append(kind)
    return out


# ---- Deepgram


@pytest.mark.parametrize(
    ("query", "headers", "messages"),
    [
        pytest.param(
            PIPECAT_V1,
            [*TOKEN, *PIPECAT_SDK],
            [
                *audio(0.0, 0.5),
                (0.5, '{"type": "Finalize"}'),
                (5.0, '{"type": "KeepAlive"}'),
                (10.0, '{"type": "KeepAlive"}'),
                (15.0, '{"type": "KeepAlive"}'),
                *audio(15.0, 15.5),
                (15.5, '{"type": "CloseStream"}'),
            ],
            id="pipecat",
        ),
        pytest.param(
            LIVEKIT_V1,
            [*TOKEN, *LIVEKIT],
            [
                (0.0, '{"type": "KeepAlive"}'),
                *audio(0.0, 0.5, 0.05),
                (0.5, '{"type": "Finalize"}'),
                (5.0, '{"type": "KeepAlive"}'),
                (10.0, '{"type": "KeepAlive"}'),
                (15.0, '{"type": "KeepAlive"}'),
                *audio(15.0, 15.5, 0.05),
                (15.5, '{"type": "Finalize"}'),
                (15.5, '{"type": "CloseStream"}'),
            ],
            id="livekit",
        ),
    ],
)
def test_deepgram(
    query: str,
    headers: Sequence[tuple[bytes, bytes]],
    messages: Sequence[tuple[float, str | bytes]],
    run_virtual: Callable[..., Any],
) -> None:
    lines = [
        {"t": 0.3, "stt": result("yes", is_final=False)},
        {"on": "finalize", "after": 0.1, "stt": result("yes please", is_final=True, from_finalize=True)},
        {"t": 0.8, "stt": result("thanks", is_final=True)},
    ]
    got, code = converse(run_virtual, "deepgram", f"/v1/listen?{query}", headers, messages, *lines)
    assert shown(got) == ["yes", "yes please", "thanks", "Metadata"]
    assert code == 1000


# ---- Flux


def turn(t: float, event: str, text: str) -> dict[str, Any]:
    return {"t": t, "stt": {"type": "TurnInfo", "event": event, "turn_index": 0, "transcript": text, "words": []}}


def configured(messages: Sequence[Any]) -> list[tuple[Any, Any]]:
    return [(m["thresholds"], m["keyterms"]) for m in messages if m["type"] == "ConfigureSuccess"]


def test_flux_and_pipecat(run_virtual: Callable[..., Any]) -> None:
    messages = [
        (0.1, '{"type": "Configure", "thresholds": {"eot_threshold": 0.8}}'),
        (0.2, '{"type": "Configure", "keyterms": ["coffee"], "thresholds": {"eager_eot_threshold": null}}'),
        *audio(0.2, 1.2),
        (1.8, bytes(16_000)),  # half a second of silence for an open turn whose audio stopped
        (2.4, '{"type": "CloseStream"}'),
    ]
    lines = [turn(0.5, "StartOfTurn", "yes"), turn(1.5, "EndOfTurn", "yes please")]
    path = f"/v2/listen?{PIPECAT_FLUX}"
    got, code = converse(run_virtual, "flux", path, [*TOKEN, *PIPECAT], messages, *lines)
    assert shown(got) == ["Connected", "ConfigureSuccess", "ConfigureSuccess", "StartOfTurn", "EndOfTurn"]
    # null: the schema cannot say that there is no threshold any more.
    thresholds = {"eot_threshold": 0.8, "eager_eot_threshold": 0.4, "eot_timeout_ms": 5000}
    assert configured(got) == [(thresholds, ["water"]), (thresholds, ["coffee"])]
    assert code == 1000


def test_flux_and_livekit(run_virtual: Callable[..., Any]) -> None:
    messages = [
        (0.1, '{"type": "Configure", "thresholds": {"eot_threshold": 0.8}, "keyterms": ["water"]}'),
        *audio(0.1, 1.1, 0.05),
        (1.1, '{"type": "CloseStream"}'),
    ]
    lines = [turn(0.5, "StartOfTurn", "yes"), turn(1.0, "EndOfTurn", "yes please")]
    path = f"/v2/listen?{LIVEKIT_FLUX}"
    got, code = converse(run_virtual, "flux", path, [*TOKEN, *LIVEKIT], messages, *lines)
    assert shown(got) == ["Connected", "ConfigureSuccess", "StartOfTurn", "EndOfTurn"]
    thresholds = {"eot_threshold": 0.8, "eager_eot_threshold": 0.4, "eot_timeout_ms": 5000}
    assert configured(got) == [(thresholds, ["water"])]
    assert code == 1000


@pytest.mark.parametrize(
    ("stt", "path", "patience"),
    [("flux", f"/v2/listen?{LIVEKIT_FLUX}", 60.0), ("deepgram", f"/v1/listen?{LIVEKIT_V1}", 12.0)],
)
def test_pings_keep_flux_open_only(stt: str, path: str, patience: float, run_virtual: Callable[..., Any]) -> None:
    """aiohttp and websockets ping, every 30 and 20 s; v2 has no other sign of life, v1 wants a KeepAlive."""
    script = Script(parse_trace([json.dumps({"hearout_trace": 1, "stt": stt, "channels": 1, "vad": False})]))

    async def main(nursery: trio.Nursery) -> float:
        server = SttServer(no_recogniser(), script=script)
        async with calling(server, [*TOKEN, *LIVEKIT], path) as caller, trio.open_nursery() as pinging:  # type: ignore[arg-type]

            async def ping() -> None:
                for _ in range(16):
                    await trio.sleep(10.0)
                    with suppress(ConnectionClosed):
                        await caller.websocket.ping()

            began = trio.current_time()
            pinging.start_soon(ping)
            code, _ = await caller.listen()
            assert code == 1011
            return trio.current_time() - began

    lasted = run_virtual(run_with(main))
    assert lasted == pytest.approx(160.0 + patience if stt == "flux" else patience)


# ---- Soniox


def tokens(*texts: str, final: bool = True) -> dict[str, Any]:
    return {"tokens": [{"text": text, "is_final": final} for text in texts]}


def test_soniox_and_pipecat(run_virtual: Callable[..., Any]) -> None:
    messages = [
        (0.0, json.dumps(PIPECAT_SONIOX)),
        *audio(0.0, 0.5),
        (0.5, '{"type": "finalize"}'),
        *((at, '{"type": "keepalive"}') for at in (5.0, 10.0, 15.0, 20.0, 25.0)),
        *audio(25.0, 25.5),
        (25.5, ""),
    ]
    lines = [
        {"t": 0.3, "stt": tokens("yes", final=False)},
        {"on": "finalize", "after": 0.1, "stt": tokens("yes", " please", "<fin>")},
        {"t": 0.8, "stt": tokens(" thanks")},
    ]
    path = "/transcribe-websocket"
    got, code = converse(run_virtual, "soniox", path, [*BEARER, *PIPECAT], messages, *lines)
    assert shown(got) == ["yes", "yes please<fin>", " thanks", "."]
    assert code == 1000


def test_soniox_and_livekit(run_virtual: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    messages = [
        (0.0, json.dumps(LIVEKIT_SONIOX)),
        *((at, '{"type": "keepalive"}') for at in (0.0, 5.0, 10.0, 15.0, 20.0, 25.0)),
        *audio(25.0, 26.0),
    ]
    lines = [{"t": 0.3, "stt": tokens("yes", final=False)}, {"t": 0.8, "stt": tokens("yes", " please", "<end>")}]
    path = "/transcribe-websocket"
    # It never says that it is done: it closes the connection.
    got, code = converse(run_virtual, "soniox", path, [*BEARER, *LIVEKIT], [*messages, (26.0, HANG_UP)], *lines)
    assert shown(got) == ["yes", "yes please<end>"]
    assert code == 1000
    assert capsys.readouterr().err == ""


def test_soniox_tells_the_language_when_asked() -> None:
    """As LiveKit does unless told otherwise."""
    for start, language in ((LIVEKIT_SONIOX, "en"), (PIPECAT_SONIOX, None)):
        stream = SonioxStream("id", True, lambda key: True)
        assert stream.receive(json.dumps(start)) == []
        (frame,) = stream.report(Frame(0, 0.0, True, 1.0, "<fin>"), [HeardWord("yes", 0.1, 0.4, 0.9)])
        word, marker = json.loads(frame)["tokens"]
        assert word.get("language") == language
        assert "language" not in marker


@pytest.mark.parametrize(
    ("field", "value"), [("enable_language_identification", "yes"), ("num_channels", None), ("audio_format", None)]
)
def test_soniox_start_messages_that_are_wrong(field: str, value: Any) -> None:
    with pytest.raises(SonioxError, match=field):
        parse_start(json.dumps(PIPECAT_SONIOX | {field: value}))
