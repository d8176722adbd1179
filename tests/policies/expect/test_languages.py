"""Answers and questions in other languages than English."""

from __future__ import annotations

import re
import time

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
    Phone,
    Reading,
    Spelled,
    YesNo,
    asked,
)
from hearout_policies.expect.lists import lists
from hearout_policies.language import NONE, languages
from tests.policies.expect.test_readings import ALL, short

OTHERS = [code for code in languages() if code not in ("en", NONE)]
#: Two numbers as they are said, and the figures.
NUMBERS = {
    "es": "veintidós=22 treinta y cinco=35 cuarenta y uno=41 noventa y nueve=99 doce=12 setenta=70",
    "de": "einundzwanzig=21 fünfunddreißig=35 zwoundvierzig=42 neunundneunzig=99 zwölf=12 siebzig=70",
    "fr": "vingt-et-un=21 trente-cinq=35 soixante et onze=71 quatre-vingts=80 quatre vingt dix-neuf=99 nonante-deux=92",
    "pt": "vinte e dois=22 trinta e cinco=35 sessenta e meia=66 noventa e nove=99 dezesseis=16 dezasseis=16",
    "it": "ventuno=21 trentacinque=35 quarantotto=48 ottantatré=83 novantanove=99 settanta=70",
    "hi": "इक्कीस=21 पैंतीस=35 उनचास=49 निन्यानबे=99 बारह=12 सत्तर=70 पंद्रह=15",
    "ja": "二十一=21 三十五=35 十=10 九十九=99 十二=12 七十=70",
    "zh": "二十一=21 三十五=35 十=10 九十九=99 十二=12 七十=70",
}


@pytest.mark.parametrize(
    ("code", "said", "figures"),
    [
        pytest.param(code, *pair, id=f"{code}-{pair[0]}")
        for code, pairs in NUMBERS.items()
        for pair in re.findall(r"(\S[^=]*)=(\d+)", pairs)
    ],
)
def test_numbers_up_to_99(code: str, said: str, figures: str) -> None:
    assert Digits(2).read(said, code) == Reading("complete", figures, final=True)


@pytest.mark.parametrize("code", OTHERS)
def test_every_number_up_to_99_has_a_word(code: str) -> None:
    known = lists(code)
    assert known.digits
    assert known.teens
    assert set(known.digits.values()) == set("0123456789")
    assert {*known.teens.values(), *(known.tens or {}).values()} == {str(n) for n in range(10, 100)}


@pytest.mark.parametrize(
    ("code", "what", "text", "expected"),
    [
        ("es", Digits(9), "mi número es seis uno cinco treinta y cuatro doble cero", "begun 6153400"),
        ("es", Digits(4), "uno dos tres cuatro, no perdón, cinco", "final 1235"),
        ("es", Digits(4), "no lo sé", "unlike"),
        ("es", Phone(), "seis uno cinco, doce, treinta y cuatro, setenta", "whole 615123470"),
        ("es", Email(), "es maría guion bajo lópez arroba gmail punto com", "final maría_lópez@gmail.com"),
        ("es", YesNo(), "claro que sí, gracias", "final yes"),
        ("es", YesNo(), "no", "final no"),
        ("es", YesNo(), "sí pero", "begun yes"),
        ("es", YesNo(), "no sé", "unlike"),
        ("es", YesNo(), "yes", "unlike"),
        ("es", Date(), "el 5/12/1990", "final 1990-12-05"),
        ("es", Date(), "cinco doce", "unlike"),
        ("es", Amount(), "23,50 euros", "final 23.50 EUR"),
        ("es", Spelled(), "g o m e z", "whole GOMEZ"),
        ("de", Digits(6), "null eins sieben fünf einundzwanzig", "final 017521"),
        ("de", Phone(), "null eins sieben sechs fünfundzwanzig dreiunddreißig zwo zwo", "whole 0176253322"),
        ("de", Email(), "anna punkt meier ät web punkt de", "final anna.meier@web.de"),
        ("de", YesNo(), "ja, genau", "final yes"),
        ("de", YesNo(), "nein danke", "final no"),
        ("de", YesNo(), "ja aber", "begun yes"),
        ("de", YesNo(), "keine Ahnung", "unlike"),
        ("de", Code(6), "Anton Berta drei vier fünf sechs", "final AB3456"),
        ("de", Amount(), "1.500,00 €", "final 1500.00 EUR"),
        ("de", Amount(), "zweihundert fünf Euro", "unlike"),
        ("de", Date(), "am 3.5.2024", "final 2024-05-03"),
        ("de", Name(), "ich heiße Jörg Müller", "whole Jörg Müller"),
        ("fr", Phone(), "zéro six douze trente-quatre cinquante-six soixante-dix-huit", "final 0612345678"),
        ("fr", Digits(4), "quatre-vingt-dix-huit soixante et onze", "final 9871"),
        ("fr", Email(), "c'est jean tiret bas petit arobase free point fr", "final jean_petit@free.fr"),
        ("fr", YesNo(), "oui c’est ça", "final yes"),
        ("fr", YesNo(), "non pas du tout", "final no"),
        ("fr", YesNo(), "je ne sais pas", "unlike"),
        ("fr", Date(), "le 03/05/2024", "final 2024-05-03"),
        ("pt", Digits(5), "nove meia cinco vinte e um", "final 96521"),
        ("pt", Email(), "é joão traço baixo silva arroba gmail ponto com", "final joão_silva@gmail.com"),
        ("pt", YesNo(), "é sim", "final yes"),
        ("pt", YesNo(), "não obrigado", "final no"),
        ("pt", YesNo(), "não sei", "unlike"),
        ("pt", YesNo(), "sim mas", "begun yes"),
        ("it", Digits(8), "tre quattro ventuno trentatré doppio zero", "final 34213300"),
        ("it", Email(), "mario punto rossi chiocciola libero punto it", "final mario.rossi@libero.it"),
        ("it", Spelled(), "Roma Otranto Savona Savona Imola", "whole ROSSI"),
        ("it", YesNo(), "sì certo", "final yes"),
        ("it", YesNo(), "no grazie", "final no"),
        ("it", YesNo(), "boh", "unlike"),
        ("hi", Phone(), "मेरा नंबर नौ आठ डबल ज़ीरो पैंतीस निन्यानबे एक दो", "whole 9800359912"),
        ("hi", Digits(4), "९८७६", "final ९८७६"),
        ("hi", Email(), "राहुल डॉट शर्मा एट gmail डॉट com", "final राहुल.शर्मा@gmail.com"),
        ("hi", YesNo(), "जी हाँ", "final yes"),
        ("hi", YesNo(), "नहीं", "final no"),
        ("hi", YesNo(), "पता नहीं", "unlike"),
        ("hi", YesNo(), "हाँ लेकिन", "begun yes"),
        ("ja", Phone(), "私の電話番号はゼロ九〇の一二三四の五六七八です", "final 09012345678"),
        ("ja", Phone(), "090-1234-5678です", "final 09012345678"),
        ("ja", Digits(4), "一 二 三", "begun 123"),
        ("ja", Digits(4), "もう一度お願いします", "unlike"),
        ("ja", YesNo(), "はい、お願いします", "final yes"),
        ("ja", YesNo(), "いいえ、違います", "final no"),
        ("ja", YesNo(), "わかりません", "unlike"),
        ("ja", YesNo(), "はい、でも", "begun yes"),
        ("ja", OneOf(["小さい", "大きい"]), "大きいのをお願いします", "final 大きい"),
        ("ja", Date(), "1990年5月12日です", "final 1990-05-12"),
        ("ja", Amount(), "3000円です", "final 3000 JPY"),
        ("ja", Name(), "私の名前は田中です", "whole 田中"),
        ("ja", Email(), "tanaka アットマーク example ドット jp", "final tanaka@example.jp"),
        ("zh", Digits(11), "我的手机号是幺三八零零一二三四五六", "final 13800123456"),
        ("zh", Digits(6), "138 二十三 零", "final 138230"),
        ("zh", YesNo(), "是的，没问题", "final yes"),
        ("zh", YesNo(), "不是", "final no"),
        ("zh", YesNo(), "对不起", "unlike"),
        ("zh", YesNo(), "好的 但是", "begun yes"),
        ("zh", OneOf(["小杯", "大杯"]), "我要大杯", "final 大杯"),
        ("zh", Date(), "5月12号", "whole --05-12"),
        ("zh", Date(), "2024年5月3日", "final 2024-05-03"),
        ("zh", Amount(), "二百五十块", "unlike"),
        ("zh", Name(), "我叫王小明", "whole 王小明"),
    ],
)
def test_what_an_answer_is(code: str, what: Expectation, text: str, expected: str) -> None:
    assert short(what.read(text, code)) == expected


@pytest.mark.parametrize(
    ("code", "question", "expected"),
    [
        ("es", "¿Me puede dar su número de teléfono?", "phone"),
        ("es", "¿Cuál es su correo electrónico?", "email"),
        ("es", "¿Es correcto?", "yes_no"),
        ("es", "Dígame los cuatro últimos dígitos de su tarjeta.", "digits 4"),
        ("es", "¿Quiere el pequeño o el grande?", "one_of pequeño grande"),
        ("es", "¿Tiene su número de pedido?", "code"),
        ("es", "¿Cómo se llama?", "name"),
        ("es", "¿En qué puedo ayudarle?", ""),
        ("es", "What's your phone number?", ""),
        ("de", "Wie lautet Ihre Telefonnummer?", "phone"),
        ("de", "Können Sie mir bitte Ihre Bestellnummer nennen?", "code"),
        ("de", "Nennen Sie mir bitte die letzten vier Ziffern.", "digits 4"),
        ("de", "Bitte buchstabieren Sie Ihren Namen.", "spelled"),
        ("de", "Stimmt das?", "yes_no"),
        ("de", "Wie heißen Sie?", "name"),
        ("de", "Wie kann ich Ihnen helfen?", ""),
        ("fr", "Quel est votre numéro de téléphone ?", "phone"),
        ("fr", "Pouvez-vous épeler votre nom ?", "spelled"),
        ("fr", "C’est bien ça ?", "yes_no"),
        ("fr", "Voulez-vous le petit ou le grand ?", "one_of petit grand"),
        ("fr", "Les quatre derniers chiffres, s’il vous plaît.", "digits 4"),
        ("fr", "En quoi puis-je vous aider ?", ""),
        ("pt", "Pode me informar o seu telefone, por favor?", "phone"),
        ("pt", "Qual é o seu e-mail?", "email"),
        ("pt", "Está certo?", "yes_no"),
        ("pt", "Quais são os quatro últimos dígitos do CPF?", "digits 4"),
        ("pt", "Como posso ajudar?", ""),
        ("it", "Mi può dare il suo numero di telefono?", "phone"),
        ("it", "Le ultime quattro cifre, per favore.", "digits 4"),
        ("it", "Va bene?", "yes_no"),
        ("it", "Come si chiama?", "name"),
        ("it", "Come posso aiutarla?", ""),
        ("hi", "कृपया अपना फ़ोन नंबर बताइए।", "phone"),
        ("hi", "क्या यह सही है?", "yes_no"),
        ("hi", "आखिरी चार अंक बताइए।", "digits 4"),
        ("hi", "आपका नाम क्या है?", "name"),
        ("hi", "मैं आपकी कैसे मदद कर सकता हूँ?", ""),
        ("ja", "お電話番号をお願いします。", "phone"),
        ("ja", "よろしいですか？", "yes_no"),
        ("ja", "下四桁を教えてください。", "digits 4"),
        ("ja", "お名前は？", "name"),
        ("ja", "どのようなご用件でしょうか？", ""),
        ("zh", "请问您的手机号码是多少？", "phone"),
        ("zh", "對嗎？", "yes_no"),
        ("zh", "请说后四位数字。", "digits 4"),
        ("zh", "您的订单号是多少？", "code"),
        ("zh", "您贵姓？", "name"),
        ("zh", "有什么可以帮您？", ""),
    ],
)
def test_what_is_asked(code: str, question: str, expected: str) -> None:
    found = [one.to_dict() for one in asked(question, code)]
    said = [
        " ".join([one["type"], *map(str, one.get("options", [one["least"]] if "least" in one else []))])
        for one in found
    ]
    assert " ".join(said) == expected


@pytest.mark.parametrize("code", OTHERS)
def test_questions_are_patterns_of_what_there_is(code: str) -> None:
    known = lists(code)
    assert known.asking
    re.compile(known.asking["requests"])
    re.compile(known.asking["front"])
    for entry in known.questions:
        groups = re.compile(entry["pattern"]).groupindex
        assert set(groups) == {"one_of": {"one", "two"}, "digits": {"count"}}.get(entry["expect"], set())


pieces_of = st.sampled_from(
    sorted({key for code in OTHERS for key in lists(code).digits or {}} | {"はい", "no", "や", "@", "."})
)


@given(st.sampled_from(ALL), st.lists(pieces_of | st.text(max_size=5), max_size=12), st.sampled_from(OTHERS))
def test_any_text_is_read(what: Expectation, words: list[str], code: str) -> None:
    for text in (" ".join(words), "".join(words)):
        reading = what.read(text, code)
        assert reading == what.read(text, code)
        assert not reading.final or reading.state == "complete"
        assert reading.state != "complete" or reading.value
        asked(text, code)


@pytest.mark.parametrize("what", ALL, ids=lambda one: one.name)
def test_long_texts_take_no_time(what: Expectation) -> None:
    for text in ("一" * 20_000, "はい" * 10_000, "私の番号は" * 5000, "soixante dix " * 5000):
        for code in ("ja", "zh", "fr"):
            began = time.process_time()
            what.read(text, code)
            assert time.process_time() - began < 0.5
