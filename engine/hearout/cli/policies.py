"""The options that choose a policy, and the command that lists what there is to choose."""

from __future__ import annotations

import argparse

from hearout.cli.output import say
from hearout.errors import UsageError
from hearout_policies.policy import PRESETS, Policy, load_policy, preset

__all__ = ["add_policy_arguments", "chosen_policy", "register"]

_RULES = {
    "provider": "the provider ends a turn, with its own options; ",
    "push_to_talk": "no rules: only the application ends a turn; ",
}


# Settings that are no numbers: what holds while they are not given, and what they take.
_NO_NUMBERS = {
    "language": ("the transcriber's", "a code such as en, or none; whose words the rules know"),
    "backchannels": ("the language's", "words with commas between them; what is said to show that one listens"),
    "only_speaker": ("everybody", "a label of the transcriber's, or first; whose words count, with labels: --diarize"),
}


def add_policy_arguments(parser: argparse.ArgumentParser, *, default: str | None = "balanced") -> None:
    """Add ``--policy`` and ``--set``."""
    parser.add_argument(
        "--policy", default=default, metavar="NAME|FILE", help="a preset, or a TOML file; see hearout policies"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one parameter, such as silence.price=3; may be repeated",
    )


def chosen_policy(args: argparse.Namespace, base: Policy | None = None) -> Policy:
    """The policy that the options name; ``base`` if they name none.

    Raises:
        UsageError: no such policy, parameter or value.
    """
    settings = {}
    for setting in args.set:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting}: give KEY=VALUE, such as silence.price=3")
        settings[key.strip()] = value.strip()
    try:
        policy = load_policy(args.policy) if args.policy else base or Policy()
        return policy.replace(settings)
    except ValueError as error:
        raise UsageError(str(error)) from None


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``hearout policies``."""
    parser = subparsers.add_parser(
        "policies",
        help="list the presets, or all parameters of one",
        description="List the presets, or all parameters of a preset or TOML file with unit, range and reason.",
    )
    parser.add_argument("policy", nargs="?", metavar="NAME|FILE", help="a preset, or a TOML file")
    parser.add_argument("--set", action="append", default=[], help=argparse.SUPPRESS)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    if args.policy is None:
        usual = {p.key: p.value for p in Policy().parameters()}
        for name in PRESETS:
            changed = [f"{p.key}={p.value:g}" for p in preset(name).parameters() if usual.get(p.key) != p.value]
            rules = _RULES.get(name, "")
            say(f"{name:13} {rules}{', '.join(changed) or 'the default'}")
        return 0
    policy = chosen_policy(args)
    given = policy.to_dict()
    for key, (unless, takes) in _NO_NUMBERS.items():
        value = given.get(key, unless)
        told = ", ".join(value) if isinstance(value, list) else value if isinstance(value, str) else "words of a file"
        say(f"{key} = {told}  ({takes})")
    for p in policy.parameters():
        say(f"{p.key} = {p.value:g} {p.unit}".rstrip() + f"  ({p.low:g} to {p.high:g})  {p.why}")
    return 0
