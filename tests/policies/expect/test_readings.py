"""What each expectation makes of what people say."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearout_policies.expect import (
    Amount,
    Code,
    Date,
    Digits,
    Email,
    Expectation,
    Name,
    OneOf,
    Open,
    Phone,
    Reading,
    Spelled,
    YesNo,
    asked,
    expectation,
    read_all,
)

FIVES = "five five five one"
SIZES = OneOf(["small", "large", "extra large"])
ALL = (
    *(Digits(4), Digits(3, 12), Phone(), Code(), Code(6), Email(), Spelled(), YesNo(), SIZES, Date(), Amount(), Name()),
    Open(),
)


def short(reading: Reading) -> str:
    """ "final 0176", "whole yes", "begun 01", "unlike"."""
    if reading.state == "unlike":
        return "unlike"
    kind = "begun" if reading.state == "partial" else "final" if reading.final else "whole"
    return kind if reading.value is None else f"{kind} {reading.value}"


TABLE: list[tuple[Expectation, dict[str, str]]] = [
    (
        Digits(10),
        {
            "": "unlike",
            "My number is": "begun",
            "It's 0176 555": "begun 0176555",
            "zero one seven six five five five one two three": "final 0176555123",
            "oh one seven six, double five, five": "begun 0176555",
            "oh one seven six, double five, double": "begun 017655",
            "triple five, one two three four five six seven, thanks": "final 5551234567",
            "0176 555 12345": "unlike",  # one too many
            "(555) 123-4567.": "final 5551234567",
            "five five five, twenty three, forty-five, six seven eight": "final 5552345678",
            "I don't have it with me": "unlike",
            "I have 2 dogs and live here": "unlike",
            "yes": "unlike",
            "Sure, the number is five": "begun 5",
            # Corrected: the digit before, as many as there are too many, or all.
            "four five six no sorry seven": "begun 457",
            "four five six no sorry": "begun 456",
            "five five five one two three four five six eight no sorry seven": "final 5551234567",
            "five five five one two three four five six seven no sorry": "begun 5551234567",
            "five five five one two three four five six eight no six seven": "final 5551234567",
            f"one two three four five six seven eight nine zero no wait {FIVES} two three four five six seven": (
                "final 5551234567"
            ),
            "five five let me start over five six": "begun 56",
            # A "to" or a "for" is a digit only between others.
            "five to five": "begun 525",
            "this is for five": "begun 5",
        },
    ),
    (
        Digits(3, 5),
        {
            "one two": "begun 12",
            "one two three": "whole 123",
            "one two three four five": "final 12345",
            "five hundred": "whole 500",
            "one hundred and five": "whole 105",
            "one hundred twenty three": "whole 123",
            "one twenty three": "whole 123",
            "nineteen eighty four": "whole 1984",
        },
    ),
    (
        Phone(),
        {
            "555 12": "begun 55512",
            "555 1234": "whole 5551234",
            "(555) 123-4567": "final 5551234567",
            "one eight hundred five five five one two one two": "begun 1805551212",
            "1 800 555 1212": "final 18005551212",
            "0176 555 123": "whole 0176555123",
            "0176 555 1234": "final 01765551234",
            "plus four four two zero seven nine four six zero nine five eight": "final +442079460958",
            "+49 176 5551234": "whole +491765551234",
            "I'd rather not say": "unlike",
        },
    ),
    (
        Code(6),
        {
            "A B C one two three": "final ABC123",
            "AB12": "begun AB12",
            "A-B-C 1 2 3": "final ABC123",
            "alpha bravo charlie one two": "begun ABC12",
            "it's B as in boy, X, double seven": "begun BX77",
            "JPEG four two": "final JPEG42",
            "a b c d e f g": "unlike",
            "I don't know where it is": "unlike",
        },
    ),
    (
        Code(),
        {
            "it's": "begun",
            "a b c": "begun ABC",
            "w y a t u seventy seven seventy seven": "whole WYATU7777",
            "a b c d no sorry e": "whole ABCE",
        },
    ),
    (
        Email(),
        {
            "my email is": "begun",
            "it's john": "begun john",
            "john at": "begun john@",
            "John dot Smith at gmail dot com": "final john.smith@gmail.com",
            "john.smith@gmail.com": "final john.smith@gmail.com",
            "John.Smith @ gmail.com.": "final john.smith@gmail.com",
            "j o h n underscore five at gmail dot com, thanks": "final john_5@gmail.com",
            "john at example dot co": "begun john@example.co",
            "john at example dot co dot uk": "final john@example.co.uk",
            "jo at gmail dot com no sorry john at gmail dot com": "final john@gmail.com",
            "I don't have one": "unlike",
            "I left it at home.": "unlike",
            "you can reach me at john at": "begun john@",
        },
    ),
    (
        Spelled(),
        {
            "my name is": "begun",
            "s m": "begun SM",
            "s m i t h": "whole SMITH",
            "S-M-I-T-H.": "whole SMITH",
            "S as in Sam, M as in Mary, I": "whole SMI",
            "Smith": "whole SMITH",
            "Smith, s m i": "begun SMI",
            "Smith, s m i t h": "final SMITH",
            "k e double l y": "whole KELLY",
            "k e double": "begun KE",
            "I don't know": "unlike",
            "why do you need that": "unlike",
        },
    ),
    (
        YesNo(),
        {
            "Yes.": "final yes",
            "Yes, please.": "final yes",
            "yeah that's right": "final yes",
            "um, yes": "final yes",
            "No.": "final no",
            "no, not really": "final no",
            "of course not": "final no",
            "no thank you": "final no",
            "yes but": "begun yes",
            "Yes, I'd like to order a pizza": "whole yes",
            "I don't know": "unlike",
            "well, I don't know": "unlike",
            "what do you mean": "unlike",
        },
    ),
    (
        SIZES,
        {
            "Large.": "final large",
            "a large, please": "final large",
            "Extra large": "final extra large",
            "extra": "begun",
            "I think I'd take the large one today": "whole large",
            "small no sorry large": "whole large",
            "large, wait": "begun large",
            "I don't care": "unlike",
        },
    ),
    (
        Date(),
        {
            "the third": "begun",
            "on May": "begun",
            "the third of May": "whole --05-03",
            "May 3rd": "whole --05-03",
            "January twenty-first": "whole --01-21",
            "May the third, twenty twenty four": "final 2024-05-03",
            "October 24, 1970.": "final 1970-10-24",
            "March seven nineteen sixty seven": "final 1967-03-07",
            "November ninth sixty five": "final 1965-11-09",
            "ten twenty seven sixty two": "final 1962-10-27",
            "May third nineteen": "begun",
            "03/05/2024": "final 2024-03-05",
            "25/12/2024": "final 2024-12-25",
            "2024-05-03": "final 2024-05-03",
            "5/3": "whole --05-03",
            "tomorrow": "whole tomorrow",
            "thirtieth of February": "begun",
            "what do you need that for": "unlike",
        },
    ),
    (
        Amount(),
        {
            "it's about": "begun",
            "twenty three dollars and": "begun 23 USD",
            "twenty three dollars and fifty cents": "final 23.50 USD",
            "$23.50": "final 23.50 USD",
            "twenty three fifty": "whole 23.50",
            "about three hundred": "whole 300",
            "two and a half thousand": "whole 2500",
            "two thousand five hundred": "whole 2500",
            "fifty euros": "final 50 EUR",
            "five cents": "final 0.05",
            "a hundred bucks": "final 100 USD",
            "$1,250": "final 1250 USD",
            "I have no idea": "unlike",
        },
    ),
    (
        Name(),
        {
            "my name is": "begun",
            "My name is John Smith.": "whole John Smith",
            "This is Mary Ann": "whole Mary Ann",
            "John": "whole John",
            "s m i t h": "whole SMITH",
            "I'd like to order a pizza please": "unlike",
            "what": "unlike",
        },
    ),
    (Open(), {"0176 555": "unlike", "yes": "unlike"}),
]


@pytest.mark.parametrize(
    ("what", "text", "reading"),
    [(what, text, reading) for what, texts in TABLE for text, reading in texts.items()],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_what_people_say(what: Expectation, text: str, reading: str) -> None:
    assert short(what.read(text)) == reading


QUESTIONS: dict[str, str | None] = {
    "Sure. What's your phone number?": "phone",
    "Can you confirm your phone number?": "phone",
    "Is your phone number 555 1234?": "yes_no",
    "Could you spell your last name for me?": "spelled",
    "What is your e-mail address?": "email",
    "May I have your date of birth?": "date",
    "When would you like to come in?": "date",
    "How much would you like to pay?": "amount",
    "Please enter your four digit pin.": "digits 4",
    "Please tell me the six-digit code.": "digits 6",
    "And the last 4 digits of your card?": "digits 4",
    "What's your order number?": "code",
    "I'll need your account number.": "code",
    "And your zip code, please?": "code",
    "Who am I speaking with?": "name",
    "May I have your name?": "name",
    "Is that right?": "yes_no",
    "So that's two tickets to London, correct?": "yes_no",
    "Great. Shall I book it? It costs 5 dollars.": "yes_no",
    "Would you like a small or a large?": "one_of small large",
    "Tea or coffee?": "one_of tea coffee",
    "What's your phone number? Or is it easier if I spell it?": "yes_no",
    "How can I help you today?": None,
    "What happened?": None,
    "Thanks. I've booked it.": None,
    "": None,
}


@pytest.mark.parametrize(("text", "meant"), QUESTIONS.items())
def test_what_an_agent_asks_for(text: str, meant: str | None) -> None:
    found = asked(text)
    if meant is None:
        assert found == ()
        return
    name, *more = meant.split()
    expected: dict[str, Any] = {"type": name}
    if name == "digits":
        expected |= {"least": int(more[0]), "most": int(more[0])}
    elif more:
        expected["options"] = more
    assert [one.to_dict() for one in found] == [expected]


def test_the_best_of_several_counts() -> None:
    several = (YesNo(), Phone(), Digits(7))
    assert read_all(several, "555 1234") == (Digits(7), Reading("complete", "5551234", final=True))
    assert read_all(several, "yes") == (YesNo(), Reading("complete", "yes", final=True))
    assert read_all(several, "what do you mean") is None
    assert read_all((), "yes") is None


def test_no_word_matches_in_a_language_that_has_no_list() -> None:
    assert Digits(4).read("one two three four", "xx") == Reading("unlike")
    assert short(Digits(4).read("12 34", "xx")) == "final 1234"
    assert YesNo().read("yes", "xx") == Reading("unlike")
    assert Email().read("john at gmail dot com", "xx").state != "complete"
    assert short(Email().read("john@gmail.com", "xx")) == "final john@gmail.com"
    assert asked("What's your phone number?", "xx") == ()
    assert asked("What's your phone number?", "../../en") == ()


# What cannot be


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Digits(0), "digits: from 1 to 64 of them, not 0 to 0"),
        (lambda: Digits(5, 3), "digits: from 1 to 64 of them, not 5 to 3"),
        (lambda: Digits(True), "digits: a number of digits is a whole number, not True"),
        (lambda: Digits("4"), "digits: a number of digits is a whole number, not '4'"),  # type: ignore[arg-type]
        (lambda: Code(0), "code: its length is a whole number from 1 to 64, not 0"),
        (lambda: OneOf([]), "one_of: from 1 to 1000 options, not 0"),
        (lambda: OneOf("yes"), "one_of: its options are a list of words or phrases, not 'yes'"),
        (lambda: OneOf(["a", "A."]), "one_of: two of its options are the same words"),
        (lambda: OneOf(["!"]), "one_of: an option is a word or a phrase, not '!'"),
        (lambda: expectation("fax"), "there is no expectation 'fax'; types: digits, phone, code"),
        (lambda: expectation({"type": "digits"}), "digits needs 'least'"),
        (lambda: expectation({"type": "phone", "country": "us"}), "phone has no field 'country'; it has none"),
        (lambda: expectation({"type": "code", "size": 1}), "code has no field 'size'; its fields: length"),
        (lambda: expectation(5), "an expectation is an object with a type, not 5"),  # type: ignore[arg-type]
        (lambda: expectation({"type": 10**5000}), "there is no expectation a very large number; types: digits"),
    ],
)
def test_what_cannot_be_is_one_line(make: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        make()
    assert str(caught.value).startswith(complaint)


@pytest.mark.parametrize("what", ALL, ids=lambda one: one.name)
def test_json_and_back(what: Expectation) -> None:
    assert expectation(what.to_dict()) == what == expectation(what)
    assert hash(expectation(what.to_dict())) == hash(what)


# Whatever is said

SAID = """
    zero oh one double triple twenty three nineteen hundred thousand and no sorry wait actually start over to for at dot
    com co uk underscore my number is it's the third of may monday tomorrow yes but a b c s as in sam 5 12 0176 +44 $5
    3/4 555-1234 john@x.com small extra large dollars cents half um please don't @ . - ' ? x1 ABC
"""
VOCABULARY = SAID.split()
texts = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(VOCABULARY), max_size=14).map(" ".join))


@given(st.sampled_from(ALL), texts, st.sampled_from(["en", "xx"]))
def test_any_text_is_read(what: Expectation, text: str, language: str) -> None:
    reading = what.read(text, language)
    assert reading.state in ("complete", "partial", "unlike")
    assert reading == what.read(text, language)
    assert not reading.final or reading.state == "complete"
    assert reading.state != "complete" or reading.value
    if isinstance(what, Digits) and reading.state == "complete":
        assert reading.value
        assert reading.value.isdecimal()
        assert what.least <= len(reading.value) <= (what.most or what.least)


@given(st.sampled_from(ALL), st.lists(st.sampled_from(VOCABULARY[20:]), max_size=8).map(" ".join))
def test_outer_marks_and_blanks_change_nothing(what: Expectation, text: str) -> None:
    reading = what.read(text)
    assert what.read(f"  {text} ") == reading


@given(texts)
def test_any_agent_is_understood_or_not(text: str) -> None:
    asked(text)


@pytest.mark.parametrize("what", ALL, ids=lambda one: one.name)
def test_long_texts_take_no_time(what: Expectation) -> None:
    for text in ("double " * 5000, "five " * 5000, "no sorry " * 3000, "a" * 20_000, "john at " * 3000, "1-" * 10_000):
        began = time.process_time()
        what.read(text)
        assert time.process_time() - began < 0.5
