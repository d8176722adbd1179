"""``--stt package.module:Class`` and names that packages bring: as good as built in, and in one line when not."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from hearout import Deepgram, UsageError, open_session, parse_trace, read_trace, replay
from hearout.cli import doctor
from hearout.cli.main import main
from hearout.serving import address_of
from hearout.sources import TwilioCall, serve_twilio
from hearout.transcribers import own
from hearout_policies.events import TurnCompleted
from tests.kit import parrots
from tests.kit.callers import HOWEVER_BUSY, dialling_url
from tests.kit.commandline import COMMAND, KEY, environment, playing, shell
from tests.kit.commandline import serving as conversing
from tests.kit.parrots import Parrot
from tests.kit.paths import DATA, DOCS
from tests.kit.serving import serving
from tests.kit.twilio_line import CONNECTED, STOP, audio, numbered, start
from tests.tune.test_tune import spoken

CLIP = DATA / "two_sentences.flac"
TEXTS = ["i would like to cancel my appointment", "could you repeat that please"]

Run = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The current directory, with the module ``parrots`` in it, and nothing of it is left behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    before = set(sys.modules)
    shutil.copy(parrots.__file__, tmp_path / "parrots.py")
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    own.named.cache_clear()


@pytest.fixture
def hearout(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process: its status, standard output, and the lines of standard error."""
    monkeypatch.setenv("PARROT_API_KEY", KEY)

    def run(*arguments: str | Path) -> tuple[int, str, list[str]]:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert KEY not in out + err
        return status, out, err.splitlines()

    return run


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the local recogniser understands Parrot."""
    with serving() as server:
        yield f"ws://{server}/v1/listen"


def texts(out: str) -> list[str]:
    return [line.split(" s  ", 1)[1].split("   [")[0] for line in out.splitlines()]


def test_it_hears_and_its_trace_is_as_good_as_any(hearout: Run, here: Path, url: str) -> None:
    own_one = ["--stt", "parrots:Parrot"]
    listen = ["listen", CLIP, *own_one, "--url", url, "--speed", "max", "--record", "call.jsonl"]
    status, out, err = hearout(*listen, "--plot", "call.png")
    assert (status, texts(out), err[1:]) == (0, TEXTS, ["wrote call.png"])
    assert json.loads((here / "call.jsonl").read_text().splitlines()[0])["stt"] == "parrot"
    status, again, _ = hearout("replay", "call.jsonl", *own_one)
    assert status == 0
    assert all(text in line for text, line in zip(TEXTS, again.splitlines(), strict=True))
    assert hearout("plot", "call.jsonl", *own_one, "-o", "again.png")[0] == 0
    for command in (["replay", "call.jsonl"], ["plot", "call.jsonl", "-o", "a.png"], ["tune", "call.jsonl"]):
        assert hearout(*command) == (
            2,
            "",
            [
                'hearout: call.jsonl:1: "stt" is "parrot", a transcriber that is not known here: install the package '
                "that brings it, or name its class: --stt package.module:Class"
            ],
        )
    status, _, err = hearout("replay", "call.jsonl", "--stt", "parrots:Parakeet")
    assert status == 2
    assert err[0].endswith("--stt package.module:Class (not one that is named parakeet)")


def test_tune(hearout: Run, here: Path) -> None:
    header = {"hearout_trace": 1, "stt": "parrot", "channels": 1, "vad": True}
    turns = [record for n in range(12) for record in spoken((60.0 * n + 1, 60.0 * n + 2))]
    lines = map(json.dumps, (header, *sorted(turns, key=lambda record: record["t"]), {"t": 730.0, "end": True}))
    (here / "calls.jsonl").write_text("\n".join(lines))
    status, out, _ = hearout("tune", "calls.jsonl", "--stt", "parrots:Parrot", "--jobs", "1", "--json")
    assert status == 0
    assert json.loads(out)["base"]["searched"]["ends"] == 12


def test_tokens_are_listed(hearout: Run, url: str) -> None:
    listen = ["listen", CLIP, "--stt", "parrots:Parrot", "--url", url, "--speed", "max", "--show-tokens"]
    status, out, _ = hearout(*listen)
    assert status == 0
    assert f"Final: {' '.join(TEXTS)}" in out.splitlines()


def test_a_trace_is_read_with_the_class_from_python() -> None:
    lines = [
        '{"hearout_trace": 1, "stt": "parrot", "vad": false}',
        '{"t": 1.0, "stt": {"type": "Results", "start": 0.0, "duration": 1.0, "is_final": true, "channel": '
        '{"alternatives": [{"words": [{"word": "yes", "start": 0.2, "end": 0.6}]}]}}}',
        '{"t": 2.0, "end": true}',
    ]
    (turn,) = replay(parse_trace(lines, transcriber=Parrot)).of_type("turn_completed")
    assert isinstance(turn, TurnCompleted)
    assert turn.text == "yes"
    with pytest.raises(UsageError, match=r'^trace:1: "stt" is "parrot", a transcriber that is not known'):
        parse_trace(lines)
    two = parse_trace([lines[0].replace('"parrot"', '"parakeet", "channels": 2')], transcriber=parrots.Parakeet)
    with pytest.raises(UsageError, match=r"^trace:1: Parakeet: it transcribes 1 channel\(s\), not 2$"):
        replay(two)


def test_doctor_examines_it(hearout: Run, url: str) -> None:
    status, out, err = hearout("doctor", "--stt", "parrots:Parrot", "--url", url, "--sample", CLIP, "--json")
    assert (status, err) == (0, [])
    findings = {found["check"]: found for found in map(json.loads, out.splitlines())}
    assert {found["server"] for found in findings.values()} == {"parrot"}
    verdicts = {check: found["verdict"] for check, found in findings.items()}
    assert verdicts.pop("Finalize") == "has"
    for lacking in ("punctuation", "endpoint", "turns", "SpeechStarted", "UtteranceEnd"):
        assert verdicts.pop(lacking) == "lacks"
    assert verdicts.pop("KeepAlive") == verdicts.pop("wrong key") == "skipped"
    assert set(verdicts.values()) == {"ok"}


def test_without_its_key_doctor_examines_the_local_one(hearout: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    examined: list[Any] = []

    @asynccontextmanager
    async def pretended() -> AsyncIterator[str]:
        await trio.lowlevel.checkpoint()
        yield "ws://127.0.0.1:1/v1/listen"

    async def examine(dialect: Any, *_: Any, **__: Any) -> None:
        await trio.lowlevel.checkpoint()
        examined.append(type(dialect))

    monkeypatch.setattr(doctor, "local_server", pretended)
    monkeypatch.setattr(doctor, "examine", examine)
    monkeypatch.delenv("PARROT_API_KEY")
    status, out, _ = hearout("doctor", "--stt", "parrots:Parrot", "--sample", CLIP)
    assert (status, examined) == (0, [Deepgram])
    assert out.startswith(
        "no key for Parrot in PARROT_API_KEY: this is the built-in recogniser on this machine: parrots:"
    )
    assert "--url ws://127.0.0.1:PORT/PATH, it needs no key" in out


async def say_yes(stage: Any) -> None:
    await stage.hear(1.0)
    await stage.say("yes please", 0.2, 0.9)
    await stage.end()


def test_serve(here: Path) -> None:
    async def talk(url: str) -> list[Any]:
        got: list[Any] = []
        async with dialling_url(url) as websocket:
            await websocket.send_message(
                '{"type": "start", "version": 1, "encoding": "linear16", "sample_rate": 16000}'
            )
            for _ in range(12):
                await websocket.send_message(bytes(3200))
            await websocket.send_message('{"type": "end"}')
            while not got or got[-1]["type"] != "turn_completed":
                got.append(json.loads(await websocket.get_message()))
        return got

    with conversing(playing(say_yes)) as (_, _, _, url):
        command = [*COMMAND, "serve", "--port", "0", "--stt", "parrots:Parrot", "--url", url]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment(), cwd=here) as process:
            assert process.stdout is not None
            got = trio.run(talk, process.stdout.readline().removeprefix("listening on ").strip())
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=20)
    assert got[-1]["text"] == "yes please"
    assert err == "hearout: stopped\n"


def test_a_call_of_twilio() -> None:
    heard: list[str] = []

    async def call_in(url: str) -> None:
        ended = trio.Event()

        async def answer(call: TwilioCall) -> None:
            async with open_session(call, Parrot(KEY, url, call.sample_rate, call.channels)) as session:
                heard.extend([event.text async for event in session if isinstance(event, TurnCompleted)])
            ended.set()

        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(partial(serve_twilio, answer, limits=HOWEVER_BUSY), 0)
            async with dialling_url(f"ws://{address_of(listener)}/media") as websocket:
                for message in numbered(CONNECTED, start(), *audio(0, 2), STOP):
                    await websocket.send_message(message)
                await ended.wait()
            nursery.cancel_scope.cancel()

    async def say_hello(stage: Any) -> None:
        await stage.hear(0.5)  # as if it were 16 kHz
        await stage.say("hello there", 0.2, 0.9)
        await stage.end()

    with conversing(playing(say_hello)) as (_, _, _, url):
        trio.run(call_in, url)
    assert heard == ["hello there"]


BROKEN = {
    "unfinished.py": "class Parrot(:\n",
    "needy.py": "x = 1\n\nimport nothing_of_that_name\n",
    "leaving.py": "raise SystemExit(3)\n",
    "crashing.py": "class Crash(BaseException): ...\n\nraise Crash('down')\n",
    "moody.py": "def __getattr__(name):\n    raise ValueError(name)\n",
    "odd.py": """
from parrots import Parrot

parrot = Parrot("any")
def factory(): return Parrot("any")
class Empty:
    name = "empty"
class Deaf(Parrot):
    name = "deaf"
    decode = None
class Nameless(Parrot):
    name = "Two Words"
class Borrowed(Parrot):
    name = "soniox"
class Local(Parrot):
    name = "local"
class Wants(Parrot):
    def __init__(self, key, region, tier): ...
class Keyless(Parrot):
    key_variable = None
class Refuses(Parrot):
    def __init__(self, key):
        raise RuntimeError("no\\nway")
class Tells(Parrot):
    def __init__(self, key, url=None):
        if key.startswith("dg-"):
            raise ValueError(f"{key[:9]} is wrong, {key} it is")
        super().__init__(key, "ws://127.0.0.1:1/")
class Silent(Parrot):
    keepalive_after = 0.0
class Leaks(Parrot):
    def address(self):
        return f"wss://parrot.example/?key={self._key}"
class Falls(Parrot):
    def closing(self):
        return 1 / 0
class Numbered(Parrot):
    key_variable = 7
class Leaves(Parrot):
    def __init__(self, key):
        raise SystemExit(3)
class Late(Parrot):
    @property
    def silence_after(self):
        raise KeyError("late")
""",
}


@pytest.mark.parametrize(
    ("stt", "line"),
    [
        ("nosuch:Parrot", "there is no module nosuch, neither in this directory nor among the installed packages"),
        ("nosuch.deep:Parrot", "there is no module nosuch, neither"),
        ("parrots.deep:Parrot", "there is no module parrots.deep, neither"),
        ("unfinished:Parrot", "its import failed: SyntaxError: invalid syntax (unfinished.py:1)"),
        ("needy:Parrot", "its import failed: ModuleNotFoundError: No module named 'nothing_of_that_name' (needy.py:3)"),
        ("leaving:Parrot", "its import failed: SystemExit: 3 (leaving.py:1)"),
        ("parrots:Parot", "parrots has no Parot; did you mean Parrot?"),
        ("parrots:Parrot.inner", "Parrot has no inner"),
        ("parrots:", "a class is named as package.module:Class"),
        ("../parrots:Parrot", "a class is named as package.module:Class"),
        ("odd:parrot", "it must be a class, not <parrots.Parrot object"),
        ("odd:factory", "it must be a class, not <function factory"),
        ("odd:Empty", "no dialect, as it has no address, no headers, no opening, no audio, no finalize, no keepalive"),
        ("odd:Deaf", "no dialect, as decode cannot be called"),
        ("odd:Nameless", "its class attribute name must be a word in lower case, not 'Two Words'"),
        ("odd:Borrowed", 'hearout has a transcriber "soniox" of its own: give the class another name'),
        ("odd:Local", 'hearout has a transcriber "local" of its own'),
        (
            "odd:Wants",
            "its constructor wants region and tier: only key, sample_rate and channels may be without a default",
        ),
        ("odd:Keyless", "it wants a key: a class attribute, key_variable"),
        ("odd:Numbered", "key_owner and key_variable must be text"),
        ("odd:Refuses", "it cannot be made: RuntimeError: no way (odd.py:23)"),
        ("odd:Tells", "it cannot be made: ValueError: ***"),
        ("odd:Silent", "the class does not conform: keepalive_after must be above 0"),
        ("odd:Leaks", "the class does not conform: a secret of the headers stands in its address too"),
        ("odd:Falls", "the class does not conform: ZeroDivisionError: division by zero (odd.py:36)"),
        ("odd:Late", "it cannot be made: KeyError: 'late' (odd.py:45)"),
        ("odd:Leaves", "it cannot be made: SystemExit: 3 (odd.py:41)"),
        ("crashing:Parrot", "its import failed: Crash: down (crashing.py:3)"),
        ("moody:Parrot", "its import failed: ValueError: Parrot (moody.py:2)"),
        ("parakeet", "there are local, deepgram, "),
    ],
)
def test_what_is_no_transcriber_is_told_in_a_line(hearout: Run, here: Path, stt: str, line: str) -> None:
    for name, text in BROKEN.items():
        (here / name).write_text(text)
    for command in (["listen", CLIP], ["serve"], ["doctor", "--sample", CLIP]):
        status, out, (told,) = hearout(*command, "--stt", stt)
        assert (status, out) == (2, "")
        assert line in told
        assert told.startswith("hearout: ")


@pytest.mark.parametrize("stt", ["broken_off:Parrot", "waiting:Waiting"])
def test_an_interrupt_remains_one(hearout: Run, here: Path, stt: str) -> None:
    (here / "broken_off.py").write_text("raise KeyboardInterrupt\n")
    (here / "waiting.py").write_text("""
from parrots import Parrot

class Waiting(Parrot):
    def __init__(self, key):
        raise KeyboardInterrupt
""")
    assert hearout("listen", CLIP, "--stt", stt) == (130, "", ["hearout: interrupted"])


@pytest.mark.parametrize("leaves", ["RuntimeError('no way')", "SystemExit(3)", "Down()"])
def test_options_of_a_trace_that_its_class_does_not_take(hearout: Run, here: Path, leaves: str) -> None:
    (here / "choosy.py").write_text(f"""
from dataclasses import dataclass, field
from parrots import Parrot

class Down(BaseException): ...

@dataclass
class Choosy(Parrot):
    key: str = field(repr=False)
    url: str = "wss://parrot.example/v1/listen"
    sample_rate: int = 16000
    channels: int = 1
    style: str = "plain"
    name = "choosy"
    decoding = ("style",)
    def __post_init__(self):
        super().__init__(self.key, self.url, self.sample_rate, self.channels)
        if self.style != "plain":
            raise {leaves}
""")
    header = '{"hearout_trace": 1, "stt": "choosy", "vad": false}'
    options = '{"t": 0.0, "sent": {"type": "Options", "style": "rich"}}'
    (here / "call.jsonl").write_text("\n".join([header, options, '{"t": 2.0, "end": true}']))
    status, out, (told,) = hearout("replay", "call.jsonl", "--stt", "choosy:Choosy")
    assert (status, out) == (2, "")
    assert told.startswith("hearout: call.jsonl:2: choosy: it does not take the options of the trace: ")
    assert f"trace: {leaves.partition('(')[0]}" in told
    assert told.endswith(" (choosy.py:19)")


def test_a_class_that_does_not_take_the_channels_of_a_trace(hearout: Run, here: Path) -> None:
    (here / "mono.py").write_text("""
from parrots import Parrot

class Mono(Parrot):
    name = "mono"
    def __init__(self, key, channels=1):
        if channels > 1:
            raise RuntimeError("one only")
        super().__init__(key, channels=channels)
""")
    (here / "call.jsonl").write_text('{"hearout_trace": 1, "stt": "mono", "channels": 2}\n{"t": 2.0, "end": true}')
    told = ["hearout: call.jsonl:1: Mono: it cannot be made: RuntimeError: one only (mono.py:8)"]
    assert hearout("replay", "call.jsonl", "--stt", "mono:Mono") == (2, "", told)


def test_its_key_and_its_url(hearout: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARROT_API_KEY")
    missing = "hearout: no key for Parrot: put it into the environment variable PARROT_API_KEY"
    assert hearout("listen", CLIP, "--stt", "parrots:Parrot") == (2, "", [missing])
    told = ["hearout: Parakeet: it takes no url"]
    assert hearout("listen", CLIP, "--stt", "parrots:Parakeet", "--url", "ws://127.0.0.1:1/") == (2, "", told)
    told = ["hearout: --stt deepgram: a trace names its transcriber; only a class of your own must be given"]
    assert hearout("replay", "call.jsonl", "--stt", "deepgram") == (2, "", told)


def install(folder: Path, package: str, *points: str) -> None:
    """What pip leaves of a package that has nothing but entry points."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(["[hearout.transcribers]", *points, ""]))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with packages installed in it."""
    site = tmp_path / "site"
    site.mkdir()
    shutil.copy(parrots.__file__, site / "parrots.py")
    install(site, "parrots", "parrot = parrots:Parrot", "polly = parrots:Parrot", "ghost = ghosts:Ghost")
    install(site, "others", "soniox = parrots:Parrot", "double = parrots:Parrot", "local = parrots:Parrot")
    install(site, "twins", "double = parrots:Parakeet")
    return site


def test_a_package_brings_a_name(site: Path, tmp_path: Path, url: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    listen = f"hearout listen {CLIP} --stt parrot --url {url} --speed max --record call.jsonl"
    command = f"{listen} && hearout replay call.jsonl"
    done = shell(command, elsewhere, PYTHONPATH=str(site), PARROT_API_KEY=KEY)
    assert done.status == 0
    assert done.err[0].startswith("2 turns, ")
    assert [line.count(text) for text in TEXTS for line in done.out.splitlines()] == [1, 0, 1, 0, 0, 1, 0, 1]


@pytest.mark.parametrize(
    ("stt", "lines"),
    [
        (
            "ghost",
            [
                "ghost, brought by package parrots as ghosts:Ghost: there is no module ghosts, neither in this "
                "directory nor among the installed packages"
            ],
        ),
        (
            "polly",
            [
                "polly, brought by package parrots as parrots:Parrot: the class calls itself 'parrot': both must have "
                "the same name"
            ],
        ),
        (
            "double",
            ["double: 2 entry points bring it, of package others and package twins: name one as package.module:Class"],
        ),
        (
            "soniox",
            [
                "warning: package others brings a transcriber soniox, too; this is hearout's own",
                "no key for Soniox: put it into the environment variable SONIOX_API_KEY",
            ],
        ),
        (
            "nobody",
            [
                "--stt nobody: there are local, deepgram, soniox, flux, openai, assemblyai, elevenlabs, double, ghost, "
                "parrot, polly; or name a class of your own as package.module:Class"
            ],
        ),
        ("deepgram", ["no key for Deepgram: put it into the environment variable DEEPGRAM_API_KEY"]),
    ],
)
def test_names_that_cannot_be_used(
    hearout: Run, site: Path, monkeypatch: pytest.MonkeyPatch, stt: str, lines: list[str]
) -> None:
    monkeypatch.syspath_prepend(str(site))
    own.named.cache_clear()
    for variable in ("SONIOX_API_KEY", "DEEPGRAM_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    status, _, err = hearout("listen", CLIP, "--stt", stt)
    assert status == 2
    assert err == [f"hearout: {line}" for line in lines]


def test_a_trace_imports_nothing_that_no_package_brings(here: Path) -> None:
    (here / "trap.py").write_text("raise SystemExit('sprung')\n")
    (here / "call.jsonl").write_text('{"hearout_trace": 1, "stt": "trap:Parrot"}\n{"t": 1.0, "end": true}\n')
    with pytest.raises(UsageError, match='"stt" is "trap:Parrot", a transcriber that is not known here'):
        read_trace(here / "call.jsonl")


async def speak_as_assembly(stage: Any) -> None:
    """AssemblyAI's v3 in small: the turn ends when it is asked for."""
    send = stage.websocket.send_message
    hi = {"text": "hi", "start": 200, "end": 700, "word_is_final": True}
    turn = {"type": "Turn", "turn_order": 0, "end_of_turn": False, "words": [hi]}
    await send('{"type": "Begin", "id": "de5d9927"}')
    await stage.hear(1.0)
    await send(json.dumps(turn))
    while True:
        message = await stage.websocket.get_message()
        if isinstance(message, bytes):
            continue
        match json.loads(message)["type"]:
            case "ForceEndpoint":
                await send(json.dumps(turn | {"end_of_turn": True}))
                turn = {"type": "Turn", "turn_order": 1, "words": []}
            case "Terminate":
                await send('{"type": "Termination"}')
                return await stage.websocket.aclose(1000)  # type: ignore[no-any-return]


def test_the_package_of_the_documents_brings_its_name(here: Path) -> None:
    page = (DOCS / "own-transcriber.md").read_text("utf-8")
    (project,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (here / "pyproject.toml").write_text(project)
    (here / "mine.py").write_text("class Assembly:\n    pass\n")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", "site", "."], check=True)
    (brought,) = importlib.metadata.distributions(name="hearout-assembly", path=["site"])
    (point,) = brought.entry_points
    assert (point.group, point.name, point.value) == ("hearout.transcribers", "assembly", "mine:Assembly")
    assert (here / "site" / "mine.py").exists()


def test_the_example_of_the_documents(hearout: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (DOCS / "own-transcriber.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (here / "mine.py").write_text("\n".join(blocks))
    monkeypatch.setenv("ASSEMBLYAI_API_KEY", KEY)
    monkeypatch.syspath_prepend(str(here))
    mine = importlib.import_module("mine")
    mine.test_assembly_conforms()
    assert "language=de" in mine.German(KEY).address()
    with conversing(playing(speak_as_assembly)) as (_, _, _, url):
        listen = ["listen", CLIP, "--stt", "mine:Assembly", "--url", url, "--speed", "max"]
        status, out, _ = hearout(*listen, "--record", "call.jsonl")
    assert (status, texts(out)) == (0, ["hi"])
    assert hearout("replay", "call.jsonl", "--stt", "mine:Assembly")[0] == 0
    assert own.imported("mine:German").variable == "DEEPGRAM_API_KEY"
