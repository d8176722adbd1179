"""All final results of a trace, joined, and how far they are from what was said."""

from __future__ import annotations

import re
import unicodedata
from bisect import insort
from dataclasses import dataclass

from hearout.errors import UsageError
from hearout.extras import needs_extra
from hearout.traces.records import Trace
from hearout.traces.replayer import replay
from hearout_policies.ledger import Ledger
from hearout_policies.marks import has_word
from hearout_policies.signals import LinkRestored, Transcript, Word
from hearout_policies.words import join, not_said_again, reach

__all__ = ["WordError", "transcript", "word_error"]

_RECENT = 200  # words among which some are looked for that a result says again


@dataclass(frozen=True, slots=True)
class WordError:
    """What lies between a transcript and its reference, in words.

    Attributes:
        words: of the reference.
    """

    substituted: int
    deleted: int
    inserted: int
    words: int

    @property
    def rate(self) -> float:
        """The word error rate: 0 when nothing differs; above 1 when more is wrong than was said."""
        return (self.substituted + self.deleted + self.inserted) / self.words


def transcript(trace: Trace) -> list[str]:
    """The text of each channel: all final results one after the other, in turns or not.

    One that is delivered twice, that a turn is sent once more by, formatted, or that the replay behind a lost
    connection says again, counts once, as in turns.

    Raises:
        UsageError: messages of this transcriber cannot be read.
    """
    finals: list[list[Word]] = [[] for _ in range(trace.header.channels)]
    ledgers = [Ledger() for _ in finals]
    for heard in replay(trace).heard:
        if isinstance(heard.signal, LinkRestored):
            ledgers[heard.channel].link_restored()
        elif isinstance(heard.signal, Transcript) and heard.signal.is_final:
            _add(finals[heard.channel], ledgers[heard.channel], heard.signal)
    return [join(words) for words in finals]


def _add(words: list[Word], ledger: Ledger, result: Transcript) -> None:
    if ledger.delivered(result):
        return
    result = ledger.unsaid(result)
    end = reach(result.words, result.end)
    ledger.cover(end)
    said = [word for word in result.words if has_word(word.text)]
    words[-_RECENT:] = not_said_again(words[-_RECENT:], said, result.start, end)
    for word in result.words:
        insort(words, word, key=lambda one: one.start)


def word_error(text: str, reference: str) -> WordError:
    """``text`` against ``reference``; case, punctuation and blanks do not count. By jiwer.

    Raises:
        UsageError: jiwer is not installed, or the reference has no words.
    """
    with needs_extra("wer", "word error"):
        import jiwer
    said = _plain(reference)
    if not said:
        raise UsageError("the reference has no words")
    found = jiwer.process_words(said, _plain(text))
    count = found.hits + found.substitutions + found.deletions
    return WordError(found.substitutions, found.deletions, found.insertions, count)


def _plain(text: str) -> str:
    """Words and blanks: it's is one word, and seventy-five are two."""
    text = re.sub(r"(?<=\w)['’.](?=\w)", "", unicodedata.normalize("NFC", text).lower())
    return " ".join("".join(" " if unicodedata.category(one)[0] == "P" else one for one in text).split())
