"""Building and loading the kernels, and every way in which they are left out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nmt import kernels
from nmt.kernels import __main__, build

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for libraries, and a process that has loaded none."""
    folder = tmp_path / "lib"
    for module in (kernels, build):
        monkeypatch.setattr(module, "LIBRARIES", folder)
    monkeypatch.setattr(kernels, "_loaded", None)
    monkeypatch.setattr(kernels, "reason", "")
    return folder


def test_without_a_library_the_reason_names_the_command(empty: Path) -> None:
    assert not kernels.load()
    assert kernels.reason == "not built: run `python -m nmt.kernels`"


def test_a_library_of_other_sources_or_another_torch_is_not_used(empty: Path) -> None:
    empty.mkdir()
    (empty / "nmt-avx512-torch-2.0.0-0123456789ab.so").touch()
    assert not kernels.load()
    assert "another version" in kernels.reason


def test_a_damaged_library_is_not_used(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty.mkdir()
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: kernels.CAPABILITIES[0])
    kernels.library(kernels.CAPABILITIES[0]).write_bytes(b"no library")
    assert not kernels.load()
    assert "cannot be loaded" in kernels.reason


def test_the_environment_turns_them_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NMT_KERNELS", "off")
    assert not kernels.load()


def test_an_unknown_instruction_set(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "CAPABILITIES", ("AVX512", "AVX2"))
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "NO AVX")
    assert not kernels.load()
    assert "NO AVX" in kernels.reason


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_without_a_compiler_one_line_says_so(
    compiler: str, empty: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", compiler)
    __main__.main([])
    assert compiler in capsys.readouterr().out
    assert not list(empty.glob("*"))


def test_a_present_library_is_not_built_again_and_old_ones_go(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty.mkdir()
    monkeypatch.setenv("CXX", "no-such-compiler")
    for capability in kernels.CAPABILITIES:
        kernels.library(capability).touch()
    old = empty / "nmt-avx2-torch-2.0.0-0123456789ab.so"
    old.touch()
    assert build.build() == [kernels.library(capability) for capability in kernels.CAPABILITIES]
    assert not old.exists()


def test_folders_of_killed_builds_go(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    for name in ("tmpold", "tmpnew"):
        (empty / name).mkdir(parents=True)
    os.utime(empty / "tmpold", (0, 0))
    with pytest.raises(build.CannotBuild):
        build.build()
    assert [path.name for path in empty.iterdir()] == ["tmpnew"]


def test_the_image_builds_them_from_few_files(tmp_path: Path) -> None:
    """Those that the Dockerfile copies for it are enough."""
    copies = [
        line.split()
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY nmt/") and " /src/" in line
    ]
    assert copies
    for _, *sources, target in copies:
        folder = tmp_path / target.removeprefix("/src/")
        for source in sources:
            if source.endswith("/"):
                shutil.copytree(ROOT / source, folder)
            else:
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, folder)
    environment = {**os.environ, "CXX": "no-such-compiler"}
    command = [sys.executable, "-m", "nmt.kernels"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert "no-such-compiler" in done.stdout, done.stderr


def test_importing_loads_no_library() -> None:
    code = "import nmt.kernels, torch; print(hasattr(torch.ops.nmt, 'kernels_loaded'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "False", done.stderr
