"""Settings: environment and command line, and one line for whoever gets them wrong."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.__main__ import main
from service.limits import RateLimiter
from service.settings import PREFIX, Settings, load_settings, parse_arguments
from tests.copy_model import exported


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No settings from outside, and the signal handlers as they were."""
    import os

    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_defaults_are_open_to_this_machine_only() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.device) == ("127.0.0.1", 5000, "auto")
    assert (settings.max_characters, settings.max_batch, settings.requests_per_minute) == (-1, -1, -1)


def test_options_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NMT_PORT", "6000")
    monkeypatch.setenv("NMT_MAX_BATCH", "20")
    monkeypatch.setenv("NMT_API_KEYS", "a, b,")
    settings = load_settings(**parse_arguments(["--port", "7000", "--models", "m.pt", "--length-penalty", "0.6"]))
    assert (settings.port, settings.max_batch, settings.api_keys) == (7000, 20, ("a", "b"))
    assert (settings.models, settings.length_penalty) == (Path("m.pt"), 0.6)


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
    ("arguments", "environment", "said"),
    [
        (["--port", "70000"], {}, "--port='70000': must be less than or equal to 65535"),
        (["--beam", "x"], {}, "--beam='x'"),
        (["--device", "tpu"], {}, "--device='tpu'"),
        ([], {"NMT_SLOTS": "0"}, "NMT_SLOTS='0'"),
        ([], {"NMT_MAX_CHARACTER": "5"}, "NMT_MAX_CHARACTER: did you mean NMT_MAX_CHARACTERS?"),
        (["--models", "no/such/thing"], {}, "no/such/thing: no such file or folder"),
    ],
)
def test_bad_settings_are_one_line(
    arguments: list[str],
    environment: dict[str, str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert error.count("\n") == 1


def test_an_unknown_option_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--prot", "5"])
    assert left.value.code == 2
    assert "--prot" in capsys.readouterr().err


def test_what_kubernetes_sets_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NMT_SERVICE_HOST", "10.0.0.1")
    assert load_settings().host == "127.0.0.1"


@pytest.mark.parametrize("broken", ["empty folder", "cut in half", "two for one pair"])
def test_unusable_models_are_one_line_and_exit_code_2(
    broken: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = exported()
    said = "no exported model (*.pt) in this folder"
    if broken == "cut in half":
        (tmp_path / "half.pt").write_bytes(content[: len(content) // 2])
        said = "half.pt: cut off or damaged"
    elif broken == "two for one pair":
        for name in ("one.pt", "two.pt"):
            (tmp_path / name).write_bytes(content)
        said = f"{tmp_path}/one.pt and {tmp_path}/two.pt both translate en to de"
    assert main(["--models", str(tmp_path), "--port", "0", "--log-level", "error"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert said in last


def test_the_rate_limiter_forgets() -> None:
    now = [0.0]
    limiter = RateLimiter(2, lambda: now[0], callers=3)
    for caller in "abcd":
        limiter.spend(caller, 1)
    assert len(limiter._spent) <= 3
    now[0] = 61.0
    limiter.spend("e", 1)
    assert list(limiter._spent) == ["e"]
