"""One message of a transcriber, and what is new in it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hearout.transcribers.base import Heard, ProviderFailed, StreamFinished
from hearout.transcribers.coverage import Coverage
from hearout.transcribers.deepgram import Deepgram
from hearout.transcribers.elevenlabs import ElevenLabs
from hearout.transcribers.hearing import Hearing, Missed
from hearout_policies.signals import Transcript, UtteranceEnd, Word


def result(
    *words: tuple[str, float, float], start: float, end: float, channel: int = 0, is_final: bool = True, **more: Any
) -> str:
    items = [{"word": text, "start": begin, "end": stop} for text, begin, stop in words]
    data = {"type": "Results", "start": start, "duration": end - start, "is_final": is_final}
    return json.dumps(data | {"channel_index": [channel, 2], "channel": {"alternatives": [{"words": items}]}} | more)


def began(origin: float = 0.0, *, channels: int = 1, can_repeat: bool = False) -> Hearing:
    hearing = Hearing(Deepgram("key", channels=channels), can_repeat=can_repeat)
    assert list(hearing.begin(origin)) == []  # Deepgram is told nothing first
    return hearing


def heard(hearing: Hearing, message: str, sent: float = 100.0) -> list[tuple[float, float, str]]:
    """Start, end and words of the transcripts in ``message``."""
    out = []
    for news in hearing.hear(message, 50.0, sent):
        assert isinstance(news, Heard)
        assert isinstance(news.signal, Transcript)
        assert news.signal.at == 50.0
        out.append((news.signal.start, news.signal.end, " ".join(word.text for word in news.signal.words)))
    return out


def test_times_count_from_the_origin_of_the_connection() -> None:
    hearing = began(10.0)
    assert hearing.hear(result(("one", 0.25, 0.75), start=0.0, end=1.0), 12.0, 11.0) == [
        Heard(0, Transcript(12.0, (Word("one", 10.25, 10.75),), 10.0, 11.0, is_final=True))
    ]


def test_silence_that_was_sent_is_taken_out() -> None:
    hearing = began(10.0)
    hearing.insert_silence(11.0, 5.0)
    assert heard(hearing, result(("one", 0.5, 0.75), ("two", 6.5, 6.75), start=0.0, end=7.0)) == [
        (10.0, 12.0, "one two")
    ]
    hearing.begin(12.0)  # a new connection has heard none
    assert heard(hearing, result(("three", 6.5, 6.75), start=0.0, end=7.0)) == [(12.0, 19.0, "three")]


def test_what_was_said_before_is_cut_off() -> None:
    hearing = began(channels=2)
    ahead, behind = result(("yes", 1.0, 1.5), start=0.0, end=2.0), result(start=0.0, end=0.5, channel=1)
    assert heard(hearing, ahead) == [(0.0, 2.0, "yes")]
    assert heard(hearing, behind) == [(0.0, 0.5, "")]
    assert hearing.coverage.until == 0.5
    hearing.begin(0.5)
    again = result(("yes", 0.5, 1.0), ("no", 1.75, 2.0), start=0.0, end=2.25)
    assert heard(hearing, again) == [(2.0, 2.75, "no")]
    assert heard(hearing, result(("yes", 0.5, 1.0), start=0.0, end=1.25)) == []
    assert hearing.hear('{"type": "UtteranceEnd", "channel": [0, 2], "last_word_end": 1.0}', 5.0, 100.0) == []
    later = '{"type": "UtteranceEnd", "channel": [0, 2], "last_word_end": 2.0}'
    assert hearing.hear(later, 5.0, 100.0) == [Heard(0, UtteranceEnd(5.0, 2.5))]


def test_other_news_is_handed_on() -> None:
    assert began().hear('{"type": "Error", "description": "no"}', 1.0, 1.0) == [ProviderFailed("no", permanent=False)]
    assert began().hear('{"type": "Metadata"}', 1.0, 1.0) == [StreamFinished()]


ONE = result(("one", 0.25, 0.75), start=0.0, end=1.0)
THREE = result(("three", 2.25, 2.75), start=2.0, end=3.0)


def misread(hearing: Hearing) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        hearing.hear("{", 2.0, 100.0)


def test_a_result_that_could_not_be_read_is_missed_once_again_and_then_for_good() -> None:
    hearing = began(can_repeat=True)
    assert heard(hearing, ONE) == [(0.0, 1.0, "one")]
    misread(hearing)
    assert hearing.hear(THREE, 3.0, 100.0) == [Missed(1.0, 2.0, again=True)]  # what is behind it will come again, too
    assert hearing.coverage.until == 1.0
    hearing.begin(1.0)
    assert not hearing.unread
    misread(hearing)
    missed, *rest = hearing.hear(result(("three", 1.25, 1.75), start=1.0, end=2.0), 4.0, 100.0)
    assert missed == Missed(1.0, 2.0, again=False)
    assert rest == [Heard(0, Transcript(4.0, (Word("three", 2.25, 2.75),), 2.0, 3.0, is_final=True))]


def test_where_nothing_can_be_asked_for_again_it_is_passed_over() -> None:
    hearing = began()
    assert heard(hearing, ONE) == [(0.0, 1.0, "one")]
    misread(hearing)
    assert heard(hearing, THREE) == [(2.0, 3.0, "three")]


def test_a_gap_is_none_when_all_could_be_read() -> None:
    """Deepgram sends no results for what its endpointing skips."""
    hearing = began(can_repeat=True)
    assert heard(hearing, ONE) == [(0.0, 1.0, "one")]
    assert heard(hearing, THREE) == [(2.0, 3.0, "three")]


# Coverage


def test_an_empty_final_result_covers_its_audio() -> None:
    """Silence is covered, too: a new connection need not hear it again."""
    coverage = Coverage(1)
    coverage.admit(0, Transcript(0.0, (), 0.0, 2.0, is_final=True), 10.0)
    assert coverage.until == 2.0
    coverage.admit(0, Transcript(0.0, (), 2.0, 3.0, is_final=False), 10.0)
    assert coverage.until == 2.0


def test_the_answer_to_a_finalize_is_handed_on_though_all_in_it_is_known() -> None:
    coverage = Coverage(2)
    known = Transcript(0.0, (Word("yes", 1.0, 1.5),), 0.0, 2.0, is_final=True)
    assert coverage.admit(0, known, 10.0) is known
    coverage.restart(0.0)
    assert coverage.admit(0, known, 10.0) is None
    answer = Transcript(0.0, (Word("yes", 1.0, 1.5),), 0.0, 2.0, is_final=True, finalized=True)
    assert coverage.admit(0, answer, 10.0) == Transcript(0.0, (), 2.0, 2.0, is_final=True, finalized=True)


def test_all_is_final_once_the_last_interim_word_is_covered() -> None:
    coverage = Coverage(1)
    assert coverage.finished
    coverage.admit(0, Transcript(0.0, (Word("yes", 1.0, 1.5),), 0.0, 2.0, is_final=False), 10.0)
    assert not coverage.finished
    coverage.admit(0, Transcript(0.0, (Word("yes", 1.0, 1.5),), 0.0, 1.5, is_final=True), 10.0)
    assert coverage.finished


def scribe(kind: str, text: str, *words: tuple[str, float, float]) -> str:
    items = [{"text": word, "start": begin, "end": stop, "type": "word"} for word, begin, stop in words]
    return json.dumps({"message_type": kind, "text": text, "words": items})


def test_words_without_times_were_said_last() -> None:
    """Of a provider that does not say how far it has listened; a result is about what was sent 0.3 s ago."""
    hearing = Hearing(ElevenLabs("key"))
    hearing.begin(10.0)
    (news,) = hearing.hear(scribe("partial_transcript", "one two"), 15.3, sent=15.1)
    assert isinstance(news, Heard)
    assert news.signal == Transcript(
        15.3, (Word("one", 14.4, 14.7), Word("two", 14.7, 15.0)), 10.0, 15.0, is_final=False, timed=False
    )
    (news,) = hearing.hear(scribe("partial_transcript", "one two three"), 20.0, sent=10.6)
    assert isinstance(news, Heard)
    assert isinstance(news.signal, Transcript)
    assert [word.start for word in news.signal.words] == pytest.approx([10.0, 10.2, 10.4]), "not before the connection"
    assert news.signal.end == 10.6, "not behind what was sent"
    hearing.sent({"type": "Audio", "audio": 15.0})  # as a trace says; a replay does not know what was sent
    (news,) = hearing.hear(scribe("partial_transcript", "one"), 30.0, sent=30.0)
    assert isinstance(news, Heard)
    assert isinstance(news.signal, Transcript)
    assert news.signal.end == 15.0


def test_an_answer_covers_all_audio_before_its_request() -> None:
    """So that a lost connection is not fed the silence behind the last word again."""
    hearing = Hearing(ElevenLabs("key"))
    hearing.begin(0.0)
    hearing.asked(4.0)
    hearing.asked(6.0)
    text = scribe("committed_transcript_with_timestamps", "one", ("one", 2.0, 2.5))
    (news,) = hearing.hear(text, 4.3, sent=4.2)
    assert isinstance(news, Heard)
    assert isinstance(news.signal, Transcript)
    assert (news.signal.end, hearing.coverage.until) == (2.5, 4.0), "the result itself is as the provider told it"
    hearing.hear(scribe("committed_transcript", ""), 6.3, sent=6.2)
    assert hearing.coverage.until == 6.0
    hearing.hear(scribe("committed_transcript", ""), 9.3, sent=9.2)
    assert hearing.coverage.until == 6.0, "nobody asked for that"
    hearing.asked(9.5)
    hearing.begin(6.0)
    hearing.hear(scribe("committed_transcript", ""), 12.3, sent=9.2)
    assert hearing.coverage.until == 6.0, "a lost connection takes its requests along"


def test_final_words_take_the_place_of_those_that_were_laid_out_too_late() -> None:
    hearing = Hearing(ElevenLabs("key"))
    hearing.begin(0.0)
    hearing.hear(scribe("partial_transcript", "yes"), 2.0, sent=2.0)
    text = scribe("committed_transcript_with_timestamps", "Yes.", ("Yes.", 0.5, 0.8))
    (news,) = hearing.hear(text, 2.5, sent=2.5)
    assert isinstance(news, Heard)
    assert isinstance(news.signal, Transcript)
    assert news.signal.end == 1.7, "as far as the partial result"
    assert hearing.coverage.until == 0.8, "nobody has said that more is final"


def test_silence_counts_as_final_where_the_provider_says_nothing_of_it() -> None:
    hearing = Hearing(ElevenLabs("key"))
    hearing.begin(0.0)
    assert hearing.quiet(0.0, 4.0)
    assert hearing.coverage.until == 4.0
    assert not hearing.quiet(6.0, 8.0), "the voice that ceased at 6.0 is not final"
    hearing.hear(scribe("partial_transcript", "yes"), 6.0, sent=6.0)
    assert not hearing.quiet(0.0, 8.0), "a word that is not final was heard, whatever the voice detection has"
    hearing.asked(6.2)
    hearing.hear(scribe("committed_transcript_with_timestamps", "Yes.", ("Yes.", 5.2, 5.5)), 6.5, sent=6.4)
    assert hearing.quiet(6.0, 8.0)
    assert hearing.coverage.until == 8.0
    assert not hearing.quiet(6.0, 7.0), "it was so before"


def test_silence_is_the_providers_affair_where_it_tells() -> None:
    hearing = began()
    assert not hearing.quiet(0.0, 4.0)
    assert hearing.coverage.until == 0.0
