"""The containers: checks of their files and, marked compose, of running containers where there is a Docker engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[1]
# Trains a useless model within seconds: only the containers are tested.
SHORT = "--training.max_steps 4 --training.threads 1 --model.embedding 32 --model.decoder.hidden 32"


def test_the_image_has_the_torch_of_the_project() -> None:
    pinned = [
        d for d in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"] if "torch" in d
    ]
    version = re.search(r"^ARG TORCH_VERSION=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert version
    assert pinned == [f"torch=={version[1]}"]


def test_compose_passes_every_setting_on() -> None:
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["translate"]
    fixed = {"models", "host", "port"}
    assert set(service["environment"]) == {
        f"{PREFIX}{name}".upper() for name in Settings.model_fields if name not in fixed
    }


def engine_answers() -> bool:
    """Return whether a Docker engine and Compose 2 are available."""
    if shutil.which("docker") is None:
        return False
    commands = (["docker", "info"], ["docker", "compose", "version"])
    return all(subprocess.run(c, capture_output=True, timeout=30).returncode == 0 for c in commands)


class Stack:
    """A Compose project with a port and volumes of its own."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.project = f"test-{self.port}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith((PREFIX, "COMPOSE_"))},
            "PORT": str(self.port),
            "STARTER_ARGS": SHORT,
            "IMAGE": "bahdanau-test",
        }

    def __call__(self, *arguments: str, timeout: float = 900) -> str:
        """Run ``docker compose`` and return its output. Raises AssertionError with the output if it fails."""
        command = ["docker", "compose", "-p", self.project, *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, text=True, timeout=timeout,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-6000:]}"
        return done.stdout

    def up(self, seconds: int) -> None:
        """Start the service and wait until it is ready. Raises AssertionError with the containers' logs if it fails."""
        try:
            self("up", "--wait", "--wait-timeout", str(seconds), "translate")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self('logs', '--tail', '40')}") from None

    def container(self, service: str) -> Any:
        """Return what ``docker inspect`` tells about a service's container."""
        identity = self("ps", "--all", "--quiet", service).split()[-1]
        found = subprocess.run(["docker", "inspect", identity], capture_output=True, text=True, check=True, timeout=30)
        return json.loads(found.stdout)[0]

    def translate(self, text: str) -> str:
        """Translate a text by the service."""
        body = json.dumps({"q": text, "source": "en", "target": "de"}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/translate", body, {"Content-Type": "application/json"}
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            translated = json.load(answer)["translatedText"]
        assert isinstance(translated, str)
        return translated


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A built project, removed with its volumes at the end."""
    if not engine_answers():
        pytest.skip("no Docker engine with Compose answers")
    stack = Stack()
    stack("build")
    try:
        yield stack
    finally:
        stack("down", "--volumes", "--timeout", "40")


@pytest.mark.compose
def test_up_trains_serves_and_stops(stack: Stack) -> None:
    stack.up(600)
    trained = stack("logs", "train-starter")
    assert "parameters" in trained, trained
    stack.translate("The dog sleeps.")  # any answer will do, after four batches of training
    assert stack.translate(" \N{PARTY POPPER}\n") == " \N{PARTY POPPER}\n"

    host = stack.container("translate")["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert stack("exec", "-T", "translate", "id", "-u").strip() not in ("", "0")
    bound = stack.container("translate")["NetworkSettings"]["Ports"]["5000/tcp"]
    assert {port["HostIp"] for port in bound} == {"127.0.0.1"}

    began = time.monotonic()
    stack("stop", "translate")
    assert stack.container("translate")["State"]["ExitCode"] == 0
    assert time.monotonic() - began < 30

    # The second time the model exists, so nothing is trained.
    stack.up(120)
    assert "nothing to do" in stack("logs", "--tail", "5", "train-starter")
    stack.translate("The dog sleeps.")


@pytest.mark.compose
def test_the_gpu_override_is_valid(stack: Stack) -> None:
    config = yaml.safe_load(stack("-f", "docker-compose.yml", "-f", "docker-compose.gpu.yml", "config"))
    service = config["services"]["translate"]
    assert service["build"]["args"] == {"TORCH_VARIANT": "cu130"}
    assert service["environment"]["NMT_DEVICE"] == "cuda"
    assert service["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
