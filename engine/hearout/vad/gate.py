"""One channel's edges of speech, out of a detector's verdicts on its frames."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal

from hearout.audio import dbfs
from hearout.vad.base import VoiceDetector

__all__ = ["SpeechEdge", "SpeechGate"]


@dataclass(frozen=True, slots=True)
class SpeechEdge:
    """Speech begins or ends; or, between a stop and a start, a sound may be the beginning of speech ("maybe"); or,
    between a start and a stop, a silence may be its end ("pause").

    Attributes:
        audio: audio time in seconds, dated back to the real onset or end.
    """

    kind: Literal["start", "stop", "maybe", "pause"]
    audio: float


class SpeechGate:
    """One channel's edges of speech: starts and stops, strictly in turn, in order of time; suspicions before starts.

    Args:
        detector: judges the frames; one of its own for each gate.
        sample_rate: of the PCM to be fed, in Hz.
        onset: seconds of speech within ``onset_window`` that make a start, dated to the first of these frames.
            A click makes the detector say "speech" for about 0.08 s.
        onset_window: seconds.
        hangover: seconds after the end of speech (so dated) at which its stop is noticed. Pauses shorter than
            this do not show. It costs nothing while it is below the Finalize delay of the policy.
        suspicion: seconds of speech within ``onset_window`` that make a suspicion ("maybe"), once for each such sound;
            0: none. On the samples, a telephone call and other recordings a start followed 200 of 240 of them, 0.06 s
            later, and 198 of 201 starts had one; in the silences of the call 7 a minute were wrong.
        pause: seconds without speech that make a pause as soon as it is quiet, once for each silence; 0: none.
    """

    def __init__(
        self,
        detector: VoiceDetector,
        sample_rate: int,
        *,
        onset: float = 0.1,
        onset_window: float = 0.12,
        hangover: float = 0.2,
        suspicion: float = 0.04,
        pause: float = 0.1,
    ) -> None:
        frame = detector.frame_ms / 1000
        self._detector = detector
        self._sample_rate = sample_rate
        self._frame_size = sample_rate * detector.frame_ms // 1000  # samples
        self._onset_frames = max(1, round(onset / frame))
        self._window_frames = max(self._onset_frames, round(onset_window / frame))
        self._suspicion_frames = max(1, round(suspicion / frame)) if suspicion > 0 else self._onset_frames
        self._hangover = hangover
        self._pause = pause or math.inf
        self._paused = False  # it was told of
        self._rest = b""  # fed, but less than a frame
        self._frame = b""
        self._frames = 0
        self._hits: deque[int] = deque()  # speech frames within the onset window, while not speaking
        self._suspected = False  # they were told of
        self._start = 0.0
        self._last = 0.0  # end of the last speech frame
        self._end = 0.0  # end of the last speech frame, without the tail
        self.speaking = False

    @property
    def heard(self) -> float:
        """Seconds of audio fed so far."""
        return self._frames * self._frame_size / self._sample_rate + len(self._rest) / 2 / self._sample_rate

    @property
    def level(self) -> float:
        """Level of the last whole frame in dBFS, for meters; -inf before the first one and in digital silence."""
        return dbfs(self._frame)

    def feed(self, pcm: bytes) -> list[SpeechEdge]:
        """Hear the next samples (linear16 mono, any number of them) and give the edges noticed in them."""
        data = self._rest + pcm if self._rest else pcm
        size = 2 * self._frame_size
        edges = []
        position = 0
        for position in range(size, len(data) + 1, size):
            self._frame = data[position - size : position]
            edge = self._judge(self._detector.is_speech(self._frame))
            if edge is not None:
                edges.append(edge)
        self._rest = data[position:]
        return edges

    def flush(self) -> list[SpeechEdge]:
        """No audio will come any more, or none for a while: the stop of speech that is still going on, if any."""
        return [self._stop()] if self.speaking else []

    def _judge(self, speech: bool) -> SpeechEdge | None:
        index = self._frames
        self._frames += 1
        now = self._frames * self._frame_size / self._sample_rate
        if self.speaking:
            if speech:
                self._last = self._end = now
                self._paused = False
            else:
                self._end = max(self._start, self._last - self._detector.tail)
                # Half a millisecond for the rounding of the times: frames are 10 ms and longer.
                if now - self._end > self._hangover - 0.0005:
                    return self._stop()
                if now - self._end > self._pause - 0.0005 and not self._paused and self._quiet:
                    self._paused = True
                    return SpeechEdge("pause", self._end)
        elif speech:
            hits = self._hits
            while hits and hits[0] <= index - self._window_frames:
                hits.popleft()
            if len(hits) < self._suspicion_frames:
                self._suspected = False
            hits.append(index)
            if len(hits) == self._onset_frames:
                self.speaking, self._paused = True, False
                self._start = hits[0] * self._frame_size / self._sample_rate
                self._last = self._end = now
                hits.clear()
                return SpeechEdge("start", self._start)
            if len(hits) >= self._suspicion_frames and not self._suspected:
                self._suspected = True
                return SpeechEdge("maybe", hits[0] * self._frame_size / self._sample_rate)
        return None

    @property
    def _quiet(self) -> bool:
        return getattr(self._detector, "quiet", True)

    def _stop(self) -> SpeechEdge:
        self.speaking = False
        return SpeechEdge("stop", self._end)
