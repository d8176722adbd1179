"""What was asked, and what the text so far is as an answer to it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from hearout_policies.events import Answer
from hearout_policies.expect import Expectation, asked, read_all

__all__ = ["Question"]


class Question:
    """What the application expects, or else what the agent asked for by its own words.

    It stands for the next turn, and for turns that continue that one, or until it is changed. What continues a turn
    that ended too soon is read together with it.

    Attributes:
        answered: a turn was completed since it was asked.
        begun: the turn that is open has said something since the agent did.
    """

    __slots__ = ("_anew", "_before", "_by_application", "_keep", "_read", "_said", "answered", "begun")

    def __init__(self) -> None:
        self._by_application: tuple[Expectation, ...] = ()
        self._keep = False
        self._said = ""  # by the agent since the turn before
        self._read: tuple[Expectation, ...] = ()  # from that
        self._before = ""  # by the user, in turns that the present one continues
        self.answered = False
        self.begun = False
        self._anew = False  # the agent began to say something while a turn was open

    def expect(self, expectations: Sequence[Expectation], *, keep: bool) -> None:
        """The application says what it asked for; nothing: what the agent says counts.

        Args:
            keep: until it is changed, not for the next turn only.
        """
        self._by_application, self._keep = tuple(expectations), keep
        self._before, self.answered = "", False

    def say(self, text: str, language: str, *, speaking: bool) -> None:
        """The agent says this, behind what it has said since the turn before.

        Args:
            speaking: it was heard already. One that begins to speak while a turn is open waits no more for the rest of
                an answer: another turn detection has ended it.
        """
        if self.answered:
            self._drop()
        elif self.begun and not speaking:
            self._said, self._before, self._anew = "", "", True
        self.begun = False
        self._said = f"{self._said} {text}".strip()[-_LONGEST:]
        self._read = asked(self._said, language)

    def turn_opened(self, *, continues: bool) -> None:
        """A question that was answered is asked no more, unless the answer goes on."""
        self.begun = self._anew = False
        if self.answered and not continues:
            self._drop()

    def turn_completed(self, text: str) -> None:
        """Its user has said something to it, unless it was asked behind that."""
        if not self._anew or self.begun:
            self._before, self.answered = f"{self._before} {text}".strip(), True
        elif not self._keep:
            self._by_application = ()

    def answer(self, text: str, language: str) -> Answer | None:
        """What ``text`` is as an answer; None: none, or nothing is asked."""
        expectations = self._by_application or self._read
        if not expectations:
            return None
        return _answer(expectations, f"{self._before} {text}" if self._before else text, language)

    def _drop(self) -> None:
        self._said, self._read, self._before, self.answered = "", (), "", False
        if not self._keep:
            self._by_application = ()


_LONGEST = 4000  # characters of the agent's: its last question stands at their end


@lru_cache(maxsize=1024)
def _answer(expectations: tuple[Expectation, ...], text: str, language: str) -> Answer | None:
    found = read_all(expectations, text, language)
    if found is None:
        return None
    expectation, reading = found
    return Answer(expectation.name, reading.value, complete=reading.state == "complete", final=reading.final)
