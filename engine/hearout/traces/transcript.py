"""All final results of a trace, joined, and how far they are from what was said."""

from __future__ import annotations

from dataclasses import dataclass

from hearout.errors import UsageError
from hearout.extras import needs_extra
from hearout.traces.records import Trace
from hearout.traces.replayer import replay
from hearout_policies.signals import Transcript, Word
from hearout_policies.words import join

__all__ = ["WordError", "transcript", "word_error"]


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

    Raises:
        UsageError: messages of this transcriber cannot be read.
    """
    finals: list[list[Word]] = [[] for _ in range(trace.header.channels)]
    for heard in replay(trace).heard:
        if isinstance(heard.signal, Transcript) and heard.signal.is_final:
            finals[heard.channel] += heard.signal.words
    return [join(words) for words in finals]


def word_error(text: str, reference: str) -> WordError:
    """``text`` against ``reference``; case, punctuation and blanks do not count. By jiwer.

    Raises:
        UsageError: jiwer is not installed, or the reference has no words.
    """
    with needs_extra("wer", "word error"):
        import jiwer
    words = jiwer.Compose(
        [
            jiwer.ToLowerCase(),
            jiwer.RemovePunctuation(),  # type: ignore[no-untyped-call]
            jiwer.RemoveMultipleSpaces(),
            jiwer.Strip(),
            jiwer.ReduceToListOfListOfWords(),
        ]
    )
    if not any(words(reference)):
        raise UsageError("the reference has no words")
    found = jiwer.process_words(reference, text, reference_transform=words, hypothesis_transform=words)
    count = found.hits + found.substitutions + found.deletions
    return WordError(found.substitutions, found.deletions, found.insertions, count)
