"""Voice activity detection: PCM in, speech start and stop out, on the audio clock.

Two parts. A *detector* says of one short frame whether it is speech; `WebRtcDetector` is the one here, and
anything with the shape of `VoiceDetector` can take its place. A `SpeechGate` smooths those verdicts into edges.
Both are functions of the samples alone: no clock, and the same samples give the same edges however they are cut.

Every number below was chosen on the benchmark: ``python -m benchmarks.vad``.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import webrtcvad

from hearout.audio import FULL_SCALE, dbfs
from hearout.errors import UsageError

__all__ = ["SpeechEdge", "SpeechGate", "VoiceDetector", "WebRtcDetector"]


class VoiceDetector(Protocol):
    """Says of one frame after another whether it is speech. May remember the frames before.

    One that can may have an attribute ``quiet``: the last frame was hardly louder than the noise of the line. Else any
    frame that is no speech is taken for quiet.
    """

    @property
    def frame_ms(self) -> int:
        """The length of a frame in milliseconds."""

    @property
    def tail(self) -> float:
        """For how long the verdict has lately been outlasting speech, in seconds. Taken off to date the end."""

    def is_speech(self, frame: bytes) -> bool:
        """The verdict on the next ``frame_ms`` of linear16 mono."""


class WebRtcDetector:
    """WebRTC's voice activity detector, behind a gain stage that keeps the noise of the line down.

    WebRTC's detector judges by absolute level: steady noise at -25 dBFS is "speech" for ever, at -35 dBFS it
    never is. So the gain stage follows the noise floor, and where that is above ``noise_target`` turns the signal
    down until it is not. It never turns up: speech at -45 dBFS is still heard, and more gain would also bring
    up the echo of the agent and the people next door. Because of these a frame far below the loudness of recent
    speech is not speech, whatever WebRTC's detector says: in a telephone call with cross-talk at -55 dBFS this took
    8 of 10 false starts away.

    Args:
        sample_rate: 8000, 16000, 32000 or 48000 Hz.
        aggressiveness: 0 (hears speech in everything) to 3 (misses the most, above all on quiet lines).
        frame_ms: 10, 20 or 30.
        noise_target: the level in dBFS to which noise is turned down: well below -35, because real noise moves.
            None: no gain.

    Raises:
        UsageError: a parameter that WebRTC's detector does not know.
    """

    #: By aggressiveness: seconds for which the verdict outlasts clean speech at -22 dBFS (median).
    TAILS = (0.15, 0.15, 0.10, 0.07)
    #: The noise floor is this quantile of the frame levels of the last `FLOOR_WINDOW` seconds: speech leaves
    #: more gaps than that, and a few lost frames do not pull it down as they would a minimum.
    FLOOR_QUANTILE = 0.1
    FLOOR_WINDOW = 2.0
    #: The loudness is this quantile of the same levels (a click is too short to reach it); its highest value
    #: counts, less `LOUDNESS_FALL` dB for each second since. `SPEECH_RANGE` dB below that speech ends.
    LOUDNESS_QUANTILE = 0.9
    LOUDNESS_FALL = 1.0
    SPEECH_RANGE = 35.0
    #: dB above the noise floor from which a sound is no silence, though it is no voice: a fading "s" lies 20 dB above
    #: it for 0.2 s and longer, after WebRTC's detector has ceased to hear it.
    QUIET_RANGE = 12.0
    #: On any line the detector takes its first 80-100 ms for speech. Hearing its first frame for this long
    #: beforehand (seconds) cures that. The price: 6 % more missed in the first 0.2 s when that is speech.
    WARM_UP = 0.2

    def __init__(
        self,
        sample_rate: int,
        aggressiveness: int = 2,
        frame_ms: int = 20,
        *,
        noise_target: float | None = -42.0,
    ) -> None:
        if sample_rate not in (8000, 16000, 32000, 48000):
            raise UsageError(f"voice detection at {sample_rate} Hz: WebRTC's works at 8000, 16000, 32000, 48000 Hz")
        if aggressiveness not in (0, 1, 2, 3):
            raise UsageError(f"aggressiveness {aggressiveness} of the voice detection: it must be 0, 1, 2 or 3")
        if frame_ms not in (10, 20, 30):
            raise UsageError(f"frames of {frame_ms} ms for the voice detection: they must be of 10, 20 or 30 ms")
        self._sample_rate = sample_rate
        self._frame_ms = frame_ms
        self._vad = webrtcvad.Vad(aggressiveness)
        self._clean_tail = self.TAILS[aggressiveness]
        self._tail = 0.0
        self._warm = False
        self._speech = False
        # Levels are energies: the sum of the squares of a frame's samples.
        samples = sample_rate * frame_ms // 1000
        self._nothing = float(samples)  # less than one step of linear16: digital silence
        self._target = math.inf
        if noise_target is not None:
            self._target = (FULL_SCALE * 10 ** (noise_target / 20)) ** 2 * samples
        self._window = round(self.FLOOR_WINDOW * 1000 / frame_ms)  # frames
        self._count = 0
        # Arrays, not lists: hundreds of calls go over these fifty times a second, and must find them in few places.
        self._recent = array("d", bytes(8 * self._window))  # the levels of the window, each at its number modulo that
        self._sorted = array("d")  # the levels of the window, in order
        self._loudness = 0.0
        self._loudness_step = 10 ** (-self.LOUDNESS_FALL * frame_ms / 1000 / 10)
        self._range = 10 ** (-self.SPEECH_RANGE / 10)
        self._quiet_range = 10 ** (self.QUIET_RANGE / 10)
        self.quiet = True

    @property
    def frame_ms(self) -> int:
        return self._frame_ms

    @property
    def tail(self) -> float:
        """Seconds, for the last end of speech: 0 where that was not left to WebRTC's detector, or was in noise."""
        return self._tail

    def is_speech(self, frame: bytes) -> bool:
        samples = np.frombuffer(frame, np.int16).astype(np.float64)
        energy = float(samples.dot(samples))  # exact: integers, and far fewer than 2**53
        floor = self._follow(energy)
        self.quiet = energy <= max(floor, self._nothing) * self._quiet_range
        tail = 0.0
        if energy < self._nothing:
            # Lost frames, not a quiet room. The detector must not learn that this is what silence sounds
            # like, or noise is speech to it afterwards.
            speech = False
        else:
            if floor > self._target:
                frame = (samples * math.sqrt(self._target / floor)).astype(np.int16).tobytes()
            else:
                tail = self._clean_tail  # measured: in noise there is none
            speech = self._ask(frame)
            if speech and energy < self._loudness * self._range:
                speech, tail = False, 0.0
        if self._speech and not speech:
            self._tail = tail
        self._speech = speech
        return speech

    def _ask(self, frame: bytes) -> bool:
        if not self._warm:
            self._warm = True
            for _ in range(round(self.WARM_UP * 1000 / self._frame_ms)):
                self._vad.is_speech(frame, self._sample_rate)
        return self._vad.is_speech(frame, self._sample_rate)

    def _follow(self, energy: float) -> float:
        """Take one more frame into the levels of the line; gives the noise floor."""
        ordered, place = self._sorted, self._count % self._window
        if self._count >= self._window:
            del ordered[bisect_left(ordered, self._recent[place])]
        self._recent[place] = energy
        self._count += 1
        insort(ordered, energy)
        loud = ordered[int(len(ordered) * self.LOUDNESS_QUANTILE)]
        self._loudness = max(self._loudness * self._loudness_step, loud)
        return ordered[int(len(ordered) * self.FLOOR_QUANTILE)]


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
