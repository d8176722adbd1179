"""Messages of a websocket out of its frames, however these are cut."""

from __future__ import annotations

import itertools
import struct
import tracemalloc
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage
from wsproto.frame_protocol import FrameProtocol

from hearout.link.messages import Messages
from hearout.transcribers.base import WireMessage
from tests.faults.server import frame

MORE, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MOST = 2**20

server = FrameProtocol(client=False, extensions=[])


def taken(chunks: Iterable[bytes]) -> tuple[list[WireMessage], bytes]:
    """The messages in ``chunks``, and what is left for trio-websocket."""
    messages, received = Messages(), list[WireMessage]()
    rest = b"".join([messages.take(chunk, received.append) for chunk in chunks])
    return received, rest


def events(data: bytes) -> tuple[list[WireMessage], list[object]]:
    """What wsproto alone makes of ``data``: whole messages; and pings, pongs and the code of the close."""
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(data)
    received, others = list[WireMessage](), list[object]()
    parts: list[Any] = []
    for event in client.events():
        if isinstance(event, CloseConnection):
            others.append(int(event.code))
        elif isinstance(event, TextMessage | BytesMessage):
            part: Any = event.data
            parts.append(part)
            if event.message_finished:
                received.append(part[:0].join(parts))
                parts = []
        else:
            others.append(event)
    return received, others


def cut(data: bytes, places: Iterable[int] | None) -> list[bytes]:
    """``data`` in pieces, some of them empty, or (None) in as many as a thousand."""
    if places is None:
        places = range(0, len(data), len(data) // 1000 + 1)
    ends = sorted(place % (len(data) + 1) for place in places)
    return [data[start:end] for start, end in itertools.pairwise([0, *ends, len(data)])]


PLACES = st.lists(st.integers(0, 2**18), max_size=12)
CUTS = PLACES | st.none()
# A byte or several for each character; and lengths on both sides of those where the header of a frame grows.
TEXTS = st.text(max_size=40) | st.text("aé€𝄞", max_size=40)
SIZES = st.sampled_from([125, 126, 127, 65_535, 65_536, 70_001])
MESSAGES = TEXTS | st.binary(max_size=40) | SIZES.map(lambda size: ("a€" * size)[:size]) | SIZES.map(bytes)
PAYLOADS = st.binary(max_size=125)
CONTROLS = st.lists(PAYLOADS.map(server.ping) | PAYLOADS.map(server.pong), max_size=2).map(b"".join)
CLOSES = st.sampled_from([None, 1000, 1001, 1011, 1013, 4000]).flatmap(
    lambda code: st.just(server.close()) if code is None else TEXTS.map(lambda reason: server.close(code, reason))
)


@dataclass
class Wire:
    """What a server sends, and what is to come of it."""

    data: bytes = b""
    messages: list[WireMessage] = field(default_factory=list)
    controls: bytes = b""

    def add_controls(self, frames: bytes) -> None:
        self.data += frames
        self.controls += frames


@st.composite
def wires(draw: st.DrawFn) -> Wire:
    wire = Wire()
    for message in draw(st.lists(MESSAGES, max_size=4)):
        wire.add_controls(draw(CONTROLS))
        if not (places := draw(PLACES)):
            wire.data += server.send_data(message, fin=True)
        else:
            *pieces, last = cut(message.encode() if isinstance(message, str) else message, places)
            opcode = TEXT if isinstance(message, str) else BINARY
            for piece in pieces:
                wire.data += frame(opcode, piece, final=False)  # wsproto would not cut a character in two
                opcode = MORE
                wire.add_controls(draw(CONTROLS))
            wire.data += frame(MORE, last)
        wire.messages.append(message)
    wire.add_controls(draw(CONTROLS))
    return wire


@given(wires(), CUTS, CLOSES | st.just(b""))
def test_messages_come_out_as_they_went_in_and_so_do_the_control_frames(
    wire: Wire, cuts: list[int] | None, close: bytes
) -> None:
    assert taken(cut(wire.data + close, cuts)) == (wire.messages, wire.controls + close)


@given(wires(), CUTS, CLOSES, st.binary(max_size=20), wires())
def test_after_the_close_nothing_is_taken(
    wire: Wire, cuts: list[int] | None, close: bytes, noise: bytes, more: Wire
) -> None:
    chunks = [*cut(wire.data + close + noise, cuts), more.data]
    assert taken(chunks) == (wire.messages, wire.controls + close)


@given(st.data(), wires(), CUTS)
def test_whatever_comes_is_taken_as_wsproto_would(data: st.DataObject, wire: Wire, cuts: list[int] | None) -> None:
    """Frames with some bytes changed: how they are cut makes no difference, and the code of the close is the same."""
    spoiled = bytearray(wire.data)
    for place in data.draw(st.lists(st.integers(0, 300), max_size=3)):
        if place < len(spoiled):
            spoiled[place] ^= data.draw(st.integers(1, 255))
    received, rest = taken(cut(bytes(spoiled), cuts))
    assert (received, events(rest)[1]) == events(bytes(spoiled))


# Broken rules


def closing(payload: bytes) -> bytes:
    return frame(CLOSE, payload)


MASKED = bytes([0x81, 0x83]) + bytes(4) + b"abc"
BROKEN = {
    "reserved bit 1": (1002, bytes([0xC1, 0])),
    "reserved bit 2": (1002, bytes([0xA1, 0])),
    "reserved bit 3": (1002, bytes([0x91, 0])),
    "reserved bit of a ping": (1002, bytes([0xC9, 0])),
    "reserved opcodes": (1002, frame(3, b"")),
    "reserved control opcode": (1002, frame(11, b"")),
    "masked": (1002, MASKED),
    "a length in two bytes that fits in one": (1002, struct.pack("!BBH", 0x81, 126, 125) + b"x" * 125),
    "a length in eight bytes that fits in two": (1002, struct.pack("!BBQ", 0x81, 127, 300) + b"x" * 300),
    "a length of 2^63": (1002, struct.pack("!BBQ", 0x81, 127, 2**63)),
    "a continuation of nothing": (1002, frame(MORE, b"x")),
    "a message within a message": (1002, frame(TEXT, b"x", final=False) + frame(TEXT, b"y")),
    "a ping in parts": (1002, frame(PING, b"x", final=False)),
    "a close in parts": (1002, frame(CLOSE, b"", final=False)),
    "a ping of 126 bytes": (1002, frame(PING, b"x" * 126)),
    "half a code": (1002, closing(b"\x03")),
    "code 999": (1002, closing(struct.pack("!H", 999))),
    "code 1004, reserved": (1002, closing(struct.pack("!H", 1004))),
    "code 1005, of no frame": (1002, closing(struct.pack("!H", 1005))),
    "code 1006, of no frame": (1002, closing(struct.pack("!H", 1006))),
    "code 2999, of nobody": (1002, closing(struct.pack("!H", 2999))),
    "code 5000": (1002, closing(struct.pack("!H", 5000))),
    "a reason that is no text": (1007, closing(struct.pack("!H", 1000) + b"\xff")),
    "text that is none": (1007, frame(TEXT, b"\xff")),
    "text that ends within a character": (1007, frame(TEXT, "é".encode()[:1])),
    "text that is none in its second part": (1007, frame(TEXT, b"\xc3", final=False) + frame(MORE, b"\x28")),
    "a surrogate": (1007, frame(TEXT, b"\xed\xa0\x80")),
}


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "byte by byte"])
@pytest.mark.parametrize(("code", "broken"), BROKEN.values(), ids=BROKEN)
def test_who_breaks_the_rules_closes_with_the_code_for_that(code: int, broken: bytes, whole: bool) -> None:
    before, after = frame(TEXT, b"before") + frame(PING, b"p"), frame(TEXT, b"after") + frame(PING, b"q")
    data = before + broken
    received, rest = taken([*([data] if whole else cut(data, None)), after])
    assert received == ["before"]
    ping, close = events(rest)[1]
    assert ping == events(frame(PING, b"p"))[1][0]
    assert close == code


# Too much


def fragments(opcode: int, payload: bytes, size: int) -> bytes:
    pieces = [payload[start : start + size] for start in range(0, len(payload), size)]
    parts = [frame(MORE if i else opcode, piece, final=False) for i, piece in enumerate(pieces)]
    return b"".join(parts) + frame(MORE, b"")


@pytest.mark.parametrize("split", [0, 1, 7], ids=["one frame", "fragments", "fragments and chunks"])
@pytest.mark.parametrize(("opcode", "unit"), [(TEXT, "a"), (TEXT, "é"), (BINARY, "a")])
def test_a_message_of_more_than_2_to_the_20_is_too_big(opcode: int, unit: str, split: int) -> None:
    def outcome(length: int) -> tuple[list[WireMessage], list[object]]:
        payload = (unit * length).encode()
        data = fragments(opcode, payload, 100_001) if split else frame(opcode, payload)
        received, rest = taken([*cut(data, range(0, len(data), len(data) // split + 1) if split else []), late])
        return received, events(rest)[1]

    late = frame(TEXT, b"late")
    largest = unit * MOST if opcode == TEXT else (unit * MOST).encode()
    assert outcome(MOST) == ([largest, "late"], [])
    assert outcome(MOST + 1) == ([], [1009])


def test_it_is_too_big_as_soon_as_there_is_too_much_of_it() -> None:
    received, rest = taken([struct.pack("!BBQ", 0x82, 127, 2**40), *17 * [bytes(2**16)]])
    assert (received, events(rest)[1]) == ([], [1009])


def test_what_is_too_big_counts_for_each_message() -> None:
    half = frame(BINARY, bytes(MOST // 2))
    received, rest = taken(5 * [half])
    assert (len(received), rest) == (5, b"")


@pytest.mark.parametrize("end", [frame(CLOSE, b""), frame(MORE, b"")], ids=["a close", "an error"])
def test_what_comes_after_the_end_takes_no_memory(end: bytes) -> None:
    messages, received = Messages(), list[WireMessage]()
    tracemalloc.start()
    try:
        for data in (end, *20 * [bytes(100_000)]):
            messages.take(data, received.append)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 200_000


def test_empty_fragments_take_no_memory() -> None:
    messages, received = Messages(), list[WireMessage]()
    messages.take(frame(TEXT, b"a", final=False), received.append)
    many = 500 * frame(MORE, b"", final=False)
    tracemalloc.start()
    try:
        for _ in range(60):
            messages.take(many, received.append)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 50_000  # of 30,000 fragments
    messages.take(frame(MORE, b"z"), received.append)
    assert received == ["az"]


# The receiver


def test_what_the_receiver_raises_comes_out() -> None:
    received: list[WireMessage] = []

    def receiver(message: WireMessage) -> None:
        received.append(message)
        if message == "two":
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        Messages().take(b"".join(frame(TEXT, word) for word in (b"one", b"two", b"three")), receiver)
    assert received == ["one", "two"]
