"""Servers on the web that send what was not asked for, and numbers without end: one line, or the audio."""

from __future__ import annotations

import gzip
import ssl
import threading
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from hearout.cli.main import main
from hearout.errors import HearoutError, SessionError, UsageError
from hearout.sources.address import without_secrets
from hearout.sources.http import HttpSettings
from tests.kit.web_audio import RATE, Request, assert_same_speech, listen, refused, sample, web

DIGITS = "9" * 5000


@cache
def bomb(pack: Callable[[bytes], bytes]) -> bytes:
    return pack(bytes(50_000_000))


@pytest.mark.parametrize(
    "coding", ["gzip", "GZIP", "x-gzip", "deflate", "br", "zstd", "compress", "identity, gzip", "?"]
)
def test_codings_that_were_not_asked_for(coding: str) -> None:
    """A gzip of 389 kB was 199 MB."""
    packed = bomb(zlib.compress if coding == "deflate" else gzip.compress)

    async def answer(request: Request) -> None:
        assert request.headers["accept-encoding"] == "identity"
        await request.whole(packed, content_encoding=coding)

    with web(answer) as server:
        line = refused(server.url, UsageError)
    assert line == (
        f"{server.url}: the server packs the audio ({coding}), although it was asked not to; check the address"
    )


def test_no_coding_said_in_words() -> None:
    async def answer(request: Request) -> None:
        await request.whole(sample("mp3"), content_encoding=" Identity ,")

    with web(answer) as server:
        assert_same_speech(listen(server.url).pcm, RATE)


def test_a_coding_in_the_rest_of_a_file() -> None:
    data = sample("mp3")

    async def answer(request: Request) -> None:
        if request.start:
            rest = gzip.compress(data[request.start :])
            where = f"bytes {request.start}-{len(data) - 1}/{len(data)}"
            await request.head("206 Partial Content", content_encoding="gzip", content_range=where)
            await request.stream.send_all(rest)
        else:
            await request.head(content_type="audio/mpeg", content_length=len(data))
            await request.stream.send_all(data[: len(data) // 2])

    with web(answer) as server:
        heard = listen(server.url)
    assert isinstance(heard.error, SessionError)
    assert "packs the audio (gzip)" in str(heard.error)
    assert 0.8 < len(heard.pcm) / RATE < 1.2


NUMBERS = [DIGITS, "-1", "1e9", "0x10", "٣", "1" * 19, "0" * 5000, "", " 7 ", "1, 2", "18446744073709551616"]


@pytest.mark.parametrize("name", ["icy-metaint", "content-length", "content-range", "retry-after", "icy-br", "age"])
@pytest.mark.parametrize("value", NUMBERS, ids=range(len(NUMBERS)))
def test_numbers_in_headers_are_no_traceback(name: str, value: str) -> None:
    async def answer(request: Request) -> None:
        headers: dict[str, Any] = {"content_type": "audio/mpeg", name.replace("-", "_"): value}
        if len(server.requests) > 1:
            await request.head("404 Not Found")
        else:
            await request.head("200 OK", **headers)
            await request.stream.send_all(sample("mp3"))

    try:
        with web(answer) as server:
            heard = listen(server.url, HttpSettings(backoff=0.01, give_up=0.05))
    except HearoutError as error:
        told = error
    else:
        if heard.error is None:
            return
        told = heard.error if isinstance(heard.error, HearoutError) else pytest.fail(repr(heard.error))
    assert str(told).isprintable()
    assert len(str(told)) < 500


def test_a_title_interval_that_nobody_can_mean_is_none() -> None:
    async def answer(request: Request) -> None:
        await request.head(content_type="audio/mpeg", content_length=len(sample("mp3")), icy_metaint=DIGITS)
        await request.stream.send_all(sample("mp3"))

    with web(answer) as server:
        heard = listen(server.url)
    assert heard.error is None
    assert_same_speech(heard.pcm, RATE)


@pytest.mark.parametrize("status", ["100 Continue", "102 Processing", "103 Early Hints"])
def test_answers_before_the_answer(status: str) -> None:
    async def answer(request: Request) -> None:
        for _ in range(3):
            await request.stream.send_all(f"HTTP/1.1 {status}\r\nLink: <a>; rel=b\r\n\r\n".encode())
        await request.whole(sample("mp3"))

    with web(answer) as server:
        assert_same_speech(listen(server.url).pcm, RATE)


def test_the_authorities_are_not_read_on_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes 25 to 50 ms, in which nobody else is served."""
    make, threads = ssl.create_default_context, []

    def watched() -> ssl.SSLContext:
        threads.append(threading.current_thread())
        return make()

    async def answer(request: Request) -> None:
        await request.whole(sample("mp3"))

    with web(answer) as server:
        monkeypatch.setattr(ssl, "create_default_context", watched)
        listen(server.url)
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


@pytest.mark.parametrize("part", ["reason", "kind", "coding", "location"])
def test_long_words_of_a_server_are_cut(part: str) -> None:
    long = "x" * 9000

    async def answer(request: Request) -> None:
        match part:
            case "reason":
                await request.head(f"404 {long}")
            case "kind":
                await request.whole(b"", kind=long)
            case "coding":
                await request.whole(b"", content_encoding=long)
            case "location":
                await request.head("302 Found", location=f"{long}:{long}")

    with web(answer) as server:
        assert len(refused(server.url, UsageError)) < 500


ODD = ["\n", "\r", "\t", "\x0b", "\x0c", "\x1b", "\x1c", "\x7f", "\x85", "\u2028", "\u2029", "\u202e"]


@pytest.mark.parametrize("odd", ODD, ids=ascii)
@pytest.mark.parametrize("form", ["http://127.0.0.1{}:9/a", "http://{}/a", "http://127.0.0.1:9/{}b", "http://u{}@[x/"])
def test_an_address_is_one_line(form: str, odd: str, capsys: pytest.CaptureFixture[str]) -> None:
    url = form.format(odd)
    assert without_secrets(url).isprintable()
    assert main(["listen", url]) in (1, 2)
    err = capsys.readouterr().err
    assert err.endswith("\n")
    assert err[:-1].isprintable()
    assert err.startswith("hearout: http:")
