"""What an application may tell a session, and ask it: the same on trio, on asyncio and in threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

from hearout.errors import UsageError
from hearout.link.settings import LinkStats
from hearout.session.core import SessionCore
from hearout.session.language import in_language
from hearout.vad import SpeechGate
from hearout.writing import printable, shown
from hearout_policies.decision import Outlook
from hearout_policies.expect import Expectation, expectation
from hearout_policies.language import Language
from hearout_policies.policy import Policy, load_policy
from hearout_policies.signals import KEYS, AgentSaid, AgentSpeech, AppCommand, Asked, KeyPressed, PolicyChanged, Signal

__all__ = ["SessionControls", "TurnControls", "chosen_expectations", "chosen_key", "chosen_policy"]


def chosen_policy(policy: Policy | str) -> Policy:
    """A policy itself, a preset by its name, or that of a TOML file.

    Raises:
        UsageError: there is none, or something is wrong in it.
    """
    if not isinstance(policy, (Policy, str)):
        raise UsageError(f"{shown(policy)} is no policy: a Policy is one, the name of a preset, or that of a TOML file")
    try:
        return load_policy(policy) if isinstance(policy, str) else policy
    except ValueError as error:
        raise UsageError(str(error)) from None


def chosen_expectations(expectations: Sequence[Expectation | str]) -> tuple[Expectation, ...]:
    """Expectations themselves, or by their names.

    Raises:
        UsageError: there is none of that name.
    """
    try:
        return tuple(expectation(one) for one in expectations)
    except ValueError as error:
        raise UsageError(str(error)) from None


def chosen_key(key: str) -> str:
    """A key of a telephone.

    Raises:
        UsageError: it is none.
    """
    if key not in KEYS:
        raise UsageError(f"{printable(repr(key), 40)} is no key of a telephone: those are 0 to 9, * and #, A to D")
    return key


class TurnControls:
    """What an application may say to its turn machines, wherever they run."""

    @property
    def _language(self) -> str | Language | None:
        """That of the session; None: no policy has named one, and no transcriber."""
        raise NotImplementedError

    def _tell(self, channel: int | None, signal: Callable[[float], Signal], **record: Any) -> None:
        """``signal`` is for the machine of ``channel`` (None: for all of them), stamped; a trace has ``record``."""
        raise NotImplementedError

    def force_end(self, channel: int | None = None) -> None:
        """End the turn as soon as its words are final. ``channel`` None: the turns of all channels."""
        self._command("force_end", channel)

    def hold(self, channel: int | None = None) -> None:
        """Keep turns open until `release`. ``channel`` None: on all channels."""
        self._command("hold", channel)

    def release(self, channel: int | None = None) -> None:
        """Undo `hold`. ``channel`` None: on all channels."""
        self._command("release", channel)

    def clear(self, channel: int | None = None) -> None:
        """Drop what was heard so far. ``channel`` None: on all channels."""
        self._command("clear", channel)

    def _command(self, kind: Literal["force_end", "hold", "release", "clear"], channel: int | None) -> None:
        self._tell(channel, partial(AppCommand, kind=kind), app=kind)

    def expect(self, *expectations: Expectation | str, keep: bool = False, channel: int | None = None) -> None:
        """Say what was asked: the turn is read as an answer, ends when that is whole, and is waited for until then.

        ::

            session.expect(Digits(10))
            session.expect(YesNo(), Date())  # either will do
            session.expect(Open())  # anything: also what the agent seems to ask for counts no more
            session.expect()  # what the agent says counts again

        Args:
            expectations: of `hearout_policies.expect`, or the names of those that need nothing more ("yes_no").
            keep: until it is changed; False: for the turn that is open, or else the next one.
            channel: None: all of them.

        Raises:
            UsageError: there is no such expectation.
        """
        chosen = chosen_expectations(expectations)
        record = {"expected": [one.to_dict() for one in chosen], "keep": keep}
        self._tell(channel, partial(Asked, expectations=chosen, keep=keep), **record)

    def use(self, policy: Policy | str, channel: int | None = None) -> None:
        """From now on another policy judges, also the turn that is open. ``channel`` None: on all channels.

        One that names no language keeps that of the session.

        Raises:
            UsageError: there is no such preset or file, or something is wrong in it.
        """
        policy = in_language(chosen_policy(policy), self._language)
        self._tell(channel, partial(PolicyChanged, policy=policy), policy=policy.to_dict())

    def key(self, key: str, channel: int | None = None) -> None:
        """The user pressed a key of the telephone: a word of the turn; ``#`` ends it. `TwilioCall` tells by itself.

        Args:
            key: ``0`` to ``9``, ``*``, ``#``, or ``A`` to ``D``.
            channel: None: all of them.

        Raises:
            UsageError: there is no such key.
        """
        key = chosen_key(key)
        self._tell(channel, partial(KeyPressed, key=key), key=key)

    def agent_started(self) -> None:
        """The voicebot begins to speak: what its user says now is a barge-in, or a backchannel."""
        self._tell(None, partial(AgentSpeech, kind="started"), agent="started")

    def agent_stopped(self) -> None:
        """The voicebot has ceased to speak."""
        self._tell(None, partial(AgentSpeech, kind="stopped"), agent="stopped")

    def agent_said(self, text: str) -> None:
        """What the voicebot says, piece by piece as it comes or all at once, before it is heard.

        Its last question is read, and what it asks for is expected, unless `expect` has said otherwise. And its own
        words, when the line sends them back while it speaks, are no turn (`Policy.echo_words`).
        """
        if not isinstance(text, str):
            raise UsageError(f"what the agent said is text, not {shown(text)}")
        if text.strip():
            self._tell(None, partial(AgentSaid, text=text), agent="said", text=text)


class SessionControls(TurnControls):
    """The synchronous members of a session. Once the block of ``open_session`` is left, commands do nothing."""

    _core: SessionCore
    _left = False

    def _do(self, act: Callable[[], None]) -> None:
        """Do it where the session runs, unless the block is left."""
        if not self._left:
            act()

    @property
    def _language(self) -> str | Language | None:
        return self._core.language

    def use(self, policy: Policy | str, channel: int | None = None) -> None:
        policy = chosen_policy(policy)
        super().use(policy, channel)
        self._do(lambda: self._core.judges_by(policy))

    def send(self, message: str) -> None:
        """Send a message of the transcriber's own kind, as `Deepgram.configure` makes, behind the audio so far.

        Raises:
            UsageError: it is no text.
        """
        if not isinstance(message, str):
            raise UsageError(
                f"send takes a message of the transcriber's own kind, not {shown(message)}; audio is pushed"
            )
        self._do(lambda: self._core.link.send(message))

    def _tell(self, channel: int | None, signal: Callable[[float], Signal], **record: Any) -> None:
        if channel is not None and channel not in range(self._core.channels):
            raise UsageError(f"channel {channel!r}: the session has 0 to {self._core.channels - 1}")
        self._do(lambda: self._core.tell(channel, signal, **record))

    @property
    def gates(self) -> list[SpeechGate]:
        """The voice detection of each channel, for meters; empty without."""
        return self._core.voice.gates

    def outlook(self, channel: int = 0) -> Outlook | None:
        """What becomes of the turn that is open, if nothing more happens: for displays. None: none is open."""
        return self._core.outlook(channel)

    @property
    def heard(self) -> float:
        """Seconds of audio heard so far."""
        return self._core.heard

    @property
    def now(self) -> float:
        """The session clock, seconds; only inside the block."""
        return self._core.now()

    @property
    def link_stats(self) -> LinkStats:
        """Counters of the connection."""
        return self._core.link.stats
