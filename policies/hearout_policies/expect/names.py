"""Names of people, said and not spelled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from hearout_policies.expect.base import UNLIKE, Reading, begun, whole
from hearout_policies.expect.letters import run_of
from hearout_policies.expect.lists import Lists, lists, words_of
from hearout_policies.marks import bare, has_word, is_blankless, pieces

__all__ = ["Name"]

_MOST = 4  # words of a name


@dataclass(frozen=True, slots=True)
class Name:
    """The name of somebody: up to four words, behind "my name is" or alone; or spelled. Nobody knows its end."""

    name: ClassVar[str] = "name"

    def read(self, text: str, language: str = "en") -> Reading:
        known = lists(language)
        written = [part for word in text.split() if has_word(word) for part in _parts(word, known)]
        words = [bare(word) for word in written]
        if any(word in known.denials for word in words):
            return UNLIKE
        spelled = run_of(text, known)
        if len(spelled.value) > 1 and not any(map(str.isdigit, spelled.value)):
            return whole(spelled.value.upper(), final=bool(spelled.words) and spelled.words[-1] == spelled.value)
        place = 0
        while place < len(words) and (words[place] in known.openers or words[place] in known.polite):
            place += 1
        name = written[place:]
        while name and bare(name[-1]) in known.polite:
            name.pop()
        if not name:
            return begun() if words and words[-1] in known.openers else UNLIKE
        if len(name) > _MOST or any(any(map(str.isdigit, word)) for word in name):
            return UNLIKE
        value = ("" if is_blankless(name[-1]) else " ").join(name).strip(".,?!;:")
        return begun(value) if bare(name[-1]) in known.openers else whole(value)

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.name}


def _parts(word: str, known: Lists) -> list[str]:
    """A word as it is written; where the script has no blanks, the words that stand in it."""
    return words_of(word, known) if any(map(is_blankless, pieces(word))) else [word]
