"""How texts end in each language, and that no language's words act in another."""

from __future__ import annotations

import tomllib
import unicodedata
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearout_policies import Ending, Policy
from hearout_policies.language import ENDING_LISTS, NONE, Language, code_of, language, languages
from hearout_policies.marks import phrase
from hearout_policies.text import classify

CASES = {file.stem: tomllib.loads(file.read_text("utf-8")) for file in Path(__file__).with_name("languages").iterdir()}
ENDINGS = [
    pytest.param(code, text, Ending(name), id=f"{code}-{text}")
    for code, cases in CASES.items()
    for name, texts in cases.items()
    if name not in ("backchannel", "answer")
    for text in texts
]


def of_kind(kind: str) -> list[Any]:
    return [pytest.param(code, text, id=f"{code}-{text}") for code in CASES for text in CASES[code].get(kind, [])]


def raw(code: str) -> dict[str, list[str]]:
    """The file of a language as it stands."""
    return tomllib.loads((resources.files("hearout_policies") / "languages" / f"{code}.toml").read_text("utf-8"))


@pytest.mark.parametrize(("code", "text", "ending"), ENDINGS)
def test_how_a_text_ends(code: str, text: str, ending: Ending) -> None:
    assert classify(text, language(code)) is ending


@pytest.mark.parametrize(("code", "text"), of_kind("backchannel"))
def test_what_listeners_say(code: str, text: str) -> None:
    assert Policy(language=code).is_backchannel(text)


@pytest.mark.parametrize(("code", "text"), of_kind("answer"))
def test_what_is_more_than_that(code: str, text: str) -> None:
    assert not Policy(language=code).is_backchannel(text)


def test_every_language_has_a_table() -> None:
    assert set(CASES) == set(languages())
    assert all(sum(map(len, cases.values())) >= 30 for cases in CASES.values())


@pytest.mark.parametrize("code", languages())
def test_lists_are_written_as_they_are_matched_and_name_their_sources(code: str) -> None:
    file = resources.files("hearout_policies") / "languages" / f"{code}.toml"
    assert "https://" in file.read_text("utf-8").partition("\n\n")[0]
    for name, entries in raw(code).items():
        assert len(entries) == len(set(entries)), (code, name)
        for entry in entries:
            word = entry.removeprefix("-")
            assert phrase(word) == unicodedata.normalize("NFKC", word.casefold()), (
                code,
                name,
                entry,
            )


@pytest.mark.parametrize("code", languages())
def test_no_ending_stands_in_two_lists(code: str) -> None:
    endings = [entry for name in ENDING_LISTS for entry in getattr(language(code), name) if entry.startswith("-")]
    assert len(endings) == len(set(endings))


#: What English has in common with a language: what the word means there, and sounds.
SHARED = {
    "de": "in am man was will an die also",
    "fr": "a as on me or car an son me si",
    "es": "a as me has he eh no",
    "it": "a in i me an all no",
    "pt": "a me as o no do",
}
SOUNDS = {"ah", "eh", "hm", "hmm", "hmmm", "mm", "uh", "um", "ok", "okay"}
ACTING = ("conjunctions", "fillers", "function_words", "openers", "whole")


@pytest.mark.parametrize("code", [code for code in languages() if code != "en"])
def test_no_english_word_acts_in_another_language(code: str) -> None:
    shared = {*SHARED.get(code, "").split(), *SOUNDS}
    for word in sorted(set().union(*(raw("en")[name] for name in ACTING))):
        if word.split()[-1] not in shared:
            assert classify(f"xxx yyy {word}", language(code)) is Ending.PLAIN, word
        if word not in shared:
            assert Policy(language=code).is_backchannel(word) is False, word


@given(st.text(), st.sampled_from(languages()), st.sampled_from(["", ".", "?", "、", "。", "！", "।", "…"]))
def test_every_text_has_an_ending_in_every_language(text: str, code: str, mark: str) -> None:
    lang = language(code)
    ending = classify(text + mark, lang)
    assert ending is classify(text + mark, lang)
    assert (ending is Ending.NOTHING) is (classify(text + mark, language(NONE)) is Ending.NOTHING)
    Policy(language=code).is_backchannel(text)


@given(st.sampled_from(languages()), st.data())
def test_words_act_however_they_are_written(code: str, data: st.DataObject) -> None:
    """Composed or decomposed, wide, in capitals."""
    texts = [text for name, cases in CASES[code].items() if name not in ("backchannel", "answer") for text in cases]
    text = data.draw(st.sampled_from(texts))
    lang = language(code)
    assert classify(unicodedata.normalize("NFD", text), lang) is classify(text, lang)
    if not any(map(str.isdigit, text)):
        assert classify(text.upper(), lang) is classify(text, lang)


@pytest.mark.parametrize("text", ["一" * 50_000, "はい" * 20_000, "我要" * 20_000 + "然后", "えっと、" * 20_000])
@pytest.mark.parametrize("code", ["ja", "zh"])
def test_a_long_text_without_blanks_takes_no_long(code: str, text: str) -> None:
    """A pattern that is tried at each of many places would take minutes."""
    classify(text, language(code))
    Policy(language=code).is_backchannel(text)


@pytest.mark.parametrize(
    ("tag", "code"),
    [("es", "es"), ("es-419", "es"), ("pt_BR", "pt"), ("ZH-Hant-TW", "zh"), (" en-US", "en"), ("none", NONE)],
)
def test_a_longer_tag_means_its_language(tag: str, code: str) -> None:
    assert code_of(tag) == code
    assert Policy(language=tag).language == code
    assert language(tag) is language(code)


@pytest.mark.parametrize(
    "pair",
    [
        "deu:de",
        "ger:de",
        "eng:en",
        "spa:es",
        "fra:fr",
        "fre:fr",
        "hin:hi",
        "ita:it",
        "jpn:ja",
        "por:pt",
        "zho:zh",
        "chi:zh",
        "cmn:zh",
        "SPA:es",
    ],
)
def test_a_code_of_three_letters_means_its_language(pair: str) -> None:
    tag, code = pair.split(":")
    assert code_of(tag) == code
    assert language(tag) is language(code)


@pytest.mark.parametrize("tag", ["xx", "", "english", "est", "en.us", "../en"])
def test_an_unknown_language_is_refused_by_name(tag: str) -> None:
    assert code_of(tag) is None
    with pytest.raises(
        ValueError, match=r"no word lists for language .*there are: de, en, es, fr, hi, it, ja, none, pt, zh"
    ):
        Policy(language=tag)


def test_where_no_language_is_named_it_is_english() -> None:
    assert Policy().language is None
    assert Policy().words is language("en")


def test_what_is_no_languages_own_counts_in_all() -> None:
    assert all(language(NONE).units <= language(code).units for code in languages())
    assert language(NONE).backchannels == language(NONE).fillers == frozenset()


def test_a_language_without_lists_matches_nothing() -> None:
    assert Language().ends_in("はい") is None
    assert Language().spelled_at_end("一二三") == (0, False)
