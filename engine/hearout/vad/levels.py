"""How loud a line is, and how loud its noise."""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort

__all__ = ["LineLevels"]


class LineLevels:
    """The levels of a line's last frames. All of them are energies: sums of the squares of a frame's samples.

    Args:
        samples: in a frame.
        frame_ms: how long that is, in milliseconds.

    Attributes:
        floor: the noise of the line.
        loudness: of recent speech.
        quiet: the last frame was hardly louder than the noise.
        nothing: less than one step of linear16: digital silence.
    """

    #: The noise floor is this quantile of the frame levels of the last `WINDOW` seconds: speech leaves
    #: more gaps than that, and a few lost frames do not pull it down as they would a minimum.
    FLOOR_QUANTILE = 0.1
    WINDOW = 2.0
    #: The loudness is this quantile of the same levels (a click is too short to reach it); its highest value
    #: counts, less `LOUDNESS_FALL` dB for each second since.
    LOUDNESS_QUANTILE = 0.9
    LOUDNESS_FALL = 1.0
    #: dB above the noise floor from which a sound is no silence, though it is no voice: a fading "s" lies 20 dB above
    #: it for 0.2 s and longer, after WebRTC's detector has ceased to hear it.
    QUIET_RANGE = 12.0

    def __init__(self, samples: int, frame_ms: int) -> None:
        self.floor = 0.0
        self.loudness = 0.0
        self.quiet = True
        self.nothing = float(samples)
        self._window = round(self.WINDOW * 1000 / frame_ms)  # frames
        self._count = 0
        # Arrays, not lists: hundreds of calls go over these fifty times a second, and must find them in few places.
        self._recent = array("d", bytes(8 * self._window))  # the levels of the window, each at its number modulo that
        self._sorted = array("d")  # the levels of the window, in order
        self._loudness_step = 10 ** (-self.LOUDNESS_FALL * frame_ms / 1000 / 10)
        self._quiet_range = 10 ** (self.QUIET_RANGE / 10)

    def follow(self, energy: float) -> None:
        """Take one more frame in."""
        ordered, place = self._sorted, self._count % self._window
        if self._count >= self._window:
            del ordered[bisect_left(ordered, self._recent[place])]
        self._recent[place] = energy
        self._count += 1
        insort(ordered, energy)
        loud = ordered[int(len(ordered) * self.LOUDNESS_QUANTILE)]
        self.loudness = max(self.loudness * self._loudness_step, loud)
        self.floor = ordered[int(len(ordered) * self.FLOOR_QUANTILE)]
        self.quiet = energy <= max(self.floor, self.nothing) * self._quiet_range
