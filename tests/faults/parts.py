"""Parts that the application brings to a session, and that fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hearout import Policy, SpeechGate
from hearout.errors import SessionError
from hearout_policies.rules import Verdict
from hearout_policies.view import TurnView
from tests.faults.runs import TALK, WordDetector

__all__ = ["broken_recorder", "broken_rule", "broken_voice", "full_disk", "odd_rule"]

_AFTER = 12  # records
_AT = 7.0  # seconds


class _Recorder:
    def __init__(self, error: Exception) -> None:
        self._error = error
        self._written = 0

    def write(self, record: Mapping[str, Any]) -> None:
        self._written += 1
        if self._written > _AFTER:
            raise self._error


def full_disk() -> Mapping[str, Any]:
    return {"recorder": _Recorder(SessionError("call.jsonl: cannot write the trace: No space left on device"))}


def broken_recorder() -> Mapping[str, Any]:
    return {"recorder": _Recorder(ZeroDivisionError("division by zero"))}


class _Rule:
    name = "mine"

    def __init__(self, verdict: object) -> None:
        self._verdict = verdict

    def judge(self, turn: TurnView) -> Verdict:
        if turn.now < _AT:
            return Verdict()
        if isinstance(self._verdict, Exception):
            raise self._verdict
        return self._verdict  # type: ignore[return-value]


def _policy(verdict: object) -> Mapping[str, Any]:
    policy = Policy()
    return {"policy": replace(policy, rules=(*policy.rules, _Rule(verdict)))}


def broken_rule() -> Mapping[str, Any]:
    return _policy(ZeroDivisionError("division by zero"))


def odd_rule() -> Mapping[str, Any]:
    return _policy("soon")


class _Breaking(WordDetector):
    def is_speech(self, frame: bytes) -> bool:
        if self._frames * 0.02 > _AT:
            raise ArithmeticError("the detector is broken")
        return super().is_speech(frame)


def broken_voice() -> Mapping[str, Any]:
    return {"vad": lambda rate: SpeechGate(_Breaking(TALK), rate)}
