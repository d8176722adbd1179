"""A trace played to clients, in place of what a recogniser hears. Pure, and the same for every protocol.

What the trace received at ``t`` is sent when the connection has been given audio up to ``t``; the n-th Finalize
is answered by the n-th answer of the trace. After the end of the audio, or when it stalled, time goes on without
it. Where the trace lost its link the connection breaks, and the next one goes on from there: its audio begins where
the trace says that the new link was fed from.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Sequence

from hearout.sttserver.steps import Drop, Refused, Send, Step
from hearout.traces.records import AudioEnd, AudioStall, LinkChange, Received, Record, Reply, Trace

__all__ = ["Play", "Script"]

_ROUNDING = 1e-6  # seconds

_Cue = Received | LinkChange | AudioEnd | AudioStall


class Script:
    """Hands every connection its part of the trace.

    After a break that the trace asked for, the next connection goes on; any other begins at the beginning.
    """

    def __init__(self, trace: Trace) -> None:
        self.name = trace.name
        self.stt = trace.header.stt
        self.channels = trace.header.channels
        self._trace = trace
        self._rest: Play | None = None

    def open(self) -> Play:
        """The part of a connection that is being opened.

        Raises:
            Refused: the trace lost its link for good.
        """
        play, self._rest = self._rest or Play(self, self._trace.records, self._trace.answers), None
        if play.over:
            self._rest = play
            raise Refused(503, "SERVICE_UNAVAILABLE", "the link of the script is lost for good; start the server again")
        return play

    def has(self, kind: str, field: str = "type") -> bool:
        """Is there a message of this kind in it, which its ``field`` tells?"""
        return any(isinstance(r, Received) and r.message.get(field) == kind for r in self._trace.records)

    def broken(self, rest: Play) -> None:
        """A connection broke; ``rest`` is what comes after it."""
        self._rest = rest


class Play:
    """The part of one connection.

    Attributes:
        over: there is nothing to come, not even a connection.
    """

    def __init__(
        self, script: Script, records: Sequence[Record], answers: Sequence[Reply], *, broken: bool = False
    ) -> None:
        self._script = script
        self._cues = deque(record for record in records if isinstance(record, _Cue))
        self._answers = deque(answers)
        self._due: deque[tuple[float, Reply]] = deque()  # answers on their way
        self._origin = 0.0  # of this connection, in audio time of the trace
        self._audio = 0.0  # received on this connection, seconds
        self._waited = 0.0  # seconds without audio since
        self._quiet = False  # the trace says that there is no audio: time goes on by itself
        # A link that is lost before anything was received had not come up yet: this connection is the next one.
        while self._cues and (broken or isinstance(self._cues[0], LinkChange)):
            cue = self._cues.popleft()
            if isinstance(cue, LinkChange):
                broken = cue.state == "lost"
                self._origin = cue.audio or 0.0
        self.over = broken

    @property
    def patience(self) -> float:
        """Seconds of quiet from now until something is due; infinite when nothing is."""
        due = self._due[0][0] if self._due else math.inf
        if self._quiet and self._cues:
            due = min(due, self._time(self._cues[0]))
        return max(0.0, due - self._audio - self._waited)

    @property
    def spent(self) -> bool:
        """There is nothing more to be said."""
        return not (self._cues or self._answers or self._due)

    def hear(self, audio: float) -> list[Step]:
        """The connection has been given audio up to ``audio`` seconds."""
        if self._quiet:  # it stalled; what the trace says next was as much later as the audio is now
            self._quiet = False
            self._origin += self._waited
        self._audio, self._waited = audio, 0.0
        return self._play()

    def wait(self, seconds: float) -> list[Step]:
        """Nothing came for so long: answers do not wait for audio."""
        self._waited += seconds
        return self._play()

    def finalize(self) -> list[Step]:
        """The client asks for final results."""
        if self._answers:
            answer = self._answers.popleft()
            self._due.append((self._audio + self._waited + answer.after, answer))
            self._due = deque(sorted(self._due, key=lambda entry: entry[0]))
        return self._play()

    def tail(self) -> list[Step]:
        """All the rest, up to where the link breaks."""
        self._audio = math.inf
        return self._play()

    def _play(self) -> list[Step]:
        now = self._audio + self._waited + _ROUNDING
        heard = now if self._quiet else self._audio + _ROUNDING
        steps: list[Step] = []
        while True:
            cue = self._cues[0] if self._cues else None
            if cue is not None and self._time(cue) > heard:
                cue = None
            if self._due and self._due[0][0] <= now and (cue is None or self._due[0][0] < self._time(cue)):
                steps.append(_send(self._due.popleft()[1]))
            elif cue is None:
                return steps
            elif isinstance(cue, LinkChange):
                self._script.broken(Play(self._script, self._cues, self._answers, broken=True))
                return [*steps, Drop()]
            else:
                self._cues.popleft()
                if isinstance(cue, Received):
                    steps.append(_send(cue))
                else:
                    self._quiet, heard = True, now

    def _time(self, cue: _Cue) -> float:
        """When it is due, in audio time of this connection."""
        # A stall is noticed some time after the last audio.
        if isinstance(cue, AudioStall) and cue.heard is not None:
            return cue.heard - self._origin
        return cue.t - self._origin


def _send(item: Received | Reply) -> Send:
    return Send(json.dumps(item.message, ensure_ascii=False))
