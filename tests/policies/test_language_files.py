"""The language of a policy: by name, none, or a file of one's own; and what a trace keeps of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hearout_policies import Ending, Policy, load_policy, preset
from hearout_policies.expect import YesNo
from hearout_policies.language import Language, language, read_language, table_language
from hearout_policies.text import classify
from tests.kit.paths import ROOT

DUTCH = """
conjunctions = ["en", "Maar", "omdat"]
fillers = ["eh", "ehm"]
openers = ["mijn naam is"]
backchannels = ["ja ja", "hmm", "precies"]
"""


def test_the_file_of_the_page(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```toml\n(.*?)^```$", (ROOT / "docs" / "languages.md").read_text("utf-8"), re.S | re.M)
    dutch = Policy(language=written(tmp_path / "nl.toml", block)).words
    assert classify("ik wil graag een", dutch) is Ending.FUNCTION_WORD
    assert classify("dank u wel", dutch) is Ending.STOP


def written(path: Path, text: str) -> str:
    path.write_text(text, "utf-8")
    return str(path)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    policy = Policy(language=written(tmp_path / "nl.toml", DUTCH))
    assert classify("koffie en", policy.words) is Ending.CONJUNCTION
    assert classify("koffie MAAR", policy.words) is Ending.CONJUNCTION, "entries are taken as they are said"
    assert classify("hallo mijn naam is", policy.words) is Ending.FUNCTION_WORD
    assert classify("my name is", policy.words) is Ending.PLAIN
    assert classify("see you at 10km", policy.words) is Ending.PLAIN, "what is no language's own counts there, too"
    assert policy.is_backchannel("Precies!")
    assert not policy.is_backchannel("yeah")
    assert policy.words.base == "none"


def test_its_lists_take_the_place_of_those_of_its_base(tmp_path: Path) -> None:
    mine = read_language(written(tmp_path / "es-mx.toml", 'base = "es-MX"\nbackchannels = ["ándale"]\n'))
    assert mine.backchannels == {"ándale"}
    assert mine.conjunctions == language("es").conjunctions
    assert mine.base == "es", "and answers are read in it"


def test_endings_of_ones_own_in_a_script_without_blanks(tmp_path: Path) -> None:
    thai = read_language(
        written(tmp_path / "th.toml", 'conjunctions = ["-และ"]\nwhole = ["ครับ"]\nfillers = ["-เอ่อ"]\n')
    )
    assert classify("กาแฟและ", thai) is Ending.CONJUNCTION
    assert classify("ผมอยากเอ่อ", thai) is Ending.FILLER
    assert classify("กาแฟ", thai) is Ending.PLAIN


@pytest.mark.parametrize("named", ["a code", "a file", "a table"])
def test_a_policy_file_names_a_language(tmp_path: Path, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "nl.toml", DUTCH)
    lines = {
        "a code": 'base = "patient"\nlanguage = "de-CH"\n',
        "a file": 'base = "patient"\nlanguage = "nl.toml"\n',
        "a table": f'base = "patient"\n[language]\n{DUTCH}',
    }
    monkeypatch.chdir(tmp_path.parent)  # a file is looked for beside the one that names it
    policy = load_policy(written(tmp_path / "mine.toml", lines[named]))
    assert policy.name == "patient"
    assert policy.is_backchannel("genau" if named == "a code" else "precies")


@pytest.mark.parametrize(
    "policy",
    [
        Policy(language="ja"),
        Policy(language="none"),
        preset("fast").replace({"language": {"base": "de", "fillers": ["öhh"], "backchannels": []}}),
        Policy(language=table_language({"conjunctions": ["en"], "whole": ["-ครับ"]})),
    ],
)
def test_a_trace_keeps_the_lists_and_not_the_name_of_a_file(policy: Policy) -> None:
    again = Policy.from_dict(json.loads(json.dumps(policy.to_dict())))
    assert again == policy
    assert again.words == policy.words


def test_where_none_is_named_a_trace_names_none() -> None:
    assert "language" not in Policy().to_dict()


def test_a_policy_from_afar_reads_no_file(tmp_path: Path) -> None:
    path = written(tmp_path / "nl.toml", DUTCH)
    with pytest.raises(ValueError, match="no file is read from here; give its lists as a table"):
        Policy.from_dict({"language": path})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('fillers = "eh"', "fillers is a list of words or phrases, not 'eh'"),
        ("fillers = [3]", "fillers has words or phrases in it, not 3"),
        ('fillers = ["..."]', "fillers has words or phrases in it, not '...'"),
        ('filers = ["eh"]', "has no list 'filers'; there are: base, conjunctions, fillers,"),
        ('base = "nl"', "base is one of de, en, es, fr, hi, it, ja, none, pt, zh, not 'nl'"),
        ("base = 3", "base is one of de, en,"),
        ('fillers = ["-eh"]', "'-eh': only fillers, whole, questions,"),
        ('backchannels = ["-はい"]', "'-はい': only fillers, whole, questions,"),
        ("fillers = [", "is not valid TOML"),
        ("#" * 1_000_001, "is larger than 1000000 bytes"),
        ("fillers = " + "[" * 5000 + "]" * 5000, "is not valid TOML"),
        ('"' + "a" * 5000 + '" = []', "has no list 'aaa"),
    ],
    ids=["text", "number", "marks", "key", "base", "base kind", "ending", "place", "syntax", "large", "deep", "long"],
)
def test_what_is_wrong_in_a_file_is_one_line_with_its_name_and_key(tmp_path: Path, text: str, complaint: str) -> None:
    path = written(tmp_path / "nl.toml", text)
    with pytest.raises(ValueError, match=r"language file .*nl\.toml") as caught:
        Policy(language=path)
    line = str(caught.value)
    assert complaint in line
    assert "\n" not in line
    assert len(line) < len(path) + 400


@pytest.mark.parametrize("path", ["nowhere.toml", ".toml", "a\0b.toml"])
def test_a_file_that_cannot_be_read(path: str) -> None:
    with pytest.raises(ValueError, match="cannot read language file"):
        Policy(language=path)


@pytest.mark.parametrize("value", [3, True, ["en"], 0.5])
def test_what_is_no_language(value: Any) -> None:
    with pytest.raises(ValueError, match="language takes a code, a file or a table of lists, not"):
        Policy().replace({"language": value})


def test_answers_are_read_in_the_language_of_the_policy() -> None:
    assert YesNo().read("yes", Policy().words.base).value == "yes"
    assert YesNo().read("yes", Policy(language="none").words.base).value is None
    assert Language().base == "none"
