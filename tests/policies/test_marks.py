"""Words and marks in many scripts."""

from __future__ import annotations

import unicodedata

import pytest

from hearout_policies.marks import COMMAS, QUESTIONS, STOPS, bare, count_words, end_marks, has_word, pieces, spoken


@pytest.mark.parametrize("text", ["a", "7", "é", "है।", "我", "カ", "ครับ", "۵", "½", "...and"])
def test_a_letter_or_a_digit_of_any_script_is_a_word(text: str) -> None:
    assert has_word(text)


@pytest.mark.parametrize(
    "text", ["", " ", ".", "?!", "…", "。", "।", "¿", "،", "—", "♪ ♪", "$", "👍", "\u0301", "\u200f"]
)
def test_marks_alone_are_no_word(text: str) -> None:
    assert not has_word(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("wait", 1),
        ("wait - no", 2),
        ("mm-hmm, yes", 2),
        (". . .", 0),
        ("ठीक है।", 2),
        ("잠깐만요 잠시만", 2),
        ("嗯", 1),
        ("はい", 1),  # two characters are a word
        ("等一下", 2),  # and three are two
        ("等一下，我想先问价格。", 5),
        ("等 一 下", 2),  # Deepgram's blanks do not make more of them
        ("ちょっと待ってください", 6),
        ("ค่ะ", 1),  # signs of vowels and tones are not counted
        ("เดี๋ยวก่อน", 4),
        ("ຖ້າກ່ອນ", 3),
        ("សូមរង់ចាំ", 3),
        ("ခဏစောင့်ပါ", 3),
        ("我要 iPhone", 2),
    ],
)
def test_words_are_counted(text: str, count: int) -> None:
    assert count_words(text) == count


def test_a_text_is_parted_at_blanks_and_where_a_script_has_none() -> None:
    assert pieces("はい、はい。 okay") == ["はい", "、", "はい", "。", "okay"]
    assert pieces("我的号码是138") == ["我的号码是", "138"]
    assert pieces("ठीक है।") == ["ठीक", "है।"]


@pytest.mark.parametrize(
    ("token", "word"),
    [
        ("Vale!", "vale"),
        ("¡Vale!", "vale"),
        ("है।", "है"),
        ("«Oui»", "oui"),
        ("“okay”,", "okay"),
        ("‘okay’", "okay"),
        ("’cause", "cause"),
        ("It’s", "it's"),
        ("mm‑hmm", "mm-hmm"),  # with the hyphen that does not break
        ("ＯＫ！", "ok"),
        ("ﾊｲ｡", "ハイ"),
        ("si\u0301.", "sí"),
        ("نعم،", "نعم"),
        ("\u200fنعم\u200f", "نعم"),
        ("nee-", "nee-"),
        ("50%", "50%"),
        ("maria@", "maria@"),
    ],
)
def test_a_token_without_the_marks_around_it(token: str, word: str) -> None:
    assert bare(token) == word


def test_the_marks_at_the_end_are_found_behind_quotes_brackets_and_blanks() -> None:
    assert end_marks("(「はい？」) ") == "？"
    assert end_marks("Wait... ") == "..."
    assert end_marks("50%") == ""
    assert end_marks("okay") == ""


def test_every_mark_is_punctuation_and_says_one_thing() -> None:
    assert not STOPS & COMMAS
    assert QUESTIONS < STOPS
    assert {unicodedata.category(mark) for mark in STOPS | COMMAS} == {"Po"}
    asking = {mark for mark in STOPS if "QUESTION" in unicodedata.name(mark) or mark in "‽"}
    assert asking == QUESTIONS


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I'd like to cancel", "i'd like to cancel."),
        ("Yes, please!", "yes please"),
        ("It costs $15.50.", "it costs $15.50"),
        ("1,550 euros", "1550 euros"),
        ("twenty-five", "twenty five"),
        ("at 5 p.m.", "At 5 pm"),
        ("wait... what", "wait what"),
        ("555-1234", "555 1234"),
        ("今日は？", "今日は"),
        ("ठीक है।", "ठीक है"),
        ("¿Qué?", "qué"),
        ("“so”", "so"),
        ("cafe\u0301", "café"),
        ("می\u200cخواهم", "میخواهم"),
        ("10 − 5", "10 - 5"),
    ],
)
def test_what_is_written_otherwise_is_said_alike(one: str, other: str) -> None:
    assert spoken(one) == spoken(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("$15.50", "$1550"),
        ("$15", "15"),
        ("$.50", "$50"),
        ("15,50", "1550"),
        ("١٥٫٥", "١٥٥"),
        ("5%", "5"),
        ("-5 degrees", "5 degrees"),
        ("−5 degrees", "5 degrees"),
        ("+5", "5"),
        ("10-12", "1012"),
        ("10:30", "1030"),
        ("1/2", "12"),
        ("5/12", "512"),
        ("मुझे चाय दो", "मुझे चाय दे"),
        ("किताब", "कताब"),
        ("عَلِم", "عُلِم"),
        ("ใกล้", "ใกล"),
        ("resume", "résumé"),
        ("maria.weber@example.com", "mariaweber@example.com"),
        ("maria_weber", "mariaweber"),
        ("15²", "152"),
        ("#5", "5"),
        ("R&B", "RB"),
    ],
)
def test_what_changes_the_meaning_is_said_otherwise(one: str, other: str) -> None:
    assert spoken(one) != spoken(other)
