"""Where utterances begin and how long the silence is, on the audio clock: what to decode, and what to skip."""

from __future__ import annotations

from collections import deque

import webrtcvad

from hearout.sttserver.recogniser.pcm import RATE

__all__ = ["FRAME_BYTES", "Segmenter"]

FRAME_BYTES = RATE // 50 * 2
"""One frame of the voice activity detector: 20 ms of linear16."""

# Mode 2 goes on saying "speech" for about this long after clean speech has ended, and so bridges the stops inside
# words. Its first frame of silence therefore is this late already.
_VAD_TAIL = 0.1
# Speech begins when this many of the last frames are speech. One alone is a click.
_ONSET, _ONSET_WINDOW = 3, 4
# Speech goes on after a pause shorter than this, in seconds; a longer one makes a new onset.
_HANGOVER = 0.2
# Audio decoded from before the onset, in frames: soft first sounds come before the detector's verdict.
_PRE_ROLL = 15


class Segmenter:
    """Picks the audio worth decoding out of one channel. Decoding silence is what makes a recogniser dear.

    Attributes:
        time: audio time in seconds of everything pushed so far.
        utterance: audio time at which the open utterance began, pre-roll included; None: none is open.
        onset: audio time at which speech began, if that became known with the last frame.
        silence: seconds since speech was last heard, as far as is known; 0.0 in the middle of speech.
    """

    def __init__(self) -> None:
        self._vad = webrtcvad.Vad(2)
        self._bytes = 0
        self._verdicts: deque[bool] = deque(maxlen=_ONSET_WINDOW)
        self._pre_roll: deque[bytes] = deque(maxlen=_PRE_ROLL)
        self._speaking = False
        self._speech_end = 0
        self.utterance: float | None = None
        self.onset: float | None = None

    @property
    def time(self) -> float:
        return self._bytes / (2 * RATE)

    @property
    def silence(self) -> float:
        gap = (self._bytes - self._speech_end) / (2 * RATE)
        return gap + _VAD_TAIL if gap else 0.0

    def push(self, frame: bytes) -> bytes:
        """Take the next frame and return what is to be decoded now, which may be nothing.

        A frame shorter than `FRAME_BYTES`, as a flush gives, is taken for what the one before it was.
        """
        if len(frame) == FRAME_BYTES:
            self._verdicts.append(self._vad.is_speech(frame, RATE))
        speech = bool(self._verdicts) and self._verdicts[-1]
        self._bytes += len(frame)
        self.onset = None
        if speech and (self._speaking or sum(self._verdicts) >= _ONSET):
            if not self._speaking:
                self.onset = max(0, self._bytes - _ONSET * FRAME_BYTES) / (2 * RATE)
            self._speaking = True
            self._speech_end = self._bytes
        elif self.silence >= _HANGOVER:
            self._speaking = False

        if self.utterance is not None:
            return frame
        self._pre_roll.append(frame)
        if not (speech and self._speaking):
            return b""
        pcm = b"".join(self._pre_roll)
        self._pre_roll.clear()
        self.utterance = (self._bytes - len(pcm)) / (2 * RATE)
        return pcm

    def end_utterance(self) -> None:
        """Whoever decodes has closed the utterance. Its audio never becomes the pre-roll of the next."""
        self.utterance = None
