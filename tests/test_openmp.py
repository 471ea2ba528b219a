"""OpenMP's threads wait as suits the command, unless the user chose otherwise; set before torch is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nmt.cli.launch import TRAINING, TRANSLATION
from nmt.openmp import choose_waiting

ROOT = Path(__file__).resolve().parents[1]
CHOICES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
SHORT_LOOP, SLEEP = {"GOMP_SPINCOUNT": "1000"}, {"OMP_WAIT_POLICY": "passive"}


def chosen_by(code: str, folder: Path | None = None) -> dict[str, str]:
    """The choice in the environment of a fresh process at the moment when it imports torch."""
    code = f"""
import os, sys
class AtTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(*[f"{{key}}={{os.environ[key]}}" for key in {CHOICES} if key in os.environ], flush=True)
            os._exit(0)
sys.meta_path.insert(0, AtTorch())
{code}"""
    environment = {key: value for key, value in os.environ.items() if key not in CHOICES} | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return dict(pair.split("=") for pair in done.stdout.split())


@pytest.mark.parametrize("command", TRAINING + TRANSLATION)
def test_each_command_chooses_before_torch_is_loaded(command: str, tmp_path: Path) -> None:
    expected = SHORT_LOOP if command in TRAINING else SLEEP
    arguments = ["models", "--training.max_steps", "1"] if command == "nmt.starter" else []
    code = f"import runpy; sys.argv = {['x', *arguments]}; runpy.run_module({command!r}, run_name='__main__')"
    assert chosen_by(code, tmp_path) == expected


@pytest.mark.parametrize("module", ["service.__main__", "service.app"])
def test_the_service_chooses_too(module: str) -> None:
    assert chosen_by(f"import {module}; import torch") == SLEEP


def test_a_library_leaves_the_environment_alone() -> None:
    assert chosen_by("import nmt; import torch") == {}


@pytest.mark.parametrize("given", [{"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "active"}])
@pytest.mark.parametrize("spin", [True, False])
def test_the_users_choice_stays(given: dict[str, str], spin: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in CHOICES:
        monkeypatch.delenv(key, raising=False)
    for key, value in given.items():
        monkeypatch.setenv(key, value)
    choose_waiting(spin=spin)
    assert {key: os.environ[key] for key in CHOICES if key in os.environ} == given
