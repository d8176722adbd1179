"""What is public: a list to compare with, so that nothing becomes public, or ceases to be, unnoticed."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.paths import ROOT

SOURCES = {"hearout": ROOT / "engine", "hearout_policies": ROOT / "policies"}

#: Packages that hand on names of their modules.
FACES = {
    "hearout": """
        Answer AssemblyAI AudioFormat AudioLost AudioSource Deepgram Dialect Ear ElevenLabs Ending Endpointing Event
        FileSource Finalize FinalizeOnSilence Flux Header HearoutError Language LinkDown LinkSettings LinkStats LinkUp
        Notice Odds OnUtteranceEnd OpenAIRealtime Opinion Outlook PRESETS Parameter Pauses Policy ProviderEnd PushSource
        RawSource Recorder Replayed Rule Session
        SessionError SessionEvent SessionWarning Silence SileroVad SmartTurn Soniox SpeechEdge SpeechGate Timings Trace
        TurnAbandoned TurnAmended TurnCompleted TurnMachine TurnPredicted TurnResumed TurnStarted TurnUpdated TurnView
        UsageError UserIdle Verdict VoiceDetector WebRtcDetector Word __version__ as_dict check
        load_policy local_server open_session paced parse_trace preset read_trace replay silero_gate
        stdin_source webrtc_gate
    """,
    "hearout.aio": """
        PushSource Session TwilioCall feed local_server open_session
    """,
    "hearout.ear": """
        Ear SmartTurn
    """,
    "hearout.serving": """
        Authorise GRACE Limits Pages Peer PlainAnswer ProtocolError Upgrade WebSocketServer address_of bearer_token
        call_id is_loopback own_pages_only serve_websockets
    """,
    "hearout.sources": """
        AudioSource ByteStream FileSource Microphone PushSource RawSource SocketCall TwilioCall audio_file
        paced serve_twilio signed_by_twilio stdin_source to_mulaw twilio_server
        websocket_server
    """,
    "hearout.threads": """
        Session local_server open_session
    """,
    "hearout.traces": """
        Header Recorder Replayed Trace check explain parse_trace read_trace replay
    """,
    "hearout.transcribers": """
        AssemblyAI Deepgram Dialect ElevenLabs Flux Heard OpenAIRealtime ProviderFailed ProviderNews Soniox
        StreamFinished WireMessage
        field_of
        number_of object_in printable shown spread time_of
    """,
    "hearout.tune": """
        Compared Tuned policy_toml tune
    """,
    "hearout.vad": """
        SileroVad SpeechEdge SpeechGate VoiceDetector WebRtcDetector silero_gate webrtc_gate
    """,
    "hearout_policies": """
        Answer Ending Endpointing Event Finalize FinalizeOnSilence Language
        NEVER Odds OnUtteranceEnd Opinion Outlook Output PRESETS
        Parameter Pauses Policy ProviderEnd Rule Silence Timings TurnAbandoned TurnAmended TurnCompleted TurnMachine
        TurnPredicted TurnResumed TurnStarted TurnUpdated TurnView UserIdle Verdict Word as_dict load_policy preset
    """,
    "hearout_policies.expect": """
        Amount Code Date Digits Email Expectation Name OneOf Open Phone Reading Spelled YesNo asked expectation read_all
    """,
    "hearout_policies.rules": """
        Endpointing FinalizeOnSilence NEVER OnUtteranceEnd ProviderEnd Rule Silence Verdict param
    """,
}
#: Modules that are public by themselves, because their import costs something, or for few.
MODULES = {
    "hearout.integrations.livekit": """
        HearoutSTT HearoutStream session_options
    """,
    "hearout.integrations.livekit_events": """
        TurnSTT TurnStream session_options
    """,
    "hearout.integrations.livekit_turns": """
        WithTurns session_options
    """,
    "hearout.integrations.pipecat": """
        HearoutSTTService HearoutSettings
    """,
    "hearout.integrations.pipecat_turns": """
        HearoutTurns
    """,
    "hearout.metrics": """
        ServerMetrics SessionMetrics
    """,
    "hearout.otel": """
        TurnSpans
    """,
    "hearout.shadow.livekit": """
        LiveKitShadow
    """,
    "hearout.shadow.pipecat": """
        Shadow
    """,
    "hearout.sources.http": """
        HttpSettings HttpSource http_source
    """,
    "hearout.testing": """
        check_dialect
    """,
    "hearout_policies.signals": """
        AgentSaid AgentSpeech AppCommand Asked AudioStalled EarHeard EndOfAudio KEYS KeyPressed LinkLost LinkRestored
        PolicyChanged ProviderSpeechStarted ProviderTurn REPLAY_SPEED Signal SpeechPaused SpeechStarted SpeechStopped
        SpeechSuspected Tick Transcript UtteranceEnd VOICE Word
    """,
    "hearout_policies.testing": """
        Promises check_policy check_rule random_signals signal_lists
    """,
}
PUBLIC = {module: names.split() for module, names in (FACES | MODULES).items()}


def file_of(module: str) -> Path:
    path = SOURCES[module.partition(".")[0]].joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def exported(module: str) -> list[str]:
    """Its ``__all__``, without importing it: the frameworks of the integrations are not here."""
    for node in ast.parse(file_of(module).read_text()).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                return [str(name) for name in ast.literal_eval(value)]
    return []


PACKAGES = [
    ".".join(path.parent.relative_to(root).parts)
    for root in SOURCES.values()
    for path in sorted(root.rglob("__init__.py"))
]


@pytest.mark.parametrize("module", PUBLIC)
def test_the_public_names(module: str) -> None:
    assert sorted(exported(module)) == sorted(PUBLIC[module])


def test_the_page_names_the_public_modules() -> None:
    page = (ROOT / "docs/index.md").read_text()
    (sentence,) = re.findall(r"^Public is .*?; everything else", page, re.DOTALL | re.MULTILINE)
    assert re.findall(r"`([^`]+)`", sentence) == list(PUBLIC)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_face_hands_on_names_and_defines_nothing(package: str) -> None:
    for node in ast.parse(file_of(package).read_text()).body:
        match node:
            case ast.Expr(value=ast.Constant(value=str())):  # the docstring
                pass
            case ast.Import() | ast.ImportFrom() | ast.Assign(targets=[ast.Name(id="__all__")]):
                assert package in FACES, "its names are not public: import them from its files"
            case ast.Expr(value=ast.Call()):
                assert ast.unparse(node) == "logging.getLogger(__name__).addHandler(logging.NullHandler())"
            case _:
                pytest.fail(ast.unparse(node))


@pytest.mark.parametrize("face", FACES)
def test_a_face_hides_none_of_its_files(face: str) -> None:
    package = importlib.import_module(face)
    files = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert files & set(package.__all__) == set()


@pytest.mark.parametrize("face", FACES)
def test_all_is_sorted_and_true(face: str) -> None:
    package = importlib.import_module(face)
    # Constants, classes, functions: as ruff sorts it.
    assert package.__all__ == sorted(package.__all__, key=lambda n: (not n.isupper(), n.lstrip("_")[0].islower(), n))
    imported = {name for name, value in vars(package).items() if type(value).__name__ != "module"}
    assert set(package.__all__) - {"__version__"} == {name for name in imported if not name.startswith("_")}


def shown() -> Iterator[tuple[Path, str]]:
    """The Python of README, docs and examples."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for code in re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE):
            if not code.startswith("--8<--"):
                yield page, code
    for path in sorted((ROOT / "examples").glob("*.py")):
        yield path, path.read_text()


def test_what_the_documents_import_is_public() -> None:
    count = 0
    for page, code in shown():
        for node in ast.walk(ast.parse(code)):
            match node:
                case ast.ImportFrom(module=str(module), names=names) if module.partition(".")[0] in SOURCES:
                    for name in names:
                        public = name.name in PUBLIC.get(module, ()) or f"{module}.{name.name}" in PUBLIC
                        assert public, f"{page.name}: {module}.{name.name}"
                        count += 1
                case ast.Import(names=names):
                    for name in names:
                        ours = name.name.partition(".")[0] in SOURCES
                        assert not ours or name.name in PUBLIC, f"{page.name}: {name.name}"
    assert count > 50


def test_what_the_reference_shows_of_the_engine_is_public() -> None:
    for page in sorted((ROOT / "docs/reference").glob("*.md")):
        for name in re.findall(r"^::: (hearout\..*)$", page.read_text(), re.MULTILINE):
            module, _, member = name.rpartition(".")
            assert member in PUBLIC.get(module, ()), f"{page.name}: {name}"


#: The same thing in each world: trio, `hearout.aio`, `hearout.threads`.
TWICE = {"Session", "TwilioCall"}


def test_no_class_name_is_there_twice() -> None:
    where = defaultdict(list)
    for root in SOURCES.values():
        for path in sorted(root.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    where[node.name].append(path.name)
    assert {name: paths for name, paths in where.items() if len(paths) > 1 and name not in TWICE} == {}


def test_policies_need_the_standard_library_only() -> None:
    for path in sorted((ROOT / "policies").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import(names=names):
                    modules = [name.name for name in names]
                case ast.ImportFrom(module=str(module), level=0):
                    modules = [module]
                case _:
                    continue
            for module in modules:
                top = module.partition(".")[0]
                kit = path.name == "testing.py" and top == "hypothesis"  # for tests; only there, and only when called
                assert top == "hearout_policies" or top in sys.stdlib_module_names or kit, f"{path.name}: {module}"


def test_an_import_takes_nothing_that_an_extra_has() -> None:
    code = (
        "import sys, hearout, hearout.traces, hearout.sources, hearout.transcribers, hearout.tune\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"asyncio", "av", "httpx", "hypothesis", "joblib", "matplotlib", "ctranslate2", "prometheus_client"}
    heavy |= {"opentelemetry", "rich", "sounddevice", "soundfile", "soxr"}
    assert heavy & set(done.stdout.split()) == set()
