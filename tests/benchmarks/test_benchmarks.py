"""Each benchmark runs in a tiny setting, and its lines have the form that the table reads."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from math import isfinite
from pathlib import Path

import pytest

from nmt.config import ModelConfig
from tests.benchmarks.table import table
from tests.benchmarks.work import Work
from tests.copy_model import exported

ROOT = Path(__file__).parents[2]
DECODE = ["--sentences", "6", "--rounds", "1", "--threads", "1", "--dtypes", "int8", "--beams", "2"]
TINY = {
    "decode": ["decode", *DECODE, "--alone", "2"],
    "decode beside": ["decode", *DECODE, "--busy"],
    "growth": ["growth", *DECODE, "--points", "2", "--of", "length", "beam"],
    "load": ["load", "--dtypes", "int8", "--threads", "1", "--rounds", "1", "--warm"],
    "prepare": ["prepare", "--pairs", "1000", "--rounds", "1"],
    "train": ["train", "--pairs", "1000", "--steps", "2", "--threads", "1", "--set", "data.vocabulary", "1000"],
    "turns": ["decode", *DECODE, "--alone", "0", "--turns", "1", "--against", "OMP_NUM_THREADS=1 --rows 15"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_a_benchmark_prints_lines_with_a_ratio(name: str) -> None:
    command = [sys.executable, "-m", "tests.benchmarks", *TINY[name]]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = [json.loads(line) for line in output.splitlines()]
    assert lines
    for line in lines:
        assert line["value"] > 0 and line["ratio"] > 0 and isfinite(line["ratio"])
        assert {"case", "setting", "unit", "of"} <= line.keys()
    assert table(lines).count("\n") >= 2


def test_the_table_compares_the_turns_of_variants() -> None:
    line = {"case": "decode", "setting": {"beam": 5}, "unit": "sentences/s", "ratio": 0.5, "of": "product peak"}
    line |= {"p99_ms": 7.0}
    speeds = {"": [100, 300, 110], "--tree old": [50, 100, 100]}
    lines = [line | {"value": s, "variant": v, "turn": n} for v, row in speeds.items() for n, s in enumerate(row)]
    row = table(lines).splitlines()[-1]
    assert row == (
        "| decode | beam 5 | sentences/s | 110 (100 to 300) | 0.5 of product peak | 100 (50 to 100) | "
        "0.5 of product peak | 2 | p99_ms 7 |"
    )


@pytest.mark.slow
def test_the_benchmark_of_the_service(tmp_path: Path) -> None:
    (tmp_path / "copy.pt").write_bytes(exported())
    (tmp_path / "text").write_text("the quick brown fox\njumps over the lazy dog\n")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tests.benchmarks", "service", "--model", tmp_path / "copy.pt", "--text"]
    command += [tmp_path / "text", "--port", port, "--beam", 1, "--threads", 1, "--seconds", 1, "--bare-seconds", 0.1]
    output = subprocess.run(list(map(str, command)), cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = [json.loads(line) for line in output.splitlines()]
    loads = {line["setting"]["load"] for line in lines}
    assert loads == {"idle", "capacity", "0.7", "1.5", "3", "alone", "bulk", "bulk of low priority"}
    assert all(line["value"] > 0 and line["ratio"] > 0 for line in lines)
    assert all(line.get("failed", 0) == 0 for line in lines)


def test_the_work_of_the_default_model() -> None:
    work = Work.of(ModelConfig(), 8000)
    assert work.source == 2 * (2 * 4 * 256 * (256 + 256) + 512 * 256)  # two directions of the encoder, W h_j
    cells = 4 * 512 * (256 + 512) + 4 * 512 * (512 + 512 + 512)
    assert work.target == 2 * (cells + 512 * 256 + 256 * (512 + 512 + 256) + 256 * 8000)
    assert work.attended == 2 * (256 + 512)
    assert work.training([(3, 2)]) == 3 * work.decoding([(3, 2)], beam=1)
