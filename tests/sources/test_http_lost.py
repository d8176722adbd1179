"""Connections to the web that are lost: files that go on, and radio, which is connected to again."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import trio

from hearout.errors import SessionError, UsageError
from hearout.sources.http import HttpSettings, http_source
from hearout.sources.http_stream import IcyFilter
from tests.kit.web_audio import RATE, Request, assert_same_speech, encode, listen, refused, sample, speech, web

# -- lost connections ---------------------------------------------------------------------------------------------


def test_a_file_that_breaks_off_goes_on_from_there(caplog: pytest.LogCaptureFixture) -> None:
    data = sample("mp3")
    pieces = len(data) // 4

    async def answer(request: Request) -> None:
        start = request.start
        where = {"content_range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        status = "206 Partial Content" if start else "200 OK"
        left = len(data) - start
        await request.head(status, content_type="audio/mpeg", content_length=left, etag='"v1"', **where)
        await request.stream.send_all(data[start : start + pieces])

    with web(answer) as server:
        whole = listen(server.url)
    assert whole.error is None
    assert_same_speech(whole.pcm, RATE)
    assert [request.start for request in server.requests] == [0, *(pieces * n for n in range(1, len(server.requests)))]
    assert len(server.requests) in (4, 5)
    assert server.requests[1].headers["if-range"] == '"v1"'
    assert f"after {pieces} of {len(data)} bytes: going on from there" in caplog.text


@pytest.mark.parametrize(
    ("again", "complaint"),
    [
        ("200 OK", "connection lost (it broke off); the server cannot go on from where it broke off"),
        ("404 Not Found", "HTTP 404 Not Found"),
        ("503 Service Unavailable", "HTTP 503 Service Unavailable; gave up after "),
    ],
)
def test_a_file_that_cannot_go_on_is_heard_as_far_as_it_came(again: str, complaint: str) -> None:
    data = sample("mp3")

    async def answer(request: Request) -> None:
        await request.head(again if request.start else "200 OK", content_type="audio/mpeg", content_length=len(data))
        await request.stream.send_all(data[: len(data) // 2])

    with web(answer) as server:
        heard = listen(server.url, HttpSettings(backoff=0.01, give_up=0.1))
    assert isinstance(heard.error, SessionError)
    assert complaint in str(heard.error)
    assert 0.8 < len(heard.pcm) / RATE < 1.2


def test_chunks_that_break_off_have_no_length_to_go_on_with() -> None:
    async def answer(request: Request) -> None:
        await request.head(content_type="audio/mpeg", transfer_encoding="chunked")
        await request.chunk(sample("mp3")[: len(sample("mp3")) // 2])

    with web(answer) as server:
        heard = listen(server.url)
    assert str(heard.error) == f"{server.url}: connection lost (it broke off)"
    assert 0.8 < len(heard.pcm) / RATE < 1.2
    assert len(server.requests) == 1


def test_a_server_that_says_nothing_is_given_up() -> None:
    data = sample("mp3")[:12_000]  # not made while somebody waits for it

    async def answer(request: Request) -> None:
        if request.path == "/mute":
            await trio.sleep_forever()
        await request.head(content_type="audio/mpeg", transfer_encoding="chunked")
        await request.chunk(data)
        await trio.sleep_forever()

    impatient = HttpSettings(silence=0.3)
    with web(answer) as server:
        assert refused(server.url + "/mute", SessionError, impatient).endswith("not a byte for 0.3 s")
        assert str(listen(server.url, impatient).error).endswith("connection lost (not a byte for 0.3 s)")


def test_nobody_there() -> None:
    async def answer(_: Request) -> None:
        pass

    with web(answer) as server:
        assert refused(server.url, SessionError).endswith(": cannot be reached: the server broke the rules of HTTP")
    for bad in ("http://127.0.0.1:port/", "http:///a.mp3"):
        assert refused(bad, UsageError) == f"{bad}: not a valid address, or it redirects to one that is none"
    with web(answer):
        assert refused(server.url, SessionError) == f"{server.url}: cannot be reached: Connection refused"


def test_a_proxy_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://me:secret@127.0.0.1:70")
    complaint = refused("http://127.0.0.1:9/", UsageError)
    assert complaint.startswith("the proxy in the environment cannot be used: unset HTTP_PROXY")
    assert not logging.getLogger("httpx").filters


def test_a_server_that_is_older_than_its_protocol() -> None:
    async def answer(request: Request) -> None:
        await request.stream.send_all(b"ICY 200 OK\r\nicy-name: Oldies\r\n\r\n" + sample("mp3"))

    with web(answer) as server:
        assert refused(server.url, SessionError).endswith("an old SHOUTcast server, which does not speak HTTP")


def test_waiting_for_the_server_can_be_cancelled() -> None:
    async def answer(request: Request) -> None:
        await request.head(content_type="audio/mpeg", content_length=10**6)
        await request.stream.send_all(sample("mp3"))
        await trio.sleep_forever()

    async def run() -> bool:
        async with http_source(server.url) as source:
            with trio.move_on_after(0.3) as scope:
                async for _ in source:
                    pass
            return scope.cancelled_caught

    with web(answer) as server:
        assert trio.run(run)


# -- broadcasts ---------------------------------------------------------------------------------------------------


def titled(audio: bytes, interval: int) -> bytes:
    """With a title after every ``interval`` bytes, some of them empty."""
    out = bytearray()
    for number, start in enumerate(range(0, len(audio), interval)):
        out += audio[start : start + interval]
        if len(audio) >= start + interval:
            title = b"" if number % 3 else b"StreamTitle='news %d';" % number
            out += bytes([-(-len(title) // 16)]) + title.ljust(-(-len(title) // 16) * 16, b"\0")
    return bytes(out)


@pytest.mark.parametrize("size", [1, 7, 5000])
def test_titles_are_taken_out_however_the_stream_is_cut(size: int) -> None:
    audio = np.random.default_rng(0).bytes(5000)
    mixed = titled(audio, 300)
    icy = IcyFilter(300)
    assert b"".join(icy.feed(mixed[start : start + size]) for start in range(0, len(mixed), size)) == audio


def test_a_broadcast_is_mixed_to_one_channel_and_reconnected(caplog: pytest.LogCaptureFixture) -> None:
    stereo = encode(np.stack([speech(), speech()], axis=1), "mp3", "libmp3lame", 44_100, "stereo")

    async def answer(request: Request) -> None:
        if len(server.requests) == 2:  # the station itself is away
            await request.head("404 Not Found")
            return
        await request.head(content_type="audio/mpeg", icy_name="News", icy_metaint=1000)
        await request.stream.send_all(titled(stereo, 1000))

    with web(answer) as server:
        heard = listen(server.url + "/live", stop_after=5.0)
    assert (heard.channels, heard.rate, heard.error) == (1, RATE, None)
    assert len(server.requests) == 4
    assert_same_speech(heard.pcm[: 2 * RATE], RATE)
    assert "/live: connection lost, trying again" in caplog.text
    assert "/live: on air again; 0." in caplog.text


def test_a_broadcast_may_come_back_in_another_form() -> None:
    forms = [encode(speech(), "ogg", "libopus", 48_000), encode(speech(), "mp3", "libmp3lame", 8000)]

    async def answer(request: Request) -> None:
        await request.head(content_type="audio/mpeg", icy_br=64)
        await request.stream.send_all(forms[len(server.requests) % 2])

    with web(answer) as server:
        heard = listen(server.url, stop_after=3.9)
    assert heard.error is None
    assert heard.rate == 8000  # as it began, so it goes on
    first = len(heard.pcm) - round(1.9 * 8000)
    assert_same_speech(heard.pcm[: 2 * 8000], 8000)
    assert np.abs(heard.pcm[first:].astype(int)).mean() > 0.5 * np.abs(heard.pcm[:first].astype(int)).mean()


def test_a_broadcast_that_stays_away_is_given_up_after_what_was_heard() -> None:
    async def answer(request: Request) -> None:
        if len(server.requests) > 1:
            await request.head("404 Not Found")
            return
        await request.head(content_type="audio/mpeg", icy_name="News")
        await request.stream.send_all(sample("mp3"))

    with web(answer) as server:
        heard = listen(server.url, HttpSettings(backoff=0.01, give_up=0.1))
    assert "HTTP 404 Not Found" in str(heard.error)
    assert "gave up after" in str(heard.error)
    assert_same_speech(heard.pcm, RATE)
