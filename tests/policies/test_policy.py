"""Policies: presets, settings by key, TOML files, and clear refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from hearout.traces.checker import check
from hearout.traces.reader import read_trace
from hearout.traces.replayer import replay
from hearout_policies import PRESETS, Endpointing, Policy, ProviderEnd, Silence, load_policy, preset
from tests.kit.paths import CASES


def silence(policy: Policy) -> Silence:
    return next(rule for rule in policy.rules if isinstance(rule, Silence))


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_their_names_and_survive_a_round_trip(name: str) -> None:
    policy = preset(name)
    assert policy.name == name
    assert Policy.from_dict(policy.to_dict()) == policy


@pytest.mark.parametrize("name", PRESETS)
def test_every_parameter_is_documented_and_within_its_range(name: str) -> None:
    parameters = list(preset(name).parameters())
    assert len({p.key for p in parameters}) == len(parameters)
    for p in parameters:
        assert p.why, p.key
        assert p.low <= p.value <= p.high, p.key


@pytest.mark.parametrize(
    "text",
    ["Mhmm.", "uh-huh", "Uh huh", "mm-hmm, yeah", "MM‑HMM", "Mm-hm.", "Um.", "“Okay.”", "Yup!", "right, okay, sure"],
)
def test_who_only_listens_is_known(text: str) -> None:
    assert Policy().is_backchannel(text)


@pytest.mark.parametrize(
    "text",
    ["", ".", "mm-mm", "Mm mm.", "uh-uh", "Uh uh", "nuh-uh", "nuh uh", "mhmm no", "okay okay okay okay", "yes but"],
)
def test_who_answers_is_not_taken_for_one(text: str) -> None:
    assert not Policy().is_backchannel(text)


@pytest.mark.parametrize(
    ("listed", "text"),
    [
        ("ठीक है", "ठीक है।"),
        ("vale", "¡Vale!"),
        ("¡Vale!", "vale"),
        ("sí", "si\u0301."),
        ("そうですね", "そう です ね。"),
        ("そう です ね", "そうですね"),
        ("はい", "はい、はい。"),
        ("d'accord", "D’accord."),
        ("mm-mm", "mm-mm"),  # who lists it means it
    ],
)
def test_a_list_of_ones_own_is_found_whatever_marks_are_around(listed: str, text: str) -> None:
    assert Policy(backchannels=frozenset([listed])).is_backchannel(text)
    assert not Policy(backchannels=frozenset([listed])).is_backchannel(f"{text} 不 no")


@pytest.mark.parametrize(
    ("text", "interrupts"),
    [("stop", False), ("stop it", True), ("stop !", False), ("等一下", True), ("停。", False), ("はい", False)],
)
def test_so_many_words_interrupt_in_any_script(text: str, interrupts: bool) -> None:
    assert Policy().is_interruption(text, 0.0) is interrupts
    assert Policy().is_interruption(text, 0.7)


def test_the_backchannels_can_be_chosen() -> None:
    policy = Policy().replace({"backchannels": ["Mhm", "go on"]})
    assert policy.known_backchannels == {"mhm", "go on"}
    assert Policy().replace({"backchannels": "mhm, go on"}) == policy
    assert Policy.from_dict(policy.to_dict()) == policy


def test_the_numbers_of_the_presets() -> None:
    """What differs from `balanced`, which `hearout policies` prints."""
    usual = {p.key: p.value for p in Policy().parameters()}
    changed = {
        name: {p.key: p.value for p in preset(name).parameters() if usual.get(p.key) != p.value} for name in PRESETS
    }
    own = {"provider_end.silence": 3.5, "provider_end.patience": 2.5, "provider_end.wordless": 2.0}
    assert changed == {
        "balanced": {},
        "fast": {"silence.price": 0.4, "predict_above": 0.2},
        "patient": {"silence.price": 4.0, "silence.patience": 2.6, "max_silence": 8.0},
        "dictation": {
            "silence.price": 20.0,
            "silence.longest": 10.0,
            "silence.answer_longest": 10.0,
            "silence.patience": 10.0,
            "finalize_on_silence.finalize_after": 0.2,
            "max_silence": 15.0,
            "max_turn": 1800.0,
            "predict_above": 1.0,
        },
        "provider": {"max_silence": 8.0, "suspicion_hold": 0.0} | own,
        "push_to_talk": {"max_silence": 60.0, "max_turn": 600.0},
    }
    assert [[rule.name for rule in preset(name).rules] for name in ("provider", "push_to_talk")] == [
        ["provider_end", "utterance_end"],
        [],
    ]


def test_a_policy_of_another_name_is_told_as_what_it_changes() -> None:
    policy = Policy(name="mine", max_turn=60.0)
    assert policy.to_dict() == {"base": "balanced", "max_turn": 60.0}
    assert policy.replace({"backchannels": "mhm"}).to_dict()["backchannels"] == ["mhm"]


def test_a_rule_stands_in_a_policy_once() -> None:
    with pytest.raises(ValueError, match=r"^policy 'mine' has two rules named 'endpointing'$"):
        Policy(name="mine", rules=(Endpointing(), Silence(), Endpointing(noise_after=1.0)))


def test_setting_a_parameter_changes_no_other_rule() -> None:
    for rule in Policy().rules:
        key = next(p.key for p in Policy().parameters() if p.key.startswith(f"{rule.name}."))
        changed = Policy().replace({key: 1.0}).rules
        assert [r for r in changed if r.name != rule.name] == [r for r in Policy().rules if r.name != rule.name]


def test_units_are_told() -> None:
    units = {p.key: p.unit for p in Policy().parameters()}
    assert (units["max_turn"], units["odds.plain"], units["interrupt_words"]) == ("s", "", "words")


def test_replace_sets_parameters_at_any_depth() -> None:
    policy = Policy().replace({"max_turn": "60", "odds.plain": 0.8, "endpointing.noise_after": "3"})
    assert policy.max_turn == 60
    assert policy.odds.plain == 0.8
    assert policy.rules[0] == Endpointing(noise_after=3)
    assert Policy().max_turn == 120, "the original is left alone"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"silence.plain": 1}, "no parameter 'silence.plain'; did you mean odds.plain?"),
        ({"max_tern": 1}, "no parameter 'max_tern'; did you mean max_turn?"),
        ({"silence.prise": 1}, "no parameter 'silence.prise'; did you mean silence.price?"),
        ({"langauge": "es"}, "no parameter 'langauge'; did you mean language?"),
        ({"nonsense": 1}, "no parameter 'nonsense'; `hearout policies` lists all keys"),
        ({"odds": 1}, "no parameter 'odds'"),
        ({"silence": 1}, "no parameter 'silence'"),
        ({"rules": 1}, "no parameter 'rules'"),
        ({"name": "x"}, "no parameter 'name'"),
        ({"silence.price": "soon"}, "silence.price takes a number from 0 to 10000 s, not 'soon'"),
        ({"silence.price": 10001}, "silence.price takes a number from 0 to 10000 s, not 10001"),
        ({"silence.price": float("nan")}, "takes a number from 0 to 10000 s, not nan"),
        ({"silence.price": True}, "takes a number from 0 to 10000 s, not True"),
        ({"backchannels": 3}, "backchannels takes a list of words or phrases, not 3"),
        ({"max_turn": -1}, "max_turn takes a number from 1 to 3600 s, not -1"),
        ({"language": "xx"}, "no word lists for language 'xx'"),
    ],
)
def test_bad_settings_are_refused_by_name(settings: dict[str, float | str], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        Policy().replace(settings)


def test_a_toml_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "patient"\nmax_turn = 60\n[odds]\ndigits = 0.05\n')
    policy = load_policy(str(path))
    assert (policy.name, policy.max_turn, policy.odds.digits) == ("patient", 60, 0.05)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_turn = ", "not valid TOML"),
        ('base = "quick"', "no policy named 'quick'; there are: balanced"),
        ("base = 3", "base is the name of a preset, not 3"),
        ("max_tern = 3", "has no parameter 'max_tern'"),
        ("max_turn = [3]", "max_turn takes a number"),
    ],
)
def test_a_bad_toml_file_is_refused_by_its_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"policy file .*mine.toml.*{message}"):
        load_policy(str(path))


def test_a_missing_file_and_an_unknown_name() -> None:
    with pytest.raises(ValueError, match=r"cannot read policy file nowhere.toml: No such file"):
        load_policy("nowhere.toml")
    with pytest.raises(ValueError, match="no policy named 'slow'"):
        load_policy("slow")


@pytest.mark.parametrize(
    "name",
    [
        "flux_connection_lost_in_a_turn",
        "flux_prediction_then_an_empty_end",
        "flux_turn_no_vad",
        "flux_turn_with_a_prediction_taken_back",
        "flux_two_turns",
        "soniox_end_alone_in_its_message",
        "soniox_last_words_not_final_at_the_end",
    ],
)
def test_where_the_provider_ends_a_turn_it_comes_out_as_with_our_rules(name: str) -> None:
    trace = read_trace(CASES / f"{name}.jsonl")
    assert check(trace, replay(trace, preset("provider"))) == []


def test_the_provider_has_more_time_than_it_takes_by_its_own_defaults() -> None:
    (rule,) = (rule for rule in preset("provider").rules if isinstance(rule, ProviderEnd))
    assert rule.silence > 3.0, "the longest max_endpoint_delay_ms of Soniox"
    assert rule.silence + rule.patience > 5.0, "eot_timeout_ms of Flux"
    assert preset("provider").max_silence > rule.silence + rule.patience


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (".".join(["a"] * 5000) + " = 1", "is nested too deeply"),
        ("[" + ".".join(["a"] * 5000) + "]", "is nested too deeply"),
        ("a = " + "[" * 5000 + "]" * 5000, "is nested too deeply"),
        ("a = " + "{b=" * 5000 + "1" + "}" * 5000, "is nested too deeply"),
        ("max_turn = " + "9" * 5000, "is not valid TOML: Exceeds the limit"),
        ("max_turn = " + "9" * 4000, "max_turn takes a number from 1 to 3600 s, not 999"),
        (f'max_turn = "{"9" * 4000}"', "max_turn takes a number from 1 to 3600 s, not '999"),
        ("a" * 100_000 + " = 1", "has no parameter 'aaa"),
        (f'base = "{"a" * 100_000}"', "no policy named 'aaa"),
        (f'language = "{"a" * 100_000}"', "no word lists for language 'aaa"),
        ("#" * 1_000_001, "is larger than 1000000 bytes; a policy has some hundred"),
    ],
    ids=["dots", "table", "lists", "tables", "5000 digits", "4000 digits", "text", "key", "base", "language", "large"],
)
def test_what_is_deep_or_long_in_a_file_is_one_short_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "odd.toml"
    path.write_text(text + "\n")
    with pytest.raises(ValueError, match=r"odd\.toml") as caught:
        load_policy(str(path))
    line = str(caught.value)
    assert complaint in line
    assert len(line) < len(str(path)) + 400
    assert "\n" not in line


def test_what_is_a_backchannel() -> None:
    policy = Policy().replace({"backchannels": "mhm, go on", "backchannel_words": 2})
    assert [policy.is_backchannel(text) for text in ("mhm", "Mhm!", "mhm mhm", "go on", "Go on.")] == [True] * 5
    assert [policy.is_backchannel(text) for text in ("", "mhm mhm mhm", "go", "mhm but", "on go")] == [False] * 5


def test_what_is_an_interruption() -> None:
    policy = Policy().replace({"interrupt_words": 2, "interrupt_after": 0.7})
    assert not policy.is_interruption("stop", 0.0)
    assert policy.is_interruption("stop it", 0.0)
    assert not policy.is_interruption("", 0.69)
    assert policy.is_interruption("", 0.7)
    assert not policy.is_interruption("mhm yeah", 9.0)


def test_which_ends_are_predicted() -> None:
    policy = Policy().replace({"predict_above": 0.42})
    assert policy.predicts(0.42)
    assert not policy.predicts(0.41)
    assert not Policy().replace({"predict_above": 1.0}).predicts(1.0)


def test_the_wait_for_an_answer_is_one_number() -> None:
    keys = [p.key for p in Policy().parameters() if "finalize_timeout" in p.key]
    assert keys == ["finalize_timeout"]
    assert Policy().finalize_timeout == 1.2
