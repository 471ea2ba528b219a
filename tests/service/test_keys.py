"""API keys: the file, the command, and a running service that follows them."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service import keys
from service.keys import KeyFile, Keyring, main
from service.limits import Rates
from service.settings import SettingsError
from tests.service.fakes import FakeEngine, client_of, fake_app, until
from tests.service.test_settings import ROOT

GOOD = {"q": "hello", "source": "en", "target": "de"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.sqlite"


def command(capsys: pytest.CaptureFixture[str], file: Path, *arguments: str) -> str:
    """Run the command without an error and return what it prints."""
    assert main([*arguments, "--keys", str(file)]) == 0
    return capsys.readouterr().out.strip()


def test_a_key_is_printed_once_and_only_its_digest_kept(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = command(capsys, file, "add", "alice", "--per-minute", "60", "--per-day", "-1", "--bulk")
    assert len(key) >= 43
    assert key.encode() not in file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = Keyring(path=str(file)).find(key)
    assert found is not None and (found.name, found.bulk) == ("alice", True)
    assert found.limits(Rates(1, 2, 3)) == Rates(60, 2, -1)
    listed = command(capsys, file, "list")
    assert "alice" in listed and key not in listed


def test_names_are_unique_until_revoked(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = command(capsys, file, "add", "alice")
    assert main(["add", "alice", "--keys", str(file)]) == 2
    assert capsys.readouterr().err.startswith("error: alice: there is a key of this name")
    command(capsys, file, "revoke", "alice")
    second = command(capsys, file, "add", "alice")
    ring = Keyring(path=str(file))
    assert ring.find(first) is None and ring.find(second) is not None
    assert command(capsys, file, "list").count("alice") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["revoke", "bob"], "error: bob: there is no valid key of this name"),
        (["add", "a\nb"], "error: 'a\\nb': a name has"),
        (["add", "-"], "error: '-': a name has"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], message: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(capsys, file, "add", "alice")
    assert main([*arguments, "--keys", str(file)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(message) and error.count("\n") == 1


def test_the_file_comes_from_the_environment(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NMT_KEYS", str(file))
    assert main(["add", "alice"]) == 0
    assert Keyring(path=str(file)).find(capsys.readouterr().out.strip()) is not None
    monkeypatch.delenv("NMT_KEYS")
    with pytest.raises(SystemExit):
        main(["list"])
    assert "NMT_KEYS" in capsys.readouterr().err


@pytest.mark.parametrize("given", [None, "", "x", "s3cre", "s3crett", "\udc80", "x" * 100_000])
def test_wrong_keys_are_not_found(given: str | None) -> None:
    ring = Keyring(("s3cret",))
    assert ring.find("s3cret") is not None
    assert ring.find(given) is None


def test_a_file_that_is_no_key_file_is_a_user_error(file: Path) -> None:
    file.write_bytes(b"not a database" * 1000)
    with pytest.raises(SettingsError, match=r"keys\.sqlite: .*made by python -m service\.keys add"):
        Keyring(path=str(file))


def test_a_damaged_file_leaves_the_keys_and_a_missing_one_has_none(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = KeyFile(file).add(keys.Key("alice"))
    ring = Keyring(path=str(file))
    content = file.read_bytes()
    file.write_bytes(b"damaged" * 1000)
    for _ in range(3):
        ring.refresh()
    assert ring.find(key) is not None
    assert len([text for text in caplog.messages if "stay as they were" in text]) == 1
    file.unlink()
    ring.refresh()
    assert ring.find(key) is None
    assert "so every request is refused" in caplog.text
    file.write_bytes(content)
    ring.refresh()
    assert ring.find(key) is not None


def test_a_locked_file_leaves_the_keys(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "BUSY_S", 0.01)
    key = KeyFile(file).add(keys.Key("alice"))
    ring = Keyring(path=str(file))
    other = sqlite3.connect(file)
    other.execute("BEGIN EXCLUSIVE")
    ring.refresh()
    assert ring.find(key) is not None
    other.close()


@pytest.mark.anyio
async def test_a_running_service_follows_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "REFRESH_S", 0.01)
    app = fake_app(FakeEngine(), keys=str(file), api_keys=("plain",), requests_per_minute=1)
    ring = app.state.keys

    async def ask(key: str) -> Any:
        return await client.post("/translate", json={**GOOD, "api_key": key})

    async with client_of(app) as client:
        assert (await ask("plain")).status_code == 200
        key = KeyFile(file).add(keys.Key("alice", (2, None, None)))
        await until(lambda: ring.find(key) is not None)
        assert [(await ask(key)).status_code for _ in range(3)] == [200, 200, 429]  # its own limit
        KeyFile(file).revoke("alice")
        await until(lambda: ring.find(key) is None)
        assert (await ask(key)).json() == {"error": "Invalid API key"}


@pytest.mark.anyio
async def test_without_a_key_in_the_file_everybody_is_refused(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with client_of(fake_app(FakeEngine(), keys=str(file))) as client:
        assert (await client.post("/translate", json=GOOD)).status_code == 400
        assert (await client.post("/translate", json={**GOOD, "api_key": "x"})).status_code == 403
        assert (await client.get("/frontend/settings")).json()["keyRequired"] is True
    assert (
        "has no valid key, so every request is refused; add one: python -m service.keys add NAME --keys" in caplog.text
    )


def test_the_command_needs_none_of_the_packages_of_the_service() -> None:
    code = "import sys, service.keys; print(sorted({'pydantic', 'fastapi', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout == "[]\n", done.stderr
