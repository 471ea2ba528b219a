"""The demo: commands that can be pasted, on lines of their own; what an earlier demo left is used again."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from nmt import demo
from nmt.errors import NMTError
from tests.copy_model import exported

ROOT = Path(__file__).resolve().parents[1]


class Calls:
    """Replaces the running of commands; nmt.train and nmt.export leave the files that they leave."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[list[str]] = []
        monkeypatch.setattr(subprocess, "run", self.run)

    def run(self, command: Sequence[str], **_: object) -> subprocess.CompletedProcess[str]:
        self.calls.append(list(command[2:]))
        name, *arguments = self.calls[-1]
        if name == "nmt.export":
            Path(arguments[2]).touch()
        return subprocess.CompletedProcess(command, 0)


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """The demo in an empty project folder, without its commands."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/starter").mkdir(parents=True)
    (tmp_path / "data/starter/train.en").touch()
    monkeypatch.setattr(demo, "serve", lambda stay: None)
    return Calls(monkeypatch)


def test_steps(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main([]) == 0
    assert [call[0] for call in calls.calls] == [
        "nmt.train",
        "nmt.export",
        "nmt.evaluate",
        "nmt.evaluate",
        "nmt.translate",
    ]
    printed = [line.removeprefix("$ ") for line in capsys.readouterr().out.splitlines() if line.startswith("$ ")]
    for line, call in zip(printed, calls.calls, strict=True):
        assert shlex.split(line.rpartition(" | ")[2])[1:] == ["-m", *call]
    assert demo.main([]) == 0
    assert len(calls.calls) == 6  # the second time it only translates


def test_an_interrupted_training_is_resumed(calls: Calls) -> None:
    demo.RUN.mkdir(parents=True)
    (demo.RUN / "last.pt").touch()
    demo.train()
    assert calls.calls[0] == ["nmt.train", "--run", "runs/starter", "--resume"]


def test_a_training_killed_before_its_first_checkpoint_begins_anew(calls: Calls) -> None:
    demo.RUN.mkdir(parents=True)
    (demo.RUN / "best.pt").touch()  # nmt.train refuses a folder with it
    demo.train()
    assert calls.calls[0] == ["nmt.train", "--run", "runs/starter"]
    assert not (demo.RUN / "best.pt").exists()


def test_its_commands_can_be_pasted_where_there_is_no_python(tmp_path: Path) -> None:
    (tmp_path / "copy.pt").write_bytes(exported())
    line = demo.command_line("nmt.translate", str(tmp_path / "copy.pt"), lines=["it's the fox", "the dog"])
    printf = "printf '%s\\n' "
    assert line.startswith(printf)
    done = subprocess.run(["/bin/sh", "-c", line], cwd=ROOT, env={"PATH": "/nowhere"}, capture_output=True, text=True)
    assert done.stdout == "it's the fox\nthe dog\n", done.stderr


def test_the_environment_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    monkeypatch.setenv("PATH", "/nowhere")
    assert demo.activation() == "to type python for .venv/bin/python: source .venv/bin/activate"
    monkeypatch.setattr(demo, "interpreter", lambda: "python")
    assert demo.activation() == ""


def test_only_in_the_projects_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NMTError, match="run the demo in the project's folder"):
        demo.main([])


def test_sigterm_ends_the_service_too(tmp_path: Path) -> None:
    """The service runs in a process of its own; killed without it, the demo would leave it behind."""
    model = tmp_path / "copy.pt"
    model.write_bytes(exported())
    code = f"from pathlib import Path; from nmt import demo; demo.MODEL = Path({str(model)!r}); demo.serve(stay=True)"
    command = [sys.executable, "-u", "-c", code]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=subprocess.STDOUT, text=True) as running:
        assert running.stdout is not None
        port = None
        for line in running.stdout:
            if match := re.search(r"The service is at http://127.0.0.1:(\d+)", line):
                port = int(match[1])
                break
        assert port is not None
        running.send_signal(signal.SIGTERM)
        assert "ending the service" in running.stdout.read()
        assert running.wait(timeout=60) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
