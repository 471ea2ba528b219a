"""Memory stays as it is under requests of ever other lengths, for each number type, with the kernels and without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FEW, MANY = 1500, 2500  # sentences
GROWTH_MIB = 64.0

SEARCH = """
import random, sys
import service  # which sets the environment, before torch is loaded
from pathlib import Path
import torch
from nmt import artifact
from nmt.device import keep_freed_memory
from nmt.search.engine import Engine
from tests.benchmarks.material import exported, random_requests

folder, dtype, few, many = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
keep_freed_memory()
torch.set_num_threads(1)
file, _ = exported(None, dtype, folder, 2000)
engine = Engine(artifact.load(file, "cpu", None).search, rows=160)
draw = random.Random(1)
waiting = random_requests(many, 2000, 5)
done = 0
while done < many:
    wanted = draw.choice((1, 2, 5, 10, 20, 32)) * 5
    while engine.load < wanted and waiting:
        engine.add(waiting.pop())
    engine.step()
    before, done = done, done + len(engine.finished())
    if before < few <= done or done == many:
        status = Path("/proc/self/status").read_text()
        print(int(status.split("VmRSS:")[1].split()[0]) / 1024, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kernels", ["auto", "off"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_as_it_is(dtype: str, kernels: str, tmp_path: Path) -> None:
    environment = os.environ | {"NMT_KERNELS": kernels, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SEARCH, str(tmp_path), dtype, str(FEW), str(MANY)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    first, last = map(float, done.stdout.split())
    assert last - first < GROWTH_MIB


@pytest.mark.parametrize(("given", "expected"), [({}, "128"), ({"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "7"}, "7")])
def test_the_products_that_are_kept_are_bounded(given: dict[str, str], expected: str) -> None:
    name = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    environment = {key: value for key, value in os.environ.items() if key != name} | given | {"PYTHONPATH": str(ROOT)}
    code = f"import os, service; print(os.environ[{name!r}])"
    assert subprocess.check_output([sys.executable, "-c", code], env=environment, text=True).strip() == expected
