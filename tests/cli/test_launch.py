"""How commands start: without the optional packages, as console scripts, and by which interpreter."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from nmt.cli import launch
from nmt.errors import EXTRA_OF, MissingPackageError
from tests.copy_model import exported

ROOT = Path(__file__).resolve().parents[2]
IMPORTED_AS = {"pyyaml": "yaml", "prometheus-client": "prometheus_client", "python-multipart": "python_multipart"}

# Runs commands as `python -m` does, in one process, where the packages of the extras cannot be imported.
RUN_WITHOUT_EXTRAS = """
import contextlib, io, json, runpy, sys, warnings
from nmt.errors import EXTRA_OF

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if EXTRA_OF.get(name.partition(".")[0]):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
warnings.filterwarnings("ignore", ".*found in sys.modules", RuntimeWarning)
found = []
for command, *arguments in json.loads(sys.argv[1]):
    sys.argv = [command, *arguments]
    out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_module(command, run_name="__main__", alter_sys=True)
        except SystemExit as stopped:
            code = stopped.code
    out.seek(0)
    found.append((code, out.read(), err.getvalue()))
print(json.dumps(found))
"""


def test_commands_without_the_extras(tmp_path: Path) -> None:
    (tmp_path / "copy.pt").write_bytes(exported())
    (tmp_path / "text").write_text("the fox\n", "utf-8")
    model, text = str(tmp_path / "copy.pt"), str(tmp_path / "text")
    commands = [
        ["nmt.translate", model, text],
        ["nmt.score", model, "--src", text, "--tgt", text],
        ["nmt.evaluate", "--help"],
        ["nmt.export", "--help"],
        ["nmt.evaluate", model, "--src", text, "--ref", text],
        ["nmt.train"],
        ["nmt.train", "--help"],
        ["nmt.data", "--help"],
        ["nmt.export", str(tmp_path)],
        ["nmt.experiments", "attention", "--help"],
        ["nmt.starter", str(tmp_path)],
        ["nmt.demo"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", RUN_WITHOUT_EXTRAS, json.dumps(commands)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (translated, scored, *helped), wrong = (found := json.loads(done.stdout))[:4], found[4:]
    assert translated[:2] == [0, "the fox\n"]
    assert re.fullmatch(r"1 lines in \S+ s, \d+ lines/s\n", translated[2])  # without torch's warning about NumPy
    assert scored[0] == 0 and scored[2] == ""
    for code, out, err in helped:
        assert code == 0 and out.startswith("usage: python -m nmt.") and err == ""
    for (command, *_), (code, out, err) in zip(commands[4:], wrong, strict=True):
        assert (code, out) == (2, "")
        remedy = r"needs \w+, which is not installed: pip install -e '\.\[train\]' in the project's folder\n"
        assert re.fullmatch(f"error: {command} {remedy}", err), err


def test_defects_of_our_own_keep_their_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "defective.py").write_text("import nmt.no_such_module\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match=r"nmt\.no_such_module"):
        launch.launch("defective")


def test_the_extras_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = {"": project["dependencies"], **project["optional-dependencies"]}
    for extra in ("", "train", "service", "plot"):
        for requirement in extras[extra]:
            package = re.split(r"[<>=]", requirement)[0]
            module = IMPORTED_AS.get(package, package.replace("-", "_"))
            assert EXTRA_OF[module] == extra or module in ("pydantic", "sentencex"), requirement  # these are in two


def test_a_missing_package_of_the_core_install() -> None:
    message = str(MissingPackageError("nmt.translate", "torch"))
    assert message.startswith("nmt.translate needs torch, which is not installed: activate the project's virtual env")


def test_the_interpreter_as_the_user_can_type_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "project" / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "other"):
        (programs / name).touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.chdir(tmp_path / "project")
    assert launch.interpreter() == ".venv/bin/python"
    monkeypatch.chdir("/")
    assert launch.interpreter() == str(programs / "python").removeprefix("/")
    monkeypatch.chdir("/usr")
    assert launch.interpreter() == str(programs / "python")
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    assert launch.interpreter() == "python"
