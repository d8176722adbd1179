"""The language of a session: its policy's, or else what the transcriber was told to hear."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from hearout.transcribers.base import Dialect
from hearout_policies.language import NONE, Language, code_of
from hearout_policies.policy import Policy

__all__ = ["in_language", "told_language"]

# Soniox; Flux and Deepgram; AssemblyAI; OpenAI
_HINTS = ("language_hints", "language_hint", "language_codes", "languages")


def told_language(transcriber: Dialect) -> str | None:
    """The code of the word lists for what ``transcriber`` was told to hear, by its options; None: it was told nothing.

    "none" where there are no lists for that, or where it hears several languages: no word means the same in all.
    """
    named = getattr(transcriber, "language", None)
    hints = next((hints for name in _HINTS if (hints := getattr(transcriber, name, ()))), ())
    told = [named] if isinstance(named, str) and named and named != "multi" else _codes(hints)
    if not told:
        return NONE if named == "multi" else None
    codes = {code_of(tag) or NONE for tag in told}
    return codes.pop() if len(codes) == 1 else NONE


def _codes(hints: object) -> list[str]:
    return [hint for hint in hints if isinstance(hint, str)] if isinstance(hints, Sequence) else []


def in_language(policy: Policy, language: str | Language | None) -> Policy:
    """``policy``, in this language if it names none."""
    if policy.language is not None or language is None:
        return policy
    return dataclasses.replace(policy, language=language)
