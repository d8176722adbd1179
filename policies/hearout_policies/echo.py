"""The agent's own words, which its user's line sends back.

Where nothing cancels the echo of the agent's voice, the transcriber hears it, too. What the agent says is known, so its
words are told from its user's by their order: who answers seldom says so many words in a row just as they were asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from hearout_policies.marks import bare, has_word, pieces
from hearout_policies.signals import Transcript, Word

__all__ = ["Echo"]

_LONGEST = 400  # words of the agent that are remembered: two minutes of talk
_AGAIN = 2  # on a line that has sent so many words back before, fewer are an echo, too
_BETWEEN = 2  # so many words misheard, between two stretches of echo, are one
_SETTLED = 0.5  # seconds of silence behind the words after which an interim result is taken at its word


class Echo:
    """Takes the agent's words out of what the transcriber hears while the agent speaks.

    Args:
        again: the line has sent them back before.

    Attributes:
        heard: it has done so.
        on: what the agent says is known.
    """

    __slots__ = ("_said", "_text", "heard", "on")

    def __init__(self, *, again: bool = False) -> None:
        self._said: list[str] = []
        self._text = ""
        self.heard = again
        self.on = False

    def say(self, text: str) -> None:
        """The agent says this now, or is about to."""
        self._said = [*self._said, *(word for piece in pieces(text) if has_word(word := bare(piece)))][-_LONGEST:]
        self._text = f" {' '.join(self._said)} "
        self.on = bool(self._said)

    def sift(self, result: Transcript, least: int, spoke: Callable[[float], bool]) -> Transcript:
        """``result`` without the agent's own words.

        An interim result says its words once more: there, what may yet become an echo is left out, too.

        Args:
            least: words in a row that make an echo; 0: nothing does.
            spoke: whether the agent was speaking at that audio time.
        """
        if not (least and self._said and result.words):
            return result
        settled = result.is_final or result.end - result.words[-1].end >= _SETTLED
        enough = min(least, _AGAIN if self.heard else least) if settled else 1
        echo = self._echo(result.words, enough, spoke)
        if not echo:
            return result
        self.heard |= settled and len(echo) >= least
        words = tuple(word for number, word in enumerate(result.words) if number not in echo)
        return replace(result, words=words)

    def _echo(self, words: Sequence[Word], enough: int, spoke: Callable[[float], bool]) -> set[int]:
        """The numbers of the words that are the agent's."""
        said = [(number, bare(word.text)) for number, word in enumerate(words) if has_word(word.text)]
        found: set[int] = set()
        last = -1  # place behind the stretch before
        place = 0
        while place < len(said):
            length = self._in_a_row([word for _, word in said[place:]]) if spoke(words[said[place][0]].start) else 0
            if length < enough:
                place += 1
                continue
            if last >= 0 and place - last <= _BETWEEN:
                found.update(number for number, _ in said[last:place])
            found.update(number for number, _ in said[place : place + length])
            place = last = place + length
        return found

    def _in_a_row(self, words: Sequence[str]) -> int:
        """How many of the first words the agent said just so."""
        text, count = " ", 0
        for word in words:
            text += f"{word} "
            if text not in self._text:
                break
            count += 1
        return count
