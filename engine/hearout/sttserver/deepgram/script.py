"""``/v1/listen`` by a script: commands, errors and the end are Deepgram's, the results are the trace's."""

from __future__ import annotations

from collections.abc import Sequence

from hearout.sttserver.deepgram.connection import V1Connection
from hearout.sttserver.deepgram.options import V1Options
from hearout.sttserver.script import Script
from hearout.sttserver.steps import Ask, HeardWord, Refused, Step

__all__ = ["V1Script"]


class V1Script(V1Connection):
    """One connection that a script answers. The other arguments are those of `V1Connection`.

    Raises:
        Refused: the client wants other channels than the script has, or the script has no more for it.
    """

    channels = 0

    def __init__(
        self,
        script: Script,
        options: V1Options,
        request_id: str,
        created: str,
        *,
        idle_timeout: float | None = None,
    ) -> None:
        super().__init__(options, request_id, created, idle_timeout=idle_timeout)
        if options.recognisers != script.channels:
            wanted = "multichannel=false" if script.channels == 1 else f"channels={script.channels}&multichannel=true"
            raise Refused(400, "INVALID_QUERY_PARAMETER", f"the script has {script.channels} channel(s): use {wanted}")
        self._play = script.open()

    @property
    def idle_timeout(self) -> float:
        return min(self._play.patience, super().idle_timeout)

    def wait(self, seconds: float) -> list[Step]:
        return self._play.wait(seconds) + super().wait(seconds)

    def _hear(self, audio: bytes) -> list[Step]:
        return self._play.hear(self._time)

    def _finalize(self, indexes: Sequence[int]) -> list[Step]:
        return self._play.finalize()

    def _tail(self) -> list[Step]:
        return self._play.tail()

    def report(self, ask: Ask, words: Sequence[HeardWord]) -> list[str]:
        raise AssertionError("a script asks no recogniser")
