"""The pages of docs/: their links, what they include, and that the code on them does what they say.

The site is built by `python3 dev.py docs`; nothing of that is needed here.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import json
import re
import shlex
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import trio

import hearout
from hearout import Deepgram, TurnCompleted, read_trace, replay
from hearout.cli.main import _parser
from hearout.traces.records import Received
from tests.kit.paths import ROOT
from tests.kit.serving import playing

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
# What imports a framework, which is not there in these tests.
FRAMEWORKS = ("hearout.integrations.", "hearout.shadow.")
# Pages whose Python runs here. The code of the others is run by tests of their own.
RUN = sorted(page for folder in ("concepts", "migrating") for page in (DOCS / folder).glob("*.md"))

each = partial(pytest.mark.parametrize, ids=lambda page: str(page.relative_to(ROOT)))


@cache
def parts(page: Path) -> tuple[str, tuple[tuple[str, int, str], ...]]:
    """The prose of a page, and its fenced blocks: language, number of the line before, code."""
    text = page.read_text(encoding="utf-8")
    fence = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    blocks = tuple((match[1], text.count("\n", 0, match.start(2)), match[2]) for match in fence.finditer(text))
    return fence.sub("", text), blocks


# -- links ----------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """What can stand behind a ``#``: its headings as GitHub and the site make anchors of them, and API names."""
    prose, _ = parts(page)
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", prose, re.MULTILINE):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        found.add(re.sub(r"[^\w\- ]", "", text).replace(" ", "-"))
    return found | set(documented(page))


@each("page", [*PAGES, ROOT / "README.md"])
def test_links_lead_somewhere(page: Path) -> None:
    prose, _ = parts(page)
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_file(), f"{target}: no such file"
        assert file.suffix != ".md" or not anchor or anchor in anchors(file), f"{target}: no such heading"
        if page != ROOT / "README.md":
            assert file.is_relative_to(DOCS), f"{target}: not on the site; link reference/examples.md or name the file"


def test_every_page_is_in_the_navigation_once() -> None:
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"^ +- (?:\w+: )?(\S+\.md)$", config.partition("\nnav:")[2], re.MULTILINE)
    assert sorted(listed) == sorted(page.relative_to(DOCS).as_posix() for page in PAGES)


def test_the_changelog_is_on_the_site_with_its_links() -> None:
    log, page = (
        (folder / name).read_text(encoding="utf-8") for folder, name in ((ROOT, "CHANGELOG.md"), (DOCS, "changelog.md"))
    )
    assert not re.findall(r"\]\((?!https?:).*?\)", log), "[text][page], with [page]: docs/page.md below"
    links = re.findall(r"^\[(.*)\]: docs/(.*)$", log, re.MULTILINE)
    assert {name for name, _ in links} == set(re.findall(r"\]\[(.*?)\]", log))
    assert re.findall(r"^\[(.*)\]: (.*)$", page, re.MULTILINE) == links
    assert all((DOCS / path).is_file() for _, path in links)
    assert page.startswith('--8<-- "CHANGELOG.md"\n')  # the last of two definitions holds


def test_the_home_page_has_the_first_program_of_the_readme() -> None:
    """Which tests/project/test_readme.py runs."""
    programs = [code for language, _, code in parts(ROOT / "README.md")[1] if language == "python"]
    assert [code for language, _, code in parts(DOCS / "index.md")[1] if language == "python"] == programs[:1]


@pytest.mark.parametrize(
    ("word", "page"),
    [
        ("spanish", "languages.md"),
        ("whisper", "stt-server.md"),
        ("docker", "deployment.md"),
        ("health", "deployment.md"),
    ],
)
def test_what_people_search_for_is_there(word: str, page: str) -> None:
    assert re.search(rf"\b{word}\b", (DOCS / page).read_text(encoding="utf-8"), re.IGNORECASE)


# -- reference ------------------------------------------------------------------------------------------


def documented(page: Path) -> list[str]:
    """The names whose docstrings a page shows."""
    return re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)


def docstring(path: str) -> str:
    """Of what has that name."""
    if not path.startswith(FRAMEWORKS):
        return getattr(named(path), "__doc__", None) or ""
    module, _, name = path.rpartition(".")
    tree = ast.parse((ROOT / "engine" / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8"))
    (definition,) = [
        node
        for node in tree.body
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name
    ]
    return ast.get_docstring(definition) or ""


def named(path: str) -> Any:
    """The module or object of that name."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        return getattr(named(module), name)


@each("page", sorted((DOCS / "reference").glob("*.md")))
def test_what_the_reference_documents_exists(page: Path) -> None:
    for name in documented(page):
        assert docstring(name).strip(), f"{name} has no docstring"
    for language, _, code in parts(page)[1]:
        assert language == "python", "this folder includes files and shows docstrings"
        (included,) = re.findall(r'^--8<-- "(.*)"\n$', code)
        assert (ROOT / included).is_file(), included


def summaries(page: Path) -> list[str]:
    """A row for each name whose docstring the site shows: what GitHub shows of it. Constants and unions have none."""
    rows = []
    for name in documented(page):
        if name.startswith(FRAMEWORKS) or callable(thing := named(name)) or isinstance(thing, ModuleType):
            summary = " ".join(docstring(name).partition("\n\n")[0].split()).removesuffix("::").replace("``", "`")
            rows.append(f"| `{name}` | {summary} |")
    return rows


@each("page", [page for page in sorted((DOCS / "reference").glob("*.md")) if documented(page)])
def test_the_reference_says_what_each_name_is_on_github_too(page: Path) -> None:
    rows = re.findall(r"^\| `hearout.*\|$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == summaries(page), "as in the docstrings:\n" + "\n".join(summaries(page))


def test_the_reference_has_the_whole_package() -> None:
    shown = [name for page in PAGES for name in documented(page)]
    assert len(shown) == len(set(shown))
    objects = [named(name) for name in shown if not name.startswith(FRAMEWORKS)]
    for name in hearout.__all__:
        if name not in ("Event", "__version__"):  # a union, named on the page of its members; a text
            assert any(getattr(hearout, name) is thing for thing in objects), f"hearout.{name} is on no page"


def test_all_examples_are_shown() -> None:
    page = DOCS / "reference" / "examples.md"
    shown = re.findall(r'--8<-- "examples/(.*)"', page.read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(path.name for path in (ROOT / "examples").glob("*.py"))


# -- code -----------------------------------------------------------------------------------------------


def run(page: Path, printed: Callable[[], str]) -> dict[str, Any]:
    """Run the Python of a page; a block ``text`` is what the block before it prints."""
    namespace: dict[str, Any] = {}
    output = ""
    for language, line, code in parts(page)[1]:
        if language == "python":
            # The empty lines make the line numbers of a traceback those of the file.
            exec(compile("\n" * line + code, str(page), "exec"), namespace)
            output = printed()
        elif language == "text":
            assert output == code
    return namespace


@pytest.fixture
def code_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[str], dict[str, Any]]:
    """Runs a page in the folder of the project, and gives what it defines."""
    monkeypatch.chdir(ROOT)
    return lambda page: run(DOCS / page, lambda: capsys.readouterr().out)


@each("page", RUN)
def test_the_code_does_what_the_page_says(page: Path, code_of: Callable[[str], dict[str, Any]]) -> None:
    code_of(str(page.relative_to(DOCS)))


@each("page", [page for page in PAGES if any(language == "py" for language, *_ in parts(page)[1])])
def test_fragments_are_python_and_import_what_there_is(page: Path) -> None:
    """Blocks ``py`` are parts of programs, and cannot run. One that begins with a ``case`` is run elsewhere."""
    for language, line, code in parts(page)[1]:
        if language != "py" or code.startswith("case "):
            continue
        tree = compile("\n" * line + code, str(page), "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        for node in ast.walk(tree):
            module = getattr(node, "module", None) or ""
            if isinstance(node, ast.ImportFrom) and module.startswith("hearout") and not module.startswith(FRAMEWORKS):
                assert all(named(f"{module}.{alias.name}") for alias in node.names)


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of each ``hearout`` in a console; a synopsis has brackets, a prompt for what follows dots."""
    for language, _, text in parts(page)[1]:
        for line in text.splitlines() if language in ("console", "") else ():
            command = re.match(r"(?:\$ )?(?:\w+=\S+ )*(?:\.venv/bin/)?hearout (?!.*(?:\[|\.\.\.))(.*)", line)
            if command and "--list-devices" not in line:  # which looks for them at once
                yield shlex.split(re.sub(r" +\(.*\)$", "", command[1]), comments=True)


@each("page", [page for page in (*PAGES, ROOT / "README.md") if any(commands(page))])
def test_commands_are_understood(page: Path) -> None:
    for arguments in commands(page):
        _parser().parse_args(arguments)


class Said:
    """Takes down what it is told: ("answer", "yes"), and so on."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: self.calls.append((name, *arguments))


async def events_of(case: str) -> AsyncIterator[Any]:
    for output in replay(read_trace(f"tests/cases/{case}.jsonl")).outputs:
        await trio.lowlevel.checkpoint()
        yield output


@pytest.mark.parametrize(
    ("case", "calls"),
    [
        (
            "early_goes_on_after_a_prediction",
            [
                ("prepare", "Book me a table."),
                ("discard",),
                ("prepare", "Book me a table. For four people."),
                ("answer", "Book me a table. For four people."),
            ],
        ),
        (
            "late_final_after_timeout",
            [("answer", "cancel the booking for"), ("correct", 1, "cancel the booking for Sunday.")],
        ),
        ("agent_backchannel", [("answer", "When does it start?")]),
        (
            "agent_barge_in",
            [
                ("be_quiet",),
                ("prepare", "Sorry, I meant the other account."),
                ("answer", "Sorry, I meant the other account."),
            ],
        ),
    ],
)
def test_the_bot_on_the_page_of_turns(
    case: str, calls: list[tuple[Any, ...]], code_of: Callable[[str], dict[str, Any]]
) -> None:
    bot = Said()
    trio.run(code_of("concepts/turn.md")["converse"], events_of(case), bot)
    assert [call for call, _ in groupby(bot.calls)] == calls


def test_what_the_page_of_reliability_prints(
    code_of: Callable[[str], dict[str, Any]],
    run_virtual: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    listen = code_of("concepts/reliability.md")["listen"]
    source = hearout.PushSource(hearout.AudioFormat(sample_rate=16_000))
    run_virtual(listen, source, Deepgram("any", sample_rate=8_000), print)
    assert capsys.readouterr().out.startswith("cannot start: the audio has 1 channel(s) at 16000 Hz")
    run_virtual(listen, source, Deepgram("any", "ws://127.0.0.1:1/v1/listen"), print)
    assert capsys.readouterr().out.startswith("no transcriber any more: cannot connect to 127.0.0.1:1")


# -- migrating from Deepgram's SDK ----------------------------------------------------------------------


def as_object(message: Any) -> Any:
    """A message with attributes, as the SDK gives it."""
    return json.loads(json.dumps(message), object_hook=lambda fields: SimpleNamespace(**fields))


def test_the_table_of_handlers(code_of: Callable[[str], dict[str, Any]]) -> None:
    page = DOCS / "migrating" / "deepgram.md"
    turns_of = code_of("migrating/deepgram.md")["Turns"]
    rows = re.findall(r"^\| `(\w+)`: [^|]* \| ([^|]*) \| ([^|]*) \|$", parts(page)[0], re.MULTILINE)
    assert len(rows) == 6
    for case, handler, ours in rows:
        trace = read_trace(f"tests/cases/{case}.jsonl")
        told: list[str] = []
        turns = turns_of(told.append)
        for record in trace.records:
            if isinstance(record, Received):
                turns.on_message(as_object(record.message))
        assert (" / ".join(told) or "–") == handler, case
        texts = [output.text for output in replay(trace).outputs if isinstance(output, TurnCompleted)]
        assert " / ".join(texts) == ours, case


@pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning")  # the SDK imports websockets.legacy
def test_the_handler_in_deepgram_s_sdk(code_of: Callable[[str], dict[str, Any]], address: str) -> None:
    from deepgram import AsyncDeepgramClient
    from deepgram.core.events import EventType
    from deepgram.environment import DeepgramClientEnvironment

    told: list[str] = []
    turns = code_of("migrating/deepgram.md")["Turns"](told.append)
    server = address.removesuffix("/v1/listen")
    environment = DeepgramClientEnvironment(base=server, production=server, agent=server, agent_rest=server)

    async def main() -> None:
        client = AsyncDeepgramClient(api_key="any", environment=environment)
        options = {"model": "nova-3", "encoding": "linear16", "sample_rate": 16_000}
        async with client.listen.v1.connect(**options) as connection:
            connection.on(EventType.MESSAGE, turns.on_message)
            listening = asyncio.create_task(connection.start_listening())
            await connection.send_media(bytes(16_000))
            await connection.send_close_stream()
            await listening

    asyncio.run(main())
    assert told == ["hello."]


HELLO: dict[str, Any] = {
    "type": "Results",
    "channel_index": [0, 1],
    "start": 0.0,
    "duration": 0.2,
    "is_final": True,
    "speech_final": True,
    "channel": {
        "alternatives": [{"transcript": "hello.", "words": [{"word": "hello.", "start": 0.1, "end": 0.2}]}],
    },
}


@pytest.fixture
def address() -> Iterator[str]:
    """Of a transcriber that hears "hello." in any audio of 0.3 s."""
    with playing({"t": 0.3, "stt": HELLO}) as host:
        yield f"ws://{host}/v1/listen"


def test_what_takes_the_place_of_deepgram_s_handler(
    code_of: Callable[[str], dict[str, Any]], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPGRAM_API_KEY", "any")
    code = code_of("migrating/deepgram.md")
    code["Deepgram"] = partial(Deepgram, url=address)
    source = code["source"]
    told: list[str] = []

    async def main() -> None:
        source.push(bytes(16_000))
        source.close()
        await code["listen"](source, told.append)

    asyncio.run(main())
    assert told == ["hello."]


def test_livekit_s_frames(code_of: Callable[[str], dict[str, Any]], address: str) -> None:
    told = []

    async def frames() -> AsyncIterator[Any]:
        for _ in range(25):
            await asyncio.sleep(0)
            yield SimpleNamespace(frame=SimpleNamespace(data=memoryview(bytes(640))))

    async def reply(text: str) -> None:
        told.append(text)

    asyncio.run(code_of("migrating/livekit.md")["turns"](frames(), Deepgram("any", address), reply))
    assert told == ["hello."]
