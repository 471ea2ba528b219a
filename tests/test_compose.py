"""The containers: checks of their files and, marked compose, of running containers where there is a Docker engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.metrics import Metrics
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


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services of the Compose file."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return found


@pytest.mark.parametrize("name", ["translate", "replica"])
def test_compose_passes_every_setting_on(services: dict[str, Any], name: str) -> None:
    fixed = {"models", "host", "port"}
    passed = {variable for variable in services[name]["environment"] if variable.startswith(PREFIX)}
    assert passed == {f"{PREFIX}{field}".upper() for field in Settings.model_fields if field not in fixed}


def test_every_container_is_hardened_and_listens_on_this_machine_only(services: dict[str, Any]) -> None:
    assert set(services) == {"train-starter", "translate", "replica", "proxy", "prometheus", "grafana"}
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service and service.get("user", "") not in ("root", "0"), name
        assert all(port.startswith("${ADDRESS:-127.0.0.1}:") for port in service.get("ports", [])), name
    for file in ("Dockerfile", "deploy/proxy/Dockerfile"):
        stages = re.split(r"^FROM ", (ROOT / file).read_text(), flags=re.MULTILINE)
        run = [stage for stage in stages if "ENTRYPOINT" in stage]
        assert run and all(re.search(r"^USER \w+$", stage, re.MULTILINE) for stage in run), file


DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboards/translation.json").read_text())
PROMQL = {"sum", "by", "le", "rate", "increase", "changes", "histogram_quantile", "status", "reason", "side"}


def exported() -> set[str]:
    """Names of all series that a service exports."""
    metrics = Metrics()
    for family in metrics.registry.collect():  # a metric with labels has series only after its first use
        metric: Any = metrics.registry._names_to_collectors.get(family.name)
        if getattr(metric, "_labelnames", ()):
            metric.labels(*metric._labelnames)
    return {sample.name for family in metrics.registry.collect() for sample in family.samples}


def test_the_dashboard_shows_metrics_that_exist() -> None:
    expressions = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    names: set[str] = set()
    for expression in expressions:
        bare = re.sub(r'\{[^}]*\}|\[[^\]]*\]|"[^"]*"', "", expression)  # no labels, no ranges
        names |= set(re.findall(r"[a-z_]{2,}", bare)) - PROMQL
    assert names <= exported(), names - exported()
    assert {"nmt_steps_total", "nmt_rows_in_use", "nmt_refusals_total", "process_resident_memory_bytes"} <= names


def test_the_dashboard_is_well_formed_and_finds_its_source() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells) and max(x for x, _ in cells) < 24
    folder = ROOT / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yml").read_text())["datasources"]
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}
    (provider,) = yaml.safe_load((folder / "dashboards/dashboards.yml").read_text())["providers"]
    grafana = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["grafana"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in grafana["volumes"]
    assert (
        grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
        == f"{provider['options']['path']}/{DASHBOARD['uid']}.json"
    )


def test_prometheus_asks_every_service_that_has_metrics(services: dict[str, Any]) -> None:
    jobs = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())["scrape_configs"]
    asked = {name for job in jobs for part in job["dns_sd_configs"] for name in part["names"]}
    assert asked == {"translate", "replica", "proxy"} <= set(services)


def engine_answers() -> bool:
    """Return whether a Docker engine and Compose 2 are available."""
    if shutil.which("docker") is None:
        return False
    commands = (["docker", "info"], ["docker", "compose", "version"])
    return all(subprocess.run(c, capture_output=True, timeout=30).returncode == 0 for c in commands)


class Stack:
    """A Compose project with a port and volumes of its own."""

    def __init__(self) -> None:
        with socket.socket() as probe, socket.socket() as other:
            for one in (probe, other):
                one.bind(("127.0.0.1", 0))
            self.port, self.proxy_port = probe.getsockname()[1], other.getsockname()[1]
        self.project = f"test-{self.port}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith((PREFIX, "COMPOSE_"))},
            "PORT": str(self.port),
            "PROXY_PORT": str(self.proxy_port),
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

    def up(self, seconds: int, service: str = "translate") -> None:
        """Start a service and wait until it is ready. Raises AssertionError with the containers' logs if it fails."""
        try:
            self("up", "--wait", "--wait-timeout", str(seconds), service)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self('logs', '--tail', '40')}") from None

    def container(self, service: str) -> Any:
        """Return what ``docker inspect`` tells about a service's container."""
        identity = self("ps", "--all", "--quiet", service).split()[-1]
        found = subprocess.run(["docker", "inspect", identity], capture_output=True, text=True, check=True, timeout=30)
        return json.loads(found.stdout)[0]

    def translate(self, text: str, port: int | None = None, key: str = "") -> str:
        """Translate a text by the service. Raises HTTPError."""
        body = json.dumps({"q": text, "source": "en", "target": "de", "api_key": key}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port or self.port}/translate", body, {"Content-Type": "application/json"}
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
    stack("--profile", "scale", "build")
    try:
        yield stack
    finally:
        stack("--profile", "scale", "down", "--volumes", "--timeout", "40")


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
def test_keys_in_the_volume(stack: Stack) -> None:
    stack.environment["NMT_KEYS"] = "/state/keys.sqlite"
    try:
        stack.up(120)
        with pytest.raises(urllib.error.HTTPError, match="400"):
            stack.translate("The dog sleeps.")
        key = stack("exec", "-T", "translate", "python", "-m", "service.keys", "add", "alice").strip().splitlines()[-1]
        time.sleep(3)
        stack.translate("The dog sleeps.", key=key)
        stack("exec", "-T", "translate", "python", "-m", "service.keys", "revoke", "alice")
        time.sleep(3)
        with pytest.raises(urllib.error.HTTPError, match="403"):
            stack.translate("The dog sleeps.", key=key)
    finally:
        del stack.environment["NMT_KEYS"]


@pytest.mark.compose
def test_no_request_fails_while_replicas_are_killed_and_drained(stack: Stack) -> None:
    stack("rm", "--force", "--stop", "translate")
    stack.up(600, "proxy")
    first, second = stack("ps", "--quiet", "replica").split()

    def docker(*arguments: str) -> str:
        return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True, timeout=60).stdout

    def wait_healthy(container: str) -> None:
        ends = time.monotonic() + 180
        while docker("inspect", "-f", "{{.State.Health.Status}}", container).strip() != "healthy":
            assert time.monotonic() < ends, docker("logs", container)
            time.sleep(0.5)

    for container in (first, second):
        wait_healthy(container)
    over = threading.Event()
    answered: list[int] = []

    def ask(client: int) -> None:
        count = 0
        while not over.is_set():
            stack.translate(f"The dog number {count} of {client} sleeps.", stack.proxy_port)
            answered.append(client)
            count += 1

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask, client) for client in range(4)]
        try:
            for signal, container in (("KILL", first), ("TERM", second)):
                time.sleep(3)
                before = len(answered)
                docker("kill", "--signal", signal, container)
                time.sleep(5)
                assert len(answered) > before  # by the other one
                docker("start", container)
                wait_healthy(container)
        finally:
            over.set()
        for one in asking:
            one.result()  # raises the first failure
    request = urllib.request.Request(f"http://127.0.0.1:{stack.proxy_port}/metrics")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20)


@pytest.mark.compose
def test_the_gpu_override_is_valid(stack: Stack) -> None:
    config = yaml.safe_load(stack("-f", "docker-compose.yml", "-f", "docker-compose.gpu.yml", "config"))
    service = config["services"]["translate"]
    assert service["build"]["args"]["TORCH_VARIANT"] == "cu130"
    assert service["environment"]["NMT_DEVICE"] == "cuda"
    assert service["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
