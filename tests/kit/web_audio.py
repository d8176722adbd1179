"""For the tests of sources: audio in many forms, and a server on the web that does as its test says."""

from __future__ import annotations

import functools
import io
import queue
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import trio

from hearout.sources.http import HttpSettings, http_source
from tests.kit.paths import DATA, SAMPLES

CLIP = DATA / "two_sentences.flac"
ORDER = SAMPLES / "order.flac"
SENTENCES = ["I would like to cancel my appointment.", "Could you repeat that please?"]
RATE = 16_000
QUICK = HttpSettings(backoff=0.01)


@functools.cache
def speech(seconds: float = 2.0) -> np.ndarray:
    samples, rate = soundfile.read(ORDER, dtype="int16", frames=round(seconds * RATE))
    assert rate == RATE
    return samples


def encode(samples: np.ndarray, form: str, codec: str, rate: int, layout: str = "mono", **options: str) -> bytes:
    """``samples``, shape (frames,) or (frames, channels) at 16 kHz, as a file."""
    file = io.BytesIO()
    with av.open(file, "w", format=form, options=options) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=layout)
        frame.sample_rate = RATE
        resampler = av.AudioResampler(stream.format, layout, rate)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return file.getvalue()


#: By kind: container, codec, its rate, options.
KINDS: dict[str, tuple[str, str, int, dict[str, str]]] = {
    "mp3": ("mp3", "libmp3lame", 44_100, {}),
    "aac": ("adts", "aac", 44_100, {}),
    "opus": ("ogg", "libopus", 48_000, {}),
    "webm": ("webm", "libopus", 48_000, {}),
    "flac": ("flac", "flac", 16_000, {}),
    "wav": ("wav", "pcm_s16le", 8000, {}),
    "m4a": ("mp4", "aac", 44_100, {"movflags": "frag_keyframe+empty_moov"}),
}


@functools.cache
def sample(kind: str, seconds: float = 2.0) -> bytes:
    form, codec, rate, options = KINDS[kind]
    return encode(speech(seconds), form, codec, rate, **options)


def loudness(pcm: np.ndarray, rate: int) -> np.ndarray:
    """Of each 50 ms: what two recordings of the same speech have in common, whatever was done to them."""
    step = rate // 20
    levels: np.ndarray = np.sqrt(np.mean(pcm[: len(pcm) // step * step].reshape(-1, step).astype(float) ** 2, axis=1))
    return levels


def assert_same_speech(pcm: np.ndarray, rate: int, seconds: float = 2.0) -> None:
    assert len(pcm) / rate == pytest.approx(seconds, abs=0.1)
    ours, theirs = loudness(pcm, rate), loudness(speech(seconds), RATE)
    shortest = min(len(ours), len(theirs))
    # Codecs put up to 50 ms of silence in front.
    fits = [np.corrcoef(ours[lag:shortest], theirs[: shortest - lag])[0, 1] for lag in (0, 1)]
    assert max(fits) > 0.9


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    stream: trio.abc.Stream

    async def head(self, status: str = "200 OK", **headers: str | int) -> None:
        lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
        await self.stream.send_all("\r\n".join([*lines, "Connection: close", "", ""]).encode())

    async def whole(self, body: bytes, kind: str = "audio/mpeg", **headers: Any) -> None:
        await self.head(content_type=kind, content_length=len(body), **headers)
        await self.stream.send_all(body)

    async def chunk(self, data: bytes) -> None:
        await self.stream.send_all(b"%x\r\n%s\r\n" % (len(data), data))

    @property
    def start(self) -> int:
        """Where the wanted range begins."""
        return int(self.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))


class Web:
    """A server that answers as its test says, and remembers what it was asked."""

    def __init__(self, answer: Callable[[Request], Awaitable[None]]) -> None:
        self.requests: list[Request] = []
        self.url = ""
        self._answer = answer

    async def handle(self, stream: trio.abc.Stream) -> None:
        try:
            head = b""
            while b"\r\n\r\n" not in head:
                head += (data := await stream.receive_some())
                if not data:
                    return
            first, *lines = head.decode().split("\r\n\r\n")[0].split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            request = Request(first.split()[1], headers, stream)
            self.requests.append(request)
            await self._answer(request)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # whoever has heard enough hangs up
        finally:
            await trio.aclose_forcefully(stream)


@contextmanager
def web(answer: Callable[[Request], Awaitable[None]], context: ssl.SSLContext | None = None) -> Iterator[Web]:
    """In a thread of its own, on a port of 127.0.0.1; meanwhile no proxy is in the environment."""
    server = Web(answer)
    ready: queue.SimpleQueue[tuple[int, trio.lowlevel.TrioToken, trio.CancelScope]] = queue.SimpleQueue()

    async def handle(stream: trio.SocketStream) -> None:
        await server.handle(stream if context is None else trio.SSLStream(stream, context, server_side=True))

    async def serve() -> None:
        with trio.CancelScope() as scope:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            ready.put((listener.socket.getsockname()[1], trio.lowlevel.current_trio_token(), scope))
            await trio.serve_listeners(handle, [listener])

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    port, token, scope = ready.get(timeout=30)
    server.url = f"{'https' if context else 'http'}://127.0.0.1:{port}"
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
                patch.delenv(name, raising=False)
                patch.delenv(name.lower(), raising=False)
            yield server
    finally:
        token.run_sync_soon(scope.cancel)
        thread.join()


@dataclass
class Heard:
    pcm: np.ndarray
    rate: int
    channels: int
    duration: float | None
    error: Exception | None = None


def listen(url: str, settings: HttpSettings = QUICK, stop_after: float = float("inf")) -> Heard:
    """All there is behind ``url``, or so many seconds of it; an error that comes after audio is part of it."""

    async def run() -> Heard:
        async with http_source(url, settings) as source:
            heard, error, most = b"", None, stop_after * source.sample_rate * 2 * source.channels
            try:
                async for pcm in source:
                    assert pcm
                    assert not len(pcm) % (2 * source.channels)
                    heard += pcm
                    if len(heard) >= most:
                        break
            except Exception as exc:
                error = exc
            samples = np.frombuffer(heard, np.int16)
            return Heard(samples, source.sample_rate, source.channels, source.duration, error)

    return trio.run(run)


def refused(url: str, kind: type[Exception], settings: HttpSettings = QUICK) -> str:
    """The one line that says why."""
    with pytest.raises(kind) as caught:
        listen(url, settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)
