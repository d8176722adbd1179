"""Checks of Soniox's options that are objects: what it may know beforehand, and what it translates."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hearout.errors import UsageError
from hearout.writing import shown

__all__ = ["check_context", "check_translation"]

_CONTEXT = {"general": ("key", "value"), "translation_terms": ("source", "target")}
_TRANSLATION = {"one_way": {"type", "target_language"}, "two_way": {"type", "language_a", "language_b"}}


def check_context(context: object) -> None:
    """What is to be known beforehand has the form that Soniox wants."""
    if isinstance(context, Mapping):
        for name, value in context.items():
            if name == "text":
                valid = isinstance(value, str)
            elif name == "terms":
                valid = _is_list(value) and all(isinstance(term, str) for term in value)
            elif name in _CONTEXT:
                valid = _is_list(value) and all(_is_pair(item, _CONTEXT[name]) for item in value)
            else:
                raise UsageError(f"Soniox: context has general, text, terms, translation_terms; not {shown(name)}")
            if not valid:
                raise UsageError(f"Soniox: {name!r} of context has the wrong form: {shown(value)}")
    elif context is not None and not isinstance(context, str):
        raise UsageError(f"Soniox: context must be a text or an object, not {shown(context)}")
    if context is not None and len(context if isinstance(context, str) else json.dumps(context)) > 10_000:
        raise UsageError("Soniox: context has more than 10000 characters")


def check_translation(translation: Mapping[str, Any] | None) -> None:
    """It names a kind, and the languages of that kind."""
    if translation is None:
        return
    wanted = _TRANSLATION.get(str(translation.get("type")), set())
    if translation.keys() != wanted or not all(isinstance(v, str) and v for v in translation.values()):
        raise UsageError(
            'Soniox: translation is {"type": "one_way", "target_language": ...} or '
            '{"type": "two_way", "language_a": ..., "language_b": ...}'
        )


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_pair(item: object, keys: tuple[str, ...]) -> bool:
    return isinstance(item, Mapping) and set(item) == set(keys) and all(isinstance(v, str) for v in item.values())
