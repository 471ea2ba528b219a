"""Settings: environment, command line and one-line errors; which model files are used."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.__main__ import main
from service.limits import RateLimiter
from service.loading import Folder
from service.metrics import Metrics
from service.settings import PREFIX, Settings, SettingsError, load_settings, parse_arguments
from tests.copy_model import exported

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Remove settings from the environment; restore the signal handlers afterwards."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_defaults_are_open_to_this_machine_only() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.device) == ("127.0.0.1", 5000, "auto")
    assert (settings.max_characters, settings.max_batch, settings.requests_per_minute) == (100_000, 1000, -1)


def test_options_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NMT_PORT", "6000")
    monkeypatch.setenv("NMT_MAX_BATCH", "20")
    monkeypatch.setenv("NMT_API_KEYS", "a, b,")
    settings = load_settings(**parse_arguments(["--port", "7000", "--models", "m.pt", "--length-penalty", "0.6"]))
    assert (settings.port, settings.max_batch, settings.api_keys) == (7000, 20, ("a", "b"))
    assert (settings.models, settings.length_penalty) == (Path("m.pt"), 0.6)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("api_keys", ","), ("api_keys", " , ,"), ("drain_s", "inf"), ("timeout_s", "inf"), ("timeout_s", "nan")],
)
def test_a_value_that_would_disable_a_protection_is_refused(setting: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"--{setting.replace('_', '-')}"):
        load_settings(**{setting: value})


def test_help_shows_every_setting_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parse_arguments(["--help"])
    assert left.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for name, field in Settings.model_fields.items():
        assert "--" + name.replace("_", "-") in text
        assert " ".join(str(field.description).split()) in text
    assert "default: 2048" in text


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--port", "70000"], {}, "--port='70000': must be less than or equal to 65535"),
        (["--beam", "x"], {}, "--beam='x'"),
        (["--device", "tpu"], {}, "--device='tpu'"),
        ([], {"NMT_ROWS": "0"}, "NMT_ROWS='0'"),
        ([], {"NMT_MAX_CHARACTER": "5"}, "NMT_MAX_CHARACTER; did you mean NMT_MAX_CHARACTERS?"),
        (["--models", "no/such/thing"], {}, "--models no/such/thing: no such file or folder; export one"),
        (["--models", "no/such.pt"], {}, "python -m nmt.export RUN -o no/such.pt"),
        (["--prot", "5000"], {}, "unknown argument --prot; did you mean --port?"),
        (["--prot=5000"], {}, "unknown argument --prot; did you mean --port?"),
        (["--nothing-like-it"], {}, "unknown argument --nothing-like-it; see --help"),
        (["models/starter.pt"], {}, "unknown argument models/starter.pt; did you mean --models models/starter.pt?"),
        (["--port"], {}, "--port: expected one argument"),
    ],
)
def test_bad_settings_are_one_line(
    arguments: list[str],
    environment: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


# Blocks one package as if it was not installed, then runs the service as python -m does.
WITHOUT = """
import runpy, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
sys.argv = ["service", *{arguments!r}]
runpy.run_module("service", run_name="__main__")
"""


@pytest.mark.parametrize(
    ("package", "arguments"),
    [
        ("fastapi", []),
        ("fastapi", ["--help"]),
        ("uvicorn", ["--help"]),
        ("pydantic", ["--help"]),
        ("pydantic_settings", ["--help"]),
        ("prometheus_client", ["--help"]),
        ("python_multipart", ["--help"]),
    ],
)
def test_a_missing_package_is_named_with_the_remedy(package: str, arguments: list[str]) -> None:
    code = WITHOUT.format(package=package, arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        "",
        f"error: the service needs {package} (not installed); "
        "run this in the project's folder: pip install -e '.[service]'\n",
    )


def test_what_kubernetes_sets_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NMT_SERVICE_HOST", "10.0.0.1")
    assert load_settings().host == "127.0.0.1"


@pytest.mark.parametrize("broken", ["empty folder", "cut in half", "two cut in half"])
def test_unusable_models_are_one_line_and_exit_code_2(
    broken: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = exported()
    message = "no exported model (*.pt) in this folder"
    if broken != "empty folder":
        (tmp_path / "half.pt").write_bytes(content[: len(content) // 2])
        message = f"{tmp_path}/half.pt: cut off or damaged"
    if broken == "two cut in half":
        (tmp_path / "more.pt").write_bytes(content[:1000])
    assert main(["--models", str(tmp_path), "--port", "0", "--log-level", "error"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last


def test_a_port_that_is_taken_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.pt").write_bytes(b"never read")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["--models", str(tmp_path), "--port", str(port)]) == 2
    error = capsys.readouterr().err
    assert (
        error == f"error: cannot listen on 127.0.0.1:{port}: Address already in use; choose another --port or --host\n"
    )


def test_the_service_keeps_freed_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr("service.loading.keep_freed_memory", lambda: calls.append("kept"))
    with pytest.raises(SettingsError, match="no exported model"):
        Folder(load_settings(models=tmp_path), Metrics()).look()
    assert calls == ["kept"]


def test_the_rate_limiter_forgets() -> None:
    now = [0.0]
    limiter = RateLimiter(2, lambda: now[0], callers=3)
    for caller in "abcd":
        limiter.spend(caller, 1)
    assert len(limiter._spent) <= 3
    now[0] = 61.0
    limiter.spend("e", 1)
    assert list(limiter._spent) == ["e"]
