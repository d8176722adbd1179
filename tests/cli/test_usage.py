"""Arguments that cannot be: one line that names them and what may have been meant, whatever the command."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest

from hearout.cli.main import _COMMANDS, _parser, main


def complaint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What the command line says to them, in its one line."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("hearout: ")
    return line.removeprefix("hearout: ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "hearout needs COMMAND; see hearout --help"),
        (["lisen", "call.wav"], "there is no command 'lisen'; did you mean listen?"),
        (["transcribe"], "there is no command 'transcribe'; did you mean transcript?"),
        (["go"], f"there is no command 'go': there are {', '.join(_COMMANDS)}; see hearout --help"),
        (["models", "gt"], "there is no command 'gt'; did you mean get?"),
        (["--flag"], "there is no option --flag; see hearout --help"),
        (["--versoin", "listen"], "there is no option --versoin; did you mean --version?"),
        (["listen"], "listen needs SOURCE; see hearout listen --help"),
        (["models", "get"], "models get needs MODEL; see hearout models get --help"),
        (["import", "a.wav"], "import needs -o/--output; see hearout import --help"),
        (["listen", "x", "--polcy=fast"], "there is no option --polcy; did you mean --policy?"),
        (["call", "x", "--ulr", "ws://x"], "there is no option --ulr; did you mean --url?"),
        (["listen", "x", "--zzz"], "there is no option --zzz; see hearout listen --help"),
        (["import", "a.wav", "-O", "b"], "there is no option -O; did you mean -o?"),
        (["import", "a.wav", "b.wav", "-o", "c"], "there is no place for b.wav; see hearout import --help"),
        (["report", "a", "--json"], "--json: expected one argument; see hearout report --help"),
        (
            ["listen", "x", "--speed", "2"],
            "--speed: there is no value '2': there are 1.0, max; see hearout listen --help",
        ),
        (
            ["import", "a", "-o", "b", "--agent", "3"],
            "--agent: invalid choice: 3 (choose from 0, 1); see hearout import ",
        ),
        (["listen", "-", "--channels", "two"], "--channels: 'two' is not a whole number; see hearout listen --help"),
        (["plot", "a", "--from", "-1"], "--from: '-1' is not a number of seconds, 0 or more; see hearout plot --help"),
        (["listen", "x", "--s", "1"], "ambiguous option: --s could match --s"),
        (["listen", "x\x1b[2J", "--\x1b[2J"], "there is no option -- [2J; see"),
    ],
)
def test_one_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert complaint(arguments, capsys).startswith(says)


def commands(parser: argparse.ArgumentParser, names: tuple[str, ...] = ()) -> Iterator[tuple[str, argparse.Action]]:
    """All commands, those within commands too, each with each of its options."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from commands(inner, (*names, name))
        elif action.option_strings and not isinstance(action, argparse._HelpAction) and names:
            yield " ".join(names), action


OPTIONS = {f"{command} {action.option_strings[-1]}": (command, action) for command, action in commands(_parser())}


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_of_every_command(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    command, action = OPTIONS[option]
    name = action.option_strings[-1]
    swapped = f"{name[:-3]}{name[-2]}{name[-3]}{name[-1]}" if len(name) > 6 else f"{name}x"
    # Also where what is needed is missing.
    said = complaint([*command.split(), swapped], capsys)
    if swapped != name:
        assert said == f"there is no option {swapped}; did you mean {name}?"
    if action.nargs == 0:
        assert f"{name}: ignored explicit argument 'x'" in complaint([*command.split(), f"{name}=x"], capsys)
        return
    assert complaint([*command.split(), name], capsys).startswith(f"{'/'.join(action.option_strings)}: expected one")
    if action.type in (int, float):
        assert f"{name}: 'x' is not a" in complaint([*command.split(), name, "x"], capsys)
    elif action.choices:
        assert f"{name}: there is no value 'x'" in complaint([*command.split(), name, "x"], capsys)


@pytest.mark.parametrize("command", sorted({command for command, _ in OPTIONS.values()} | set(_COMMANDS)))
def test_every_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert complaint([*command.split(), "--nothing-like-it"], capsys).endswith(f"; see hearout {command} --help")
