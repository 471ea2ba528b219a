"""Building the kernels: each file of `csrc` for each instruction set, linked to one library per instruction set.

The compiler is called directly with torch's headers, so nothing else has to be installed. What is built for all
instruction sets of the architecture on one machine runs on another. A library appears whole or not at all.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import torch

from nmt.kernels import CAPABILITIES, LIBRARIES, SOURCES, library

COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++20", "-O3", "-DNDEBUG", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math", "-w")
# The flags that torch's own kernels are compiled with.
INSTRUCTIONS = {
    "AVX512": ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma", "-mf16c"),
    "AVX2": ("-mavx2", "-mfma", "-mf16c"),
    "DEFAULT": (),
}


class CannotBuild(Exception):
    """The kernels cannot be built here; the text says why."""


def build(capabilities: Sequence[str] = CAPABILITIES) -> list[Path]:
    """Build the libraries for `capabilities` that are missing, remove those of other versions, and return their paths.

    Raises `CannotBuild` without a compiler or torch's headers, or where the compiler fails.
    """
    libraries = {capability: library(capability) for capability in capabilities}
    missing = [capability for capability, path in libraries.items() if not path.is_file()]
    try:
        if missing:
            LIBRARIES.mkdir(exist_ok=True)
            for left in LIBRARIES.glob("tmp*"):  # of builds that were killed; younger ones may be running
                if left.stat().st_mtime < time.time() - 3600:
                    shutil.rmtree(left, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=LIBRARIES) as folder:
                _build(Path(folder), missing)
        for path in LIBRARIES.glob("nmt-*.so"):
            if path not in map(library, CAPABILITIES):
                path.unlink()
    except OSError as error:
        raise CannotBuild(f"{LIBRARIES}: {error.strerror}") from None
    return list(libraries.values())


def _build(folder: Path, capabilities: list[str]) -> None:
    """Compile and link in `folder`, then move the libraries to their places."""
    compiler, root = find_compiler(), Path(torch.__file__).parent
    include = root / "include"
    if not (include / "ATen").is_dir():
        raise CannotBuild("this installation of torch has no C++ headers")
    sources = sorted(SOURCES.glob("*.cpp"))
    openmp = () if sys.platform == "darwin" else ("-fopenmp",)
    headers = [f"-I{path}" for path in (include, include / "torch" / "csrc" / "api" / "include")]

    def compile_one(job: tuple[str, Path]) -> None:
        capability, source = job
        defines = [f"-DCPU_CAPABILITY={capability}", f"-DCPU_CAPABILITY_{capability}"]
        output = folder / f"{capability}-{source.stem}.o"
        flags = [*FLAGS, *openmp, *defines, *INSTRUCTIONS[capability], *headers]
        _run([*compiler, *flags, "-c", str(source), "-o", str(output)])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_one, product(capabilities, sources)))
    # OpenMP is not linked: its symbols come from the library that torch brings along, so that there is only one.
    shared = ["-shared", *(["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else [])]
    for capability in capabilities:
        objects = [str(folder / f"{capability}-{source.stem}.o") for source in sources]
        output = folder / f"{capability}.so"
        _run([*compiler, *shared, *objects, "-o", str(output), f"-L{root / 'lib'}", "-ltorch_cpu", "-lc10"])
        output.replace(library(capability))


def find_compiler() -> list[str]:
    """Return the command of the C++ compiler: $CXX, or the first of `COMPILERS` on the path."""
    if named := os.environ.get("CXX", "").split():
        return named
    for name in COMPILERS:
        if path := shutil.which(name):
            return [path]
    raise CannotBuild(f"no C++ compiler found (looked for {', '.join(COMPILERS)}; CXX names another)")


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise CannotBuild(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or ["?"]
        raise CannotBuild(f"{command[0]}: {lines[0][:300]}")
