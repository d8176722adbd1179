"""OpenAI's realtime protocol at the local server: what it sends, and its rules that no client breaks."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import soundfile

from hearout.sttserver.openai.stream import OpenAIStream
from hearout.sttserver.steps import Close, Send
from tests.kit.paths import DATA
from tests.kit.secret import KEY
from tests.kit.serving import serving

CLIP, RATE = soundfile.read(DATA / "two_sentences.flac", dtype="int16")
SENTENCES = ["I would like to cancel my appointment.", "Could you repeat that please?"]
SOUND = "conversation.item.input_audio_transcription"


def update(rate: int = 16000, model: str = "gpt-live-transcribe", **more: Any) -> str:
    sound = {"format": {"type": "audio/pcm", "rate": rate}, "transcription": {"model": model}, "turn_detection": None}
    return json.dumps(
        {"type": "session.update", "session": {"type": "transcription", "audio": {"input": sound | more}}}
    )


def append(pcm: bytes) -> str:
    return json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm).decode()})


COMMIT = '{"type":"input_audio_buffer.commit","event_id":"mine"}'


def say(stream: OpenAIStream, *messages: str) -> list[dict[str, Any]]:
    steps = [step for message in messages for step in stream.receive(message)]
    return [json.loads(step.text) for step in steps if isinstance(step, Send)]


@pytest.mark.parametrize("model", ["gpt-live-transcribe", "whisper-1"])
def test_a_conversation(model: str, tmp_path: Any) -> None:
    """Over a real websocket, with the recogniser: items in order, deltas of live models while they are said."""
    import asyncio

    from websockets.asyncio.client import connect

    async def main(address: str) -> list[dict[str, Any]]:
        heard: list[dict[str, Any]] = []
        url = f"ws://{address}/v1/realtime?intent=transcription"
        async with connect(url, additional_headers={"Authorization": f"Bearer {KEY}"}) as line:
            await line.send(update(model=model))
            for at in range(0, len(CLIP), RATE // 10):
                await line.send(append(CLIP[at : at + RATE // 10].tobytes()))
                if at == 28 * RATE // 10:
                    await line.send(COMMIT)
            await line.send(COMMIT)
            await line.send(COMMIT)
            async for text in line:
                heard.append(json.loads(text))
                if heard[-1]["type"] == "error":
                    return heard
        return heard

    with serving() as address:
        heard = asyncio.run(asyncio.wait_for(main(address), 60))
    kinds = [message["type"] for message in heard]
    assert kinds[:2] == ["session.created", "session.updated"]
    assert kinds[-1] == "error", "the last commit had no audio"
    finals = [message for message in heard if message["type"] == f"{SOUND}.completed"]
    assert [message["transcript"] for message in finals] == SENTENCES
    items = [message["item_id"] for message in heard if message["type"] == "input_audio_buffer.committed"]
    assert [message["item_id"] for message in finals] == items
    deltas = [message for message in heard if message["type"] == f"{SOUND}.delta"]
    assert bool(deltas) == model.startswith("gpt-live")
    assert {message["item_id"] for message in deltas} <= set(items)
    if deltas:
        assert kinds.index(f"{SOUND}.delta") < kinds.index("input_audio_buffer.committed")


def test_a_commit_needs_a_tenth_of_a_second() -> None:
    stream = OpenAIStream("session")
    say(stream, update())
    (refused,) = say(stream, append(bytes(2 * 1599)), COMMIT)
    assert refused["error"]["code"] == "input_audio_buffer_commit_empty"
    assert refused["error"]["event_id"] == "mine"
    (committed,) = say(stream, append(bytes(2)), COMMIT)
    assert (committed["type"], committed["previous_item_id"]) == ("input_audio_buffer.committed", None)


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ("nonsense", "JSON"),
        ('{"type":"response.create"}', "Invalid value: 'response.create'"),
        ('{"type":"input_audio_buffer.append","audio":"?"}', ""),
        (update(rate=44100), '"rate" must be 8000, 16000, 24000, not 44100'),
        (update(turn_detection={"type": "server_vad"}), "this server has no turn detection; send null"),
    ],
)
def test_events_that_are_none_are_told_of(message: str, says: str) -> None:
    stream = OpenAIStream("session")
    (refused,) = say(stream, message)
    assert refused["type"] == "error"
    assert says in refused["error"]["message"]
    assert say(stream, update())[0]["type"] == "session.updated", "the connection goes on"


def test_the_format_cannot_change_under_audio() -> None:
    stream = OpenAIStream("session")
    (refused,) = say(stream, append(bytes(4800)), update(rate=16000))
    assert refused["error"]["message"] == "the format cannot change once there is audio"


def test_who_says_nothing_for_long_is_sent_away() -> None:
    stream = OpenAIStream("session", idle_timeout=5.0)
    assert stream.wait(4.9) == []
    assert stream.wait(0.1) == [Close(1000)]
