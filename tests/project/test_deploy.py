"""Dockerfile, compose file and manifest: what they name exists; and where docker is, the container does its work."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import tomllib
import urllib.request
from functools import cache
from typing import Any

import pytest

from hearout.cli.environment import CommandParser
from hearout.cli.main import _parser
from hearout.cli.serve import TOKEN_VARIABLE
from hearout.serving import WebSocketServer
from hearout.serving.health import health_pages
from hearout.transcribers.registry import PROVIDERS
from tests.kit.commandline import COMMAND, environment
from tests.kit.paths import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
KEYS = {provider.variable for provider in PROVIDERS.values()}
KILL = 10  # seconds after which `docker stop` kills


@cache
def serve_parser() -> CommandParser:
    (commands,) = [action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction)]
    found = commands.choices["serve"]
    assert isinstance(found, CommandParser)
    return found


def documents(name: str) -> list[Any]:
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load_all((ROOT / name).read_text(encoding="utf-8")))


def instruction(name: str) -> list[str]:
    """What stands behind an instruction of the last stage of the Dockerfile."""
    return re.findall(rf"^{name} (.*)$", DOCKERFILE.rpartition("\nFROM ")[2], re.MULTILINE)


def image_environment() -> dict[str, str]:
    pairs = [pair.split("=", 1) for line in instruction("ENV") for pair in shlex.split(line)]
    return {name: value for name, value in pairs if name != "PATH"}


def pages() -> set[str]:
    async def nobody(peer: Any) -> None:
        raise NotImplementedError

    return set(health_pages(WebSocketServer(nobody, name="bot")))


def check_variables(variables: dict[str, Any]) -> None:
    """Each is one that is read, and has a value that can be."""
    options = serve_parser().variables()
    for name, value in variables.items():
        assert name in options or name == TOKEN_VARIABLE or name in KEYS, f"nothing reads {name}"
        if name in options and (kind := options[name].type) is not None:
            assert callable(kind)
            kind(str(value))


# -- the image -----------------------------------------------------------------------------------------------------


def test_the_image_has_what_it_copies_and_installs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (extras,) = re.findall(r"^ARG EXTRAS=(.*)$", DOCKERFILE, re.MULTILINE)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    copied = [
        source for line in re.findall(r"^COPY (?!--)(.*) \S+$", DOCKERFILE, re.MULTILINE) for source in line.split()
    ]
    assert set(copied) >= {"pyproject.toml", "engine", "policies"}
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for source in copied:
        assert (ROOT / source).exists()
        assert f"!{source}" in ignored


def test_the_image_runs_as_nobody_in_particular() -> None:
    (user,) = instruction("USER")
    assert all(int(number) > 0 for number in user.split(":"))


def test_what_the_image_starts() -> None:
    check_variables(image_environment())
    ((entry,), command) = (json.loads(instruction(name)[0]) for name in ("ENTRYPOINT", "CMD"))
    assert (entry, command) == ("hearout", ["serve"])
    assert instruction("EXPOSE") == [image_environment()["HEAROUT_SERVE_PORT"]]
    assert instruction("STOPSIGNAL") == ["SIGTERM"]
    (check,) = instruction("HEALTHCHECK")
    (address,) = re.findall(r"http://127.0.0.1:' \+ os.environ\['HEAROUT_SERVE_PORT'\] \+ '(/\w+)'", check)
    assert address in pages()
    assert serve_parser().get_default("grace") < KILL


def test_the_command_of_the_image_without_docker() -> None:
    """With its environment, in a process: no token, no start; with one it is well, and ends with status 0."""
    variables = image_environment() | {"HEAROUT_SERVE_PORT": "0", "HEAROUT_SERVE_STT": "deepgram"}
    keys = {"DEEPGRAM_API_KEY": "any"}
    clean = {name: value for name, value in environment(**variables, **keys).items() if name != TOKEN_VARIABLE}
    done = subprocess.run([*COMMAND, "serve"], env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert TOKEN_VARIABLE in json.loads(done.stderr)["message"]
    pipe = subprocess.PIPE
    token = clean | {TOKEN_VARIABLE: "s3cret"}
    with subprocess.Popen([*COMMAND, "serve"], stdout=pipe, stderr=pipe, text=True, env=token) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=20) as answer:
            assert json.load(answer) == {"status": "ready", "calls": 0}
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "s3cret" not in err


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()


def has_docker() -> bool:
    try:
        docker("info")
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def test_the_image_is_built_serves_and_drains() -> None:
    if not has_docker():
        pytest.skip("no docker daemon here")
    docker("build", "-t", "hearout:test", ".")
    assert docker("run", "--rm", "hearout:test", "--version").startswith("hearout ")
    assert docker("run", "--rm", "--entrypoint", "id", "hearout:test", "-u") == "10001"
    environ = ["-e", f"{TOKEN_VARIABLE}=any", "-e", "DEEPGRAM_API_KEY=any"]
    name = docker("run", "-d", "-p", "127.0.0.1::8766", *environ, "hearout:test", "serve", "--stt", "deepgram")
    try:
        address = docker("port", name, "8766").splitlines()[0]
        ready = (
            "import time, urllib.request as r\n"
            + "while True:\n try: print(r.urlopen('%s').read()); break\n except OSError: time.sleep(0.1)"
        )
        told = subprocess.run(
            ["timeout", "60", os.fspath(COMMAND[0]), "-c", ready % f"http://{address}/healthz"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "ready" in told.stdout
        docker("stop", name)
        assert docker("inspect", "-f", "{{.State.ExitCode}}", name) == "0"
    finally:
        docker("rm", "-f", name)


# -- compose and Kubernetes ----------------------------------------------------------------------------------------


def test_the_compose_file() -> None:
    ((service,),) = [tuple(document["services"].values()) for document in documents("compose.yaml")]
    assert (ROOT / service["build"] / "Dockerfile").is_file()
    variables = service["environment"]
    check_variables(variables)
    assert TOKEN_VARIABLE in variables
    port = image_environment()["HEAROUT_SERVE_PORT"]
    assert service["ports"] == [f"{port}:{port}"]
    assert int(service["stop_grace_period"].removesuffix("s")) > float(variables["HEAROUT_SERVE_GRACE"]) + 2


def test_the_manifest() -> None:
    kinds = {document["kind"]: document for document in documents("deploy/kubernetes.yaml")}
    assert set(kinds) == {"Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"}
    pod = kinds["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    args = _parser().parse_args(container["args"])
    check_variables({variable["name"]: "" for variable in container["env"]})
    (port,) = container["ports"]
    assert str(port["containerPort"]) == image_environment()["HEAROUT_SERVE_PORT"]
    probes = {name: probe for name, probe in container.items() if name.endswith("Probe")}
    assert {name: probe["httpGet"]["path"] for name, probe in probes.items()} == {
        "readinessProbe": "/healthz",
        "livenessProbe": "/livez",
        "startupProbe": "/livez",
    }
    assert {"/healthz", "/livez"} <= pages()
    assert {probe["httpGet"]["port"] for probe in probes.values()} == {port["name"]}
    command, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    assert float(seconds) + args.grace + 2 < pod["spec"]["terminationGracePeriodSeconds"]
    labels = pod["metadata"]["labels"]
    assert kinds["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert kinds["Service"]["spec"]["selector"] == labels
    assert kinds["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert kinds["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    target = kinds["HorizontalPodAutoscaler"]["spec"]["metrics"][0]["resource"]["target"]
    assert target["averageUtilization"] < 100 * args.busy
