"""Audio from the web: files as they come, redirects, TLS, and what is wrong with addresses and answers."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import trio
import trustme

from hearout import Deepgram
from hearout.cli.main import main
from hearout.errors import SessionError, UsageError
from hearout.sources.address import without_secrets
from hearout.sources.http import http_source
from tests.kit.commandline import KEY, Outcome, Stage, playing, serving
from tests.kit.paths import DOCS
from tests.kit.serving import serving as hearing
from tests.kit.web_audio import (
    CLIP,
    KINDS,
    ORDER,
    QUICK,
    RATE,
    SENTENCES,
    Request,
    assert_same_speech,
    encode,
    listen,
    refused,
    sample,
    speech,
    web,
)

# -- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_is_decoded_as_it_comes(kind: str) -> None:
    """In chunks, without a length: nobody could seek in it."""

    async def answer(request: Request) -> None:
        await request.head(content_type="application/octet-stream", transfer_encoding="chunked")
        data = sample(kind)
        for start in range(0, len(data), 1777):
            await request.chunk(data[start : start + 1777])
        await request.chunk(b"")

    with web(answer) as server:
        heard = listen(server.url + "/file")
    assert (heard.rate, heard.channels, heard.error) == (8000 if kind == "wav" else RATE, 1, None)
    assert_same_speech(heard.pcm, heard.rate)


def test_each_channel_of_a_file_is_a_speaker() -> None:
    stereo = np.stack([np.zeros_like(speech()), speech()], axis=1)

    async def answer(request: Request) -> None:
        await request.whole(encode(stereo, "webm", "libopus", 48_000, "stereo"), "video/webm")

    with web(answer) as server:
        heard = listen(server.url)
    assert heard.channels == 2
    assert_same_speech(heard.pcm[1::2], RATE)
    assert np.abs(heard.pcm[0::2]).mean() < 0.05 * np.abs(heard.pcm[1::2]).mean()


def test_a_source_takes_no_more_than_is_wanted() -> None:
    sent = 0

    async def answer(request: Request) -> None:
        nonlocal sent
        await request.head(content_type="audio/aac", content_length=2**40)
        while True:
            await request.stream.send_all(sample("aac"))
            sent += len(sample("aac"))

    async def run() -> int:
        async with http_source(server.url, QUICK) as source:
            for _ in range(3):
                await anext(source)
            before = -1
            while before != sent:  # until the buffers of the operating system are full
                before = sent
                await trio.sleep(0.1)
            for _ in range(3):
                assert len(await anext(source)) < 2**16
            return before

    with web(answer) as server:
        assert trio.run(run) < 2**25


# -- redirects ----------------------------------------------------------------------------------------------------


def test_redirects_are_followed_and_headers_go_along() -> None:
    async def answer(request: Request) -> None:
        if request.path == "/old?token=abc":
            await request.head("302 Found", location="/new?signature=def")
        else:
            await request.whole(sample("mp3"))

    with web(answer) as server:
        assert_same_speech(listen(server.url.replace("//", "//me:pass%20word@") + "/old?token=abc").pcm, RATE)
    assert [request.path for request in server.requests] == ["/old?token=abc", "/new?signature=def"]
    for request in server.requests:
        assert request.headers["authorization"] == "Basic bWU6cGFzcyB3b3Jk"
        assert "icy-metadata" not in request.headers


def test_a_login_does_not_go_to_another_server() -> None:
    async def give(request: Request) -> None:
        await request.whole(sample("mp3"))

    async def redirect(request: Request) -> None:
        await request.head("301 Moved", location=other.url + "/file")

    with web(give) as other, web(redirect) as server:
        listen(server.url.replace("//", "//me:secret@"))
    assert "authorization" in server.requests[0].headers
    assert "authorization" not in other.requests[0].headers


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("/again", "redirected more than 5 times"),
        ("file:///etc/passwd", "redirects to file:, which is not followed"),
    ],
)
def test_redirects_that_lead_nowhere(target: str, complaint: str) -> None:
    async def answer(request: Request) -> None:
        await request.head("307 Temporary Redirect", location=target)

    with web(answer) as server:
        assert refused(server.url + "/a?b=c", UsageError) == f"{server.url}/a?...: {complaint}"


# -- TLS ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls() -> tuple[trustme.CA, ssl.SSLContext]:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return authority, context


def test_https_with_a_certificate_of_a_known_authority(
    tls: tuple[trustme.CA, ssl.SSLContext], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, context = tls
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", os.fspath(tmp_path / "ca.pem"))

    async def answer(request: Request) -> None:
        if request.path == "/plain":
            await request.head("302 Found", location="http://127.0.0.1:9/file?key=secret")
        else:
            await request.whole(sample("mp3"))

    with web(answer, context) as server:
        assert_same_speech(listen(server.url).pcm, RATE)
        assert refused(server.url + "/plain", UsageError) == (
            f"{server.url}/plain: redirects to an address without encryption, http://127.0.0.1:9/file?..."
        )


def test_a_certificate_that_nobody_vouches_for_is_refused(tls: tuple[trustme.CA, ssl.SSLContext]) -> None:
    async def answer(request: Request) -> None:
        raise AssertionError("nothing may be asked of it")

    with web(answer, tls[1]) as server:
        complaint = refused(server.url + "/?key=secret", UsageError)
        assert complaint.startswith(f"{server.url}/?...: its certificate is not to be trusted: ")
        assert "secret" not in complaint
        assert not server.requests


# -- what is no audio ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "complaint"),
    [
        ("401 Unauthorized", UsageError, "HTTP 401 Unauthorized; a login can be part of the address"),
        ("404 Not Found", UsageError, "HTTP 404 Not Found; check the address"),
        ("500 Internal Server Error", SessionError, "HTTP 500 Internal Server Error"),
        ("503 Service Unavailable", SessionError, "HTTP 503 Service Unavailable"),
    ],
)
def test_a_refusal_is_one_line(status: str, kind: type[Exception], complaint: str) -> None:
    async def answer(request: Request) -> None:
        await request.head(status, content_length=0)

    with web(answer) as server:
        assert refused(server.url + "/x", kind).startswith(f"{server.url}/x: the server answers {complaint}")


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("text/html; charset=utf-8", "text/html, not audio; check the address"),
        ("application/json", "application/json, not audio; check the address"),
        ("audio/x-mpegurl", r"a playlist (audio/x-mpegurl), no audio: give the address of a stream that is in it"),
    ],
)
def test_what_says_it_is_no_audio(kind: str, complaint: str) -> None:
    async def answer(request: Request) -> None:
        await request.whole(b"<html>", kind)

    with web(answer) as server:
        assert refused(server.url, UsageError) == f"{server.url}: {complaint}"


def picture() -> bytes:
    """A video without a sound."""
    file = io.BytesIO()
    with av.open(file, "w", format="webm") as container:
        stream = container.add_stream("libvpx", rate=10)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        for _ in range(3):
            frame = av.VideoFrame(16, 16, "yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def test_a_header_without_an_end_is_given_up() -> None:
    async def answer(request: Request) -> None:
        await request.head(content_type="audio/wav", icy_name="endless")
        await request.stream.send_all(sample("wav")[:36])
        while True:
            await request.stream.send_all(bytes(2**20))

    with web(answer) as server:
        assert "not audio that can be decoded" in refused(server.url, UsageError)


NO_AUDIO: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "not audio that can be decoded (it is empty)"),
    "noise": (lambda: np.random.default_rng(0).bytes(100_000), "not audio that can be decoded (Invalid data"),
    "text": (lambda: b"hello there\n" * 1000, "not audio that can be decoded (Invalid data"),
    "a list of files": (
        lambda: f"ffconcat version 1.0\nfile {ORDER}\n".encode(),
        "not audio that can be decoded (Invalid argument)",
    ),
    "pictures": (picture, "there is no audio in it"),
    "an index at the end": (
        lambda: encode(speech(8.0), "mp4", "aac", 44_100),
        "cannot be decoded as it arrives, most likely because its index",
    ),
}


@pytest.mark.parametrize("case", NO_AUDIO)
def test_what_cannot_be_decoded_is_one_line(case: str) -> None:
    make, complaint = NO_AUDIO[case]

    async def answer(request: Request) -> None:
        await request.whole(make())

    with web(answer) as server:
        assert refused(server.url + "/x", UsageError).startswith(f"{server.url}/x: {complaint}")


def test_damage_in_the_middle_costs_what_is_damaged(caplog: pytest.LogCaptureFixture) -> None:
    damaged = bytearray(sample("mp3"))
    damaged[8000:9000] = np.random.default_rng(0).bytes(1000)

    async def answer(request: Request) -> None:
        await request.whole(bytes(damaged))

    with web(answer) as server:
        heard = listen(server.url)
    assert heard.error is None
    assert 1.5 < len(heard.pcm) / RATE < 2.1
    assert "damaged: " in caplog.text


# -- secrets ------------------------------------------------------------------------------------------------------


def test_what_may_be_secret_in_an_address_is_not_shown() -> None:
    assert without_secrets("https://me:pw@example.org:8443/a/b.mp3?sig=x#t=1") == "https://example.org:8443/a/b.mp3?..."
    assert without_secrets("http://example.org") == "http://example.org"
    assert without_secrets("http://me:pw@[bad?x=y") == "http://..."


def test_no_secret_gets_into_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def answer(request: Request) -> None:
        if request.path.startswith("/a"):
            await request.head("302 Found", location="/b?sig=topsecret")
        else:
            await request.whole(sample("mp3"))

    with web(answer) as server:
        listen(server.url.replace("//", "//me:topsecret@") + "/a?key=topsecret")
    assert "HTTP Request: GET http://127.0.0.1" in caplog.text  # httpx did tell
    assert "topsecret" not in caplog.text
    assert not logging.getLogger("httpx").filters


@pytest.mark.parametrize("place", ["reason", "content-type", "content-encoding"])
def test_a_server_that_repeats_the_secrets_of_an_address(place: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its words come in errors and logs, without what it repeats: whole, cut, or with its escapes undone."""
    caplog.set_level(logging.INFO)
    said = "me:top/secret topsecret-signature topsecret-sig t%2Fsecret"

    async def answer(request: Request) -> None:
        if place == "reason":
            await request.head(f"403 {said}")
        else:
            await request.head("200 OK", **{place: said})

    with web(answer) as server:
        url = server.url.replace("//", "//me:top%2Fsecret@") + "/a?sig=topsecret-signature&t=t%252Fsecret"
        complaint = refused(url, UsageError)
    for text in (complaint, caplog.text):
        assert "secret" not in text
    assert "***" in complaint


# -- on the command line ------------------------------------------------------------------------------------------


def test_listening_to_an_address_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, _ = soundfile.read(CLIP, dtype="int16")

    async def answer(request: Request) -> None:
        await request.whole(encode(clip, "mp3", "libmp3lame", 44_100))

    (tmp_path / "trace").touch()
    with web(answer) as server, hearing() as recogniser:
        url = f"{server.url.replace('//', f'//me:{KEY}@')}/clip.mp3?key={KEY}"
        stt = ["--stt", "deepgram", "--url", f"ws://{recogniser}/v1/listen"]
        status = main(["listen", url, *stt, "--speed", "max", "--record", str(tmp_path / "trace")])
    done = Outcome(status, *capsys.readouterr())
    assert (done.status, done.texts) == (0, SENTENCES)
    trace = (tmp_path / "trace").read_text()
    assert KEY not in trace
    assert json.loads(trace.splitlines()[0])["source"] == f"hearout listen {server.url}/clip.mp3?..."


@pytest.mark.parametrize(("status", "exits"), [("404 Not Found", 2), ("503 Service Unavailable", 1)])
def test_an_address_that_does_not_work(capsys: pytest.CaptureFixture[str], status: str, exits: int) -> None:
    async def answer(request: Request) -> None:
        await request.head(status)

    with web(answer) as server:
        assert main(["listen", f"{server.url}/gone?key={KEY}"]) == exits
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"hearout: {server.url}/gone?...: the server answers HTTP {status}")


def test_the_example_of_the_documentation() -> None:
    page = (DOCS / "sources.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    namespace: dict[str, Any] = {}
    exec(compile(example, "docs/sources.md", "exec"), namespace)

    async def answer(request: Request) -> None:
        await request.whole(sample("webm"), "video/webm")

    async def play(stage: Stage) -> None:
        await stage.hear(1.9)
        await stage.say("a large coffee", 0.5, 1.5)
        await stage.end()

    with web(answer) as server, serving(playing(play)) as options:
        assert trio.run(namespace["turns_of"], server.url, Deepgram(KEY, options[-1])) == ["a large coffee"]
