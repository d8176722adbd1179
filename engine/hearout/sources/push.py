"""Audio that somebody else hands over, frame by frame, from callbacks of theirs."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncIterator, Callable

import trio

from hearout.audio import AudioFormat, Decoder, Resampler, working_rate
from hearout.errors import UsageError
from hearout.writing import shown

__all__ = ["PushSource", "pushed"]


def pushed(data: object) -> bytes:
    """The bytes of what was given to ``push``.

    Raises:
        UsageError: it has none, or they are numbers of another kind, such as the floats of many microphones.
    """
    try:
        view = memoryview(data)  # type: ignore[arg-type]
    except TypeError:
        raise UsageError(f"push takes bytes of audio, not {shown(data)}") from None
    if view.itemsize > 2 or view.format == "e":  # no encoding has larger samples
        raise UsageError(
            f"push takes bytes of audio, not an array of {view.itemsize * 8}-bit numbers; floats from -1 to 1 become "
            "linear16 by (32767 * samples).astype('<i2')"
        )
    return bytes(view)


class PushSource:
    """A source that is told its audio: `push` it as it comes, then `close`.

    Both return at once, and may be called from any code in the thread of the session: from a task of trio, or from
    tasks and callbacks of the asyncio loop that `hearout.aio` runs under. Pushing may begin before the session does.
    One serves one session.

    Args:
        format: what the bytes mean; brought to 8 or 16 kHz.
        limit: seconds of audio that may wait to be heard. A session in real time takes audio at once, so only one
            that does not run, or does not run in real time, ever leaves that much.

    Attributes:
        on_taken: called whenever the session has taken audio; for a producer that waits for room.
    """

    duration: float | None = None

    def __init__(self, format: AudioFormat | None = None, *, limit: float = 60.0) -> None:
        if format is not None and not isinstance(format, AudioFormat):
            raise UsageError(
                f"PushSource takes an AudioFormat, such as AudioFormat(sample_rate=8000), not {shown(format)}"
            )
        self.format = format = format or AudioFormat()
        self.sample_rate = working_rate(format.sample_rate)
        self.channels = format.channels
        self.limit = limit
        self.on_taken: Callable[[], object] | None = None
        self._as_is = format.encoding == "linear16" and format.sample_rate == self.sample_rate
        self._frame_bytes = format.frame_bytes
        self._decoder = Decoder(format)
        self._resampler = Resampler(format.sample_rate, self.sample_rate, format.channels)
        self._cut = False  # it comes in pieces that end inside a frame
        self._chunks: deque[bytes] = deque()
        self._held = 0  # bytes
        self._more = trio.Event()
        self._sink: Callable[[bytes], None] | None = None
        self._closed = False
        self._over = False  # a session has had it
        self._error: Exception | None = None
        self._thread: int | None = None

    @property
    def waiting(self) -> float:
        """Seconds of audio that were pushed and not taken yet."""
        return self._held / (2 * self.channels * self.sample_rate)

    @property
    def closed(self) -> bool:
        """No more audio is taken: after `close`, or because the session is over."""
        return self._closed

    def push(self, data: bytes | bytearray | memoryview) -> None:
        """Hand over audio, cut anywhere. Once the source is closed it is not heard.

        Raises:
            UsageError: more than ``limit`` waits already, and this is not heard; or this is another thread, or no
                bytes.
        """
        if self._closed:
            return
        self._check_thread("audio was pushed", "source.push, pcm")
        if self._held and self.waiting >= self.limit:
            raise UsageError(
                f"{self.waiting:.1f} s of pushed audio wait to be heard already: nobody listens, or not in real time; "
                "push slower, or raise the limit of PushSource"
            )
        self._accept(data)

    def _accept(self, data: bytes | bytearray | memoryview) -> None:
        """As `push` in the right thread, whatever waits: for who keeps to the limit before."""
        if not self._closed:
            self._hold(self._convert(data))

    def close(self, error: Exception | None = None) -> None:
        """There is no more audio. ``error``: why; the session raises it when the last words are in.

        Raises:
            UsageError: this is another thread.
        """
        if self._closed:
            return
        self._check_thread("the source was closed", "source.close")
        if not self._as_is:
            self._hold(self._resampler.feed(self._decoder.feed(b""), last=True).tobytes())
        try:
            self._decoder.finish("the pushed audio")
        except UsageError as odd:
            error = error or odd
        self._closed, self._error = True, error
        self._more.set()

    def _check_thread(self, what: str, call: str) -> None:
        if self._thread is not None and self._thread != threading.get_ident():
            raise UsageError(
                f"{what} from another thread than the session's; from there it takes "
                f"loop.call_soon_threadsafe({call}), trio.from_thread.run_sync, or a session of hearout.threads"
            )

    def _convert(self, data: bytes | bytearray | memoryview) -> bytes:
        pcm = pushed(data)
        if self._as_is and not self._cut and not len(pcm) % self._frame_bytes:
            return pcm
        self._cut = True
        return self._resampler.feed(self._decoder.feed(pcm)).tobytes()

    def pour_into(self, sink: Callable[[bytes], None]) -> None:
        """See `hearout.sources.base.Pours`."""
        self._begin()
        self._sink = sink
        while self._chunks and self._sink is not None:
            chunk = self._chunks.popleft()
            self._held -= len(chunk)
            self._pour(chunk)
        if self.on_taken is not None:
            self.on_taken()

    def _pour(self, pcm: bytes) -> None:
        assert self._sink is not None
        try:
            self._sink(pcm)
        except Exception as error:  # the session's own; it is no business of whoever has the audio
            self._sink = None
            self.close(error)

    def _hold(self, pcm: bytes) -> None:
        if pcm and self._sink is not None:
            self._pour(pcm)
        elif pcm:
            self._chunks.append(pcm)
            self._held += len(pcm)
            self._more.set()

    def _begin(self) -> None:
        if self._over:
            raise UsageError("this PushSource belongs to a session that is over: make one for each session")
        self._thread = threading.get_ident()

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._begin()
        return self

    async def __anext__(self) -> bytes:
        if self._chunks or self._closed:
            await trio.lowlevel.checkpoint()
        while not self._chunks:
            if self._closed:
                error, self._error = self._error, None
                raise error or StopAsyncIteration
            self._more = trio.Event()
            await self._more.wait()
        chunk = self._chunks.popleft()
        self._held -= len(chunk)
        if self.on_taken is not None:
            self.on_taken()
        return chunk

    async def aclose(self) -> None:
        """The session is over: what comes now is not kept."""
        self._closed, self._over, self._sink = True, True, None
        self._chunks.clear()
        self._held = 0
        if self.on_taken is not None:
            self.on_taken()
