"""Where keys could leak, what could weaken TLS, and what must not be in the source."""

from __future__ import annotations

import argparse
import ast
import inspect
import io
import json
import logging
import os
import re
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio
from trio_websocket import ConnectionClosed, wrap_server_stream

from hearout.errors import SessionError, UsageError
from hearout.link.link import Link
from hearout.link.settings import LinkSettings
from hearout.link.socket import Connector, open_stream
from hearout.link.websocket import open_websocket
from hearout.session.session import open_session
from hearout.sttserver import command
from hearout.sttserver.local import local_server
from hearout.traces.recorder import Recorder
from hearout.traces.records import Header
from hearout.transcribers.base import WireMessage
from hearout.transcribers.deepgram import Deepgram
from tests.kit.paths import ROOT
from tests.kit.provider import Plan, Provider, Source
from tests.kit.secret import KEY, told

SPEECH = [("hello", 1.0, 1.4), ("there.", 1.5, 1.9)]
CLIP = ROOT / "tests" / "data" / "two_sentences.flac"

linux_only = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks at processes in /proc")


# Keys


def echoing(**values: Any) -> Plan:
    """A server that repeats the key wherever it can say something, before it does what ``values`` say."""
    said = [{"type": "Error", "description": KEY}, {"type": KEY}, {"type": "Results", "start": KEY}]
    return Plan(extra=[*(json.dumps(message) for message in said), f"not JSON: {KEY}"], **values)


class Buggy(Deepgram):
    def decode(self, message: WireMessage, at: float, offset: float) -> Any:
        raise RuntimeError("a bug of a dialect")


class Elsewhere(Deepgram):
    """With secrets where its user puts them."""

    def __init__(self, secret: str) -> None:
        super().__init__("any", f"wss://proxy.example/?access_token={secret}", extra={"x_api_key": secret, "b": "b"})


async def nowhere(host: str, port: int, tls: bool) -> trio.abc.Stream:
    await trio.lowlevel.checkpoint()
    raise socket.gaierror(-2, "Name or service not known")


REFUSALS: list[dict[str, Any]] = [
    {"status": 401, "headers": [(b"dg-error", KEY.encode())], "body": KEY.encode()},
    {"status": 503, "body": json.dumps({"err_code": "X", "err_msg": KEY}).encode()},
    {"status": 302, "headers": [(b"location", f"wss://elsewhere/{KEY}".encode())]},
    {"hang_up_handshake": True},
    {"hang_handshake": True},
    {"close": (1008, f"bad {KEY}"), "close_at": 1.0},
    {"close": (1011, f"bad {KEY}"), "close_at": 1.0},
    {"drop_at": 1.0},
]


def refusing(number: int, nursery: trio.Nursery) -> Connector:
    return Provider(nursery, (SPEECH,), (echoing(**REFUSALS[number]),)).connect


SCENES: dict[str, tuple[Callable[[str], Deepgram], Callable[[trio.Nursery], Connector]]] = {
    "undisturbed": (Deepgram, lambda nursery: Provider(nursery, (SPEECH,), (echoing(),)).connect),
    "a bug": (Buggy, lambda nursery: Provider(nursery, (SPEECH,)).connect),
    "no such host": (Deepgram, lambda nursery: nowhere),
    "elsewhere undisturbed": (Elsewhere, lambda nursery: Provider(nursery, (SPEECH,), (echoing(),)).connect),
    "nowhere else": (Elsewhere, lambda nursery: nowhere),
}
SCENES |= {str(i): (Deepgram, partial(refusing, i)) for i in range(len(REFUSALS))}
SCENES |= {f"elsewhere {i}": (Elsewhere, partial(refusing, i)) for i in range(len(REFUSALS))}


def everything_an_error_says(error: BaseException | None) -> str:
    text = ""
    if error is not None:
        text = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    while error is not None:
        text += f"{error!r} {error} {error.__cause__!r} {error.__context__!r} {vars(error)}"
        error = error.__cause__ or error.__context__
    return text


@pytest.mark.parametrize("scene", SCENES)
def test_the_key_is_nowhere(run_virtual: Callable[..., Any], caplog: pytest.LogCaptureFixture, scene: str) -> None:
    """Not in a repr, an event, a trace, an exception with its causes and local variables."""
    caplog.set_level(logging.DEBUG)
    trace, seen = io.StringIO(), io.StringIO()

    async def main() -> SessionError | RuntimeError | None:
        dialect, connect = SCENES[scene]
        limits = LinkSettings(budget=3.0, first_budget=3.0)
        async with trio.open_nursery() as nursery:
            transcriber: Deepgram = dialect(KEY)
            try:
                async with open_session(
                    Source(4.0),
                    transcriber,
                    vad=None,
                    recorder=Recorder(trace, Header("deepgram")),
                    link=limits,
                    connect=connect(nursery),
                ) as session:
                    print(session, transcriber, vars(session), vars(session._core), vars(session._core.link), file=seen)
                    async for event in session:
                        print(event, file=seen)
                    print(session.link_stats, limits, file=seen)
            except (SessionError, RuntimeError) as error:
                return error
            finally:
                nursery.cancel_scope.cancel()
        return None

    error = run_virtual(main)
    assert (error is None) == scene.endswith("undisturbed")
    assert told(everything_an_error_says(error)) is None
    assert told(seen.getvalue()) is None
    assert told(trace.getvalue()) is None
    assert "hearout.session.session" in seen.getvalue()


@pytest.mark.parametrize("dialect", [Deepgram, Elsewhere])
@pytest.mark.parametrize("plan", [Plan(), Plan(drop_at=2.0), Plan(status=401), Plan(status=503)])
def test_the_key_is_in_no_log(
    run_virtual: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    plan: Plan,
    dialect: Callable[[str], Deepgram],
) -> None:
    """All loggers there are, at DEBUG. (What a server says when it closes, trio-websocket logs as it came.)"""
    caplog.set_level(logging.DEBUG)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            provider = Provider(nursery, (SPEECH,), (plan,))
            with suppress(SessionError):
                async with open_session(Source(4.0), dialect(KEY), vad=None, connect=provider.connect) as session:
                    async for _ in session:
                        pass
            assert KEY in str(provider.requests[0])
            nursery.cancel_scope.cancel()

    run_virtual(main)
    assert {record.name for record in caplog.records} == {"trio-websocket"}
    assert len(caplog.records) > 3
    assert KEY not in "".join(f"{record.getMessage()} {record.args}" for record in caplog.records)


@pytest.mark.parametrize("key", [f"{KEY} ", f"{KEY}\r\nX: y", f"Token {KEY}", f"{KEY}é"])
def test_a_key_that_cannot_be_one_is_not_repeated(key: str) -> None:
    with pytest.raises(UsageError) as caught:
        Deepgram(key)
    assert KEY not in f"{caught.value!r}{caught.value.__cause__!r}{caught.value.__context__!r}"


def command_lines() -> str:
    """Of all processes there are."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return "\n".join(found)


@linux_only
@pytest.mark.parametrize("refused", [False, True])
def test_the_key_is_in_no_command_line_and_no_output(tmp_path: Path, refused: bool) -> None:
    trace = tmp_path / "trace.jsonl"
    lines: list[str] = []
    said = [
        json.dumps({"type": "Error", "description": KEY}),
        KEY,
        json.dumps({"type": "Error", "description": "HERE"}).replace("HERE", f"\\u{ord(KEY[0]):04x}" + KEY[1:]),
        json.dumps({"type": "Results", "channel": f"20 characters before {KEY}"}),
        json.dumps({"type": "News", KEY[:30]: [KEY[:20]]}),
    ]
    arguments = ["listen", str(CLIP), "--stt", "deepgram", "--json", "--record", str(trace), "--speed", "max"]

    async def serve(stream: trio.SocketStream) -> None:
        with suppress(ConnectionClosed):
            async with trio.open_nursery() as nursery:
                request = await wrap_server_stream(nursery, stream)
                lines.append(command_lines())
                assert dict(request.headers)[b"authorization"].decode() == f"Token {KEY}"
                if refused:
                    await request.reject(401, extra_headers=[(b"dg-error", KEY.encode())])
                    return
                websocket = await request.accept()
                for text in said:
                    await websocket.send_message(text)
                while await websocket.get_message() != '{"type":"CloseStream"}':
                    pass
                await websocket.send_message('{"type":"Metadata"}')
                await websocket.aclose(1000)

    async def main() -> subprocess.CompletedProcess[bytes]:
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
            url = f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/v1/listen"
            done = await trio.run_process(
                [sys.executable, "-m", "hearout", *arguments, "--url", url],
                env=os.environ | {"DEEPGRAM_API_KEY": KEY},
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
            nursery.cancel_scope.cancel()
        return done

    done = trio.run(main)
    assert done.returncode == (1 if refused else 0)
    assert str(CLIP) in lines[0]  # the process was there
    assert ("***" in done.stderr.decode()) == refused
    assert ("***" in done.stdout.decode()) != refused
    assert told("".join([*lines, done.stdout.decode(), done.stderr.decode(), trace.read_text()])) is None


@linux_only
def test_the_key_is_not_in_the_command_line_of_the_local_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPGRAM_API_KEY", KEY)

    async def main() -> str:
        async with local_server():
            return command_lines()

    lines = trio.run(main)
    assert "hearout.sttserver" in lines
    assert KEY not in lines


# TLS


def sources() -> Iterator[tuple[Path, ast.AST]]:
    for root in ("engine", "policies"):
        for path in (ROOT / root).rglob("*.py"):
            yield path, ast.parse(path.read_text())


def names_in(tree: ast.AST) -> set[str]:
    """Every name and attribute that is used, every argument that is named."""
    names = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
                names.add(name)
    return names


def test_nothing_in_the_source_weakens_tls() -> None:
    weak = {"CERT_NONE", "verify_mode", "check_hostname", "_create_unverified_context"}
    weak |= {"set_ciphers", "minimum_version", "verify_flags", "load_verify_locations"}
    made = {}
    for path, tree in sources():
        assert not weak & names_in(tree), path
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("create_default_context", "SSLContext")):
                made[path.name] = ast.unparse(node)
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("wrap_socket"):
                assert ast.unparse(node.func) == "context.wrap_socket"  # not ssl's own, which does not verify
                assert "server_hostname" in [keyword.arg for keyword in node.keywords]
    assert set(made.values()) == {"ssl.create_default_context()"}  # which verifies


def test_no_parameter_switches_verification_off() -> None:
    suspicious = re.compile("verif|insecure|cert|ssl|trust|unsafe", re.IGNORECASE)
    for function in (open_session, Deepgram, LinkSettings, Link, open_websocket, open_stream):
        assert not [name for name in inspect.signature(function).parameters if suspicious.search(name)]
    options = {
        node.args[0].value
        for _, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".add_argument")
        if isinstance(node.args[0], ast.Constant)
    }
    assert "--url" in options
    assert not [option for option in options if suspicious.search(str(option))]


async def open_and_listen(connect: Connector) -> None:
    async with open_session(Source(2.0), Deepgram(KEY), vad=None, connect=connect) as session:
        async for _ in session:
            pass


def test_a_redirect_is_not_followed(run_virtual: Callable[..., Any]) -> None:
    """It could lead the key to another host, or to one without TLS."""
    asked: list[tuple[str, int, bool]] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            plan = Plan(status=307, headers=[(b"location", b"ws://elsewhere.example/v1/listen")])
            provider = Provider(nursery, (SPEECH,), (plan,))

            async def connect(host: str, port: int, tls: bool) -> trio.abc.Stream:
                asked.append((host, port, tls))
                return await provider.connect(host, port, tls)

            with pytest.raises(SessionError, match="HTTP 307"):
                await open_and_listen(connect)
            nursery.cancel_scope.cancel()

    run_virtual(main)
    assert asked == [("api.deepgram.com", 443, True)]


# The source, and the local server


BANNED_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml", "code", "codeop"}
BANNED_CALLS = {"eval", "exec", "compile", "os.system", "os.popen", "np.load", "numpy.load", "tempfile.mktemp"}


def banned(tree: ast.AST) -> list[str]:
    """Uses of what turns data into code, or a string into a command."""
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found += [n.name for n in names if n.name.split(".")[0] in BANNED_MODULES]
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in BANNED_MODULES:
                found.append(module)
            case ast.Call(func=function, keywords=keywords):
                found += [name for name in [ast.unparse(function)] if name in BANNED_CALLS]
                found += [
                    word.arg for word in keywords if word.arg in ("shell", "allow_pickle") and _is_true(word.value)
                ]
    return [name for name in found if name]


def _is_true(value: ast.expr) -> bool:
    return not (isinstance(value, ast.Constant) and value.value is False)


# `hearout tune` gives its worker processes, through joblib, what it has read itself: never the bytes of a file.
PICKLES = {"tune/pool.py", "tune/search.py", "cli/work.py", "report/survey.py"}


def test_data_never_becomes_code() -> None:
    assert {"/".join(path.parts[-2:]) for path, tree in sources() if banned(tree)} == PICKLES
    assert len(list(sources())) > 40


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from marshal import loads",
        "eval('1')",
        "subprocess.run(x, shell=True)",
        "np.load(f, allow_pickle=flag)",
    ],
)
def test_the_search_finds_what_it_searches(text: str) -> None:
    assert banned(ast.parse(text))


def server_arguments(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "*", "192.0.2.1", "127.0.0.1.example.com", "localhost.example"])
@pytest.mark.parametrize("token", [(), ("--token", "")])
def test_the_local_server_is_not_for_others_without_a_token(
    capsys: pytest.CaptureFixture[str], host: str, token: tuple[str, ...]
) -> None:
    assert command.run(server_arguments("--host", host, "--port", "0", *token)) == 2
    assert "set HEAROUT_STT_TOKEN or --token" in capsys.readouterr().err


def test_the_local_server_listens_on_this_machine_only() -> None:
    assert server_arguments().host == "127.0.0.1"

    async def main() -> None:
        async with local_server() as url:
            port = urlsplit(url).port
            assert port
            await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
            # Another address of the same machine, as far as Linux is concerned.
            with pytest.raises(OSError, match=r"127\.0\.0\.2"):
                await trio.open_tcp_stream("127.0.0.2", port)

    trio.run(main)
