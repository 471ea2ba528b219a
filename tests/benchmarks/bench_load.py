"""Start-up, from the start of a process to its first translation, and the resident memory of loading and decoding.

Cold is a start without compiled modules (`__pycache__`) and, as far as no other process uses them, without torch's and
the model's files in memory. `ratio` is the share of the whole that importing torch takes; of memory, the size relative
to that of a process that has only imported torch.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import CLOCK_MONOTONIC, clock_gettime

import torch

from tests.benchmarks import material
from tests.benchmarks.measure import emit

# Written without any import of ours, so that what it measures is what a user's program would do.
PROGRAM = """
import json, random, sys, time
began, path, threads = float(sys.argv[1]), sys.argv[2], int(sys.argv[3])
times, memory = {}, {}
def mark(name):
    times[name] = time.clock_gettime(time.CLOCK_MONOTONIC) - began
    memory[name] = next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
mark("python")
import torch
mark("torch")
from nmt import Translator
Translator
mark("nmt")
translator = Translator.load(path, "cpu", threads=threads)
mark("load")
translator.translate("w5 w6 w7 w8 w9 w10", max_length=8)
mark("first")
translator.translate("w6 w7 w8 w9 w10 w5", max_length=8)
mark("second")
from nmt.search.engine import Request, SearchOptions
draw, options = random.Random(1), SearchOptions(min_length=15, max_length=15)
sources = [[draw.randrange(4, translator.tokenizer.vocabulary) for _ in range(draw.randint(3, 39))] for _ in range(300)]
translator.engine.run([Request(n, (*source, 3), options) for n, source in enumerate(sources)])
mark("decode")
print(json.dumps([times, memory]))
"""


def start(path: Path, threads: int, cold: bool) -> list[dict[str, float]]:
    """Run the program in a new process; returns the seconds since its start and its peak memory in MiB, by stage."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with tempfile.TemporaryDirectory() as name:
        if cold:
            environment["PYTHONPYCACHEPREFIX"] = name
            forget(path)
            for file in Path(torch.__file__).parent.rglob("*.so*"):
                forget(file)
        command = [sys.executable, "-c", PROGRAM, str(clock_gettime(CLOCK_MONOTONIC)), str(path), str(threads)]
        output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    stages: list[dict[str, float]] = json.loads(output)
    return stages


def forget(path: Path) -> None:
    """Ask the system to drop a file from its cache."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main(argv: Sequence[str]) -> None:
    """The benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks load", description=__doc__)
    parser.add_argument("--model", type=Path, help="exported file, or run folder to export (default: random weights)")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16", "int8"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm", action="store_true", help="leave out the cold starts")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        for dtype in options.dtypes:
            path, _ = material.exported(options.model, dtype, Path(name))
            for cold in (False,) if options.warm else (False, True):
                start(path, options.threads, False)
                runs = [start(path, options.threads, cold) for _ in range(1 if cold else options.rounds)]
                times, memory = (
                    {stage: statistics.median(run[n][stage] for run in runs) for stage in runs[0][n]} for n in (0, 1)
                )
                setting = {"dtype": dtype, "start": "cold" if cold else "warm", "threads": options.threads}
                torch_seconds = times["torch"] - times["python"]
                emit(
                    "process start to first translation",
                    setting,
                    times["first"],
                    "s",
                    torch_seconds / times["first"],
                    "import torch alone",
                    torch_s=torch_seconds,
                    nmt_s=times["nmt"] - times["torch"],
                    load_s=times["load"] - times["nmt"],
                    first_ms=1e3 * (times["first"] - times["load"]),
                    second_ms=1e3 * (times["second"] - times["first"]),
                )
            for stage, case in (("second", "memory, model loaded"), ("decode", "memory, 300 sentences with beam 5")):
                emit(case, {"dtype": dtype}, memory[stage], "MiB", memory[stage] / memory["torch"], "torch imported")
