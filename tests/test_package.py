"""The package: what the wheel holds, and that it installs and runs away from the project folder."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import tomllib
import urllib.request
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from nmt.cli import entry
from tests.copy_model import exported

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
SCRIPTS: dict[str, str] = PROJECT["project"]["scripts"]
SITE = Path(sysconfig.get_path("purelib", vars={"base": "", "platbase": ""}).lstrip("/"))


def requirement_name(requirement: str) -> str:
    """The name in front of a version or an extra: torch of torch==2.13.0."""
    found = re.match(r"[\w.-]+", requirement)
    assert found, requirement
    return found[0]


# --- what pyproject.toml says -----------------------------------------------------------------------------------------


def test_every_package_is_in_the_wheel() -> None:
    """The list is written by hand, because one package is mapped; a room missing there would not be installed."""
    rooms = {".".join(file.parent.relative_to(ROOT).parts) for file in (ROOT / "nmt").rglob("__init__.py")}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == rooms | {"nmt.applications.service"}


def test_every_script_has_an_entry_point() -> None:
    for script, target in SCRIPTS.items():
        module, _, function = target.partition(":")
        assert module == entry.__name__
        assert callable(getattr(entry, function)), script


# --- the wheel, built and installed -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: setuptools leaves files beside the source."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for package in ("nmt", "service"):
        shutil.copytree(ROOT / package, source / package, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    return next(folder.glob("*.whl"))


def pip(*arguments: object) -> None:
    """Run pip without an index."""
    command = [sys.executable, "-m", "pip", *map(str, arguments), "--no-index", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


class Environment:
    """A virtual environment with the wheel in it, and a folder to run commands in."""

    def __init__(self, folder: Path, wheel: Path, packages: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True, timeout=120)
        self.bin = folder / "venv" / "bin"
        self.folder = folder
        (folder / "venv" / SITE / "packages.pth").write_text(f"{packages}\n")
        pip("--python", self.bin / "python", "install", "--no-deps", "--force-reinstall", wheel)

    def run(self, command: str, *arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run one of the environment's programs."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "NMT_"))}
        return subprocess.run(
            [str(self.bin / command), *map(str, arguments)], cwd=self.folder, env={**environment, "COLUMNS": "120"},
            input=stdin, capture_output=True, text=True, timeout=120,
        )  # fmt: skip


@pytest.fixture(scope="module")
def full(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """With all extras: everything that this Python has."""
    return Environment(
        tmp_path_factory.mktemp("full"), wheel, Path(str(metadata.distribution("torch").locate_file("")))
    )


@pytest.fixture(scope="module")
def core(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """With what `pip install .` brings: the three dependencies and what they need themselves."""
    folder = tmp_path_factory.mktemp("core")
    packages = folder / "packages"
    packages.mkdir()
    todo = [requirement_name(one) for one in PROJECT["project"]["dependencies"]]
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # of another platform, or of an extra
            continue
        if name in seen:
            continue
        seen.add(name)
        todo += [requirement_name(one) for one in found.requires or () if "extra ==" not in one]
        for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not (packages / top).exists():
                (packages / top).symlink_to(found.locate_file(top))  # type: ignore[arg-type]
    return Environment(folder, wheel, packages)


@pytest.mark.slow
def test_what_the_wheel_holds(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"nmt"}
    assert "nmt/py.typed" in names
    for folder, kept in (("nmt", "nmt"), ("service", "nmt/applications/service")):
        # The kernels' libraries are built where the wheel is installed.
        made = {"__pycache__", "lib"}
        files = (
            file
            for file in (ROOT / folder).rglob("*")
            if file.is_file() and not made & set(file.relative_to(ROOT).parts)
        )
        assert not {f"{kept}/{file.relative_to(ROOT / folder).as_posix()}" for file in files} - set(names)


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_help_of_every_script(full: Environment, script: str) -> None:
    done = full.run(script, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert not done.stderr
    wrong = full.run(script, "--no-such-option")
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr


@pytest.mark.slow
def test_translate_with_the_core_install(core: Environment) -> None:
    (core.folder / "copy.pt").write_bytes(exported())
    done = core.run("nmt-translate", "copy.pt", stdin="the quick fox\n")
    assert (done.returncode, done.stdout) == (0, "the quick fox\n"), done.stderr
    library = "from nmt import Translator; print(Translator.load('copy.pt').translate(['the quick fox'])[0].text)"
    done = core.run("python", "-c", library)
    assert (done.returncode, done.stdout) == (0, "the quick fox\n"), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_without_an_extra_a_script_works_or_names_it(core: Environment, script: str) -> None:
    done = core.run(script, "--help")
    lines = done.stderr.splitlines()
    if done.returncode == 0:
        assert done.stdout
        assert not lines
    else:
        assert (done.returncode, len(lines)) == (2, 1), done.stderr
        assert re.search(r"pip install .*\[(train|service|plot)\]", lines[0]), lines[0]


@pytest.mark.slow
def test_import_is_cheap(core: Environment) -> None:
    code = "import sys, nmt; print(*{'torch', 'numpy', 'pydantic'} & set(sys.modules)); print(nmt.__file__)"
    loaded, file = core.run("python", "-c", code).stdout.splitlines()
    assert not loaded
    assert str(core.folder) in file, "the test did not run the installed package"


@pytest.mark.slow
def test_the_service_runs_from_the_wheel(full: Environment) -> None:
    (full.folder / "copy.pt").write_bytes(exported())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(full.bin / "nmt-serve"), "--models", "copy.pt", "--port", str(port), "--log-level", "warning"]
    service = subprocess.Popen(command, cwd=full.folder)
    url = f"http://127.0.0.1:{port}/translate?source=en&target=de&q=the+quick+fox"
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(urllib.request.Request(url, b"")) as answer:
                assert json.load(answer) == {"translatedText": "the quick fox"}
                break
            assert service.poll() is None, "the service has ended"
            time.sleep(0.1)
        else:
            pytest.fail("the service was not ready after a minute")
    finally:
        service.terminate()
        assert service.wait(60) == 0


@pytest.mark.slow
def test_the_service_leaves_its_name_to_others(full: Environment) -> None:
    theirs = full.folder / "venv" / SITE / "service"
    theirs.mkdir()
    (theirs / "__init__.py").write_text("owner = 'somebody else'\n")
    (theirs / "__main__.py").write_text("raise SystemExit('the wrong service')\n")
    try:
        assert full.run("python", "-c", "import service; print(service.owner)").stdout == "somebody else\n"
        done = full.run("nmt-serve", "--models", "none.pt")
        assert done.returncode == 2
        assert "none.pt" in done.stderr
    finally:
        shutil.rmtree(theirs)
