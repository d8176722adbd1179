"""Deepgram's ``/v1/listen``, the server's side, without a socket, a process or a clock."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from hearout.sttserver.deepgram.options import parse_options
from hearout.sttserver.deepgram.stream import V1Stream
from hearout.sttserver.steps import Ask, Close, Decode, HeardWord, Refused, Send, Step
from tests.kit.paths import DATA

RATE = 16_000
CLIP, _ = soundfile.read(DATA / "two_sentences.flac", dtype="int16")
# "I would like to cancel my appointment." (0.5 to 2.6 s), "Could you repeat that please?" (3.7 to 5.3 s); 6.0 s
WORDS = [("cancel", 1.7, 2.1), ("appointment", 2.2, 2.6), ("repeat", 4.1, 4.5), ("please", 4.8, 5.2)]
KEEPALIVE, FINALIZE, CLOSE = ('{"type":"KeepAlive"}', '{"type":"Finalize"}', '{"type":"CloseStream"}')


def pcm(*parts: float | np.ndarray) -> bytes:
    """Samples, and seconds of silence."""
    return b"".join(part.tobytes() if isinstance(part, np.ndarray) else bytes(2 * round(part * RATE)) for part in parts)


def stream(query: str = "", *, rate: int = RATE, encoding: str = "linear16") -> V1Stream:
    options = parse_options(f"encoding={encoding}&sample_rate={rate}&{query}")
    return V1Stream(options, "the-request", "2026-01-02T03:04:05.678Z")


@dataclass
class Driver:
    """Carries out steps with a recogniser that hears `WORDS`, as far as it was given the audio they stand in."""

    stream: V1Stream
    decoded: dict[int, bytes] = field(default_factory=dict)  # all of it
    utterance: dict[int, int] = field(default_factory=dict)  # bytes of the open one
    sent: list[dict[str, Any]] = field(default_factory=list)
    close: Close | None = None

    def receive(self, *messages: str | bytes) -> list[dict[str, Any]]:
        """What the client gets for these messages."""
        before = len(self.sent)
        for message in messages:
            self.perform(self.stream.receive(message))
        return self.sent[before:]

    def perform(self, steps: list[Step]) -> None:
        for step in steps:
            assert self.close is None
            match step:
                case Decode(channel, data):
                    self.decoded[channel] = self.decoded.get(channel, b"") + data
                    self.utterance[channel] = self.utterance.get(channel, 0) + len(data)
                case Ask():
                    self.sent += [json.loads(text) for text in self.stream.report(step, self.hear(step))]
                    if step.ends:
                        self.utterance.pop(step.channel, None)
                case Send():
                    self.sent.append(json.loads(step.text))
                case Close():
                    self.close = step

    def hear(self, ask: Ask) -> list[HeardWord]:
        assert (ask.utterance is None) == (ask.channel not in self.utterance)
        if ask.utterance is None:
            return []
        end = ask.utterance + self.utterance[ask.channel] / (2 * RATE)
        return [
            HeardWord(text, a - ask.utterance, b - ask.utterance, 0.5)
            for text, a, b in WORDS
            if a >= ask.utterance and b <= end
        ]


def results(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message for message in messages if message["type"] == "Results"]


def text(message: dict[str, Any]) -> str:
    transcript: str = message["channel"]["alternatives"][0]["transcript"]
    return transcript


def window(message: dict[str, Any]) -> Any:
    return message["start"], pytest.approx(message["start"] + message["duration"], abs=1e-6)


def test_a_final_comes_with_each_end_of_speech() -> None:
    client = Driver(stream("endpointing=300"))
    first, second = client.receive(pcm(CLIP))

    assert [text(first), text(second)] == ["cancel appointment", "repeat please"]
    assert first["start"] == 0
    # The speech ends at 2.6 s, and 300 ms later that is an end of speech.
    assert first["duration"] == pytest.approx(2.9, abs=0.1)
    assert second["start"] == pytest.approx(first["duration"])
    assert first["channel"]["alternatives"][0]["words"] == [
        {"word": "cancel", "start": 1.7, "end": 2.1, "confidence": 0.5},
        {"word": "appointment", "start": 2.2, "end": 2.6, "confidence": 0.5},
    ]
    assert [first["is_final"], first["speech_final"], first["from_finalize"]] == [True, True, False]
    assert list(first) == [
        *("type", "channel_index", "duration", "start", "is_final", "speech_final"),
        *("channel", "metadata", "from_finalize"),
    ]
    assert first["channel_index"] == [0, 1]
    assert list(first["metadata"]) == ["request_id", "model_info", "model_uuid"]
    assert first["metadata"]["request_id"] == "the-request"


def test_interim_results_come_once_a_second_of_audio_and_only_when_asked_for() -> None:
    messages = results(Driver(stream("interim_results=true&endpointing=300")).receive(pcm(CLIP)))
    assert [(m["is_final"], round(m["start"] + m["duration"], 2)) for m in messages[:4]] == [
        *((False, 1.0), (False, 2.0)),
        (True, pytest.approx(2.9, abs=0.1)),
        (False, pytest.approx(3.9, abs=0.1)),
    ]
    assert [text(m) for m in messages[:5]] == ["", "", "cancel appointment", "", "repeat"]
    assert [m["start"] for m in messages[:3]] == [0, 0, 0]

    assert all(m["is_final"] for m in Driver(stream("endpointing=300")).receive(pcm(CLIP)))


@pytest.mark.parametrize(
    "query", ["", "endpointing=false", "endpointing=1500&interim_results=true", "endpointing=300&vad_events=true"]
)
def test_finals_cover_all_the_audio_once(query: str) -> None:
    client = Driver(stream(query))
    messages = client.receive(pcm(CLIP, 2.5), FINALIZE, pcm(0.5, CLIP, 4.0), CLOSE)
    finals = [m for m in results(messages) if m["is_final"]]

    assert finals[0]["start"] == 0
    for before, after in pairwise(finals):
        assert after["start"] == pytest.approx(before["start"] + before["duration"], abs=1e-6)
        assert before["duration"] > 0
    assert finals[-1]["start"] + finals[-1]["duration"] == pytest.approx(len(CLIP) / RATE * 2 + 7.0)


def test_without_endpointing_finals_come_at_pauses_and_say_nothing_of_speech_final() -> None:
    messages = Driver(stream("endpointing=false")).receive(pcm(CLIP, 2.0), FINALIZE)
    assert [text(m) for m in messages] == ["cancel appointment", "repeat please", ""]
    assert [m["from_finalize"] for m in messages] == [False, False, True]
    assert not any("speech_final" in m for m in messages)


def test_a_late_endpoint_comes_by_itself_after_the_words() -> None:
    messages = Driver(stream("endpointing=2500")).receive(pcm(CLIP, 3.0))
    assert [(text(m), m["is_final"], m["speech_final"]) for m in messages] == [
        ("cancel appointment", True, False),
        ("repeat please", True, False),
        ("", True, True),
    ]


def test_speech_that_does_not_pause_is_finalised_in_parts() -> None:
    speech = CLIP[int(0.7 * RATE) : int(2.4 * RATE)]
    client = Driver(stream("endpointing=300"))
    finals = client.receive(pcm(*[speech] * 20))
    assert finals
    assert not any(m["speech_final"] for m in finals)
    assert all(m["duration"] < 21 for m in finals)


def test_silence_is_not_decoded_but_reported() -> None:
    client = Driver(stream("interim_results=true"))
    messages = client.receive(pcm(20.0))
    assert client.decoded == {}
    assert all(text(m) == "" and m["channel"]["alternatives"][0]["confidence"] == 0 for m in messages)
    assert len(messages) == 20
    assert [m["start"] + m["duration"] for m in messages if m["is_final"]] == [4, 8, 12, 16, 20]


def test_speech_is_decoded_once_without_gaps_whatever_is_asked_meanwhile() -> None:
    client = Driver(stream("endpointing=false&interim_results=true"))
    audio = pcm(CLIP)
    for at in range(0, len(audio), 3000):
        client.receive(audio[at : at + 3000], FINALIZE)
    decoded = client.decoded[0]
    start = audio.index(decoded[:6400])
    first_sentence = int(2.2 * RATE) * 2
    assert decoded[:first_sentence] == audio[start : start + first_sentence]
    assert len(decoded) < len(audio)


def test_utterance_end_follows_the_result_that_proves_the_gap() -> None:
    client = Driver(stream("interim_results=true&utterance_end_ms=1000&endpointing=300"))
    messages = client.receive(pcm(CLIP, 4.0))
    ends = [at for at, m in enumerate(messages) if m["type"] == "UtteranceEnd"]

    assert [messages[at] for at in ends] == [
        {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 2.6},
        {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 5.2},
    ]
    for at in ends:
        proof = messages[at - 1]
        assert proof["start"] + proof["duration"] >= messages[at]["last_word_end"] + 1.0


@pytest.mark.parametrize("query", ["interim_results=true", "utterance_end_ms=1000"])
def test_no_utterance_end_without_both_of_its_options(query: str) -> None:
    messages = Driver(stream(query)).receive(pcm(CLIP, 4.0))
    assert {m["type"] for m in messages} == {"Results"}


def test_speech_started_tells_each_onset() -> None:
    messages = Driver(stream("vad_events=true&endpointing=300")).receive(pcm(CLIP))
    started = [m for m in messages if m["type"] == "SpeechStarted"]
    assert [m["channel"] for m in started] == [[0, 1], [0, 1]]
    assert [m["timestamp"] for m in started] == [pytest.approx(0.55, abs=0.1), pytest.approx(3.7, abs=0.1)]


def test_finalize_makes_everything_heard_so_far_final() -> None:
    client = Driver(stream("endpointing=300"))
    (answer,) = client.receive(pcm(CLIP[: int(2.305 * RATE)]), FINALIZE)
    assert (text(answer), answer["is_final"], answer["from_finalize"]) == ("cancel", True, True)
    assert window(answer) == (0, 2.305)

    assert client.receive(FINALIZE) == []  # nothing new
    (rest,) = client.receive(pcm(CLIP[int(2.305 * RATE) : int(3.5 * RATE)]))
    assert rest["from_finalize"] is False
    assert rest["start"] == 2.305
    # The endpoint has made the words final already: the answer is empty, and comes all the same.
    (empty,) = client.receive(FINALIZE)
    assert (text(empty), empty["from_finalize"]) == ("", True)
    assert empty["start"] == pytest.approx(rest["start"] + rest["duration"])


def test_channels_are_transcribed_apart_with_multichannel() -> None:
    quiet = np.zeros_like(CLIP)
    audio = np.column_stack([quiet, CLIP]).tobytes()
    client = Driver(stream("channels=2&multichannel=true&endpointing=300&vad_events=true"))
    messages = client.receive(audio[: 4 * int(3.5 * RATE)])

    assert list(client.decoded) == [1]
    assert {tuple(m.get("channel_index", m["channel"])) for m in messages} == {(1, 2)}
    (one,) = client.receive('{"type":"Finalize","channel":0}')
    assert (one["channel_index"], text(one)) == ([0, 2], "")
    assert [m["channel_index"] for m in client.receive(FINALIZE)] == [[1, 2]]
    (error,) = client.receive('{"type":"Finalize","channel":2}')
    assert error["type"] == "Error"


def test_channels_are_mixed_without_multichannel() -> None:
    audio = np.column_stack([np.zeros_like(CLIP), CLIP]).tobytes()
    messages = Driver(stream("channels=2&endpointing=300")).receive(audio)
    assert [(m["channel_index"], text(m)) for m in messages] == [
        ([0, 1], "cancel appointment"),
        ([0, 1], "repeat please"),
    ]


@pytest.mark.parametrize("ending", [CLOSE, b""])
def test_the_end_brings_the_last_words_the_metadata_and_a_normal_close(ending: str | bytes) -> None:
    client = Driver(stream("endpointing=300"))
    audio = pcm(CLIP[: int(2.7 * RATE)])
    tail, metadata = client.receive(audio, ending)

    assert (text(tail), tail["is_final"], tail["from_finalize"]) == ("cancel appointment", True, False)
    assert client.close == Close(1000)
    uuid = tail["metadata"]["model_uuid"]
    assert metadata == {
        "type": "Metadata",
        "transaction_key": "deprecated",
        "request_id": "the-request",
        "sha256": hashlib.sha256(audio).hexdigest(),
        "created": "2026-01-02T03:04:05.678Z",
        "duration": 2.7,
        "channels": 1,
        "models": [uuid],
        "model_info": {uuid: tail["metadata"]["model_info"]},
    }


def test_an_end_without_audio_has_no_result_and_no_channels() -> None:
    client = Driver(stream())
    (metadata,) = client.receive(KEEPALIVE, FINALIZE, CLOSE)
    assert (metadata["type"], metadata["channels"], metadata["duration"]) == ("Metadata", 0, 0)
    assert "models" not in metadata


def test_a_quiet_client_is_sent_away() -> None:
    client = Driver(stream())
    client.receive(pcm(1.0))
    assert 10 <= client.stream.idle_timeout <= 12
    client.perform(client.stream.wait(client.stream.idle_timeout))
    assert (client.sent[-1]["type"], client.sent[-1]["sha256"]) == ("Metadata", "incomplete")
    assert client.close is not None
    assert client.close.code == 1011
    assert client.close.reason.endswith("net0001")
    assert len(client.close.reason.encode()) <= 123  # all that a close frame holds


@pytest.mark.parametrize(
    "message",
    ["", "Finalize", "[]", "{}", '{"type":"ForceEndTurn"}', '{"type":3}', '{"type":"Finalize","channel":"0"}'],
)
def test_text_that_means_nothing_gets_an_error_and_changes_nothing(message: str) -> None:
    client = Driver(stream())
    if message == "":
        message = " "
    (error,) = client.receive(message)
    assert (error["type"], error["variant"], error["message"]) == ("Error", "SchemaError", message)
    assert list(error) == ["type", "variant", "description", "message", "code"]
    assert client.close is None


def test_keyterms_are_refused_in_the_words_of_the_protocol() -> None:
    (failure,) = Driver(stream()).receive('{"type":"Configure","keyterms":["hearout"]}')
    assert (failure["type"], failure["code"]) == ("ConfigureFailure", "CONFIGURE_KEYTERMS_NOT_SUPPORTED")


def test_words_come_punctuated_only_when_asked_for() -> None:
    (first, _) = Driver(stream("punctuate=true&endpointing=300")).receive(pcm(CLIP))
    assert first["channel"]["alternatives"][0]["words"][0]["punctuated_word"] == "cancel"


@pytest.mark.parametrize(
    ("query", "rate", "encoding", "channels"),
    [("", 16_000, "linear16", 1), ("&channels=2&multichannel=true", 44_100, "linear16", 2), ("", 8_000, "mulaw", 1)],
)
def test_it_does_not_matter_how_the_audio_is_cut(query: str, rate: int, encoding: str, channels: int) -> None:
    mono = CLIP if rate == RATE else soxr.resample(CLIP.astype(float), RATE, rate).astype(np.int16)
    samples = np.repeat(mono[: int(3.8 * rate)], channels)
    audio = samples.tobytes() if encoding == "linear16" else (samples >> 8).astype(np.uint8).tobytes()
    query = "interim_results=true&vad_events=true&utterance_end_ms=1000&endpointing=300" + query

    def conversation(cuts: list[int]) -> tuple[list[dict[str, Any]], dict[int, bytes]]:
        client = Driver(stream(query, rate=rate, encoding=encoding))
        for a, b in pairwise([0, *cuts, len(audio)]):
            if a < b:
                client.receive(audio[a:b])
        client.receive(FINALIZE, CLOSE)
        # Only within a channel is there an order.
        client.sent.sort(key=lambda m: m.get("channel_index") or m.get("channel", [channels]))
        return client.sent, client.decoded

    rng = random.Random(20)
    whole = conversation([])
    assert len(whole[0]) > 3
    cut = conversation(sorted(rng.sample(range(len(audio)), 300)))
    assert cut[0] == whole[0]
    if rate == RATE:  # the resampler dithers, which may tip a frame over
        assert cut[1] == whole[1]


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("sample_rate=16000", "encoding is missing"),
        ("encoding=opus&sample_rate=48000", "'opus' is not one of linear16, mulaw, alaw"),
        ("encoding=linear16", "sample_rate is missing"),
        ("encoding=linear16&sample_rate=4000", "sample_rate='4000'"),
        ("encoding=linear16&sample_rate=fast", "sample_rate='fast'"),
        ("encoding=linear16&sample_rate=" + "9" * 5000, "sample_rate="),
        ("encoding=linear16&sample_rate=8000&channels=0", "channels='0'"),
        ("encoding=linear16&sample_rate=8000&channels=20&multichannel=true", "at most 8"),
        ("encoding=linear16&sample_rate=8000&endpointing=-1", "endpointing='-1'"),
        ("encoding=linear16&sample_rate=8000&endpointing=soon", "endpointing='soon'"),
        ("encoding=linear16&sample_rate=8000&utterance_end_ms=999", "utterance_end_ms='999'"),
        ("encoding=linear16&sample_rate=8000&utterance_end_ms=5001", "utterance_end_ms='5001'"),
        ("encoding=linear16&sample_rate=8000&interim_results=True", "interim_results='True'"),
        ("encoding=linear16&sample_rate=8000&language=de", "English only"),
        ("encoding=linear16&sample_rate=8000&model=flux-general-en", "'flux-general-en'"),
    ],
)
def test_a_bad_query_is_refused_with_the_name_of_what_is_wrong(query: str, problem: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_options(query)
    assert caught.value.status == 400
    assert problem in caught.value.detail


def test_options() -> None:
    options = parse_options("encoding=alaw&sample_rate=8000&keyterm=a&keyterm=b&language=en-GB&model=nova-3")
    assert options.audio.encoding == "alaw"
    assert (options.endpointing, options.utterance_end, options.recognisers) == (0.01, None, 1)
    assert parse_options("encoding=alaw&sample_rate=8000&endpointing=false").endpointing is None
    assert parse_options("encoding=alaw&sample_rate=8000&endpointing=true").endpointing == 0.01
    assert parse_options("encoding=alaw&sample_rate=8000&utterance_end_ms=1500").utterance_end == 1.5
