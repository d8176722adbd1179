"""The bytes behind an http or https address: redirects, drops with resume, ICY metadata; one line for what is wrong."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import trio

from hearout.backoff import Backoff, may_pass
from hearout.errors import HearoutError, SessionError, UsageError, reason_of, untrusted
from hearout.link.secrets import without
from hearout.sources.address import secrets_in, without_secrets
from hearout.writing import printable

__all__ = ["HttpSettings", "HttpStream", "Outages", "open_http_stream"]

_log = logging.getLogger(__name__)

_HEADERS = {
    "Accept": "audio/*, video/*;q=0.8, */*;q=0.5",
    "Accept-Encoding": "identity",  # offsets are those of the file, and audio is compressed already
    "User-Agent": "hearout",
}
# No Icy-MetaData: 1 among them: titles between the audio are of no use here.

_PLAYLISTS = ("mpegurl", "scpls", "pls+xml", "dash+xml", "x-ms-asf-ref", "xspf")
_CONTAINERS = ("audio/", "video/", "application/ogg", "application/mp4", "application/x-matroska", "application/x-ogg")
_UNSPECIFIC = ("", "application/octet-stream", "binary/octet-stream", "application/force-download")
_MOST_DIGITS = 18  # bytes that fit into 63 bits, as every length of a file does


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Patience with a server. Seconds.

    Attributes:
        connect: most time for a connection.
        silence: so long without a byte, while one is waited for, is a lost connection.
        give_up: an outage that lasts longer is the end.
        backoff: the first pause between two attempts; each is twice as long as the one before.
        backoff_cap: the longest.
        redirects: how many are followed.
    """

    connect: float = 10.0
    silence: float = 20.0
    give_up: float = 60.0
    backoff: float = 0.5
    backoff_cap: float = 8.0
    redirects: int = 5


class Outages:
    """The outages of one source: how long to wait before each attempt, and when to give up."""

    def __init__(self, settings: HttpSettings) -> None:
        self._give_up = settings.give_up
        self._backoff = Backoff(settings.backoff, settings.backoff_cap)

    def over(self) -> None:
        """Audio comes again."""
        self._backoff.end()

    @property
    def lasting(self) -> float:
        """Seconds since the outage began; 0 when there is none."""
        return self._backoff.lasted(trio.current_time())

    async def wait(self, error: Exception) -> None:
        """Until the next attempt after ``error``.

        Raises:
            SessionError: there have been enough.
        """
        self._backoff.begin(trio.current_time())
        pause = self._backoff.pause(trio.current_time(), self._give_up)
        if pause is None:
            raise SessionError(f"{error}; gave up after {self.lasting:.0f} s") from None
        await trio.sleep(pause)


class HttpStream:
    """Reads what the server sends when it is wanted: TCP makes a fast server wait, and a packet is all that waits here.

    A file that breaks off goes on from there, when its length is known and the server can (``Range``). A broadcast
    (an answer without a length, with the headers of Icecast and SHOUTcast) just ends: `reopen` it.

    Attributes:
        name: the address without user, password and query, for messages.
        broadcast: it has no end of its own.
    """

    def __init__(self, client: httpx.AsyncClient, url: str, settings: HttpSettings, logged: _Masked) -> None:
        self.name = without_secrets(url)
        self.broadcast = False
        self._client = client
        self._url = url
        self._secrets = secrets_in(url)
        self._settings = settings
        self._logged = logged
        self._outages = Outages(settings)
        self._response: httpx.Response | None = None
        self._body: AsyncIterator[bytes] | None = None
        self._length: int | None = None
        self._unchanged = ""  # what must be the same of a file that goes on
        self._position = 0  # bytes received
        self._icy = IcyFilter(0)
        self._ready = b""

    async def reopen(self) -> None:
        """Ask for the whole thing, from the start.

        Raises:
            UsageError: the address leads to no audio.
            SessionError: the server cannot be reached, or fails.
        """
        await self.aclose()
        response = await self._request()
        try:
            self._check_content(response.headers.get("content-type", "").partition(";")[0])
        except UsageError:
            await response.aclose()
            raise
        headers = response.headers
        self._length = _number(headers.get("content-length"))
        self.broadcast = self._length is None and any(name.startswith(("icy-", "ice-")) for name in headers)
        etag = headers.get("etag", "")
        self._unchanged = etag if etag.startswith('"') else headers.get("last-modified", "")
        self._icy = IcyFilter(_number(headers.get("icy-metaint")) or 0)
        self._position, self._ready = 0, b""
        self._take(response)

    async def receive_some(self, max_bytes: int) -> bytes:
        """At least one byte and at most ``max_bytes``; none at the end, or when a broadcast breaks off.

        Raises:
            SessionError: the connection is lost, and the rest cannot be had.
        """
        await trio.lowlevel.checkpoint()
        while not self._ready and self._body is not None:
            try:
                chunk = await anext(self._body)
            except StopAsyncIteration:
                await self.aclose()
            except httpx.RequestError as error:
                await self._go_on(error)
            else:
                self._position += len(chunk)
                self._outages.over()
                self._ready = self._icy.feed(chunk)
        data, self._ready = self._ready[:max_bytes], self._ready[max_bytes:]
        return data

    async def aclose(self) -> None:
        """Hang up."""
        body, self._body = self._body, None
        response, self._response = self._response, None
        if body is not None:
            # The body is some generators of httpx inside each other. Closing it ends the outermost and leaves the rest
            # to the garbage collector, of which trio complains; a cancelled read ends all of them.
            with trio.CancelScope() as scope, suppress(httpx.RequestError):
                scope.cancel()
                async for _ in body:
                    pass
        if response is not None:
            await response.aclose()

    async def _go_on(self, error: Exception) -> None:
        """After a lost connection: take the rest from another one."""
        await self.aclose()
        lost: HearoutError = SessionError(f"{self.name}: connection lost ({self._explain(error)})")
        if self.broadcast:
            return
        if self._length is None:
            raise lost from None
        if not self._outages.lasting:
            _log.warning("%s after %d of %d bytes: going on from there", lost, self._position, self._length)
        while self._body is None:
            await self._outages.wait(lost)
            try:
                response = await self._request(self._position)
            except UsageError as refused:
                raise SessionError(str(refused)) from None
            except SessionError as again:
                lost = again
                continue
            if not self._goes_on(response):
                await response.aclose()
                raise SessionError(f"{lost}; the server cannot go on from where it broke off")
            self._take(response)

    def _goes_on(self, response: httpx.Response) -> bool:
        if response.status_code == 206:
            given: str = response.headers.get("content-range", "")
            return given.startswith(f"bytes {self._position}-")
        return not self._position

    def _take(self, response: httpx.Response) -> None:
        self._response = response
        self._body = response.aiter_raw()

    async def _request(self, start: int = 0) -> httpx.Response:
        headers = dict(_HEADERS)
        if start:
            headers["Range"] = f"bytes={start}-"
            if self._unchanged:
                headers["If-Range"] = self._unchanged
        self._logged.urls.clear()
        try:
            request = self._client.build_request("GET", self._url, headers=headers)
            for _ in range(self._settings.redirects + 1):
                self._logged.urls.add(str(request.url))
                response = await self._client.send(request, stream=True)
                if response.next_request is None:
                    return await self._accepted(response)
                await response.aclose()
                request = self._redirected(request, response.next_request)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise UsageError(f"{self.name}: not a valid address, or it redirects to one that is none") from None
        except httpx.RequestError as error:
            if (refused := untrusted(_cause(error))) is not None:
                raise UsageError(
                    f"{self.name}: its certificate is not to be trusted: {refused.verify_message}"
                ) from None
            raise SessionError(f"{self.name}: cannot be reached: {self._explain(error)}") from None
        raise UsageError(f"{self.name}: redirected more than {self._settings.redirects} times")

    def _redirected(self, request: httpx.Request, target: httpx.Request) -> httpx.Request:
        if target.url.scheme not in ("http", "https"):
            raise UsageError(f"{self.name}: redirects to {self._said(target.url.scheme)}:, which is not followed")
        if request.url.scheme == "https" and target.url.scheme == "http":
            named = without_secrets(str(target.url))
            raise UsageError(f"{self.name}: redirects to an address without encryption, {named}")
        return target

    async def _accepted(self, response: httpx.Response) -> httpx.Response:
        status = response.status_code
        if status in (200, 206):
            coding = response.headers.get("content-encoding", "")
            if all(name.strip().lower() in ("", "identity") for name in coding.split(",")):
                return response
            await response.aclose()
            packs = f"the server packs the audio ({self._said(coding)}), although it was asked not to"
            raise UsageError(f"{self.name}: {packs}; check the address")
        await response.aclose()
        said = f"{self.name}: the server answers HTTP {status} {self._said(response.reason_phrase)}".rstrip()
        if status in (401, 403):
            login = "a login can be part of the address, https://USER:PASSWORD@HOST"
            raise UsageError(f"{said}; {'check user and password' if urlsplit(self._url).username else login}")
        if not may_pass(status):
            raise UsageError(f"{said}; check the address")
        raise SessionError(said)

    def _said(self, text: str) -> str:
        return printable(without(text, self._secrets), 80)

    def _check_content(self, kind: str) -> None:
        kind = self._said(kind).strip().lower()
        if any(playlist in kind for playlist in _PLAYLISTS):
            raise UsageError(f"{self.name}: a playlist ({kind}), no audio: give the address of a stream that is in it")
        if kind not in _UNSPECIFIC and not kind.startswith(_CONTAINERS):
            raise UsageError(f"{self.name}: {kind}, not audio; check the address")

    def _explain(self, error: Exception) -> str:
        if isinstance(error, httpx.ConnectTimeout):
            return f"no connection within {self._settings.connect:g} s"
        if isinstance(error, httpx.TimeoutException):
            return f"not a byte for {self._settings.silence:g} s"
        if isinstance(error, httpx.RemoteProtocolError):
            if "ICY" in str(error):
                return "an old SHOUTcast server, which does not speak HTTP"
            return "it broke off" if self._position or self._response else "the server broke the rules of HTTP"
        return reason_of(_cause(error))


class IcyFilter:
    """Takes titles out of a stream that has them although nobody asked: a block after every ``interval`` bytes."""

    def __init__(self, interval: int) -> None:
        self._interval = interval  # 0: there are none
        self._audio = interval  # bytes until the next block
        self._title = 0  # bytes of a block still to come

    def feed(self, data: bytes) -> bytes:
        """The audio in it."""
        if not self._interval:
            return data
        audio = bytearray()
        while data:
            if self._title:
                skipped = min(self._title, len(data))
                self._title -= skipped
                data = data[skipped:]
            elif self._audio:
                audio += data[: self._audio]
                taken = min(self._audio, len(data))
                self._audio -= taken
                data = data[taken:]
            else:
                self._title, self._audio = 16 * data[0], self._interval
                data = data[1:]
        return bytes(audio)


class _Masked(logging.Filter):
    """httpx logs every address it asks for, with the query, and the reason in the answer: ours are masked there."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(self._masked(arg) for arg in record.args)
        return True

    def _masked(self, arg: Any) -> Any:
        if str(arg) in self.urls:
            return without_secrets(str(arg))
        if isinstance(arg, str):  # the reason in the answer
            return without(arg, [secret for url in self.urls for secret in secrets_in(url)])
        return arg


@asynccontextmanager
async def open_http_stream(url: str, settings: HttpSettings | None = None) -> AsyncIterator[HttpStream]:
    """Connect, for the length of a block. Certificates are verified, always.

    Raises:
        UsageError: the address leads to no audio.
        SessionError: the server cannot be reached, or fails.
    """
    settings = settings or HttpSettings()
    timeout = httpx.Timeout(settings.silence, connect=settings.connect)
    masked = _Masked()
    logger = logging.getLogger("httpx")
    logger.addFilter(masked)
    try:
        # Reading all authorities takes 25 to 50 ms, in which no other session would be served.
        context = await trio.to_thread.run_sync(ssl.create_default_context)
        try:
            client = httpx.AsyncClient(verify=context, timeout=timeout)
        except (ValueError, ImportError):
            raise UsageError(
                "the proxy in the environment cannot be used: unset HTTP_PROXY, HTTPS_PROXY and ALL_PROXY, or for "
                "SOCKS pip install 'httpx[socks]'"
            ) from None
        async with client:
            stream = HttpStream(client, url, settings, masked)
            try:
                await stream.reopen()
                yield stream
            finally:
                await stream.aclose()
    finally:
        logger.removeFilter(masked)


def _cause(error: BaseException) -> BaseException:
    """What the HTTP libraries made theirs of; httpcore hides it (``from None``)."""
    while type(error).__module__.startswith("http") and (inner := error.__cause__ or error.__context__):
        error = inner
    return error


def _number(text: str | None) -> int | None:
    """A number of bytes; None when it says nothing of use."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None
