"""Options by environment variables: names from the parser, values that the command line overrides, and complaints."""

from __future__ import annotations

import argparse
import re

import pytest

from hearout.cli.environment import CommandParser, by_variable
from hearout.cli.main import _parser, main
from hearout.errors import UsageError
from tests.kit.paths import DOCS


def parser() -> CommandParser:
    made = CommandParser(prog="bot", variables="BOT")
    made.add_argument("--port", type=int, default=8766)
    made.add_argument("--busy", type=float, default=0.7)
    made.add_argument("--log-format", choices=["text", "json"], default="text")
    made.add_argument("--loud", action="store_true")
    made.add_argument("--set", action="append", default=[])
    made.add_argument("--token")
    return made


def test_what_the_environment_says_stands_where_the_command_line_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PORT": "80", "LOG_FORMAT": "json", "LOUD": "1", "SET": "a=1 b=2", "TOKEN": ""}.items():
        monkeypatch.setenv(f"BOT_{name}", value)
    args = parser().parse_args([])
    assert (args.port, args.busy, args.log_format, args.loud) == (80, 0.7, "json", True)
    assert (args.set, args.token) == (["a=1", "b=2"], None)
    args = parser().parse_args(["--port", "81", "--log-format", "text"])
    assert (args.port, args.log_format, args.loud) == (81, "text", True)
    monkeypatch.setenv("BOT_LOUD", "off")
    assert parser().parse_args([]).loud is False


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("BOT_PORT", "http", "BOT_PORT: 'http' is not what it must be: a whole number"),
        ("BOT_BUSY", "much", "BOT_BUSY: 'much' is not what it must be: a number"),
        ("BOT_LOG_FORMAT", "xml", "BOT_LOG_FORMAT: 'xml': there are text, json"),
        ("BOT_LOUD", "very", "BOT_LOUD: 'very': give 1 or 0"),
    ],
)
def test_a_value_that_cannot_be_names_its_variable(
    name: str, value: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError) as caught:
        parser().parse_args([])
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("BOT_PROT", "there is no option BOT_PROT; did you mean BOT_PORT?"),
        ("BOT_port", "there is no option BOT_port; did you mean BOT_PORT?"),
        ("BOT_FORMAT", "there is no option BOT_FORMAT; did you mean BOT_LOG_FORMAT?"),
        ("BOT_LOGFORMAT", "there is no option BOT_LOGFORMAT; did you mean BOT_LOG_FORMAT?"),
        ("BOT_IMAGE", "there is no option BOT_IMAGE; see bot --help"),
        ("BOT_HELP", "there is no option BOT_HELP; see bot --help"),
    ],
)
def test_a_variable_of_no_option_is_refused(name: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "")  # says nothing
    parser().parse_args([])
    monkeypatch.setenv(name, "s3cret")
    with pytest.raises(UsageError) as caught:
        parser().parse_args([])
    assert str(caught.value) == line


def test_what_kubernetes_tells_of_services_is_no_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the Services "bot" and "bot-metrics", to every pod beside them; and a program of another name is another."""
    for service in ("BOT", "BOT_METRICS"):
        for name, value in {
            "SERVICE_HOST": "10.96.0.12",
            "SERVICE_PORT": "8766",
            "SERVICE_PORT_HTTP": "8766",
            "PORT_8766_TCP": "tcp://10.96.0.12:8766",
            "PORT_8766_TCP_PROTO": "tcp",
            "PORT_8766_TCP_PORT": "8766",
            "PORT_8766_TCP_ADDR": "10.96.0.12",
        }.items():
            monkeypatch.setenv(f"{service}_{name}", value)
    monkeypatch.setenv("BOT_METRICS_PORT", "tcp://10.96.0.12:8766")
    monkeypatch.setenv("BOTS_PROT", "80")
    assert parser().parse_args([]).port == 8766
    monkeypatch.setenv("BOT_METRICS_PORT", "8766")
    with pytest.raises(UsageError, match=r"^there is no option BOT_METRICS_PORT; did you mean BOT_PORT\?$"):
        parser().parse_args([])


def test_a_complaint_names_what_the_value_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOT_PORT", "80")
    monkeypatch.setenv("BOT_BUSY", "3")
    args = parser().parse_args(["--busy", "2"])
    complaint = "--port 80: that one is taken; see --busy, --log-format"
    assert by_variable(complaint, args.variables) == "BOT_PORT 80: that one is taken; see --busy, --log-format"


def test_a_parser_without_variables_reads_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NONE_PORT", "80")
    plain = CommandParser(prog="bot")
    plain.add_argument("--port", type=int, default=1)
    assert plain.parse_args([]).port == 1


# -- hearout serve -------------------------------------------------------------------------------------------------


def serve_parser() -> CommandParser:
    (commands,) = [action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction)]
    found = commands.choices["serve"]
    assert isinstance(found, CommandParser)
    return found


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("HEAROUT_SERVE_CALLS", "0", "hearout: HEAROUT_SERVE_CALLS 0: there must be at least 1"),
        ("HEAROUT_SERVE_CALLS", "many", "hearout: HEAROUT_SERVE_CALLS: 'many' is not what it must be: a whole number"),
        (
            "HEAROUT_SERVE_PORT",
            "70000",
            "hearout: there is no port 70000: give one from 0 to 65535 with HEAROUT_SERVE_PORT",
        ),
        (
            "HEAROUT_SERVE_WORKERS",
            "1000000",
            "hearout: HEAROUT_SERVE_WORKERS 1000000: give 1 to 8, 4 for each core of this machine",
        ),
        ("HEAROUT_SERVE_FD", "-1", "hearout: HEAROUT_SERVE_FD -1: that is no socket that listens"),
        ("HEAROUT_SERVE_FD", "9" * 25, f"hearout: HEAROUT_SERVE_FD {'9' * 25}: that is no socket that listens"),
        ("HEAROUT_SERVE_TOKEN", "s3cret \udce9", "hearout: the token that clients must send is no text in UTF-8"),
        ("HEAROUT_SERVE_BUSY", "nan", "hearout: HEAROUT_SERVE_BUSY nan: give a share, such as 0.7"),
        (
            "HEAROUT_SERVE_WOKERS",
            "2",
            "hearout: there is no option HEAROUT_SERVE_WOKERS; did you mean HEAROUT_SERVE_WORKERS?",
        ),
        ("HEAROUT_SERVE_GRACE", "-1", "hearout: HEAROUT_SERVE_GRACE -1: give seconds, more than 0"),
    ],
)
def test_serve_complains_of_the_variable(
    variable: str, value: str, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setenv(variable, value)
    assert main(["serve", "--stt", "deepgram", "--url", "ws://127.0.0.1:1/"]) == 2
    assert capsys.readouterr().err.splitlines() == [line]


def test_other_commands_do_not_look_at_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEAROUT_SERVE_PORT", "none")
    assert main(["policies"]) == 0


def test_the_page_has_every_option_of_serve() -> None:
    page = (DOCS / "deployment.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(HEAROUT_SERVE_\w+)` \|", page, re.MULTILINE))
    assert listed == set(serve_parser().variables())
