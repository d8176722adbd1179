"""A turn machine beside the bot of one call: what it is told is written down, what it decides is nobody's business.

A replay of the trace decides the same again (`hearout.traces.replayer`), and under other policies what those would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from hearout.integrations.turns import OwnTurns
from hearout.shadow.folder import CallFile, Folder
from hearout.traces.records import Header
from hearout.traces.signals import record_of
from hearout.transcribers.results import Results
from hearout_policies.events import Output
from hearout_policies.policy import Policy
from hearout_policies.signals import AgentSpeech, EndOfAudio, Signal

__all__ = ["Beside"]


class Beside(OwnTurns):
    """The machine of one call, and its trace.

    Whatever goes wrong ends what the folder writes, and nothing else: what calls this does so within `safely`.

    Args:
        policy: as in `hearout.open_session`.
        folder: where the trace goes.
        source: who wrote it, for people.
        caller: of the header; None: not known.
        take: is given what the machine decides.
    """

    def __init__(
        self,
        policy: Policy,
        folder: Folder,
        source: str,
        caller: str | None = None,
        take: Callable[[Output], object] = lambda output: None,
    ) -> None:
        super().__init__(policy, take)
        self._folder = folder
        self._source = source
        self._caller = "" if caller is None else str(caller)
        self._file: CallFile | None = None
        self._written = 0.0  # `t` of the last line
        self._finished = False
        self.bot_speaking = False

    @contextmanager
    def safely(self) -> Iterator[None]:
        """What fails in here ends the shadow, and harms nobody."""
        if self._folder.failed:
            self.stop()
        try:
            yield
        except Exception as error:
            self._folder.fail(error)
            self.stop()

    @property
    def running(self) -> bool:
        """The call goes on, and is recorded."""
        return self._file is not None and not self._finished and not self._folder.failed

    def start(self) -> None:
        if self._file is None:
            began = datetime.now().astimezone().isoformat(timespec="seconds")
            policy = self._policy.to_dict()
            self._file = self._folder.call(
                Header(Results.name, policy=policy, source=self._source, started=began, caller=self._caller)
            )
            super().start()

    def finish(self) -> None:
        """The call is over."""
        if self._file is not None and not self._finished:
            try:
                self.tell(EndOfAudio(self.now))
            finally:
                self._finished = True
                self._file.close()
                self.stop()

    def tell(self, signal: Signal) -> None:
        if self.running:
            self._write(signal.at, **record_of(signal))
            super().tell(signal)

    def _due(self, at: float) -> None:
        with self.safely():
            super()._due(at)

    def _all_said(self) -> None:
        with self.safely():
            super()._all_said()

    def continued(self) -> Beside:
        """The same; or, when its trace has become long, a machine that goes on beside the call with another one.

        To be asked when the bot begins to speak: then the user's turn is over, as a rule. Either trace can be replayed
        and judged for itself; the bot's beginning is in both.
        """
        if self._file is None or not self.running or not self._file.long or self.speaking or self._open:
            return self
        self.finish()
        other = Beside(self._policy, self._folder, self._source, self._caller, self._take)
        other.patience = self.patience
        other.start()
        other.bot_started()
        return other

    # What the bot does

    def bot_started(self) -> None:
        """The bot begins to speak."""
        if not self.bot_speaking:
            self.bot_speaking = True
            self.tell(AgentSpeech(self.now, "started"))

    def bot_stopped(self) -> None:
        """The bot has ceased to speak."""
        if self.bot_speaking:
            self.bot_speaking = False
            self.tell(AgentSpeech(self.now, "stopped"))

    def committed(self, text: str, ago: float = 0.0) -> None:
        """The bot's own turn detection has ended the user's turn with ``text``, so many seconds ago."""
        at = max(0.0, self.now - ago)
        # Meanwhile the user may have gone on, which is written: lines stand in order of `t`.
        self._write(at, bot="committed", text=text, **({"at": at} if at < self._written else {}))

    def interrupted(self) -> None:
        """The bot's own turn detection makes it stop for the user."""
        self._write(self.now, bot="interrupted")

    def _write(self, at: float, /, **record: Any) -> None:
        if self._file is not None and self.running:
            self._written = max(self._written, at)
            self._file.write({"t": self._written, **record})
