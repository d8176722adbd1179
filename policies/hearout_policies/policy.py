"""A policy: named rules and a few limits. Presets, settings by key, TOML files.

A policy is immutable; `Policy.replace` gives another one. Every number has a unit, a range and a reason, which
`Policy.parameters` lists.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from types import NoneType
from typing import Any

from hearout_policies.language import DEFAULT, Language, language, read_language, table_language
from hearout_policies.marks import bare, count_words, has_word, is_blankless, phrase, pieces
from hearout_policies.odds import Odds
from hearout_policies.params import param, shown
from hearout_policies.rules import Endpointing, FinalizeOnSilence, OnUtteranceEnd, ProviderEnd, Rule, Silence
from hearout_policies.speakers import FIRST

__all__ = ["PRESETS", "Parameter", "Policy", "load_policy", "preset"]


_LARGEST = 1_000_000  # bytes of a policy file
_DEEPEST = 8  # tables in each other; a parameter lies in three at most
_FARTHEST = 16  # characters of a backchannel without blanks
_WORDS = ("language", "only_speaker", "backchannels")  # parameters that are no numbers
_LONGEST_KEY = 80  # characters of a key that an error repeats


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number of a policy: its dotted key, value, unit, allowed range, and why it is what it is."""

    key: str
    value: float
    unit: str
    low: float
    high: float
    why: str


def _all_rules() -> tuple[Rule, ...]:
    return (Endpointing(), OnUtteranceEnd(), FinalizeOnSilence(), Silence())


@dataclass(frozen=True)
class Policy:
    """When a turn is over.

    Attributes:
        name: of the preset or file.
        rules: in the order in which ties are decided.
        language: of the word lists: a code or a longer tag of BCP 47 ("es-419" is "es"), "none", or a TOML file of
            one's own, which then is a `hearout_policies.language.Language`. None: what the transcriber of a session
            was told to hear, or else English.
        backchannels: what is said to show that one listens; None: the language's list.
        odds: what evidence of an end is worth.
        only_speaker: words of other voices neither open nor hold a turn, and are in none: a label of the
            transcriber's, or "first": whoever speaks first (`hearout_policies.speakers`). The local voice detection,
            which cannot tell voices apart, is not asked any more once another voice was left out. None: all words
            count. When it changes in a turn, it acts on results that come then: a turn that had only another voice's
            interim words is abandoned.
    """

    name: str = "balanced"
    rules: tuple[Rule, ...] = field(default_factory=_all_rules)
    language: str | Language | None = None
    backchannels: frozenset[str] | None = None
    odds: Odds = field(default_factory=Odds)
    only_speaker: str | None = None
    max_silence: float = param(5.0, 0.5, 600.0, "safety net: no turn stays open longer after the last sign of speech")
    max_turn: float = param(120.0, 1.0, 3600.0, "safety net: no turn is longer; hold music and monologues end here")
    finalize_timeout: float = param(
        1.2, 0.1, 10.0, "for words that are due; Deepgram's finals come 0.25 s after Finalize, 0.33 s at worst (p99)"
    )
    continue_within: float = param(
        1.0, 0.0, 10.0, "after a completion, a turn that starts so soon is marked as continuing it"
    )
    predict_above: float = param(
        0.4, 0.0, 1.0, "predict an end only where the odds that it is one reach this; 1 never predicts", unit=""
    )
    suspicion_hold: float = param(
        0.11,
        0.0,
        0.3,
        "a sound that may be speech puts off an end so long: a start follows in 0.08 s and frames jitter; 0: never",
    )
    interrupt_words: float = param(2, 1, 20, "over the agent's speech, so many words are an interruption", unit="words")
    interrupt_after: float = param(
        0.7, 0.1, 10.0, "over the agent's speech, a voice for so long is an interruption, words or not"
    )
    backchannel_words: float = param(
        3,
        0,
        20,
        "over the agent's speech, no more words than this, all of them listed, are a backchannel",
        unit="words",
    )

    idle_after: float = param(0.0, 0.0, 120.0, "of silence behind the agent's speech: the user is idle; 0: never")
    echo_words: float = param(
        4,
        0,
        20,
        "so many words in a row of what the agent says, while it speaks, are its echo, and none of them are a turn; a "
        "voice alone opens none either, where that is known; 0: no guard, for lines that cancel the echo",
        unit="words",
    )

    def __post_init__(self) -> None:
        if isinstance(self.language, str):
            file = self.language.endswith(".toml")
            known = read_language(self.language) if file else language(self.language).name
            object.__setattr__(self, "language", known)
        elif not isinstance(self.language, (Language, NoneType)):
            raise ValueError(f"language takes a code, a file or a table of lists, not {shown(self.language)}")
        label = self.only_speaker
        if label is not None and not (isinstance(label, str) and label.strip() == label != ""):
            raise ValueError(f'only_speaker takes a label, or "first", not {shown(label)}')
        if label is not None and label != FIRST and label.lower() in (FIRST, "none"):
            raise ValueError(f'only_speaker takes "first" in small letters, a label or None, not {shown(label)}')
        names = [rule.name for rule in self.rules]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"policy {self.name!r} has two rules named {name!r}")

    @cached_property
    def words(self) -> Language:
        """The word lists of this policy's language."""
        return self.language if isinstance(self.language, Language) else language(self.language or DEFAULT)

    @cached_property
    def known_backchannels(self) -> frozenset[str]:
        """The list in force, each entry as `marks.phrase` makes it."""
        return _phrases(self.words.backchannels if self.backchannels is None else self.backchannels)

    def is_backchannel(self, text: str) -> bool:
        """A few words, all of which only say "I am listening"."""
        words = [bare(piece) for piece in pieces(text) if has_word(piece)]
        if not 0 < len(words) <= self.backchannel_words:
            return False
        said, known = phrase(text), self.known_backchannels
        if said in known or said in self.words.denials:
            return said in known
        return all(word in known or (is_blankless(word) and _made_of(known, word)) for word in words)

    def is_interruption(self, text: str, lasted: float) -> bool:
        """Over the agent's speech: enough words, or speech for long enough, that are not a backchannel.

        Args:
            text: so far; empty when the transcriber has said nothing yet.
            lasted: seconds of speech the VAD has heard.
        """
        if self.is_backchannel(text):
            return False
        return count_words(text) >= self.interrupt_words or lasted >= self.interrupt_after

    def predicts(self, odds: float) -> bool:
        """Whether an end of such odds is worth predicting."""
        return self.predict_above < 1 and odds >= self.predict_above

    def parameters(self) -> Iterator[Parameter]:
        """All numbers of this policy, in the order of their definition."""
        yield from _parameters("", self)
        for rule in self.rules:
            if dataclasses.is_dataclass(rule):
                yield from _parameters(f"{rule.name}.", rule)

    def near(self, key: str) -> list[str]:
        """The keys, three at most, that may have been meant by one that there is not."""
        keys = [p.key for p in self.parameters()]
        same = [other for other in keys if other.split(".")[-1] == key.split(".")[-1]]
        return same[:3] or difflib.get_close_matches(key[:_LONGEST_KEY], keys, 1, 0.7)

    def replace(self, settings: Mapping[str, Any]) -> Policy:
        """This policy with some of its parameters set.

        Args:
            settings: by key, as in `parameters`: ``{"max_turn": 60, "silence.plain.hold": "0.5"}``. ``language`` (also
                a table, as in a file of one's own) and ``backchannels`` (a list, or a string with commas) may be set
                too.

        Raises:
            ValueError: no such key, no number, or out of range; the message says what is allowed.
        """
        policy = self
        for key, value in settings.items():
            policy = policy._set(key, value)
        return policy

    def _set(self, key: str, value: Any) -> Policy:
        if key == "language":
            known = table_language(value) if isinstance(value, Mapping) else value
            return dataclasses.replace(self, language=known)
        if key == "only_speaker":
            return dataclasses.replace(self, only_speaker=value)
        if key == "backchannels":
            listed = value.split(",") if isinstance(value, str) else value
            if not isinstance(listed, (list, tuple)) or not all(isinstance(item, str) for item in listed):
                raise ValueError(f"backchannels takes a list of words or phrases, not {shown(value)}")
            return dataclasses.replace(self, backchannels=frozenset(item.strip().casefold() for item in listed))
        head, _, rest = key.partition(".")
        for index, rule in enumerate(self.rules):
            if rest and rule.name == head and dataclasses.is_dataclass(rule) and not isinstance(rule, type):
                changed = _set_in(rule, rest, key, value, self)
                return dataclasses.replace(self, rules=(*self.rules[:index], changed, *self.rules[index + 1 :]))
        changed_self: Policy = _set_in(self, key, key, value, self)
        return changed_self

    def to_dict(self) -> dict[str, Any]:
        """What `load_policy` and a trace's header take: the preset's name and the parameters that differ from it."""
        base = PRESETS.get(self.name, Policy)()
        usual = {p.key: p.value for p in base.parameters()}
        changed = {p.key: p.value for p in self.parameters() if usual.get(p.key) != p.value}
        lists: dict[str, Any] = {}
        if self.language is not None:
            lists["language"] = self.language.to_table() if isinstance(self.language, Language) else self.language
        if self.only_speaker is not None:
            lists["only_speaker"] = self.only_speaker
        if self.backchannels is not None:
            lists["backchannels"] = sorted(self.backchannels)
        return {"base": base.name, **lists, **changed}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Policy:
        """The opposite of `to_dict`; nested tables as in TOML are taken too. It may come from afar: no file is read.

        Raises:
            ValueError: as `replace`, or a file is named.
        """
        settings: dict[str, Any] = {}
        named = data.get("language")
        if isinstance(named, str) and named.endswith(".toml"):
            raise ValueError(f"language {shown(named)}: no file is read from here; give its lists as a table")
        if "language" in data:
            settings["language"] = named
        settings |= _flatten("", {key: value for key, value in data.items() if key != "language"})
        base = settings.pop("base", "balanced")
        if not isinstance(base, str):
            raise ValueError(f"base is the name of a preset, not {shown(base)}; there are: {', '.join(PRESETS)}")
        return preset(base).replace(settings)


@cache
def _several(known: frozenset[str]) -> re.Pattern[str]:
    return re.compile(f"(?:{'|'.join(map(re.escape, sorted(filter(is_blankless, known)))) or '(?!)'}){{1,8}}")


def _made_of(known: frozenset[str], word: str) -> bool:
    """Nothing but entries in a row, where the script puts no blanks between them."""
    return len(word) <= _FARTHEST and _several(known).fullmatch(word) is not None


@cache
def _phrases(listed: frozenset[str]) -> frozenset[str]:
    return frozenset(map(phrase, listed))


def _parameters(prefix: str, owner: Any) -> Iterator[Parameter]:
    for f in dataclasses.fields(owner):
        value = getattr(owner, f.name)
        if "why" in f.metadata:
            meta = f.metadata
            yield Parameter(prefix + f.name, value, meta["unit"], meta["low"], meta["high"], meta["why"])
        elif dataclasses.is_dataclass(value):
            yield from _parameters(f"{prefix}{f.name}.", value)


def _set_in(owner: Any, path: str, key: str, value: Any, policy: Policy) -> Any:
    name, _, rest = path.partition(".")
    found = next((f for f in dataclasses.fields(owner) if f.name == name), None)
    inner = getattr(owner, name) if found else None
    if found and rest and dataclasses.is_dataclass(inner):
        return dataclasses.replace(owner, **{name: _set_in(inner, rest, key, value, policy)})
    if not found or rest or "why" not in found.metadata:
        key = key if len(key) <= _LONGEST_KEY else key[:_LONGEST_KEY] + "..."
        near = policy.near(key) or difflib.get_close_matches(key, _WORDS, 1, 0.7)
        hint = f"did you mean {' or '.join(near)}?" if near else "`hearout policies` lists all keys"
        raise ValueError(f"policy {policy.name!r} has no parameter {key!r}; {hint}")
    low, high, unit = found.metadata["low"], found.metadata["high"], found.metadata["unit"]
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not low <= number <= high:
        raise ValueError(f"{key} takes a number from {low:g} to {high:g} {unit}".rstrip() + f", not {shown(value)}")
    return dataclasses.replace(owner, **{name: number})


def _flatten(prefix: str, table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if prefix.count(".") > _DEEPEST:
        raise ValueError(f"{prefix:.40}... is nested too deeply; `hearout policies` lists all keys")
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flatten(f"{prefix}{key}.", value)
        else:
            yield prefix + key, value


def _balanced() -> Policy:
    return Policy()


def _fast() -> Policy:
    return dataclasses.replace(Policy().replace({"silence.price": 0.4, "predict_above": 0.2}), name="fast")


def _patient() -> Policy:
    settings = {"silence.price": 4.0, "silence.patience": 2.6, "max_silence": 8.0}
    return dataclasses.replace(Policy().replace(settings), name="patient")


def _dictation() -> Policy:
    settings = {"silence.price": 20.0, "silence.longest": 10.0, "silence.answer_longest": 10.0}
    settings |= {"silence.patience": 10.0}
    settings |= {"finalize_on_silence.finalize_after": 0.2, "predict_above": 1.0}
    settings |= {"max_silence": 15.0, "max_turn": 1800.0}
    return dataclasses.replace(Policy().replace(settings), name="dictation")


def _provider() -> Policy:
    # No hold and no silence of ours: Flux, Soniox or Deepgram decides, with its own options.
    return Policy(name="provider", rules=(ProviderEnd(), OnUtteranceEnd()), max_silence=8.0, suspicion_hold=0.0)


def _push_to_talk() -> Policy:
    # No rule: only the application's force_end completes a turn, or else the safety net.
    return Policy(name="push_to_talk", rules=(), max_silence=60.0, max_turn=600.0)


#: The presets by name.
PRESETS: Mapping[str, Callable[[], Policy]] = {
    "balanced": _balanced,
    "fast": _fast,
    "patient": _patient,
    "dictation": _dictation,
    "provider": _provider,
    "push_to_talk": _push_to_talk,
}


def preset(name: str) -> Policy:
    """The preset called ``name``.

    Raises:
        ValueError: there is none.
    """
    if name not in PRESETS:
        raise ValueError(f"no policy named {shown(name)}; there are: {', '.join(PRESETS)}, or a TOML file (name.toml)")
    return PRESETS[name]()


def load_policy(name: str) -> Policy:
    """A preset by name, or a policy from a TOML file (anything that ends in ``.toml``).

    A file has an optional ``base`` (a preset's name), then parameters by key, in tables or dotted. A ``language`` that
    is a file is looked for beside it.

    Raises:
        ValueError: no such preset or file, or something wrong in it; the message names the file.
    """
    if not name.endswith(".toml"):
        return preset(name)
    try:
        with open(name, "rb") as file:
            text = file.read(_LARGEST + 1)
    except OSError as error:
        raise ValueError(f"cannot read policy file {name}: {error.strerror}") from None
    if len(text) > _LARGEST:
        raise ValueError(f"policy file {name} is larger than {_LARGEST} bytes; a policy has some hundred")
    try:
        data = tomllib.loads(text.decode("utf-8"))
    except RecursionError:
        raise ValueError(f"policy file {name} is nested too deeply") from None
    except ValueError as error:  # TOML, UTF-8, or an integer of more digits than Python reads
        raise ValueError(f"policy file {name} is not valid TOML: {error}") from None
    try:
        return Policy.from_dict(_with_lists(data, name))
    except ValueError as error:
        raise ValueError(f"policy file {name}: {error}") from None


def _with_lists(data: dict[str, Any], file: str) -> dict[str, Any]:
    """``data`` of a policy file, with the lists of the language file that it names, which lies beside it."""
    named = data.get("language")
    if not isinstance(named, str) or not named.endswith(".toml"):
        return data
    return data | {"language": read_language(os.path.join(os.path.dirname(file), named)).to_table()}
