"""Twilio Media Streams: the messages by themselves."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest

from hearout.audio import AudioFormat, Decoder
from hearout.serving import ProtocolError
from hearout.sources.twilio import to_mulaw
from hearout.sources.twilio_messages import (
    Dtmf,
    Mark,
    Start,
    TwilioStream,
    clear_message,
    mark_message,
    media_message,
)
from tests.kit.twilio_line import CONNECTED, PACKET, SID, STOP, A, B, C, D, media, numbered, packets, start


def play(messages: list[str]) -> tuple[list[int], list[Any], TwilioStream]:
    """(samples, all events), as a socket's end would leave them."""
    stream = TwilioStream()
    pcm, events = b"", []
    items = [item for message in messages for item in stream.receive(message)] + stream.finish()
    for item in items:
        if isinstance(item, bytes):
            assert item
            pcm += item
        else:
            events.append(item)
    return np.frombuffer(pcm, "<i2").tolist(), events, stream


def test_a_call_as_twilio_sends_it() -> None:
    messages = numbered(CONNECTED, start(), media(0, A), media(20, B), media(40, C), STOP)
    samples, events, stream = play(messages)
    assert packets(samples) == [A, B, C]
    assert events == [Start(SID, "CA0", "AC0", ("inbound",), {"Language": "en"})]
    assert stream.ended
    assert stream.filled == 0
    assert stream.dropped == 0


def test_audio_comes_out_with_its_message() -> None:
    stream = TwilioStream()
    sizes = [
        [len(i) for i in stream.receive(m) if isinstance(i, bytes)] for m in numbered(start(), media(0), media(20))
    ]
    assert sizes == [[], [2 * PACKET], [2 * PACKET]]


def test_both_tracks_are_two_channels_caller_first() -> None:
    messages = numbered(
        start("outbound", "inbound"),
        media(0, A, "outbound"),
        media(0, B),
        media(20, C),
        media(20, D, "outbound"),
        media(40, C),
        STOP,
    )
    samples, events, _ = play(messages)
    assert events[0].tracks == ("inbound", "outbound")
    assert packets(samples, 2) == [(B, A), (C, D), (C, 0)]


def test_a_quiet_track_does_not_hold_up_the_other() -> None:
    stream = TwilioStream()
    given = 0
    for n, message in enumerate(numbered(start("inbound", "outbound"), *(media(20 * i, A) for i in range(50)))):
        given += sum(len(item) // 4 for item in stream.receive(message) if isinstance(item, bytes))
        assert n * PACKET - given <= 0.06 * 8000
    back = media(1000, B, "outbound") | {"sequenceNumber": "52"}
    pcm = b"".join(i for i in stream.receive(json.dumps(back)) + stream.finish() if isinstance(i, bytes))
    at_the_end = np.frombuffer(pcm, "<i2").reshape(-1, 2)[-PACKET:]
    assert at_the_end[:, 1].tolist() == [B] * PACKET  # where its timestamp says: after all that the caller said
    assert given + len(pcm) // 4 == 51 * PACKET


def test_a_packet_that_never_comes_is_silence() -> None:
    messages = numbered(start(), media(0, A), media(20, B), media(40, C), *(media(60 + 20 * i, D) for i in range(9)))
    samples, _, stream = play(messages[:2] + messages[3:])
    assert packets(samples) == [A, 0, C] + [D] * 9
    assert stream.filled == pytest.approx(0.02)


def test_suppressed_silence_is_silence_at_once() -> None:
    stream = TwilioStream()
    sizes = []
    for message in numbered(start(), media(0, A), media(3020, B)):
        sizes += [len(item) for item in stream.receive(message) if isinstance(item, bytes)]
    assert sizes == [2 * PACKET, 2 * PACKET * 151]
    assert stream.filled == pytest.approx(3.0)


def test_the_first_timestamp_need_not_be_0() -> None:
    samples, _, _ = play(numbered(start(), media(100, A)))
    assert packets(samples) == [0, 0, 0, 0, 0, A]


def test_without_timestamps_packets_follow_one_another() -> None:
    odd = media(60, C)
    odd["media"]["timestamp"] = "soon"
    samples, _, _ = play(numbered(start(), media(0, A), media(None, B), odd, media(60, D)))
    assert packets(samples) == [A, B, C, D]


def test_timestamps_that_wobble_make_no_holes() -> None:
    rng = random.Random(7)
    messages = numbered(start(), *(media(20 * i + rng.randint(0, 9), A) for i in range(200)))
    samples, _, stream = play(messages)
    assert packets(samples) == [A] * 200
    assert stream.filled == 0


@pytest.mark.parametrize("jump", [3_600_000, 1_700_000_000_000])
def test_a_timestamp_nobody_can_mean_is_not_filled_up(jump: int, caplog: pytest.LogCaptureFixture) -> None:
    later = [media(jump + 20 * i, B) for i in range(3)]
    gap = [media(jump + 80, C)]
    samples, _, _ = play(numbered(start(), media(0, A), *later, *gap, STOP))
    assert packets(samples) == [A, B, B, B, 0, C]
    assert [record.getMessage() for record in caplog.records] == [
        f"timestamps jump by {(jump - 20) / 1000:.1f} s at 0.0 s of audio"
    ]


def test_numbers_and_timestamps_that_begin_again_lose_nothing() -> None:
    first = numbered(start(), *(media(20_000 + 20 * i, A) for i in range(200)))
    again = numbered(media(0, B), media(20, C), media(40, D))
    samples, _, _ = play(first + again)
    assert packets(samples[-4 * PACKET :]) == [A, B, C, D]


def test_audio_whose_place_is_taken_follows_and_the_next_pause_makes_up_for_it() -> None:
    messages = numbered(start(), media(0, A), media(0, B), media(20, C), media(200, D))
    samples, _, _ = play(messages)
    assert packets(samples) == [A, B, C, 0, 0, 0, 0, 0, 0, 0, D]


@pytest.mark.parametrize("seed", range(20))
def test_order_and_doubles_do_not_matter(seed: int) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    values = [A, B, C, D]
    tracks = ("inbound", "outbound")
    content = [media(20 * (i // 2), rng.choice(values), tracks[i % 2]) for i in range(60)]
    keys = {"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": "5"}}
    messages = numbered(start(*tracks), *content[:30], keys, *content[30:], STOP)
    first, *middle, last = messages
    shuffled = [m for _, m in sorted((i + rng.uniform(0, 4), m) for i, m in enumerate(middle))]
    for _ in range(5):
        at = rng.randrange(len(shuffled))
        shuffled.insert(at + rng.randint(1, 4), shuffled[at])
    assert shuffled != middle
    in_order, events, _ = play(messages)
    samples, shuffled_events, stream = play([first, *shuffled, last])
    assert samples == in_order
    assert shuffled_events == events
    assert stream.dropped == 5


def test_what_comes_too_late_is_dropped_and_counted() -> None:
    messages = numbered(start(), *(media(20 * i, A) for i in range(20)))
    late = messages.pop(3)
    samples, _, stream = play([*messages, late])
    assert packets(samples) == [A, A, 0] + [A] * 17
    assert stream.dropped == 1


KEYS = {"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": "1"}}
GREETING = {"event": "mark", "mark": {"name": "greeting"}}


def events_of(stream: TwilioStream, messages: list[str]) -> list[Any]:
    """The whole of it, with audio as the number of packets."""
    items = [item for message in messages for item in stream.receive(message)] + stream.finish()
    return [len(item) // (2 * PACKET) if isinstance(item, bytes) else item for item in items]


def test_what_is_held_back_at_the_end_is_told_in_its_place() -> None:
    """A packet never comes, and the line is gone before enough others came to give it up."""
    messages = numbered(start(), media(0, A), media(20, B), KEYS, media(40, C), GREETING, media(60, D))
    del messages[2]
    assert events_of(TwilioStream(), messages)[1:] == [1, Dtmf("1"), 2, Mark("greeting"), 1]


def test_one_that_is_held_back_and_wrong_does_not_take_the_others_along() -> None:
    wrong = {"event": "media", "media": {"payload": "*"}}
    messages = numbered(start(), media(0, A), media(20, B), KEYS, wrong, GREETING)
    late = messages.pop(2)
    assert events_of(TwilioStream(), messages)[1:] == [1, Dtmf("1"), Mark("greeting")]
    stream = TwilioStream()
    for message in messages:
        stream.receive(message)
    with pytest.raises(ProtocolError, match="base64"):
        stream.receive(late)
    assert [item for item in stream.finish() if not isinstance(item, bytes)] == [Dtmf("1")]


def test_keys_before_the_start() -> None:
    assert events_of(TwilioStream(), numbered(CONNECTED, KEYS, GREETING, start()))[:2] == [
        Dtmf("1"),
        Mark("greeting"),
    ]


@pytest.mark.parametrize("first", [1, 3, 48])
@pytest.mark.parametrize("again", [0, 1, 2, 30, 49])
@pytest.mark.parametrize("length", [2, 10, 50, 90, 150, 300])
def test_numbers_that_begin_again_lose_nothing_and_are_told(
    first: int, again: int, length: int, caplog: pytest.LogCaptureFixture
) -> None:
    """With timestamps that go on, as when a proxy in between is replaced."""

    def messages(number: int, content: list[dict[str, Any]]) -> list[str]:
        return [json.dumps(m | {"sequenceNumber": str(number + at)}) for at, m in enumerate(content)]

    one = messages(first, [start(), *(media(20 * i, A) for i in range(length))])
    two = messages(again, [media(20 * (length + i), B) for i in range(60)])
    samples, _, stream = play(one + two)
    assert packets(samples) == [A] * length + [B] * 60
    assert stream.dropped == 0
    lower = again <= first + length
    assert [record.getMessage() for record in caplog.records] == [
        f"the numbers of the messages begin again: {again} comes where {first + length + 1} was next"
    ] * lower


def test_one_number_for_all_of_them() -> None:
    messages = [json.dumps(m | {"sequenceNumber": "1"}) for m in [start(), *(media(20 * i, A) for i in range(50))]]
    samples, _, _ = play(messages)
    assert packets(samples) == [A] * 50


def test_what_is_dropped_is_told_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    messages = numbered(start(), *(media(20 * i, A) for i in range(20)))
    late = messages.pop(3)
    play([*messages, late, messages[-1], STOP_TEXT])
    assert [record.getMessage() for record in caplog.records] == [
        "2 message(s) of a call came twice or too late, and were dropped"
    ]


STOP_TEXT = json.dumps(STOP | {"sequenceNumber": "99"})


def test_keys_and_marks() -> None:
    keys = {"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": "#"}}
    mark = {"event": "mark", "mark": {"name": "greeting"}}
    _, events, _ = play(numbered(start(), keys, mark, {"event": "something-new"}, STOP, keys))
    assert events[1:] == [Dtmf("#"), Mark("greeting")]


def test_keys_behind_a_packet_that_never_comes() -> None:
    keys = {"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": "1"}}
    messages = numbered(start(), media(0, A), media(20, B), media(40, C), keys, STOP)
    del messages[2]
    samples, events, _ = play(messages)
    assert packets(samples) == [A, 0, C]
    assert events[1:] == [Dtmf("1")]


BAD: list[tuple[str, list[Any], int, str]] = [
    ("no JSON", ["{"], 1007, "not JSON: Expecting property name"),
    ("too deep", ["[" * 15_000], 1007, "not JSON: maximum recursion depth"),
    ("no object", ["[1]"], 1007, "not a JSON object but [1]: is this Twilio?"),
    ("binary", [b"\0"], 1003, "a binary message: Twilio Media Streams are text"),
    ("media first", [media(0)], 1002, "a media message before the start message"),
    ("two starts", [start(), start()], 1002, "a second start message"),
    ("encoding", [start(mediaFormat={"encoding": "audio/x-l16", "sampleRate": 16000})], 1003, "mediaFormat is {'enc"),
    ("no format", [start(mediaFormat=None)], 1003, "mediaFormat is None: it must be audio/x-mulaw, 8000 Hz"),
    ("tracks", [start("inbound", "sideways")], 1007, "tracks is ['inbound', 'sideways']: there are"),
    ("no tracks", [start(tracks=[])], 1007, "tracks is []: there are inbound and outbound"),
    ("no start", [{"event": "start"}], 1007, "a start message without start"),
    ("other track", [start(), media(0, track="outbound")], 1007, "media of track 'outbound': the start message named"),
    ("base64", [start(), {"event": "media", "media": {"payload": "no+Jh*aJjpz"}}], 1007, "is not base64"),
    ("base64 of another alphabet", [start(), {"event": "media", "media": {"payload": "é"}}], 1007, "is not base64"),
    (
        "no payload",
        [start(), {"event": "media", "media": {"payload": 5}}],
        1007,
        'a media message: "payload" must be of type str, not 5',
    ),
    ("no media", [start(), {"event": "media"}], 1007, "a media message without media"),
    ("no digit", [start(), {"event": "dtmf", "dtmf": {}}], 1007, "a dtmf message without digit"),
]


@pytest.mark.parametrize(("messages", "code", "line"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_what_twilio_would_not_send(messages: list[Any], code: int, line: str) -> None:
    stream = TwilioStream()
    *before, last = (message if isinstance(message, (str, bytes)) else json.dumps(message) for message in messages)
    for message in before:
        stream.receive(message)
    with pytest.raises(ProtocolError) as caught:
        stream.receive(last)
    assert caught.value.code == code
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_what_goes_back() -> None:
    assert json.loads(media_message(SID, b"\xff\x7f")) == {
        "event": "media",
        "streamSid": SID,
        "media": {"payload": "/38="},
    }
    assert json.loads(mark_message(SID, "hello")) == {"event": "mark", "streamSid": SID, "mark": {"name": "hello"}}
    assert json.loads(clear_message(SID)) == {"event": "clear", "streamSid": SID}


def test_mulaw_takes_the_nearest_value() -> None:
    pcm = np.append(np.arange(-32768, 32768, 11, dtype="<i2"), np.int16(32767))
    values = Decoder(AudioFormat("mulaw", 8000, 1)).feed(bytes(range(256)))[:, 0].astype(int)
    back = Decoder(AudioFormat("mulaw", 8000, 1)).feed(to_mulaw(pcm.tobytes()))[:, 0].astype(int)
    nearest = np.abs(pcm.astype(int)[:, None] - np.unique(values)[None, :]).min(axis=1)
    assert (np.abs(back - pcm) == nearest).all()
    assert to_mulaw(b"") == b""
