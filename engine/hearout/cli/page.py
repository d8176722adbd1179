"""``hearout serve --page``: what the page may offer."""

from __future__ import annotations

from typing import Any

from hearout.cli.voice import VADS
from hearout.errors import UsageError
from hearout.writing import printable
from hearout_policies.policy import PRESETS, Policy, preset
from hearout_policies.rules import Silence

__all__ = ["page_settings"]


def page_settings(transcriber: str, policy: Policy, vad: str, *, token: bool) -> dict[str, Any]:
    """Presets and voice detections to choose from, and what the server was started with.

    Another preset is for the same line: whose words count, and what only says that one listens, stays as it was. So
    does the language, which a session keeps by itself.

    Args:
        token: the server wants one.
    """
    settings = {key: value for key, value in policy.to_dict().items() if key != "language"}
    kept = {key: value for key, value in settings.items() if key in ("only_speaker", "backchannels")}
    offered = {name: {"base": name, **kept} for name in PRESETS}
    return {
        "transcriber": "Whisper tiny.en on this machine" if transcriber == "local" else transcriber,
        "presets": [{"name": name, "price": _price(preset(name)), "settings": of} for name, of in offered.items()],
        "policy": {
            "preset": policy.name if offered.get(policy.name) == settings else None,
            "price": _price(policy),
            "settings": settings,
        },
        "vads": [{"name": name, "why": _missing(name)} for name in VADS],
        "vad": vad,
        "token": token,
    }


def _price(policy: Policy) -> float | None:
    """Of a cutoff, in seconds; None: no rule of it asks for one."""
    return next((rule.price for rule in policy.rules if isinstance(rule, Silence)), None)


def _missing(vad: str) -> str | None:
    """Why it cannot be used, in a line; None: it can."""
    try:
        VADS[vad](16000)
    except UsageError as error:
        return printable(str(error), 300)
    return None
