"""ElevenLabs' realtime protocol: the clip, scripts, and the rules that no client breaks.

Its own Python client is in tests/integration/servers.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import soundfile
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, wrap_client_stream

from hearout.errors import leaves_of
from hearout.sttserver.elevenlabs.options import parse_elevenlabs_options
from hearout.sttserver.elevenlabs.stream import ElevenLabsStream
from hearout.sttserver.steps import Ask, Close, HeardWord, Refused, Send
from tests.kit.paths import DATA
from tests.kit.serving import playing, serving

CLIP, RATE = soundfile.read(DATA / "two_sentences.flac", dtype="int16")
SENTENCES = ["I would like to cancel my appointment.", "Could you repeat that please?"]
USUAL = "model_id=scribe_v2_realtime&include_timestamps=true"
COMMITTED, TIMED = "committed_transcript", "committed_transcript_with_timestamps"


def chunk(pcm: bytes = b"", **more: Any) -> str:
    audio = base64.b64encode(pcm).decode()
    return json.dumps({"message_type": "input_audio_chunk", "audio_base_64": audio, "sample_rate": RATE} | more)


COMMIT = chunk(commit=True)
CHUNKS = [chunk(CLIP[at : at + RATE // 10].tobytes()) for at in range(0, len(CLIP), RATE // 10)]


def converse(
    server: str, *messages: str, query: str = USUAL, key: str = "any", until: str = ""
) -> tuple[list[dict[str, Any]], int | None, str | None]:
    """All that is heard until the server hangs up or a message of type ``until`` comes, and how it hung up."""

    async def main() -> tuple[list[dict[str, Any]], int | None, str | None]:
        heard: list[dict[str, Any]] = []
        host, port = server.split(":")
        path, headers = f"/v1/speech-to-text/realtime?{query}", [(b"xi-api-key", key.encode())]
        with trio.fail_after(30):
            async with await trio.open_tcp_stream(host, int(port)) as stream, trio.open_nursery() as nursery:
                websocket = await wrap_client_stream(nursery, stream, server, path, extra_headers=headers)
                with suppress(ConnectionClosed):
                    for message in messages:
                        await websocket.send_message(message)
                    while not (heard and heard[-1]["message_type"] == until):
                        heard.append(json.loads(await websocket.get_message()))
                nursery.cancel_scope.cancel()
        reason = websocket.closed
        return (heard, reason.code, reason.reason) if reason else (heard, None, None)

    try:
        return trio.run(main)
    except* ConnectionRejected as group:
        (rejected,) = leaves_of(group)
    raise rejected


def texts(heard: list[dict[str, Any]], kind: str) -> list[str]:
    return [message["text"] for message in heard if message["message_type"] == kind]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving() as address:
        yield address


def test_a_commit_is_told_with_an_echo_and_with_times(server: str) -> None:
    heard, _, _ = converse(server, *CHUNKS[:28], COMMIT, until=TIMED)
    first, *partials, committed, echo, timed = heard
    assert first["message_type"] == "session_started"
    assert first["config"]["model_id"] == "scribe_v2_realtime"
    assert texts(partials, "partial_transcript"), "results before the commit"
    assert (committed["text"], echo["text"], timed["text"]) == (SENTENCES[0],) * 3
    assert echo["message_type"] == "partial_transcript"
    words = [word for word in timed["words"] if word["type"] == "word"]
    assert " ".join(word["text"] for word in words) == SENTENCES[0]
    assert all(0 <= word["start"] <= word["end"] <= 2.8 and word["logprob"] <= 0 for word in words)
    assert len(timed["words"]) == 2 * len(words) - 1, "a blank between two"


def test_without_timestamps_it_is_told_once(server: str) -> None:
    heard, _, _ = converse(server, *CHUNKS[:28], COMMIT, query="model_id=x", until=COMMITTED)
    assert texts(heard, COMMITTED) == SENTENCES[:1]
    heard, _, _ = converse(
        server, *CHUNKS[:28], COMMIT, query="model_id=x&include_language_detection=true", until=TIMED
    )
    assert heard[-1]["language_code"] == "eng"
    assert heard[-1]["words"] is None


def test_vad_commits_by_itself(server: str) -> None:
    query = f"{USUAL}&commit_strategy=vad&vad_silence_threshold_secs=0.5"
    heard, _, _ = converse(server, *CHUNKS, chunk(bytes(4 * RATE)), COMMIT, COMMIT, query=query)
    assert [text for text in texts(heard, TIMED) if text] == SENTENCES


def test_silence_commits_to_nothing(server: str) -> None:
    heard, _, _ = converse(server, chunk(bytes(2 * RATE)), COMMIT, until=TIMED)
    assert texts(heard, COMMITTED) == texts(heard, TIMED) == [""]
    assert not texts(heard, "partial_transcript")


def test_a_commit_with_hardly_any_audio_ends_the_session(server: str) -> None:
    heard, code, reason = converse(server, chunk(bytes(RATE)), COMMIT, chunk(bytes(RATE // 5)), COMMIT)
    assert heard[-1] == {
        "message_type": "commit_throttled",
        "error": "Commit request ignored: only 0.10s of uncommitted audio. "
        "You need at least 0.3s of it before committing.",
    }
    assert (code, reason) == (1000, "commit_throttled")


def test_a_wrong_key_is_told_once_connected(tmp_path: Any) -> None:
    with serving(token="right") as address:
        heard, code, _ = converse(address, key="wrong")
        assert heard == [
            {"message_type": "auth_error", "error": "You must be authenticated to use this endpoint."},
        ]
        assert code == 1000
        heard, _, _ = converse(address, key="right", until="session_started")
        assert len(heard) == 1


def test_a_query_that_is_refused(server: str) -> None:
    with pytest.raises(ConnectionRejected) as refused:
        converse(server, query="model_id=x&audio_format=mp3")
    assert refused.value.status_code == 400
    assert json.loads(refused.value.body or b"")["detail"]["message"].startswith('"audio_format" must be "pcm_8000" or')


def test_a_script() -> None:
    def committed(text: str) -> dict[str, Any]:
        return {"message_type": COMMITTED, "text": text}

    lines = [{"t": 0.5, "stt": committed("one")}, {"on": "finalize", "after": 0.0, "stt": committed("two")}]
    with playing(*lines, stt="elevenlabs") as address:
        second = chunk(bytes(2 * RATE))
        heard, code, _ = converse(address, second, COMMIT, second, COMMIT, chunk(bytes(100)), COMMIT)
    assert texts(heard, COMMITTED) == ["one", "two", ""], "where the script has no more, there was nothing"
    assert (heard[-1]["message_type"], code) == ("commit_throttled", 1000)


# Rules that no client breaks


def stream(query: str = USUAL, **options: Any) -> ElevenLabsStream:
    return ElevenLabsStream(parse_elevenlabs_options(query), "id", True, **options)


def error(steps: list[Any]) -> str:
    (said, close) = steps
    assert isinstance(said, Send)
    assert isinstance(close, Close)
    kind: str = json.loads(said.text)["message_type"]
    return kind


@pytest.mark.parametrize(
    "message",
    [
        "nonsense",
        "[]",
        "{}",
        b"\0\0",
        '{"message_type":"commit"}',
        chunk(audio_base_64="?"),
        chunk(audio_base_64=7),
        chunk(commit="yes"),
    ],
)
def test_messages_that_are_none(message: str | bytes) -> None:
    assert error(stream().receive(message)) == "input_error"


def test_the_text_before_comes_with_the_first_chunk_or_not_at_all() -> None:
    one = stream()
    assert one.receive(chunk(previous_text="Hello?")) == []
    assert one.receive(chunk(previous_text=None)) == []
    assert error(one.receive(chunk(previous_text="Hello?"))) == "input_error"


def test_who_says_nothing_is_sent_away_without_a_word() -> None:
    one = stream()
    assert one.idle_timeout == 15.0
    assert one.wait(14.9) == []
    assert one.receive(chunk()) == []
    assert one.wait(14.9) == [], "an empty chunk is a sign of life"
    assert one.wait(0.2) == [Close(1000)]
    assert stream(idle_timeout=3.0).wait(3.0) == [Close(1000)]


def test_what_gets_too_long_is_committed_unasked() -> None:
    one = stream()
    asks = [step for _ in range(40) for step in one.receive(chunk(bytes(2 * RATE))) if isinstance(step, Ask)]
    assert [ask.ends for ask in asks] == [True]
    assert [json.loads(text)["text"] for text in one.report(asks[0], ())] == ["", ""]


def test_a_word_that_is_sure_beyond_doubt() -> None:
    ask = Ask(0, 1.0, ends=True)
    *_, timed = (json.loads(text) for text in stream().report(ask, [HeardWord("yes", -2.0, 0.5, 1.5)]))
    (word,) = timed["words"]
    assert (word["start"], word["end"], word["logprob"]) == (0.0, 1.5, 0.0)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("audio_format=pcm_16000", "model_id"),
        (f"{USUAL}&audio_format=opus", "audio_format"),
        (f"{USUAL}&commit_strategy=often", "commit_strategy"),
        (f"{USUAL}&vad_silence_threshold_secs=0.1", "vad_silence_threshold_secs"),
        (f"{USUAL}&include_language_detection=perhaps", "include_language_detection"),
        (USUAL + 51 * "&keyterms=x", "keyterms"),
    ],
)
def test_queries_that_are_refused(query: str, says: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_elevenlabs_options(query)
    assert refused.value.status == 400
    assert says in refused.value.detail
